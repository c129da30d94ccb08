"""Means of directions, Model Stock, SCE and methods that choose entry by entry equal their slow reference formulas.

Where a direction, a cut or a sign hangs on rounding both sides are right, and such problems are left out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import assume

from cuvee import methods
from tests.reference import consensus_formulas as voted
from tests.reference import gated_formulas as gated
from tests.reference import sphere_formulas as ref
from tests.reference.formulas import cosine, delta
from tests.reference.test_methods_match import (
    DTYPES,
    any_pairs,
    anything,
    assert_match,
    nearly_parallel,
    over,
    problems,
)

SOME = 8


def is_usual(vectors):
    """Whether norms, and the roundings that are left of vectors, are far from the thresholds of the references."""
    return all(math.hypot(*v) > 1e-3 or not any(v) for v in vectors)


def as_rows(p):
    """The problem's base and models as rows along the last dimension, and how to make a flat list of rows again."""
    width = p.shape[-1] if p.shape else 1
    cut = lambda flat: [flat[i : i + width] for i in range(0, len(flat), width)] if width else []  # noqa: E731
    return cut(p.base), [cut(m) for m in p.models]


def flat(rows):
    return [x for row in rows for x in row]


def positive(p):
    """The problem with weights above 0."""
    return replace(p, weights=[abs(w) + 0.25 for w in p.weights])


def spread_out(vectors, weights):
    """How much shorter than the weights the mean of the unit vectors is: what rounding is amplified by."""
    units = [ref.unit(v) for v in vectors]
    mean = ref.combine(weights, units, len(units[0]) if units else 0)
    return math.hypot(*mean) / sum(abs(w) for w in weights)


@over(problems, anything, examples=SOME)
def test_multislerp(p):
    check_multislerp(p, based=False)


@over(problems, anything, examples=SOME)
def test_multislerp_of_deltas(p):
    check_multislerp(p, based=True)


def check_multislerp(p, based):
    p = positive(p)
    vectors = p.deltas() if based else p.models
    length = spread_out(vectors, p.weights)
    assume(is_usual(vectors) and length > 1e-2)
    want = ref.multislerp(p.models, p.weights, p.base if based else None, eps=1e-15)
    got = p.call("multislerp", base=based, weight=p.weights)
    assert_match(got, want, p, amplified=1 / length)


@over(problems, anything, examples=SOME)
def test_karcher(p):
    p = positive(p)
    length = spread_out(p.models, p.weights)
    assume(is_usual(p.models) and length > 0.3)
    # opposite directions: the pull is undefined, and amplifies rounding before it is
    assume(all(cosine(a, b) > -0.99 for a in p.models for b in p.models))
    want = ref.karcher(p.models, p.weights, max_iter=30, tol=1e-9)
    got = p.call("karcher", base=False, weight=p.weights, max_iter=30, tol=1e-9)
    assert_match(got, want, p, amplified=4 / length)


def two(p):
    return replace(p, models=(p.models * 2)[:2], weights=[abs(w) + 0.25 for w in (p.weights * 2)[:2]])


def bent(a, b):
    """1 − cos²: near 0 both the arc and the straight line are right, or neither, and rounding is amplified."""
    return 1.0 - cosine(a, b) ** 2


@over(problems, anything, nearly_parallel, examples=SOME)
def test_nuslerp(p):
    check_nuslerp(p, based=False)


@over(problems, anything, nearly_parallel, examples=SOME)
def test_nuslerp_of_deltas(p):
    check_nuslerp(p, based=True)


def check_nuslerp(p, based):
    p = two(p)
    vectors = p.deltas() if based else p.models
    assume(bent(*vectors) > 1e-4)
    got = p.call("nuslerp", base=based, weight=p.weights)
    assert_match(got, ref.nuslerp(p.models, p.weights, p.base if based else None), p, amplified=1 / bent(*vectors))


@over(problems, examples=SOME)
def test_nuslerp_by_row(p):
    check_nuslerp_by_row(p, based=False)


@over(problems, examples=SOME)
def test_nuslerp_by_row_of_deltas(p):
    check_nuslerp_by_row(p, based=True)


