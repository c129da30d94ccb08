"""Rates by group against a table worked out by hand; gaps, small groups and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cuvee.errors import CuveeError, InputError
from cuvee.predict import Bank, Ensemble, Member
from cuvee.predict.fairness import MEASURES, wilson

TRUTH = [1, 1, 1, 0, 0, 0, 0, 1, 1, 0]
SAID = [1, 1, 0, 0, 0, 1, 1, 0, 1, 0]
GROUP = ["x", "x", "x", "x", "x", "y", "y", "y", "y", "y"]


def told(truth: list[int], said: list[int], classes: tuple[str, ...] = ("no", "yes")) -> tuple[Ensemble, Bank]:
    """An ensemble of one member that says what it is told to, each 0.8 sure."""
    rest = 0.2 / (len(classes) - 1)
    P = np.where(np.eye(len(classes))[said] > 0, 0.8, rest)
    ensemble = Ensemble(classes=classes)
    ensemble.add(Member("told", "callable", P.__getitem__, "probabilities", classes))
    return ensemble, ensemble.predictions(np.arange(len(said)), [classes[k] for k in truth])


def test_rates_by_hand() -> None:
    """x: 5 rows, truth 11100, said 11000: right 4 of 5, selected 2 of 5, 2 of 3 positives found, 0 of 2 others.
    y: truth 00110, said 11010: right 2 of 5, selected 3 of 5, 1 of 2 positives, 2 of 3 others.
    Each is 0.8 sure: calibration error |0.8 − 0.8| and |0.8 − 0.4|."""
    ensemble, bank = told(TRUTH, SAID)
    found = ensemble.fairness(bank, GROUP)
    wanted = {
        "x": {"accuracy": 0.8, "selection_rate": 0.4, "tpr": 2 / 3, "fpr": 0.0, "ece": 0.0},
        "y": {"accuracy": 0.4, "selection_rate": 0.6, "tpr": 0.5, "fpr": 2 / 3, "ece": 0.4},
    }
    assert found.positive == "yes"
    for name, rates in wanted.items():
        assert found[name].n == 5
        assert found[name].is_small
        for rate, value in rates.items():
            one = found[name].measures[rate]
            assert one is not None
            assert one.value == pytest.approx(value, abs=1e-12), (name, rate)
            assert one.low <= one.value <= one.high
    assert (found["x"].positives, found["y"].positives) == (3, 2)
    assert found.gaps == dict.fromkeys(MEASURES)  # both groups are small
    assert "fewer than 30 rows, left out of the gaps: x, y" in found.notes
    assert [row["group"] for row in found.as_rows()] == ["x", "y", "gap"]


def test_gaps_of_groups_that_are_large_enough() -> None:
    ensemble, bank = told(TRUTH * 8 + [1, 0], SAID * 8 + [1, 0])
    found = ensemble.fairness(bank, GROUP * 8 + ["few", "few"])
    for rate, value in {"accuracy": 0.4, "selection_rate": 0.2, "tpr": 1 / 6, "fpr": 2 / 3, "ece": 0.4}.items():
        gap = found.gaps[rate]
        assert gap is not None
        assert gap.value == pytest.approx(value, abs=1e-12), rate
        assert gap.low < gap.value < gap.high
    assert found["few"].is_small
    low = found.gaps["fpr"]
    assert low is not None
    assert low.low > 0.3


def test_the_interval_of_a_gap_holds_the_true_one() -> None:
    """Two groups of 80 rows whose accuracies are 0.9 and 0.7: of 16 intervals for 95 % nearly all hold 0.2."""
    held = 0
    for seed in range(16):
        generator = np.random.default_rng(seed)
        right = np.concatenate([generator.random(80) < 0.9, generator.random(80) < 0.7])
        truth = generator.integers(2, size=160)
        ensemble, bank = told(truth.tolist(), np.where(right, truth, 1 - truth).tolist())
        gap = ensemble.fairness(bank, ["x"] * 80 + ["y"] * 80).gaps["accuracy"]
        assert gap is not None
        held += gap.low <= 0.2 <= gap.high
    assert held >= 13


def test_groups_by_the_names_of_rows() -> None:
    ensemble, bank = told(TRUTH, SAID)
    by_name = dict(reversed(list(zip(bank.ids, GROUP))))
    assert ensemble.fairness(bank, by_name).as_rows() == ensemble.fairness(bank, GROUP).as_rows()


def test_a_rate_without_rows_is_none() -> None:
    ensemble, bank = told([1, 1, 0, 0], [1, 0, 0, 0])
    found = ensemble.fairness(bank, ["p", "p", "n", "n"])
    assert found["p"].measures["fpr"] is None
    assert found["n"].measures["tpr"] is None
    assert found.as_rows()[0]["tpr"] is None


@pytest.mark.parametrize(
    ("groups", "settings", "code", "words"),
    [
        (["x"] * 9, {}, "rows-differ", "10 rows; found 9"),
        (["x"] * 9 + [None], {}, "bad-data", "1 have none, first row '9'"),
        (["x"] * 8 + [float("nan"), None], {}, "bad-data", "2 have none, first row '8'"),
        (["x"] * 10, {"positive": "yess"}, "bad-argument", "did you mean `yes`"),
    ],
)
def test_groups_that_are_refused(groups: Any, settings: dict[str, Any], code: str, words: str) -> None:
    ensemble, bank = told(TRUTH, SAID)
    with pytest.raises(CuveeError) as error:
        ensemble.fairness(bank, groups, **settings)
    assert error.value.code == code
    assert words in str(error.value)


def test_of_three_classes_one_is_named() -> None:
    ensemble, bank = told(TRUTH, SAID, ("no", "yes", "maybe"))
    with pytest.raises(CuveeError, match="`positive` must name"):
        ensemble.fairness(bank, GROUP)
    found = ensemble.fairness(bank, GROUP, positive="no")["x"]
    assert found.measures["selection_rate"] is not None
    assert found.measures["selection_rate"].value == 0.6


def test_shares_at_the_ends_have_intervals_of_some_width() -> None:
    assert wilson(0, 10).low == 0.0
    assert 0.2 < wilson(0, 10).high < 0.4
    assert wilson(10, 10).high == 1.0


def test_rows_without_a_group_are_refused_whatever_stands_for_none() -> None:
    pandas = pytest.importorskip("pandas")
    ensemble, bank = told([1, 1, 0, 0], [1, 0, 0, 0])
    for nothing in (None, float("nan"), "", pandas.NA, pandas.NaT, np.float32("nan")):
        with pytest.raises(InputError, match="every row must have a group; 1 have none"):
            ensemble.fairness(bank, ["p", "p", nothing, "n"])
