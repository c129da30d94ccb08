"""Recipes made to harm: each is refused with a fault, in little time and memory, and nothing of it is run."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from cuvee.errors import RecipeError
from cuvee.recipe import from_data, parse_file, parse_text
from cuvee.recipe.limits import MAX_BYTES
from tests.support.specs import SPECS


def refused(text: str) -> str:
    """Code of the one fault of a text, which must come quickly."""
    start = time.monotonic()
    with pytest.raises(RecipeError) as caught:
        parse_text(text, SPECS)
    assert time.monotonic() - start < 60
    (fault,) = caught.value.faults
    assert len(str(fault)) < 500
    return fault.code


def laughs(levels: int, width: int = 10) -> str:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


def test_billion_laughs():
    assert refused(laughs(12)) == "recipe-too-large"


def test_billion_laughs_by_merging():
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    assert refused("\n".join(lines)) == "recipe-too-large"


def test_a_long_chain_of_merges():
    lines = ["? a0: &a0 {x: 1}"]
    lines += [f"  a{i}: &a{i} {{<<: *a{i - 1}}}" for i in range(1, 3000)]
    assert refused("\n".join([*lines, ": 1", "b: {<<: *a2999}"])) == "recipe-too-large"


def test_depth_by_aliases():
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} {'[' * 40}*a{i - 1}{']' * 40}" for i in range(1, 100)]
    assert refused("\n".join(lines)) == "recipe-too-large"


def test_an_alias_of_itself():
    assert refused("a: &a [*a]") == "recipe-syntax"
    assert refused("a: &a {<<: *a}") == "recipe-syntax"


def test_a_few_aliases_are_fine():
    shared = "parameters: &p {weight: 1}"
    models = "".join(f"  - {{model: m{i}, parameters: *p}}\n" for i in range(500))
    parse_text(f"merge_method: linear\n{shared}\nmodels:\n{models}", SPECS)


@pytest.mark.parametrize("unit", ["[", "{a: ", "- "])
def test_deep_nesting(unit):
    assert refused(unit * 51 + "x") == "recipe-too-large"
    assert refused(unit * 100_000) == "recipe-too-large"


def test_deep_blocks():
    assert refused("\n".join(" " * i + "a:" for i in range(800))) == "recipe-too-large"


def test_nesting_is_named_at_its_place():
    with pytest.raises(RecipeError, match="nested at most 50 deep") as caught:
        parse_text("a: " + "[" * 60, SPECS)
    place = caught.value.faults[0].place
    assert place is not None
    assert (place.line, place.column) == (1, 53)


def test_more_than_a_megabyte():
    assert refused("#" * (MAX_BYTES + 1)) == "recipe-too-large"
    assert refused("é" * (MAX_BYTES // 2 + 1)) == "recipe-too-large"


def test_a_megabyte_of_comment_is_fine():
    text = "merge_method: karcher\nmodels: [{model: a}]\n"
    parse_text(text + "#" * (MAX_BYTES - len(text)), SPECS)


def test_a_large_file_is_not_read_to_its_end(tmp_path):
    file = tmp_path / "r.yml"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: a terabyte that takes no room
    with pytest.raises(RecipeError) as caught:
        parse_file(file, SPECS)
    assert caught.value.codes == ("recipe-too-large",)


@pytest.mark.slow
def test_a_list_of_half_a_million():
    assert refused("a: [" + "1," * 490_000) == "recipe-too-large"


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch pwned']",
        "!!python/object:subprocess.Popen {}",
        "!!python/name:os.system x",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp 2024-01-01",
        "!include /etc/passwd",
        "!<tag:example.org,2000:x> 1",
        "!Custom [1]",
    ],
)
def test_tags(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="plain values only, found the tag") as caught:
        parse_text(f"merge_method: {value}\n", SPECS)
    (fault,) = caught.value.faults
    assert fault.code == "recipe-syntax"
    assert fault.place is not None
    assert (fault.place.line, fault.place.column) == (1, 15)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "number",
    ["9" * 10_000, "0x" + "f" * 10_000, "-" + "9" * 400, "1e999", "0x" + "f" * 300, "1" + "_1" * 3000],
    ids=lambda number: f"{number[:3]} of {len(number)}",
)
def test_numbers_without_end(number):
    text = f"merge_method: karcher\nmodels: [{{model: a}}]\nparameters: {{max_iter: {number}}}"
    with pytest.raises(RecipeError) as caught:
        parse_text(text, SPECS)
    assert set(caught.value.codes) <= {"wrong-type", "out-of-range"}
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("number", [10**5000, -(10**5000), float("nan")], ids=["huge", "minus huge", "nan"])
def test_numbers_without_end_from_python(number):
    for data in (
        {"models": [{"model": "a"}], "parameters": {"max_iter": number}},
        {"models": [{"model": number}]},
        {"slices": [{"sources": [{"model": "a", "layer_range": [0, number]}]}]},
        {"models": [{"model": "a"}], "tokenizer": {"pad_to_multiple_of": number}},
    ):
        with pytest.raises(RecipeError):
            from_data({"merge_method": "karcher", **data}, SPECS)


def test_python_data_without_end():
    endless: dict = {"merge_method": "karcher"}
    endless["models"] = [endless]
    with pytest.raises(RecipeError) as caught:
        from_data(endless, SPECS)
    assert caught.value.codes == ("recipe-too-large",)
    wide: list = []
    for _ in range(12):
        wide = [wide] * 10
    with pytest.raises(RecipeError) as caught:
        from_data({"models": wide}, SPECS)
    assert caught.value.codes == ("recipe-too-large",)


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00\x01", b"merge_method: \xe9\n", b"\x80"])
def test_bytes_that_are_no_text(tmp_path, raw):
    file = tmp_path / "r.yml"
    file.write_bytes(b"# fine\n" + raw)
    with pytest.raises(RecipeError, match="should be UTF-8 text, found the byte 0x") as caught:
        parse_file(file, SPECS)
    assert caught.value.codes == ("recipe-syntax",)
    place = caught.value.faults[0].place
    assert place is not None
    assert (place.file, place.line) == (str(file), 2)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    file = tmp_path / "r.yml"
    file.write_bytes(b"\xef\xbb\xbfmerge_method: karcher\nmodels: [{model: a}]\n")
    assert parse_file(file, SPECS).method == "karcher"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.yml", "No such file or directory"),
        (".", "Is a directory"),
        ("no/such/folder.yml", "No such file or directory"),
        ("nul\0.yml", "embedded null byte"),
    ],
)
def test_files_that_are_not_there(tmp_path, name, reason):
    with pytest.raises(RecipeError, match=f"cannot be read: {reason}") as caught:
        parse_file(tmp_path / name, SPECS)
    assert caught.value.codes == ("recipe-missing",)


def test_reading_declarations_loads_nothing_heavy():
    code = (
        "import sys, cuvee.recipe as r\n"
        "recipe = r.Recipe('linear')\n"
        "r.resolve('w', [{'w': (0, 1)}], 'x', 0.5); r.canonical(recipe)\n"
        "heavy = {'torch', 'pydantic', 'ruamel'} & {name.split('.')[0] for name in sys.modules}\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("place", ["name", "dtype", "model", "filter", "key"])
@pytest.mark.parametrize("as_text", [True, False], ids=["text", "data"])
def test_half_a_letter(place, as_text):
    """No file can hold it: the merge would fail when the record is written, after all of the work."""
    half = "\ud800"
    weight = [{"filter": half if place == "filter" else "mlp", "value": 1}, {"value": 1}]
    model = {"model": half if place == "model" else "a", "parameters": {"weight": weight}}
    data = {"merge_method": "linear", "models": [model], **({place: half} if place in ("name", "dtype") else {})}
    data |= {half: 1} if place == "key" else {}
    with pytest.raises(RecipeError, match=r"should be one that UTF-8 can hold, found the text '.ud800'"):
        parse_text(json.dumps(data), SPECS) if as_text else from_data(data, SPECS)