def check_nuslerp_by_row(p, based):
    p = two(p)
    base, (first, second) = as_rows(p)
    rows = [(delta(a, o), delta(b, o)) if based else (a, b) for a, b, o in zip(first, second, base)]
    angles = [bent(a, b) for a, b in rows]
    assume(all(angle > 1e-3 for angle in angles))
    want = flat(ref.nuslerp_rows([first, second], p.weights, base if based else None))
    got = p.call("nuslerp", base=based, weight=p.weights, nuslerp_flatten=False)
    assert_match(got, want, p, amplified=1 / min(angles, default=1.0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("based", [True, False])
def test_nuslerp_by_column(dtype, based):
    chance = torch.Generator().manual_seed(2)
    a, b, base = (torch.randn(5, 4, generator=chance, dtype=torch.float64).to(dtype) for _ in range(3))
    settings = {"weight": [0.5, 1.25], "nuslerp_flatten": False, "nuslerp_row_wise": True}
    got = methods.get("nuslerp")([a, b], base=base if based else None, **settings)
    exact = [x.double().tolist() for x in (a, b)]
    want = ref.nuslerp_columns(exact, [0.5, 1.25], base.double().tolist() if based else None)
    close = {"rtol": 2**-8 if dtype == torch.bfloat16 else 1e-6, "atol": 1e-6}
    assert torch.allclose(got.double(), torch.tensor(want, dtype=torch.float64), **close)


@over(problems, anything, examples=SOME)
def test_model_stock(p):
    assume(len(p.models) > 1)
    pole = 1 + (len(p.models) - 1) * ref.mean_cosine(p.deltas())
    assume(pole > 1e-2)
    assert_match(p.call("model_stock"), ref.model_stock(p.models, p.base), p, amplified=2 / pole**2)


@over(problems, examples=SOME)
def test_model_stock_by_row(p):
    assume(len(p.models) > 1)
    base, models = (as_rows(p)[0], as_rows(p)[1]) if len(p.shape) < 3 else ([], [])
    deltas = [[delta(m[i], b) for m in models] for i, b in enumerate(base)]
    poles = [1 + (len(models) - 1) * ref.mean_cosine(of_row) for of_row in deltas]
    assume(len(p.shape) < 3 and all(pole > 0.05 for pole in poles))
    want = flat(ref.model_stock_rows(models, base))
    assert_match(p.call("model_stock", filter_wise=True), want, p, amplified=2 / min(poles, default=1.0) ** 2)


@over(problems, anything, examples=SOME)
def test_sce(p):
    check_sce(p, 1.0)


@over(problems, anything, examples=SOME)
def test_sce_of_the_most_varied(p):
    check_sce(p, 0.5)


def check_sce(p, topk):
    deltas = p.deltas()
    # on arbitrary numbers rounding may decide what is cut and who wins; on grids nothing is rounded
    kept = voted.keep_most_varied(deltas, topk)
    sums = [(math.fsum(column), sum(map(abs, column))) for column in zip(*kept)]
    assume(all(total == 0 == size or abs(total) > 1e-4 * size for total, size in sums))
    spread = [(voted.variance(column), max(map(abs, column)) ** 2) for column in zip(*deltas)]
    assume(all(v == 0 or v > 1e-8 * size for v, size in spread))  # else rounding decides whether models differ there
    variances = sorted(v for v, _ in spread if v > 0)
    assume(topk == 1.0 or all(b - a > 1e-4 * b for a, b in pairwise(variances)))
    assert_match(p.call("sce", select_topk=topk), voted.sce(p.base, p.models, topk), p)


@over(problems, any_pairs, anything, examples=SOME)
def test_nearswap(p):
    p = replace(p, models=p.models[:1], weights=p.weights[:1])
    t = p.t + 0.01
    assert_match(p.call("nearswap", t=t), gated.nearswap(p.base, p.models[0], t), p)


@over(problems, anything, examples=SOME)
def test_ram(p):
    epsilon = 1e-5 if p.normalize else 0.3
    assume(all(abs(abs(x) - epsilon) > 1e-6 for d in p.deltas() for x in d))
    assert_match(p.call("ram", epsilon=epsilon), gated.ram(p.base, p.models, epsilon), p)
    chosen = {"r": p.t, "alpha": 0.4, "epsilon": epsilon}
    want = gated.ramplus_tl(p.base, p.models, **chosen)
    assert_match(p.call("ramplus_tl", **chosen), want, p, amplified=2)


@over(problems, anything, examples=SOME)
def test_arcee_fusion(p):
    p = replace(p, models=p.models[:1], weights=p.weights[:1])
    base, (model,) = as_rows(p)
    assume(p.base)
    scores = flat(gated.importances(base, model, 0.0))
    threshold = gated.fusion_threshold(scores)
    assume(all(abs(s - threshold) > 1e-5 * threshold or s == 0.0 for s in scores))
    # divergences of rows that differ next to nothing are roundings in the reference, which sums what cancels
    assume(threshold > 1e-9)
    assert p.call("arcee_fusion") == flat(gated.arcee_fusion(base, model, 0.0))
