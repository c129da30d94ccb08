"""What a pack holds, read off `pack.json` and the sizes of its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cuvee.checkpoint.pack_form import PackedTask, PackForm, mask_file, read_pack_form
from cuvee.checkpoint.pack_opening import open_deltas


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One task of a pack.

    Attributes:
        name: its name; the model is `PACK#NAME`.
        model: what it was made from.
        rescaler: what its masked delta is multiplied with.
        kept: share of the delta's entries that its mask keeps, 0 to 1.
        nbytes: bytes of its masks.
    """

    name: str
    model: str
    rescaler: float
    kept: float
    nbytes: int


@dataclass(frozen=True, slots=True)
class PackFacts:
    """What a pack holds.

    Attributes:
        path: its folder.
        base: where it looks for its base: a path from its folder, a hub id or a URL.
        method: the method that made the delta.
        masks: `agree` or `tall`.
        tasks: the tasks, in the order of the recipe.
        tensors: tensors of a task's model.
        changed: tensors of these with a delta; the others are the base's.
        entries: entries of all deltas.
        dtypes: what the delta is stored in.
        delta_bytes: bytes of the delta's files.
        mask_bytes: bytes of all masks.
    """

    path: Path
    base: str
    method: str
    masks: str
    tasks: tuple[TaskFacts, ...]
    tensors: int
    changed: int
    entries: int
    dtypes: tuple[str, ...]
    delta_bytes: int
    mask_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of the delta and all masks."""
        return self.delta_bytes + self.mask_bytes


def look(folder: Path) -> PackFacts:
    """Say what a pack holds; its base is not opened.

    Raises:
        InputError: it is damaged.
    """
    form = read_pack_form(folder)
    deltas = open_deltas(folder)
    specs = list(deltas.specs.values())
    files = [Path(file.name) for file in deltas.input_files]
    deltas.close()
    entries = sum(spec.numel for spec in specs)
    tasks = tuple(_task(folder, task, entries) for task in form.tasks.values())
    return PackFacts(
        path=folder,
        base=form.base_path,
        method=_method(form),
        masks=form.masks,
        tasks=tasks,
        tensors=len(form.tensors),
        changed=len(specs),
        entries=entries,
        dtypes=tuple(sorted({spec.dtype for spec in specs})),
        delta_bytes=_size(files),
        mask_bytes=sum(task.nbytes for task in tasks),
    )


def _task(folder: Path, task: PackedTask, entries: int) -> TaskFacts:
    kept = task.kept / entries if entries else 0.0
    return TaskFacts(task.name, task.model, task.rescaler, kept, _size([folder / mask_file(task.name)]))


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())


def _method(form: PackForm) -> str:
    recipe = form.data.get("recipe")
    found = recipe.get("merge_method") if isinstance(recipe, dict) else None
    return found if isinstance(found, str) else "unknown"
