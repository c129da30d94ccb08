"""Switching a model that is in memory from one task of a pack to another, in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from cuvee.checkpoint import open_checkpoint
from cuvee.checkpoint.pack_form import BASE_MARK, PackForm, read_pack_form
from cuvee.checkpoint.packed import PackedModel
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.types import ModelRef

_PIECE: Final = 1 << 20
"""Elements worked on at a time."""


class TaskSwitch:
    """Makes a model the one of a task, of another, or the base again, without loading anything anew.

    Every switch starts from the base, never from the task before, so that the model is bit for bit what
    `cuvee unpack` would have written, cast to the model's own dtypes, and bit for bit itself again after `base()`.

    Memory: `keep=True` holds a copy on the processor of every tensor that tasks change, as large as the model itself;
    `keep=False` holds nothing, and reads the base from the disk again. Either way a switch reads the delta, once, and
    the task's masks. Gradients and the state of an optimiser are not looked at.

    Args:
        model: a torch module that holds the pack's base.
        pack: the pack's folder.
        base: the base, where it is not where the pack says.
        keep: hold the base's tensors in memory.
        names: from a tensor of the pack to its name in `model.state_dict()`, where they are called otherwise; one
            common prefix more or less is found without.

    Raises:
        InputError: the pack or its base cannot be read, or does not fit the model.
        UsageError: an argument is of the wrong type.

    Example:
        >>> switch = TaskSwitch(model, "packs/vision")       # doctest: +SKIP
        >>> switch.to("cars")                                # doctest: +SKIP
        >>> with switch.using("pets"):                       # doctest: +SKIP
        ...     evaluate(model)
        >>> switch.base()                                    # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module,
        pack: str | os.PathLike[str],
        *,
        base: str | os.PathLike[str] | None = None,
        keep: bool = True,
        names: Mapping[str, str] | Callable[[str], str] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            message = f"`model` must be a torch module; found {type(model).__name__}"
            raise UsageError(Fault("bad-argument", message, subject="model"))
        self._folder = Path(os.path.expanduser(pack))  # noqa: PTH111 - the Path method raises on `~nobody`
        self._elsewhere = None if base is None else os.fspath(base)
        self._form: PackForm = read_pack_form(self._folder)
        self._task: str | None = None
        changed = [name for name, one in self._form.tensors.items() if one.delta is not None]
        self._places = _places(model, changed, names)
        with closing(self._opened(self.tasks[0])) as opened:
            _check_fit(opened, self._places)
            _check_base(opened, self._places)
        self._kept = {name: there.detach().cpu().clone() for name, there in self._places.items()} if keep else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The pack's tasks."""
        return tuple(self._form.tasks)

    @property
    def task(self) -> str | None:
        """The task that the model is at, `None` for the base."""
        return self._task

    def to(self, task: str | None) -> None:
        """Make the model that of a task; of the base, for `None`.

        Where that fails half-way, the model is made the base again.

        Raises:
            InputError: `unknown-task`; or the pack, or its base, is damaged or gone.
        """
        if task is None:
            self.base()
            return
        with closing(self._opened(task)) as opened:
            opened.check_unchanged()
            try:
                for name, there in self._places.items():
                    _fill(there, lambda a, b, name=name: opened.read(name, a, b))  # type: ignore[misc]
            except BaseException:
                self._restore(opened)
                raise
        self._task = task

    def base(self) -> None:
        """Make the model the base again."""
        if self._kept is not None:
            self._restore(None)
            return
        with closing(self._opened(self.tasks[0])) as opened:
            self._restore(opened)

    @contextmanager
    def using(self, task: str) -> Iterator[None]:
        """Make the model that of a task, and what it was afterwards."""
        before = self._task
        self.to(task)
        try:
            yield
        finally:
            self.to(before)

    def _restore(self, opened: PackedModel | None) -> None:
        for name, there in self._places.items():
            if self._kept is not None:
                _copy(there, self._kept[name])
            elif opened is not None:
                source, reader = opened.source(name), opened.base
                _fill(there, lambda a, b, source=source, reader=reader: reader.read(source, a, b))  # type: ignore[misc]
        self._task = None

    def _opened(self, task: str) -> PackedModel:
        mark = "" if self._elsewhere is None else f"{BASE_MARK}{os.path.abspath(self._elsewhere)}"  # noqa: PTH100
        opened: Any = open_checkpoint(ModelRef(f"{self._folder}#{task}{mark}"))
        if not isinstance(opened, PackedModel):
            opened.close()
            message = f"{self._folder}#{task}: a folder of this very name is there, so that it is no task of a pack"
            raise InputError(Fault("bad-pack", message, hint="rename that folder"))
        return opened


