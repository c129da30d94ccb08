"""Every law, and every other part of the exam, catches a method made to break it."""

from __future__ import annotations

import random

import pytest
import torch

from cuvee import methods
from cuvee.methods.call import merge_tensors
from cuvee.methods.declare import Method, nothing_first
from cuvee.methods.job import Round
from cuvee.testing import LAWS, Inputs, MethodTests, check_all, draw
from cuvee.types import MethodSpec, Param
from tests.laws.shuffled import run_shuffled

WEIGHT = Param("weight", "float", "the model's share", required=True, per_model=True)
NORMALIZE = Param("normalize", "bool", "divide by the sum of the weights", default=True)
DENSITY = Param("density", "float", "kept fraction", default=1.0, per_model=True, low=0.0, low_open=True, high=1.0)
LAMBDA = Param("lambda", "float", "factor of the change", default=1.0)
SIZE = Param("size", "float", "a size of weights", default=1e-3, scales=True)
T = Param("t", "float", "how far to go", required=True, low=0.0, high=1.0)


def toy(combine, *params, law, cls=Method, **facts):
    """A merge method that is registered nowhere."""
    declared = {
        "name": "toy",
        "space": "weight",
        "scope": "element",
        "base": "input",
        "models": (1, None),
        "laws": (law,),
        **facts,
    }
    spec = MethodSpec(summary="A toy.", formula="?", params=params, **declared)
    wants = frozenset(list(combine.__code__.co_varnames[: combine.__code__.co_argcount])[1:])
    return cls(spec, combine, nothing_first, wants)


DELTA = {"space": "delta", "base": "required", "models": (0, None)}
TWO = {"base": "required", "models": (1, 1)}


def share(weight):
    return (weight / weight.sum())[:, None]


def mean(stack, weight):
    return (share(weight) * stack).sum(0)


def a_little_more(stack, weight):
    return mean(stack, weight) * (1 + 1e-5)


def sum_always(stack, weight, normalize):
    return (weight[:, None] * stack).sum(0)


def first_counts_twice(stack, weight):
    return (mean(stack, weight) + stack[0]) / 2


def divided_by_models(stack, weight):
    return (weight[:, None] * stack).sum(0) / len(stack)


def sum_of_all(stack, weight, density, lambda_, normalize):
    return (weight[:, None] * stack).sum(0)


def draws_at_density_one(stack, weight, density, draws):
    return (weight[:, None] * stack * (draws < density[:, None] - 0.1)).sum(0)


def outside_lambda(stack, weight, lambda_):
    return lambda_ * mean(stack, weight) + 1e-3 * stack[0]


def minus_total(stack, weight, statistics):
    return mean(stack, weight) - statistics


def minus_mean_of_tile(stack, weight):
    return mean(stack, weight) - stack.mean()


def counts_from_tile(stack, weight):
    return mean(stack, weight) * (torch.arange(stack.shape[1]) % 7)


def keeps(stack, density, draws):
    return stack * (draws < density[:, None])


def without_rescaling(stack, weight, density, draws):
    return (weight[:, None] * keeps(stack, density, draws)).sum(0)


def rescaled_a_little_too_much(stack, weight, density, draws):
    factor = torch.where(density < 1, 1.05 / density, 1.0)
    return ((weight * factor)[:, None] * keeps(stack, density, draws)).sum(0)


def stops_short(stack, t):
    return stack[0] + 0.9999 * t * (stack[1] - stack[0])


def starts_late(stack, t):
    return stack[0] + (t + 1e-4 * (1 - t)) * (stack[1] - stack[0])


def quadratic(stack, t):
    return stack[0] + t * t * (stack[1] - stack[0])


def absolute_threshold(stack, weight):
    return mean(stack * (stack.abs() > 1e-8), weight)


def plus_constant(stack, weight):
    return mean(stack, weight) + 1e-3


def fixed_size(stack, size):
    return stack[0] + 1e-3


