"""All of it, in order: sample, distances, base, task vectors, order of units, structure, losses, verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from cuvee.checkpoint.protocol import Reader
from cuvee.data.rows import Row
from cuvee.errors import InputError
from cuvee.execute.preflight import preflight as compare_equal_ones
from cuvee.planning import Plan
from cuvee.preflight import bases, judge, matching, sample, structure
from cuvee.preflight.barrier import barriers as barriers_of
from cuvee.preflight.facts import Barrier, Base, Layer, ModelFigures, PairFigures, Preflight, Reason
from cuvee.preflight.sample import Share
from cuvee.preflight.suggest import suggest
from cuvee.preflight.sums import TensorSums, added, by_layer, sums_of, zero_share
from cuvee.preflight.vectors import Vectors, vectors_of
from cuvee.recipe import Recipe
from cuvee.types import ModelRef


@dataclass(frozen=True)
class Asked:
    """Opened models, and how they are to be looked at.

    Attributes:
        refs: models to be merged, then candidates for the base that are not among them; each once.
        readers: the same, opened.
        models: how many of them are to be merged.
        given: numbers of the candidates for the base; none where it is to be looked for among the models.
        budget: bytes of one model's sample.
        seed: of the sample.
        data: file and rows to take losses on.
        progress: called with steps done and steps in all.
    """

    refs: tuple[ModelRef, ...]
    readers: tuple[Reader, ...]
    models: int
    given: tuple[int, ...] = ()
    budget: int = sample.BUDGET
    seed: int = 0
    data: tuple[Path, tuple[Row, ...]] | None = None
    progress: Callable[[int, int], None] | None = None

    @property
    def names(self) -> list[str]:
        """What the models are called."""
        return [str(ref) for ref in self.refs]


class _Steps:
    """Counts what has been done; the number of all steps is what is foreseen at the time."""

    def __init__(self, told: Callable[[int, int], None] | None) -> None:
        self._told, self._done, self._total = told, 0, 0

    def foresee(self, steps: int) -> None:
        self._total += steps

    def __call__(self) -> None:
        self._done += 1
        if self._told is not None:
            self._told(self._done, max(self._total, self._done))


@dataclass(frozen=True)
class _Looked:
    """What the passes over the sample have found."""

    sums: tuple[TensorSums, ...]
    base: int | None
    vectors: Vectors | None
    members: tuple[int, ...]


def look(asked: Asked) -> Preflight:
    """Answer whether models will merge.

    Raises:
        InputError: data that do not fit the models.
    """
    steps = _Steps(asked.progress)
    shares = sample.shares_of(asked.readers, asked.budget, asked.seed)
    looked, base = _measured(asked, shares, steps)
    plan, structural = _structural(asked, looked)
    models = tuple(_model(asked, looked, m) for m in _shown(looked))
    pairs = _pairs(asked, looked, steps)
    barriers = _barriers(asked, looked, steps) if plan is not None else ()
    reasons = judge.in_order([*structural, *judge.reasons_of(models, pairs, barriers)])
    verdict = judge.verdict_of(reasons)
    chosen = [asked.refs[m] for m in looked.members]
    base_ref = None if looked.base is None else asked.refs[looked.base]
    stopped = verdict == "will not merge as they are"
    return Preflight(
        verdict=verdict,
        reasons=reasons,
        models=models,
        base=base,
        pairs=pairs,
        sample=sample.told(shares, asked.seed),
        barriers=barriers,
        suggestion=None if stopped else suggest(chosen, base_ref, pairs, reasons),
        notes=tuple(_notes(asked, plan)),
    )


def _measured(asked: Asked, shares: Sequence[Share], steps: _Steps) -> tuple[_Looked, Base]:
    steps.foresee((2 if asked.given or asked.models > 2 else 1) * len(shares))
    sums = sums_of(asked.readers, shares, steps)
    number, base = bases.choose(sums, asked.names, range(asked.models), asked.given)
    members = tuple(m for m in range(asked.models) if m != number)
    if number is None:
        return _Looked(sums, None, None, members), base
    return _Looked(sums, number, vectors_of(asked.readers, shares, members, number, steps), members), base


def _shown(looked: _Looked) -> tuple[int, ...]:
    return looked.members if looked.base is None else (looked.base, *looked.members)


def _structural(asked: Asked, looked: _Looked) -> tuple[Plan | None, list[Reason]]:
    """What does not fit, as a merge would say it; and what differs though it fits."""
    shown = _shown(looked)
    readers = [asked.readers[m] for m in shown]
    names = [asked.names[m] for m in shown]
    recipe = _plainest(asked, looked)
    plan, faults = structure.plan_of(recipe, dict(zip(asked.refs, asked.readers, strict=True)))
    found = [*structure.misfits(faults, names), *structure.differences(readers, names)]
    if plan is not None:
        opened = [readers[names.index(str(model.ref))] for model in plan.models]
        try:
            compare_equal_ones(_small(plan, opened, asked.budget), opened)
        except InputError as error:
            found += structure.misfits(error.faults, names)
    return plan, found


def _plainest(asked: Asked, looked: _Looked) -> Recipe:
    """A merge that asks for nothing but models that fit."""
    members = [asked.refs[m] for m in looked.members]
    if looked.base is None:
        return structure.recipe_of("linear", members, weight=1.0)
    return structure.recipe_of("task_arithmetic", members, asked.refs[looked.base], weight=1.0)


def _small(plan: Plan, readers: Sequence[Reader], budget: int) -> Plan:
    """The plan without comparisons of tensors larger than a sample, which only a merge will make."""
    steps = tuple(s if s.out.nbytes <= budget else replace(s, copies=(), must_equal=()) for s in plan.steps)
    pieces = {one.name: one.copies[0][0] for one in plan.tied}
    sizes = {name: readers[piece.model].specs[piece.tensor].nbytes for name, piece in pieces.items()}
    return replace(plan, steps=steps, tied=tuple(one for one in plan.tied if sizes[one.name] <= budget))


def _model(asked: Asked, looked: _Looked, model: int) -> ModelFigures:
    sums, base = looked.sums, looked.base
    nonfinite = int(sum(s.nonfinite[model] for s in sums))
    zeros = zero_share(sums, model)
    if base is None or looked.vectors is None or model == base:
        return ModelFigures(asked.names[model], model == base, zeros, nonfinite)
    both = [s for s in sums if {model, base} <= set(s.share.holders)]
    return ModelFigures(
        model=asked.names[model],
        is_base=False,
        zeros=max(0.0, zeros - zero_share(sums, base)),
        nonfinite=nonfinite,
        task_norm=added(sums, (model, base)).relative(),
        layers={layer: added(part, (model, base)).relative() for layer, part in by_layer(both).items()},
        unchanged=sum(s.distance[model, base] == 0 for s in both) / len(both) if both else None,
        rank=looked.vectors.rank(model),
    )


def _pairs(asked: Asked, looked: _Looked, steps: _Steps) -> tuple[PairFigures, ...]:
    found, chosen = [], list(combinations(looked.members, 2))
    steps.foresee(len(chosen))
    for a, b in chosen:
        found.append(_pair(asked, looked, a, b))
        steps()
    return tuple(found)


def _pair(asked: Asked, looked: _Looked, a: int, b: int) -> PairFigures:
    sums, vectors, pair = looked.sums, looked.vectors, (a, b)
    both, matrices = added(sums, pair), added(sums, pair, matrices=True)
    odd = matching.strange(sums, a, b)
    lost = sum(s.share.numel for s in odd) / matrices.entries if matrices.entries else None
    base = looked.base
    return PairFigures(
        a=asked.names[a],
        b=asked.names[b],
        cosine=matrices.cosine(),
        distance=both.relative(1, 0),
        equal=float(both.equal[0, 1]) / both.entries if both.entries else None,
        strange=lost,
        strange_tensors=tuple(s.share.name for s in odd[:5]),
        task_cosine=None if base is None else added(sums, (a, b, base)).task_cosine(),
        sign_conflict=None if vectors is None else vectors.conflict(pair),
        both_changed=None if vectors is None else vectors.both_changed(pair),
        overlap=None if vectors is None else vectors.overlap(pair),
        match=matching.best_match(asked.readers, odd, a, b, asked.seed) if odd else None,
        layers=tuple(_layers(looked, a, b)),
    )


def _layers(looked: _Looked, a: int, b: int) -> Iterator[Layer]:
    both = [s for s in looked.sums if {a, b} <= set(s.share.holders)]
    for layer, part in by_layer(both).items():
        task = None if looked.base is None else added(part, (a, b, looked.base)).task_cosine()
        conflict = None if looked.vectors is None else looked.vectors.conflict((a, b), layer)
        yield Layer(layer, added(part, (a, b), matrices=True).cosine(), task, conflict)


def _barriers(asked: Asked, looked: _Looked, steps: _Steps) -> tuple[Barrier, ...]:
    if asked.data is None or len(looked.members) < 2:
        return ()
    refs = [asked.refs[m] for m in looked.members]
    pairs = list(combinations(refs, 2))
    steps.foresee(len(refs) + len(pairs))
    opened: Mapping[ModelRef, Reader] = dict(zip(asked.refs, asked.readers, strict=True))
    return barriers_of(opened, pairs, *asked.data, steps)


def _notes(asked: Asked, plan: Plan | None) -> Iterator[str]:
    if plan is not None:
        yield from plan.notes
    if asked.data is not None and plan is None:
        yield "no loss was taken: there is no merge to take it of"
    if asked.data is None:
        yield "whether two models lie in one valley is told by data: --data FILE takes the loss halfway between them"
