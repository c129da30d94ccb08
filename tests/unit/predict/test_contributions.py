"""Contributions add up to the output; importance adds up to the score; both follow their definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import numpy as np
import pytest

from cuvee.errors import UsageError
from cuvee.predict import Ensemble, Member
from cuvee.predict.coalition_game import CoalitionGame, said_by_nobody
from cuvee.predict.combiners.declared import Batch, Fitted
from cuvee.predict.combiners.design import batch_of
from cuvee.predict.importance import importance
from cuvee.predict.judged import gain_of
from cuvee.predict.state import State
from tests.support.live_ensembles import CLASSES, Array, banked, failing, saying, task, three

X, Y = task(15, seed=7)


@pytest.mark.parametrize("combiner", ["soft", "weighted", "greedy"])
@pytest.mark.parametrize("calibrate", [None, "temperature"])
def test_contributions_of_a_weighted_mean_are_its_terms(combiner: str, calibrate: Any) -> None:
    ensemble = three()
    ensemble.fit_combiner(combiner, banked(ensemble, 60), calibrate=calibrate)
    found = ensemble.explain(X)
    weights = ensemble.state.fitted.weights  # type: ignore[union-attr]
    assert weights is not None
    for number, member in enumerate(ensemble.members):
        np.testing.assert_allclose(found.contributions[:, number], weights[number] * member.ask(X), atol=1e-15)
    assert not found.base.any()
    assert found.calibration.any() == (calibrate is not None)
    adds_up(found, ensemble)


@pytest.mark.parametrize("combiner", ["median", "product", "hard", "rank-mean", "trimmed-mean", "maximum", "knora-u"])
def test_contributions_of_other_combiners_are_shapley_values(combiner: str) -> None:
    ensemble = three()
    bank = banked(ensemble, 60)
    ensemble.fit_combiner(combiner, bank)
    found = ensemble.explain(X)
    assert found.way == "shapley"
    assert found.exact
    adds_up(found, ensemble)
    assert bank.truth is not None
    np.testing.assert_allclose(found.base[0], np.bincount(bank.truth) / 60)
    np.testing.assert_allclose(found.contributions, by_definition(ensemble, found.base[0]), atol=1e-12)


def adds_up(found: Any, ensemble: Ensemble) -> None:
    whole = found.contributions.sum(axis=1) + found.base + found.calibration
    np.testing.assert_allclose(whole, found.output, atol=1e-12)
    np.testing.assert_allclose(found.output, ensemble.predict_proba(X), atol=1e-15)


def by_definition(ensemble: Ensemble, nothing: Array) -> Array:
    """The mean over all orders of what a member adds to those before it."""
    batch = batch_of(ensemble.predictions(X))
    fitted = ensemble.state.fitted
    assert fitted is not None

    def value(members: tuple[int, ...]) -> Array:
        if not members:
            return np.tile(nothing, (len(X), 1))
        inside = np.isin(np.arange(3), members)
        return fitted.apply(Batch(batch.P, batch.mask & inside[:, None], X))

    total = np.zeros((len(X), 3, 3))
    for order in permutations(range(3)):
        for place, member in enumerate(order):
            total[:, member] += value(order[: place + 1]) - value(order[:place])
    return total / 6


def test_many_members_are_explained_from_drawn_orders() -> None:
    ensemble = Ensemble(classes=CLASSES, combiner="median")
    for number in range(13):
        ensemble.add(saying(f"m{number}", 0.2 + 0.2 * number, tilt=0.1 * number))
    found = ensemble.explain(X[:4], budget=300)
    assert not found.exact
    whole = found.contributions.sum(axis=1) + found.base
    np.testing.assert_allclose(whole, found.output, atol=1e-12)
    with pytest.raises(UsageError, match="budget"):
        ensemble.explain(X[:4], budget=20)


def test_a_member_that_failed_or_is_masked_contributes_nothing() -> None:
    ensemble = three(on_error="mask")
    ensemble.add(failing("broken"))
    found = ensemble.explain(X)
    assert not found.contributions[:, 3].any()
    assert "out of order" in found.notes[0]
    adds_up(found, ensemble)
    assert found.as_rows()[0]["broken"] == 0.0


@dataclass(frozen=True, eq=False)
class Sum(Fitted):
    """The sum of what members say: a game that is additive."""

    kind: ClassVar[str] = "sum-of-tests"

    def apply(self, batch: Batch) -> Array:
        """Σ P."""
        return np.asarray(np.where(batch.mask[:, :, None], batch.P, 0.0).sum(axis=0))

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Nothing."""
        return {}, {}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Sum:
        """Nothing."""
        raise NotImplementedError


