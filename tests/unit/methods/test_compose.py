"""Named methods are presets of `compose`: the same bytes; and what would change nothing is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from cuvee import methods
from cuvee.errors import UsageError
from cuvee.methods.presets import ELSEWHERE, PRESETS
from cuvee.testing import Inputs, draw
from cuvee.testing.compare import assert_differs, assert_same_bytes

SWITCHES = [{}, {"normalize": True}, {"normalize": False}, {"rescale": True}, {"rescale": False}]
"""Switches of the named methods."""
DRAWN = {"random", "ranks"}


def composed(case, preset, **more):
    """A case of a named method as one of `compose`."""
    kept = {k: v for k, v in case.settings.items() if k in ("weight", "density", "lambda_", "epsilon", "gamma")}
    settings = {**{k: v for k, v in preset.items() if k not in kept or k == "weight"}, **kept, **more}
    return case.but(settings=settings)


def switched_axes(name, preset, switches) -> dict[str, Any] | None:
    """What a switch of a named method is in terms of `compose`; `None` where the method does not have it."""
    params = {p.name for p in methods.get(name).spec.params if not p.ignored}
    if not switches.keys() <= params:
        return None
    found = {}
    if "normalize" in switches:
        found["combine"] = "mean" if switches["normalize"] else "sum"
    if "rescale" in switches:
        on = "probability" if preset["sparsify"] in DRAWN else "norm"
        found["rescale"] = on if switches["rescale"] else "none"
    return found


PAIRS = [
    (name, switches)
    for name, preset in PRESETS.items()
    for switches in SWITCHES
    if switched_axes(name, preset, switches) is not None
]


@pytest.mark.parametrize("spread", ["grid", "normal"])
@pytest.mark.parametrize(("name", "switches"), PAIRS)
def test_a_preset_gives_the_bytes_of_its_method(name, switches, spread):
    method, preset = methods.get(name), PRESETS[name]
    for seed, dtype in ((0, torch.float32), (1, torch.bfloat16), (2, torch.float64)):
        case = draw(method.spec, Inputs(seed, (37, 61), dtype), spread).set(method.spec, **switches, lambda_=0.7)
        want = case.run(method)
        case = composed(case, preset, **(switched_axes(name, preset, switches) or {}))
        for tile in (None, 1024):
            claim = f"compose as {name} with {case.settings}"
            assert_same_bytes(case.run(methods.get("compose"), tile), want, claim)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_defaults_of_its_method(name):
    method, preset = methods.get(name), PRESETS[name]
    case = draw(method.spec, Inputs(4, (300,)))
    required = {p.name for p in method.spec.params if p.required}
    plain = case.but(settings={k: v for k, v in case.settings.items() if k in required})
    if preset["sparsify"] == "ranks":  # whose window would leave (0, 1) around the default density
        plain = plain.set(method.spec, density=0.5)
    want = plain.run(method)
    assert_same_bytes(composed(plain, preset).run(methods.get("compose")), want, f"compose as {name} by default")


@pytest.mark.parametrize("name", PRESETS)
def test_no_two_presets_are_the_same(name):
    """Were an axis not looked at, two methods would be alike."""
    spec = methods.get("compose").spec
    case = draw(spec, Inputs(5, (40, 50)), "normal").set(spec, density=0.5)
    mine = composed(case, {**PRESETS[name], "density": 0.5}, **_whole(PRESETS[name])).run(methods.get("compose"))
    for other, preset in {**PRESETS, **ELSEWHERE}.items():
        if not alike(preset, PRESETS[name]):
            got = composed(case, {**preset, "density": 0.5}, **_whole(preset)).run(methods.get("compose"))
            assert_differs(got, mine, f"compose as {other} and as {name}")


def _whole(preset):
    return {"density": 1.0} if preset["sparsify"] == "none" else {}


def alike(one, other):
    """The trim of one tensor and of a model of one tensor are the same but for equal entries."""
    names = {"magnitude_of_model": "magnitude"}
    keys = ("sparsify", "rescale", "elect", "combine")
    return all(names.get(one[k], one[k]) == names.get(other[k], other[k]) for k in keys)


REFUSED = [
    ({"sparsify": "none", "density": 0.5}, "density must be 1"),
    ({"sparsify": "magnitude", "rescale": "probability"}, "random"),
    ({"sparsify": "outliers", "rescale": "probability"}, "random"),
    ({"sparsify": "none", "rescale": "norm"}, "entries that went"),
    ({"sparsify": "random", "epsilon": 0.1}, "ranks"),
    ({"sparsify": "magnitude", "gamma": 0.1}, "outliers"),
    ({"sparsify": "ranks", "density": 0.2, "epsilon": 0.3}, "(0, 1)"),
    ({"sparsify": "best"}, "one of"),
]


@pytest.mark.parametrize(("settings", "told"), REFUSED)
def test_what_means_nothing_is_refused(settings, told):
    models = [torch.ones(3), torch.zeros(3)]
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        methods.get("compose")(models, base=torch.zeros(3), weight=1.0, **settings)
    assert caught.value.codes == ("out-of-range",)


def test_weights_that_cancel_are_refused_where_all_are_divided_by_them():
    call = {"base": torch.zeros(2), "weight": [1.0, -1.0]}
    models = [torch.ones(2), torch.zeros(2)]
    with pytest.raises(UsageError) as caught:
        methods.get("compose")(models, **call, elect="none", combine="mean")
    assert caught.value.codes == ("zero-weight-sum",)
    for settings in ({"elect": "none", "combine": "sum"}, {"elect": "sum", "combine": "mean"}):
        assert torch.isfinite(methods.get("compose")(models, **call, **settings)).all()


def test_the_explanation_lists_the_presets():
    formula = methods.get("compose").spec.formula
    assert all(name in formula for name in (*PRESETS, *ELSEWHERE))
