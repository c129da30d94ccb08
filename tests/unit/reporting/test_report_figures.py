"""Who is who, what the charts show, and the figures in words."""

from __future__ import annotations

import doctest
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cuvee.api.evidence import gather
from cuvee.reporting import cast, charts, drawing, figures, layers, lineage, markup, words
from cuvee.reporting import verdicts as verdict_words
from cuvee.reporting.evidence import COMPARISON, Evidence, fit
from cuvee.reporting.figures import charts_of
from cuvee.reporting.verdicts import verdicts
from tests.support.reporting import HOSTILE, SCRIPT, explanation, search_folder


def record(*inputs: dict[str, Any]) -> dict[str, Any]:
    counts = dict.fromkeys(("merged", "copied", "tied", "lost", "left_out"), 0)
    return {"recipe": {"merge_method": "ties"}, "inputs": list(inputs), "counts": counts}


def model(name: str, *, base: bool = False, inputs: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"model": name, "base": base, **({"inputs": list(inputs)} if inputs else {})}


def row(name: str, value: float, *, parent: bool, against: dict[str, Any] | None = None) -> dict[str, Any]:
    cell = {"metric": "accuracy", "value": value, "stderr": 0.1, "n": 50, "direction": "higher", "normalised": value}
    cost = {"parameters": 10, "seconds_per_row": None}
    told = {"model": name, "parent": parent, "tasks": {"sums": {**cell, "against": None}}, "mean": value}
    return {**told, "minimum": value, "hardest": "sums", "against": against, "cost": cost}


def difference(verdict: str) -> dict[str, Any]:
    found = {"value": 0.1, "low": -0.1, "high": 0.3, "level": 0.95, "verdict": verdict, "rows": 50, "differing": 7}
    return {"model": "p/a", "among": 2, "difference": found}


def evidence(verdict: str = "better", **more: Any) -> Evidence:
    made = record(model("../p/base", base=True), model("../p/a"), model("../p/b"))
    models = [
        row("p/base", 0.2, parent=True),
        row("p/a", 0.6, parent=True),
        row("p/b", 0.5, parent=True),
        row("m/merged", 0.7, parent=False, against=difference(verdict)),
        row("m/other", 0.6, parent=False, against=difference(verdict)),
        row("ensemble", 0.8, parent=False, against=difference(verdict)),
    ]
    told = {"tasks": {"sums": "accuracy"}, "raw": False, "models": models, "groups": [], "forms": [], "notes": []}
    return replace(Evidence(Path("/elsewhere/merged"), made, {}, told), **more)


def test_examples_in_docstrings_hold() -> None:
    for module in (cast, words, markup, layers, verdict_words):
        assert doctest.testmod(module).failed == 0
        assert doctest.testmod(module).attempted > 0


def test_models_are_known_by_where_they_lie_or_their_last_part() -> None:
    found = cast.roles(evidence())
    assert found == {
        "p/base": "base",
        "p/a": "input",
        "p/b": "input",
        "m/merged": "this merge",
        "m/other": "another model",
        "ensemble": "ensemble",
    }


def test_of_two_models_of_one_name_the_merge_is_the_one_that_lies_there(tmp_path: Path) -> None:
    told = dict(evidence().comparison or {})
    told["models"] = [*told["models"], row(str(tmp_path / "merged"), 0.1, parent=False)]
    assert cast.the_merge(evidence(comparison=told)) is None
    assert cast.the_merge(evidence(comparison=told, folder=tmp_path / "merged")) == str(tmp_path / "merged")


def test_a_comparison_of_other_models_is_no_verdict_on_this_one() -> None:
    strange = evidence(folder=Path("/elsewhere/third"))
    assert cast.the_merge(strange) is None
    assert next(verdicts(strange)).head == "Not judged yet"


@pytest.mark.parametrize(
    ("verdict", "head", "mood"),
    [
        ("better", "Better than every parent", "better"),
        ("worse", "Worse than its best parent", "worse"),
        ("within noise", "Within noise of its best parent", "even"),
    ],
)
def test_the_first_verdict_is_that_of_the_comparison(verdict: str, head: str, mood: str) -> None:
    first = next(verdicts(evidence(verdict)))
    assert (first.head, first.mood) == (head, mood)
    assert "+0.100 [−0.100, +0.300]" in first.text
    assert "the best of 2 parents" in first.text


