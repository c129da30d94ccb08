"""Dynamic selection equals its slow reference: rules on any hits, neighbours with ties, whole answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cuvee.combine.neighbours import nearest_rows
from cuvee.combine.stacking import filled, side_by_side
from cuvee.predict.combiners import COMBINERS
from cuvee.predict.combiners.design import batch_of
from cuvee.predict.combiners.dynamic import RULES
from tests.reference import dynamic_formulas as ref
from tests.support.noisy_banks import noisy_bank


@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_rules_on_any_hits(name, data):
    members, k, classes = (data.draw(st.integers(1, top)) for top in (5, 7, 5))
    hits = data.draw(arrays(bool, (members, 1, k)))
    mask = data.draw(arrays(bool, (members, 1)))
    mask[data.draw(st.integers(0, members - 1))] = True
    want = ref.rule_of(name, hits[:, 0].tolist(), mask[:, 0].tolist(), classes)
    assert RULES[name](hits, mask, classes)[:, 0].tolist() == want


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_neighbours_among_many_equally_near(data):
    rows, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 3))
    k = data.draw(st.integers(1, rows))
    grid = st.integers(-2, 2).map(float)
    reference = data.draw(arrays(float, (rows, width), elements=grid))
    X = data.draw(arrays(float, (4, width), elements=grid))
    want = [ref.neighbours(x, reference.tolist(), k) for x in X.tolist()]
    assert nearest_rows(X, reference, k, piece=50).tolist() == want
    assert nearest_rows(X, reference, k).tolist() == want


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("features", "masked"), [(2, 0.0), (0, 0.0), (2, 0.4), (0, 0.3)])
def test_whole_answers(name, features, masked):
    bank = noisy_bank(4, 40, 3, 11, features=features, masked=masked)
    scaled = bank.features / bank.features.std(axis=0) if features else None
    places = side_by_side(filled(bank.P, bank.mask)) if scaled is None else scaled
    found = COMBINERS.get(name)(k=5).fit(bank).apply(batch_of(bank))
    np.testing.assert_allclose(found, ref.answer(name, 5, bank, places.tolist(), range(40)), atol=1e-12)
