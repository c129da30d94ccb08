"""Laws that hold for every combiner that learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cuvee.predict import meta_learners
from cuvee.predict.combiners import COMBINERS, Cascade, Greedy, Stack
from cuvee.predict.combiners.design import batch_of
from tests.support.noisy_banks import noisy_bank, noisy_values

COSTS = {f"m{i}": 2.0**i for i in range(4)}
CLASSIFIERS = {
    "greedy": Greedy(),
    "greedy within a budget": Greedy(budget={"us_per_row": 9.0}, costs=COSTS),
    "stack": Stack(folds=2, fewest=2),
    "stack on logits": Stack(on="logits", features=True, folds=2, fewest=2),
    "non-negative": Stack(meta="nonnegative", folds=2, fewest=2),
    "cascade": Cascade(target_cost=6.0, costs=COSTS),
    **{name: COMBINERS.get(name)(k=5) for name in ("knora-e", "knora-u", "ola", "des-p")},
}
REGRESSORS = {"greedy": Greedy(), "ridge": Stack(folds=2), "non-negative": Stack(meta="nonnegative", folds=2)}

each = pytest.mark.parametrize("combiner", CLASSIFIERS.values(), ids=CLASSIFIERS)
unstacked = pytest.mark.parametrize("name", [name for name in CLASSIFIERS if not name.startswith("stack")])
regressors = pytest.mark.parametrize("combiner", REGRESSORS.values(), ids=REGRESSORS)


@pytest.fixture(scope="module", autouse=True)
def one_strength():
    """One penalty, so that a choice between two that are worth the same does not turn on the last digit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta_learners, "STRENGTHS", (1.0,))
        yield


@pytest.fixture(scope="module")
def bank():
    return noisy_bank(4, 72, 3, 5, masked=0.2, features=2)


def said(combiner, bank, of=None):
    return combiner.fit(bank).apply(batch_of(bank if of is None else of))


@each
def test_rows_of_probabilities(combiner, bank):
    P = said(combiner, bank)
    assert (P >= 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)


@each
def test_what_is_masked_is_never_looked_at(combiner, bank):
    other = replace(bank, P=np.where(bank.mask[:, :, None], bank.P, 1e6))
    np.testing.assert_array_equal(said(combiner, other), said(combiner, bank))


@each
def test_the_order_of_members_does_not_matter(combiner, bank):
    turned = bank.only(["m2", "m0", "m3", "m1"])
    np.testing.assert_allclose(said(combiner, turned), said(combiner, bank), atol=1e-4)


@unstacked
def test_the_order_of_classes_does_not_matter(name, bank):
    """But for logistic stacks: the class that is left out of their columns is not in the penalty."""
    turn = np.array([2, 0, 1])
    classes = tuple(bank.classes[i] for i in turn)
    other = replace(bank, classes=classes, P=bank.P[:, :, turn], truth=np.argsort(turn)[bank.truth])
    combiner = CLASSIFIERS[name]
    np.testing.assert_allclose(said(combiner, other), said(combiner, bank)[:, turn], atol=1e-12)


@each
def test_a_fit_twice_is_the_same(combiner, bank):
    np.testing.assert_array_equal(said(combiner, bank), said(combiner, bank))


@each
def test_a_row_does_not_depend_on_the_rows_beside_it(combiner, bank):
    found = combiner.fit(bank)
    whole = found.apply(batch_of(bank))
    np.testing.assert_allclose(found.apply(batch_of(bank.rows([9, 4]))), whole[[9, 4]], rtol=1e-12)


@each
def test_of_no_rows_there_are_no_answers(combiner, bank):
    assert combiner.fit(bank).apply(batch_of(bank.rows([]))).shape == (0, len(bank.classes))


@unstacked
def test_members_that_say_the_same_are_that_member(name, bank):
    one = np.broadcast_to(noisy_bank(1, 72, 3, 6).P, (4, 72, 3))
    same = replace(bank, P=one, mask=np.ones((4, 72), bool))
    np.testing.assert_allclose(said(CLASSIFIERS[name], same), one[0], rtol=1e-12)


@regressors
def test_values_of_another_unit_give_the_same_values_in_it(combiner):
    bank = noisy_values(4, 60, 3, masked=0.1)
    other = replace(bank, P=bank.P * 1000, truth=bank.truth * 1000)
    np.testing.assert_allclose(said(combiner, other), said(combiner, bank) * 1000, rtol=1e-8)


@regressors
def test_masked_values_are_never_looked_at(combiner):
    bank = noisy_values(4, 60, 3, masked=0.2)
    other = replace(bank, P=np.where(bank.mask[:, :, None], bank.P, -1e9))
    np.testing.assert_array_equal(said(combiner, other), said(combiner, bank))
