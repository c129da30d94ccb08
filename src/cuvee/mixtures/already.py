"""Whether an output that stands there is what a mixture would be written as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cuvee.checkpoint.fingerprint import digest_bytes, digest_file
from cuvee.checkpoint.protocol import Layout, Reader
from cuvee.checkpoint.staged import is_as_planned
from cuvee.execute.already import is_of_models
from cuvee.execute.record_form import read_record
from cuvee.planning import Plan
from cuvee.recipe.write import hash_of_data


def made_before(
    data: Mapping[str, Any], plan: Plan, layout: Layout, texts: Mapping[str, str], out: Path
) -> Mapping[str, Any] | None:
    """The record of an output that was made as a mixture is asked for, models and prompts aside; `None` if it was not.

    Args:
        data: the mixture as plain data.
        plan: its plan.
        layout: how its weight files are cut.
        texts: what its recipe and configuration would be, by file name.
        out: where it would stand.
    """
    try:
        record = read_record(out)
        if record is None or "mixture" not in record or record["recipe_sha256"] != hash_of_data(data):
            return None
        files = {name: digest_bytes(text.encode("utf-8")) for name, text in texts.items()}
        files |= {file.name: digest_file(file.fetched()) for file in plan.side_files}
        whole = record["output"]["files"] == files and is_as_planned(layout, out)
    except (OSError, ValueError):
        return None
    tensors = {name: (one["dtype"], tuple(one["shape"])) for name, one in record["output"]["tensors"].items()}
    same = tensors == {step.out.name: (step.out.dtype, step.out.shape) for step in plan.steps}
    made_by = {"cuvee": version("cuvee"), "torch": torch.__version__}
    return record if whole and same and record["versions"].items() >= made_by.items() else None


def is_of_same(record: Mapping[str, Any], plan: Plan, opened: Sequence[Reader]) -> bool:
    """Whether members and routers hash to what they did: a router may come from tensors that are not taken.

    Args:
        record: of the output.
        plan: the plan.
        opened: the members, and what is made besides them.
    """
    inputs = [*record["inputs"], {"content": record["mixture"]["made"]}]
    return is_of_models({**record, "inputs": inputs}, plan, opened)
