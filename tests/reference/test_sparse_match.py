"""Methods that thin deltas and vote equal their slow reference formulas, and so do the compositions without a name."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume

from cuvee import methods
from tests.reference import formulas as plain
from tests.reference import sparse_formulas as ref
from tests.reference.test_methods_match import assert_match, is_decided, over, problems

SOME = 8
GAMMAS = (0.0, 0.01, 0.1, 0.3, 0.6)


def gammas_of(p):
    """Some of every size, others with every problem."""
    return [GAMMAS[(p.seed + 3 * i) % len(GAMMAS)] for i in range(len(p.models))]


def call_crumbs(p, name):
    chosen = {"weight": p.weights, "density": p.densities, "normalize": p.normalize, "rescale": p.rescale}
    return p.call(name, gamma=gammas_of(p), lambda_=p.lambda_, **chosen)


@over(problems, examples=SOME)
def test_breadcrumbs(p):
    assume(not p.normalize or sum(p.weights) != 0)
    want = ref.breadcrumbs(p.base, p.models, p.weights, p.densities, gammas_of(p), p.lambda_, p.normalize, p.rescale)
    assert_match(call_crumbs(p, "breadcrumbs"), want, p, amplified=10)


@over(problems, examples=SOME)
def test_breadcrumbs_ties(p):
    assume(is_decided(p, ref.thin_outliers(p.base, p.models, p.densities, gammas_of(p), True)))
    want = ref.breadcrumbs_ties(
        p.base, p.models, p.weights, p.densities, gammas_of(p), p.lambda_, p.normalize, p.rescale
    )
    assert_match(call_crumbs(p, "breadcrumbs_ties"), want, p, amplified=10)


def trimmed_whole(p):
    """Every delta as a model of one tensor."""
    return [ref.trim_whole_model([d], k)[0] for d, k in zip(p.deltas(), p.densities)]


@over(problems, examples=SOME)
def test_ties_global(p):
    ones = [1.0] * len(p.models)
    want = plain.add_to(p.base, ref.elect_counted(trimmed_whole(p), ones, len(p.base)), p.lambda_)
    assert_match(p.call("ties_global", density=p.densities, lambda_=p.lambda_), want, p)


def composed(p, *axes, **more):
    names = ("sparsify", "rescale", "elect", "combine")
    chosen = {"weight": p.weights, "density": p.densities, "lambda_": p.lambda_}
    return p.call("compose", **dict(zip(names, axes)), **(chosen | more))


def trimmed(p):
    return [plain.trim(d, k) for d, k in zip(p.deltas(), p.densities)]


@over(problems, examples=SOME)
def test_the_ties_of_peft(p):
    """Its votes are not weighed, which is the same at weights that are equal and positive."""
    p = replace(p, weights=[0.75] * len(p.models))
    want = plain.add_to(p.base, ref.elect_peft(trimmed(p), p.weights, len(p.base)), p.lambda_)
    assert_match(composed(p, "magnitude", "none", "sum", "count"), want, p)


@over(problems, examples=SOME)
def test_a_count_divides_by_those_that_agree(p):
    want = plain.add_to(p.base, ref.elect_counted(trimmed(p), p.weights, len(p.base)), p.lambda_)
    assert_match(composed(p, "magnitude", "none", "sum", "count"), want, p)


@over(problems, examples=SOME)
def test_the_ties_of_fusion_bench(p):
    p = replace(p, weights=[1.0] * len(p.models))
    want = plain.add_to(p.base, ref.elect_counted(trimmed_whole(p), p.weights, len(p.base), False), p.lambda_)
    assert_match(composed(p, "magnitude_of_model", "none", "sum", "sum"), want, p)


def elect_by_number(deltas, weights, n):
    """The sign of more votes wins, a draw is plus; the weighted sum over the weights of those that have it."""
    merged = []
    for i in range(n):
        votes = [w * d[i] for w, d in zip(weights, deltas)]
        sign = 1.0 if sum((v > 0) - (v < 0) for v in votes) >= 0 else -1.0
        agree = [k for k, v in enumerate(votes) if v * sign > 0]
        divisor = sum(weights[k] for k in agree)
        merged.append(sum(votes[k] for k in agree) / (divisor if divisor != 0 else 1.0))
    return merged


@over(problems, examples=SOME)
def test_a_vote_by_number(p):
    want = plain.add_to(p.base, elect_by_number(trimmed(p), p.weights, len(p.base)), p.lambda_)
    assert_match(composed(p, "magnitude", "none", "count", "mean"), want, p)


@over(problems, examples=SOME)
def test_all_take_part(p):
    count = len(p.models)
    total = plain.sum_deltas(trimmed(p), p.weights, False, len(p.base))
    want = plain.add_to(p.base, [x / count for x in total], p.lambda_)
    assert_match(composed(p, "magnitude", "none", "none", "count"), want, p)


@over(problems, examples=SOME)
def test_the_dare_of_mergekit(p):
    masks = p.masks("dare_linear")
    want = ref.dare_linear_l1(p.base, p.models, p.weights, p.densities, masks, p.lambda_)
    assert_match(composed(p, "random", "norm", "none", "sum"), want, p, amplified=10)


@over(problems, examples=SOME)
def test_the_dare_ties_of_mergekit(p):
    masks = p.masks("dare_linear")
    dropped = [ref.drop_l1(d, k, q) for d, k, q in zip(p.deltas(), masks, p.densities)]
    assume(is_decided(replace(p, rescale=True), dropped))
    want = ref.dare_ties_l1(p.base, p.models, p.weights, p.densities, masks, p.lambda_)
    assert_match(composed(p, "random", "norm", "sum", "sum"), want, p, amplified=10)


def magpruned(p, density, epsilon):
    """What `della_linear`, whose draw its own test holds to the formula, keeps of every delta, with the old L1 norm."""
    found = []
    for model, name, d in zip(p.models, p.names, p.deltas()):
        key = {"seed": p.seed, "names": [name], "tensor_name": "h.3.mlp.weight"}
        chosen = {"weight": 1.0, "density": density, "epsilon": epsilon, "rescale": False}
        kept = methods.get("della_linear")([p.tensor(model)], base=p.tensor(p.base), **key, **chosen)
        mask = (kept.double().reshape(-1) != p.tensor(p.base).double().reshape(-1)).tolist()
        found.append(plain.rescale_l1(d, [x if m else 0.0 for x, m in zip(d, mask)]))
    return found


@over(problems, examples=SOME)
def test_the_della_of_mergekit(p):
    p = replace(p, densities=[0.5] * len(p.models), rescale=True)
    dropped = magpruned(p, 0.5, 0.25)
    summed = plain.sum_deltas(dropped, p.weights, False, len(p.base))
    got = composed(p, "ranks", "norm", "none", "sum", epsilon=0.25)
    assert_match(got, plain.add_to(p.base, summed, p.lambda_), p, amplified=10)
    assume(is_decided(p, dropped))
    voted = plain.elect(dropped, p.weights, True, len(p.base))
    got = composed(p, "ranks", "norm", "sum", "mean", epsilon=0.25)
    assert_match(got, plain.add_to(p.base, voted, p.lambda_), p, amplified=10)
