"""How YAML text is read: values, places, aliases, merges."""

from __future__ import annotations

import math

import pytest

from cuvee.errors import Place, RecipeError
from cuvee.recipe.nodes import read_scalar
from cuvee.recipe.text import read_documents, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("+3", 3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("-0x10", -16),
        ("0o17", 15),
        ("010", 10),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-5", 1e-5),
        ("1E3", 1000.0),
        ("-.5e+2", -50.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("False", False),
        ("yes", True),
        ("NO", False),
        ("On", True),
        ("off", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("1__0", "1__0"),
        ("1.2.3", "1.2.3"),
        ("0-4", "0-4"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("infinity", "infinity"),
        ("nan", "nan"),
        ("e5", "e5"),
        ("y", "y"),
        ("../models/a", "../models/a"),
        ("9" * 5000, "9" * 5000),
        ("9" * 30, 1e30),
    ],
)
def test_scalars(text, value):
    found = read_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_nan():
    assert math.isnan(read_scalar(".nan"))


def data_of(text: str):
    document = read_yaml(text, "f")
    assert document.findings == ()
    return document.data


def test_quotes_make_text():
    assert data_of("a: '1'\nb: \"yes\"\nc: |\n  2\nd: !!str 3\ne: ! 4\nf: !!float 5") == {
        "a": "1",
        "b": "yes",
        "c": "2\n",
        "d": "3",
        "e": "4",
        "f": 5,
    }


def test_keys_are_text_as_written():
    assert data_of("1: a\nyes: b\n~: c\n'': d") == {"1": "a", "yes": "b", "~": "c", "": "d"}


def test_places_of_keys_and_values():
    positions = read_yaml("a:\n  - b: 1\n    c:\n  - [2, 3]\nd: {e: 4}\n", "f").positions
    assert positions.keys[("a", 0, "b")] == Place("f", 2, 5)
    assert positions(("a", 0, "b")) == Place("f", 2, 8)
    assert positions(("a", 0, "c")) == Place("f", 3, 5)  # left empty: where the key is
    assert positions(("a",)) == Place("f", 2, 3)
    assert positions(("a", 1, 1)) == Place("f", 4, 9)
    assert positions.keys[("d", "e")] == Place("f", 5, 5)


def test_windows_line_ends_count_once():
    assert read_yaml("a: 1\r\nb: 2\r\n", "f").positions(("b",)) == Place("f", 2, 4)


def test_aliases_are_written_out_and_stand_where_the_anchor_does():
    document = read_yaml("x: &p {weight: 1}\ny: *p\nz: [*p, *p]\n", "f")
    assert document.data == {"x": {"weight": 1}, "y": {"weight": 1}, "z": [{"weight": 1}] * 2}
    assert document.positions(("z", 1, "weight")) == Place("f", 1, 16)


def test_merges_fill_in_what_is_not_there():
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\nd: {y: 5, <<: *b}\n"
    document = read_yaml(text, "f")
    assert document.data["c"] == {"x": 9, "y": 2, "z": 4}
    assert document.data["d"] == {"y": 5, "z": 4}
    assert document.findings == ()
    assert document.positions(("c", "z")) == Place("f", 2, 17)


def test_merge_of_a_merge():
    assert data_of("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n")["c"] == {"x": 1, "y": 2}


def test_quoted_merge_key_is_a_key():
    assert data_of("'<<': 1") == {"<<": 1}


def findings_of(text: str) -> list[tuple[str, int, int]]:
    document = read_yaml(text, "f")
    placed = []
    for finding in document.findings:
        place = document.positions.key(finding.path) if finding.on_key else document.positions(finding.path)
        assert place is not None
        placed.append((finding.code, place.line, place.column))
    return placed


def test_every_key_that_stands_twice_is_told():
    assert findings_of("a: 1\nb: {c: 1, c: 2, c: 3}\na: 2\n") == [
        ("duplicate-key", 2, 11),
        ("duplicate-key", 2, 17),
        ("duplicate-key", 3, 1),
    ]


def test_a_key_that_is_no_text_and_a_merge_of_no_mapping():
    assert findings_of("? [a]\n: 1\n? {b: 1}\n: 2\nc: {<<: 3}\n") == [
        ("wrong-type", 1, 3),
        ("wrong-type", 3, 3),
        ("wrong-type", 5, 9),
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("a: [1\nb: 3", 2, 2, "expected ',' or ']'"),
        ("a: b: c", 1, 5, "mapping values are not allowed"),
        ("\tfoo: a", 1, 1, "cannot start any token"),
        ("a: *nope", 1, 4, "alias `*nope`"),
        ("a: &a\n  b: *a", 2, 6, "alias `*a`"),
        ("x: 1\na: \x00", 2, 4, "special characters"),
        ("a: \ud800", 1, 4, "special characters"),
        ("a: 'b", 1, 6, "unexpected end of stream"),
        ("%YAML 9.1\n---\na: 1", 1, 1, "incompatible"),
        ("a: 1\n b: 2", 2, 3, "not allowed"),
        ("a: !e!x d", 1, 4, "undefined tag handle"),
        ("a: @b", 1, 4, "cannot start any token"),
    ],
)
def test_not_yaml(text, line, column, part):
    with pytest.raises(RecipeError) as caught:
        read_yaml(text, "f")
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("recipe-syntax", Place("f", line, column))
    assert part in fault.message


def test_several_documents():
    documents = read_documents("a: 1\n---\nb: &x 2\n---\n", "f")
    assert [document.data for document in documents] == [{"a": 1}, {"b": 2}, None]
    assert [document.positions(()) for document in documents[:2]] == [Place("f", 1, 1), Place("f", 3, 1)]


def test_an_alias_names_nothing_of_another_document():
    with pytest.raises(RecipeError, match="found none"):
        read_documents("a: &x 1\n---\nb: *x\n", "f")


def test_one_document_with_marks_around_it():
    assert data_of("---\na: 1\n...\n") == {"a": 1}
