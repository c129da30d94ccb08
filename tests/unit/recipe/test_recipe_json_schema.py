"""The JSON Schema for editors agrees with the parser on what it covers."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from cuvee.errors import RecipeError
from cuvee.recipe import from_data, json_schema
from tests.support.searches import space_from
from tests.support.specs import SPECS

GOLDEN = Path(__file__).parents[2] / "golden" / "recipes"
SCHEMA = json_schema(SPECS)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def known_recipes() -> list[Path]:
    return [file for file in sorted(GOLDEN.glob("*.yml")) if read(file)["merge_method"] in SPECS]


def read(file: Path) -> dict:
    return YAML(typ="safe", pure=True).load(file.read_text())


def test_the_schema_is_a_schema_and_is_json():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("file", known_recipes(), ids=lambda file: file.stem)
def test_it_takes_the_golden_recipes(file):
    VALIDATOR.validate(read(file))


def test_there_are_golden_recipes():
    assert len(known_recipes()) >= 15


def test_methods_and_parameters_are_offered_with_their_words():
    assert SCHEMA["properties"]["merge_method"]["anyOf"][0]["enum"] == sorted(SPECS)
    density = SCHEMA["$defs"]["ties-model"]["properties"]["density"]
    assert density["description"] == "kept fraction Range: (0, 1]. Default: 1.0."
    assert density["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0}
    assert "normalize" in SCHEMA["$defs"]["ties-shared"]["properties"]
    assert "normalize" not in SCHEMA["$defs"]["ties-model"]["properties"]
    assert "changes nothing" in SCHEMA["$defs"]["ties-model"]["properties"]["int8_mask"]["description"]


MODELS = [{"model": "a", "parameters": {"weight": 1}}, {"model": "b", "parameters": {"weight": 1}}]
RIGHT = {"merge_method": "ties", "base_model": "c", "models": MODELS}
SLICES = [{"sources": [{"model": "a", "layer_range": [0, 2], "parameters": {"weight": 1}}]}]

BOTH_TAKE = [
    RIGHT,
    {**RIGHT, "parameters": {"density": [0.1, 1], "lambda": {"value": 2}}},
    {**RIGHT, "parameters": {"density": [{"filter": "mlp", "value": [0.1, 1]}, {"value": 1}]}},
    {**RIGHT, "base_model": {"model": {"path": "c", "revision": "r"}, "lora": "l"}},
    {**RIGHT, "dtype": None, "parameters": None},
    {"merge_method": "linear", "slices": SLICES},
    {"merge_method": "linear", "modules": {"x": {"slices": SLICES}, "y": {"models": MODELS}}},
    {**RIGHT, "tokenizer": {"source": "union", "tokens": {"<s>": {"source": {"kind": "zero"}, "force": True}}}},
    {"merge_method": "linear", "models": MODELS, "parameters": {"normalize": 0}},
    {**RIGHT, "tokenizer": {"pad_to_multiple_of": 1}},
    {**RIGHT, "tokenizer": {"tokens": {"x": {"source": {"kind": "model_token", "model": "a", "token_id": 0}}}}},
]
BOTH_REFUSE = [
    {**RIGHT, "dtyp": "float32"},
    {**RIGHT, "merge_method": "tise"},
    {**RIGHT, "dtype": "int64"},
    {**RIGHT, "missing": "drop"},
    {**RIGHT, "slices": SLICES},
    {"merge_method": "linear"},
    {**RIGHT, "parameters": {"densty": 1}},
    {**RIGHT, "parameters": {"density": 0}},
    {**RIGHT, "parameters": {"density": 1.5}},
    {**RIGHT, "parameters": {"density": [0.5, 2]}},
    {**RIGHT, "parameters": {"density": {"value": 2}}},
    {**RIGHT, "parameters": {"density": [{"filter": "x", "value": [2]}]}},
    {**RIGHT, "parameters": {"weight": "0.5"}},
    {**RIGHT, "parameters": {"normalize": 3}},
    {**RIGHT, "models": [{"model": "a", "parameters": {"weight": 1, "normalize": True}}]},
    {**RIGHT, "models": [{"model": "a", "paramaters": {"weight": 1}}]},
    {**RIGHT, "models": [{"model": 3}]},
    {**RIGHT, "models": [{"parameters": {"weight": 1}}]},
    {**RIGHT, "models": []},
    {"merge_method": "linear", "slices": [{"sources": [{"model": "a", "parameters": {"weight": 1}}]}]},
    {
        "merge_method": "linear",
        "slices": [{"sources": [{"model": "a", "layer_range": [0], "parameters": {"weight": 1}}]}],
    },
    {"merge_method": "passthrough", "slices": [{"sources": [{"model": "a", "layer_range": [0, 1, 2]}]}]},
    {"merge_method": "passthrough", "slices": [{"sources": [{"model": "a", "layer_range": [-1, 2]}]}]},
    {"merge_method": "linear", "slices": [{**SLICES[0], "parameters": {"density": 1}}]},
    {"merge_method": "linear", "modules": {"x": {"models": MODELS, "parameters": {"density": 1}}}},
    {"merge_method": "karcher", "models": [{"model": "a"}], "parameters": {"max_iter": 2.5}},
]


@pytest.mark.parametrize("data", BOTH_TAKE, ids=str)
def test_both_take(data):
    from_data(data, SPECS)
    VALIDATOR.validate(data)


@pytest.mark.parametrize("data", BOTH_REFUSE, ids=str)
def test_both_refuse(data):
    with pytest.raises(Exception, match=r".") as caught:
        from_data(data, SPECS)
    assert type(caught.value).__name__ == "RecipeError"
    assert not VALIDATOR.is_valid(data)


def weighed(hole: object) -> dict:
    return {**RIGHT, "models": [{"model": "d", "parameters": {"weight": hole}}, *MODELS]}


PASSED = {"merge_method": "passthrough"}
HOLES_TAKEN = [
    weighed({"search": [0, 1]}),
    weighed({"search": [0.1, 10], "log": True, "start": 1, "per": 4, "name": "w"}),
    weighed({"choose": [0.5, [0, 1]], "per": ["mlp", "*"]}),
    {**RIGHT, "parameters": {"density": {"search": [0.1, 0.9], "step": 0.1}, "normalize": {"choose": [True, False]}}},
    {**RIGHT, "merge_method": {"choose": ["ties", "linear"]}, "parameters": {"density": {"search": [0.1, 1]}}},
    {**RIGHT, "base_model": {"choose": ["c", "d"], "name": "base"}},
    {**RIGHT, "models": [{**MODELS[0], "model": {"choose": ["d", "e"]}}, *MODELS]},
    {**RIGHT, "models": [{**MODELS[0], "model": "d", "include": {"choose": [True, False]}}, *MODELS]},
    {**RIGHT, "layer_scaling": {"policy": "lines", "alpha": {"search": [0.1, 1]}, "beta": {"choose": [0.5, 1]}}},
    {**PASSED, "slices": {"flow": {"models": ["a", "b"], "layers": 4, "repeats": 2}}},
]
HOLES_REFUSED = [
    weighed({"search": [0, 1], "stop": 1}),
    weighed({"search": [0]}),
    weighed({"search": ["a", "b"]}),
    weighed({"search": [0, 1], "choose": [0, 1]}),
    weighed({"search": [0, 1], "step": 0}),
    weighed({"search": [0, 1], "per": 1}),
    weighed({"choose": [1]}),
    weighed({"choose": [1, 1]}),
    {**RIGHT, "parameters": {"density": {"search": [0.1, 1.5]}}},
    {**RIGHT, "parameters": {"density": {"choose": [0.5, 1.5]}}},
    {**RIGHT, "parameters": {"densty": {"search": [0, 1]}}},
    {**RIGHT, "merge_method": {"choose": ["ties", "tise"]}},
    {**RIGHT, "merge_method": {"search": [0, 1]}},
    {**RIGHT, "models": [{**MODELS[0], "model": {"search": [0, 1]}}, *MODELS]},
    {**RIGHT, "models": [{**MODELS[0], "model": "d", "include": {"choose": [0, 1]}}, *MODELS]},
    {**PASSED, "slices": {"flow": {"models": ["a"], "layers": 0}}},
    {**PASSED, "slices": {"flow": {"models": ["a"]}}},
]


@pytest.mark.parametrize("data", HOLES_TAKEN, ids=str)
def test_both_take_holes(data):
    space_from(data)
    VALIDATOR.validate(data)


@pytest.mark.parametrize("data", HOLES_REFUSED, ids=str)
def test_both_refuse_holes(data):
    with pytest.raises(RecipeError):
        space_from(data)
    assert not VALIDATOR.is_valid(data)
