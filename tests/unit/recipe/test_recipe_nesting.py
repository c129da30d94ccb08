"""Recipes inside recipes: where they may stand, what they are called, how they are written down, what is refused."""

from __future__ import annotations

import jsonschema
import pytest

from cuvee.errors import Place, RecipeError
from cuvee.recipe import (
    canonical,
    from_data,
    json_schema,
    not_yet,
    notes,
    parse_file,
    parse_text,
    recipe_hash,
    to_data,
    to_yaml,
)
from cuvee.recipe.limits import MAX_NESTED
from cuvee.types import ModelRef
from tests.support.specs import SPECS

INNER = {"merge_method": "linear", "models": [{"model": "a"}, {"model": "b"}], "parameters": {"weight": 1}}
BODY = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n"


def outer(*models, **more):
    entries = [{"model": model, "parameters": {"weight": 1}} for model in models]
    return {"merge_method": "ties", "base_model": "base", "models": entries, **more}


def read(data, root=None):
    return from_data(data, SPECS, root)


def told(recipe):
    """Code and place of every fault of a text, a file or data."""
    kinds = {str: lambda: parse_text(recipe, SPECS, "f"), dict: lambda: read(recipe)}
    with pytest.raises(RecipeError) as caught:
        kinds.get(type(recipe), lambda: parse_file(recipe, SPECS))()
    return [(fault.code, str(fault.place) if fault.place else fault.message) for fault in caught.value.faults]


def test_a_recipe_in_a_models_place():
    recipe = read(outer("c", INNER))
    name = recipe.models[1].model.path
    assert recipe.nested == {name: read(INNER)}
    assert recipe.inner(ModelRef(name)) == read(INNER)
    assert recipe.inner(recipe.models[0].model) is None
    assert name == f"linear:{recipe_hash(read(INNER))[:12]}", "the same wherever it stands"


@pytest.mark.parametrize(
    "data",
    [
        {"merge_method": "slerp", "base_model": INNER, "models": [{"model": "c"}], "parameters": {"t": 0.5}},
        {
            "merge_method": "passthrough",
            "slices": [{"sources": [{"model": INNER, "layer_range": [0, 2]}], "base_model": INNER}],
        },
        {
            "merge_method": "linear",
            "modules": {"text": {"models": [{"model": INNER}]}, "rest": {"models": [{"model": "c"}]}},
            "parameters": {"weight": 1},
        },
    ],
)
def test_it_may_stand_wherever_a_model_may(data):
    recipe = read(data)
    assert list(recipe.nested.values()) == [read(INNER)]
    assert from_data(to_data(recipe), SPECS) == recipe


def test_its_name_is_its_own_and_may_be_used_again():
    recipe = read(outer({**INNER, "name": "first@1+x"}, "c", base_model="first@1+x"))
    assert recipe.base_model == recipe.models[0].model == ModelRef("first@1+x"), "whatever letters a name has"
    assert [type(entry["model"]) for entry in to_data(recipe)["models"]] == [dict, str]
    assert to_data(recipe)["base_model"] == {"model": {"path": "first@1+x"}}, "written out once"


def test_a_recipe_in_a_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one.yml").write_text(BODY)
    (tmp_path / "two.YAML").write_text(f"name: second\n{BODY}")
    recipe = read(outer("sub/one.yml", "two.YAML"), tmp_path)
    assert list(recipe.nested) == ["sub/one.yml", "second"], "its own name, else its path as written"
    one, two = recipe.nested.values()
    assert (one.root, one.folder, two.root, two.folder) == (tmp_path / "sub", "sub", tmp_path, None)


def test_a_folder_with_such_an_ending_is_a_model(tmp_path):
    (tmp_path / "model.yml").mkdir()
    assert read(outer("model.yml"), tmp_path).nested == {}


SEVERAL = f"""\
merge_method: slerp
base_model: second
models: [{{model: first}}]
parameters: {{t: 0.5}}
---
name: second
merge_method: task_arithmetic
base_model: base
models: [{{model: first}}]
parameters: {{weight: 1}}
---
name: first
{BODY}"""


