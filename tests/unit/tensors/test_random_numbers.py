"""Counter-based random numbers: SplitMix64 itself, in pure Python integers, and what depends on it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.tensors import stream_key, uniform
from cuvee.tensors.random import _words_of_torch, random_words

WORD = 1 << 64
KEYS = st.integers(-(1 << 63), (1 << 63) - 1)
KNOWN = {
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC],
    1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821],
}
"""First outputs of the published generator for two seeds."""
FROZEN = [5166799861300339304, 1376191181952448928, -402039774309956310, -2717624312285499429]


def splitmix64(key: int, index: int) -> int:
    """Output number `index` of the generator whose state starts at `key`, as an unsigned number."""
    z = (key + (index + 1) * 0x9E3779B97F4A7C15) % WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def bits(key: int, start: int, stop: int) -> list[int]:
    found = random_words(key, start, stop)
    assert found.equal(_words_of_torch(key, start, stop, torch.device("cpu")))  # as other devices make them
    return [value % WORD for value in found.tolist()]


# --- bits


@pytest.mark.parametrize("seed", KNOWN)
def test_published_outputs_come_out(seed: int) -> None:
    assert bits(seed, 0, len(KNOWN[seed])) == KNOWN[seed]
    assert [splitmix64(seed, i) for i in range(len(KNOWN[seed]))] == KNOWN[seed]


@settings(deadline=None)
@given(key=KEYS, start=st.integers(0, 1 << 45), length=st.integers(0, 5))
def test_every_key_and_index_gives_splitmix64(key: int, start: int, length: int) -> None:
    assert bits(key, start, start + length) == [splitmix64(key, i) for i in range(start, start + length)]


@pytest.mark.parametrize("key", [-1, -(1 << 63), (1 << 63) - 1])
def test_keys_at_the_ends_of_the_range_are_taken(key: int) -> None:
    assert bits(key, 0, 3) == [splitmix64(key, i) for i in range(3)]


# --- uniform draws


@settings(deadline=None)
@given(key=KEYS, start=st.integers(0, 10_000), first=st.integers(0, 50), second=st.integers(0, 50))
def test_a_tile_has_the_numbers_of_the_whole(key: int, start: int, first: int, second: int) -> None:
    middle, stop = start + first, start + first + second
    tiles = torch.cat([uniform(key, start, middle), uniform(key, middle, stop)])
    assert torch.equal(tiles, uniform(key, start, stop))


@settings(deadline=None)
@given(key=KEYS, index=st.integers(0, 1 << 40))
def test_a_draw_is_the_highest_24_bits_of_half_a_word_as_a_fraction(key: int, index: int) -> None:
    found = uniform(key, index, index + 1)
    half = splitmix64(key, index // 2) >> 32 * (index % 2) & 0xFFFFFFFF
    assert found.dtype == torch.float32
    assert found.tolist() == [(half >> 8) / (1 << 24)]


def test_draws_fill_the_interval_evenly() -> None:
    """65,536 draws in 64 bins: the chi-square of 63 degrees of freedom exceeds 120 once in 60,000 keys."""
    for key in (0, 1, -7, stream_key(3, "model", "tensor")):
        draws = uniform(key, 0, 1 << 16)
        assert draws.min() >= 0
        assert draws.max() < 1
        counts = torch.histc(draws, 64, 0, 1)
        assert ((counts - 1024) ** 2 / 1024).sum() < 120


def test_neighbours_and_neighbouring_streams_do_not_go_together() -> None:
    draws = torch.stack([uniform(stream_key(seed, "m", "t"), 0, 1 << 16) for seed in range(4)])
    shifted = torch.cat([draws[:, 1:], draws[:, :1]], dim=1)
    together = torch.corrcoef(torch.cat([draws, shifted])) - torch.eye(8)
    assert together.abs().max() < 0.02


# --- keys


def test_keys_are_signed_words_that_stay_what_they_are() -> None:
    """Frozen: a recipe must give the same masks in every version."""
    found = [stream_key(0, "a", "w"), stream_key(1, "a", "w"), stream_key(0, "b", "w"), stream_key(0, "a", "v")]
    assert found == FROZEN


def test_seed_model_and_tensor_all_count() -> None:
    names = ["", "a", "b", "ab", "model.layers.1", "model.layers.11", "ä"]
    keys = [stream_key(seed, m, t) for seed in (-1, 0, 1, 10, 1 << 80) for m in names for t in names]
    assert len(set(keys)) == len(keys)
    assert all(-(1 << 63) <= key < 1 << 63 for key in keys)
    assert any(key < 0 for key in keys)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4), max_size=4))
def test_where_one_name_ends_matters(names: list[str]) -> None:
    joined = "".join(names)
    others = [[joined], [*names, ""], ["", *names], names[::-1]]
    assert all(stream_key(1, *names) != stream_key(1, *other) for other in others if other != names)
