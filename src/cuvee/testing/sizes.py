"""The laws of merging that are about size: of numbers, and of whole tensors."""

from __future__ import annotations

import torch

from cuvee.methods.declare import Method
from cuvee.testing.cases import Case, Inputs, draw, switched
from cuvee.testing.compare import assert_close, assert_finite
from cuvee.testing.registry import law
from cuvee.types import argument


@law("scale-equivariance")
def check_scale_equivariance(method: Method, inputs: Inputs) -> None:
    """All inputs times a factor gives the result times that factor.

    The factors are powers of two, which round nothing; the small one finds thresholds that are not relative.
    """
    for case in switched(method.spec, draw(method.spec, inputs, "grid")):
        want = case.run(method)
        for power in (-3, 5) if inputs.dtype == torch.float16 else (-60, -3, 5):
            factor = 2.0**power
            claim = f"{method.name}: inputs times 2^{power} give 2^{power} times the result {case.settings}"
            got = _scaled(method, case, factor).run(method)
            assert_close(got, want * factor, case.largest() * factor, claim)


def _scaled(method: Method, case: Case, factor: float) -> Case:
    """All inputs times a factor, and with them the settings that are measured in units of the weights."""
    sizes = {argument(p.name): p.default for p in method.spec.params if p.scales and not p.ignored}
    settings = {name: case.settings.get(name, default) * factor for name, default in sizes.items()}
    return case.map(lambda t: t * factor).set(method.spec, **settings)


@law("length", "weight")
def check_length(method: Method, inputs: Inputs) -> None:
    """The result is as long as the models are on average, by their weights."""
    case = draw(method.spec, inputs, "normal").map(torch.abs)  # of one sign, so that no directions cancel
    norms = torch.stack([t.double().norm() for t in case.tensors])
    weights = torch.tensor(case.settings["weight"], dtype=torch.float64)
    want = (weights * norms).sum() / weights.sum()
    got = case.run(method).double().norm()
    claim = f"{method.name}: the result is as long as the models on average {case.settings}"
    assert_close(got.to(inputs.dtype), want.to(inputs.dtype), float(want), claim)


@law("finite")
def check_finite(method: Method, inputs: Inputs) -> None:
    """Finite inputs give a finite result: zeros, the smallest numbers, and large ones."""
    info = torch.finfo(inputs.dtype)
    # squares of the last overflow, squares of the others vanish
    sizes = (0.0, info.tiny / 4, info.tiny**0.6, info.max**0.6)
    for case in switched(method.spec, draw(method.spec, inputs, "normal")):
        for size in sizes:
            got = case.map(lambda t, size=size: t * size).run(method)
            assert_finite(got, f"{method.name}: numbers of size {size} give finite numbers {case.settings}")
