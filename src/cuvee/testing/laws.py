"""The laws of merging as assertions over a method.

A method names in `spec.laws` the laws that hold for it. Each law is a function `(method, inputs)` that draws tensors
and settings from a seed and raises `AssertionError` when the method breaks the law; `LAWS` finds them by name,
`check_all` runs all that a method declares. No test framework is needed.

Example:
    >>> from cuvee.methods import get
    >>> check_all(get("linear"))
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from cuvee.errors import nearest
from cuvee.methods.declare import METHODS, Method
from cuvee.testing.cases import WITHOUT_SPARSIFIER, Case, Inputs, draw, is_random, switched
from cuvee.testing.compare import (
    assert_close,
    assert_differs,
    assert_equal,
    assert_same_bytes,
    assert_within,
)
from cuvee.testing.registry import LAWS, law

TILES: Final = (1, 3, 1000, 1024, 4096, 5000)
"""Tile sizes, in elements, under which a result must not change."""

SEEDS: Final = 300
"""Seeds over which the expectation of a random method is taken."""

ENOUGH: Final = 64
"""Entries from which two random masks are sure to differ."""


def check_all(method: Method, seed: int = 0) -> None:
    """Check that a method declares only known laws, and that each of them holds.

    Args:
        method: any merge method, built in or not.
        seed: seed of the inputs.

    Raises:
        AssertionError: a law is broken or unknown.
    """
    for name in method.spec.laws:
        check_law(method, name, Inputs(seed))


def check_law(method: Method, name: str, inputs: Inputs) -> None:
    """Check one law by name.

    Args:
        method: any merge method.
        name: a key of `LAWS`.
        inputs: what to draw the inputs from.

    Raises:
        AssertionError: the law is broken, there is no such law, or it says nothing about this method.
    """
    if name not in LAWS:
        raise AssertionError(f"{method.name} declares a law `{name}` that does not exist; {nearest(name, LAWS)}")
    lacking = [p for p in LAWS[name].needs if not _has(method, p)]
    if lacking:
        raise AssertionError(f"{method.name} declares the law `{name}` and has no {', '.join(lacking)}")
    LAWS[name].check(method, inputs)


def _has(method: Method, need: str) -> bool:
    if need == "base":
        return method.spec.base == "required"
    return any(p.name in need.split(" or ") for p in method.spec.params if not p.ignored)


@law("identity")
def check_identity(method: Method, inputs: Inputs) -> None:
    """One model at weight 1 is that model: exactly, or up to the rounding of base + (model − base)."""
    drawn = draw(method.spec, inputs, "normal", models=1)
    for case in switched(method.spec, drawn.neutral(method.spec)):
        claim = f"{method.name}: one model at weight 1 is that model {case.settings}"
        if method.spec.space == "weight":
            assert_equal(case.run(method), case.tensors[0], claim)
        else:
            assert_close(case.run(method), case.tensors[0], case.largest(), claim)


@law("copies")
def check_copies(method: Method, inputs: Inputs) -> None:
    """Copies of one model with equal weights, normalised, are that model."""
    drawn = draw(method.spec, inputs, "normal")
    model = drawn.tensors[0]
    # where the base is merged like any other model, it is one of the copies
    base = model if drawn.base is not None and method.spec.space == "weight" else drawn.base
    case = drawn.but(tensors=(model,) * len(drawn.tensors), base=base).neutral(method.spec)
    for weight in (1.0, 0.3):
        got = case.set(method.spec, weight=weight, normalize=True).run(method)
        assert_close(got, model, case.largest(), f"{method.name}: copies of a model at weight {weight} are that model")


@law("permutation")
def check_permutation(method: Method, inputs: Inputs) -> None:
    """The order of the models does not matter, up to rounding, when names and settings travel with them."""
    drawn = draw(method.spec, inputs, "grid")
    count = len(drawn.tensors)
    assert count > 1, f"{method.name} declares the law `permutation` and takes one model only"
    for case in switched(method.spec, drawn):
        want = case.run(method)
        for order in (list(reversed(range(count))), [*range(1, count), 0]):
            claim = f"{method.name}: models in the order {order} give the same {case.settings}"
            assert_close(case.pick(method.spec, order).run(method), want, 16 * case.largest(), claim)


@law("zero-weight", "weight")
def check_zero_weight(method: Method, inputs: Inputs) -> None:
    """A model of weight 0 changes nothing, wherever it stands in the list."""
    drawn = draw(method.spec, inputs, "normal")
    count = len(drawn.tensors)
    for case in switched(method.spec, drawn):
        for silent in range(count):
            weights = [0.0 if i == silent else w for i, w in enumerate(case.settings["weight"])]
            whole = case.set(method.spec, weight=weights)
            rest = whole.pick(method.spec, [i for i in range(count) if i != silent])
            claim = f"{method.name}: model {silent} at weight 0 changes nothing {whole.settings}"
            assert_equal(whole.run(method), rest.run(method), claim)


@law("density-one", "density")
def check_density_one(method: Method, inputs: Inputs) -> None:
    """At density 1 nothing is thinned: no mask, no rescaling, the same as the method without its sparsifier."""
    case = draw(method.spec, inputs, "normal").set(method.spec, density=1.0, normalize=False)
    want = case.run(method)
    elsewhere = case.but(seed=case.seed + 1, tensor_name="elsewhere")
    for other in (elsewhere, case.set(method.spec, rescale=True), case.set(method.spec, rescale=False)):
        assert_same_bytes(other.run(method), want, f"{method.name}: density 1 leaves nothing to draw or to rescale")
    plain = WITHOUT_SPARSIFIER.get(method.name)
    if plain is not None and plain in METHODS:
        settings = {k: v for k, v in case.settings.items() if k != "density"}
        got = case.but(settings=settings).run(METHODS.get(plain))
        assert_same_bytes(got, want, f"{method.name}: density 1 is {plain}")


@law("lambda-zero", "lambda", "base")
def check_lambda_zero(method: Method, inputs: Inputs) -> None:
    """At λ = 0 the result is the base, exactly."""
    for case in switched(method.spec, draw(method.spec, inputs, "normal")):
        got = case.set(method.spec, lambda_=0.0).run(method)
        assert_equal(got, _base_of(case), f"{method.name}: λ = 0 is the base {case.settings}")


@law("tiles")
def check_tiles(method: Method, inputs: Inputs) -> None:
    """Any tile size gives the bytes of the whole, on a tensor of about 10 000 entries and on one of 3."""
    for size in (inputs.shape or (101, 99), (3,)):
        drawn = draw(method.spec, replace(inputs, shape=size), "normal")
        for case in switched(method.spec, drawn):
            whole = case.run(method, tile=10**9)
            for tile in (*TILES, None):
                claim = f"{method.name}: tiles of {tile} give the bytes of the whole {size} {case.settings}"
                assert_same_bytes(case.run(method, tile=tile), whole, claim)


@law("expectation", "density", "base")
def check_expectation(method: Method, inputs: Inputs) -> None:
    """Over the seeds the mean of the result is the result without dropping.

    The deltas of the models agree in sign, so that no election can prefer one of them.
    """
    drawn = draw(method.spec, inputs, "normal").set(method.spec, rescale=True, normalize=False)
    base, sign = _base_of(drawn), torch.sign(drawn.tensors[0])
    case = drawn.but(tensors=tuple(base + sign * t.abs() for t in drawn.tensors))
    want = case.set(method.spec, density=1.0).run(method).double()
    runs = torch.stack([case.but(seed=case.seed + i).run(method).double() for i in range(SEEDS)])
    missed, variance = runs.mean(0) - want, runs.var(0) / SEEDS
    assert_within(missed, variance, f"{method.name}: every entry is right in the mean over {SEEDS} seeds")
    # the signed sum is far more sensitive than any entry to a factor that is a little wrong
    total, claim = (missed * sign.double()).sum(), f"{method.name}: the changes sum up in the mean over {SEEDS} seeds"
    assert_within(total, variance.sum(), claim)


@law("endpoints", "t or alpha", "base")
def check_endpoints(method: Method, inputs: Inputs) -> None:
    """At t = 0 the result is the base, at t = 1 the other model, exactly; t may be called alpha."""
    case = draw(method.spec, inputs, "normal")
    assert_equal(_at(method, case, 0.0), _base_of(case), f"{method.name}: t = 0 is the base")
    assert_equal(_at(method, case, 1.0), case.tensors[0], f"{method.name}: t = 1 is the other model")


def _at(method: Method, case: Case, t: float) -> Tensor:
    """The result so far along the way."""
    return case.set(method.spec, t=t, alpha=t).run(method)


@law("symmetry", "t or alpha", "base")
def check_symmetry(method: Method, inputs: Inputs) -> None:
    """From a to b by t is from b to a by 1 − t, up to rounding; t may be called alpha."""
    there = draw(method.spec, inputs, "normal")
    back = there.but(tensors=(_base_of(there),), base=there.tensors[0])
    for t in (0.125, 0.5, 0.625):
        want = _at(method, there, t)
        got = _at(method, back, 1.0 - t)
        assert_close(got, want, there.largest(), f"{method.name}: t = {t} from one side is {1 - t} from the other")


@law("seed")
def check_seed(method: Method, inputs: Inputs) -> None:
    """The same seed gives the same bytes; another seed gives others if the method is random, and only then."""
    case = draw(method.spec, inputs, "normal")
    first = case.run(method)
    assert_same_bytes(case.run(method), first, f"{method.name}: the same seed gives the same bytes")
    _assert_key_matters(method, case.but(seed=case.seed + 1), first, "seed")


@law("names")
def check_names(method: Method, inputs: Inputs) -> None:
    """Random masks depend on the name of the model and of the tensor; nothing else does."""
    case = draw(method.spec, inputs, "normal")
    first = case.run(method)
    _assert_key_matters(method, case.but(names=("renamed", *case.names[1:])), first, "model's name")
    _assert_key_matters(method, case.but(tensor_name="layers.1.weight"), first, "tensor's name")


def _assert_key_matters(method: Method, other: Case, first: Tensor, key: str) -> None:
    """Another key of the random numbers changes a random method's result, and no other method's."""
    if not is_random(method):
        assert_same_bytes(other.run(method), first, f"{method.name}: the {key} does not matter")
    elif first.numel() >= ENOUGH:
        assert_differs(other.run(method), first, f"{method.name}: another {key} gives other bytes")


def _base_of(case: Case) -> Tensor:
    assert case.base is not None, "a law that uses the base must need it"
    return case.base
