"""All faults of a recipe in one report, in the order of the file; and the same for recipes written in Python."""

from __future__ import annotations

import pickle

import pytest

from cuvee.errors import Place, RecipeError
from cuvee.recipe import Recipe, faults, from_data, parse_file, parse_text
from cuvee.recipe.model import ModelEntry
from cuvee.types import ModelRef
from tests.support.marks import faults_in, told, unmarked
from tests.support.specs import SPECS

EIGHT = """\
merge_method: ties
‸dtpe: bfloat16
base_model: base
models:
  - model: a
    parameters:
      weight: ‸"0.5"
      density: [0.2, ‸1.5]
  - model: b
    parameters:
      weight: 0.3
      ‸densty: 0.5
      ‸normalize: true
  - ‸model: c
  - model: ‸a
    parameters: {weight: 1}
out_dtype: ‸int8
"""
CODES = [
    "unknown-key",
    "wrong-type",
    "out-of-range",
    "unknown-parameter",
    "ill-placed-parameter",
    "missing-parameter",
    "duplicate-model",
    "wrong-value",
]


def test_eight_faults_of_eight_kinds_in_one_report():
    _, places = unmarked(EIGHT)
    assert told(EIGHT) == list(zip(CODES, places, strict=True))


def test_report_is_one_line_and_one_hint_per_fault():
    with pytest.raises(RecipeError) as caught:
        parse_text("merge_method: ties\nmodells: []\nbase_model: b\n", SPECS, "my.yml")
    assert str(caught.value) == "my.yml:2:1: the recipe has no key `modells`\n    did you mean `models`?"
    assert caught.value.exit_code == 3


def test_a_key_that_stands_twice_does_not_end_the_report():
    text = (
        "merge_method: linear\nmodels:\n  - model: a\n    parameters: {weight: 1, ‸weight: 2}\n"
        "  - model: b\n    ‸model: c\n    parameters: {weight: ‸x}\n‸models: []\n"
    )
    _, places = unmarked(text)
    codes = ["duplicate-key", "duplicate-key", "wrong-type", "duplicate-key"]
    assert told(text) == list(zip(codes, places, strict=True))
    assert faults_in(text)[0].hint == "it stands in line 4 already; take one out"