def additive() -> tuple[Ensemble, Any, list[Array]]:
    """Values that stay below the truth: the mean error falls by what each member adds."""
    parts = [np.full(30, size) + 0.01 * np.arange(30) for size in (1.0, 2.0, 4.0)]
    ensemble = Ensemble(task="regression")
    for number, part in enumerate(parts):
        ensemble.add(Member(f"m{number}", "callable", part.__getitem__, "values"))
    bank = ensemble.predictions(np.arange(30), np.full(30, 100.0))
    ensemble._versions.change(
        lambda state: State(0, "sum", state.members, state.combiner, Sum(("m0", "m1", "m2")), bank)
    )
    return ensemble, bank, parts


@pytest.mark.parametrize("how", ["loo", "shapley"])
def test_in_an_additive_game_shapley_and_leave_one_out_are_what_each_adds(how: Any) -> None:
    ensemble, bank, parts = additive()
    game = CoalitionGame(ensemble.state.fitted, batch_of(bank), np.zeros(1), (0, 1, 2))  # type: ignore[arg-type]
    np.testing.assert_allclose(game.value(0b101)[:, 0], parts[0] + parts[2])
    found = importance(ensemble.state, bank, how, metric="mae")
    if how == "loo":
        for number, part in enumerate(parts):
            assert found[f"m{number}"].value == pytest.approx(part.mean(), abs=1e-9)
    else:  # v(∅) says the mean of the truth, and is best: what differs between members is still what they add
        gaps = [found[f"m{a}"].value - found[f"m{b}"].value for a, b in ((1, 0), (2, 1))]
        assert gaps == pytest.approx([1.0, 2.0], abs=1e-9)
        assert sum(one.value for one in found.members.values()) == pytest.approx(found.whole - found.nothing, abs=1e-9)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "brier", "ece"])
@pytest.mark.parametrize("combiner", ["soft", "median", "greedy"])
def test_shapley_importance_adds_up(metric: str, combiner: str) -> None:
    ensemble = three()
    bank = banked(ensemble, 60)
    ensemble.fit_combiner(combiner, bank, calibrate="temperature")
    found = ensemble.importance(bank, "shapley", metric=metric)
    assert sum(one.value for one in found.members.values()) == pytest.approx(found.whole - found.nothing, abs=1e-9)
    assert found.exact
    nothing = np.tile(said_by_nobody(bank, 3, "classification"), (60, 1))
    assert found.nothing == pytest.approx(gain_of(nothing, bank, metric), abs=1e-12)


def test_leave_one_out_is_the_difference_it_is_called() -> None:
    ensemble = three()
    bank = banked(ensemble, 100)
    found = ensemble.importance(bank, "loo")
    for name in ensemble.state.names:
        others = [one for one in ensemble.state.names if one != name]
        wanted = gain_of(bank.P.mean(axis=0), bank) - gain_of(bank.only(others).P.mean(axis=0), bank)
        assert found[name].value == pytest.approx(wanted, abs=1e-12)
    assert found["good"].low > 0
    assert found["bad"].high < 0
    assert next(row["name"] for row in found.as_rows()) == "good"


def test_permutation_hurts_where_a_member_matters() -> None:
    ensemble = three()
    bank = banked(ensemble, 100)
    ensemble.fit_combiner("greedy", bank)
    found = ensemble.importance(bank, "permutation", metric="accuracy")
    assert found["good"].low > 0.05
    assert found["bad"].value == 0.0
    assert "fitted on these rows" in found.notes[0]
    with pytest.raises(UsageError, match="`how`"):
        ensemble.importance(bank, "gini")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="`repeats`"):
        importance(ensemble.state, bank, "permutation", repeats=0)


def test_twins_share_what_either_makes_up_for() -> None:
    ensemble = Ensemble(classes=CLASSES, combiner="maximum")
    ensemble.add(saying("one", 1.5))
    ensemble.add(saying("other", 1.5))
    bank = banked(ensemble, 80)
    loo, shapley = ensemble.importance(bank, "loo"), ensemble.importance(bank, "shapley")
    assert loo["one"].value == loo["other"].value == 0.0
    assert shapley["one"].value == pytest.approx(shapley["other"].value)
    assert shapley["one"].value > 0.05
