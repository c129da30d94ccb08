"""Differences of the catalogue's methods that single tensors show, merged in memory by both tools."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from cuvee import CuveeError, methods
from tests.peers.rival import Case, Rival, combined
from tests.peers.shown import shows

pytestmark = pytest.mark.peers

Answers = Mapping[str, Tensor | str]
ROWS, WIDTH = 64, 32


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip where a method does not exist yet."""
    missing = [name for name in names if name not in methods.names()]
    return pytest.mark.skipif(bool(missing), reason=f"there is no {' or '.join(missing)} yet")


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape or (ROWS, WIDTH), generator=torch.Generator().manual_seed(seed))


BASE = noise(0) * 0.05
DELTAS = [noise(i) * size for i, size in ((1, 0.02), (2, 0.004), (3, 0.012))]
FLAT = torch.zeros(ROWS, WIDTH)
TRIANGLE = [torch.tensor(v) for v in ([1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)])]
"""Three unit vectors whose sum vanishes."""

FAINT: Mapping[str, tuple[str, int, Tensor | None, Mapping[str, object], float]] = {
    "sce-cut-off": ("sce", 3, FLAT, {}, 1e-2),
    "faint-deltas-model-stock": ("model_stock", 3, FLAT, {}, 1e-4),
    "faint-tensors-nuslerp": ("nuslerp", 2, None, {"weight": [0.4, 0.6]}, 1e-9),
    "faint-tensors-multislerp": ("multislerp", 3, None, {"weight": [0.4, 0.3, 0.3]}, 1e-8),
    "faint-tensors-karcher": ("karcher", 3, None, {}, 1e-6),
}
"""Row → method, number of models, base, settings, and the scale at which an absolute threshold bites."""


def scaled(key: str, scale: float) -> Case:
    method, models, base, settings, _ = FAINT[key]
    return Case(f"{key}-{scale:g}", method, [d * scale for d in DELTAS[:models]], base, settings)


def fusion(name: str, seed: int, rows: int, width: int, size: float, dtype: torch.dtype = torch.float32) -> Case:
    base = noise(4, rows, width) * 0.05
    return Case(name, "arcee_fusion", [(base + noise(5, rows, width) * size).to(dtype)], base.to(dtype), seed=seed)


CASES = [
    *(scaled(key, scale) for key in FAINT for scale in (1.0, FAINT[key][4])),
    Case("near-far", "nearswap", [FLAT + 1e-3], FLAT, {"t": 5e-4}),
    Case("near-faint", "nearswap", [FLAT + 1e-8], FLAT, {"t": 5e-9}),
    Case("cancelling", "multislerp", TRIANGLE, None, {"weight": [1.0, 1.0, 1.0]}),
    Case("opposite", "multislerp", [DELTAS[0], -DELTAS[0]], None, {"weight": [0.5, 0.5]}),
    Case("frozen", "multislerp", [BASE, BASE, BASE], BASE, {"weight": [1.0, 1.0, 1.0]}),
    Case("columns", "nuslerp", DELTAS[:2], None, {"weight": [0.3, 0.7], "nuslerp_flatten": False}),
    Case(
        "rows",
        "nuslerp",
        DELTAS[:2],
        None,
        {"weight": [0.3, 0.7], "nuslerp_flatten": False, "nuslerp_row_wise": True},
    ),
    Case("stock-opposite", "model_stock", [DELTAS[0], -2 * DELTAS[0]], FLAT),
    *(fusion(f"sampled-{seed}", seed, 1100, 1000, 0.02, torch.float64) for seed in (0, 1)),
    fusion("faint-float32", 0, ROWS, 128, 5e-4),
    fusion("bfloat16", 0, ROWS, 128, 0.02, torch.bfloat16),
    Case("nothing-kept", "breadcrumbs", [noise(6, 4)], torch.zeros(4), {"weight": [1.0], "density": [0.2]}),
]


@pytest.fixture(scope="module")
def theirs(rival: Rival) -> Answers:
    return rival.combine(CASES)


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def mine(name: str) -> Tensor:
    return combined(named(name))


