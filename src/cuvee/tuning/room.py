"""Whether a run fits into memory, told before a weight is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cuvee.checkpoint import format_size
from cuvee.errors import Fault, ResourceError
from cuvee.planning.free import free_memory
from cuvee.tuning.asked import Asked
from cuvee.types import DTYPES, TensorSpec

_FLOAT: int = 4
_ADAM: int = 8
"""Bytes per number of the two moments of Adam."""


def memory_needed(specs: Mapping[str, TensorSpec], chosen: Sequence[str], asked: Asked) -> int:
    """Bytes of everything but activations: weights in float32, gradients, Adam's moments, and states that are kept.

    Two states are held while one is compared with the best: in the dtypes on disk, and in float32 as they stand in the
    model for it.

    Args:
        specs: the tensors on disk.
        chosen: those that are changed.
        asked: how.
    """
    weights = _FLOAT * sum(spec.numel for spec in specs.values() if DTYPES[spec.dtype].kind == "float")
    changed = [specs[name] for name in chosen]
    if asked.lora is not None:
        changed = [spec for spec in changed if len(spec.shape) == 2]
        leaves = asked.lora * sum(sum(spec.shape) for spec in changed)
    else:
        leaves = sum(spec.numel for spec in changed)
    trained = (_FLOAT + _ADAM + (0 if asked.lora is None else _FLOAT)) * leaves
    return weights + trained + sum(2 * spec.nbytes + _FLOAT * spec.numel for spec in changed)


def check_memory(label: str, needed: int, device: str, free: int | None = None) -> None:
    """Refuse what does not fit.

    Args:
        label: the model.
        needed: bytes, without activations.
        device: where it would be.
        free: bytes that may be taken; what is free there if not given.

    Raises:
        ResourceError: `memory`, with both figures.
    """
    room = _free_on(device) if free is None else free
    if room is None or needed <= room:
        return
    message = (
        f"tuning {label} takes {format_size(needed)} besides activations (weights, gradients, Adam's moments, the best "
        f"state); {format_size(room)} are free on {device}"
    )
    hint = "change less with --only or --lora, or take a machine with more memory"
    raise ResourceError(Fault("memory", message, subject=label, hint=hint))


def _free_on(device: str) -> int | None:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    return free_memory() if device == "cpu" else None
