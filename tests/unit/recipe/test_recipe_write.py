"""A recipe written out and read back is the same; its canonical text and hash say what it asks and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.recipe import canonical, from_data, parse_text, read_reference, recipe_hash, to_data, to_yaml
from cuvee.types import ModelRef
from tests.support.specs import SPECS

NAMES = st.text("abA/.-_ #:@+é", min_size=1, max_size=6).filter(lambda name: name.strip())
ODD_NAMES = st.sampled_from(
    ["on", "no", "1", "~", "null", "1e5", "<<", "a: b", "- x", "#a", "'q'", '"', "&a", "*", "{x}"]
)
PATHS = (NAMES | ODD_NAMES).map(lambda name: {"model": {"path": name}}) | st.sampled_from(
    ["a", "b@r", "c+l@x", "org/d"]
)
WEIGHTS = st.integers(1, 9) | st.floats(0.001, 1e6)


def settings_of(values):
    """Every way to write a parameter."""
    plain = values | st.lists(values, min_size=1, max_size=4)
    branch = st.fixed_dictionaries({"value": plain}, optional={"filter": NAMES | ODD_NAMES})
    return plain | st.lists(branch, min_size=1, max_size=3) | branch


OWN = st.fixed_dictionaries({"weight": settings_of(WEIGHTS)}, optional={"density": settings_of(st.floats(0.1, 1))})
SHARED = st.fixed_dictionaries(
    {"weight": settings_of(WEIGHTS)},
    optional={"normalize": settings_of(st.booleans()), "lambda": settings_of(st.floats(-2, 2))},
)


MODELS = st.lists(
    st.fixed_dictionaries({"model": PATHS}, optional={"parameters": OWN}),
    min_size=1,
    max_size=4,
    unique_by=lambda entry: read_reference(entry["model"]),
).filter(lambda entries: ModelRef("base") not in [read_reference(entry["model"]) for entry in entries])


@st.composite
def slices(draw):
    start, length = draw(st.integers(0, 5)), draw(st.integers(1, 4))
    entries = draw(MODELS)
    sources = [{**entry, "layer_range": [start, start + length]} for entry in entries]
    return {"sources": sources, **draw(st.fixed_dictionaries({}, optional={"parameters": SHARED}))}


@st.composite
def recipes(draw):
    """Right recipes for ties, in every shape."""
    models = st.fixed_dictionaries({"models": MODELS})
    pieces = st.fixed_dictionaries({"slices": st.lists(slices(), min_size=1, max_size=3)})
    modules = st.dictionaries(NAMES, models | pieces, min_size=1, max_size=2).map(lambda inner: {"modules": inner})
    extra = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["bfloat16", "float32"]),
            "out_dtype": st.just("float16"),
            "missing": st.sampled_from(["refuse", "copy"]),
            "name": NAMES | ODD_NAMES,
            "chat_template": st.sampled_from(["auto", "{{ messages }} and more text"]),
            "tokenizer": st.sampled_from([{}, {"source": "union"}, {"tokens": {"<s>": {"source": {"kind": "zero"}}}}]),
        },
    )
    body = draw(models | pieces | modules)
    return {"merge_method": "ties", "base_model": "base", "parameters": draw(SHARED), **body, **draw(extra)}


@settings(max_examples=60, deadline=None)
@given(recipes())
def test_written_and_read_is_the_same(data):
    recipe = from_data(data, SPECS)
    assert from_data(to_data(recipe), SPECS) == recipe
    again = parse_text(to_yaml(recipe), SPECS)
    assert again == recipe
    assert canonical(again) == canonical(recipe)


@settings(max_examples=25, deadline=None)
@given(recipes(), st.randoms())
def test_order_of_keys_does_not_count_and_order_of_models_does(data, random):
    def shuffled(value):
        if isinstance(value, dict):
            return dict(random.sample([(key, shuffled(entry)) for key, entry in value.items()], len(value)))
        return [shuffled(entry) for entry in value] if isinstance(value, list) else value

    recipe = from_data(data, SPECS)
    assert canonical(from_data(shuffled(data), SPECS)) == canonical(recipe)
    if len(recipe.models) > 1:
        swapped = from_data({**data, "models": data["models"][::-1]}, SPECS)
        assert recipe_hash(swapped) != recipe_hash(recipe)


PLAIN = {"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": 1.0}}], "missing": "refuse"}


def test_canonical_text():
    recipe = from_data(PLAIN, SPECS)
    assert canonical(recipe) == '{"merge_method":"linear","models":[{"model":"a","parameters":{"weight":1}}]}'
    assert recipe_hash(recipe) == "80ef4fcd2aa4653479c496ee859339746bf5a7cb21bc303322f7c3ebfee865ef"


def test_canonical_text_is_ascii_and_independent_of_place(tmp_path):
    one = parse_text("merge_method: linear\nmodels: [{model: é, parameters: {weight: 1}}]", SPECS, "x.yml", tmp_path)
    two = parse_text("models:\n  - parameters: {weight: 1.0}\n    model: é\nmerge_method: linear", SPECS)
    assert one == two
    assert canonical(one) == canonical(two)
    assert canonical(one).isascii()


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float32"},
        {"missing": "copy"},
        {"name": "x"},
        {"base_model": "a"},
        {"parameters": {"normalize": False}},
        {"models": [{"model": "a", "parameters": {"weight": 2}}]},
        {"models": [{"model": "a", "parameters": {"weight": [1]}}]},
        {"models": [{"model": "a@r", "parameters": {"weight": 1}}]},
    ],
    ids=str,
)
def test_whatever_is_asked_changes_the_hash(change):
    assert recipe_hash(from_data({**PLAIN, **change}, SPECS)) != recipe_hash(from_data(PLAIN, SPECS))


def test_defaults_are_left_out():
    assert to_data(from_data(PLAIN, SPECS)) == {
        "merge_method": "linear",
        "models": [{"model": "a", "parameters": {"weight": 1.0}}],
    }


def test_data_are_a_copy():
    recipe = from_data({**PLAIN, "tokenizer": {"source": "union"}}, SPECS)
    to_data(recipe)["tokenizer"]["source"] = "base"
    assert recipe.tokenizer == {"source": "union"}


def test_yaml_reads_like_a_recipe():
    assert to_yaml(from_data(PLAIN, SPECS)) == (
        "merge_method: linear\nmodels:\n- model: a\n  parameters:\n    weight: 1.0\n"
    )
