"""The rows of the routers: one vector for every layer and expert.

    row = v / ‖v‖,  v = mean over positive prompts of h − the same of negative ones

h is, of the base model, without padding:

    hidden, hidden_last    what enters the layer, at the last position
    hidden_avg             the same, mean over all positions
    cheap_embed            the sum of the prompt's embeddings, the same for all layers; both means are made of length 1
                           before one is taken from the other

`least_squares` fits all rows of a router together instead, to what enters the layer's MLP; see `least_squares`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from cuvee.errors import Fault, InputError
from cuvee.mixtures.model import Expert, Mixture
from cuvee.tensors.random import normal, stream_key, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.checkpoint.protocol import Reader
    from cuvee.mixtures.hidden import Pooling

_POOLED: Mapping[str, Pooling] = {"hidden": "last", "hidden_last": "last", "hidden_avg": "mean"}
_Told: TypeAlias = "Callable[[int, int], None] | None"
_States: TypeAlias = "Mapping[int, Tensor]"
"""What is found for a prompt, by layer."""


def gate_vectors(
    mixture: Mixture, base: Reader, layers: Sequence[int], width: int, told: _Told = None
) -> Mapping[int, Tensor]:
    """The routers' weights.

    Args:
        mixture: what is asked.
        base: its base model, opened.
        layers: the layers that get a router.
        width: entries of a hidden state.
        told: called with prompts done and prompts in all.

    Returns:
        For every layer, float32 `[len(mixture.gated), width]`.

    Raises:
        InputError: `bad-mixture`: prompts that say nothing. That they can be run, `check_prompts` sees to.
    """
    if not mixture.is_prompted:
        return {layer: random_rows(mixture, layer, width) for layer in layers}
    if mixture.gate_mode == "least_squares":
        return _fitted(mixture, base, layers, told)
    of_prompt = _embedding(base, layers) if mixture.gate_mode == "cheap_embed" else _running(mixture, base)
    read = list(_read(mixture, of_prompt, told))
    of_sides = embedded_direction if mixture.gate_mode == "cheap_embed" else direction
    return {layer: _unit(_stack([of_sides(*sides, layer) for sides in read]), mixture.gated) for layer in layers}


def _read(
    mixture: Mixture, of_prompt: Callable[[str], _States], told: _Told
) -> Iterator[tuple[list[_States], list[_States]]]:
    """For every expert that has a row, what is found for its positive and its negative prompts."""
    total = sum(len(expert.positive) + len(expert.negative) for expert in mixture.gated)
    done = 0
    for expert in mixture.gated:
        sides: tuple[list[_States], list[_States]] = ([], [])
        for side, prompts in zip(sides, (expert.positive, expert.negative), strict=True):
            for prompt in prompts:
                side.append(of_prompt(prompt))
                done += 1
                if told is not None:
                    told(done, total)
        yield sides


def direction(positive: Sequence[Mapping[int, Tensor]], negative: Sequence[Mapping[int, Tensor]], layer: int) -> Tensor:
    """The mean of a layer's vectors of the positive prompts minus that of the negative ones, `[width]`."""
    from cuvee.mixtures.hidden import mean_of

    wanted = mean_of([one[layer] for one in positive])
    return wanted - mean_of([one[layer] for one in negative]) if negative else wanted


def embedded_direction(positive: Sequence[_States], negative: Sequence[_States], layer: int) -> Tensor:
    """The same of embeddings, each mean made of length 1 first, as mergekit-moe does, `[width]`."""
    sides = [direction(side, (), layer) for side in (positive, negative) if side]
    units: list[Tensor] = [side / side.norm().clamp(min=1e-8) for side in sides]
    return units[0] - units[1] if negative else units[0]


def _fitted(mixture: Mixture, base: Reader, layers: Sequence[int], told: _Told) -> Mapping[int, Tensor]:
    """Rows that are fitted together; that of a shared expert, which is not chosen, is a direction of length 1."""
    from cuvee.mixtures.hidden import runner_of
    from cuvee.mixtures.least_squares import fitted, groups_of, silent_rows

    runner = runner_of(base)
    read = list(_read(mixture, lambda prompt: runner.rows(prompt, "mlp"), told))
    count = len(mixture.experts)
    found = {}
    for layer in layers:
        groups = list(groups_of(read[:count], layer))
        rows = fitted(groups)
        _refuse_silent([mixture.experts[number] for number in silent_rows(rows, groups)])
        found[layer] = rows.float()
        if len(read) > count:
            wanted, unwanted = ([{layer: one[layer].double().mean(0)} for one in side] for side in read[count])
            shared = _unit(direction(wanted, unwanted, layer)[None], mixture.gated[count:])
            found[layer] = _stack([*found[layer], *shared])
    return found


def _stack(rows: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(rows))


def _unit(rows: Tensor, experts: Sequence[Expert]) -> Tensor:
    """Every row of length 1, float32.

    Raises:
        InputError: `bad-mixture`: a row of zeros.
    """
    lengths = rows.norm(dim=1, keepdim=True)
    floor = 1e-12 * float(lengths.max())
    _refuse_silent([one for one, length in zip(experts, lengths, strict=True) if float(length) <= floor])
    unit: Tensor = (rows / lengths).float()
    return unit


def _refuse_silent(experts: Sequence[Expert]) -> None:
    """Experts whose prompts are those of the others, or its negatives.

    Raises:
        InputError: `bad-mixture`: there are any.
    """
    if experts:
        silent = ", ".join(dict.fromkeys(str(expert.model) for expert in experts))
        message = f"prompts should tell an expert from the others; those of {silent} leave nothing"
        hint = "give it prompts of its own, and negative ones that differ from the positive"
        raise InputError(Fault("bad-mixture", message, subject=str(experts[0].model), hint=hint))


def _running(mixture: Mixture, base: Reader) -> Callable[[str], Mapping[int, Tensor]]:
    from cuvee.mixtures.hidden import runner_of

    runner = runner_of(base)
    pooling = _POOLED[mixture.gate_mode]
    return lambda prompt: runner.states(prompt, "layer", pooling)


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
