"""The front matter of a merge's card, as the hub documents it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from cuvee.reporting.card_parts import Inputs, loader_of
from cuvee.reporting.evidence import Evidence
from cuvee.reporting.mixtures import method_in


def metadata(evidence: Evidence, inputs: Inputs, row: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the hub reads of a card; keys that would say nothing are left out.

    Args:
        evidence: the merge.
        inputs: its inputs.
        row: its figures in the comparison, if it is in one.
    """
    task = loader_of(evidence.config)[1]
    languages = sorted({word for one in inputs.sources if one.is_model for word in one.languages})
    licence = inputs.licence
    data = {
        "language": languages,
        "license": licence.id,
        "license_name": licence.name,
        "license_link": licence.link,
        "library_name": "transformers" if evidence.config.get("model_type") else None,
        "pipeline_tag": task,
        "base_model": list(inputs.base_models),
        "base_model_relation": "merge" if inputs.base_models else None,
        "tags": list(dict.fromkeys(["merge", "cuvee", method_of(evidence)])),
        "model-index": _index(evidence, row, task),
    }
    return {key: value for key, value in data.items() if value not in (None, [])}


def method_of(evidence: Evidence) -> str:
    """The merge method, `moe` of a mixture of experts, of a record in which it may not stand."""
    return method_in(evidence.record, "unknown")


def _index(evidence: Evidence, row: Mapping[str, Any] | None, task: str | None) -> list[dict[str, Any]]:
    """The model's scores; a score that is no number is no result."""
    results = [
        {
            "task": {"type": task or "other"},
            "dataset": {"name": name, "type": re.sub(r"[^\w.-]+", "-", name).strip("-") or "task"},
            "metrics": [
                {"type": cell["metric"], "value": cell["value"], "name": f"{cell['metric']}, {cell['n']} rows"}
            ],
        }
        for name, cell in (row or {}).get("tasks", {}).items()
        if cell["value"] is not None and math.isfinite(cell["value"])
    ]
    return [{"name": evidence.folder.resolve().name, "results": results}] if results else []