def test_the_ensemble_is_set_beside_the_merge() -> None:
    (told,) = [one for one in verdicts(evidence()) if one.head == "Against the ensemble"]
    assert "mean of 0.800; the merge is 0.100 below that" in told.text


def test_a_base_that_is_better_is_told_where_it_is_no_parent() -> None:
    told = dict(evidence().comparison or {})
    told["models"] = [row("p/base", 0.9, parent=False), *told["models"][1:]]
    (worse,) = [one for one in verdicts(evidence(comparison=told)) if one.head == "Below its base"]
    assert worse.mood == "worse"
    assert "reaches 0.900, and the merge 0.700" in worse.text
    assert all(one.head != "Below its base" for one in verdicts(evidence()))


def test_nothing_is_made_up_where_nobody_judged() -> None:
    (only,) = verdicts(evidence(comparison=None))
    assert only.mood == "open"
    assert "cuvee report DIR --tasks" in only.text


def test_dots_have_intervals_of_two_standard_errors() -> None:
    ((name, title, description, spec),) = charts_of(evidence())
    assert (name, title) == ("task-1", "sums")
    assert "6 models on 50 rows" in description
    assert "The best is ensemble with 0.800" in description
    values = {one["model"]: one for one in spec["data"]["values"]}
    assert list(values) == ["merged", "a", "b", "base", "ensemble", "other"]
    assert values["merged"]["value"] == 0.7
    assert values["merged"]["low"] == pytest.approx(0.7 - 1.959964 * 0.1)
    assert values["merged"]["high"] == pytest.approx(0.7 + 1.959964 * 0.1)


def test_contributions_are_told_largest_first() -> None:
    told = explanation()
    (one,) = figures.explanations(evidence(explanations=tuple(told["explanations"])))
    assert one.rows == (
        ("one", "+0.500 [+0.460, +0.540]", "+0.400 [+0.360, +0.440]", "0.800"),
        (HOSTILE, "+0.250 [+0.210, +0.290]", "−0.100 [−0.140, −0.060]", "–"),
    )
    assert [(bar["part"], bar["kind"], bar["value"]) for bar in one.spec["data"]["values"]][:2] == [
        ("one", "Shapley value", 0.5),
        ("one", "lost if left out", 0.4),
    ]


