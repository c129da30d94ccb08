"""Whether an output that stands there is what a merge would write, told without merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from cuvee.checkpoint.fingerprint import digest_bytes, digest_file
from cuvee.checkpoint.protocol import Layout, Reader
from cuvee.checkpoint.staged import is_as_planned
from cuvee.execute.batchnorm import Batches
from cuvee.execute.publish import texts_of
from cuvee.execute.record import content_read
from cuvee.execute.record_form import read_record
from cuvee.planning.model import Plan
from cuvee.recipe import recipe_hash

_SAME_DATA: Final = ("content", "batch_size")


def already_made(
    plan: Plan,
    readers: Sequence[Reader],
    layout: Layout,
    out: Path,
    *,
    seed: int,
    sha256: bool,
    recalibration: Batches | None = None,
) -> Mapping[str, Any] | None:
    """The record of an output that this very job made; `None` if it did not, or if that cannot be told.

    Recipe, seed, versions, tensors, weight files, configuration and side files must be the same. Where they are, the
    models are read: their content must be what the record says, whatever they are called.

    Raises:
        InputError: a model cannot be read, or changes meanwhile.
    """
    try:
        record = read_record(out)
        if record is None or not _is_of_job(record, plan, seed, sha256) or not _is_of_data(record, recalibration):
            return None
        whole = record["output"]["files"] == _files(plan) and is_as_planned(layout, out)
    except (OSError, ValueError):
        return None
    return record if whole and is_of_models(record, plan, readers) else None


def _is_of_job(record: Mapping[str, Any], plan: Plan, seed: int, sha256: bool) -> bool:
    tensors = {name: (t["dtype"], tuple(t["shape"])) for name, t in record["output"]["tensors"].items()}
    return (
        not record.keys() & {"tuned", "transplanted"}
        and (record["recipe_sha256"], record["seed"]) == (recipe_hash(plan.recipe), seed)
        and tensors == {step.out.name: (step.out.dtype, step.out.shape) for step in plan.steps}
        and record["versions"].items() >= {"cuvee": version("cuvee"), "torch": torch.__version__}.items()
        and ("sha256" in record["output"] or not sha256)
    )


def _is_of_data(record: Mapping[str, Any], recalibration: Batches | None) -> bool:
    """Whether statistics were estimated from the same data, or from none; what a function gives cannot be known."""
    was = record.get("recalibrated")
    if was is None or recalibration is None:
        return was is None and recalibration is None
    now = recalibration.facts
    return "content" in now and [was.get(k) for k in _SAME_DATA] == [now.get(k) for k in _SAME_DATA]


def is_of_models(record: Mapping[str, Any], plan: Plan, readers: Sequence[Reader]) -> bool:
    """Whether the inputs hash to what they did."""
    pieces = dict.fromkeys(piece for step in plan.steps for piece in (*step.pieces, *step.must_equal))
    inputs = {piece: readers[piece.model].digest(piece.tensor) for piece in pieces}
    for reader in readers:
        reader.check_unchanged()
    return [one["content"] for one in record["inputs"]] == [
        content_read(readers[i], inputs, i) for i in range(len(plan.models))
    ]


def _files(plan: Plan) -> dict[str, str]:
    """The files beside the weights, as they would be written now."""
    texts = {name: digest_bytes(text.encode("utf-8")) for name, text in texts_of(plan).items()}
    return texts | {file.name: digest_file(file.fetched()) for file in plan.side_files}
