"""The quadratic methods against their slow references, and the one solver that serves them all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cuvee import methods, tensors
from tests.reference import quadratic_formulas as slow

SHAPES = [(6, 4), (4, 6), (1, 5), (7,), (3, 2, 2), (12, 3)]


def drawn(shape, seed, count=3):
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=chance, dtype=torch.float64) for _ in range(count)]


def as_matrix(tensor):
    return tensor.reshape(len(tensor), -1) if tensor.dim() > 1 else tensor


def grams_of(width, seed, rows=20, count=3):
    return [x.T @ x / rows for x in drawn((rows, width), seed, count)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["wudi", "actmat"])
def test_data_free_ones(name, shape):
    base, *models = drawn(shape, 1, 4)
    found = methods.get(name)(models, base=base, lambda_=0.7)
    deltas = [as_matrix(m - base).numpy() for m in models]
    single = shape[0] == 1  # a matrix of one row is a vector: its own Gram matrix would say nothing
    wanted = np.mean(deltas, 0) if single else getattr(slow, name)(deltas)
    want = base + 0.7 * torch.from_numpy(wanted).reshape(shape)
    assert torch.allclose(found, want, atol=1e-9)


@pytest.mark.parametrize("name", ["wudi", "actmat"])
def test_one_model_and_copies_of_it_are_that_model(name):
    base, model = drawn((9, 5), 2, 2)
    for count in (1, 3):
        assert torch.allclose(methods.get(name)([model] * count, base=base), model, atol=1e-9)


@pytest.mark.parametrize("alpha", [1.0, 0.9, 0.0])
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 2)])
def test_regmean(shape, alpha):
    models = drawn(shape, 3)
    width = as_matrix(models[0]).shape[1]
    grams = grams_of(width, 4)
    found = methods.get("regmean")(models, collected=grams, alpha=alpha)
    wanted = slow.regmean([as_matrix(m).numpy() for m in models], [g.numpy() for g in grams], alpha)
    assert torch.allclose(found, torch.from_numpy(wanted).reshape(shape), atol=1e-9)


def test_regmean_of_layers_stored_the_other_way_round():
    models, grams = drawn((4, 6), 5), grams_of(4, 6)
    turned = methods.get("regmean")(models, collected=[g[None] for g in grams])
    plain = methods.get("regmean")([m.T.contiguous() for m in models], collected=grams)
    assert torch.allclose(turned, plain.T, atol=1e-12)


def test_where_no_model_has_inputs_regmean_is_the_mean():
    models = drawn((5, 4), 7)
    grams = [g.clone() for g in grams_of(4, 8)]
    for gram in grams:
        gram[3], gram[:, 3] = 0, 0
    found = methods.get("regmean")(models, collected=grams, alpha=1.0)
    assert torch.allclose(found[:, 3], torch.stack(models).mean(0)[:, 3], atol=1e-9)
    assert not torch.allclose(found[:, 0], torch.stack(models).mean(0)[:, 0], atol=1e-3)


def test_without_statistics_they_are_means():
    models = drawn((4, 3), 9)
    for name in ("regmean", "fisher"):
        found = methods.get(name)(models, weight=[1, 2, 3])
        want = sum(w * m for w, m in zip((1, 2, 3), models)) / 6
        assert torch.allclose(found, want, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_fisher(shape):
    models, sure = drawn(shape, 10), [x.square() for x in drawn(shape, 11)]
    sure[0].view(-1)[0] = sure[1].view(-1)[0] = sure[2].view(-1)[0] = 0
    found = methods.get("fisher")(models, collected=sure, weight=[1, 0.5, 2])
    wanted = slow.fisher([m.numpy() for m in models], [s.numpy() for s in sure], [1, 0.5, 2])
    assert torch.allclose(found, torch.from_numpy(wanted), atol=1e-12)


def test_small_fishers_count_as_large_ones_do():
    models, sure = drawn((3, 3), 12), [x.square() for x in drawn((3, 3), 13)]
    found = methods.get("fisher")(models, collected=[s * 1e-300 for s in sure])
    assert torch.allclose(found, methods.get("fisher")(models, collected=sure), atol=1e-12)


def test_one_solver_serves_average_fisher_regmean_and_wudi():
    """G = I, a diagonal, X^T X, and each delta's own."""
    models = drawn((5, 4), 14)
    ones = [1.0] * 3
    identity = [torch.eye(4, dtype=torch.float64)] * 3
    assert torch.allclose(tensors.solve(models, identity, ones), torch.stack(models).mean(0), atol=1e-12)
    diagonals = [x[0].square() for x in drawn((1, 4), 15)]
    by_solver = tensors.solve(models, [torch.diag(d) for d in diagonals], ones)
    spread = [d.expand(5, 4) for d in diagonals]
    assert torch.allclose(by_solver, methods.get("fisher")(models, collected=spread), atol=1e-9)
    own = [m.T @ m for m in models]
    assert torch.allclose(tensors.solve(models, own, ones), tensors.solve_own(models, ones), atol=1e-9)
    zero = torch.zeros(5, 4, dtype=torch.float64)
    assert torch.allclose(tensors.solve_own(models, ones), methods.get("actmat")(models, base=zero), atol=1e-9)


def test_what_was_collected_must_fit():
    from cuvee import UsageError

    models = drawn((4, 3), 16)
    with pytest.raises(UsageError, match="one per model"):
        methods.get("regmean")(models, collected=grams_of(3, 1, count=2))
    with pytest.raises(UsageError, match="shape"):
        methods.get("fisher")(models, collected=grams_of(3, 1))
    with pytest.raises(UsageError, match="nothing that was collected"):
        methods.get("linear")(models, weight=1, collected=grams_of(3, 1))


def test_statistics_of_state_dicts():
    import cuvee

    models, grams = drawn((5, 4), 17), grams_of(4, 18)
    found = cuvee.merge_state_dicts(
        [{"w": m, "b": m[0]} for m in models], "regmean", statistics=[{"w": g} for g in grams]
    )
    assert torch.allclose(found["w"], methods.get("regmean")(models, collected=grams), atol=1e-12)
    assert torch.allclose(found["b"], torch.stack(models).mean(0)[0], atol=1e-12)
    with pytest.raises(cuvee.UsageError, match="one for each model"):
        cuvee.merge_state_dicts([{"w": m} for m in models], "regmean", statistics=[{"w": grams[0]}])


@pytest.mark.parametrize("name", ["wudi", "actmat"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_entry_that_is_no_number_leaves_none_in_the_matrix(name, bad):
    """Every entry depends on every other, so that a part of the result that looks well would be a wrong one."""
    base, *models = drawn((5, 4), 10, 3)
    models[1][2, 2] = bad
    found = methods.get(name)(models, base=base)
    assert found.isnan().all()


@pytest.mark.parametrize("name", ["wudi", "actmat"])
def test_the_largest_deltas_are_merged_as_all_others(name):
    models = drawn((6, 4), 11, 3)
    largest = max(float(m.abs().max()) for m in models)
    up = 1.1 * 2.0**1023 / largest  # so large that the next power of two is no float64
    found = methods.get(name)([m * up for m in models], base=torch.zeros(6, 4, dtype=torch.float64))
    want = methods.get(name)(models, base=torch.zeros(6, 4, dtype=torch.float64))
    assert torch.allclose(found / up, want, rtol=1e-9, atol=1e-9 * largest)
