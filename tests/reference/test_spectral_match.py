"""The spectral methods against their slow references, on random shapes, dtypes and settings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee import methods
from cuvee.errors import UsageError
from cuvee.methods.iso_cts import directions
from cuvee.tensors import keep_top, off_the_known, triplets
from cuvee.types import rows_of
from tests.conformance.exact import tasks
from tests.reference import spectral_formulas as ref

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SHAPES = [(), (1,), (5,), (1, 1), (1, 6), (6, 1), (4, 3), (3, 8), (7, 7), (2, 3, 4), (6, 2, 1, 2)]
SPECTRAL = ("tsv_m", "iso_c", "iso_cts", "knots", "opcm")
SETTINGS = {
    "tsv_m": {"lambda_": 0.75},
    "iso_c": {"lambda_": 1.5},
    "iso_cts": {"lambda_": 1.25, "common_fraction": 0.4},
    "knots": {"lambda_": 0.5},
    "opcm": {"alpha": 0.6},
}


def models_of(seed, shape, dtype, count, rank=None):
    """A base and fine-tunes of it; deltas of a rank, if one is given, that the dtype holds exactly."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=shape)
    if rank is None:
        return to(base, dtype), [to(base + rng.normal(size=shape) / 2, dtype) for _ in range(count)]
    rows, width = rows_of(shape)
    low = [rng.integers(-2, 3, (rows, rank)) @ rng.integers(-2, 3, (rank, width)) for _ in range(count)]
    return to(np.zeros(shape), dtype), [to(one.reshape(shape) / 8.0, dtype) for one in low]


def to(array, dtype):
    return torch.from_numpy(np.array(array, dtype=np.float64)).to(dtype)


def deltas_of(base, models):
    """In the arithmetic's dtype, then as matrices in double precision; vectors stay vectors."""
    work = torch.float64 if base.dtype == torch.float64 else torch.float32
    shape = base.shape if base.dim() < 2 else rows_of(base.shape)
    return [(model.to(work) - base.to(work)).double().numpy().reshape(shape) for model in models]


def reference(name, deltas, given):
    """The merged delta by the reference, whose scale is called alpha."""
    plain = {key: value for key, value in given.items() if key != "lambda_"}
    if name == "opcm":
        return ref.opcm(deltas, **plain)
    return given.get("lambda_", 1.0) * getattr(ref, name)(deltas, **plain)


def assert_match(got, base, delta):
    want = base.double().numpy() + np.asarray(delta).reshape(base.shape)
    size = 1.0 + float(np.abs(want).max(initial=0.0))
    work = 1e-8 if base.dtype == torch.float64 else 1e-5
    limit = work * size + torch.finfo(base.dtype).eps * np.abs(want)
    assert (got.shape, got.dtype) == (base.shape, base.dtype)
    assert (np.abs(got.double().numpy() - want) <= limit).all()


@pytest.mark.parametrize("name", SPECTRAL)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(DTYPES),
    count=st.integers(1, 4),
    neutral=st.booleans(),
)
def test_methods_are_their_references(name, seed, shape, dtype, count, neutral):
    if name == "tsv_m":
        count = min(count, *rows_of(shape)) if len(shape) > 1 else count
    base, models = models_of(seed, shape, dtype, count)
    given_ = {} if neutral else SETTINGS[name]
    got = methods.get(name)(models, base=base, **given_)
    assert_match(got, base, reference(name, deltas_of(base, models), given_))


@pytest.mark.parametrize("name", ["tsv_m", "iso_c", "opcm"])
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_directions_of_no_length_are_left_out_as_in_the_references(name, seed, rank):
    # what the routine returns for them differs between the two
    base, models = models_of(seed, (9, 7), torch.float32, 2, rank)
    got = methods.get(name)(models, base=base)
    assert_match(got, base, reference(name, deltas_of(base, models), {}))


@pytest.mark.parametrize("aligned", ["V", "SV"])
@pytest.mark.parametrize("seed", range(6))
def test_knots_of_deltas_that_share_no_direction_is_their_sum(seed, aligned):
    # a model that does not have a direction has rounding there, of either sign: no vote, or means would be halves
    made = tasks.planted(seed, shape=(9, 7))
    base = torch.zeros(9, 7, dtype=torch.float64)
    got = methods.get("knots")([to(d, torch.float64) for d in made.deltas], base=base, aligned=aligned)
    np.testing.assert_allclose(got, sum(made.deltas), atol=1e-12)


@pytest.mark.parametrize("aligned", ["V", "SV"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), seed=st.integers(0, 2**31), normalize=st.booleans(), dtype=st.sampled_from(DTYPES[:2]))
def test_knots_with_weights_and_densities(aligned, data, seed, normalize, dtype):
    base, models = models_of(seed, (5, 4), dtype, 3)
    weights = data.draw(st.lists(st.sampled_from([0.3, 1.0, 2.5]), min_size=3, max_size=3))
    density = data.draw(st.sampled_from([0.05, 0.3, 0.7, 1.0]))
    got = methods.get("knots")(models, base=base, weight=weights, density=density, normalize=normalize, aligned=aligned)
    spelt = "ΣV" if aligned == "SV" else "V"
    want = ref.knots(deltas_of(base, models), "ties", weights, density, normalize, aligned=spelt)
    assert_match(got, base, want)


