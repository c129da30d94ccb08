"""Models compared: normalised scores, the best parent and its choice, groups, form, cost, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cuvee.errors import InputError, UsageError
from cuvee.judging.answers import Answers
from cuvee.judging.bootstrap import Draws, combined, paired
from cuvee.judging.by_group import SMALL
from cuvee.judging.comparing import compare
from cuvee.judging.standings import Cost, sentence
from tests.support.answering import answers, classified, drawn, matches, regressed

QUICK = Draws(draws=300)


def shares(n: int = 200, **right: tuple[float, ...]) -> dict[tuple[str, str], Answers]:
    """Models that are right on the first rows of each task, so many of them."""
    return {
        (model, f"t{number}"): matches(np.arange(n) < round(share * n))
        for model, of in right.items()
        for number, share in enumerate(of)
    }


def test_scores_as_shares_of_the_experts() -> None:
    found = compare(shares(a=(0.8, 0.2), b=(0.1, 0.5), merged=(0.6, 0.45)), parents=["a", "b"], how=QUICK)
    assert dict(found.experts) == {"t0": "a", "t1": "b"}
    merged = found["merged"]
    assert [cell.normalised for cell in merged.cells.values()] == pytest.approx([0.75, 0.9])
    assert merged.mean == pytest.approx(0.825)
    assert (merged.minimum, merged.hardest) == (pytest.approx(0.75), "t0")
    assert found["a"].mean == pytest.approx((1 + 0.4) / 2)
    assert [s.parent for s in found.standings] == [True, True, False]


def test_lower_is_better_the_other_way_round() -> None:
    truth = np.arange(40.0)
    given = {(m, "t"): regressed(truth, truth + by) for m, by in (("a", 1.0), ("b", 2.0), ("c", 0.5))}
    found = compare(given, parents=["a"], how=QUICK)
    assert [s.mean for s in found.standings] == pytest.approx([1, 0.5, 2])
    assert [s.against and s.against.difference.verdict for s in found.standings] == [None, "worse", "better"]
    assert found["c"].cells["t"].against.value == pytest.approx(0.5)
    gain = found["c"].against.difference
    assert (gain.value, gain.low, gain.high) == pytest.approx((1, 1, 1))  # each row's error is the same


def test_an_expert_may_be_named() -> None:
    given = shares(a=(0.8,), b=(0.4,), merged=(0.6,))
    found = compare(given, parents=["a", "b"], experts={"t0": "b"}, how=QUICK)
    assert found["merged"].mean == pytest.approx(1.5)


def test_one_parent_one_task_is_the_paired_bootstrap() -> None:
    given = {("p", "t"): drawn("match", 90, seed=1), ("m", "t"): drawn("match", 90, seed=2)}
    found = compare(given, parents=["p"], raw=True)["m"]
    pair = {"t": (given["m", "t"], given["p", "t"])}
    assert found.against.difference == combined(pair, {"t": "correct"})
    assert found.cells["t"].against == found.against.difference
    assert found.against.difference.value == paired(*pair["t"], "correct").value


def test_a_copy_of_the_best_parent_is_within_noise_of_it() -> None:
    given = shares(a=(0.8, 0.4), b=(0.3, 0.4), copy=(0.8, 0.4))
    for parents in (["a", "b"], ["a"]):
        against = compare(given, parents=parents, how=QUICK)["copy"].against
        assert against.model == "a"
        assert (against.difference.value, against.difference.verdict) == (0, "within noise")
        assert (against.difference.low, against.difference.high) == (0, 0)


def test_the_order_of_models_does_not_matter() -> None:
    given = {(m, t): drawn("match", 60, seed=s + 9 * len(t)) for s, m in enumerate("abc") for t in ("t", "uu")}
    there = compare(given, parents=["a", "b"], how=QUICK)
    back = compare(dict(reversed(given.items())), parents=["b", "a"], how=QUICK)
    for model in "abc":
        assert there[model].against.model == back[model].against.model
        assert there[model].against.difference.low == pytest.approx(back[model].against.difference.low)
        assert there[model].mean == pytest.approx(back[model].mean)


def test_better_means_better_than_every_parent() -> None:
    """The lower end is the lowest of those for each parent."""
    given = {(m, "t"): drawn("match", 120, seed=s) for s, m in enumerate(("a", "b", "c"))}
    given["m", "t"] = matches(np.arange(120) < 90)
    found = compare(given, parents=list("abc"), raw=True, how=QUICK)["m"].against
    singles = [compare(given, parents=[p], raw=True, how=QUICK)["m"].against.difference for p in "abc"]
    assert found.difference.low == min(single.low for single in singles)
    assert found.difference.value == min(single.value for single in singles)
    assert found.among == 3


def test_who_is_best_by_luck_makes_nobody_worse() -> None:
    """Twelve parents alike, and a model as good as they are: against the luckiest one alone it would look worse."""
    alone = together = 0
    for seed in range(40):
        own = np.random.default_rng(seed)
        given = {(f"p{i}", "t"): matches(own.random(100) < 0.5) for i in range(12)}
        given["m", "t"] = matches(own.random(100) < 0.5)
        found = compare(given, parents=[f"p{i}" for i in range(12)], raw=True, how=Draws(draws=400))["m"].against
        together += found.difference.verdict == "worse"
        alone += paired(given["m", "t"], given[found.model, "t"], "correct", Draws(draws=400)).verdict == "worse"
    assert together <= 2 < 8 <= alone


def test_verdicts_in_words() -> None:
    found = compare(shares(a=(0.5,), b=(0.3,), up=(0.7,), down=(0.2,), same=(0.5,)), parents=["a", "b"], how=QUICK)
    words = {s.model: sentence(s, found.raw) for s in found.standings}
    assert words["up"].startswith("up: better than a, the best of 2: +0.400 [+0.")
    assert words["up"].endswith("] of the experts' scores")
    assert words["down"].startswith("down: worse than a, the best of 2: -0.600 [-0.")
    assert words["same"].startswith("same: within noise of a, the best of 2: +0.000 [")
    assert words["b"].startswith("b: worse than a: -0.400")
    alone = compare(shares(a=(0.5,)), how=QUICK)
    assert sentence(alone["a"], False) == "a: there is no other model to compare it with"
    single = compare(shares(n=1, a=(1,), b=(1,)), parents=["a"], how=QUICK)
    assert "within noise of a: +0.000 no interval" in sentence(single["b"], False)


def test_without_parents_each_is_compared_with_the_best_of_the_others() -> None:
    found = compare(shares(a=(0.9,), b=(0.5,), c=(0.7,)), how=QUICK)
    assert {s.model: s.against.model for s in found.standings} == {"a": "c", "b": "a", "c": "a"}
    assert any("no parents are named" in note for note in found.notes)


def test_the_choice_of_the_best_parent_and_few_rows_are_told() -> None:
    notes = compare(shares(n=20, a=(0.9,), b=(0.5,), c=(0.7,)), parents=["a", "b"], how=QUICK).notes
    assert any("chosen on these same rows" in note for note in notes)
    assert any("fewer than 30 rows: t0" in note for note in notes)
    named = compare(shares(a=(0.9,), c=(0.7,)), parents=["a"], experts={"t0": "a"}, how=QUICK)
    assert named.notes == ()


def test_raw_scores_are_averaged_where_there_is_one_metric() -> None:
    found = compare(shares(a=(0.8, 0.2), m=(0.6, 0.6)), parents=["a"], raw=True, how=QUICK)
    assert found["m"].mean == pytest.approx(0.6)
    assert found["m"].against.difference.value == pytest.approx(0.1)
    assert found["m"].cells["t0"].normalised is None
    mixed = {("a", "s"): matches([1, 0]), ("a", "t"): regressed([1, 2], [1, 3])}
    with pytest.raises(UsageError, match="one metric; found correct, mae"):
        compare(mixed, raw=True)


def grouped(hits: dict[str, tuple[int, int]]) -> Answers:
    """Group → rows that are right, rows."""
    right = [i < good for good, rows in hits.values() for i in range(rows)]
    return matches(right, groups={"age": [name for name, (_, rows) in hits.items() for _ in range(rows)]})


def test_metrics_by_groups() -> None:
    hits = {"young": (80, 100), "old": (30, 60), "few": (0, SMALL - 1)}
    (found,) = compare({("m", "t"): grouped(hits)}, groups=["age"], raw=True).groups
    figures = {figure.name: figure for figure in found.figures}
    assert {name: (f.n, f.value, f.small) for name, f in figures.items()} == {
        "young": (100, 0.8, False),
        "old": (60, 0.5, False),
        "few": (SMALL - 1, 0.0, True),
    }
    assert found.gap == pytest.approx(0.3)  # the small group is left out
    width = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert (figures["young"].low, figures["young"].high) == pytest.approx((0.8 - width, 0.8 + width), abs=0.02)
    spread = 1.96 * math.sqrt(0.16 / 100 + 0.25 / 60)
    assert (found.gap_low, found.gap_high) == pytest.approx((0.3 - spread, 0.3 + spread), abs=0.03)


def test_a_group_without_a_value_says_why_and_the_others_stand() -> None:
    truth = [0, 1] * 20 + [1] * 40
    p = np.linspace(0.1, 0.9, 80)
    found = classified(truth, np.stack([1 - p, p], axis=1), groups={"site": ["x"] * 40 + ["y"] * 40})
    (table,) = compare({("m", "t"): found}, metrics={"t": "auc"}, groups=["site"], raw=True, how=QUICK).groups
    assert table.figures[0].value is not None
    assert table.figures[1].value is None
    assert "no row is of 0" in table.figures[1].why
    assert table.gap is None


def formed(n: int, parsed: float) -> Answers:
    return answers("match", correct=np.arange(n) < n * parsed / 2, parsed=np.arange(n) < n * parsed)


def test_a_format_that_collapses_is_told() -> None:
    given = {(m, "t"): formed(200, share) for m, share in (("a", 0.95), ("b", 0.4), ("gone", 0.5), ("fine", 0.94))}
    checks = {check.model: check for check in compare(given, parents=["a", "b"], how=QUICK).forms}
    assert {model: check.collapsed for model, check in checks.items()} == {
        "a": False,
        "b": False,
        "gone": True,
        "fine": False,
    }
    assert checks["gone"].share == 0.5
    assert checks["gone"].against.model == "a"
    assert checks["gone"].against.difference.value == pytest.approx(-0.45)
    assert checks["a"].against is None


def test_a_small_but_certain_fall_is_no_collapse() -> None:
    given = {(m, "t"): formed(1000, share) for m, share in (("a", 1.0), ("m", 0.97))}
    (_, check) = compare(given, parents=["a"], how=QUICK).forms
    assert check.against.difference.verdict == "worse"
    assert not check.collapsed


def test_costs_and_plain_data() -> None:
    given = shares(a=(0.8,), m=(0.6,))
    found = compare(given, parents=["a"], costs={"m": Cost(1000, 0.25)}, how=QUICK)
    data = found.as_data()
    model = json.loads(json.dumps(data))["models"][1]
    assert model["cost"] == {"parameters": 1000, "seconds_per_row": 0.25}
    assert model["against"]["difference"]["verdict"] == "worse"
    assert model["tasks"]["t0"]["normalised"] == pytest.approx(0.75)
    assert data["models"][0]["against"] is None
    assert data["draws"] == {"draws": 300, "seed": 0, "level": 0.95, "interval": "percentile"}


def test_the_same_call_gives_the_same_figures_and_progress_is_told() -> None:
    given = {(m, t): drawn("classification", 50, seed=s) for s, m in enumerate("ab") for t in ("t", "u")}
    seen = []
    one = compare(given, parents=["a"], how=QUICK, progress=lambda *at: seen.append(at))
    assert one == compare(given, parents=["a"], how=QUICK)
    assert seen == [(0, 2, "t"), (1, 2, "u"), (2, 2, "")]


def told(kind: type[Exception], code: str, said: str, given, **more) -> None:
    with pytest.raises(kind) as caught:
        compare(given, **more)
    assert caught.value.code == code
    assert said in str(caught.value)


def test_what_cannot_be_compared_is_refused() -> None:
    given = shares(a=(0.5, 0.5), b=(0.4, 0.5))
    told(InputError, "bad-answers", "found none", {})
    told(InputError, "bad-answers", "lacking: b on t1", {k: v for k, v in given.items() if k != ("b", "t1")})
    told(UsageError, "bad-argument", "`parents` names 'aa'", given, parents=["aa"])
    told(UsageError, "bad-argument", "`metrics` names 't9'", given, metrics={"t9": "correct"})
    told(UsageError, "bad-argument", "there is no metric `acc`", given, metrics={"t1": "acc"})
    told(UsageError, "bad-argument", "`experts` names 'c'", given, experts={"t1": "c"})
    told(UsageError, "bad-argument", "no task has the column 'age'", given, groups=["age"])
    told(InputError, "bad-answers", "t1: b should have answered", {**given, ("b", "t1"): matches([1])})
    told(InputError, "undefined-metric", "t0, a: `parsed` has no value", given, metrics={"t0": "parsed"})


def test_an_expert_that_can_nothing_is_no_unit() -> None:
    told(InputError, "undefined-metric", "cannot be told as shares of 0, the `correct` of a", shares(a=(0,), b=(0,)))
    truth = np.arange(9.0)
    perfect = {("a", "t"): regressed(truth, truth + 1), ("b", "t"): regressed(truth, truth)}
    told(InputError, "undefined-metric", "b has a `mae` of 0", perfect, parents=["a"])
    assert compare(perfect, parents=["a"], raw=True)["b"].against.difference.verdict == "better"
