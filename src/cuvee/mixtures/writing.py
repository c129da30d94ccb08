"""Carry a mixture out: look at everything, find the routers, write, record, publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuvee import methods
from cuvee.checkpoint import FolderWriter, plan_layout
from cuvee.checkpoint.contents import RECORD_NAME
from cuvee.checkpoint.fingerprint import digest_bytes
from cuvee.checkpoint.protocol import Layout, Reader
from cuvee.execute import Digests, Progress, execute
from cuvee.execute.place import choose
from cuvee.execute.publish import RECIPE_NAME
from cuvee.execute.record import as_text, record_of
from cuvee.execute.resume import describe, told_to_resume
from cuvee.mixtures.fitting import Fit, fit
from cuvee.mixtures.gates import gate_vectors
from cuvee.mixtures.made import Made
from cuvee.mixtures.model import Mixture
from cuvee.mixtures.planning import MixturePlan, plan_mixture, with_routers
from cuvee.mixtures.written import as_data, as_yaml
from cuvee.planning import Plan
from cuvee.recipe.write import hash_of_data
from cuvee.types import Cite

_CITES = {
    "upcycling": Cite("Komatsuzaki et al. 2023, Sparse upcycling", arxiv="2212.05055"),
    "average": Cite("Sukhbaatar et al. 2024, Branch-Train-MiX", arxiv="2403.07816"),
}


@dataclass(frozen=True, slots=True)
class MixtureResult:
    """What was written.

    Attributes:
        path: the output folder.
        mixture: what was asked.
        fit: layout and numbers.
        plan: what became of every tensor.
        nbytes: bytes of weights written.
        record: the content of `cuvee.json`.
        resumed_bytes: what was taken over from a run that was interrupted.
    """

    path: Path
    mixture: Mixture
    fit: Fit
    plan: Plan
    nbytes: int
    record: Mapping[str, Any]
    resumed_bytes: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        return self.plan.notes


def planned(mixture: Mixture, readers: Sequence[Reader]) -> MixturePlan:
    """Everything that would be done, from headers.

    Args:
        mixture: what is asked.
        readers: the models of `mixture.members`, in that order, opened.

    Raises:
        InputError: everything that stands against it.
    """
    known = dict(zip(mixture.members, readers, strict=True))
    return plan_mixture(mixture, known, fit(mixture, known))


def write_mixture(
    mixture: Mixture,
    readers: Sequence[Reader],
    out: Path,
    *,
    shard_bytes: int,
    protected: Sequence[Path] = (),
    overwrite: bool = False,
    resume: bool = False,
    threads: int | None = None,
    limit: int | None = None,
    allow_nonfinite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> MixtureResult:
    """Write a mixture.

    Args:
        mixture: what is asked.
        readers: its members, in order, opened.
        out: the folder to make.
        shard_bytes: largest weight file.
        protected: what the output must not replace.
        overwrite: replace a model folder that is there.
        resume: go on from an interrupted run.
        threads: workers.
        limit: most memory, in bytes.
        allow_nonfinite: let NaN and infinity pass.
        progress: called as the work goes on.

    Raises:
        InputError, OutputExists, ResourceError: as for `cuvee.api.moe`.
    """
    made = planned(mixture, readers)
    rows = gate_vectors(mixture, readers[0], range(made.fit.layers), made.fit.width)
    everyone = [*readers, Made(made.specs, with_routers(made, rows, mixture))]
    layout = plan_layout([step.out for step in made.plan.steps], shard_bytes)
    workers = choose("cpu", made.plan, limit=limit, threads=threads).workers
    told: dict[str, Any] = {"seed": mixture.seed, "allow_nonfinite": allow_nonfinite}
    job = {**describe(made.plan, everyone, layout, **told), "mixture": as_data(mixture)}
    kept = FolderWriter(layout, out, overwrite=overwrite, protected=protected, job=job, resume=resume)
    with told_to_resume(kept), kept as writer:
        how: dict[str, Any] = {**told, "threads": workers.threads, "tile": workers.tile, "progress": progress}
        digests = execute(made.plan, everyone, writer, methods.get("linear"), **how, kernels="plain", journal=writer)
        record = _finish(mixture, made, everyone, writer, layout, digests)
        writer.publish()
    return MixtureResult(out, mixture, made.fit, made.plan, layout.nbytes, record, digests.resumed_bytes)


def _finish(
    mixture: Mixture,
    made: MixturePlan,
    readers: Sequence[Reader],
    writer: FolderWriter,
    layout: Layout,
    digests: Digests,
) -> dict[str, Any]:
    """Add configuration, side files, the mixture's description and the record."""
    del layout
    plan = made.plan
    assert plan.config_text is not None
    texts = {RECIPE_NAME: as_yaml(mixture), "config.json": plan.config_text}
    for name, text in texts.items():
        writer.add_text(name, text)
    files = {name: digest_bytes(text.encode("utf-8")) for name, text in texts.items()}
    files |= {file.name: writer.add_file(file) for file in plan.side_files}
    record = record_of(plan, readers, digests, methods.get("linear").spec, seed=mixture.seed, files=files)
    data = as_data(mixture)
    of_others = record["inputs"].pop()  # what comes from no model is no input
    facts = {"layout": made.fit.layout.name, "layers": made.fit.layers, "made": of_others["content"]}
    record |= {"recipe": data, "recipe_sha256": hash_of_data(data), "mixture": facts, "citations": _citations(mixture)}
    writer.add_text(RECORD_NAME, as_text(record))
    return record


def _citations(mixture: Mixture) -> list[dict[str, str]]:
    is_upcycled = len({expert.model for expert in mixture.experts}) == 1
    used = [*(["upcycling"] if is_upcycled else []), *(["average"] if mixture.others == "average" else [])]
    return [{"text": _CITES[name].text, "arxiv": str(_CITES[name].arxiv)} for name in used]
