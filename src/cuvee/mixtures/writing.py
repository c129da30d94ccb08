"""Write a mixture into a folder, with the record of how it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cuvee import methods
from cuvee.checkpoint import FolderWriter, plan_layout
from cuvee.checkpoint.contents import RECORD_NAME
from cuvee.checkpoint.fingerprint import digest_bytes
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.staging import sweep
from cuvee.execute import Progress
from cuvee.execute.publish import RECIPE_NAME
from cuvee.execute.record import as_text, record_of
from cuvee.execute.resume import describe, told_to_resume
from cuvee.execute.run import execute
from cuvee.mixtures.already import is_of_same, made_before
from cuvee.mixtures.gates import gate_vectors
from cuvee.mixtures.made import Made
from cuvee.mixtures.model import Mixture
from cuvee.mixtures.outline import Outline, outline_of
from cuvee.mixtures.planning import MixturePlan, with_routers
from cuvee.mixtures.written import to_data, to_yaml
from cuvee.planning import fit_workers
from cuvee.recipe.write import hash_of_data
from cuvee.types import Cite, ModelRef

UPCYCLING: Final = Cite("Komatsuzaki et al. 2023, Sparse upcycling", arxiv="2212.05055")
BTX: Final = Cite("Sukhbaatar et al. 2024, Branch-Train-MiX", arxiv="2403.07816")
_HEAD: Final = "# Model paths are relative to the folder of the file that this output was made from.\n"


@dataclass(frozen=True, slots=True)
class MixtureResult:
    """A mixture that was written.

    Attributes:
        path: its folder.
        outline: what it is.
        record: the content of `cuvee.json`.
        notes: what the user should know.
        resumed_bytes: what was taken over from a run that was interrupted.
        was_complete: nothing was done, because the very same mixture had been made before.
    """

    path: Path
    outline: Outline
    record: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()
    resumed_bytes: int = 0
    was_complete: bool = False


def write_mixture(
    mixture: Mixture,
    made: MixturePlan,
    readers: Mapping[ModelRef, Reader],
    out: Path,
    *,
    shard_bytes: int,
    limit: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    allow_nonfinite: bool = False,
    protected: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
) -> MixtureResult:
    """Make the folder, which appears complete or not at all.

    Args:
        mixture: what is asked.
        made: its plan.
        readers: its members.
        out: the folder.
        shard_bytes: most bytes of a weight file.
        limit: most bytes of memory besides file cache.
        threads: workers.
        overwrite: replace a model folder that is there.
        resume: go on from where a run of the same was interrupted; nothing is done where it was complete.
        allow_nonfinite: let NaN and infinity pass.
        protected: what the output must not replace.
        progress: called after every tile, from any thread.

    Raises:
        InputError: a member is not finite, or changed while it was read; prompts that cannot be run.
        OutputExists: `out` is there.
        ResourceError: no room; with `resume`, what an interrupted run left is of another mixture.
    """
    plan, method = made.plan, methods.get("linear")
    layout = plan_layout([step.out for step in plan.steps], shard_bytes)
    workers = fit_workers(plan, limit, threads)
    members = [readers[ref] for ref in mixture.members]
    told: dict[str, Any] = {"seed": mixture.seed, "allow_nonfinite": allow_nonfinite}
    job = {**describe(plan, members, layout, **told), "mixture": to_data(mixture)}
    texts = {RECIPE_NAME: _HEAD + to_yaml(mixture), "config.json": plan.config_text or ""}
    told_prompts = _of_prompts(progress, sum(step.out.nbytes for step in plan.steps))

    def opened_with_routers() -> list[Reader]:
        rows = gate_vectors(mixture, readers[mixture.base], range(made.fit.layers), made.fit.width, told_prompts)
        return [*members, Made(made.specs, with_routers(made, rows, mixture))]

    before = made_before(to_data(mixture), plan, layout, texts, out) if resume else None
    if before is not None and is_of_same(before, plan, opened_with_routers()):
        sweep(out)
        return MixtureResult(out, outline_of(mixture, made), before, tuple(before["notes"]), was_complete=True)
    kept = FolderWriter(layout, out, overwrite=overwrite, protected=protected, job=job, resume=resume)
    with told_to_resume(kept), kept as writer:  # prompts are run only where the output can be written
        opened = opened_with_routers()
        how: dict[str, Any] = {**told, "threads": workers.threads, "tile": workers.tile, "progress": progress}
        digests = execute(plan, opened, writer, method, **how, journal=writer)
        for name, text in texts.items():
            writer.add_text(name, text)
        files = {name: digest_bytes(text.encode("utf-8")) for name, text in texts.items()}
        files |= {file.name: writer.add_file(file) for file in plan.side_files}
        record = record_of(plan, opened, digests, method.spec, seed=mixture.seed, files=files)
        record = _of_mixture(record, mixture, made)
        writer.add_text(RECORD_NAME, as_text(record))
        writer.publish()
    return MixtureResult(out, outline_of(mixture, made), record, tuple(record["notes"]), digests.resumed_bytes)


def _of_prompts(progress: Callable[[Progress], None] | None, total: int) -> Callable[[int, int], None] | None:
    """Tells of prompts that are run before the first byte is written."""
    if progress is None:
        return None
    return lambda done, prompts: progress(Progress(0, total, f"prompt {done} of {prompts}"))


def _of_mixture(record: Mapping[str, Any], mixture: Mixture, made: MixturePlan) -> dict[str, Any]:
    """A merge's record told as a mixture's: what was asked is the mixture, and what comes from no model is no input."""
    data, (*inputs, of_no_model) = to_data(mixture), record["inputs"]
    return {
        **record,
        "recipe": data,
        "recipe_sha256": hash_of_data(data),
        "inputs": inputs,
        "citations": [{"text": cite.text, "arxiv": cite.arxiv} for cite in _cited(mixture)],
        "mixture": {"layout": made.fit.layout.name, "layers": made.fit.layers, "made": of_no_model["content"]},
    }


def _cited(mixture: Mixture) -> Iterator[Cite]:
    if len({expert.model for expert in mixture.experts}) == 1:
        yield UPCYCLING
    if mixture.others == "average":
        yield BTX
