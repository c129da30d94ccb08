"""Opening a base with adapters applied, or an adapter alone with the base that it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cuvee.checkpoint.adapted import Adapted
from cuvee.checkpoint.adapter import Adapter, open_adapter
from cuvee.checkpoint.adapter_fit import fit_adapter, trained_elsewhere
from cuvee.checkpoint.places import local_path, task_of_pack
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, attempt
from cuvee.types import ModelRef, scheme_of

Opener = Callable[[ModelRef, Path | None], Reader]
"""Opens a model as plain floats."""


def open_adapted(ref: ModelRef, root: Path | None, opener: Opener) -> Reader:
    """A base with the adapter of a reference applied.

    Args:
        ref: the reference; its adapter may have one itself, which is applied after it.
        root: folder that relative paths start from.
        opener: what opens the base.

    Raises:
        InputError: the faults of base and adapter together; `adapter-mismatch` for everything that does not fit.
    """
    assert ref.adapter is not None
    faults: list[Fault] = []
    last = replace(ref.adapter, adapter=None)
    base = attempt(lambda: opener(replace(ref, adapter=None), root), faults)
    adapter = attempt(lambda: open_adapter(last, root), faults)
    if base is None or adapter is None:
        for part in (base, adapter):
            if part is not None:
                part.close()
        raise InputError(faults)
    note = trained_elsewhere(adapter, replace(ref, adapter=None).path)
    label = str(replace(ref, adapter=last))
    made = _apply(base, adapter, label, () if note is None else (note,))
    return made if ref.adapter.adapter is None else open_further(made, ref, root)


def open_further(made: Reader, ref: ModelRef, root: Path | None) -> Reader:
    """The adapters of a reference after its first, applied one after the other."""
    following = ref.adapter.adapter if ref.adapter else None
    while following is not None:
        last = replace(following, adapter=None)
        try:
            adapter = open_adapter(last, root)
        except InputError:
            made.close()
            raise
        made = _apply(made, adapter, f"{made.label}+{last}", ())
        following = following.adapter
    return made


def open_alone(ref: ModelRef, root: Path | None, opener: Opener) -> Reader:
    """A PEFT folder that stands where a model may: on the base that it names itself.

    Raises:
        InputError: as `open_adapted`; `adapter-input`: it names no base, or one that is not there.
    """
    adapter = open_adapter(ref, root)
    try:
        base_ref, start = _own_base(adapter, ref, root)
        base = _opened_base(ref, base_ref, start, opener)
    except InputError:
        adapter.close()
        raise
    note = f"{ref} is an adapter; applied to {base.label}, the base that its configuration names"
    return _apply(base, adapter, str(ref), (note,))


def _apply(base: Reader, adapter: Adapter, label: str, notes: tuple[str, ...]) -> Adapted:
    """Lay an adapter over a base; both are closed if it does not fit."""
    try:
        fit = fit_adapter(adapter, base)
        if fit.faults:
            raise InputError(fit.faults)
        adapter.check_finite()
    except InputError:
        base.close()
        adapter.close()
        raise
    return Adapted(base, adapter, fit, label, notes)


def _own_base(adapter: Adapter, ref: ModelRef, root: Path | None) -> tuple[ModelRef, Path | None]:
    """The base that an adapter names: from the recipe's folder, the adapter's or ours, or on the hub.

    An adapter that came from somebody else must not make this machine ask any address: a URL is opened only where the
    user names it.
    """
    named = adapter.base
    starts = [root, adapter.folder, adapter.folder.parent if adapter.folder else None, None]
    far = named is not None and ("\0" in named or scheme_of(named) is not None)
    if named is None or far or any(task_of_pack(named, start) for start in starts):
        what = "names no base" if named is None else f"names the base {named[:200]!r}, which is not opened for it"
        raise InputError(_no_base(ref, f"its configuration {what}"))
    for start in starts:
        if local_path(named, start).exists():
            return ModelRef(named), start
    return ModelRef(named, adapter.settings.revision), root


def _opened_base(ref: ModelRef, base: ModelRef, start: Path | None, opener: Opener) -> Reader:
    try:
        return opener(base, start)
    except InputError as error:
        if error.code not in ("model-missing", "offline", "adapter-input"):
            raise
        why = f"its configuration names the base `{base}`: {error.faults[0].message}"
        raise InputError(_no_base(ref, why)) from error


def _no_base(ref: ModelRef, why: str) -> Fault:
    message = f"{ref} holds an adapter, a whole model is needed, and {why}"
    return Fault("adapter-input", message, subject=str(ref), hint=f"write `base+adapter`: `PATH_OF_THE_BASE+{ref}`")
