"""Will these models merge? Looked at together, before anything is merged.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_model, as_path, callback_faults, refuse, unfit
from cuvee.api.files import opened
from cuvee.errors import Fault, OutputExists, ResourceError, UsageError, integer_faults
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.preflight import Preflight

Model = str | os.PathLike[str]


def will_merge(
    models: Sequence[Model],
    *,
    base: Model | Sequence[Model] | None = None,
    data: Model | None = None,
    recipe: Model | None = None,
    sample: str | int = "64MiB",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Preflight:
    """Say whether models will merge, why, and with which method to begin.

    Read are headers, configurations and a sample of the weights. See docs/preflight.md.

    Args:
        models: two or more, as for `inspect`; one is enough where a base is given.
        base: what they were tuned from, or several that may be it: the nearest is taken. Without it, it is looked for
            among the models.
        data: a file of rows, as for `learn`: the loss halfway between every two models is then taken, one model at a
            time in memory, in float32.
        recipe: where to write a recipe to begin with, `.yml`; nothing is written where the models will not merge.
        sample: bytes of each model that are read, as a number or such as `"64MiB"`; of every tensor at least one row.
        seed: of the choice of rows.
        progress: called with steps done and steps in all.

    Raises:
        UsageError: an argument of the wrong type or value; transformers is needed for `data` and not installed.
        InputError: a model cannot be read; the data cannot, or do not fit the models.
        OutputExists: `recipe` is there already.
        ResourceError: its folder is not there or cannot be written to.
    """
    from cuvee.checkpoint import parse_size
    from cuvee.preflight import barrier, look

    refuse([*integer_faults("seed", seed), *callback_faults(progress)])
    budget = parse_size(sample)
    refs, given, count = _models(models, base)
    target = None if recipe is None else _free(as_path(recipe, "recipe", "the recipe must be a file's name"))
    file = None if data is None else as_path(data, "data", "data must be a file of rows")
    rows = None if file is None else (file, barrier.read_data(file))
    with opened(refs, None) as readers:
        asked = look.Asked(tuple(refs), tuple(readers), count, given, budget, seed, rows, progress)
        if rows is not None:
            barrier.check_kind(readers[0])
        found = look.look(asked)
        for reader in readers:
            reader.check_unchanged()
    if target is not None and found.suggestion is not None:
        _write(found, target)
    return found


def _models(models: object, base: object) -> tuple[list[ModelRef], tuple[int, ...], int]:
    """All models, each once; the numbers of those that may be the base; how many are to be merged.

    Raises:
        UsageError: too few, one twice, or no models.
    """
    if isinstance(models, str | os.PathLike) or not isinstance(models, Sequence):
        raise UsageError(unfit("models", "a list of models", models))
    refs = [as_model(model) for model in models]
    named = [base] if isinstance(base, str | os.PathLike) else [] if base is None else base
    if not isinstance(named, Sequence):
        raise UsageError(unfit("base", "a model or a list of models", base))
    bases = list(dict.fromkeys(as_model(model) for model in named))
    twice = sorted({str(ref) for ref in refs if refs.count(ref) > 1})
    hint = "one model alone is described by `cuvee inspect MODEL`"
    if twice:
        message = f"each model should be named once; found {', '.join(twice)} more often"
        raise UsageError(Fault("bad-argument", message, subject="models", hint="leave the second one out"))
    if len([ref for ref in refs if ref not in bases] if len(bases) == 1 else refs) < (1 if bases else 2):
        message = f"there should be two models or more, or one and a base; found {len(refs)}"
        raise UsageError(Fault("bad-argument", message, subject="models", hint=hint))
    every = list(dict.fromkeys([*refs, *bases]))
    return every, tuple(every.index(ref) for ref in bases), len(refs)


def _free(path: Path) -> Path:
    """A place that a recipe can be written to.

    Raises:
        OutputExists, ResourceError: it is not.
    """
    if path.exists() or path.is_symlink():
        hint = "name another file, or move that one away"
        raise OutputExists(Fault("output-exists", f"{path} is there already", subject=str(path), hint=hint))
    folder = path.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        what = "cannot be written to" if folder.is_dir() else "is not there"
        raise ResourceError(Fault("not-writable", f"the folder {folder} {what}", subject=str(path)))
    return path


def _write(found: Preflight, path: Path) -> None:
    """The recipe, with why it is the one to begin with; a file that has come in the meantime is left alone."""
    from cuvee.checkpoint.os_errors import told
    from cuvee.planning.moving import moved
    from cuvee.recipe import to_yaml

    if found.suggestion is None:
        return
    lines = [f"{found.verdict}: {found.suggestion.why}", *(r.text for r in found.reasons if r.level != "note")]
    text = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    text += to_yaml(moved(found.suggestion.recipe, path.absolute().parent))
    with told("write", path):
        try:
            stream = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise OutputExists(Fault("output-exists", f"{path} is there already", None, str(path))) from None
        with stream:
            stream.write(text)