def test_several_documents_in_any_order():
    recipe = parse_text(SEVERAL, SPECS)
    assert recipe.method == "slerp"
    assert set(recipe.nested) == {"first", "second"}
    assert recipe.nested["second"].nested["first"] == recipe.nested["first"]
    documents = SEVERAL.split("---\n")
    assert parse_text("---\n".join(reversed([part.rstrip() + "\n" for part in documents])), SPECS) == recipe


def test_where_all_have_names_the_result_is_what_nobody_uses():
    recipe = parse_text(f"name: last\n{SEVERAL}", SPECS)
    assert (recipe.name, recipe.method) == ("last", "slerp")


@pytest.mark.parametrize("way", [to_data, to_yaml])
def test_it_is_written_so_that_it_is_read_back(tmp_path, way):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "several.yml").write_text(SEVERAL)
    (tmp_path / "outer.yml").write_text(
        "merge_method: linear\nparameters: {weight: 1}\n"
        f"models: [{{model: sub/several.yml}}, {{model: {{{', '.join(BODY.splitlines())}}}}}]\n"
    )
    recipe = parse_file(tmp_path / "outer.yml", SPECS)
    written = way(recipe)
    again = parse_text(written, SPECS, root=tmp_path) if way is to_yaml else read(written, tmp_path)
    assert again == recipe
    assert (canonical(again), recipe_hash(again)) == (canonical(recipe), recipe_hash(recipe))
    assert again.nested["sub/several.yml"].nested["first"].root == tmp_path / "sub"


def test_the_hash_knows_what_is_inside(tmp_path):
    (tmp_path / "x.yml").write_text(BODY)
    before = recipe_hash(read(outer("x.yml"), tmp_path))
    (tmp_path / "x.yml").write_text(BODY.replace("weight: 1", "weight: 2"))
    assert recipe_hash(read(outer("x.yml"), tmp_path)) != before


def test_faults_inside_are_told_at_their_places_with_those_outside():
    text = """\
merge_method: ties
base_model: base
models:
  - model:
      merge_method: slurp
      models: [{model: a}]
    parameters: {weight: 1}
  - model:
      merge_method: linear
      models:
        - {model: a, parameters: {wieght: 1}}
        - {model: {merge_method: linear, models: []}, parameters: {weight: 1}}
    parameters: {weihgt: 1}
"""
    assert told(text) == [
        ("unknown-method", "f:5:21"),
        ("unknown-parameter", "f:11:35"),
        ("wrong-value", "f:12:50"),
        ("unknown-parameter", "f:13:18"),
    ]


def test_faults_of_data_name_the_whole_path():
    inner = {"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": "x"}}]}
    (fault,) = told(outer(inner))
    assert fault[1].startswith("models[0].model.models[0].parameters.weight: ")


def test_faults_of_a_file_are_told_at_its_places(tmp_path):
    (tmp_path / "inner.yml").write_text("merge_method: linear\nmodels: [{model: a}]\nparamters: {weight: 1}\n")
    (tmp_path / "no-yaml.yml").write_text("a: [\n")
    (tmp_path / "outer.yml").write_text(
        "merge_method: linear\nmodels:\n  - model: inner.yml\n  - model: absent.yml\n  - model: no-yaml.yml\n"
        "parameters: {wait: 1}\n"
    )
    found = told(tmp_path / "outer.yml")
    assert [(code, place.removeprefix(f"{tmp_path}/")) for code, place in found] == [
        ("recipe-missing", "outer.yml:4:12"),
        ("unknown-parameter", "outer.yml:6:14"),
        ("unknown-key", "inner.yml:3:1"),
        ("recipe-syntax", "no-yaml.yml:2:1"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{SEVERAL}---\nname: first\n{BODY}", [("bad-stage", "f:17:7")]),
        (f"{SEVERAL}---\n{BODY}", [("bad-stage", "f:17:1")]),
        (f"{SEVERAL}---\nname: third\n{BODY}", [("bad-stage", "f:17:7")]),
        (f"name: x\n{BODY}---\nname: y\n{BODY}", [("bad-stage", "f:6:1")]),
        (SEVERAL.replace("base_model: second", "base_model: secnod"), [("bad-stage", "f:2:13")]),
        (SEVERAL.replace("model: a}", "model: second}"), [("recipe-cycle", "f:9:18")]),
        (SEVERAL.replace("model: a}", "model: first}"), [("recipe-cycle", "f:14:18")]),
        (f"{SEVERAL}---\n", [("bad-stage", "f:17:1")]),
    ],
    ids=["twice", "two results", "unused", "no result", "misspelt", "circle", "itself", "empty"],
)
def test_documents_that_do_not_fit_together(text, expected):
    assert [fault for fault in told(text) if fault[0] in ("bad-stage", "recipe-cycle")] == expected


