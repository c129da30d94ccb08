"""The front door: what the command line does, as Python calls.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.errors import CuveeError, Fault, InputError, RecipeError
from cuvee.recipe import Recipe, from_data, parse_file
from cuvee.recipe.model import ModelEntry, Parameters
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.checkpoint.protocol import Reader
    from cuvee.execute import Progress, Runner
    from cuvee.execute.compare import Comparison
    from cuvee.execute.verify import Verification
    from cuvee.planning import Plan
    from cuvee.planning.inspect import Inspection

AnyRecipe = Recipe | Mapping[str, Any] | str | Path
"""A recipe, a mapping with the recipe's keys, or the path of a recipe file."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge wrote.

    Attributes:
        path: the output folder.
        merged, copied, tied: number of tensors by what became of them; none is ever lost.
        nbytes: bytes of weights written.
        record: the content of `cuvee.json`.
        notes: what the user should know.
    """

    path: Path
    merged: int
    copied: int
    tied: int
    nbytes: int
    record: Mapping[str, Any]
    notes: tuple[str, ...]


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file; model paths in it are relative to its folder.

    Raises:
        RecipeError: all faults of the file, with line and column.
    """
    return parse_file(Path(path), methods.specs())


def recipe_from(data: Mapping[str, Any], *, root: str | Path | None = None) -> Recipe:
    """Make a recipe from a mapping with the recipe's keys; model paths are relative to `root`.

    Raises:
        RecipeError: all faults, each naming the key it is about.
    """
    return from_data(dict(data), methods.specs(), root=None if root is None else Path(root))


