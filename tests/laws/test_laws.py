"""Every method obeys every law it declares; and every law catches a method made to break it."""

from __future__ import annotations

import random
from functools import reduce
from operator import add

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee import methods
from cuvee.methods.call import combine_tile, merge_tensors, stack_of, tile_ranges
from cuvee.methods.declare import Method, Round, nothing_first
from cuvee.testing import LAWS, Inputs, MethodTests, check_all, check_law, draw
from cuvee.types import MethodSpec, Param

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SHAPES = [(), (1,), (0,), (3, 0), (2,), (9,), (4, 3), (2, 3, 4), (130,)]
DECLARED = [(name, law) for name in methods.names() for law in methods.get(name).spec.laws]

# run on fixed inputs only: these are about numbers of entries or of seeds, and take long
FIXED = {"tiles", "expectation"}


def test_the_laws_have_the_names_methods_use():
    assert set(LAWS) == {
        "identity",
        "copies",
        "permutation",
        "zero-weight",
        "density-one",
        "lambda-zero",
        "tiles",
        "expectation",
        "endpoints",
        "symmetry",
        "scale-equivariance",
        "seed",
        "names",
        "finite",
    }
    assert all(law.claim and law.name == name for name, law in LAWS.items())


def test_every_law_is_declared_by_a_method():
    assert {law for _, law in DECLARED} == set(LAWS)


@pytest.mark.parametrize("name", methods.names())
def test_every_method_declares_what_holds_for_all(name):
    assert {"tiles", "seed", "finite"} <= set(methods.get(name).spec.laws)


@pytest.mark.parametrize(("name", "law"), DECLARED)
def test_declared_law_holds(name, law):
    for seed in range(1 if law in FIXED else 3):
        check_law(methods.get(name), law, Inputs(seed))


@pytest.mark.parametrize(("name", "law"), [pair for pair in DECLARED if pair[1] not in FIXED])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from(SHAPES), dtype=st.sampled_from(DTYPES))
def test_declared_law_holds_everywhere(name, law, seed, shape, dtype):
    check_law(methods.get(name), law, Inputs(seed, shape, dtype))


@pytest.mark.parametrize("name", methods.names())
@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), size=st.integers(1025, 7000), dtype=st.sampled_from(DTYPES))
def test_tiles_of_any_tensor(name, seed, size, dtype):
    check_law(methods.get(name), "tiles", Inputs(seed, (size,), dtype))


def test_expectation_where_models_disagree():
    # the law lets the models agree in sign; a plain sum is right in the mean without that
    method = methods.get("dare_linear")
    case = draw(method.spec, Inputs(5), "normal")
    want = case.set(method.spec, density=1.0).run(method).double()
    runs = torch.stack([case.but(seed=s).run(method).double() for s in range(400)])
    assert ((runs.mean(0) - want).abs() < 5 * (runs.var(0) / 400).sqrt() + 1e-6).all()


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_statistics_add_up_in_any_order(name, dtype):
    method = methods.get(name)
    for rescale in (False, True):
        case = draw(method.spec, Inputs(3, (6007,), dtype), "normal").set(method.spec, rescale=rescale)
        want = case.run(method)
        for seed in range(4):
            assert torch.equal(run_shuffled(method, case, random.Random(seed)), want)


def test_statistics_that_depend_on_the_order_are_noticed():
    sums = Round(lambda stack, start, job, known: stack.sum(), lambda total, job, known: total)
    plain = toy(minus_total, WEIGHT, law="tiles")
    method = Method(plain.spec, plain.combine, lambda job, done, known: None if done else sums, plain.wants)
    case = draw(method.spec, Inputs(3, (6007,)), "normal")
    results = [run_shuffled(method, case, random.Random(seed)) for seed in range(8)]
    assert not all(torch.equal(r, results[0]) for r in results)


def run_shuffled(method, case, order):
    """Merge with the tiles observed, added up and combined in random order, as workers would."""
    job = job_of(method, case)
    tiles = tile_ranges(job.numel, order.choice([1, 2000]))
    values = [t.reshape(-1) for t in case.tensors]
    known, done = None, 0
    while (following := method.measure(job, done, known)) is not None:
        order.shuffle(tiles)
        partials = [following.observe(stack(method, case, values, a, b, job), a, job, known) for a, b in tiles]
        known, done = following.conclude(pairwise(partials, order), job, known), done + 1
    merged = torch.empty(job.numel, dtype=job.dtype)
    for a, b in order.sample(tiles, len(tiles)):
        base = None if case.base is None else case.base[a:b]
        merged[a:b] = combine_tile(method, stack(method, case, values, a, b, job), base, a, job, known)
    return merged


def pairwise(partials, order):
    """The sum of all partials, each time of two taken at random."""
    rest = list(partials)
    while len(rest) > 1:
        order.shuffle(rest)
        rest.append(reduce(add, [rest.pop(), rest.pop()]))
    return rest[0]


def stack(method, case, values, a, b, job):
    return stack_of(method, [v[a:b] for v in values], None if case.base is None else case.base[a:b], job.dtype)


def job_of(method, case):
    """The job that a call of the method on this case makes."""
    seen = []

    def spy(job, done, known):
        seen.append(job)
        return method.measure(job, done, known)

    case.run(Method(method.spec, method.combine, spy, method.wants))
    return seen[0]


# --- the exam as plug-in authors use it


def exam(name):
    return type(f"Test_{name}", (MethodTests,), {"method": methods.get(name)})


Test_linear, Test_slerp, Test_passthrough = exam("linear"), exam("slerp"), exam("passthrough")
Test_task_arithmetic, Test_ties = exam("task_arithmetic"), exam("ties")
Test_dare_linear, Test_dare_ties = exam("dare_linear"), exam("dare_ties")


def test_every_method_sits_the_exam():
    exams = [v for v in globals().values() if isinstance(v, type) and issubclass(v, MethodTests)]
    sat = {v.method.name for v in exams if v is not MethodTests}
    assert sat == set(methods.names())


# --- the laws can fail: each is broken by a method made for it

WEIGHT = Param("weight", "float", "the model's share", required=True, per_model=True)
NORMALIZE = Param("normalize", "bool", "divide by the sum of the weights", default=True)
DENSITY = Param("density", "float", "kept fraction", default=1.0, per_model=True, low=0.0, low_open=True, high=1.0)
LAMBDA = Param("lambda", "float", "factor of the change", default=1.0)
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
    (toy(global_randomness, WEIGHT, law="seed"), "the same seed gives the same bytes"),
    (toy(deaf_to_draws, WEIGHT, law="seed"), "another seed gives other bytes"),
    (toy(thinned, WEIGHT, law="seed", cls=OneSeed), "another seed gives other bytes"),
    (toy(deaf_to_draws, WEIGHT, law="names"), "another model's name gives other bytes"),
    (toy(thinned, WEIGHT, law="names", cls=Nameless), "another model's name gives other bytes"),
    (toy(thinned, WEIGHT, law="names", cls=OneTensor), "another tensor's name gives other bytes"),
    (toy(divided_by_norm, WEIGHT, law="finite"), "give finite numbers"),
    (toy(squared, WEIGHT, law="finite"), "give finite numbers"),
]


@pytest.mark.parametrize(
    ("method", "message"), BROKEN, ids=lambda v: v.combine.__name__ if isinstance(v, Method) else ""
)
def test_law_catches_the_method_made_to_break_it(method, message):
    with pytest.raises(AssertionError, match=message):
        check_all(method)


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
