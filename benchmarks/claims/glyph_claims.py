"""What the papers on task vectors claim, asked of the glyph track."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Final

from benchmarks.claims.verdicts import Claim, Estimate, Outcome, Untested, must_pass

TIES: Final = "Yadav et al. 2023 (TIES)"
TASK_VECTORS: Final = "Ilharco et al. 2023 (task arithmetic)"
TUNED: Final = ("TA tuned", "TIES tuned", "DARE-TIES tuned")


def over_subsets(outcome: Outcome, way: str, count: int, figure: str = "held_in") -> float:
    """A merge's figure, averaged over the subsets of `count` experts."""
    found = [row[figure] for row in outcome["merges"] if row["way"] == way and row["n"] == count]
    if not found:
        raise Untested(f"no merges of {count} by {way}")
    return fmean(found)


def base_score(outcome: Outcome) -> float:
    """The base's accuracy on all tasks, each divided by its expert's."""
    return _divided(outcome, "base")


def multitask_score(outcome: Outcome) -> float:
    return _divided(outcome, "multitask")


def _divided(outcome: Outcome, name: str) -> float:
    known = outcome["references"]
    return fmean(known[name][task] / own if own else 0.0 for task, own in known["experts"].items())


def _figure(outcome: Outcome, of: Callable[[Outcome], float]) -> Estimate:
    must_pass(outcome)
    return Estimate(of(outcome))


def _asked(of: Callable[[Outcome], float]) -> Callable[[Outcome], Estimate]:
    return partial(_figure, of=of)


def _over(better: str, worse: str, counts: Sequence[int]) -> Callable[[Outcome], Estimate]:
    """The least lead of one way over another, over numbers of experts."""
    return _asked(lambda o: min(over_subsets(o, better, n) - over_subsets(o, worse, n) for n in counts))


def _spread(outcome: Outcome) -> float:
    found = [over_subsets(outcome, way, 8) for way in (*TUNED, "averaging")]
    return max(found) - min(found)


def _others(way: str) -> Callable[[Outcome], float]:
    """What a merge of six scores on the two tasks that nobody in it was trained on, less the base."""

    def lead(outcome: Outcome) -> float:
        rows = [row for row in outcome["merges"] if row["way"] == way and row["n"] == 6]
        zero = outcome["references"]["base"]
        return fmean(
            row["others"] - fmean(score for task, score in zero.items() if task not in row["members"]) for row in rows
        )

    return lead


def _best_merge(outcome: Outcome) -> float:
    ways = {row["way"] for row in outcome["merges"]}
    return max(over_subsets(outcome, way, n) for way in ways for n in (4, 6, 8))


CLAIMS: Final = (
    Claim(
        "averaging over the base, 8 experts",
        "the average of the experts is better on their tasks than the base",
        TIES,
        0.05,
        _asked(lambda o: over_subsets(o, "averaging", 8) - base_score(o)),
    ),
    Claim(
        "merges degrade, averaging",
        "the average keeps less of its experts the more there are (2 experts less 8)",
        "Yadav et al. 2024 (merging at scale); TIES",
        0.1,
        _asked(lambda o: over_subsets(o, "averaging", 2) - over_subsets(o, "averaging", 8)),
    ),
    Claim(
        "task arithmetic over averaging",
        "task arithmetic at λ 0.4, untuned, beats averaging for 6 and for 8 experts",
        TASK_VECTORS,
        0.001,
        _over("TA 0.4", "averaging", (6, 8)),
    ),
    Claim(
        "TIES over averaging, 8 experts",
        "TIES at k 20 %, λ 1, untuned, beats averaging",
        TIES,
        0.05,
        _over("TIES k20 λ1", "averaging", (8,)),
    ),
    Claim(
        "TIES as good as task arithmetic, untuned",
        "TIES at its defaults is at least as good as task arithmetic at its own (6 and 8 experts, 0.02 allowed)",
        TIES,
        -0.02,
        _over("TIES k20 λ1", "TA 0.4", (6, 8)),
    ),
    Claim(
        "TIES over task arithmetic, tuned",
        "tuned TIES beats tuned task arithmetic (8 experts)",
        TIES,
        0.01,
        _over("TIES tuned", "TA tuned", (8,)),
    ),
    Claim(
        "DARE adds to TIES, tuned",
        "dropping at random instead of trimming is better (8 experts)",
        "Yu et al. 2023 (DARE)",
        0.01,
        _over("DARE-TIES tuned", "TIES tuned", (8,)),
    ),
    Claim(
        "methods converge, 8 experts",
        "the four methods, tuned, lie within 0.06 of each other (claimed for strong, large bases; this base is weak)",
        "Yadav et al. 2024 (merging at scale)",
        -0.06,
        _asked(lambda o: -_spread(o)),
    ),
    Claim(
        "multitask over every merge",
        "one model trained on all tasks is better on them than every merge of 4 and more",
        "Yadav et al. 2024; TIES",
        0.05,
        _asked(lambda o: multitask_score(o) - _best_merge(o)),
    ),
    Claim(
        "merging helps unseen tasks, averaging",
        "the average of six experts is better than the base on the two tasks left out",
        "Yadav et al. 2024 (merging at scale)",
        0.01,
        _asked(_others("averaging")),
    ),
    Claim(
        "merging helps unseen tasks, TIES",
        "… and so is TIES at its defaults (FusionBench finds: not reliably)",
        "TIES; FusionBench",
        0.01,
        _asked(_others("TIES k20 λ1")),
    ),
    Claim(
        "merging loses nothing",
        "eight experts are merged without loss, as is said at times: the best tuned merge is within 0.02 of them",
        "popular articles, not the papers",
        -0.02,
        _asked(lambda o: max(over_subsets(o, way, 8) for way in TUNED) - 1),
    ),
)
