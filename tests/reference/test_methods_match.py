"""Every merge method equals its slow reference formula, on small tensors of every kind.

Entries and weights are drawn from coarse grids: every product and sum that decides something (a cut-off, an elected
sign) is then exact in float32 and in double alike, so the two sides must agree even where magnitudes are equal or votes
cancel. Methods that decide nothing are also tried on arbitrary numbers.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cuvee import methods
from cuvee.errors import CuveeError
from cuvee.testing import recover_mask
from tests.reference import formulas as ref

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
SHAPES = [(), (1,), (0,), (3, 0), (2,), (5,), (2, 3), (2, 2, 2), (17,), (24,)]
DENSITIES = [0.05, 0.1, 0.25, 0.29, 0.5, 0.7, 0.9, 1.0]

# all exact in bfloat16: quarters that often coincide, both zeros, and eight-bit numbers of several sizes
EQUALS = st.integers(-4, 4).map(lambda k: k / 4)
ZEROS = st.sampled_from([0.0, -0.0])
GRID = st.builds(lambda k, e: k * 2.0**e, st.integers(-255, 255), st.integers(-7, -5))
ENTRIES = {"equals": st.one_of(EQUALS, ZEROS), "grid": st.one_of(GRID, ZEROS)}
# of any number of digits; the square of one is still a number
ANY = st.floats(-8, 8).map(lambda x: x if abs(x) > 1e-100 else 0.0)
WEIGHTS = st.integers(-4, 12).map(lambda k: k / 4)


@dataclass(frozen=True)
class Problem:
    """Inputs of one call; tensors as flat lists of numbers that the dtype holds exactly."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    base: list[float]
    models: list[list[float]]
    weights: list[float]
    densities: list[float]
    lambda_: float
    t: float
    normalize: bool
    rescale: bool
    seed: int

    @property
    def names(self):
        return [f"models/{'abcdefghi'[i]}" for i in range(len(self.models))]

    def call(self, name, base=True, **settings):
        tensors = [self.tensor(m) for m in self.models]
        key = {"seed": self.seed, "names": self.names, "tensor_name": "h.3.mlp.weight"}
        got = methods.get(name)(tensors, base=self.tensor(self.base) if base else None, **key, **settings)
        assert got.dtype == self.dtype
        assert tuple(got.shape) == self.shape
        return got.double().reshape(-1).tolist()

    def deltas(self):
        return [ref.delta(m, self.base) for m in self.models]

    def tensor(self, entries):
        return torch.tensor(entries, dtype=torch.float64).reshape(self.shape).to(self.dtype)

    def masks(self, name):
        return [self.mask(name, model, p) for model, p in zip(self.names, self.densities)]

    def mask(self, name, model, density):
        method, key = methods.get(name), {"seed": self.seed, "name": model, "tensor_name": "h.3.mlp.weight"}
        return recover_mask(method, self.shape, density, **key).reshape(-1).tolist()


@st.composite
def problems(draw, dtype, most=5, entries=None):
    shape = draw(st.sampled_from(SHAPES))
    size = math.prod(shape)
    numbers = entries if entries is not None else ENTRIES[draw(st.sampled_from(sorted(ENTRIES)))]
    tensor = st.lists(numbers, min_size=size, max_size=size).map(lambda v: rounded(v, dtype))
    count = draw(st.integers(1, most))
    return Problem(
        dtype=dtype,
        shape=shape,
        base=draw(tensor),
        models=[draw(tensor) for _ in range(count)],
        weights=draw(st.lists(WEIGHTS, min_size=count, max_size=count)),
        densities=draw(st.lists(st.sampled_from(DENSITIES), min_size=count, max_size=count)),
        lambda_=draw(st.sampled_from([1.0, 0.5, 0.3, 0.0, -1.0, 1.75])),
        t=draw(st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))),
        normalize=draw(st.booleans()),
        rescale=draw(st.booleans()),
        seed=draw(st.integers(0, 2**63 - 1)),
    )


def rounded(values, dtype):
    return torch.tensor(values, dtype=torch.float64).to(dtype).double().tolist()


def anything(dtype):
    """Numbers of any number of digits, of sizes as in a checkpoint."""
    return problems(dtype, entries=ANY)


