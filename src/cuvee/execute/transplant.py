"""Write a model with another model's tokenizer, and say what was done with every row."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.checkpoint import FolderWriter, content_hash, plan_layout
from cuvee.checkpoint.contents import RECORD_NAME
from cuvee.checkpoint.fingerprint import digest_bytes, sha256_file
from cuvee.checkpoint.protocol import Layout
from cuvee.errors import Fault, InputError
from cuvee.execute.origin import Origin, origin_of
from cuvee.execute.publish import RECIPE_NAME
from cuvee.execute.record import as_text
from cuvee.execute.work import all_finite
from cuvee.tokens.growing import Sums, find_sums, grown, pieces
from cuvee.tokens.matrices import Side
from cuvee.tokens.transplanting import Plan, names_of
from cuvee.types import ModelRef

CITED: Final = {"text": "Goddard and Fernandes Neto 2025", "arxiv": "2506.06607"}
_SHOWN: Final = 5


@dataclass(frozen=True)
class Transplant:
    """What came of a transplant.

    Attributes:
        path: the folder that was made.
        method: how rows of tokens were found that the model did not have.
        k: most anchors of such a row, where there are any.
        tokens: tokens of the new tokenizer.
        rows: rows of the output's embeddings.
        exact: rows copied, as the model has the token.
        by_role: rows of special tokens, copied from the model's own of the same role: new token → old token.
        approximated: rows found by the method.
        fallback: rows that it could not find, which are the mean of all.
        padding: rows without a token, the mean as well.
        anchors: tokens that both have, special ones left out.
        left: mean share, [0, 1], of a donor's row that its anchors do not reach: of embeddings, and of heads with
            values of their own. Empty where no anchors were looked for.
        examples: a few new tokens with the shared ones that count most in their rows.
        tensors: those that were made anew.
        record: what `cuvee.json` says.
        notes: what the user should know.
    """

    path: Path
    method: str
    k: int | None
    tokens: int
    rows: int
    exact: int
    by_role: Mapping[str, str]
    approximated: int
    fallback: int
    padding: int
    anchors: int
    left: Mapping[str, float]
    examples: Mapping[str, Sequence[tuple[str, float]]]
    tensors: tuple[str, ...]
    record: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()


def write_transplant(
    plan: Plan,
    refs: Sequence[ModelRef],
    out: Path,
    *,
    memory: int,
    shard_bytes: int,
    overwrite: bool,
    told: Callable[[int, int], None] | None,
) -> Transplant:
    """Make the folder.

    Args:
        plan: what is to be done.
        refs: the model and the donor as the user named them.
        out: the folder to make.
        memory: bytes that may be held at once.
        shard_bytes: most bytes of a weight file.
        overwrite: replace a model folder that is there.
        told: called with tokens looked at and their number.

    Raises:
        InputError: rows that are not finite, or files that changed meanwhile.
        OutputExists, ResourceError: as `FolderWriter`; `memory`.
    """
    model, donor = plan.model.reader, plan.donor.reader
    protected = [folder for folder in (model.folder, donor.folder) if folder is not None]
    origin = origin_of(model, refs[0])
    specs = plan.specs(origin.specs)
    layout = plan_layout(list(specs.values()), shard_bytes)
    with FolderWriter(layout, out, overwrite=overwrite, protected=protected) as writer:
        sums = find_sums(plan, memory=memory, told=told or _nobody)
        for name in specs:
            made = name in plan.model.rows.sides
            _fill(writer, name, grown(plan, name, sums, memory) if made else pieces(model, name), checked=made)
        files = _add_files(writer, plan, origin)
        for reader in (model, donor):
            reader.check_unchanged()
        counts = _counts(plan, sums)
        entry = _entry(plan, refs, origin, counts, [name for name in specs if name in plan.model.rows.sides])
        record = _record(plan, origin, entry, writer, layout, files)
        writer.add_text(RECORD_NAME, as_text(record))
        writer.publish()
    return _result(plan, out, sums, counts, record, origin)


def _nobody(done: int, total: int) -> None:
    """Told of progress where nobody asked."""


def _fill(writer: FolderWriter, name: str, parts: Iterator[Tensor], *, checked: bool) -> None:
    start = 0
    for part in parts:
        if checked and not all_finite(part):
            message = f"a new row of {name} is too large for {str(part.dtype).removeprefix('torch.')}"
            raise InputError(Fault("non-finite", message, subject=name, hint="take another --method"))
        writer.write(name, start, part)
        start += part.numel()


def _add_files(writer: FolderWriter, plan: Plan, origin: Origin) -> dict[str, str]:
    """Configurations, recipe and side files; gives their fingerprints."""
    texts = {RECIPE_NAME: origin.recipe_text, **plan.texts}
    if plan.model.reader.config_text is not None:
        texts["config.json"] = plan.config.text
    for name, text in texts.items():
        writer.add_text(name, text)
    files = {name: digest_bytes(text.encode("utf-8")) for name, text in texts.items()}
    return files | {file.name: writer.add_file(file) for file in plan.files}


def _counts(plan: Plan, sums: Mapping[Side, Sums]) -> dict[str, int]:
    """How many rows were made in which way; of embedding and head the one with more that could not be found counts."""
    lost = 0 if plan.method in ("mean", "zero") else max(int(one.empty.sum()) for one in sums.values())
    return {
        "exact": len(plan.pairing.same),
        "by_role": len(plan.pairing.by_role),
        "approximated": len(plan.pairing.alone) - lost,
        "fallback": lost,
        "padding": plan.rows - plan.donor.vocabulary.size + len(plan.pairing.gaps),
    }


def _entry(
    plan: Plan, refs: Sequence[ModelRef], origin: Origin, counts: Mapping[str, int], names: Sequence[str]
) -> dict[str, Any]:
    donor = plan.donor.reader
    tokenizer = sorted(file.name for file in plan.files if file in donor.side_files)
    return {
        "of": origin.content,
        "donor": str(refs[1]),
        "donor_content": content_hash({name: (donor.specs[name], donor.digest(name)) for name in plan.donor.read}),
        "method": plan.method,
        "k": plan.k,
        "anchors": len(plan.anchors),
        "rows": dict(counts),
        "tensors": sorted(names),
        "tokenizer": tokenizer,
        "config_changes": {".".join(path): value for path, value in plan.config.changes.items()},
        "versions": {"cuvee": version("cuvee"), "torch": torch.__version__, "python": platform.python_version()},
    }


def _record(
    plan: Plan,
    origin: Origin,
    entry: Mapping[str, Any],
    writer: FolderWriter,
    layout: Layout,
    files: Mapping[str, str],
) -> dict[str, Any]:
    """The model's record with what it is now, and one more entry under `transplanted`."""
    outputs = {spec.name: (spec, writer.digest(spec.name)) for spec in plan.specs(origin.specs).values()}
    record = origin.record
    cited = [CITED] if plan.method == "omp" and CITED not in record["citations"] else []
    output: dict[str, Any] = {
        "content": content_hash(outputs),
        "tensors": {
            name: {"dtype": spec.dtype, "shape": list(spec.shape), "xxh3_128": digest}
            for name, (spec, digest) in outputs.items()
        },
        "files": dict(sorted(files.items())),
    }
    if "sha256" in record["output"]:
        output["sha256"] = {shard.name: sha256_file(writer.staging / shard.name) for shard in layout.shards}
    done = [*record.get("transplanted", ()), dict(entry)]
    return {**record, "output": output, "citations": [*record["citations"], *cited], "transplanted": done}