def _as_recipe(recipe: AnyRecipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    return recipe_from(recipe) if isinstance(recipe, Mapping) else load_recipe(recipe)


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

    readers: list[Reader] = []
    faults: list[Fault] = []
    try:
        for ref in refs:
            try:
                readers.append(open_checkpoint(ref, root, hub_download=weights))
            except CuveeError as error:
                faults += error.faults
        if faults:
            raise InputError(faults)
        yield readers
    finally:
        for reader in readers:
            reader.close()


def plan(recipe: AnyRecipe) -> Plan:
    """Decide everything that will be done, from headers only.

    Raises:
        RecipeError: faults of the recipe.
        InputError: models that are missing, damaged or do not fit each other; all faults.
    """
    from cuvee.planning import bind, referenced

    asked = _as_recipe(recipe)
    with opened(referenced(asked), asked.root, weights=False) as readers:
        return bind(asked, readers, methods.get(asked.method).spec)


def merge(
    recipe: AnyRecipe,
    out: str | Path,
    *,
    overwrite: bool = False,
    seed: int = 0,
    threads: int | None = None,
    tile: int | None = None,
    shard_size: str | int = "5GB",
    allow_nonfinite: bool = False,
    sha256: bool = False,
    runner: Runner = "threaded",
    progress: Callable[[Progress], None] | None = None,
) -> MergeResult:
    """Merge models into a new folder, which appears complete or not at all.

    Args:
        recipe: what to merge.
        out: the folder to make.
        overwrite: replace a model folder that is there already.
        seed: seed of random masks (DARE).
        threads: workers; one per core by default.
        tile: elements per tile; changes memory and speed, never a byte.
        shard_size: largest weight file, in bytes or as `"5GB"`, `"500MB"`, `"2GiB"`.
        allow_nonfinite: merge inputs that hold NaN or infinity.
        sha256: also take the SHA-256 of the weight files written.
        runner: `plain` merges tensor by tensor, whole: slower, and the definition of correct.
        progress: called after every tensor, from any thread.

    Raises:
        RecipeError: faults of the recipe.
        InputError: faults of the models.
        OutputExists: `out` is there and `overwrite` is not given.
        ResourceError: not enough disk, or no right to write.
    """
    from cuvee.checkpoint import FolderWriter, parse_size, plan_layout
    from cuvee.execute import execute
    from cuvee.execute.publish import add_everything_else
    from cuvee.planning import bind, referenced

    asked = _as_recipe(recipe)
    method = methods.get(asked.method)
    with opened(referenced(asked), asked.root) as readers:
        bound = bind(asked, readers, method.spec)
        layout = plan_layout([step.out for step in bound.steps], parse_size(shard_size))
        inputs = [r.folder for r in readers if r.folder is not None]
        with FolderWriter(layout, Path(out), overwrite=overwrite, protected=inputs) as writer:
            digests = execute(
                bound,
                readers,
                writer,
                method,
                seed=seed,
                threads=threads,
                tile=tile,
                allow_nonfinite=allow_nonfinite,
                runner=runner,
                progress=progress,
            )
            record = add_everything_else(bound, readers, writer, layout, digests, method.spec, seed=seed, sha256=sha256)
            writer.publish()
    counts = (bound.merged, bound.copied, len(bound.tied))
    return MergeResult(Path(out), *counts, layout.nbytes, record, bound.notes)


def merge_state_dicts(
    models: Mapping[str, Mapping[str, Tensor]] | Sequence[Mapping[str, Tensor]],
    method: str = "linear",
    *,
    base: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    threads: int = 1,
    dtype: str | None = None,
    allow_nonfinite: bool = False,
    **parameters: Any,
) -> dict[str, Tensor]:
    """Merge state dicts in memory; every tensor of their union is merged, copied or refused by name.

    Args:
        models: state dicts by name, or in order (then named `0`, `1`, …); random masks depend on the names.
        method: name of the merge method.
        base: state dict of the base model, for methods that need one.
        seed: seed of random masks.
        threads: workers.
        dtype: dtype of the result's float tensors; the inputs' own by default.
        allow_nonfinite: merge inputs that hold NaN or infinity.
        parameters: the method's parameters; per-model ones as one value, one per model, or a mapping by name. `lambda`
            is a Python keyword: pass `lambda_=1.0`.

    Returns:
        A new state dict; no tensor shares memory with an input.

    Raises:
        RecipeError: parameters that the method does not have or that are out of range.
        InputError: state dicts that do not fit each other.

    Example:
        >>> import torch, cuvee
        >>> a, b = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
        >>> cuvee.merge_state_dicts([a, b], weight=[0.25, 0.75])
        {'w': tensor([0.7500, 0.7500])}
    """
    from cuvee.checkpoint import MemoryReader, MemoryWriter, plan_layout
    from cuvee.execute import execute
    from cuvee.planning import bind, referenced

    named = dict(models) if isinstance(models, Mapping) else {str(i): m for i, m in enumerate(models)}
    recipe = _recipe_in_memory(list(named), method, base is not None, dtype, parameters)
    chosen = methods.get(method)
    state_dicts = {**named, **({} if base is None else {_BASE: base})}
    readers = [MemoryReader(ref.path, dict(state_dicts[ref.path])) for ref in referenced(recipe)]
    bound = bind(recipe, readers, chosen.spec)
    writer = MemoryWriter(plan_layout([step.out for step in bound.steps], 1 << 62))
    execute(bound, readers, writer, chosen, seed=seed, threads=threads, allow_nonfinite=allow_nonfinite)
    writer.publish()
    return {step.out.name: writer.tensors[step.out.name] for step in bound.steps}


_BASE = "base"


def _recipe_in_memory(
    names: Sequence[str], method: str, has_base: bool, dtype: str | None, parameters: Mapping[str, Any]
) -> Recipe:
    """The recipe that a call in memory stands for, checked like any other."""
    from cuvee.recipe.parse import check as check_recipe

    if has_base and _BASE in names:
        raise RecipeError(
            Fault("duplicate-model", f"the name `{_BASE}` is taken by the base; name that model otherwise")
        )
    spec = methods.get(method).spec
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in parameters.items():
        key = "lambda" if key == "lambda_" else key
        param = spec.param(key)
        if param is None or not param.per_model:
            shared[key] = value
            continue
        for name, one in _spread(key, value, names).items():
            own[name][key] = one
    recipe = Recipe(
        method=method,
        models=tuple(ModelEntry(ModelRef(n), own[n], ("models", i)) for i, n in enumerate(names)),
        base_model=ModelRef(_BASE) if has_base else None,
        parameters=shared,
        dtype=dtype,
    )
    if faults := check_recipe(recipe, methods.specs()):
        raise RecipeError(faults)
    return recipe


def _spread(key: str, value: Any, names: Sequence[str]) -> Parameters:
    """A per-model parameter as one value for each model it is given for."""
    if isinstance(value, Mapping):
        if strangers := [n for n in value if n not in names]:
            raise RecipeError(Fault("bad-argument", f"`{key}` is given for {strangers}, which are no models"))
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(names):
            raise RecipeError(Fault("bad-argument", f"`{key}` must have {len(names)} values; found {len(value)}"))
        return dict(zip(names, value, strict=True))
    return dict.fromkeys(names, value)


def verify(path: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Check a model folder: readable, complete, finite, tied, as recorded, loadable.

    Raises:
        InputError: there is nothing at `path`.
    """
    from cuvee.execute.verify import verify_folder

    return verify_folder(Path(path), progress)


def inspect(model: str | Path) -> Inspection:
    """Say what a model is, from its headers.

    Raises:
        InputError: it cannot be read.
    """
    from cuvee.planning.inspect import inspect_reader

    with opened([_ref(model)], None, weights=False) as readers:
        return inspect_reader(readers[0])


def diff(
    a: str | Path,
    b: str | Path,
    *,
    base: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare two models layer by layer, or their deltas from a base.

    Raises:
        InputError: a model cannot be read.
    """
    from cuvee.execute.compare import compare

    refs = [_ref(m) for m in (a, b, *([] if base is None else [base]))]
    with opened(refs, None) as readers:
        return compare(readers[0], readers[1], readers[2] if base is not None else None, progress)


def _ref(model: str | Path) -> ModelRef:
    """A model named on its own: a path as it is, or a hub id with `@revision`."""
    text = str(model)
    if Path(text).expanduser().exists() or "@" not in text:
        return ModelRef(text)
    path, revision = text.rsplit("@", 1)
    return ModelRef(path, revision)
