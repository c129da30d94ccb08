"""Every fault of a recipe's structure: its code, the exact line and column, and what to do."""

from __future__ import annotations

import pytest

from tests.support.marks import assert_only, faults_in, told, unmarked

TAIL = """
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: 1}}
"""
LINEAR = "merge_method: linear" + TAIL

# (name, code, text with a mark at the place, part of the message, part of the hint)
CASES = [
    ("misspelt key", "unknown-key", LINEAR + "‸dtyp: float16", "has no key `dtyp`", "did you mean `dtype`?"),
    ("foreign key", "unknown-key", LINEAR + "‸experts: 4", "has no key `experts`", "known: base_model, chat_template"),
    (
        "misspelt key of an entry",
        "unknown-key",
        "merge_method: linear\nmodels:\n  - model: a\n    ‸paramaters: {weight: 1}",
        "entry 1 of `models` has no key `paramaters`",
        "did you mean `parameters`?",
    ),
    (
        "misspelt required key",
        "unknown-key",
        "merge_method: linear\nmodels:\n  - ‸modle: a\n    parameters: {weight: 1}",
        "entry 1 of `models` has no key `modle`",
        "did you mean `model`?",
    ),
    ("misspelt method key", "unknown-key", "‸merge_metod: linear" + TAIL, "no key `merge_metod`", "`merge_method`"),
    ("misspelt models", "unknown-key", "merge_method: linear\n‸modells: []", "no key `modells`", "`models`"),
    (
        "parameter beside parameters",
        "unknown-key",
        "merge_method: linear\nmodels:\n  - model: a\n    ‸weight: 1",
        "has no key `weight`",
        "write it under `parameters:`",
    ),
    (
        "key of a reference",
        "unknown-key",
        "merge_method: karcher\nmodels:\n  - model:\n      model: {path: a, ‸revison: main}",
        "has no key `revison`",
        "did you mean `revision`?",
    ),
    (
        "key of a branch",
        "unknown-key",
        "merge_method: linear\nparameters:\n  weight:\n    - {‸filtr: mlp, value: 1}\nmodels: [{model: a}]",
        "entry 1 of `weight` has no key `filtr`",
        "did you mean `filter`?",
    ),
    (
        "value of a branch misspelt",
        "unknown-key",
        "merge_method: linear\nparameters:\n  weight: {filter: mlp, ‸valu: 1}\nmodels: [{model: a}]",
        "has no key `valu`",
        "did you mean `value`?",
    ),
    (
        "residual_weight",
        "unknown-key",
        "merge_method: passthrough\nslices:\n  - sources: [{model: a, layer_range: [0, 1]}]\n    ‸residual_weight: 1",
        "has no key `residual_weight`",
        "mergekit ignores it",
    ),
    ("residual_weight elsewhere", "unknown-key", LINEAR + "‸residual_weight: 1", "the recipe has no key", "known: "),
    ("no method", "missing-key", "‸" + TAIL.strip(), "the recipe should have the key `merge_method`, found none", None),
    ("nothing to merge", "missing-key", "‸merge_method: linear", "should have `models`, `slices` or `modules`", None),
    (
        "module without models",
        "missing-key",
        "merge_method: linear\nmodules:\n  text:\n    ‸parameters: {weight: 1}",
        "`text` should have `models` or `slices`",
        None,
    ),
    (
        "entry without model",
        "missing-key",
        "merge_method: linear\nmodels:\n  - ‸parameters: {weight: 1}",
        "entry 1 of `models` should have the key `model`",
        None,
    ),
    (
        "source without layers",
        "missing-key",
        "merge_method: passthrough\nslices:\n  - sources:\n      - ‸model: a",
        "entry 1 of `sources` should have the key `layer_range` or `layers`, found neither",
        None,
    ),
    (
        "branch without value",
        "missing-key",
        "merge_method: linear\nparameters:\n  weight:\n    - ‸filter: mlp\nmodels: [{model: a}]",
        "should have the key `value`",
        None,
    ),
    (
        "two bodies",
        "wrong-value",
        LINEAR + "‸slices: [{sources: [{model: a, layer_range: [0, 1], parameters: {weight: 1}}]}]",
        "only one of `models`, `slices` or `modules`, found `models` and `slices`",
        None,
    ),
    (
        "two tokenizers",
        "wrong-value",
        LINEAR + "tokenizer: {source: base}\n‸tokenizer_source: union",
        "exclude each other",
        "`tokenizer: {source: x}`",
    ),
    (
        "unknown method",
        "unknown-method",
        "merge_method: ‸tise\nbase_model: c" + TAIL,
        "should be one that exists, found `tise`",
        "did you mean `ties`?",
    ),
]


@pytest.mark.parametrize(("code", "text", "message", "hint"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_fault_at_its_place(code, text, message, hint):
    assert_only(text, code, message, hint)


def test_every_case_is_wrong_only_where_it_says():
    """The frame the cases are set in is right: a table of faults around a wrong frame would prove nothing."""
    assert told(LINEAR) == []


def test_method_known_or_not_the_rest_is_checked():
    text = "merge_method: ‸nope\n‸dtyp: float16\nmodels:\n  - {model: a, parameters: {x: 1}}\n  - {model: ‸a}\n"
    _, places = unmarked(text)
    assert told(text) == list(zip(["unknown-method", "unknown-key", "duplicate-model"], places, strict=True))


def test_unknown_key_does_not_hide_the_range_in_its_branch():
    text = (
        "merge_method: ties\nbase_model: b\nmodels:\n  - {model: a, parameters: {weight: {‸filtr: x, value: ‸.inf}}}\n"
    )
    _, places = unmarked(text)
    assert told(text) == [("unknown-key", places[0]), ("out-of-range", places[1])]


def test_long_words_are_shortened():
    (fault,) = faults_in(LINEAR + f"{'k' * 900}: 1")
    assert len(fault.message) < 150
