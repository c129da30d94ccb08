"""Every wrong value in a recipe's structure: its code, the exact line and column, and what to do."""

from __future__ import annotations

import pytest

from tests.support.marks import assert_only, faults_in

LINEAR = """merge_method: linear
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: 1}}
"""
TAIL = LINEAR.partition("linear")[2]

# (name, code, text with a mark at the place, part of the message, part of the hint)
CASES = [
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
        "`source` should be a model, or a mapping with `kind`: `model_token` or `zero`, found 3",
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
]


@pytest.mark.parametrize(("code", "text", "message", "hint"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_fault_at_its_place(code, text, message, hint):
    assert_only(text, code, message, hint)


def test_quotes_are_advised_only_where_text_was_wanted():
    assert faults_in("merge_method: linear\nmodels: 3")[0].hint is None
    assert faults_in("merge_method: 3\nmodels: [{model: a}]")[0].hint == "put it in quotes"
