"""A page on a merge: what it was made of, what it gained or lost, and why.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_output, as_path, callback_faults, refuse, switch_faults
from cuvee.errors import CuveeError, Fault, InputError, UsageError, listed

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.planning import Plan
    from cuvee.reporting.evidence import Data, Evidence
    from cuvee.reporting.looked import Looked

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class ReportResult:
    """A page that was written.

    Attributes:
        path: the file.
        nbytes: its size.
        sections: title of every section → whether there was anything to tell.
        notes: what the user should know.
    """

    path: Path
    nbytes: int
    sections: Mapping[str, bool]
    notes: tuple[str, ...] = ()


def report(
    folder: AnyPath,
    out: AnyPath = "report.html",
    *,
    files: Sequence[AnyPath] = (),
    searches: Sequence[AnyPath] = (),
    tasks: Sequence[AnyPath] = (),
    root: AnyPath | None = None,
    sample: str | int = "64MiB",
    overwrite: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    asking: Mapping[str, Any] | None = None,
) -> ReportResult:
    """Write one HTML file on a merge, which asks for nothing from outside.

    Args:
        folder: the folder of the merge, with its record.
        out: the file to write.
        files: what `cuvee compare --json` and `cuvee explain --json` printed.
        searches: folders that `cuvee search` wrote.
        tasks: task files, to compare the merge with its inputs now; instead of a comparison among `files`.
        root: the folder of the recipe, from which its paths lead. Without it the merge's own folder, the one above it
            and the working folder are tried.
        sample: bytes of each model that are read for the figures of its layers, as a number or such as `"64MiB"`; 0
            for none.
        overwrite: replace a file that is there.
        progress: called with steps done, their number, and what it is at.
        asking: further arguments of `evaluate`, for `tasks`.

    Raises:
        UsageError: an argument is wrong; Altair or vl-convert is not installed.
        InputError: there is no record, or evidence is not what it should be; models cannot be asked.
        OutputExists: the file is there already.
        ResourceError: it cannot be written.
    """
    from cuvee.api.evidence import gather
    from cuvee.checkpoint.layout import parse_size
    from cuvee.checkpoint.single_file import exists, write_single
    from cuvee.recipe.write import data_as_yaml
    from cuvee.reporting.page import page, require

    refuse([*switch_faults(overwrite=overwrite), *callback_faults(progress)])
    target = as_output(out, "the page must be a file's name")
    start = None if root is None else as_path(root, "root", "model paths must start from a folder")
    budget = parse_size(sample) if sample not in (0, "0") else 0
    if target.is_dir() or ((target.exists() or target.is_symlink()) and not overwrite):
        raise exists(target)
    require()
    evidence = gather(folder, files, searches)
    if tasks and evidence.comparison is not None:
        message = "there is a comparison among the files already: leave either it or the tasks out"
        raise UsageError(Fault("bad-argument", message, subject="tasks"))
    found = _Looking(evidence, start, budget, progress)
    looked = found.look()
    if tasks:
        evidence = replace(evidence, comparison=_compared(evidence, found.root, tasks, progress, asking or {}))
    text, sections = page(evidence, looked, data_as_yaml(evidence.record["recipe"]))
    raw = text.encode()
    write_single(target, [raw], overwrite=overwrite)
    told = {one.title: one.is_told for one in sections}
    return ReportResult(target, len(raw), told, looked.notes)


class _Looking:
    """A look at the models that a record names, where they can be found."""

    def __init__(
        self,
        evidence: Evidence,
        root: Path | None,
        budget: int,
        progress: Callable[[int, int, str], None] | None,
    ) -> None:
        self._evidence, self._budget, self._progress = evidence, budget, progress
        folder = evidence.folder.absolute()
        self._roots = [root] if root is not None else list(dict.fromkeys([folder, folder.parent, Path.cwd()]))
        self.root: Path | None = root

    def look(self) -> Looked:
        """What is found from the first folder whose models are those of the record."""
        from cuvee.reporting.looked import Looked

        if "mixture" in self._evidence.record:
            return Looked(why="of weights a mixture has none; its experts and routers are told above.")
        faults: list[Fault] = []
        for root in self._roots:
            try:
                found = self._from(root)
            except CuveeError as error:
                faults += error.faults
                continue
            self.root = root
            return found
        missing = dict.fromkeys(str(fault.subject) for fault in faults if fault.code in ("model-missing", "offline"))
        why = f"not found: {listed(missing)}" if missing else faults[0].message
        return Looked(why=f"{why}. `--root FOLDER` says where the paths of the recipe lead from.")

    def _from(self, root: Path) -> Looked:
        from cuvee import methods
        from cuvee.api.arguments import recipe_from
        from cuvee.execute.opening import opened_for
        from cuvee.methods.job import argument
        from cuvee.planning import bind
        from cuvee.reporting.applied import applied
        from cuvee.reporting.looked import Looked

        recipe = recipe_from(self._evidence.record["recipe"], root=root)
        spec = methods.get(recipe.method).spec
        with opened_for(recipe, weights=False, seed=self._evidence.record["seed"]) as readers:
            plan = bind(recipe, readers, spec)
            self._check(plan)
            plan = self._settled(plan, readers)
            done = applied(plan, {argument(param.name): param.name for param in spec.params})
            try:
                cells = self._measured(done.slots, readers)
            except CuveeError as error:
                return Looked(done, (), f"{error.faults[0].message}.")
            notes = tuple(self._changed(plan, readers))
        why = "" if self._budget else "it was asked for none."
        return Looked(done, cells, why, notes)

    def _settled(self, plan: Plan, readers: Sequence[Reader]) -> Plan:
        """The plan with the factors of its layer scaling, for which the models are read again."""
        from cuvee import methods
        from cuvee.execute.settling import settle
        from cuvee.planning import Workers
        from cuvee.planning.room import PASS_TILE

        if not self._budget:
            return plan
        method, seed = methods.get(plan.recipe.method), self._evidence.record["seed"]
        return settle(plan, readers, method, seed=seed, workers=Workers(1, PASS_TILE), allow_nonfinite=True)

    def _check(self, plan: Plan) -> None:
        """Refuse models that cannot be those of the record."""
        told = self._evidence.record["inputs"]
        for facts, one in zip(plan.models, told, strict=False):
            if (facts.tensors, facts.parameters) != (one["tensors"], one["parameters"]):
                message = f"{facts.ref} is another model than that of the record"
                raise InputError(Fault("no-record", message, subject=str(facts.ref)))

    def _measured(self, slots: Sequence[Any], readers: Sequence[Reader]) -> tuple[Any, ...]:
        from contextlib import closing

        from cuvee.checkpoint import open_checkpoint
        from cuvee.reporting.layers import measure
        from cuvee.types import ModelRef

        if not self._budget:
            return ()
        with closing(open_checkpoint(ModelRef(str(self._evidence.folder.absolute())))) as merged:
            return measure(slots, readers, merged, budget=self._budget, seen=self._seen)

    def _seen(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total, "layers")

    def _changed(self, plan: Plan, readers: Sequence[Reader]) -> list[str]:
        """Inputs that are small enough to be read whole, and are not what they were."""
        from cuvee.checkpoint import content_hash

        notes = []
        for facts, reader, one in zip(plan.models, readers, self._evidence.record["inputs"], strict=False):
            if facts.plan is None and one["tensors_read"] == facts.tensors and facts.nbytes <= self._budget:
                found = content_hash({name: (spec, reader.digest(name)) for name, spec in reader.specs.items()})
                if found != one["content"]:
                    notes.append(f"{facts.ref} is not what it was when it was merged: figures are of what is there now")
        return notes


def _compared(
    evidence: Evidence,
    root: Path | None,
    tasks: Sequence[AnyPath],
    progress: Callable[[int, int, str], None] | None,
    asking: Mapping[str, Any],
) -> Data:
    """Base, inputs and merge compared now, as `cuvee compare --json` would print it."""
    from cuvee.api.comparing import compare
    from cuvee.checkpoint.folder import local_path
    from cuvee.types.plain import as_json

    def named(base: bool) -> list[str]:
        """The models that can be asked, by where they lie."""
        found = [one["model"] for one in evidence.record["inputs"] if one["base"] is base and not one.get("inputs")]
        return [str(path) if (path := local_path(name, root)).exists() else name for name in found]

    parents = named(base=False) or named(base=True)
    models = dict.fromkeys([*named(base=True), *parents, str(evidence.folder)])
    how: dict[str, Any] = {"parents": parents, "progress": progress, "asking": asking}
    notes: list[str] = []
    try:
        found = compare(list(models), tasks, ensemble=len(parents) > 1, **how)
    except InputError as error:  # models that nobody can ask together; what the others answered is kept
        found = compare(list(models), tasks, **how)
        notes.append(f"there is no ensemble of the inputs: {error.faults[0].message}")
    told = found.as_data()
    made: Data = as_json({"command": "compare", **told, "notes": [*told["notes"], *notes]})
    return made
