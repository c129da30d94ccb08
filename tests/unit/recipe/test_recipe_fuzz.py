"""Whatever happens to a recipe's text, reading it gives a recipe or a RecipeError, never anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import RecipeError
from cuvee.recipe import Recipe, canonical, from_data, parse_text, to_data, to_yaml
from tests.support.specs import SPECS

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "recipes").glob("*.yml"))
RICH = """\
merge_method: ties
base_model: {model: {path: base, revision: v1}, lora: l@r}
name: &n blend
dtype: bfloat16
parameters: &p {normalize: false, lambda: 1e-1, weight: 3}
slices:
  - sources:
      - model: a@main+x
        layer_range: [0, 4]
        parameters:
          density: [{filter: mlp, value: [0.2, 1]}, {value: 0.5}]
      - {model: b, layer_range: [0, 4], parameters: {<<: *p, density: 1}}
tokenizer: {source: union, tokens: {"<s>": {source: {kind: zero}, force: true}}}
chat_template: |
  {% for m in messages %}{{ m }}{% endfor %}
"""
TEXTS = [file.read_text() for file in GOLDEN if len(file.read_text()) < 700] + [RICH] * 8

MARKS = [
    ":",
    "- ",
    "\n",
    "\n  ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!x ",
    "!!float ",
    "<<: ",
    "'",
    '"',
    "|",
    ">",
    "#",
    "? ",
]
ODD = ["~", "1", "-1", ".nan", "1e999", "yes", "\t", "\0", "\u2028", "\ud800", "%", "@", "+", "---\n", "é", ", ", "0x"]
WORDS = ["model", "models:", "weight", "parameters: ", "merge_method: ", "layer_range: ", "filter: ", "value: ", "null"]
PIECES = st.sampled_from([*MARKS, *ODD, *WORDS])


@st.composite
def mutated(draw) -> str:
    """A right recipe after a few deletions, insertions, repetitions and swaps."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 30)))
        kind = draw(st.sampled_from(["delete", "insert", "repeat", "replace", "move"]))
        cut = text[start:stop]
        if kind == "delete":
            text = text[:start] + text[stop:]
        elif kind == "insert":
            text = text[:start] + draw(PIECES) + text[start:]
        elif kind == "repeat":
            text = text[:stop] + cut + text[stop:]
        elif kind == "replace":
            text = text[:start] + draw(PIECES | st.text(max_size=4)) + text[stop:]
        else:
            rest = text[:start] + text[stop:]
            to = draw(st.integers(0, len(rest)))
            text = rest[:to] + cut + rest[to:]
    return text


def outcome(read: Callable[[], Recipe]) -> Recipe | RecipeError:
    """What reading comes to; any other error is let through and fails the test."""
    try:
        return read()
    except RecipeError as error:
        assert_told(error)
        return error


def assert_told(error: RecipeError) -> None:
    assert error.faults
    assert str(error)


@settings(max_examples=200, deadline=None)
@given(mutated())
def test_mutated_text(text):
    result = outcome(lambda: parse_text(text, SPECS))
    if isinstance(result, Recipe):
        assert from_data(to_data(result), SPECS) == result
        assert canonical(parse_text(to_yaml(result), SPECS)) == canonical(result)
    else:
        assert all(fault.place and fault.place.line >= 1 and fault.place.column >= 1 for fault in result.faults)


ENTRIES = [
    "models",
    "slices",
    "modules",
    "sources",
    "model",
    "base_model",
    "layer_range",
    "source",
    "kind",
    "lora",
    "path",
]
SETTINGS = ["parameters", "weight", "filter", "value", "tokenizer", "tokens", "tokenizer_source", "chat_template"]
KEYS = [*ENTRIES, *SETTINGS, "merge_method", "dtype", "missing", "name"]

DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.integers(), inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["models", "slices", "modules", "parameters", "base_model"]), DATA), DATA)
def test_any_data(body, more):
    data = {"merge_method": "ties", **body, **(more if isinstance(more, dict) else {})}
    result = outcome(lambda: from_data(data, SPECS))
    if isinstance(result, Recipe):
        assert from_data(to_data(result), SPECS) == result
    else:
        assert result.faults
