"""The loop: crashes, repeats, early stopping, journals and going on from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cuvee.errors import CheckFailed, ResourceError
from cuvee.recipe import Recipe
from cuvee.searching.grading import Estimate, difference, joined, overall, scores_on, verdict
from cuvee.searching.journal import Journal, Trial
from cuvee.searching.outcome import Held, best_parent, optimism
from cuvee.searching.rows import Draw, drawn, rungs
from cuvee.searching.strategy import STRATEGIES, make_strategy
from cuvee.searching.trials import Job, Outcome, Search, Way
from cuvee.types import Score
from tests.support.lanes import rarely
from tests.support.searches import Near, space_from, sums
from tests.unit.searching.test_search_strategies import space_for

HEADER = {"recipe": "x"}


class Judge:
    """Gains from the recipe's weights; counts what it is asked."""

    def __init__(self, fails: Sequence[int] = (), value: float | None = None) -> None:
        self.fails, self.value, self.asked = fails, value, 0
        self.parts: list[tuple[float, float]] = []

    def __call__(self, recipe: Recipe, start: float, stop: float) -> tuple[Score, ...]:
        self.asked += 1
        self.parts.append((start, stop))
        if self.asked - 1 in self.fails:
            raise RuntimeError("the evaluator is broken")
        text = str([(str(e.model), sorted(e.parameters.items())) for e in recipe.models]) + recipe.method
        value = (sum(map(ord, text)) * 7919 % 1000) / 1000 if self.value is None else self.value
        rows = (value,) * round(100 * (stop - start))
        return (
            Score("m", value, 0.0, len(rows), "higher", rows),
            Score("k", -value, 0.0, 1, "lower", tuple(-row for row in rows)),
        )


def search(
    judge: Any, *, name: str = "random", path: Path | None = None, resume: bool = False, **way: Any
) -> tuple[Search, list[Trial]]:
    space = space_for(name)
    with Journal(path, HEADER, resume=resume) as journal:
        made = Search(space, make_strategy(name, space, 7, 2), judge, journal, Way(**{"most": 40, **way}))
        return made, made.run()


def test_a_crash_in_trial_37_is_written_down_and_the_search_goes_on(tmp_path: Path) -> None:
    _, done = search(Judge(fails=[37]), path=tmp_path / "j")
    assert [trial.number for trial in done if trial.state == "failed"] == [37]
    assert len(done) == 40
    lines = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    assert "RuntimeError: the evaluator is broken" in lines[38]["error"]
    assert "Traceback" in lines[38]["error"]


def test_failures_in_a_row_end_the_search_and_nothing_is_lost(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        search(Judge(fails=range(10, 40)), path=tmp_path / "j", crashes=3)
    assert caught.value.code == "search-failed"
    assert "3 trials in a row failed, up to trial 12" in str(caught.value)
    assert len((tmp_path / "j").read_text().splitlines()) == 1 + 13
    _, done = search(Judge(), path=tmp_path / "j", resume=True, crashes=3)
    assert [trial.number for trial in done if trial.state == "failed"] == [10, 11, 12]


def test_all_failed_is_an_error() -> None:
    with pytest.raises(CheckFailed, match="all 4 trials failed"):
        search(Judge(fails=range(99)), most=4)


def test_a_score_that_is_no_number_is_a_crash() -> None:
    class Broken(Near):
        def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
            return Score("m", float("nan"), 0.1, 1, "higher")

    with pytest.raises(ValueError, match="finite number"):
        scores_on(None, [Draw(Broken([0.0]), (0, 1))])


def test_the_same_recipe_is_never_scored_twice() -> None:
    judge = Judge()
    space = space_from(sums(2, {"choose": [0.25, 0.5]}))
    with Journal(None, HEADER, resume=False) as journal:
        done = Search(space, make_strategy("random", space, 0, 1), judge, journal, Way(most=30)).run()
    assert judge.asked == 4
    assert len(done) == 30
    assert all(trial.gains == done[trial.of].gains for trial in done if trial.state == "repeated")
    assert {trial.state for trial in done} == {"scored", "repeated"}


def test_the_same_recipe_twice_in_a_batch() -> None:
    judge = Judge()
    space = space_from(sums(1, {"choose": [0.25, 0.5]}))
    with Journal(None, HEADER, resume=False) as journal:
        done = Search(space, make_strategy("random", space, 0, 1), judge, journal, Way(most=8, batch=8)).run()
    assert judge.asked == 2
    assert all(trial.gains is not None for trial in done)


def test_hopeless_candidates_are_stopped_on_some_of_the_rows() -> None:
    judge = Judge()
    _, done = search(judge, rungs=(0.25, 0.5, 1.0))
    states = [trial.state for trial in done]
    assert states.count("stopped") > 10
    assert states.count("scored") > 5
    assert sum(stop - start for start, stop in judge.parts) < 30
    best = max(done, key=lambda trial: trial.rungs[0])
    assert best.state == "scored"
    assert all(trial.rungs[-1] < best.rungs[-1] for trial in done if trial.state == "stopped")


def test_scores_that_cannot_be_put_together_are_asked_for_again() -> None:
    class Whole(Judge):
        def __call__(self, recipe: Recipe, start: float, stop: float) -> tuple[Score, ...]:
            first, _ = super().__call__(recipe, start, stop)
            return (Score("auc", first.value, 0.1, 1, "higher"),)

    judge = Whole()
    _, done = search(judge, rungs=(0.25, 0.5, 1.0), most=3)
    assert judge.parts[:5] == [(0.0, 0.25), (0.25, 0.5), (0.0, 0.5), (0.5, 1.0), (0.0, 1.0)]
    assert [len(trial.rungs) for trial in done] == [3, 3, 3]


def test_an_executor_gets_batches() -> None:
    sizes = []

    def backwards(evaluate: Any, jobs: Sequence[Job]) -> list[Outcome]:
        sizes.append(len(jobs))
        return [evaluate(job) for job in reversed(jobs)][::-1]

    _, one = search(Judge(), batch=8, executor=backwards)
    _, other = search(Judge(), batch=1)
    assert sizes == [8] * 5
    assert [trial.gains for trial in one] == [trial.gains for trial in other]


@pytest.mark.parametrize("batch", [1, *rarely(4)])
@pytest.mark.parametrize("name", STRATEGIES)
def test_going_on_from_a_journal_asks_the_same(name: str, batch: int, tmp_path: Path) -> None:
    """However much was done when it ended: the trials are those of a search that never stopped."""
    path, way = tmp_path / "j", {"batch": batch, "rungs": (0.25, 1.0), "most": 24}
    _, whole = search(Judge(fails=[3]), name=name, **way)
    search(Judge(fails=[3]), name=name, path=path, **{**way, "most": min(9, max(1, len(whole) - 1))})
    with path.open("ab") as file:
        file.write(b'{"number": 9, "val')  # a line that a dying process cut off
    judge = Judge()
    _, again = search(judge, name=name, path=path, resume=True, **way)
    assert [(t.values, t.state, t.gains) for t in again] == [(t.values, t.state, t.gains) for t in whole]
    assert judge.asked > 0 or len(whole) == 1
    assert len(path.read_text().splitlines()) == 1 + len(whole)


def test_the_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    search(Judge(), path=tmp_path / "j")
    with pytest.raises(ResourceError, match=r"`recipe` was .x. and is .y."):
        Journal(tmp_path / "j", {"recipe": "y"}, resume=True)
    lines = (tmp_path / "j").read_text().splitlines()
    (tmp_path / "j").write_text("\n".join([*lines[:3], "{", *lines[4:]]) + "\n")
    with pytest.raises(ResourceError, match="line 4"):
        Journal(tmp_path / "j", HEADER, resume=True)
    (tmp_path / "j").write_text("\n".join([*lines[:3], *lines[4:]]) + "\n")
    with pytest.raises(ResourceError, match="should be trial 2"):
        Journal(tmp_path / "j", HEADER, resume=True)
    (tmp_path / "j").write_text("\n".join([*lines[:3], lines[3].replace('"values":{', '"values":{"z":1,')]) + "\n")
    with pytest.raises(ResourceError, match="trial 2 of the journal has other values"):
        search(Judge(), path=tmp_path / "j", resume=True)


def test_one_search_at_a_time(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "j", HEADER, resume=False),
        pytest.raises(ResourceError, match="another search"),
    ):
        Journal(tmp_path / "j", HEADER, resume=True)


