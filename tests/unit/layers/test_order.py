"""Ways to say a stack: which layers it has."""

from __future__ import annotations

import pytest

from cuvee.layers.order import Run, depth_upscaled, dropped, expanded, repeated, reversed_in


def flat(runs) -> list[int]:
    return [layer for run in runs for layer in run.layers]


@pytest.mark.parametrize(("count", "m"), [(32, 8), (4, 1), (5, 2), (3, 0), (1, 0)])
def test_depth_up_scaling_is_that_of_solar(count: int, m: int) -> None:
    """2312.15166, §2.1: the final m layers of the model and the initial m layers of its copy are removed."""
    assert flat(depth_upscaled(count, m)) == [*range(count)][: count - m] + [*range(count)][m:]
    assert len(flat(depth_upscaled(count, m))) == 2 * (count - m)


def test_the_seam_of_the_paper() -> None:
    first, second = depth_upscaled(32, 8)
    assert (first.layers[-1], second.layers[0], len(first.layers) + len(second.layers)) == (23, 8, 48)


@pytest.mark.parametrize(("count", "m"), [(4, 2), (4, 4), (4, -1), (5, 3)])
def test_up_scaling_that_makes_nothing_deeper_is_refused(count: int, m: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to {(count - 1) // 2}.*found {m}"):
        depth_upscaled(count, m)


def test_dropping_leaves_the_others_in_order() -> None:
    assert flat(dropped(6, {1, 4})) == [0, 2, 3, 5]
    with pytest.raises(ValueError, match="nothing would be left"):
        dropped(2, {0, 1})


def test_runs_are_repeated_behind_themselves() -> None:
    assert flat(repeated(6, [((1, 2), 2), ((4,), 3)])) == [0, 1, 2, 1, 2, 3, 4, 4, 4, 5]
    assert flat(repeated(3, [((0, 1, 2), 1)])) == [0, 1, 2]


def test_a_reversed_run_stands_in_its_place_and_twice_is_itself() -> None:
    once = flat(reversed_in(6, [(1, 2, 3), (5,)]))
    assert once == [0, 3, 2, 1, 4, 5]
    assert [once[layer] for layer in once] == [*range(6)]


@pytest.mark.parametrize(
    "make", [lambda runs: repeated(6, [(run, 2) for run in runs]), lambda runs: reversed_in(6, runs)]
)
def test_runs_go_forward_and_have_no_layer_in_common(make) -> None:
    with pytest.raises(ValueError, match="forward, found 3-1"):
        make([(3, 2, 1)])
    with pytest.raises(ValueError, match="layer 2 twice"):
        make([(1, 2), (2, 3)])


@pytest.mark.parametrize("count", range(1, 9))
def test_silent_blocks_are_copies_of_the_layer_before_them_and_spread_evenly(count: int) -> None:
    for blocks in range(1, count + 1):
        runs = expanded(count, blocks)
        assert flat(run for run in runs if not run.silent) == [*range(count)]
        assert sum(run.silent for run in runs) == blocks
        for before, block in zip(runs[::2], runs[1::2], strict=True):
            assert block == Run(before.layers[-1:], silent=True)
        sizes = [len(run.layers) for run in runs[::2]]
        assert max(sizes) - min(sizes) <= 1
    with pytest.raises(ValueError, match=f"from 1 to {count}"):
        expanded(count, count + 1)
    with pytest.raises(ValueError, match="found 0"):
        expanded(count, 0)
