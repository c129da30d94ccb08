"""The merged model as a differentiable function of its coefficients.

The arithmetic is the merge method's own (`combine`), run on whole tensors that stay in memory, so that the learned
model is the one that `cuvee merge` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.coefficients.groups import Grouping, merged_steps
from cuvee.errors import Fault, InputError, ResourceError, listed
from cuvee.methods import Method
from cuvee.planning import Piece, Plan, Step
from cuvee.planning.free import free_memory

COPIES: Final = 3
"""Models in memory besides the inputs: the class as it is built, the merged parameters, their gradients."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """One tensor of the merged model.

    Attributes:
        group: which coefficients it takes.
        stack: the models' values, or their deltas from the base, `[K, …]`, float32.
        base: the base's values, for methods on deltas.
        settings: the method's other settings.
    """

    group: int
    stack: Tensor
    base: Tensor | None
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MergedModel:
    """A model whose parameters are those of a merge.

    Attributes:
        skeleton: the module that is run; its own parameters are never used.
        method: the merge method.
        mixtures: by the name of the parameter.
        fixed: tensors that no coefficient changes, by name.
    """

    skeleton: Any
    method: Method
    mixtures: Mapping[str, Mixture]
    fixed: Mapping[str, Tensor]

    def parameters(self, weights: Tensor) -> dict[str, Tensor]:
        """The merged parameters, differentiable in the weights.

        Args:
            weights: `[groups, K]`, float32.
        """
        return {name: self._mixed(mixture, weights[mixture.group]) for name, mixture in self.mixtures.items()}

    def _mixed(self, mixture: Mixture, weights: Tensor) -> Tensor:
        given = {**mixture.settings, "weight": weights}
        merged = self.method.combine(mixture.stack, **{k: v for k, v in given.items() if k in self.method.wants})
        return merged if mixture.base is None else mixture.base + merged

    def expert(self, number: int) -> dict[str, Tensor]:
        """The parameters of one of the models."""
        return {
            name: m.stack[number] if m.base is None else m.base + m.stack[number] for name, m in self.mixtures.items()
        }

    def logits(self, parameters: Mapping[str, Tensor], ids: Tensor, mask: Tensor) -> Tensor:
        """What the model answers with the given parameters.

        Args:
            parameters: from `parameters` or `expert`.
            ids: token ids, `[rows, tokens]`.
            mask: 1 for tokens, 0 for padding, of the same shape.

        Returns:
            `[rows, classes]`, or `[rows, tokens, vocabulary]`.
        """
        given = {"input_ids": ids, "attention_mask": mask}
        logits: Tensor = torch.func.functional_call(self.skeleton, {**self.fixed, **parameters}, (), given).logits
        return logits


def memory_needed(plan: Plan) -> int:
    """Bytes that learning holds: every model, the base included, and `COPIES` more, all in float32; no activations."""
    models = 4 * sum(step.out.numel * len(step.pieces) for step in merged_steps(plan))
    return models + 4 * COPIES * sum(step.out.numel for step in plan.steps)


def check_memory(plan: Plan, limit: int | None) -> None:
    """Refuse what would not fit, before a tensor is read.

    Args:
        plan: the merge.
        limit: most memory in bytes; what is free without it.

    Raises:
        ResourceError: `memory`, with the figure.
    """
    room = free_memory() if limit is None else limit
    needed = memory_needed(plan)
    if room is None or needed <= room:
        return
    models = max((len(step.pieces) for step in merged_steps(plan)), default=0)
    what = "is free" if limit is None else "is the limit"
    message = (
        f"learning holds {models} models and {COPIES} more copies in float32: {needed / 2**20:,.0f} MiB besides "
        f"activations; {room / 2**20:,.0f} MiB {what}"
    )
    raise ResourceError(Fault("memory", message, hint="learn on fewer models, or on a machine with more memory"))


def load(plan: Plan, readers: Sequence[Reader], grouping: Grouping, method: Method, skeleton: Any) -> MergedModel:
    """Read the models of a plan and put their tensors in the places of a module.

    Args:
        plan: the merge.
        readers: its models, opened.
        grouping: which coefficients a tensor takes.
        method: the merge method.
        skeleton: the module; its parameters are let go.

    Raises:
        InputError: `not-yet`: the module has parameters that no tensor gives, or a tensor is none of its parameters;
            `non-finite`.
    """
    place = _places(skeleton, plan)
    mixtures: dict[str, Mixture] = {}
    fixed: dict[str, Tensor] = {}
    for parameter in skeleton.parameters():
        parameter.data = parameter.data.new_empty(0)  # every one is replaced when the module is called
    for step in plan.steps:
        name = place(step.out.name)
        if name is None:
            continue
        if step.action == "copy":
            fixed[name] = _read(readers, step.inputs[0], step)
        else:
            mixtures.setdefault(name, _mixture(readers, step, grouping))
    for reader in readers:
        reader.check_unchanged()
    return MergedModel(skeleton, method, mixtures, fixed)


def _mixture(readers: Sequence[Reader], step: Step, grouping: Grouping) -> Mixture:
    base = None if step.base is None else _read(readers, step.base, step)
    stack = torch.empty((len(step.inputs), *step.out.shape))
    for row, piece in zip(stack, step.inputs, strict=True):
        row.copy_(_read(readers, piece, step))
    if base is not None:
        stack.sub_(base)
    settings = {name: value for name, value in step.settings.items() if name != "weight"}
    return Mixture(grouping.of[step.out.name], stack, base, settings)


def _read(readers: Sequence[Reader], piece: Piece, step: Step) -> Tensor:
    """A whole tensor; floats in float32 and finite."""
    values = readers[piece.model].read(piece.tensor, 0, step.out.numel).reshape(step.out.shape)
    if not values.is_floating_point():
        return values.clone()
    values = values.to(torch.float32, copy=True)
    if not bool(values.isfinite().all()):
        message = f"tensor {piece.tensor} of {readers[piece.model].label} holds NaN or infinity"
        raise InputError(Fault("non-finite", message, subject=piece.tensor))
    return values


def _places(skeleton: Any, plan: Plan) -> Callable[[str], str | None]:
    """From the name of a tensor to that of the parameter or buffer it is; `None` for a buffer that the module derives.

    Raises:
        InputError: the two do not match.
    """
    first: dict[int, str] = {}
    place: dict[str, str] = {}
    for name, parameter in _tensors(skeleton):
        place[name] = first.setdefault(id(parameter), name)  # tied ones have one place
    derived = {s.out.name for s in plan.steps if s.action == "copy" and s.out.name not in place}
    strangers = [s.out.name for s in plan.steps if s.out.name not in place and s.out.name not in derived]
    given = {place[s.out.name] for s in plan.steps if s.out.name in place}
    lacking = [name for name, _ in skeleton.named_parameters() if name not in given]
    if strangers or lacking:
        raise InputError(list(_misplaced(type(skeleton).__name__, strangers, lacking)))
    return place.get


def _tensors(skeleton: Any) -> Iterator[tuple[str, Tensor]]:
    yield from skeleton.named_parameters(remove_duplicate=False)
    yield from skeleton.named_buffers(remove_duplicate=False)


def _misplaced(cls: str, strangers: Sequence[str], lacking: Sequence[str]) -> Iterator[Fault]:
    hint = f"load the models with {cls} and save them again; classes that fuse tensors as they load are not supported"
    if strangers:
        yield Fault("not-yet", f"{cls} has no parameter called {listed(strangers)}", subject=strangers[0], hint=hint)
    if lacking:
        yield Fault(
            "not-yet", f"the models hold no tensor for {cls}'s {listed(lacking)}", subject=lacking[0], hint=hint
        )
