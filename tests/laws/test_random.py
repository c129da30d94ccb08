"""Statistics of the random masks: the right number kept, and no mask tells anything about another.

Everything is seen from outside, through the masks of a dropping method. The seeds are fixed, so a test that passes
passes for ever; the bounds are five standard errors, so a sound generator fails one test in about two million.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import pytest
import torch

from cuvee import methods
from cuvee.testing import recover_mask

N = 200_000
NAMES = ["dare_linear", "dare_ties"]


@cache
def mask(
    density=0.5, seed=0, name="models/a", tensor_name="model.layers.0.mlp.up_proj.weight", shape=(N,), via="dare_linear"
):
    return recover_mask(methods.get(via), shape, density, seed=seed, name=name, tensor_name=tensor_name)


def correlation(a, b):
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    return float((a * b).sum() / (a.norm() * b.norm()))


def assert_unrelated(a, b):
    assert abs(correlation(a, b)) < 5 / math.sqrt(a.numel())


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9, 0.001, 0.999])
@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_keeps_the_asked_fraction(density, seed):
    kept = int(mask(density, seed).sum())
    assert abs(kept - N * density) < 5 * math.sqrt(N * density * (1 - density))


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_keeps_the_asked_fraction_of_every_block(density):
    # about 200 blocks of 1000 entries: a z-value each, none beyond five, and their spread as it should be
    kept = mask(density).reshape(-1, 1000).double().sum(1)
    z = (kept - 1000 * density) / math.sqrt(1000 * density * (1 - density))
    assert z.abs().max() < 5
    # the variance of a variance of m normal values is 2/(m - 1)
    assert abs(float(z.var()) - 1) < 5 * math.sqrt(2 / (len(z) - 1))


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("other", ["models/b", "models/a ", "models/A", "a/models", ""])
def test_models_are_unrelated(density, other):
    assert_unrelated(mask(density), mask(density, name=other))


@pytest.mark.parametrize("other", ["model.layers.1.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.bias", ""])
def test_tensors_are_unrelated(other):
    assert_unrelated(mask(), mask(tensor_name=other))


def test_names_of_model_and_tensor_do_not_run_together():
    # the same letters, divided differently
    assert_unrelated(mask(name="ab", tensor_name="c"), mask(name="a", tensor_name="bc"))
    assert_unrelated(mask(name="a", tensor_name="b"), mask(name="b", tensor_name="a"))


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (41, 42), (0, 2**32), (0, 2**62), (7, 7 + 2**31)])
def test_seeds_are_unrelated(one, other):
    assert_unrelated(mask(seed=one), mask(seed=other))


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 128, 256, 1000, 1023, 1024, 1025, 4096, 65536])
def test_entries_are_unrelated(lag):
    kept = mask()
    assert_unrelated(kept[:-lag], kept[lag:])


@pytest.mark.parametrize("lag", [0, 1, 2, 1024])
def test_lagged_entries_of_neighbours_are_unrelated(lag):
    # a stream that is another one, shifted
    first = mask()
    for other in (mask(seed=1), mask(name="models/b"), mask(tensor_name="model.layers.1.mlp.up_proj.weight")):
        assert_unrelated(first[: N - lag], other[lag:])
        assert_unrelated(first[lag:], other[: N - lag])


def test_bytes_of_a_mask_are_uniform():
    # eight entries at density 1/2 make a number from 0 to 255, each as likely as another: χ² with 255 degrees
    words = (mask().reshape(-1, 8) * (2 ** torch.arange(8))).sum(1)
    counts, due = torch.bincount(words, minlength=256).double(), N / 8 / 256
    chi2 = float(((counts - due) ** 2 / due).sum())
    assert abs(chi2 - 255) < 5 * math.sqrt(2 * 255)


@pytest.mark.parametrize("key", ["seed", "name", "tensor_name"])
def test_first_entries_differ_from_key_to_key(key):
    # 1000 tensors of 16 entries: a generator that starts badly repeats itself at the start
    keys = range(1000) if key == "seed" else [f"layers.{i}.weight" for i in range(1000)]
    masks = torch.stack([mask(shape=(16,), **{key: k}) for k in keys]).double()
    assert ((masks.mean(0) - 0.5).abs() < 5 * 0.5 / math.sqrt(1000)).all()
    centred = (masks - 0.5) * 2
    products = centred.T @ centred / 1000
    assert (products - torch.diag(products.diag())).abs().max() < 5 / math.sqrt(1000)
    assert_unrelated(masks[:-1].reshape(-1), masks[1:].reshape(-1))


def test_masks_of_rising_density_are_nested():
    # one number per entry, compared with the density: raising the density only adds entries
    masks = [mask(p) for p in (0.1, 0.3, 0.5, 0.9)]
    assert all(bool((small <= large).all()) for small, large in pairwise(masks))


def test_shape_does_not_matter():
    assert torch.equal(mask(shape=(40, 5, 7)).reshape(-1), mask(shape=(1400,)))
    assert torch.equal(mask(shape=(100,)), mask(shape=(3000,))[:100])


def test_methods_share_the_masks():
    # so that two methods can be compared on the same draw
    assert torch.equal(mask(shape=(1000,)), mask(shape=(1000,), via="dare_ties"))


def test_correlation_would_be_noticed():
    first = mask()
    repeated = torch.where(mask(0.05, seed=9), first, mask(seed=1))
    with pytest.raises(AssertionError):
        assert_unrelated(first, repeated)
