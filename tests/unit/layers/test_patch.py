"""Single values of a JSON text changed, and every other byte left as it is."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuvee.layers import patch_json, remove_json

Changes = dict[tuple[str, ...], Any]
TEXTS = st.text(st.sampled_from(string.ascii_letters + ' "\\/{}[]:,\n\t\u00e9\u4e2d\U0001f377\x00\x7f'), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)
BLANKS = st.sampled_from(["", " ", "\n", "\r\n", "\t", " \n    "])


def objects_in(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every object that is reached through objects only."""
    if not isinstance(value, Mapping):
        return []
    return [path, *(found for key, inner in value.items() for found in objects_in(inner, (*path, key)))]


def changed(value: Any, changes: Changes) -> Any:
    """The same changes made to the parsed object."""
    value = copy.deepcopy(value)
    for path, new in changes.items():
        target = value
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = new
    return value


class Laid:
    """An object written with any blanks and escapes, as pieces; the pieces of scalar members are known by path."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.pieces: list[str] = []
        self.members: dict[tuple[str, ...], int] = {}

    def _put(self, text: str) -> None:
        self.pieces.append(text)

    def _blank(self) -> None:
        self._put(self._data.draw(BLANKS))

    def write(self, value: Any, path: tuple[str, ...] | None) -> None:
        """Write a value; `path` is `None` inside lists."""
        if isinstance(value, dict):
            self._write_object(value, path)
        elif isinstance(value, list):
            self._put("[")
            for i, inner in enumerate(value):
                self._put("," if i else "")
                self._blank()
                self.write(inner, None)
            self._blank()
            self._put("]")
        else:
            if path is not None:
                self.members[path] = len(self.pieces)
            self._put(json.dumps(value, ensure_ascii=self._data.draw(st.booleans())))

    def _write_object(self, value: dict[str, Any], path: tuple[str, ...] | None) -> None:
        self._put("{")
        for i, (key, inner) in enumerate(value.items()):
            self._put("," if i else "")
            self._blank()
            self._put(json.dumps(key, ensure_ascii=self._data.draw(st.booleans())))
            self._blank()
            self._put(":")
            self._blank()
            self.write(inner, None if path is None else (*path, key))
        self._blank()
        self._put("}")


# --- any object, any changes


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=OBJECTS, indent=st.sampled_from([None, 1, 2, 4]), ascii_only=st.booleans(), data=st.data())
def test_the_text_then_means_what_the_changes_say(value: Any, indent: int, ascii_only: bool, data: Any) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    homes = st.sampled_from(objects_in(value))
    paths = st.tuples(homes, TEXTS | st.sampled_from([*value, "key"])).map(lambda pair: (*pair[0], pair[1]))
    changes = data.draw(st.dictionaries(paths, VALUES, max_size=3))
    prefixes = {path[:i] for path in changes for i in range(len(path))}
    changes = {path: new for path, new in changes.items() if path not in prefixes}
    patched = patch_json(text, changes)
    expected = changed(value, changes)
    assert json.loads(patched) == expected
    assert json.dumps(json.loads(patched)) == json.dumps(expected), "and in the same order"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=OBJECTS, data=st.data())
def test_every_byte_beside_a_replaced_value_stays(value: Any, data: Any) -> None:
    laid = Laid(data)
    laid.write(value, ())
    before, after = data.draw(BLANKS), data.draw(BLANKS)
    chosen = data.draw(st.lists(st.sampled_from(sorted(laid.members)), unique=True)) if laid.members else []
    changes = {path: data.draw(SCALARS) for path in chosen}
    pieces = list(laid.pieces)
    for path, new in changes.items():
        pieces[laid.members[path]] = json.dumps(new)
    assert patch_json(before + "".join(laid.pieces) + after, changes) == before + "".join(pieces) + after


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(value=OBJECTS, data=st.data())
def test_an_added_member_leaves_a_beginning_and_an_end_of_the_text(value: Any, data: Any) -> None:
    laid = Laid(data)
    laid.write(value, ())
    text, path = "".join(laid.pieces), data.draw(st.sampled_from(objects_in(value)))
    patched = patch_json(text, {(*path, "a new key"): 7})
    at = next((i for i, (x, y) in enumerate(zip(text, patched)) if x != y), len(text))
    assert patched.endswith(text[at:])
    assert json.loads(patched) == changed(value, {(*path, "a new key"): 7})


@pytest.mark.parametrize(
    "text", ["{}", " {\r\n}\n", '{"a" : 1.0e-05,"b":[1 ,2]}', '{"\\u0061": "\\ud83c\\udf77", "b": 1E400}', "{}\x00?"]
)
def test_no_changes_change_nothing(text: str) -> None:
    assert patch_json(text, {}) == text


# --- cases worth reading


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ('{"a": 1.0e-05, "b": 2}', {("b",): 3}, '{"a": 1.0e-05, "b": 3}'),
        ('{"a":1}', {("b",): 2}, '{"a":1, "b": 2}'),
        ("{}", {("b",): 2}, '{"b": 2}'),
        ('{"a": {}}', {("a", "b"): None}, '{"a": {"b": null}}'),
        ('{"a": {"b": 1}, "b": 2}', {("a", "b"): 5}, '{"a": {"b": 5}, "b": 2}'),
        ('{"a": [{"b": 1}], "b": 2}', {("b",): 5}, '{"a": [{"b": 1}], "b": 5}'),
        ('{"\\u0061": 1}', {("a",): 2}, '{"\\u0061": 2}'),
        ('{"a": "}\\"{"}', {("b",): 1}, '{"a": "}\\"{", "b": 1}'),
        ('{"a": "b", "b": 1}', {("b",): True}, '{"a": "b", "b": true}'),
        ('{"": {"": 1}}', {("", ""): 2}, '{"": {"": 2}}'),
        ('{"a": NaN, "b": -Infinity}', {("b",): 1}, '{"a": NaN, "b": 1}'),
        ('{"a": 1}', {("b",): 1, ("c",): 2, ("a",): 3}, '{"a": 3, "b": 1, "c": 2}'),
        ('{"a": {"x": 1}}', {("a",): {"y": 2}, ("a", "z"): 3}, '{"a": {"y": 2, "z": 3}}'),
        ('{\n  "a": 1\n}\n', {("b",): 2}, '{\n  "a": 1,\n  "b": 2\n}\n'),
        ('{\n  "a": {\n    "x": 1\n  }\n}', {("a", "y"): 2}, '{\n  "a": {\n    "x": 1,\n    "y": 2\n  }\n}'),
        ('{\n  "a": [\n    1\n  ]\n}', {("a",): [1, 2]}, '{\n  "a": [\n    1,\n    2\n  ]\n}'),
        ('{\n  "a": {\n    "l": 0\n  }\n}', {("a", "l"): [1]}, '{\n  "a": {\n    "l": [\n      1\n    ]\n  }\n}'),
        ('{"a": [1, 2]}', {("a",): [3]}, '{"a": [3]}'),
        ('{\r\n  "a": 1,\r\n  "b": 2\r\n}', {("b",): 3}, '{\r\n  "a": 1,\r\n  "b": 3\r\n}'),
    ],
)
def test_what_a_patch_looks_like(text: str, changes: Changes, expected: str) -> None:
    assert patch_json(text, changes) == expected


@pytest.mark.parametrize("path", [("no", "b"), ("a", "no", "b")])
def test_a_new_key_needs_an_object_to_stand_in(path: tuple[str, ...]) -> None:
    with pytest.raises(KeyError):
        patch_json('{"a": {"b": 1}}', {path: 1})


@pytest.mark.parametrize("there", ["[1]", "[]", "12", '"text"', "null"])
def test_a_new_key_cannot_stand_in_what_is_no_object(there: str) -> None:
    with pytest.raises(KeyError):
        patch_json(f'{{"a": {there}}}', {("a", "b"): 1})


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ('{\n    "a": 1\n}', {("b",): 2}, '{\n    "a": 1,\n    "b": 2\n}'),
        ('{\n\t"a": 1\n}', {("b",): 2}, '{\n\t"a": 1,\n\t"b": 2\n}'),
        ('{\n    "a": [\n        1\n    ]\n}', {("a",): [2]}, '{\n    "a": [\n        2\n    ]\n}'),
        ('{\r\n  "a": 1\r\n}', {("b",): 2}, '{\r\n  "a": 1,\r\n  "b": 2\r\n}'),
    ],
)
def test_a_new_member_is_laid_out_as_its_neighbours_are(text: str, changes: Changes, expected: str) -> None:
    assert patch_json(text, changes) == expected


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=OBJECTS, data=st.data())
def test_members_taken_out_leave_the_others_byte_for_byte(value: Any, data: Any) -> None:
    laid = Laid(data)
    laid.write(value, ())
    text = "".join(laid.pieces)
    members = sorted(laid.members)
    chosen = data.draw(st.lists(st.sampled_from(members), unique=True)) if members else []
    expected = copy.deepcopy(value)
    for path in chosen:
        target = expected
        for key in path[:-1]:
            target = target.get(key, {})
        target.pop(path[-1], None)
    left = remove_json(text, [*chosen, ("not", "there")])
    assert json.dumps(json.loads(left)) == json.dumps(expected), "and in the same order"
    assert is_within(left, text)


def is_within(part: str, whole: str) -> bool:
    """Whether a text is what is left of another one when characters are taken out."""
    rest = iter(whole)
    return all(character in rest for character in part)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{\n  "a": 1,\n  "q": {"x": [1, 2]},\n  "b": 2\n}\n', '{\n  "a": 1,\n  "b": 2\n}\n'),
        ('{\n  "a": 1,\n  "q": null\n}', '{\n  "a": 1\n}'),
        ('{"q": 1, "a": 1.0e-05}', '{"a": 1.0e-05}'),
        ('{"q":"}"}', "{}"),
    ],
)
def test_a_member_goes_with_its_comma_and_its_line(text: str, left: str) -> None:
    assert remove_json(text, [("q",)]) == left