def test_one_name_means_one_recipe():
    other = {**INNER, "parameters": {"weight": 2}}
    (fault,) = told(outer({**INNER, "name": "x"}, {**other, "name": "x"}))
    assert fault[0] == "bad-stage"
    assert "models[1].model" in fault[1]


def test_what_cannot_be_done_yet_is_told_of_inner_recipes_too():
    named = {**INNER, "name": "deep"}
    deep = {**INNER, "models": [{"model": named}, {"model": {"model": "deep", "lora": "l"}}]}
    assert [fault.code for fault in not_yet(read(outer(deep)))] == ["not-yet"]


def test_notes_of_inner_recipes_say_whose_they_are():
    inner = {"merge_method": "ties", "name": "x", "base_model": "base", "models": [{"model": "a"}]}
    recipe = read(outer({**inner, "parameters": {"weight": 1, "int8_mask": True}}))
    assert notes(recipe, SPECS) == ("x: `int8_mask` changes nothing for ties",)


def deep(levels):
    data = INNER
    for _ in range(levels):
        data = {"merge_method": "linear", "models": [{"model": data}, {"model": "c"}], "parameters": {"weight": 1}}
    return data


def test_as_deep_as_may_be_and_one_deeper():
    recipe = read(deep(MAX_NESTED))
    assert from_data(to_data(recipe), SPECS) == recipe
    assert told(deep(MAX_NESTED + 1))[0][0] == "recipe-too-large"


def test_a_document_that_was_read_before_counts_with_all_below_it():
    documents = [f"name: d0\n{BODY}"]
    documents += [f"name: d{n}\n{BODY.replace('model: a', f'model: d{n - 1}')}" for n in range(1, MAX_NESTED)]
    top = f"d{MAX_NESTED - 1}"
    allowed = {"merge_method": "linear", "models": [{"model": top}, {"model": "c"}], "parameters": {"weight": 1}}
    assert parse_text("---\n".join([*documents, to_yaml(read(allowed))]), SPECS).nested[top]
    between = to_yaml(read({**allowed, "name": "between"}))
    once_more = to_yaml(read({**allowed, "models": [{"model": top}, {"model": "between"}]}))
    text = "---\n".join([*documents, between, once_more])
    assert [code for code, _ in told(text)] == ["recipe-too-large"]


def test_an_editor_knows_them():
    schema = json_schema(SPECS)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(outer(INNER, {**INNER, "folder": "sub"}))
    wrong = {**INNER, "parameters": {"wieght": 1}}
    assert not validator.is_valid(outer(wrong))
    assert not validator.is_valid({**INNER, "folder": "sub"}), "only a recipe inside another one has a folder"


@pytest.mark.parametrize("folder", [3, "", "a\0b"])
def test_a_folder_is_a_text(folder):
    assert told(outer({**INNER, "folder": folder}))[0][0] == "wrong-type"


def test_places_of_inner_recipes_are_known_to_whoever_opens_the_models():
    recipe = parse_text(SEVERAL, SPECS, "f")
    first = recipe.nested["first"]
    assert first.locate is not None
    assert first.locate(("models", 1, "model")) == Place("f", 14, 30)
