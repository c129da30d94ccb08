"""What `pack.json` says: base, tasks, tensors, how it was made, and fingerprints of all of it.

It holds no time and no machine: the same recipe on the same inputs, packed beside the same base, gives the same text.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cuvee.checkpoint import content_hash
from cuvee.checkpoint.folder import local_path
from cuvee.checkpoint.protocol import Reader
from cuvee.execute.ledger import Digests
from cuvee.execute.record import content_read
from cuvee.packs.marks import CITES, Masks
from cuvee.packs.tasks import base_number, changed_steps, models_of, source_of
from cuvee.planning.model import Piece, Plan
from cuvee.recipe import recipe_hash, to_data
from cuvee.types import MethodSpec, ModelRef, TensorSpec, scheme_of


@dataclass(frozen=True)
class Told:
    """What was found out about a task: its rescaler, the entries it keeps, its masks and the bytes of their file."""

    name: str
    rescaler: float
    kept: int
    masks: Mapping[str, tuple[TensorSpec, str]]
    nbytes: int


def data_of(
    plan: Plan,
    readers: Sequence[Reader],
    digests: Digests,
    spec: MethodSpec,
    masks: Masks,
    found: Sequence[Told],
    *,
    seed: int,
    out: Path,
) -> dict[str, Any]:
    """Put it together.

    Args:
        plan: the recipe's plan.
        readers: the input models, in its order.
        digests: fingerprints of what was read and written.
        spec: the recipe's method.
        masks: how masks were made.
        found: what was found out about every task, in the order of the recipe's models.
        seed: seed of random masks of the method.
        out: the pack's folder, a real path.
    """
    base = base_number(plan)
    steps = changed_steps(plan)
    models = models_of(steps[0])
    inputs = dict(digests.inputs)
    tensors = {
        step.out.name: _tensor(step.out, source_of(step, plan, readers) or step.out.name, readers[base], base, inputs)
        for step in plan.steps
    }
    for name, digest in digests.outputs.items():
        tensors[name]["delta"] = digest
    settings = {"kind": masks.kind, **({"lambda": masks.lambda_} if masks.kind == "tall" else {})}
    cites = dict.fromkeys((*spec.cite, CITES[masks.kind]))
    return {
        "masks": settings,
        "base": _place(plan, base, out) | {"content": content_read(readers[base], inputs, base)},
        "tasks": {
            told.name: {
                "model": str(plan.models[i].ref),
                "content": content_read(readers[i], inputs, i),
                "rescaler": told.rescaler,
                "kept": told.kept,
                "masks": content_hash(told.masks),
                "bytes": told.nbytes,
            }
            for told, i in zip(found, models, strict=True)
        },
        "entries": sum(step.out.numel for step in steps),
        "config": None if plan.config_text == readers[base].config_text else plan.config_text,
        "recipe": to_data(plan.recipe),
        "recipe_sha256": recipe_hash(plan.recipe),
        "seed": seed,
        "tensors": tensors,
        "citations": [{"text": c.text, **({"arxiv": c.arxiv} if c.arxiv else {})} for c in cites],
        "notes": list(plan.notes),
        "versions": {"cuvee": version("cuvee"), "torch": torch.__version__, "python": platform.python_version()},
    }


def _tensor(out: TensorSpec, source: str, reader: Reader, base: int, inputs: dict[Piece, str]) -> dict[str, Any]:
    """One tensor of a task's model; what was not read of the base yet is read now."""
    piece = Piece(base, source)
    if piece not in inputs:
        inputs[piece] = reader.digest(source)
    renamed = {} if source == out.name else {"source": source}
    return {"dtype": out.dtype, **renamed, "base": inputs[piece]}


def _place(plan: Plan, base: int, out: Path) -> dict[str, Any]:
    """Where the base is: a path from the pack's folder, a hub id or a URL."""
    ref: ModelRef = plan.models[base].ref
    scheme = scheme_of(ref.path)
    if scheme is None and (path := local_path(ref.path, plan.recipe.root)).exists():
        return {"local": Path(os.path.relpath(os.path.realpath(path), out)).as_posix()}
    if scheme is not None and scheme != "hf":
        return {"url": ref.path}
    name = ref.path.partition("://")[2].strip("/") if scheme == "hf" else ref.path
    return {"hub": name, **({"revision": ref.revision} if ref.revision else {})}
