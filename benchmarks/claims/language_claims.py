"""What "What matters for model merging at scale?", TIES and Choshen et al. claim, asked of the language track."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any, Final

from benchmarks.claims.glyph_claims import TUNED, over_subsets
from benchmarks.claims.language_merges import LEAST_EXPERT
from benchmarks.claims.strings import HELD_IN
from benchmarks.claims.verdicts import Claim, Estimate, Outcome, Untested, failed

SCALE: Final = "Yadav et al. 2024 (merging at scale)"
TIES: Final = "Yadav et al. 2023 (TIES)"
COUNTS: Final = (2, 4, 6, 8)
LEAST_SKILLS: Final = 5
WORDS: Final = 8
"""Held-in skills; the figures of one are off by at most 0.5 / √rows, and of a mean over K skills by 1 / √K of that."""


def of(outcome: Outcome, name: str) -> Mapping[str, Any]:
    """A pool that passed its gates; one expert that falls short, and the pool as a whole cannot tell."""
    if name not in outcome["pools"]:
        raise Untested(f"{name} was not measured")
    found: Mapping[str, Any] = outcome["pools"][name]
    if failed(found["gates"]):
        raise Untested(f"{name}: a gate failed")
    return found


def row_error(outcome: Outcome, skills: int) -> float:
    """Standard error of a mean over skills, at its largest: the rows' own, for one merge."""
    return 0.5 / math.sqrt(outcome["test_rows"] * skills)


def curve(found: Mapping[str, Any], way: str, figure: str = "held_in") -> dict[int, float]:
    return {n: over_subsets(found, way, n, figure) for n in COUNTS}


def multitask(found: Mapping[str, Any]) -> float:
    """Multitask on its skills, each divided by the expert's."""
    known = found["references"]
    scores = known["multitask"]["scores"]
    return fmean(scores[word]["exact"] / own if own else 0.0 for word, own in known["experts"]["own"].items())


def _sizes(outcome: Outcome, ours: str, theirs: str) -> Estimate:
    """Averaging in one pool less the same merges in another: the mean over numbers of experts, paired by members.

    Small models do not learn every skill in the time given: what is scored are the skills whose expert passed in both.
    """
    pools = [outcome["pools"].get(name) for name in (ours, theirs)]
    if None in pools:
        raise Untested(f"{ours} and {theirs} were not both measured")
    both = set.intersection(*(_learnt(found) for found in pools))
    if len(both) < LEAST_SKILLS:
        raise Untested(f"only {len(both)} experts passed in both {ours} and {theirs}")
    gaps = {n: _gaps(pools[0], pools[1], n, both) for n in COUNTS}
    error = math.sqrt(sum(_error_of_mean(found) ** 2 for found in gaps.values())) / len(gaps)
    return Estimate(fmean(fmean(found) for found in gaps.values()), max(error, row_error(outcome, WORDS)))


def _learnt(found: Mapping[str, Any]) -> set[str]:
    if not found["merges"]:
        raise Untested(failed(found["gates"]))
    return {word for word, own in found["references"]["experts"]["own"].items() if own >= LEAST_EXPERT}


def _gaps(mine: Mapping[str, Any], other: Mapping[str, Any], count: int, words: Collection[str]) -> list[float]:
    """By subset, how much more of its experts an average keeps in one pool than in another, on the skills named."""

    def averages(found: Mapping[str, Any]) -> list[float | None]:
        own = found["references"]["experts"]["own"]
        rows = [row for row in found["merges"] if row["way"] == "averaging" and row["n"] == count]
        kept = ([row["scores"][w] / own[w] for w in row["members"] if w in words] for row in rows)
        return [fmean(one) if one else None for one in kept]

    pairs = zip(averages(mine), averages(other), strict=True)
    return [a - b for a, b in pairs if a is not None and b is not None]


