"""Everything of an output that is not weights: configuration, side files, the recipe and the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cuvee.checkpoint import FolderWriter
from cuvee.checkpoint.contents import RECORD_NAME
from cuvee.checkpoint.fingerprint import digest_bytes, sha256_file
from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.protocol import Layout, Reader
from cuvee.execute.batchnorm import Batches, recalibrate_staged
from cuvee.execute.ledger import Digests, Progress
from cuvee.execute.record import as_text, record_of
from cuvee.planning.model import Plan
from cuvee.recipe import to_yaml
from cuvee.types import MethodSpec

RECIPE_NAME: Final = "cuvee_recipe.yml"
_RECIPE_HEAD: Final = "# Model paths are relative to the folder of the recipe that this output was made from.\n"


def add_everything_else(
    plan: Plan,
    readers: Sequence[Reader],
    writer: FolderWriter,
    layout: Layout,
    digests: Digests,
    spec: MethodSpec,
    *,
    seed: int,
    sha256: bool,
    recalibration: Batches | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Mapping[str, Any]:
    """Add configuration, side files, recipe and record to an output whose tensors are complete.

    BatchNorm statistics are estimated in between, if that is asked for: the model can be loaded then, and the record,
    which is made last, tells and hashes what is there.

    Returns:
        The record.
    """
    texts = texts_of(plan)
    for name, text in texts.items():
        writer.add_text(name, text)
    files = {name: digest_bytes(text.encode("utf-8")) for name, text in texts.items()}
    files |= {file.name: writer.add_file(file) for file in plan.side_files}
    recalibrated = None
    if recalibration is not None:
        digests, recalibrated = recalibrate_staged(plan, writer, digests, recalibration, progress)
    sums = _sums(writer, layout) if sha256 else None
    record = record_of(plan, readers, digests, spec, seed=seed, files=files, sha256=sums)
    if recalibrated is not None:
        record["recalibrated"] = recalibrated
    writer.add_text(RECORD_NAME, as_text(record))
    return record


def texts_of(plan: Plan) -> dict[str, str]:
    """The recipe and the configuration of an output, by file name."""
    config = {} if plan.config_text is None else {"config.json": plan.config_text}
    return {RECIPE_NAME: f"{_RECIPE_HEAD}{to_yaml(plan.recipe)}", **config}


def _sums(writer: FolderWriter, layout: Layout) -> dict[str, str]:
    """SHA-256 of every weight file as it was written."""
    with told("read", writer.staging):
        return {shard.name: sha256_file(writer.staging / shard.name) for shard in layout.shards}