def test_a_density_counts_as_it_is_written():
    # as a float32, 0.7 is less, and 0.7 · 10 would keep 6: kept are all coordinates but the 3 least
    rng = np.random.default_rng(3)
    model = torch.from_numpy(rng.normal(size=(2, 5))).float()
    base = torch.zeros(2, 5)
    got = methods.get("knots")([model], base=base, density=0.7)
    assert_match(got, base, ref.knots(deltas_of(base, [model]), density=0.7))


def test_equal_coordinates_at_the_cut_stay_in_the_order_of_their_places():
    rows = torch.tensor([[1.0, -2.0, 2.0, 2.0], [0.0, 3.0, 0.0, 0.0]], dtype=torch.float64)
    assert keep_top(rows, [0.5, 0.01]).tolist() == [[0.0, -2.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0]]
    many = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(1, 1000)
    assert keep_top(many, [0.3]).nonzero()[:, 1].tolist() == list(range(600))


def test_tsv_m_of_more_models_than_directions_keeps_one_of_each():
    # τ = e₁e₁ᵀ, 2 e₂e₂ᵀ and 3 e₁e₁ᵀ: û = [e₁ e₂ e₁], made orthogonal [e₁/√2 e₂ e₁/√2]; (1 + 3)/2 and 2
    deltas = [np.diag(d) for d in ([1.0, 0.0], [0.0, 2.0], [3.0, 0.0])]
    got = methods.get("tsv_m")([to(d, torch.float64) for d in deltas], base=torch.zeros(2, 2, dtype=torch.float64))
    np.testing.assert_allclose(got, np.diag([2.0, 2.0]), atol=1e-14)


@pytest.mark.parametrize("size", [3, 5, 8, 12])
@pytest.mark.parametrize("seed", range(4))
def test_opcm_shares_that_meet_alpha_exactly_are_leading(size, seed):
    # all singular values are 1 and round: which of them come first is the routine's choice, but how many is not
    rng = np.random.default_rng(seed)
    u, v = (tasks.orthonormal(rng, size, size) for _ in range(2))
    known = to(u @ v.T, torch.float64)
    basis = triplets(known)
    for leading in range(1, size + 1):
        left = off_the_known(to(rng.normal(size=(size, size)), torch.float64), known, leading / size)
        along = basis.u.T @ left @ basis.vt.T
        assert int((along.abs() < 1e-12).sum()) == size + leading * (leading - 1)


@given(st.integers(1, 60), st.integers(1, 12), st.floats(0.0, 1.0))
def test_iso_cts_shares_directions_as_the_reference_does(smallest, models, fraction):
    common, own = directions(smallest, models, fraction)
    assert (common, own) == ref.common_and_per_task(smallest, models, fraction)
    assert common + models * own == smallest
    assert min(common, own) >= 0


# --- adding models later


def scale_of(deltas, alpha=0.5):
    """λ of the paper after these models: the length of the sum of what was projected over the mean length."""
    total = deltas[0].copy()
    for delta in deltas[1:]:
        total = total + ref.off_the_known(delta, total, alpha)
    return float(np.linalg.norm(total)) / float(np.mean([np.linalg.norm(d) for d in deltas]))


@pytest.mark.parametrize("shape", [(6, 5), (3, 8), (7,)])
@pytest.mark.parametrize("earlier", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_opcm_goes_on_from_an_earlier_result(shape, earlier, dtype):
    base, models = models_of(earlier, shape, dtype, 4)
    opcm, deltas = methods.get("opcm"), deltas_of(base, models)
    begun = opcm(models[:earlier], base=base)
    scale = scale_of(deltas[:earlier]) if len(shape) > 1 else 0.0
    continued = opcm([begun, *models[earlier:]], base=base, merged_before=earlier, merged_scale=scale)
    assert_match(continued, base, ref.opcm(deltas))


def test_the_scale_matters_to_going_on():
    base, models = models_of(0, (6, 5), torch.float64, 4)
    opcm = methods.get("opcm")
    begun, want = opcm(models[:3], base=base), opcm(models, base=base)
    again = opcm([begun, models[3]], base=base, merged_before=3, merged_scale=2 * scale_of(deltas_of(base, models[:3])))
    assert (again - want).abs().max() > 0.05
    # and taking the earlier result for one model like the others is something else again
    assert (opcm([begun, models[3]], base=base) - want).abs().max() > 0.05


def test_without_a_scale_it_is_that_of_equal_deltas_that_share_nothing():
    made = tasks.planted(3, models=4, rank=1)
    deltas = [to(u @ v.T, torch.float64) for u, v in zip(made.u, made.v)]
    opcm, base = methods.get("opcm"), torch.zeros(deltas[0].shape, dtype=torch.float64)
    begun = opcm(deltas[:3], base=base)
    continued = opcm([begun, deltas[3]], base=base, merged_before=3)
    np.testing.assert_allclose(continued, opcm(deltas, base=base), atol=1e-14)
    assert math.isclose(scale_of([d.numpy() for d in deltas[:3]]), math.sqrt(3))


def test_a_scale_of_no_earlier_merge_is_refused():
    base, models = models_of(0, (3, 2), torch.float32, 2)
    with pytest.raises(UsageError, match="merged_before must be given too"):
        methods.get("opcm")(models, base=base, merged_scale=1.5)
