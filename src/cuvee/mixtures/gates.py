"""The rows of the routers: one vector for every layer and expert.

    row = v / ‖v‖,  v = mean over positive prompts of h − the same of negative ones

h is, of the base model, without padding:

    hidden, hidden_last    what enters the layer, at the last position
    hidden_avg             the same, mean over all positions
    cheap_embed            the sum of the prompt's embeddings, the same for all layers
    centred                what enters the layer's MLP, which is what a router is given, mean over all positions; the
                           mean over the experts is taken from every v before it is normalised

Hidden states of one model have a large part in common, whatever the text: it adds the same to all of a router's logits,
but for noise that grows with it. `centred` takes it out, so that what is left of a row tells experts apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cuvee.errors import Fault, InputError
from cuvee.mixtures.model import Expert, Mixture
from cuvee.tensors.random import normal, stream_key, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.checkpoint.protocol import Reader
    from cuvee.mixtures.hidden import Pooling, Spot

_LOOKS: Mapping[str, tuple[Spot, Pooling]] = {
    "hidden": ("layer", "last"),
    "hidden_last": ("layer", "last"),
    "hidden_avg": ("layer", "mean"),
    "centred": ("mlp", "mean"),
}


def gate_vectors(
    mixture: Mixture,
    base: Reader,
    layers: Sequence[int],
    width: int,
    told: Callable[[int, int, str], None] | None = None,
) -> Mapping[int, Tensor]:
    """The routers' weights.

    Args:
        mixture: what is asked.
        base: its base model, opened.
        layers: the layers that get a router.
        width: entries of a hidden state.
        told: called with prompts done, prompts in all, and what is done.

    Returns:
        For every layer, float32 `[len(mixture.gated), width]`.

    Raises:
        InputError: `tokenizer-missing`, `bad-data`, `embedding-too-small`, `bad-mixture`: prompts that say nothing.
    """
    if not mixture.is_prompted:
        return {layer: random_rows(mixture, layer, width) for layer in layers}
    of_prompt = _embedding(base, layers) if mixture.gate_mode == "cheap_embed" else _running(mixture, base)
    total = sum(len(expert.positive) + len(expert.negative) for expert in mixture.gated)
    done = 0
    found: list[Mapping[int, Tensor]] = []
    for expert in mixture.gated:
        states = []
        for prompt in (*expert.positive, *expert.negative):
            states.append(of_prompt(prompt))
            done += 1
            if told is not None:
                told(done, total, "reading prompts")
        found.append({layer: direction([one[layer] for one in states], len(expert.positive)) for layer in layers})
    stacked = {layer: _stack([one[layer] for one in found]) for layer in layers}
    if mixture.gate_mode == "centred":
        stacked = {layer: centred(rows, len(mixture.experts)) for layer, rows in stacked.items()}
    return {layer: _normalised(rows, mixture.gated) for layer, rows in stacked.items()}


def direction(states: Sequence[Tensor], positive: int) -> Tensor:
    """The mean of the first `positive` vectors minus that of the others, `[width]`."""
    from cuvee.mixtures.hidden import mean_of

    wanted = mean_of(states[:positive])
    return wanted - mean_of(states[positive:]) if len(states) > positive else wanted


def centred(rows: Tensor, count: int) -> Tensor:
    """The rows minus the mean over the first `count`, those of the experts that are chosen among; others stay.

    One expert alone would be left with nothing, and stays as it is.
    """
    if count < 2:
        return rows
    moved = rows.clone()
    moved[:count] -= rows[:count].mean(0)
    return moved


def _stack(rows: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(rows))


def _normalised(rows: Tensor, experts: Sequence[Expert]) -> Tensor:
    """Every row of length 1, float32.

    Raises:
        InputError: `bad-mixture`: a row of zeros, of an expert whose prompts are those of the others or its negatives.
    """
    lengths = rows.norm(dim=1, keepdim=True)
    floor = 1e-12 * float(lengths.max())
    silent = [str(expert.model) for expert, length in zip(experts, lengths, strict=True) if float(length) <= floor]
    if silent:
        message = f"prompts should tell an expert from the others; those of {', '.join(silent)} leave nothing"
        hint = "give it prompts of its own, and negative ones that differ from the positive"
        raise InputError(Fault("bad-mixture", message, subject=silent[0], hint=hint))
    unit: Tensor = (rows / lengths).float()
    return unit


def _running(mixture: Mixture, base: Reader) -> Callable[[str], Mapping[int, Tensor]]:
    from cuvee.mixtures.hidden import runner_of

    runner = runner_of(base)
    look = _LOOKS[mixture.gate_mode]
    return lambda prompt: runner.states(prompt, *look)


def _embedding(base: Reader, layers: Sequence[int]) -> Callable[[str], Mapping[int, Tensor]]:
    from cuvee.mixtures.hidden import embedded, tokenizer_of

    tokenizer = tokenizer_of(base)
    return lambda prompt: dict.fromkeys(layers, embedded(base, tokenizer, prompt))


def random_rows(mixture: Mixture, layer: int, width: int) -> Tensor:
    """Random rows of one layer: N(0, 1), or uniform in [−1/√width, 1/√width), times `gate_scale`.

    They are functions of seed, layer, expert and position alone.
    """
    rows = []
    for number in range(len(mixture.gated)):
        key = stream_key(mixture.seed, "gate", str(layer), str(number))
        if mixture.gate_mode == "uniform_random":
            rows.append((uniform(key, 0, width) * 2 - 1) / math.sqrt(width))
        else:
            rows.append(normal(key, 0, width))
    return _stack(rows) * mixture.gate_scale
