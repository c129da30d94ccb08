"""The output's own record, `cuvee.json`: how it was made, from what, and what every tensor's bytes hash to.

It holds no time and no machine: the same recipe on the same inputs gives the same record.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import torch

from cuvee.checkpoint import content_hash
from cuvee.checkpoint.protocol import Reader
from cuvee.execute.adapters import adapters_of, base_of
from cuvee.execute.adapters import hub_place as hub_place
from cuvee.execute.adapters import hub_sums as hub_sums
from cuvee.execute.ledger import Digests
from cuvee.execute.virtual import VirtualReader, unplaced
from cuvee.methods import METHODS
from cuvee.planning.counts import counts_of, vocabulary_data
from cuvee.planning.model import Piece, Plan
from cuvee.planning.scaling import cited
from cuvee.recipe import recipe_hash, to_data
from cuvee.types import Cite, MethodSpec

RECORD_FORMAT: Final = 1


def record_of(
    plan: Plan,
    readers: Sequence[Reader],
    digests: Digests,
    spec: MethodSpec,
    *,
    seed: int,
    files: Mapping[str, str],
    sha256: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Put the record together.

    Args:
        plan: what was done.
        readers: the input models.
        digests: hashes of the tensors read and written.
        spec: the method, for its citations.
        seed: seed of random masks.
        files: xxh3-128 of every other file of the output, by name.
        sha256: SHA-256 of the weight files by name, if asked for.
    """
    outputs = {step.out.name: (step.out, digests.outputs[step.out.name]) for step in plan.steps}
    return {
        "format": RECORD_FORMAT,
        "recipe": to_data(plan.recipe),
        "recipe_sha256": recipe_hash(plan.recipe),
        "seed": seed,
        "arithmetic": sorted({step.work for step in plan.steps if step.action == "merge"}),
        "inputs": [_input(plan, readers, digests.inputs, i) for i in range(len(plan.models))],
        "counts": counts_of(plan),
        "copied": {step.out.name: step.reason for step in plan.steps if step.action == "copy"},
        "tied": {tied.name: tied.same_as for tied in plan.tied},
        "config_changes": dict(plan.config_changes),
        **vocabulary_data(plan),
        "output": {
            "content": content_hash(outputs),
            "tensors": {
                name: {"dtype": spec.dtype, "shape": list(spec.shape), "xxh3_128": digest}
                for name, (spec, digest) in outputs.items()
            },
            "files": dict(sorted(files.items())),
            **({"sha256": dict(sorted(sha256.items()))} if sha256 else {}),
        },
        "citations": [
            {"text": c.text, **({"arxiv": c.arxiv} if c.arxiv else {}), **({"url": c.url} if c.url else {})}
            for c in dict.fromkeys([*spec.cite, *cited(plan.recipe), *_cited_inside(plan)])
        ],
        "notes": [*plan.notes, *_of_other_weights(plan, readers, digests.inputs)],
        "versions": {
            "cuvee": version("cuvee"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _input(plan: Plan, readers: Sequence[Reader], inputs: Mapping[Piece, str], i: int) -> dict[str, Any]:
    """One input: what it is called, what was read of it, and what that hashes to; of a result its own inputs too."""
    facts = plan.models[i]
    adapters = adapters_of(readers[i])
    folder = base_of(readers[i]).folder
    sums = hub_sums(folder)
    return {
        "model": str(facts.ref),
        "base": facts.is_base,
        "content": content_read(readers[i], inputs, i),
        "tensors_read": sum(piece.model == i for piece in inputs),
        "tensors": facts.tensors,
        "parameters": facts.parameters,
        **({"sha256": sums} if sums else {}),
        **({"hub": hub} if (hub := hub_place(folder)) else {}),
        **({"adapters": adapters} if adapters else {}),
        **_inner(readers[i], [piece.tensor for piece in inputs if piece.model == i]),
    }


def _cited_inside(plan: Plan) -> Iterator[Cite]:
    """The sources of the methods of results among the models."""
    for facts in plan.models:
        if facts.plan is not None:
            yield from METHODS.get(facts.plan.recipe.method).spec.cite
            yield from cited(facts.plan.recipe)
            yield from _cited_inside(facts.plan)


def _inner(reader: Reader, read: Sequence[str]) -> dict[str, Any]:
    """The inputs of a result that was evaluated, as far as what was read of it is made of them."""
    reader, read = unplaced(reader, read)
    if not isinstance(reader, VirtualReader):
        return {}
    found = reader.digests_of(read)
    return {"inputs": [_input(reader.plan, reader.readers, found, j) for j in range(len(reader.plan.models))]}


def content_read(reader: Reader, inputs: Mapping[Piece, str], i: int) -> str:
    """One fingerprint of all that was read of input `i`."""
    return content_hash({p.tensor: (reader.specs[p.tensor], digest) for p, digest in inputs.items() if p.model == i})


def _of_other_weights(plan: Plan, readers: Sequence[Reader], inputs: Mapping[Piece, str]) -> Iterator[str]:
    """That statistics are of other weights than those of the model that they stand under, where all of it was read."""
    pairs = {(own.model, of.model) for step in plan.steps for own, of in zip(step.inputs, step.collected, strict=False)}
    read = Counter(piece.model for piece in inputs)
    for model, number in sorted(pairs):
        collected_of = getattr(readers[number], "collected_of", "")
        if not collected_of or read[model] < plan.models[model].tensors:
            continue
        if collected_of != content_read(readers[model], inputs, model):
            yield f"{readers[number].label} was collected of other weights than those of {plan.models[model].label}"


def as_text(record: Mapping[str, Any]) -> str:
    """The record as it stands in the file."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
