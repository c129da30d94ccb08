"""What becomes of the tensors, counted."""

from __future__ import annotations

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
