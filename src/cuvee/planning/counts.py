"""What becomes of the tensors, counted."""

from __future__ import annotations

from typing import Any

from cuvee.planning.model import Plan


def counts_of(plan: Plan) -> dict[str, int]:
    """The numbers that the record and the command line tell of a plan."""
    return {
        "merged": plan.merged,
        "copied": plan.copied,
        "tied": len(plan.tied),
        "lost": plan.lost,
        "left_out": plan.left_out,
    }


def vocabulary_data(plan: Plan) -> dict[str, Any]:
    """What they tell under `vocabulary`: the output's, and where each model's rows and tokenizer come from.

    `filled` says how many rows are not the model's own, by where they come from; `tokenizer` has the xxh3-128 of every
    file of its tokenizer that was read. Nothing where the recipe says nothing of vocabularies.
    """
    found = plan.vocabulary
    if found is None:
        return {}
    models = [
        {
            "model": one.label,
            "tokens": one.tokens,
            "rows": one.rows,
            "own": one.own,
            "filled": dict(one.filled),
            "tokenizer": dict(one.files),
        }
        for one in found.models
    ]
    told = {"source": found.source, "tokens": found.tokens, "rows": found.rows, "models": models}
    return {"vocabulary": told}
