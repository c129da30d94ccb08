"""Robust averages, walks from the base and methods of masks equal their slow reference formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import torch
from hypothesis import assume

from cuvee import methods
from tests.reference import consensus_formulas as voted
from tests.reference import robust_formulas as ref
from tests.reference import sphere_formulas as sphere
from tests.reference.formulas import LERP_ABOVE, cosine
from tests.reference.test_methods_match import any_pairs, anything, assert_match, over, pairs, problems

SOME = 8
ALL = 9
"""Models of a problem for which it matters how many there are."""


def many(dtype):
    """Up to nine models."""
    return problems(dtype, most=ALL)


@over(many, anything, examples=SOME)
def test_median(p):
    assert_match(p.call("median", base=False), ref.median(p.models), p)


@over(many, examples=SOME)
def test_trimmed_mean(p):
    beta = (0.0, 0.2, 0.34, 0.49)[p.seed % 4]
    assert_match(p.call("trimmed_mean", base=False, beta=beta), ref.trimmed_mean(p.models, beta), p)


@over(many, anything, examples=SOME)
def test_geometric_median(p):
    weights = [abs(w) + 0.25 for w in p.weights]
    got = p.call("geometric_median", base=False, weight=weights, eps=1e-3, max_iter=20)
    assert_match(got, ref.geometric_median(p.models, weights, 1e-3, 20), p, amplified=10)


def is_clear(models, f):
    """Whether no two models have scores that rounding could put in another order."""
    scores = sorted(ref.krum_scores(models, f))
    return all(b - a > 1e-5 * b or a == b for a, b in pairwise(scores))


@over(many, anything, examples=SOME)
def test_krum(p):
    f = p.seed % 3
    assume(len(p.models) >= 2 * f + 3 and is_clear(p.models, f))
    assert p.call("krum", base=False, f=f) == ref.krum(p.models, f)


@over(many, examples=SOME)
def test_multi_krum(p):
    f, count = p.seed % 3, len(p.models)
    assume(count >= 2 * f + 3 and is_clear(p.models, f))
    m = 1 + p.seed % count
    assert_match(p.call("multi_krum", base=False, f=f, m=m), ref.multi_krum(p.models, f, m), p)


@over(pairs, any_pairs, examples=SOME)
def test_wise_ft(p):
    assert_match(p.call("wise_ft", alpha=p.t), ref.wise_ft(p.base, p.models[0], p.t), p)


@over(pairs, any_pairs, examples=SOME)
def test_expo(p):
    alpha = abs(p.lambda_)
    assert_match(p.call("expo", alpha=alpha), ref.expo(p.base, p.models[0], alpha), p, amplified=3)


@over(pairs, any_pairs, examples=SOME)
def test_task_negation(p):
    got = p.call("task_negation", lambda_=p.lambda_)
    assert_match(got, ref.task_negation(p.base, p.models[0], p.lambda_), p, amplified=3)


@over(anything, examples=SOME)
def test_task_analogy(p):
    p = replace(p, models=(p.models * 3)[:3])
    got = p.call("task_analogy", lambda_=p.lambda_)
    assert_match(got, ref.task_analogy(p.base, *p.models, p.lambda_), p, amplified=8)


@over(many, anything, examples=SOME)
def test_magmax(p):
    got = p.call("magmax", lambda_=p.lambda_)
    assert_match(got, voted.magmax(p.base, p.models, p.lambda_), p, amplified=3)


@over(many, examples=SOME)
def test_consensus_ta(p):
    count = len(p.models)
    assume(count > 1)
    k, lambdas = p.seed % (count + 1), [abs(w) for w in p.weights]
    got = p.call("consensus_ta", k=k, tall_lambda=lambdas, lambda_=p.lambda_)
    assert_match(got, voted.consensus_ta(p.base, p.models, lambdas, k, p.lambda_), p, amplified=count)


def pcb_is_decided(p, ratio):
    """Whether rounding decides neither which scores are kept nor what little of the weights is left."""
    for scores in voted.pcb_scores(p.deltas()):
        cut = sorted(scores)[min(int((1.0 - ratio) * len(scores)), len(scores) - 1)]
        near = [s for s in scores if s != cut and abs(s - cut) < 1e-5 * max(map(abs, scores))]
        if near:
            return False
    weights = [voted.pcb_masked_weights(s, ratio) for s in voted.pcb_scores(p.deltas())]
    return all(abs(math.fsum(w)) > 1e-3 * sum(map(abs, w)) or not any(w) for w in zip(*weights))


@over(problems, anything, examples=SOME)
def test_pcb(p):
    assume(p.base)
    ratio = (0.1, 0.5, 1.0)[p.seed % 3]
    assume(pcb_is_decided(p, ratio))
    got = p.call("pcb", ratio=ratio, lambda_=p.lambda_)
    assert_match(got, voted.pcb_masked(p.base, p.models, ratio, p.lambda_), p, amplified=1e4)


@over(pairs, any_pairs, examples=SOME)
def test_slerp_with_the_norm_interpolated(p):
    cos = cosine(p.base, p.models[0])
    assume(abs(abs(cos) - LERP_ABOVE) > 1e-6)
    norms = math.hypot(*p.base), math.hypot(*p.models[0])
    assume(min(norms) > 1e-3 or max(norms) == 0)
    want = sphere.slerp_interpolated_norm(p.base, p.models[0], p.t)
    amplified = 10.0 / max(1e-3, 1.0 - cos * cos) * (max(norms) / min(norms) if min(norms) else 1.0)
    assert_match(p.call("slerp", t=p.t, norm="interpolated"), want, p, amplified=amplified)


@over(problems, examples=SOME)
def test_model_stock_of_angles(p):
    assume(len(p.models) > 1 and all(any(d) for d in p.deltas()))
    cos = sphere.cosine_of_mean_angle(p.deltas())
    assume(1.0 + (len(p.models) - 1) * cos > 1e-2)
    got = p.call("model_stock", average="angle")
    assert_match(got, sphere.model_stock_angles(p.models, p.base), p, amplified=1e3)


def test_means_of_angles_and_of_cosines_are_not_the_same():
    models = [torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.2]), torch.tensor([0.0, 1.0])]
    found = [methods.get("model_stock")(models, base=torch.zeros(2), average=a) for a in ("cosine", "angle")]
    assert not torch.allclose(*found, rtol=1e-3)
