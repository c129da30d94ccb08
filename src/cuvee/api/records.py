"""The recipe of a merged folder, with its models found again and held to what the record says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_path, as_recipe, recipe_from
from cuvee.api.nesting import leaves_of
from cuvee.errors import Fault, InputError
from cuvee.recipe import Recipe

if TYPE_CHECKING:
    from cuvee.api.cellars import Stock
    from cuvee.searching.cellar import Candidate


@dataclass(frozen=True, slots=True)
class Recorded:
    """A merge as its folder tells it.

    Attributes:
        folder: the folder.
        record: what `cuvee.json` says.
        recipe: the recipe, its paths starting where its models are.
    """

    folder: Path
    record: Mapping[str, Any]
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Seed of random masks."""
        return int(self.record["seed"])


def recorded(given: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Recorded:
    """Read the record of a merge, and find the models that it names.

    A recipe's paths start from the folder of its file, which the record does not tell. The folder from which most of
    the models are found is taken, of those that the output is likely to stand in: its parents, itself, the working one.

    Args:
        given: the folder.
        root: where the paths start from.

    Raises:
        UsageError: `root` is no path.
        InputError: `no-record`.
        RecipeError: the recipe is none that this version carries out.
    """
    folder = as_path(given, "folder", "what is explained must be the folder of a merge")
    record = record_in(folder)
    if root is not None:
        roots = [as_path(root, "root", "the record's paths must start from a folder")]
    else:
        own = folder.absolute()
        roots = list(dict.fromkeys([*own.parents[:1], own, Path.cwd(), *own.parents[1:3]]))
    recipes = [recipe_from(record["recipe"], root=one) for one in roots]
    return Recorded(folder, record, as_recipe(max(recipes, key=_found)))


def record_in(folder: Path) -> Mapping[str, Any]:
    """The record of a merge's folder.

    Raises:
        InputError: `no-record`: there is none, or what stands there is none.
    """
    from cuvee.execute.record_form import read_record

    hint = "give the folder that `cuvee merge` wrote"
    try:
        record = read_record(folder) if folder.is_dir() else None
    except (ValueError, OSError) as error:
        message = f"{folder}: cuvee.json is no record: {error}"
        raise InputError(Fault("no-record", message, subject=str(folder), hint=hint)) from error
    if record is None:
        message = f"{folder} should be the folder of a merge; it has no cuvee.json"
        raise InputError(Fault("no-record", message, subject=str(folder), hint=hint))
    return record


def _found(recipe: Recipe) -> int:
    """How many of a recipe's models are there."""
    from cuvee.checkpoint.folder import local_path

    places = [(ref.path, ref.path.partition("#")[0], root) for ref, root in leaves_of(recipe)]  # a task of a pack, too
    return sum(any(os.path.lexists(local_path(one, root)) for one in (whole, pack)) for whole, pack, root in places)


def told_where(error: InputError, made: Recorded) -> InputError:
    """The same error, with where models were looked for."""
    hint = f"looked from {made.recipe.root}; --root names the folder of the recipe that the merge was made from"
    return InputError([replace(fault, hint=hint) if fault.code == "model-missing" else fault for fault in error.faults])


def check_inputs(made: Recorded, stock: Stock) -> None:
    """Refuse models that are not what they were when they were merged: every tensor that was read is read and hashed.

    Results of recipes inside the recipe are not looked at here; `differs` finds what came of them.

    Raises:
        InputError: `model-changed`, for all that are.
    """
    if faults := list(_changed(made, stock)):
        raise InputError(faults)


def _changed(made: Recorded, stock: Stock) -> Iterator[Fault]:
    from cuvee.checkpoint import content_hash
    from cuvee.planning.model import Evaluated

    plan, readers = stock.cellar.plan(made.recipe), stock.readers(made.recipe)
    read: dict[int, set[str]] = {}
    for step in plan.steps:
        for piece in (*step.pieces, *step.must_equal, *step.collected):
            read.setdefault(piece.model, set()).add(piece.tensor)
    for number, (facts, told) in enumerate(zip(plan.models, made.record["inputs"], strict=False)):
        reader = readers[number]
        if isinstance(reader, Evaluated) or number not in read:
            continue
        content = content_hash({name: (reader.specs[name], reader.digest(name)) for name in read[number]})
        if told["model"] != str(facts.ref) or told["content"] != content:
            message = f"{facts.label} should be the model that was merged into {made.folder}; it has changed since"
            hint = f"merge again, or name where the models of then are with --root; looked from {made.recipe.root}"
            yield Fault("model-changed", message, subject=facts.label, hint=hint)


def differs(made: Recorded, again: Candidate) -> str | None:
    """The first tensor in which a merge that was made again is not the one that is recorded."""
    from cuvee.checkpoint.digest import digest_tensor

    told = made.record["output"]["tensors"]
    for name, values in again.tensors.items():
        if name not in told or digest_tensor(values) != told[name]["xxh3_128"]:
            return name
    return None
