"""How much a block of layers turns what passes through it, on text (Gromov et al. 2024, arXiv:2403.17887, eq. 7).

    d(l, n) = mean over samples of arccos(cos(x_l, x_{l+n})) / π

x_l is what comes into layer l at the last token of a sample. A block that turns it little can be left out with little
harm. Blocks with the last layer in them are not looked at: what comes out of it is known only behind the final norm,
and the paper finds that it is best kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cuvee.collecting.samples import samples_of
from cuvee.data.rows import read_rows
from cuvee.errors import Fault, InputError
from cuvee.families.inputs import load_tokenizer
from cuvee.families.running import Running, load

SAMPLES = 256
"""Most rows of the text that are looked at."""
LONGEST = 512
"""Most tokens of a row."""


def angular_distance(one: Tensor, other: Tensor) -> Tensor:
    """The angle between vectors, from 0 to 1 for opposite ones.

    Args:
        one: `[..., d]`.
        other: `[..., d]`.

    Returns:
        `[...]`, float64; 0.5 where a vector is zero.
    """
    cosine = torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=-1, eps=1e-300)
    return torch.arccos(cosine.clamp(-1, 1)) / math.pi


def block_distances(
    folder: Path, text: Path, count: int, block: int, after: Callable[[int, int], None] | None = None
) -> tuple[float, ...]:
    """The mean angular distance over every block of so many layers.

    Args:
        folder: a causal language model of one stack of layers.
        text: a file of rows, as for `collect`.
        count: layers of the model, n.
        block: layers of a block, b; 1 ≤ b < n.
        after: told samples that were run and their number.

    Returns:
        For every first layer 0 … n − 1 − b.

    Raises:
        InputError: the model is no causal language model, or the rows are not usable.
    """
    rows = read_rows(text, SAMPLES)
    running = load(folder)
    if running.head != "causal-lm":
        message = f"{folder} should be a causal language model; {type(running.model).__name__} is none"
        raise InputError(Fault("not-yet", message, subject=str(folder), hint="say yourself which layers to drop"))
    tokenizer = load_tokenizer(folder)
    samples, _ = samples_of(rows, running, tokenizer, text, max_length=LONGEST, seed=0)
    totals = torch.zeros(count - block, dtype=torch.float64)
    for number, sample in enumerate(samples, 1):
        states = _last_states(running, sample.ids, count, folder)
        totals += angular_distance(states[: count - block], states[block:count])
        if after is not None:
            after(number, len(samples))
    return tuple((totals / len(samples)).tolist())


def _last_states(running: Running, ids: Sequence[int], count: int, folder: Path) -> Tensor:
    """What comes into every layer at the last token, `[n, d]`."""
    with torch.inference_mode():
        found = running.model(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
    if found is None or len(found) != count + 1:
        message = f"{folder}: {type(running.model).__name__} does not tell what comes into its {count} layers"
        raise InputError(Fault("not-yet", message, subject=str(folder), hint="say yourself which layers to drop"))
    return torch.stack([state[0, -1] for state in found[:count]])