def tensor(answers: Answers, name: str) -> Tensor:
    found = answers[name]
    assert isinstance(found, Tensor), found
    return found


def apart(found: Tensor, wanted: Tensor) -> float:
    """Relative to what is wanted."""
    return ((found.double() - wanted.double()).norm() / wanted.double().norm()).item()


@pytest.mark.parametrize("key", [pytest.param(key, marks=needs(method)) for key, (method, *_) in FAINT.items()])
def test_faint_tensors_are_merged_like_others(key: str, theirs: Answers) -> None:
    scale = FAINT[key][4]
    large, faint = scaled(key, 1.0).name, scaled(key, scale).name
    assert apart(mine(large), tensor(theirs, large)) < 1e-6
    assert apart(mine(faint) / scale, tensor(theirs, large)) < 1e-4
    assert apart(tensor(theirs, faint) / scale, tensor(theirs, large)) > 4e-3


@shows("sce-cut-off")
@needs("sce")
def test_small_deltas_keep_their_weights(theirs: Answers) -> None:
    """mergekit weighs faint deltas alike, as if nothing were known of them."""
    signs = torch.stack([d * 1e-2 for d in DELTAS])
    elected = torch.where(signs.sum(0) >= 0, 1.0, -1.0)
    agrees = (signs.sign() == elected).float()
    alike = (signs * agrees).sum(0) / agrees.sum(0).clamp(min=1e-6)
    assert apart(tensor(theirs, "sce-cut-off-0.01"), alike) < 1e-5
    assert apart(mine("sce-cut-off-0.01"), alike) > 0.1


@shows("faint-deltas-model-stock")
@needs("model_stock")
def test_faint_deltas_have_an_angle(theirs: Answers) -> None:
    """mergekit takes them to be at right angles, and stays at the base."""
    assert (
        tensor(theirs, "faint-deltas-model-stock-0.0001").abs().max()
        < 1e-3 * mine("faint-deltas-model-stock-1").abs().max()
    )


@shows("faint-tensors-nuslerp")
@needs("nuslerp")
def test_faint_vectors_have_an_angle(theirs: Answers) -> None:
    """Half the vectors' norms here are below 1e-7, so that mergekit sees them at right angles."""
    a, b = DELTAS[:2]
    at_right_angles = a * math.sin(0.4 * math.pi / 2) + b * math.sin(0.6 * math.pi / 2)
    assert apart(tensor(theirs, "faint-tensors-nuslerp-1e-09") * 1e9, at_right_angles) < 1e-3


@shows("faint-tensors-multislerp")
@needs("multislerp")
def test_an_eps_of_the_size_of_the_tensors(theirs: Answers) -> None:
    """mergekit adds `eps` to every norm, which weighs the shorter models down."""
    short = tensor(theirs, "faint-tensors-multislerp-1e-08")
    assert apart(short * 1e8, mine("faint-tensors-multislerp-1")) > 0.1


@shows("faint-tensors-karcher")
@needs("karcher")
def test_faint_tensors_do_not_vanish(theirs: Answers) -> None:
    """mergekit writes zeros for tensors of norms below `tol`."""
    assert not tensor(theirs, "faint-tensors-karcher-1e-06").any()
    assert bool(mine("faint-tensors-karcher-1e-06").any())


@shows("faint-nearswap")
@needs("nearswap")
def test_nearswap_of_faint_differences(theirs: Answers) -> None:
    """Half way at t = half the distance, on whatever scale; mergekit counts a distance as 1e-6 at least."""
    for answer in (mine("near-far"), tensor(theirs, "near-far")):
        assert torch.allclose(answer, FLAT + 5e-4)
    assert torch.allclose(mine("near-faint"), FLAT + 5e-9, atol=0)
    assert torch.allclose(tensor(theirs, "near-faint"), FLAT + 5e-11, atol=0)


@shows("multislerp-cancelling")
@needs("multislerp")
def test_directions_that_cancel(theirs: Answers) -> None:
    """Two opposite models have the straight mean in both tools; three that cancel have it in ours alone."""
    assert "antipodal" in str(theirs["cancelling"])
    assert mine("cancelling").abs().max() < 1e-6
    for answer in (mine("opposite"), tensor(theirs, "opposite")):
        assert not answer.any()


