"""Every fault of a parameter: its code, the exact line and column, and what to do."""

from __future__ import annotations

import pytest

from tests.support.marks import assert_only

# (name, code, text with a mark at the place, part of the message, part of the hint)
CASES = [
    (
        "misspelt",
        "unknown-parameter",
        "merge_method: ties\nbase_model: b\nmodels:\n  - model: a\n    parameters: {weight: 1, ‸densty: 0.5}",
        "ties has no parameter `densty`",
        "did you mean `density`?",
    ),
    (
        "misspelt and required",
        "unknown-parameter",
        "merge_method: linear\nmodels:\n  - model: a\n    parameters:\n      ‸wieght: 0.5",
        "linear has no parameter `wieght`",
        "did you mean `weight`?",
    ),
    (
        "of another method",
        "unknown-parameter",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, ‸density: 0.5}",
        "linear has no parameter `density`",
        "known: normalize, weight",
    ),
    (
        "in a slice",
        "unknown-parameter",
        "merge_method: passthrough\nslices:\n- sources: [{model: a, layer_range: [0, 1]}]\n  parameters: {‸scal: 2}",
        "has no parameter `scal`",
        "did you mean `scale`?",
    ),
    (
        "in a module",
        "unknown-parameter",
        "merge_method: linear\nparameters: {weight: 1}\n"
        "modules:\n  text: {models: [{model: a}], parameters: {‸normalise: true}}",
        "has no parameter `normalise`",
        "did you mean `normalize`?",
    ),
    (
        "text for a number",
        "wrong-type",
        'merge_method: linear\nmodels: [{model: a, parameters: {weight: ‸"0.5"}}]',
        "`weight` should be a number, found the text '0.5'",
        "write it without quotes",
    ),
    (
        "word for a number",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: ‸half}}]",
        "`weight` should be a number, found the text 'half'",
        "share of the model",
    ),
    (
        "switch for a number",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: ‸true}}]",
        "`weight` should be a number, found true",
        None,
    ),
    (
        "text in a gradient",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: [0, ‸x, 1]}}]",
        "found the text 'x'",
        None,
    ),
    (
        "word for a switch",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, normalize: ‸maybe}",
        "`normalize` should be true or false, found the text 'maybe'",
        None,
    ),
    (
        "number for a switch",
        "wrong-type",
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, normalize: ‸2}",
        "`normalize` should be true or false, found 2",
        None,
    ),
    (
        "real for an integer",
        "wrong-type",
        "merge_method: karcher\nmodels: [{model: a}]\nparameters: {max_iter: ‸2.5}",
        "`max_iter` should be an integer in [1, inf), found 2.5",
        None,
    ),
    (
        "integer too small",
        "out-of-range",
        "merge_method: karcher\nmodels: [{model: a}]\nparameters: {max_iter: ‸0}",
        "`max_iter` should be an integer in [1, inf), found 0",
        None,
    ),
    (
        "above",
        "out-of-range",
        "merge_method: slerp\nbase_model: a\nmodels: [{model: a}, {model: b}]\nparameters: {t: ‸1.01}",
        "`t` should be a number in [0, 1], found 1.01",
        None,
    ),
    (
        "at an open end",
        "out-of-range",
        "merge_method: ties\nbase_model: b\nmodels: [{model: a}]\nparameters: {weight: 1, density: ‸0}",
        "`density` should be a number in (0, 1], found 0",
        None,
    ),
    (
        "not a number",
        "out-of-range",
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: ‸.nan}}]",
        "`weight` should be finite, found nan",
        None,
    ),
    (
        "infinite by its digits",
        "out-of-range",
        f"merge_method: linear\nmodels: [{{model: a, parameters: {{weight: ‸1{'0' * 400}}}}}]",
        "`weight` should be finite, found inf",
        None,
    ),
    (
        "entry of a gradient",
        "out-of-range",
        "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\nparameters:\n  t:\n    - 0\n    - ‸2\n    - 1",
        "found 2",
        None,
    ),
    (
        "a branch",
        "out-of-range",
        "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\n"
        "parameters:\n  t:\n    - filter: mlp\n      value: ‸-1\n    - value: 0.5",
        "found -1",
        None,
    ),
    (
        "entry of a branch's gradient",
        "out-of-range",
        "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\n"
        "parameters:\n  t:\n    - {filter: mlp, value: [0, 1, ‸3]}\n    - value: 0.5",
        "found 3",
        None,
    ),
    (
        "a branch that stands alone",
        "out-of-range",
        "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\nparameters:\n  t:\n    filter: mlp\n    value: ‸1.5",
        "found 1.5",
        None,
    ),
    (
        "shared, under a model",
        "ill-placed-parameter",
        "merge_method: slerp\nbase_model: a\nmodels:\n  - model: a\n  - model: b\n    parameters:\n      ‸t: 0.5",
        "`t` should be shared by all models of slerp, found it under one of them",
        "the recipe's own `parameters:`",
    ),
    (
        "shared, under a source",
        "ill-placed-parameter",
        "merge_method: linear\nparameters: {weight: 1}\nslices:\n  - sources:\n"
        "      - {model: a, layer_range: [0, 1], parameters: {‸normalize: false}}",
        "`normalize` should be shared",
        None,
    ),
    (
        "required, per model",
        "missing-parameter",
        "merge_method: linear\nmodels:\n  - model: a\n    parameters: {weight: 1}\n  - ‸model: b",
        "linear needs `weight` for `b`, found none",
        "write `parameters: {weight: …}` under the model",
    ),
    (
        "required, of a base that is an input",
        "missing-parameter",
        "merge_method: linear\nbase_model: ‸c\nmodels:\n  - model: a\n    parameters: {weight: 1}",
        "linear needs `weight` for `c`, found none",
        None,
    ),
    (
        "required, shared",
        "missing-parameter",
        "merge_method: ‸slerp\nbase_model: a\nmodels: [{model: a}, {model: b}]",
        "slerp needs `t`, found none",
        "write `t: …` under the recipe's `parameters:`",
    ),
    (
        "required, shared, in one slice",
        "missing-parameter",
        "merge_method: slerp\nbase_model: a\nslices:\n"
        "  - sources: [{model: b, layer_range: [0, 1]}]\n    parameters: {t: 0.5}\n"
        "  - ‸sources: [{model: b, layer_range: [0, 1]}]",
        "slerp needs `t`, found none",
        None,
    ),
    (
        "weights that cancel",
        "zero-weight-sum",
        "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: ‸1}}\n- {model: b, parameters: {weight: -1}}",
        "the values of `weight` should not sum to 0: linear divides by their sum",
        "set `normalize: false`",
    ),
    (
        "weights that cancel up to rounding",
        "zero-weight-sum",
        "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: ‸0.1}}\n"
        "  - {model: b, parameters: {weight: 0.2}}\n  - {model: c, parameters: {weight: -0.3}}",
        "should not sum to 0",
        None,
    ),
    (
        "a shared weight of zero",
        "zero-weight-sum",
        "merge_method: ties\nbase_model: b\nmodels: [{model: a}, {model: c}]\nparameters:\n  weight: ‸0",
        "ties divides by their sum",
        None,
    ),
    (
        "weights that cancel beside the base",
        "zero-weight-sum",
        "merge_method: ties\nbase_model: b\nmodels:\n  - {model: b, parameters: {weight: 5}}\n"
        "  - {model: a, parameters: {weight: ‸1}}\n  - {model: c, parameters: {weight: -1}}",
        "should not sum to 0",
        None,
    ),
    (
        "weights that cancel in one slice",
        "zero-weight-sum",
        "merge_method: linear\nslices:\n"
        "  - sources: [{model: a, layer_range: [0, 1], parameters: {weight: 1}}]\n"
        "  - sources: [{model: a, layer_range: [1, 2], parameters: {weight: ‸0}}]",
        "should not sum to 0",
        None,
    ),
]


@pytest.mark.parametrize(("code", "text", "message", "hint"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_fault_at_its_place(code, text, message, hint):
    assert_only(text, code, message, hint)
