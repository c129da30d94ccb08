"""What a model is, from its headers: architecture, layers, dtypes, parameters by role."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cuvee.checkpoint import said_quantised
from cuvee.checkpoint.protocol import Reader
from cuvee.families import role_of, study
from cuvee.families.names import spot_of


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `cuvee inspect` says of one model.

    Attributes:
        label: its name.
        architecture: class named by the configuration, or `None`.
        model_type: the configuration's own word for the family, or `None`.
        tensors, parameters, nbytes: totals; `parameters` counts entries.
        dtypes: parameters by dtype.
        layers: number of layers by stack prefix.
        roles: parameters by role (layer, embedding, head, norm, other).
        tied: whether head and input embedding are one.
        vocabulary: rows of the input embedding, or `None`.
        side_files: names of the files that a merge would carry over.
        notes: how it was read.
        quantised: the quantised format it is stored in and how that shows, or `None`.
    """

    label: str
    architecture: str | None
    model_type: str | None
    tensors: int
    parameters: int
    nbytes: int
    dtypes: Mapping[str, int]
    layers: Mapping[str, int]
    roles: Mapping[str, int]
    tied: bool
    vocabulary: int | None
    side_files: tuple[str, ...]
    notes: tuple[str, ...]
    quantised: str | None = None


def inspect_reader(reader: Reader) -> Inspection:
    """Read everything off specs and configuration; no tensor is touched."""
    config = reader.config or {}
    anatomy = study(reader.specs, reader.config)
    dtypes: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    for spec in reader.specs.values():
        dtypes[spec.dtype] += spec.numel
        spot = spot_of(spec.name)
        inside = spot is not None and anatomy.stack(spot.prefix) is not None
        roles["layer" if inside else "other" if spot else role_of(spec.name)] += spec.numel
    embeddings = [s for s in reader.specs.values() if role_of(s.name) == "embedding" and len(s.shape) == 2]
    rows = [s.shape[0] for s in embeddings if s.shape[0] == config.get("vocab_size", -1)] or [
        s.shape[0] for s in embeddings
    ]
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    return Inspection(
        label=reader.label,
        architecture=first if isinstance(first, str) else None,
        model_type=config.get("model_type"),
        tensors=len(reader.specs),
        parameters=sum(dtypes.values()),
        nbytes=sum(s.nbytes for s in reader.specs.values()),
        dtypes=dict(dtypes.most_common()),
        layers={s.prefix: s.count for s in anatomy.stacks},
        roles=dict(roles.most_common()),
        tied=bool(anatomy.said_tied),
        vocabulary=max(rows, default=None),
        side_files=tuple(f.name for f in reader.side_files),
        notes=reader.notes,
        quantised=said_quantised(reader),
    )
