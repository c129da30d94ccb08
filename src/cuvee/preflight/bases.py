"""Which model the others were tuned from, as far as distances tell.

Fine-tunes lie around their base: seen from it their task vectors stand at large angles to each other, seen from one of
them all others lie in one direction. Two models have one distance, which says nothing of which came first. Beside a far
fine-tune a near one sees the others at a large angle as well as the base does; then neither is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import mean

from cuvee.preflight.facts import Base, Candidate
from cuvee.preflight.rules import BASE_COSINE, BASE_LEAD, BASE_TASK_COSINE
from cuvee.preflight.sums import TensorSums, added


def choose(
    sums: Sequence[TensorSums], names: Sequence[str], models: Sequence[int], given: Sequence[int]
) -> tuple[int | None, Base]:
    """The base and how it is known.

    Args:
        sums: of the sample.
        names: of all models by number.
        models: those to be merged.
        given: candidates that were named as such; one alone is taken at its word.
    """
    candidates = [_candidate(sums, names, models, c, bool(given)) for c in (given or models)]
    best = min(candidates, key=lambda c: (not c.fits, c.mean is None, c.mean or 0.0))
    number = names.index(best.model)
    if len(given) == 1:
        return number, Base(best.model, "given", tuple(candidates))
    rivals = [] if given else [c for c in candidates if c is not best and c.fits and not _is_behind(c, best)]
    if best.fits and not rivals:
        return number, Base(best.model, _how(best, candidates), tuple(candidates))
    why = _which(best, rivals) if best.fits else _why_not(models, given, best)
    return None, Base(None, f"no common base is visible: {why}", tuple(candidates))


def _is_behind(candidate: Candidate, best: Candidate) -> bool:
    """Whether a candidate is farther from the others by more than the way a far one fell could explain."""
    if candidate.mean is None or best.mean is None:
        return True
    return BASE_LEAD.holds(candidate.mean / best.mean - 1)


def _which(best: Candidate, rivals: Sequence[Candidate]) -> str:
    either = " or ".join((best.model, *(c.model for c in rivals)))
    return f"it may be {either}, which lie near each other and equally far from the rest; say which with --base"


def _candidate(
    sums: Sequence[TensorSums], names: Sequence[str], models: Sequence[int], candidate: int, given: bool
) -> Candidate:
    others = [m for m in models if m != candidate]
    distances, cosines = {}, []
    for other in others:
        both = added(sums, (other, candidate))
        distances[names[other]] = both.relative()
        cosines.append(added(sums, (other, candidate), matrices=True).cosine())
    known = [d for d in distances.values() if d is not None]
    angles = [added(sums, (a, b, candidate)).task_cosine() for a, b in combinations(others, 2)]
    seen = [angle for angle in angles if angle is not None]
    nearest = min((c for c in cosines if c is not None), default=None)
    task_cosine = mean(seen) if seen else None
    near = nearest is not None and None not in cosines and nearest >= BASE_COSINE.limit
    apart = task_cosine is not None and task_cosine < BASE_TASK_COSINE.limit
    fits = near and (apart or (given and task_cosine is None))
    average = mean(known) if known and len(known) == len(others) else None
    return Candidate(names[candidate], distances, average, nearest, task_cosine, fits)


def _how(best: Candidate, candidates: Sequence[Candidate]) -> str:
    rest = sorted(c.mean for c in candidates if c.mean is not None and c.model != best.model)
    nearest = f"the others lie {best.mean:.3f} of its norm away"
    told = f"{nearest}, {rest[0]:.3f} from the next candidate" if rest else nearest
    if best.task_cosine is None:
        return told
    return f"{told}; seen from it the task vectors stand apart (mean cosine {best.task_cosine:.2f})"


def _why_not(models: Sequence[int], given: Sequence[int], best: Candidate) -> str:
    if best.mean is None:
        return "the models have too few tensors in common"
    if best.cosine is not None and best.cosine < BASE_COSINE.limit:
        return f"the nearest candidate, {best.model}, has a model at cosine {best.cosine:.2f}"
    if len(models) < 3 and not given:
        return "two models have one distance, and either may come from the other"
    return (
        f"seen from the nearest candidate, {best.model}, the task vectors point the same way (mean cosine "
        f"{best.task_cosine or 0:.2f}), as from one of several fine-tunes"
    )