def pairs(dtype):
    """A base and one model."""
    return problems(dtype, most=1)


def any_pairs(dtype):
    """A base and one model, of any numbers."""
    return problems(dtype, most=1, entries=ANY)


@st.composite
def nearly_parallel(draw, dtype):
    """One model that is the base times a factor of either sign, but for a little."""
    p = draw(any_pairs(dtype))
    factor, little = draw(st.sampled_from([-2.0, -1.0, 0.5, 1.0])), draw(st.sampled_from([0.0, 0.001, 0.003, 0.01]))
    model = [factor * b + little * x for b, x in zip(p.base, p.models[0])]
    return replace(p, models=[rounded(model, dtype)])


def step(value, bits=8):
    """Distance from a number to the next one of that many significant bits."""
    return 2.0 ** (math.frexp(value)[1] - bits) if value else 0.0


def assert_match(got, want, problem, amplified=1.0):
    """Equal up to the rounding of sums of that size; for bfloat16 also up to one step of the result."""
    numbers = [abs(x) for m in (problem.base, *problem.models, want) for x in m]
    size = max(numbers, default=0.0) * (1.0 + sum(map(abs, problem.weights))) * amplified
    work = TOLERANCE.get(problem.dtype, TOLERANCE[torch.float32]) * size
    assert len(got) == len(want)
    for i, (found, due) in enumerate(zip(got, want)):
        allowed = work + (step(due) if problem.dtype == torch.bfloat16 else 0.0)
        assert abs(found - due) <= allowed, f"entry {i} is {found!r}, due is {due!r}, allowed {allowed:.3g}"


def over(*strategies, examples=12):
    """Run a test on each dtype's problems of each kind: few of them each time, many where CUVEE_EXAMPLES says so.

    Which problems are drawn follows from the test, and from constants in our source that hypothesis collects: where it
    happens upon many that a test has no use for, that is no fault.
    """
    often = int(os.environ.get("CUVEE_EXAMPLES", "1"))
    drawn = {"max_examples": examples * often, "suppress_health_check": [HealthCheck.filter_too_much]}

    def wrap(test):
        def run(dtype, strategy):
            settings(**drawn, deadline=None, derandomize=True)(given(strategy(dtype))(test))()

        kinds = pytest.mark.parametrize("strategy", strategies, ids=lambda s: s.__name__)
        return pytest.mark.parametrize("dtype", DTYPES, ids=str)(kinds(run))

    return wrap


@over(problems, anything)
def test_linear(p):
    assume(not p.normalize or sum(p.weights) != 0)
    want = ref.linear(p.models, p.weights, p.normalize)
    assert_match(p.call("linear", base=False, weight=p.weights, normalize=p.normalize), want, p)


@over(problems, anything)
def test_task_arithmetic(p):
    assume(not p.normalize or sum(p.weights) != 0)
    want = ref.task_arithmetic(p.base, p.models, p.weights, p.lambda_, p.normalize)
    got = p.call("task_arithmetic", weight=p.weights, lambda_=p.lambda_, normalize=p.normalize)
    assert_match(got, want, p)


@over(problems, anything)
def test_dare_linear(p):
    assume(not p.normalize or sum(p.weights) != 0)
    masks = p.masks("dare_linear")
    want = ref.dare_linear(p.base, p.models, p.weights, p.densities, masks, p.lambda_, p.normalize, p.rescale)
    assert_match(call_sparse(p, "dare_linear"), want, p)


@over(pairs, any_pairs, nearly_parallel)
def test_slerp(p):
    cos = ref.cosine(p.base, p.models[0])
    # either side of the threshold is right when rounding decides; near a straight angle rounding is amplified
    assume(abs(abs(cos) - ref.LERP_ABOVE) > 1e-6)
    got = p.call("slerp", t=p.t)
    assert_match(got, ref.slerp(p.base, p.models[0], p.t), p, amplified=1.0 / max(1e-3, 1.0 - cos * cos))


@over(pairs)
def test_passthrough(p):
    scale = p.weights[0]
    assert_match(p.call("passthrough", base=False, scale=scale), ref.passthrough(p.models[0], scale), p)
    assert p.call("passthrough", base=False) == ref.passthrough(p.models[0])


