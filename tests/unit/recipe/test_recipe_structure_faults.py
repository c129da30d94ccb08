"""Every fault of a recipe's structure: its code, the exact line and column, and what to do."""

from __future__ import annotations

import pytest

from tests.support.marks import faults_in, told, unmarked, where

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
        "entry 1 of `sources` should have the key `layer_range`",
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
    ("method no text", "wrong-type", "merge_method: ‸12" + TAIL, "should be text, found 12", "put it in quotes"),
    ("method a switch", "wrong-type", "merge_method: ‸on" + TAIL, "should be text, found true", "put it in quotes"),
    ("method empty", "wrong-value", "merge_method: ‸''" + TAIL, "should not be empty", None),
    ("models no list", "wrong-type", "merge_method: linear\nmodels: ‸a", "should be a list, found the text 'a'", None),
    ("models empty", "wrong-value", "merge_method: linear\nmodels: ‸[]", "should not be empty", None),
    ("modules empty", "wrong-value", "merge_method: linear\nmodules: ‸{}", "should not be empty", None),
    (
        "modules no mapping",
        "wrong-type",
        "merge_method: linear\nmodules: ‸[1]",
        "should be a mapping, found a list",
        None,
    ),
    (
        "entry no mapping",
        "wrong-type",
        "merge_method: linear\nparameters: {weight: 1}\nmodels:\n  - model: a\n  - ‸b",
        "entry 2 of `models` should be a mapping, found the text 'b'",
        None,
    ),
    (
        "sources empty",
        "wrong-value",
        "merge_method: passthrough\nslices:\n  - sources: ‸[]",
        "`sources` should not be empty",
        None,
    ),
    (
        "model no text",
        "wrong-type",
        "merge_method: karcher\nmodels:\n  - model: ‸7",
        "`model` should be a model: `path[@revision][+adapter]`, or a mapping with `model`, found 7",
        None,
    ),
    (
        "model left empty",
        "wrong-type",
        "merge_method: karcher\nmodels:\n  - ‸model:",
        "`model` should be a model: `path[@revision][+adapter]`, or a mapping with `model`, found nothing",
        None,
    ),
    (
        "two adapters",
        "wrong-value",
        "merge_method: karcher\nmodels:\n  - model: ‸a+b+c",
        "should be `path` or `path+adapter`, found 2 `+` in 'a+b+c'",
        "write `{model: {path",
    ),
    (
        "two revisions",
        "wrong-value",
        "merge_method: karcher\nmodels:\n  - model: ‸a@b@c",
        "should be `path` or `path@revision`, found 'a@b@c'",
        "write `{model: {path",
    ),
    ("empty revision", "wrong-value", "merge_method: karcher\nmodels: [{model: ‸a@}]", "found 'a@'", "write `{model"),
    ("empty path", "wrong-value", "merge_method: karcher\nmodels: [{model: ‸''}]", "found ''", "write `{model"),
    (
        "adapter in a part",
        "wrong-value",
        "merge_method: karcher\nmodels: [{model: {model: ‸a+b}}]",
        "one model without adapter",
        "`lora:`",
    ),
    (
        "base a list",
        "wrong-type",
        "merge_method: karcher\nmodels: [{model: a}]\nbase_model: ‸[a]",
        "`base_model` should be a model",
        None,
    ),
    (
        "parameters a list",
        "wrong-type",
        "merge_method: karcher\nmodels: [{model: a}]\nparameters:\n  ‸- max_iter: 3",
        "`parameters` should be a mapping, found a list",
        None,
    ),
    (
        "parameter empty",
        "wrong-type",
        "merge_method: karcher\nmodels: [{model: a}]\nparameters:\n  ‸max_iter:",
        "`max_iter` should be a value, a list of values, or `{filter, value}` mappings, found nothing",
        None,
    ),
    (
        "gradient empty",
        "wrong-value",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: ‸[]}",
        "`weight` should not be empty",
        None,
    ),
    (
        "list in a gradient",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: [1, ‸[2]]}",
        "entry 2 of `weight` should be a number, a switch or text, found a list",
        None,
    ),
    (
        "scalar among branches",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: [{value: 1}, ‸2]}",
        "entry 2 of `weight` should be a mapping, found 2",
        None,
    ),
    (
        "filter no text",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: [{filter: ‸3, value: 1}]}",
        "`filter` should be text, found 3",
        "put it in quotes",
    ),
    ("dtype of integers", "wrong-value", LINEAR + "dtype: ‸int64", "found the text 'int64'", "merged as floats"),
    (
        "dtype misspelt",
        "wrong-value",
        LINEAR + "out_dtype: ‸bfloat61",
        "`out_dtype` should be",
        "did you mean `bfloat16`",
    ),
    ("dtype no text", "wrong-type", LINEAR + "dtype: ‸16", "`dtype` should be", None),
    ("missing misspelt", "wrong-value", LINEAR + "missing: ‸copie", "should be refuse or copy", "did you mean `copy`"),
    ("name empty", "wrong-value", LINEAR + "name: ‸''", "should not be empty", None),
    (
        "template unknown",
        "wrong-value",
        LINEAR + "chat_template: ‸chatmel",
        "name of a template",
        "did you mean `chatml`",
    ),
    ("template no text", "wrong-type", LINEAR + "chat_template: ‸3", "should be text", "put it in quotes"),
    (
        "tokenizer a text",
        "wrong-type",
        LINEAR + "tokenizer: ‸union",
        "should be a mapping, found the text 'union'",
        None,
    ),
    ("tokenizer key", "unknown-key", LINEAR + "tokenizer: {‸sauce: union}", "no key `sauce`", "did you mean `source`"),
    ("padding", "wrong-value", LINEAR + "tokenizer: {pad_to_multiple_of: ‸0}", "should be at least 1, found 0", None),
    (
        "token source",
        "wrong-type",
        LINEAR + "tokenizer: {tokens: {<s>: {source: ‸3}}}",
        "`source` should be a model or a mapping with `kind`, found 3",
        None,
    ),
    (
        "token switch",
        "wrong-type",
        LINEAR + "tokenizer: {tokens: {<s>: {source: {kind: zero}, force: ‸2}}}",
        "`force` should be true or false, found 2",
        None,
    ),
    (
        "token of a model",
        "missing-key",
        LINEAR + "tokenizer: {tokens: {<s>: {source: ‸{kind: model_token}}}}",
        "`source` should have the key `model`",
        None,
    ),
    (
        "layer range too short",
        "wrong-type",
        "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: ‸[1]}]}]",
        "`layer_range` should be two integers `[start, stop]`, found [1]",
        None,
    ),
    (
        "layer range of texts",
        "wrong-type",
        "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: ‸0-4}]}]",
        "found the text '0-4'",
        None,
    ),
    (
        "layer range of switches",
        "wrong-type",
        "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: ‸[false, true]}]}]",
        "found [False, True]",
        None,
    ),
    (
        "layer range reversed",
        "bad-layer-range",
        "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: ‸[4, 2]}]}]",
        "should run forward from 0 or later, found [4, 2]",
        "`stop` is the first layer left out",
    ),
    (
        "layer range empty",
        "bad-layer-range",
        "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: ‸[2, 2]}]}]",
        "found [2, 2]",
        None,
    ),
    (
        "layer range negative",
        "bad-layer-range",
        "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: ‸[-1, 2]}]}]",
        "found [-1, 2]",
        None,
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
    _, (place,) = unmarked(text)
    faults = faults_in(text)
    assert [(fault.code, where(fault)) for fault in faults] == [(code, place)], [str(f) for f in faults]
    assert message in faults[0].message
    assert (hint or "") in (faults[0].hint or "")


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
