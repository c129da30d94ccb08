"""Parameters that are right however they are written, several faults at once, and notes on what has no effect."""

from __future__ import annotations

import pytest

from cuvee.recipe import notes
from tests.support.marks import faults_in, recipe_of, told, unmarked
from tests.support.specs import SPECS

RIGHT = [
    ("integers for numbers", "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]"),
    ("0 for a switch", "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, normalize: 0}"),
    ("1.0 for a switch", "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, normalize: 1.0}"),
    ("yes for a switch", "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, normalize: yes}"),
    ("1e-5 for a number", "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1e-5}}]"),
    (
        "a gradient of switches",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, normalize: [on, off]}",
    ),
    ("weight for all", "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}"),
    (
        "weight of the base left out",
        "merge_method: ties\nbase_model: b\nmodels: [{model: b}, {model: a}]\nparameters: {weight: 1}",
    ),
    (
        "weight in the base's place",
        "merge_method: ties\nbase_model: b\nmodels: [{model: b}, {model: a, parameters: {weight: 1}}]",
    ),
    (
        "filters with a gap",
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: [{filter: mlp, value: 1}]}}]",
    ),
    ("zero sum, undivided", "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 0, normalize: false}"),
    (
        "zero sum, undivided by default",
        "merge_method: task_arithmetic\nbase_model: b\nmodels: [{model: a, parameters: {weight: 0}}]",
    ),
    ("zero sum somewhere", "merge_method: linear\nmodels: [{model: a, parameters: {weight: [0, 1]}}]"),
    (
        "zero sum, perhaps undivided",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 0, normalize: [{filter: mlp, value: true}]}",
    ),
    ("zero sum, no divisor", "merge_method: nuslerp\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 0}"),
    (
        "an ignored parameter",
        "merge_method: ties\nbase_model: b\nmodels: [{model: a}]\nparameters: {weight: 1, int8_mask: 1}",
    ),
    (
        "t in every slice",
        "merge_method: slerp\nbase_model: a\nslices:\n"
        "  - {sources: [{model: b, layer_range: [0, 1]}], parameters: {t: 0}}\n"
        "  - {sources: [{model: b, layer_range: [1, 2]}], parameters: {t: 1}}",
    ),
    (
        "weight of a module",
        "merge_method: linear\nmodules:\n  text: {models: [{model: a}], parameters: {weight: 1}}\n",
    ),
]


@pytest.mark.parametrize("text", [text for _, text in RIGHT], ids=[name for name, _ in RIGHT])
def test_right(text):
    assert [str(fault) for fault in faults_in(text)] == []


def test_every_bad_entry_of_a_gradient_is_told():
    text = "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\nparameters: {t: [‸-1, 0.5, ‸2, ‸x]}"
    _, places = unmarked(text)
    assert told(text) == list(zip(["out-of-range", "out-of-range", "wrong-type"], places, strict=True))


def test_shared_parameter_is_asked_for_once_not_per_slice():
    sources = "  - sources: [{model: b, layer_range: [0, 1]}]\n"
    assert told(f"merge_method: slerp\nbase_model: a\nslices:\n{sources}{sources}{sources}") == [
        ("missing-parameter", (1, 15))
    ]


def test_notes_name_what_has_no_effect():
    text = (
        "merge_method: task_arithmetic\nbase_model: b\nmodels:\n"
        "  - {model: b, parameters: {weight: 1}}\n  - {model: a, parameters: {density: 0.5}}\n"
        "  - {model: {model: c, override_architecture: X}}\nparameters: {weight: 1, int8_mask: true}"
    )
    assert notes(recipe_of(text), SPECS) == (
        "`int8_mask` changes nothing for task_arithmetic",
        "`density` changes nothing for task_arithmetic",
        "parameters of the base model `b` change nothing for task_arithmetic",
        "`override_architecture` changes nothing: tensors are read off the checkpoints themselves",
    )


def test_no_notes_where_everything_counts():
    assert notes(recipe_of(RIGHT[0][1]), SPECS) == ()