def test_file_is_named_as_given_and_is_where_paths_start(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "r.yml").write_text("merge_method: karcher\nmodels:\n  - model: a@b\nfoo: 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        parse_file("sub/r.yml", SPECS)
    assert caught.value.faults[0].place == Place("sub/r.yml", 4, 1)
    (tmp_path / "sub" / "r.yml").write_text("merge_method: karcher\nmodels:\n  - model: a@b\n")
    assert parse_file("sub/r.yml", SPECS).models[0].model == ModelRef("a", "b")
    (tmp_path / "sub" / "a@b").mkdir()
    recipe = parse_file("sub/r.yml", SPECS)
    assert recipe.models[0].model == ModelRef("a@b")
    assert recipe.root == tmp_path / "sub"


def test_locate_gives_values_and_falls_back_on_what_is_around():
    text = (
        "merge_method: linear\nmodels:\n- model: a\n  parameters:\n"
        "    weight:\n      filter: mlp\n      value: [1, 2]\n"
        "- model: b\n  parameters: {weight: 3}\n"
    )
    locate = parse_text(text, SPECS).locate
    assert locate is not None
    assert locate(("models", 1, "parameters", "weight")) == Place("<recipe>", 9, 24)
    assert locate(("models", 0)) == Place("<recipe>", 3, 3)
    assert locate(("models", 0, "parameters", "weight", "value", 1)) == Place("<recipe>", 7, 18)
    assert locate(("models", 0, "parameters", "weight", 0, "value", 1)) == Place("<recipe>", 7, 18)
    assert locate(("models", 1, "parameters", "density")) == Place("<recipe>", 9, 15)
    assert locate(("base_model",)) == Place("<recipe>", 1, 1)


def test_a_parsed_recipe_can_be_sent_to_another_process():
    recipe = parse_text("merge_method: karcher\nmodels: [{model: a}]", SPECS)
    again = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    assert again.locate(("models", 0, "model")) == Place("<recipe>", 2, 18)


def test_python_data_has_paths_in_place_of_places():
    data = {
        "merge_method": "ties",
        "base_model": "base",
        "models": [{"model": "a", "parameters": {"weight": "x", "density": (0.5, 2)}}, {"modle": "b"}],
        "parameters": {"weihgt": 1},
        3: 4,
    }
    with pytest.raises(RecipeError) as caught:
        from_data(data, SPECS)
    assert [(fault.code, fault.message.partition(": ")[0]) for fault in caught.value.faults] == [
        ("wrong-type", "a key should be text, found 3"),
        ("unknown-key", "models[1].modle"),
        ("unknown-parameter", "parameters.weihgt"),
        ("wrong-type", "models[0].parameters.weight"),
        ("out-of-range", "models[0].parameters.density[1]"),
    ]
    assert all(fault.place is None for fault in caught.value.faults)


def test_a_recipe_made_of_dataclasses_can_be_checked():
    good = Recipe("linear", (ModelEntry(ModelRef("a"), {"weight": 1}),))
    assert faults(good, SPECS) == ()
    bad = Recipe("linear", (ModelEntry(ModelRef("a"), {"weight": "1"}),), dtype="int8")
    assert sorted(fault.code for fault in faults(bad, SPECS)) == ["wrong-type", "wrong-value"]


@pytest.mark.parametrize(("data", "found"), [("a", "the text 'a'"), (None, "nothing"), ([1], "a list"), (3, "3")])
def test_top_level_is_a_mapping(data, found):
    with pytest.raises(RecipeError, match=f"mapping of keys to values, found {found}") as caught:
        from_data(data, SPECS)
    assert caught.value.codes == ("wrong-type",)


@pytest.mark.parametrize("text", ["", "# nothing\n", "just text\n", "- 1\n", "~\n", "---\n"])
def test_top_level_of_a_text_is_a_mapping(text):
    with pytest.raises(RecipeError) as caught:
        parse_text(text, SPECS)
    assert caught.value.codes == ("wrong-type",)
    assert caught.value.faults[0].place is not None


def test_numbers_paths_and_tuples_of_python_are_taken(tmp_path):
    numpy = pytest.importorskip("numpy")
    recipe = from_data(
        {
            "merge_method": "linear",
            "models": ({"model": tmp_path / "a", "parameters": {"weight": (numpy.float32(0.5), numpy.int64(2))}},),
        },
        SPECS,
        root=str(tmp_path),
    )
    assert recipe.models[0].model.path == str(tmp_path / "a")
    assert recipe.models[0].parameters["weight"] == (0.5, 2)
    assert [type(value) for value in recipe.models[0].parameters["weight"]] == [float, int]
    assert recipe.root == tmp_path


def test_data_that_are_no_data_are_named_by_type():
    with pytest.raises(RecipeError, match="found a Python complex") as caught:
        from_data({"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": 1j}}]}, SPECS)
    assert caught.value.codes == ("wrong-type",)


def test_a_broken_setting_hides_no_other_fault_and_brings_none_along():
    text = (
        "merge_method: ties\nbase_model: c\nparameters: {lambda: ‸x}\nmodels:\n"
        "  - model: a\n    parameters: {weight: [1, ‸[2]], density: ‸3}\n"
        "  - model: b\n    parameters: {weight: {filter: ‸1, value: 2}}\n"
        "  - model: d\n    parameters: {weight: [‸{filter: x}], ‸densty: 1}\n"
    )
    _, places = unmarked(text)
    codes = ["wrong-type", "wrong-type", "out-of-range", "wrong-type", "missing-key", "unknown-parameter"]
    assert told(text) == list(zip(codes, places, strict=True))


def test_a_module_of_any_name_is_a_module():
    """`model` and `parameters` are keys elsewhere; what is wrong in modules of these names is cut out of them alone."""
    text = (
        "merge_method: linear\nparameters: {weight: 1}\nmodules:\n"
        "  model: {models: [{model: ‸3}, {model: a, parameters: {weight: ‸x}}]}\n"
        "  parameters: {models: [{model: a, parameters: {weight: ‸[]}}], parameters: {normalize: ‸x}}\n"
    )
    _, places = unmarked(text)
    assert told(text) == list(zip(["wrong-type", "wrong-type", "wrong-value", "wrong-type"], places, strict=True))