def _places(
    model: nn.Module, changed: list[str], names: Mapping[str, str] | Callable[[str], str] | None
) -> dict[str, Tensor]:
    """The model's own tensor for every tensor of the pack; one that stands there under two names is filled once."""
    there = model.state_dict(keep_vars=True)
    if names is None:
        rename = _prefixed(changed, there)
    elif callable(names):
        rename = names
    else:
        rename = lambda name: names.get(name, name)  # noqa: E731
    missing = [name for name in changed if not isinstance(there.get(rename(name)), Tensor)]
    if missing:
        message = f"the model should hold the pack's tensors; it lacks {listed(missing)}"
        hint = "give `names`, which says what the model calls them"
        raise InputError(Fault("missing-tensor", message, subject=missing[0], hint=hint))
    return {name: there[rename(name)].detach() for name in changed}


def _prefixed(changed: list[str], there: Mapping[str, Any]) -> Callable[[str], str]:
    """The names as they are, or with one prefix more or less for all of them."""
    if all(name in there for name in changed):
        return lambda name: name
    first = changed[0]
    more = [key.removesuffix(first) for key in there if key.endswith(f".{first}")]
    less = [first.removesuffix(key) for key in there if first.endswith(f".{key}")]
    for prefix in more:
        if all(prefix + name in there for name in changed):
            return lambda name: prefix + name
    for prefix in less:
        if all(name.startswith(prefix) and name.removeprefix(prefix) in there for name in changed):
            return lambda name: name.removeprefix(prefix)
    return lambda name: name


def _check_fit(opened: PackedModel, places: Mapping[str, Tensor]) -> None:
    faults = []
    for name, there in places.items():
        shape = opened.specs[name].shape
        if tuple(there.shape) != shape or not there.is_floating_point() or there.is_meta:
            found = f"{str(there.dtype).removeprefix('torch.')} {list(there.shape)} on {there.device}"
            message = f"tensor {name}: the model should hold floats of shape {list(shape)}; found {found}"
            hint = "the model must be loaded whole, unquantised, and of the base's architecture"
            faults.append(Fault("shape-mismatch", message, subject=name, hint=hint))
    if faults:
        raise InputError(faults)


def _check_base(opened: PackedModel, places: Mapping[str, Tensor]) -> None:
    """Refuse a model that holds something else than the base, cast to its own dtypes."""
    faults = []
    for name, there in places.items():
        source = opened.source(name)
        pieces = _pieces(there)
        same = all(torch.equal(opened.base.read(source, a, b).to(there.dtype), flat.to("cpu")) for a, b, flat in pieces)
        if not same:
            message = f"tensor {name}: the model does not hold the values of the pack's base, {opened.base.label}"
            faults.append(Fault("pack-base", message, subject=name, hint="load the base, and make the switch then"))
    if faults:
        raise InputError(faults[:5])


def _pieces(there: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Runs of a tensor's elements; views of it where it is contiguous."""
    flat = there.reshape(-1)
    for start in range(0, flat.numel(), _PIECE):
        stop = min(start + _PIECE, flat.numel())
        yield start, stop, flat[start:stop]


@torch.no_grad()
def _fill(there: Tensor, read: Callable[[int, int], Tensor]) -> None:
    """Fill a tensor of the model, cast to its own dtype."""
    if there.is_contiguous():
        for start, stop, run in _pieces(there):
            run.copy_(read(start, stop))
    else:
        there.copy_(read(0, there.numel()).view(there.shape))


@torch.no_grad()
def _copy(there: Tensor, values: Tensor) -> None:
    there.copy_(values)