@shows("multislerp-unchanged")
@needs("multislerp")
def test_a_tensor_that_no_model_changed(theirs: Answers) -> None:
    """Three deltas of zero: mergekit's merge stops there."""
    assert "antipodal" in str(theirs["frozen"])
    assert torch.equal(mine("frozen"), BASE)


@needs("nuslerp")
def test_row_wise_means_columns(theirs: Answers) -> None:
    """Kept as it is in mergekit: without `row_wise` a vector is a row of the matrix, with it a column."""
    slerp = methods.get("nuslerp")
    a, b = DELTAS[:2]
    for name, axis in (("columns", 0), ("rows", 1)):
        pieces = [
            slerp([x.contiguous(), y.contiguous()], weight=[0.3, 0.7]) for x, y in zip(a.unbind(axis), b.unbind(axis))
        ]
        wanted = torch.stack(pieces, axis)
        assert apart(tensor(theirs, name), wanted) < 1e-6
        assert apart(mine(name), wanted) < 1e-6


@needs("model_stock")
def test_opposite_deltas_leave_the_base(theirs: Answers) -> None:
    """Where 1 + (N − 1) c vanishes the formula has no value; both tools then stay at the base."""
    for answer in (mine("stock-opposite"), tensor(theirs, "stock-opposite")):
        assert not answer.any()


def chosen(case: Case) -> Tensor:
    """Which entries Arcee fusion replaces, in float64 and over all entries."""
    assert case.base is not None
    x, b = case.tensors[0].double(), case.base.double()
    p, q = x.softmax(-1) + 1e-8, b.softmax(-1) + 1e-8
    importance = (x - b).abs() * (p * (p / q).log()).sum(-1, keepdim=True)
    low, middle, high = (importance.flatten().sort().values[int(f * (x.numel() - 1))] for f in (0.25, 0.5, 0.75))
    return (importance >= middle + 1.5 * (high - low)) & (x != b)


def misplaced(found: Tensor, case: Case) -> float:
    """The share of entries that were replaced and should not be, or the other way round."""
    assert case.base is not None
    return ((found.double() != case.base.double()) != chosen(case)).double().mean().item()


@shows("fusion-sample")
@needs("arcee_fusion")
def test_quantiles_of_large_tensors(theirs: Answers) -> None:
    """mergekit's threshold comes from a random million of the entries, so it changes with the seed."""
    first, second = (tensor(theirs, f"sampled-{seed}") for seed in (0, 1))
    assert not torch.equal(first, second)
    assert misplaced(first, named("sampled-0")) > 5e-5
    assert misplaced(mine("sampled-0"), named("sampled-0")) == 0


@shows("fusion-divergence")
@needs("arcee_fusion")
@pytest.mark.parametrize(("name", "wrong"), [("faint-float32", 0.05), ("bfloat16", 0.05)])
def test_the_divergence_is_more_than_rounding(name: str, wrong: float, theirs: Answers) -> None:
    assert misplaced(tensor(theirs, name), named(name)) > wrong
    assert misplaced(mine(name), named(name)) == 0


@needs("arcee_fusion", "ramplus_tl")
def test_a_merge_keeps_the_inputs_dtype(theirs: Answers) -> None:
    assert tensor(theirs, "bfloat16").dtype == torch.float32
    assert mine("bfloat16").dtype == torch.bfloat16


@needs("breadcrumbs")
def test_a_density_that_keeps_no_entry(theirs: Answers) -> None:
    """⌊density·n⌋ is 0 for four entries at 0.2: mergekit and Cuvee leave the base."""
    for answer in (mine("nothing-kept"), tensor(theirs, "nothing-kept")):
        assert not answer.any()


@needs("nuslerp")
@pytest.mark.parametrize("method", ["nuslerp", "multislerp"])
def test_weights_that_sum_to_zero_are_refused(method: str) -> None:
    with pytest.raises(CuveeError) as caught:
        methods.get(method)(DELTAS[:2], weight=[0.5, -0.5])
    assert "zero-weight-sum" in caught.value.codes
