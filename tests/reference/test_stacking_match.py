"""A stack's columns and its linear answer equal their slow reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cuvee.combine.stacking import linear_answer
from cuvee.predict.combiners.design import batch_of, design_of
from tests.reference import stacking_formulas as ref
from tests.support.noisy_banks import noisy_bank


@pytest.mark.parametrize("on", ["probabilities", "logits"])
@pytest.mark.parametrize("seed", range(3))
def test_columns_with_masks_and_scores(on, seed):
    bank = replace(noisy_bank(4, 25, 3, seed, masked=0.4), probable=(True, False, True, True))
    found = design_of(bank, (on,), False).matrix(batch_of(bank))
    table = ref.columns(bank.P.tolist(), bank.mask.tolist(), bank.probable, on == "logits")
    want = ref.standardised(table, [True] * 6 + [False] * 3)
    np.testing.assert_allclose(found, want, atol=1e-12)


def test_softmax_of_a_linear_rule():
    draw = np.random.default_rng(0)
    X, coef, intercept = draw.normal(size=(9, 5)) * 500, draw.normal(size=(3, 5)), draw.normal(size=3)
    want = [ref.softmax_of(row, coef.tolist(), intercept.tolist()) for row in X.tolist()]
    np.testing.assert_allclose(linear_answer(X, coef, intercept, "softmax"), want, rtol=1e-12, atol=1e-300)