def global_randomness(stack, weight):
    return mean(stack, weight) * (torch.rand(stack.shape[1]) < 0.5)


def deaf_to_draws(stack, weight, draws):
    return mean(stack, weight)


def thinned(stack, weight, draws):
    return mean(stack * (draws < 0.5), weight)


def divided_by_norm(stack, weight):
    return mean(stack, weight) / stack.norm()


def squared(stack, weight):
    return mean(stack, weight) ** 3 / mean(stack, weight) ** 2


def largest_only(stack, weight):
    merged = mean(stack, weight)
    return merged * (merged.abs() > 0.5)


class Nameless(Method):
    """Forgets the models' names."""

    def __call__(self, tensors, **call):
        return merge_tensors(self, tensors, **{**call, "names": None})


class OneTensor(Method):
    """Forgets the tensor's name."""

    def __call__(self, tensors, **call):
        return merge_tensors(self, tensors, **{**call, "tensor_name": ""})


class OneSeed(Method):
    """Forgets the seed."""

    def __call__(self, tensors, **call):
        return merge_tensors(self, tensors, **{**call, "seed": 0})


BROKEN = [
    (toy(a_little_more, WEIGHT, law="identity"), "one model at weight 1 is that model"),
    (toy(a_little_more, WEIGHT, law="identity", **DELTA), "one model at weight 1 is that model"),
    (toy(sum_always, WEIGHT, NORMALIZE, law="copies"), "copies of a model"),
    (toy(first_counts_twice, WEIGHT, law="permutation"), "models in the order"),
    (toy(divided_by_models, WEIGHT, law="zero-weight"), "at weight 0 changes nothing"),
    (
        toy(sum_of_all, WEIGHT, DENSITY, LAMBDA, NORMALIZE, law="density-one", name="ties", **DELTA),
        "density 1 is dare_ties",
    ),
    (toy(draws_at_density_one, WEIGHT, DENSITY, law="density-one"), "nothing to draw"),
    (toy(outside_lambda, WEIGHT, LAMBDA, law="lambda-zero", **DELTA), "λ = 0 is the base"),
    (toy(minus_mean_of_tile, WEIGHT, law="tiles"), "tiles of 1 give the bytes of the whole"),
    (toy(counts_from_tile, WEIGHT, law="tiles"), "tiles of 1 give the bytes of the whole"),
    (toy(without_rescaling, WEIGHT, DENSITY, law="expectation", **DELTA), "in the mean"),
    (toy(rescaled_a_little_too_much, WEIGHT, DENSITY, law="expectation", **DELTA), "sum up in the mean"),
    (toy(stops_short, T, law="endpoints", **TWO), "t = 1 is the other"),
    (toy(starts_late, T, law="endpoints", **TWO), "t = 0 is the base"),
    (toy(quadratic, T, law="symmetry", **TWO), "from the other"),
    (toy(absolute_threshold, WEIGHT, law="scale-equivariance"), "2\\^-60"),
    (toy(plus_constant, WEIGHT, law="scale-equivariance"), "times the result"),
    (toy(fixed_size, SIZE, law="scale-equivariance", models=(1, 1)), "times the result"),
    (toy(mean, WEIGHT, law="length"), "as long as the models"),
    (toy(global_randomness, WEIGHT, law="seed"), "the same seed gives the same bytes"),
    (toy(deaf_to_draws, WEIGHT, law="seed"), "another seed gives other bytes"),
    (toy(thinned, WEIGHT, law="seed", cls=OneSeed), "another seed gives other bytes"),
    (toy(deaf_to_draws, WEIGHT, law="names"), "another model's name gives other bytes"),
    (toy(thinned, WEIGHT, law="names", cls=Nameless), "another model's name gives other bytes"),
    (toy(thinned, WEIGHT, law="names", cls=OneTensor), "another tensor's name gives other bytes"),
    (toy(divided_by_norm, WEIGHT, law="finite"), "give finite numbers"),
    (toy(squared, WEIGHT, law="finite"), "give finite numbers"),
    (toy(largest_only, WEIGHT, law="rotation"), "rotated outputs give the rotated result"),
    (toy(largest_only, WEIGHT, law="rotation-of-inputs"), "rotated inputs give the rotated result"),
]