def call_sparse(p, name):
    chosen = {"weight": p.weights, "density": p.densities, "normalize": p.normalize, "rescale": p.rescale}
    return p.call(name, lambda_=p.lambda_, **chosen)


@over(problems, examples=50)
def test_ties(p):
    trimmed = [ref.trim(d, k) for d, k in zip(p.deltas(), p.densities)]
    assume(is_decided(p, [ref.rescale_l1(d, k) for d, k in zip(p.deltas(), trimmed)]))
    want = ref.ties(p.base, p.models, p.weights, p.densities, p.lambda_, p.normalize, p.rescale)
    assert_match(call_sparse(p, "ties"), want, p)


@over(problems, examples=50)
def test_dare_ties(p):
    masks = p.masks("dare_ties")
    assume(is_decided(p, [ref.drop(d, k, q, True) for d, k, q in zip(p.deltas(), masks, p.densities)]))
    want = ref.dare_ties(p.base, p.models, p.weights, p.densities, masks, p.lambda_, p.normalize, p.rescale)
    assert_match(call_sparse(p, "dare_ties"), want, p)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["ties", "dare_ties"])
def test_every_vote_of_three_models(name, dtype):
    # every combination of three deltas, under every combination of weights: all draws, all weights that cancel
    triples = list(product([-1.0, 0.0, 1.0, 2.0], repeat=3))
    models = [torch.tensor(deltas, dtype=dtype) for deltas in zip(*triples)]
    base = torch.zeros(len(triples), dtype=dtype)
    for weights in product([-1.0, 1.0, 2.0], repeat=3):
        for normalize in (True, False):
            want = [ref.elect_entry([w * d for w, d in zip(weights, t)], weights, normalize) for t in triples]
            got = methods.get(name)(models, base=base, weight=list(weights), normalize=normalize)
            assert got.double().tolist() == pytest.approx(want, rel=2**-8 if dtype == torch.bfloat16 else 1e-6)


def is_decided(p, rescaled):
    """Whether rounding decides no sign: votes are exact without rescaling, and with it none is close to a draw."""
    votes = [[w * d[i] for w, d in zip(p.weights, rescaled)] for i in range(len(p.base))]
    return not p.rescale or all(not any(v) or abs(math.fsum(v)) > 1e-5 * sum(map(abs, v)) for v in votes)


@pytest.mark.parametrize("name", ["task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_no_models_is_the_base(name):
    base = torch.tensor([1.0, -2.0, 0.0])
    assert torch.equal(methods.get(name)([], base=base, weight=[], seed=0, names=[], tensor_name="w"), base)


@pytest.mark.parametrize(
    ("name", "base"),
    [("linear", False), ("task_arithmetic", True), ("ties", True), ("dare_linear", True), ("dare_ties", True)],
)
def test_weights_that_cancel_are_refused_or_not_divided_by(name, base):
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0])]
    settings = {"weight": [1.0, -1.0], "normalize": True, "base": torch.zeros(2) if base else None}
    got = result_or_code(name, tensors, seed=0, names=["a", "b"], tensor_name="w", **settings)
    assert got == "zero-weight-sum" or all(map(math.isfinite, got)), got


def result_or_code(name, tensors, **call):
    try:
        return methods.get(name)(tensors, **call).tolist()
    except CuveeError as error:
        return error.code


@pytest.mark.parametrize(
    ("dtypes", "due"),
    [
        ((torch.bfloat16, torch.float32), torch.float32),
        ((torch.float16, torch.bfloat16), torch.float32),
        ((torch.float32, torch.float64), torch.float64),
        ((torch.bfloat16, torch.bfloat16), torch.bfloat16),
    ],
)
def test_result_has_the_promoted_dtype(dtypes, due):
    a, b = (torch.tensor([1.0, 2.0], dtype=d) for d in dtypes)
    assert methods.get("linear")([a, b], weight=1.0).dtype == due
    assert methods.get("slerp")([a], base=b, t=0.5).dtype == due
    assert methods.get("ties")([a], base=b, weight=1.0).dtype == due
