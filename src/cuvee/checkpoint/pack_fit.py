"""Whether a task pack's base, delta and masks fit each other, by their headers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cuvee.checkpoint.layout import SINGLE
from cuvee.checkpoint.pack_form import (
    BASE_MARK,
    PACK_NAME,
    PackedTask,
    PackedTensor,
    PackForm,
    mask_file,
    mask_name,
    pack_fault,
)
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault
from cuvee.types import DTYPES, TensorSpec

Specs = Mapping[str, TensorSpec]


def fit_faults(
    folder: Path, form: PackForm, task: PackedTask, base: Reader, deltas: Specs, masks: Specs
) -> Iterator[Fault]:
    """Every way in which they do not fit.

    Args:
        folder: the pack.
        form: what it says.
        task: the task.
        base: the base, opened.
        deltas: what its delta holds.
        masks: what the task's masks hold.
    """
    wanted = {name for name, one in form.tensors.items() if one.delta is not None}
    for path, found, names in (
        (folder / SINGLE, deltas, wanted),
        (folder / mask_file(task.name), masks, {mask_name(name, task.name) for name in wanted}),
    ):
        if odd := sorted(found.keys() ^ names):
            yield pack_fault(path, f"should hold the tensors that {PACK_NAME} names; they differ in {odd[0]:.200}")
    for name, one in form.tensors.items():
        source = base.specs.get(one.source)
        if source is None:
            yield other_base(folder, base, one.source, "is not in it")
        elif one.delta is None:
            if DTYPES[one.dtype].kind != DTYPES[source.dtype].kind:
                yield pack_fault(folder / PACK_NAME, f"`{name:.200}` cannot be {one.dtype}", name)
        elif name in deltas:
            yield from _delta_faults(folder, base, one, source, deltas[name])
            yield from _mask_faults(folder / mask_file(task.name), name, source, masks.get(mask_name(name, task.name)))


def _delta_faults(
    folder: Path, base: Reader, one: PackedTensor, source: TensorSpec, delta: TensorSpec
) -> Iterator[Fault]:
    if delta.shape != source.shape:
        what = f"has the shape {list(source.shape)}, its delta {list(delta.shape)}"
        yield other_base(folder, base, one.source, what)
    if {DTYPES[dtype].kind for dtype in (one.dtype, source.dtype, delta.dtype)} != {"float"}:
        yield pack_fault(folder / PACK_NAME, f"`{delta.name:.200}` and its delta should be floats", delta.name)


def _mask_faults(path: Path, name: str, source: TensorSpec, mask: TensorSpec | None) -> Iterator[Fault]:
    size = -(-source.numel // 8)
    if mask is not None and (mask.dtype, mask.shape) != ("uint8", (size,)):
        what = f"the mask of {name:.200} should be {size} bytes (uint8), found {mask.dtype} {list(mask.shape)}"
        yield pack_fault(path, what, name)


def other_base(folder: Path, base: Reader, tensor: str, what: str) -> Fault:
    """The fault of a base that is not the one that the pack was made from."""
    message = f"{base.label}: this is not the base that {folder} was made from; {tensor:.200} {what}"
    hint = f"name the one that it was made from: `--base PATH`, or `{folder.name}#TASK{BASE_MARK}PATH`"
    return Fault("pack-base", message, subject=tensor, hint=hint)