def _error_of_mean(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _least_gap(outcome: Outcome, ours: str, theirs: str) -> Estimate:
    """The least lead over numbers of experts."""
    mine, other = of(outcome, ours), of(outcome, theirs)
    gaps = [fmean(_gaps(mine, other, n, HELD_IN)) for n in COUNTS]
    return Estimate(min(gaps), row_error(outcome, 2))


def _falls(outcome: Outcome, pool: str) -> Estimate:
    found = of(outcome, pool)
    pairs = [row["held_in"] for row in found["merges"] if row["way"] == "averaging" and row["n"] == 2]
    error = math.hypot(_error_of_mean(pairs), row_error(outcome, WORDS))
    return Estimate(fmean(pairs) - over_subsets(found, "averaging", 8), error)


def _keeps_more(outcome: Outcome) -> Estimate:
    """What eight keep of what two keep: taught base less plain base."""
    taught, plain = (curve(of(outcome, name), "averaging") for name in ("M it", "M pt"))
    return Estimate(taught[8] / taught[2] - plain[8] / plain[2], row_error(outcome, 4))


def _held_out(outcome: Outcome, pool: str, than: Callable[[Mapping[str, Any]], float]) -> Estimate:
    found = of(outcome, pool)
    return Estimate(over_subsets(found, "averaging", 8, "held_out") - than(found), row_error(outcome, 2))


def _spread(outcome: Outcome, pool: str) -> Estimate:
    found = of(outcome, pool)
    scores = [over_subsets(found, way, 8) for way in ("averaging", *TUNED)]
    return Estimate(min(scores) - max(scores), row_error(outcome, 4))


def _lead(outcome: Outcome, pool: str, better: Sequence[str], worse: str, counts: Sequence[int]) -> Estimate:
    """The least lead of any of some ways over another one."""
    found = of(outcome, pool)
    gaps = [over_subsets(found, way, n) - over_subsets(found, worse, n) for way in better for n in counts]
    return Estimate(min(gaps), row_error(outcome, 4))


def _multitask_lead(outcome: Outcome) -> Estimate:
    """Multitask less the best merge of four and more, in the pool where that is least."""
    gaps = []
    for found in outcome["pools"].values():
        if failed(found["gates"]):
            continue
        ways = {(row["way"], row["n"]) for row in found["merges"] if row["n"] >= 4}
        gaps.append(multitask(found) - max(over_subsets(found, way, n) for way, n in ways))
    if not gaps:
        raise Untested("no pool passed its gates")
    return Estimate(min(gaps), row_error(outcome, 4))


def _started(outcome: Outcome, ours: str, than: str, steps: str = "25") -> Estimate:
    found = of(outcome, "M pt")["fusing"]
    return Estimate(found[ours][steps] - found[than][steps], row_error(outcome, 4))


def _base_out(found: Mapping[str, Any]) -> float:
    return found["references"]["base"]["held_out"]


def _experts_out(found: Mapping[str, Any]) -> float:
    return found["references"]["experts"]["held_out"]


def _multitask_out(found: Mapping[str, Any]) -> float:
    return found["references"]["multitask"]["held_out"]


def _claim(name: str, says: str, source: str, margin: float, figure: Any, **given: Any) -> Claim:
    return Claim(name, says, source, margin, partial(figure, **given))


CLAIMS: Final = (
    _claim(
        "instruction-tuned bases merge better",
        "C1: averages keep more of their experts on the taught base, at every number of experts (the least lead)",
        SCALE,
        0.1,
        _least_gap,
        ours="M it",
        theirs="M pt",
    ),
    _claim(
        "larger models merge better",
        "C2: averages keep more of their experts in size M than in S (mean over numbers of experts, plain base)",
        SCALE,
        0.05,
        _sizes,
        ours="M pt",
        theirs="S pt",
    ),
    _claim(
        "merges degrade, plain base",
        "an average keeps less the more experts there are (2 less 8)",
        SCALE,
        0.2,
        _falls,
        pool="M pt",
    ),
    _claim("merges degrade, taught base", "… on the taught base too", SCALE, 0.2, _falls, pool="M it"),
    _claim(
        "a stronger base bears more experts",
        "C4: of what an average of 2 keeps, an average of 8 keeps a larger share on the taught base",
        SCALE,
        0.1,
        _keeps_more,
    ),
    _claim(
        "held-out over single experts, plain base",
        "C3: an average of 8 does better on skills that nobody was trained on than its experts do on average",
        SCALE,
        0.05,
        _held_out,
        pool="M pt",
        than=_experts_out,
    ),
    _claim(
        "held-out over single experts, taught base",
        "C3: … on the taught base too",
        SCALE,
        0.1,
        _held_out,
        pool="M it",
        than=_experts_out,
    ),
    _claim(
        "held-out over the base, plain base",
        "C3: an average of 8 generalises better than its base",
        SCALE,
        0.05,
        _held_out,
        pool="M pt",
        than=_base_out,
    ),
    _claim(
        "held-out over the base, taught base",
        "C3: … or at least as well, where the base is taught (0.05 allowed)",
        SCALE,
        -0.05,
        _held_out,
        pool="M it",
        than=_base_out,
    ),
    _claim(
        "held-out over multitask, taught base",
        "C3: on the strongest base an average of 8 generalises better than multitask training",
        SCALE,
        0.05,
        _held_out,
        pool="M it",
        than=_multitask_out,
    ),
    _claim(
        "methods converge on a good base",
        "C5: averaging and the three methods, tuned, lie within 0.06 of each other (8 experts, taught base)",
        SCALE,
        -0.06,
        _spread,
        pool="M it",
    ),
    _claim(
        "every method over averaging",
        "task arithmetic, TIES and DARE-TIES, tuned, each beat averaging (8 experts, plain base)",
        TIES,
        0.03,
        _lead,
        pool="M pt",
        better=TUNED,
        worse="averaging",
        counts=(8,),
    ),
    _claim(
        "TIES untuned over averaging",
        "TIES at k 20 %, λ 1 beats averaging (8 experts, plain base)",
        TIES,
        0.1,
        _lead,
        pool="M pt",
        better=("TIES k20 λ1",),
        worse="averaging",
        counts=(8,),
    ),
    _claim(
        "TIES untuned over task arithmetic untuned",
        "… and task arithmetic at λ 0.4",
        TIES,
        0.2,
        _lead,
        pool="M pt",
        better=("TIES k20 λ1",),
        worse="TA 0.4",
        counts=(8,),
    ),
    _claim(
        "TIES over task arithmetic, tuned",
        "tuned TIES beats tuned task arithmetic (8 experts, plain base)",
        TIES,
        0.03,
        _lead,
        pool="M pt",
        better=("TIES tuned",),
        worse="TA tuned",
        counts=(8,),
    ),
    _claim(
        "DARE adds to TIES, tuned",
        "tuned DARE-TIES beats tuned TIES (8 experts, plain base)",
        "Yu et al. 2023 (DARE)",
        0.03,
        _lead,
        pool="M pt",
        better=("DARE-TIES tuned",),
        worse="TIES tuned",
        counts=(8,),
    ),
    Claim(
        "multitask over every merge, held-in",
        "multitask training is at least as good on its skills as every merge of 4 and more, in every pool",
        SCALE,
        0.0,
        _multitask_lead,
    ),
    _claim(
        "fused start over the base",
        "after 25 steps on a new skill, a start from the average of 8 experts is ahead of one from the base",
        "Choshen et al. 2022 (Fusing)",
        0.1,
        _started,
        ours="fused",
        than="base",
    ),
    _claim(
        "fused start over the base, sooner",
        "… and after 10 steps (asked as well after the first run, in which all were near 1 after 25)",
        "Choshen et al. 2022 (Fusing)",
        0.1,
        _started,
        ours="fused",
        than="base",
        steps="10",
    ),
    _claim(
        "fused start over a mean intermediate task",
        "after 25 steps it is ahead of one from a single expert, on average over four",
        "Choshen et al. 2022 (Fusing)",
        0.03,
        _started,
        ours="fused",
        than="intertraining, mean",
    ),
    _claim(
        "best intermediate task as good as the fused start",
        "… but the best single expert is as good a start as the fused one",
        "Choshen et al. 2022 (Fusing)",
        0.0,
        _started,
        ours="intertraining, best",
        than="fused",
    ),
)
