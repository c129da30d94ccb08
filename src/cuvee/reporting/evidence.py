"""What there is to tell of a merge: its record, and what the judge, the search and the explanation said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Plain data about a model folder, each in the form in which a command printed or wrote it.

    Attributes:
        folder: the model.
        record: its `cuvee.json`.
        config: its `config.json`; empty where there is none.
        comparison: what `cuvee compare --json` printed.
        searches: `result.json` of searches, with their trials under `tried`.
        explanations: each entry of `explanations` in what `cuvee explain --json` printed.
    """

    folder: Path
    record: Data
    config: Data
    comparison: Data | None = None
    searches: tuple[Data, ...] = ()
    explanations: tuple[Data, ...] = ()
