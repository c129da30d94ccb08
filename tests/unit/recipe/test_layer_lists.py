"""Layers as a list: read, written, told where it is wrong, and what a source of a slice makes of it."""

from __future__ import annotations

import random

import jsonschema
import pytest

from cuvee.recipe import canonical, from_data, json_schema, parse_text, to_data
from cuvee.recipe.layer_list import MAX_LAYERS, is_forward, read_layers, runs, written_layers
from tests.support.marks import assert_only
from tests.support.specs import SPECS

HEAD = "merge_method: passthrough\nslices:\n  - sources:\n      - "


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("0-7", [*range(8)]),
        ("20", [20]),
        ("15-12", [15, 14, 13, 12]),
        ("4-7x2", [4, 5, 6, 7, 4, 5, 6, 7]),
        ("12x3", [12, 12, 12]),
        (" 0 - 2 ,5 x 2", [0, 1, 2, 5, 5]),
        ("3-3", [3]),
    ],
)
def test_both_ends_are_taken(text: str, layers: list[int]) -> None:
    assert list(read_layers(text)) == layers


@pytest.mark.parametrize(
    "text", ["", "0-", "-1", "1,,2", "1-2-3", "a", "1.5", "2x0", "0-99999", "1x999999", "²", "1;2"]
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="found"):
        read_layers(text)


def test_a_list_has_an_end() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_LAYERS:,} layers"):
        read_layers(",".join(["0-999"] * 11))


@pytest.mark.parametrize("text", ["1x10001", "1x1000000", "0-1000000", "1x0", f"0x{10**15}"])
def test_the_limit_is_named_however_large_the_number(text: str) -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_LAYERS:,} layers in all, found `{text}`"):
        read_layers(text)


def test_what_is_written_is_read_again() -> None:
    chance = random.Random(0)
    for _ in range(300):
        layers = tuple(chance.randrange(6) for _ in range(chance.randrange(1, 12)))
        assert read_layers(written_layers(layers)) == layers
        assert tuple(layer for run in runs(layers) for layer in run) == layers


def test_only_one_run_upwards_is_forward() -> None:
    assert all(map(is_forward, ([3, 4, 5], [3])))
    assert not any(map(is_forward, ([], [2, 1], [0, 2], [1, 1])))


def source(written: str) -> str:
    return HEAD + f"{{model: a, {written}}}"


def test_a_forward_list_is_a_layer_range() -> None:
    listed, ranged = (parse_text(source(s), SPECS) for s in ('layers: "2-5"', "layer_range: [2, 6]"))
    assert listed == ranged
    assert canonical(listed) == canonical(ranged)


@pytest.mark.parametrize("written", ['layers: "3-0"', "layers: 0-1x2", "layers: 0-1, 5", "layers: 7"])
def test_every_list_survives_being_written(written: str) -> None:
    written = written.replace("0-1, 5", '"0-1, 5"')
    recipe = parse_text(source(written), SPECS)
    assert from_data(to_data(recipe), SPECS) == recipe


def test_a_repeated_slice_is_the_slice_again() -> None:
    one = "    repeat: 2\n"
    twice = "merge_method: passthrough\nslices:\n" + "  - sources: [{model: a, layer_range: [0, 2]}]\n" * 2
    assert parse_text(HEAD + "{model: a, layer_range: [0, 2]}\n" + one, SPECS) == parse_text(twice, SPECS)


CASES = [
    ("no list", "bad-layer-range", source('layers: ‸"0-7;"'), "found `0-7;`", "both ends of a range are taken"),
    ("neither", "missing-key", HEAD + "‸{model: a}", "`layer_range` or `layers`, found neither", None),
    ("both", "bad-layer-range", source('layer_range: [0, 1], ‸layers: "0"'), "only one of", '`layers: "0-7"`'),
    ("a range in words of the other", "wrong-type", source("layers: ‸[0, 7]"), "found a list", "leaves the second"),
    ("negative", "wrong-type", source("layers: ‸-1"), "found -1", None),
    ("backwards", "bad-layer-range", source("layer_range: ‸[8, 4]"), "run forward", '`layers: "7-4"` runs backwards'),
    ("misspelt", "unknown-key", source("‸layer: 3"), "has no key `layer`", "did you mean `layers`"),
    ("no times", "wrong-value", source("layers: 1") + "\n    repeat: ‸0", "at least 1, found 0", None),
    ("too often", "wrong-value", source("layers: 1") + "\n    repeat: ‸99999", "at most 10000", None),
    ("no number", "wrong-type", source("layers: 1") + "\n    repeat: ‸twice", "an integer", None),
    (
        "uneven",
        "bad-layer-range",
        "merge_method: linear\nparameters: {weight: 1}\nslices:\n"
        '  - sources: [{model: a, layers: "3-0"}, {model: b, layers: ‸"0, 2"}]',
        "4 layers as the first, found 2",
        None,
    ),
    (
        "the same layers twice",
        "duplicate-model",
        "merge_method: linear\nparameters: {weight: 1}\nslices:\n"
        '  - sources: [{model: a, layers: "3-0"}, {model: ‸a, layers: "3-2, 1, 0"}]',
        "layers 3-0 of `a`",
        None,
    ),
]


@pytest.mark.parametrize(("code", "text", "message", "hint"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_faults_stand_at_their_places(code, text, message, hint) -> None:
    assert_only(text, code, message, hint)


VALIDATOR = jsonschema.Draft202012Validator(json_schema(SPECS))


def sliced(piece: dict, **recipe) -> dict:
    return {"merge_method": "passthrough", **recipe, "slices": [piece]}


def test_the_schema_for_editors_knows_lists_repeats_and_methods_of_slices() -> None:
    own = {"model": "a", "layers": "0-3x2, 7-5"}
    VALIDATOR.validate(sliced({"sources": [own], "repeat": 3}))
    VALIDATOR.validate(sliced({"sources": [{"model": "a", "layers": 3}]}))
    weighted = {"sources": [{**own, "parameters": {"weight": 1}}]}
    VALIDATOR.validate(sliced({**weighted, "merge_method": "linear"}))
    assert not VALIDATOR.is_valid(sliced(weighted))
    for wrong in ({"layers": "0-"}, {"layers": [0, 1]}, {"layers": "1", "layer_range": [0, 1]}, {}):
        assert not VALIDATOR.is_valid(sliced({"sources": [{"model": "a", **wrong}]}))
    for wrong in ({"repeat": 0}, {"merge_method": "tis"}):
        assert not VALIDATOR.is_valid(sliced({"sources": [own], **wrong}))
