"""Tables: what fits, what is put together, what is never cut off."""

from __future__ import annotations

import io

import pytest

from cuvee.cli.console import drawn
from cuvee.cli.plan_text import short_names, together
from cuvee.cli.tables import Column, FirstThatFits, facts, paragraph, table
from cuvee.planning import Effect, ModelFacts, Plan
from cuvee.recipe import Recipe
from cuvee.types import ModelRef

PIPE = io.StringIO()


@pytest.fixture(autouse=True)
def _forty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")


def test_a_table_is_plain_and_has_no_blanks_at_line_ends() -> None:
    made = table([Column("name"), Column("n", numbers=True)], [["a", "5"], ["long name", "12"]])
    assert drawn([made], PIPE) == "name        n\n─────────────\na           5\nlong name  12\n"


def test_long_cells_go_on_in_the_next_line() -> None:
    text = drawn([table([Column("name")], [["x" * 100]])], PIPE)
    assert max(map(len, text.splitlines())) == 40
    assert text.count("x") == 100


def test_cells_cannot_steer_the_terminal_or_use_markup() -> None:
    text = drawn([table([Column("name")], [["[bold]a\x1b[2J"]]), facts([("\x1bb", "\x9bc")])], PIPE)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "[bold]a\\x1b[2J" in text


def test_gaps_are_empty_lines() -> None:
    text = drawn([table([Column("name")], [["a"], ["b"], ["c"]], gaps=[1])], PIPE)
    assert [line.strip() for line in text.splitlines()[2:]] == ["a", "", "b", "c"]


def test_facts_without_a_value_are_left_out() -> None:
    assert drawn([facts([("a", "1"), ("b", ""), ("c", "3")])], PIPE) == "a  1\nc  3\n"


def test_a_paragraph_is_broken_between_words() -> None:
    lines = drawn([paragraph("word " * 20)], PIPE).splitlines()
    assert len(lines) == 3
    assert all(line.replace("word", "").strip() == "" for line in lines)


@pytest.mark.parametrize(("columns", "chosen"), [("40", "wide"), ("39", "narrow")])
def test_the_first_form_that_fits_is_drawn(columns: str, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    wide = table([Column("wide")], [["x" * 40]])
    narrow = table([Column("narrow")], [["x" * 50]])
    assert drawn([FirstThatFits([wide, narrow])], PIPE).startswith(chosen)


def effect(layers: tuple[int, int] | None, group: str, weight: float = 1.0, stack: str = "layers") -> Effect:
    return Effect(stack if layers else "", layers, group, 1, "merge", {"weight": (weight,)}, ("a",))


def test_parts_that_are_treated_alike_share_a_row() -> None:
    rows = together([effect((0, 3), "mlp"), effect((0, 3), "attention")])
    assert [(row.layers, row.group, row.tensors) for row in rows] == [((0, 3), "all", 2)]


def test_all_means_every_part_of_the_stack() -> None:
    rows = together([effect((0, 3), "mlp"), effect((0, 0), "attention"), effect((1, 3), "attention", 0.5)])
    assert [(row.layers, row.group) for row in rows] == [
        ((0, 3), "mlp"),
        ((0, 0), "attention"),
        ((1, 3), "attention"),
    ]


def test_stacks_are_told_apart() -> None:
    rows = together([effect((0, 3), "mlp", stack="encoder"), effect((0, 3), "mlp", stack="decoder")])
    assert [(row.stack, row.group) for row in rows] == [("encoder", "all"), ("decoder", "all")]


def test_tensors_outside_layers_are_named() -> None:
    rows = together([effect(None, "embed"), effect(None, "head"), effect(None, "norm", 0.5)])
    assert [row.group for row in rows] == ["embed,\nhead", "norm"]


def plan_of(*paths: str) -> Plan:
    facts = [ModelFacts(ModelRef(path), path, 1, 1, 1, ("float32",), {}) for path in paths]
    return Plan(Recipe("linear"), tuple(facts), 0, ())


def test_models_are_called_by_the_end_of_their_path() -> None:
    assert short_names(plan_of("../models/a", "org/b")) == {"../models/a": "a", "org/b": "b"}


@pytest.mark.parametrize("paths", [("one/model", "two/model"), ("a", "a-name-that-is-too-long")])
def test_models_are_numbered_where_their_names_do_not_do(paths: tuple[str, ...]) -> None:
    assert list(short_names(plan_of(*paths)).values()) == ["#1", "#2"]