@pytest.mark.parametrize(
    ("method", "message"), BROKEN, ids=lambda v: v.combine.__name__ if isinstance(v, Method) else ""
)
def test_law_catches_the_method_made_to_break_it(method, message):
    with pytest.raises(AssertionError, match=message):
        check_all(method)


def test_statistics_that_depend_on_the_order_are_noticed():
    sums = Round(lambda stack, start, job, known: stack.sum(), lambda total, job, known: total)
    plain = toy(minus_total, WEIGHT, law="tiles")
    method = Method(plain.spec, plain.combine, lambda job, done, known: None if done else sums, plain.wants)
    case = draw(method.spec, Inputs(3, (6007,)), "normal")
    results = [run_shuffled(method, case, random.Random(seed)) for seed in range(8)]
    assert not all(torch.equal(r, results[0]) for r in results)


def test_every_law_can_fail():
    assert {law for method, _ in BROKEN for law in method.spec.laws} == set(LAWS)


def test_a_right_method_passes():
    check_all(toy(mean, WEIGHT, law="identity", laws=("identity", "copies", "permutation", "tiles", "seed", "finite")))
    check_all(toy(thinned, WEIGHT, law="names", laws=("seed", "names", "tiles", "permutation")))


@pytest.mark.parametrize("law", ["identiti", "lambda-zero", "permutation", "symmetry"])
def test_law_that_does_not_apply_is_refused(law):
    with pytest.raises(AssertionError, match=f"toy declares (a|the) law `{law}`"):
        check_all(toy(mean, WEIGHT, law=law, models=(1, 1)))


def fails(method, name):
    """Whether a method fails one test of the exam."""
    try:
        getattr(type("Exam", (MethodTests,), {"method": method})(), name)()
    except AssertionError:
        return True
    return False


class ReturnsItsInput(Method):
    """Gives back the tensor it was given."""

    def __call__(self, tensors, **call):
        return tensors[0]


class StaysWide(Method):
    """Forgets to round the result to the dtype of the inputs."""

    def __call__(self, tensors, **call):
        return merge_tensors(self, [t.double() for t in tensors], **call)


class RoundsEarly(Method):
    """Multiplies in the dtype of the inputs."""

    def __call__(self, tensors, weight=(), **call):
        weighted = [t * w for t, w in zip(tensors, weight)]
        return sum(weighted[1:], weighted[0]) / sum(weight)


class ReadsMemory(Method):
    """Takes a tensor's memory for its entries."""

    def __call__(self, tensors, **call):
        return torch.as_strided(tensors[0], tensors[0].shape, tensors[0].new_empty(tensors[0].shape).stride()).clone()


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (toy(mean, law="tiles"), "test_is_explained"),
        (toy(mean, WEIGHT, law="tiles", cls=ReturnsItsInput), "test_keeps_inputs"),
        (toy(mean, WEIGHT, law="tiles", cls=StaysWide), "test_keeps_shape_and_dtype"),
        (toy(mean, WEIGHT, law="tiles", cls=RoundsEarly), "test_rounds_once"),
        (toy(mean, WEIGHT, law="tiles", cls=ReadsMemory), "test_reads_any_layout"),
        (toy(global_randomness, WEIGHT, law="tiles"), "test_keeps_global_randomness"),
        (toy(minus_mean_of_tile, WEIGHT, law="tiles"), "test_law_tiles"),
        (
            toy(mean, WEIGHT, Param("density", "float", "d", default=2.0, high=1.0), law="tiles"),
            "test_defaults_are_in_range",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_exam_can_fail(method, name):
    assert fails(method, name)
    assert not fails(methods.get("linear"), name)
