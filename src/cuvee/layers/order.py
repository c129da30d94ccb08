"""Which layers a stack has, in which order: a few ways to say it of a model of n layers.

    depth up-scaling by m    0 … n−m−1, then m … n−1: 2 (n − m) layers (SOLAR, 2312.15166, §2.1)
    dropping                 all but some
    repeating                a run comes again right behind itself
    reversing                a run backwards, in its place
    expanding by b           a silent copy of its last layer behind each of b equal groups (LLaMA Pro, 2401.02415, §3.1)

Nothing here knows a model: these are lists of numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """Layers that follow one another; `silent` ones add nothing to what passes through them."""

    layers: tuple[int, ...]
    silent: bool = False


def depth_upscaled(count: int, dropped: int) -> tuple[Run, ...]:
    """Two copies of a model, the end of the first and the beginning of the second left out.

    Args:
        count: layers of the model, n.
        dropped: layers left out of each copy, m; 0 ≤ m < n / 2, so that the stack is deeper than the model.

    Raises:
        ValueError: it would not be deeper.

    Example:
        >>> [run.layers for run in depth_upscaled(4, 1)]
        [(0, 1, 2), (1, 2, 3)]
    """
    if not 0 <= 2 * dropped < count:
        raise ValueError(f"from 0 to {(count - 1) // 2}, so that {count} layers become more, found {dropped}")
    return Run(tuple(range(count - dropped))), Run(tuple(range(dropped, count)))


def dropped(count: int, layers: Collection[int]) -> tuple[Run, ...]:
    """All layers but some.

    Raises:
        ValueError: none would be left.

    Example:
        >>> dropped(4, {1, 2})
        (Run(layers=(0, 3), silent=False),)
    """
    left = tuple(layer for layer in range(count) if layer not in layers)
    if not left:
        raise ValueError(f"fewer than the {count} layers there are: nothing would be left")
    return (Run(left),)


def repeated(count: int, runs: Sequence[tuple[Sequence[int], int]]) -> tuple[Run, ...]:
    """Runs that come several times, each time whole, where they stand.

    Args:
        count: layers of the model.
        runs: forward runs of layers without a layer in common, and how often each comes.

    Raises:
        ValueError: a run goes backwards, or two have a layer in common.

    Example:
        >>> repeated(4, [((1, 2), 2)])
        (Run(layers=(0, 1, 2, 1, 2, 3), silent=False),)
    """
    _check_apart([layers for layers, _ in runs])
    ends = {layers[-1]: tuple(layers) * (times - 1) for layers, times in runs}
    return (Run(tuple(taken for layer in range(count) for taken in (layer, *ends.get(layer, ())))),)


def reversed_in(count: int, runs: Sequence[Sequence[int]]) -> tuple[Run, ...]:
    """Runs turned round in their places.

    Args:
        count: layers of the model.
        runs: forward runs of layers without a layer in common.

    Raises:
        ValueError: a run goes backwards, or two have a layer in common.

    Example:
        >>> reversed_in(5, [(1, 2, 3)])
        (Run(layers=(0, 3, 2, 1, 4), silent=False),)
    """
    _check_apart(runs)
    other: Mapping[int, int] = {layer: run[-1 - place] for run in runs for place, layer in enumerate(run)}
    return (Run(tuple(other.get(layer, layer) for layer in range(count))),)


def expanded(count: int, blocks: int) -> tuple[Run, ...]:
    """A silent copy of its last layer behind each of several groups of layers, which are as equal as can be.

    Args:
        count: layers of the model, n.
        blocks: copies, b; 1 ≤ b ≤ n. Group g ends before layer ⌊(g + 1) n / b⌋.

    Raises:
        ValueError: there are not as many groups.

    Example:
        >>> [(run.layers, run.silent) for run in expanded(4, 2)]
        [((0, 1), False), ((1,), True), ((2, 3), False), ((3,), True)]
    """
    if not 1 <= blocks <= count:
        raise ValueError(f"from 1 to {count}, a block behind each layer at most, found {blocks}")
    ends = [(group + 1) * count // blocks for group in range(blocks)]
    groups = zip([0, *ends], ends)
    return tuple(run for start, end in groups for run in (Run(tuple(range(start, end))), Run((end - 1,), silent=True)))


def _check_apart(runs: Sequence[Sequence[int]]) -> None:
    seen: set[int] = set()
    for run in runs:
        if list(run) != sorted(run):
            raise ValueError(f"runs that go forward, found {run[0]}-{run[-1]}")
        if both := seen & set(run):
            raise ValueError(f"runs without a layer in common, found layer {min(both)} twice")
        seen |= set(run)