def test_a_search_is_read_with_its_trials_but_for_the_line_that_is_being_written(tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    folder.mkdir()
    from cuvee.api.evidence import _search

    faults: list[Any] = []
    found = _search(search_folder(tmp_path / "found"), faults)
    assert found is not None
    assert faults == []
    assert [trial["state"] for trial in found["tried"]] == ["scored"] * 4 + ["failed"]
    history, front = figures.searches(evidence(searches=(found,)))
    assert [row["best"] for row in history.spec["data"]["values"]] == pytest.approx([0.55, 0.6, 0.6, 0.75, 0.75])
    assert history.spec["data"]["values"][-1]["gain"] is None
    assert front.title == f"sums against {SCRIPT}"
    kinds = {row["trial"]: row["kind"] for row in front.spec["data"]["values"]}
    assert kinds == {0: "beaten", 1: "Pareto front", 2: "beaten", 3: "Pareto front"}


def test_lineage_is_drawn_and_told_with_what_is_inside() -> None:
    made = record(model("base", base=True), model("inner", inputs=(model("x"), model("<y>"))))
    drawn = lineage.lineage(made, "merged")
    assert drawn.count("<rect") == 5
    assert drawn.count("<path") == 4
    assert "&lt;y&gt;" in drawn
    assert "<y>" not in drawn
    assert lineage.told(made, "merged") == (
        "merged was made by ties of base (the base), inner, itself made of (x, <y>)."
    )


def test_pictures_are_drawn_in_both_themes_without_a_browser() -> None:
    ((_, _, _, spec),) = charts_of(evidence())
    light, dark = drawing.draw_png(spec, "light"), drawing.draw_png(spec, "dark")
    assert light[:4] == dark[:4] == b"\x89PNG"
    assert light != dark
    svg = drawing.draw_svg(spec, name="mine")
    assert "merged" in svg
    assert "http" not in svg.replace("http://www.w3.org/", "")


def test_json_in_a_script_cannot_end_it() -> None:
    made = markup.data({"a": SCRIPT, "b": "&"})
    assert "<" not in made
    assert ">" not in made
    assert "&" not in made


def test_places_where_evidence_does_not_fit_are_named() -> None:
    told = dict(evidence().comparison or {})
    assert fit(told, COMPARISON) == []
    del told["raw"]
    told["tasks"] = {"sums": 3}
    told["models"] = [row("m/merged", 0.7, parent=False, against=difference("splendid"))]
    assert fit(told, COMPARISON) == [
        "tasks.sums should be a text; found 3",
        "raw is missing",
        "models[0].against.difference.verdict should be one of better, worse, within noise; found 'splendid'",
    ]
    assert fit([], COMPARISON) == ["it should be a mapping; found []"]


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    from cuvee.errors import InputError

    with pytest.raises(InputError) as caught:
        gather(tmp_path, [], [tmp_path])
    assert caught.value.codes == ("no-record", "bad-data")


def test_shares_end_at_their_ends_and_other_metrics_where_their_intervals_do() -> None:
    told = dict(evidence().comparison or {})
    told["models"] = [row("m/merged", 0.95, parent=False), row("p/a", 0.05, parent=True)]
    ((_, _, _, spec),) = charts_of(evidence(comparison=told))
    assert [(one["low"], one["high"]) for one in spec["data"]["values"]] == [
        (pytest.approx(0.95 - 0.1959964), 1.0),
        (0.0, pytest.approx(0.05 + 0.1959964)),
    ]
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0.0, 1.0]
    for one in told["models"]:
        one["tasks"]["sums"] |= {"metric": "log_loss"}
    ((_, _, _, spec),) = charts_of(evidence(comparison={**told, "tasks": {"sums": "log_loss"}}))
    assert max(one["high"] for one in spec["data"]["values"]) == pytest.approx(0.95 + 0.1959964)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_values_in_dark_cells_are_light_and_in_light_ones_dark(theme: drawing.Theme) -> None:
    rows = [{"x": "0", "y": name, "value": value, "label": str(value)} for name, value in (("a", 0.1), ("b", 0.9))]
    spec = charts.heat(rows, ["0"], ["a", "b"], title="weight", domain=(0, 1), labels=0.55)
    drawn = drawing.draw_svg(spec, theme)
    colours = [re.findall(rf'<text[^>]*fill="([^"]*)"[^>]*>{value}</text>', drawn)[-1] for value in ("0.1", "0.9")]
    assert colours[0] == drawing.THEMES[theme]["text"]["color"]
    assert colours[1] not in ("", colours[0])


def test_an_interval_in_a_cell_stays_together() -> None:
    made = markup.table(["a", "b"], [["x", "worse: −0.1 [−0.2, +0.0]"], ["y", "a [b]"]], "it")
    assert '<td>worse: −0.1 <span class="whole">[−0.2, +0.0]</span></td>' in made
    assert "<td>a [b]</td>" in made


def test_what_is_no_letter_is_drawn_and_told_as_a_sign() -> None:
    told = dict(evidence().comparison or {})
    names = ("m/half \ud800", "m/end \0", "m" * 5_000, "m/\u202eright to left")
    told["models"] = [row(name, 0.7, parent=False) for name in names]
    ((_, _, _, spec),) = charts_of(evidence(comparison=told))
    drawn = drawing.draw_svg(spec)
    for name in ("half \ufffd", "end \ufffd", "\ufffdright to left"):
        assert name in drawn
        assert json.dumps(name) in markup.data([spec])
        assert markup.text(name.replace("\ufffd", "\ud800")) == name


def test_of_many_tasks_a_few_are_named() -> None:
    told = dict(evidence().comparison or {})
    cell = {**told["models"][3]["tasks"]["sums"], "against": difference("better")["difference"]}
    tasks = {f"task {number}": cell for number in range(40)}
    own = {**told["models"][3], "tasks": tasks, "hardest": "task 1"}
    told |= {"models": [own], "tasks": dict.fromkeys(tasks, "accuracy")}
    (where,) = [one for one in verdicts(evidence(comparison=told)) if one.head == "Where"]
    assert "task 7 and 32 more" in where.text


def test_a_search_in_which_nothing_was_scored_has_no_chart(tmp_path: Path) -> None:
    from cuvee.api.evidence import _search

    found = dict(_search(search_folder(tmp_path / "found"), []) or {})
    failed = {"number": 0, "state": "failed", "gains": None, "seconds": 0.1}
    assert (
        list(figures.searches(evidence(searches=({**found, "objectives": [{"task": "a"}], "tried": [failed]},)))) == []
    )