def _result(
    plan: Plan,
    out: Path,
    sums: Mapping[Side, Sums],
    counts: Mapping[str, int],
    record: Mapping[str, Any],
    origin: Origin,
) -> Transplant:
    new, old = names_of(plan.donor.vocabulary), names_of(plan.model.vocabulary)
    left: dict[str, float] = {kind: one.left for kind, one in sums.items() if one.left is not None}
    return Transplant(
        path=out,
        method=plan.method,
        k=plan.k if left else None,
        tokens=plan.donor.vocabulary.size - len(plan.pairing.gaps),
        rows=plan.rows,
        exact=counts["exact"],
        by_role={str(new[a]): str(old[b]) for a, b in plan.pairing.by_role.items()},
        approximated=counts["approximated"],
        fallback=counts["fallback"],
        padding=counts["padding"],
        anchors=len(plan.anchors),
        left=left,
        examples=_examples(plan, sums["embedding"], new, old),
        tensors=tuple(record["transplanted"][-1]["tensors"]),
        record=record,
        notes=(*plan.model.reader.notes, *plan.donor.reader.notes, *origin.notes, *plan.notes),
    )


def _examples(
    plan: Plan, sums: Sums, new: Sequence[str | None], old: Sequence[str | None]
) -> dict[str, list[tuple[str, float]]]:
    """A few tokens, spread over the vocabulary, with the three that count most in each."""
    known = [place for place, empty in enumerate(sums.empty.tolist()) if not empty]
    shown = {}
    for place in known[:: max(1, len(known) // _SHOWN)][:_SHOWN]:
        weights, atoms = sums.sparse.weights[place], sums.sparse.atoms[place]
        order = weights.abs().argsort(descending=True, stable=True)[:3]
        parts = [(str(old[int(atoms[i])]), round(float(weights[i]), 4)) for i in order.tolist() if weights[i] != 0]
        shown[str(new[plan.pairing.alone[place]])] = parts
    return shown
