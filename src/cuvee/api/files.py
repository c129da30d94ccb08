"""Plan, merge and look at models on disk.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee import methods
from cuvee.api.arguments import (
    AnyRecipe,
    as_model,
    as_path,
    as_recipe,
    callback_faults,
    refuse,
)
from cuvee.errors import Fault, InputError, attempt
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.execute.compare import Comparison
    from cuvee.execute.verify import Verification
    from cuvee.planning import Plan
    from cuvee.planning.inspect import Inspection


@contextmanager
def opened(refs: Sequence[ModelRef], root: Path | None, *, weights: bool = True) -> Iterator[list[Reader]]:
    """Open several models, headers only, and close them afterwards.

    Args:
        refs: the models.
        root: folder that relative paths start from.
        weights: `False` when only headers will be needed: nothing large is fetched from the hub.

    Raises:
        InputError: the faults of all models that cannot be opened.
    """
    from cuvee.checkpoint import open_checkpoint

    with held([partial(open_checkpoint, ref, root, hub_download=weights) for ref in refs]) as readers:
        yield readers


@contextmanager
def held(opening: Sequence[Callable[[], Reader]]) -> Iterator[list[Reader]]:
    """Open what several calls give, and close it afterwards.

    Args:
        opening: the calls.

    Raises:
        InputError: the faults of all that cannot be opened.
    """
    faults: list[Fault] = []
    readers: list[Reader] = []
    try:
        readers.extend(reader for step in opening if (reader := attempt(step, faults)) is not None)
        if faults:
            raise InputError(faults)
        yield readers
    finally:
        for reader in readers:
            reader.close()


def plan(recipe: AnyRecipe) -> Plan:
    """Decide everything that will be done, from headers only.

    Args:
        recipe: what would be merged.

    Raises:
        UsageError: `recipe` is no recipe, mapping or path.
        RecipeError: faults of the recipe.
        InputError: models that are missing, damaged or do not fit each other; all faults.
    """
    from cuvee.execute.opening import opened_for
    from cuvee.planning import bind

    asked = as_recipe(recipe)
    with opened_for(asked, weights=False) as readers:
        return bind(asked, readers, methods.get(asked.method).spec)


def verify(path: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Check a model folder: readable, complete, finite, tied, as recorded, loadable; or a pack, or one task of it.

    The record holds hashes of everything else and none of itself: damage and slips are found, and who changes a file
    and its hash alike is not.

    Args:
        path: a model folder or weight file; or a pack's folder, or `PACK#TASK`.
        progress: called with tensors looked at and their number.

    Raises:
        UsageError: `path` is empty or no path.
        InputError: there is nothing at `path`.
    """
    from cuvee.execute.verify import verify_folder

    folder = as_path(path, "path", "a model must be a folder or weight file")
    refuse(callback_faults(progress))
    if (found := _pack_at(folder)) is not None:
        from cuvee.packs.checking import verify_pack

        return verify_pack(*found, progress)
    return verify_folder(folder, progress)


def _pack_at(path: Path) -> tuple[Path, str | None] | None:
    """The pack that a path is, and the task if it names one."""
    from cuvee.checkpoint.folder import task_of_pack
    from cuvee.checkpoint.pack_form import is_pack

    return (path, None) if is_pack(path) else task_of_pack(str(path), None)


def inspect(model: str | os.PathLike[str]) -> Inspection:
    """Say what a model is, from its headers.

    Args:
        model: a model folder, a weight file, a hub id with or without `@revision`, or a URL of a folder or file.

    Raises:
        UsageError: `model` is empty or no path, or its revision is empty.
        InputError: it cannot be read.
    """
    from cuvee.checkpoint import open_stored
    from cuvee.planning.inspect import inspect_reader

    with closing(open_stored(as_model(model), None, hub_download=False)) as reader:
        return inspect_reader(reader)


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare two models layer by layer, or their deltas from a base.

    Args:
        a: one model, as for `inspect`.
        b: the other.
        base: what both were fine-tuned from.
        progress: called with tensors compared and their number.

    Raises:
        UsageError: a model is empty or no path, or its revision is empty.
        InputError: a model cannot be read.
    """
    from cuvee.execute.compare import compare

    refs = [as_model(m) for m in (a, b, *([] if base is None else [base]))]
    refuse(callback_faults(progress))
    with opened(refs, None) as readers:
        return compare(readers[0], readers[1], readers[2] if base is not None else None, progress)