def test_differences_are_paired_by_row() -> None:
    ours = Score("m", 0.75, 0.25, 4, "higher", (1.0, 1.0, 1.0, 0.0))
    theirs = Score("m", 0.5, 0.29, 4, "higher", (1.0, 1.0, 0.0, 0.0))
    gap = difference([ours], [theirs])
    assert (gap.value, gap.stderr) == (0.25, 0.25)  # of 0, 0, 1, 0: sqrt(0.75 / 12)
    lower = [Score("loss", 2.0, 3.0, 4, "lower")], [Score("loss", 1.0, 4.0, 4, "lower")]
    assert difference(*lower) == Estimate(-1.0, 5.0)
    assert [verdict(Estimate(v, 1.0)) for v in (2.5, 1.5, -2.5)] == ["better", "within noise", "worse"]
    both = joined(ours, theirs)
    assert both is not None
    assert (both.value, both.n) == (0.625, 8)
    assert overall([ours, theirs]).value == 0.625


def test_the_best_parent_is_chosen_where_the_result_was() -> None:
    """Chosen on the rows of the report it would be flattered by them, and the result not."""

    def held(name: str, search: float, report: float) -> Held:
        return Held(name, (Score("m", search, 0.1, 1, "higher"),), (Score("m", report, 0.1, 1, "higher"),))

    chosen = best_parent([held("a", 0.5, 0.9), held("b", 0.6, 0.1)])
    assert chosen is not None
    assert chosen.name == "b"
    assert optimism(chosen).value == pytest.approx(0.5)


def test_rows_of_search_and_report_are_different_ones() -> None:
    first, second = Near([0.0], "a", 100), Near([0.0], "b", 11)
    search_rows, report_rows = drawn([first, second], (), 0.4, seed=5)
    for one, other, task in zip(search_rows, report_rows, (first, second)):
        assert sorted((*one.rows, *other.rows)) == list(range(task.count))
    assert [len(draw.rows) for draw in report_rows] == [40, 4]
    assert drawn([first], (), 0.4, seed=5)[0] == (search_rows[0],)
    assert drawn([first], (), 0.4, seed=6)[0] != (search_rows[0],)
    assert search_rows[0].part(0, 0.5) + search_rows[0].part(0.5, 1) == search_rows[0].rows
    assert rungs(search_rows, halving=True) == (1.0,)
    assert rungs(search_rows[:1] * 2, halving=True) == (1.0,)
    assert rungs([Draw(first, tuple(range(64)))], halving=True) == (0.25, 0.5, 1.0)
