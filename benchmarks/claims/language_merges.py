"""The language track: merges of two to eight experts on bases of two kinds and two sizes, and what fusing does."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

import cuvee
from benchmarks.claims.language import SIZES, Grade, Kind, Pool, Size, base, config_of, graded, pool
from benchmarks.claims.merging import AVERAGING, DEFAULTS, StateDict, Way, geometry, grids, weights_of
from benchmarks.claims.strings import HELD_IN, HELD_OUT, items, lesson
from benchmarks.claims.verdicts import Outcome, gate
from cuvee.demo.specialists import with_weights
from cuvee.demo.train import Schedule, one_thread, train
from cuvee.families import pretrained

GRIDS: Final = grids((0.1, 0.15, 0.2, 0.3, 0.5, 0.8), (0.3, 0.5, 0.7, 1.0, 1.5), (0.3, 0.5, 0.7, 1.0, 1.5))
MASK_SEEDS: Final = (0, 1, 2)
TUNED_FROM: Final = 8
"""Settings are tuned for so many experts and more; for fewer, only published defaults are tried (time)."""
LEAST_ZERO_SHOT: Final = 0.3
LEAST_EXPERT: Final = 0.9
KINDS: Final[tuple[Kind, ...]] = ("pt", "it")
INTERTRAINING: Final = ("reverse", "sort", "next", "rotate")
"""Experts that held-out skills are trained from, one after another, beside the fused one."""


@dataclass(frozen=True)
class Ask:
    """How much is asked."""

    validation: int
    test: int
    subsets: int
    grids: Mapping[str, Sequence[Way]]
    fusing: tuple[int, ...]
    """Steps after which a fine-tune from another start is looked at."""


FULL: Final = Ask(60, 300, 5, GRIDS, (0, 10, 25))
QUICK: Final = Ask(10, 20, 1, {name: ways[:2] for name, ways in GRIDS.items()}, (0, 3))


class Exam:
    """Items of every skill, and a model that weights are put into."""

    def __init__(self, size: Size, ask: Ask, seed: int) -> None:
        skills = (*HELD_IN, *HELD_OUT)
        self.rows = {word: items(word, "test", ask.test, 4242 + seed) for word in skills}
        self.tuning = {word: items(word, "validation", ask.validation, 99 + seed) for word in HELD_IN}
        self.model = pretrained.build_causal_lm(config_of(size)).eval()

    def test(self, state: StateDict, words: Sequence[str]) -> dict[str, Grade]:
        return graded(with_weights(self.model, state), {word: self.rows[word] for word in words})

    def validation(self, state: StateDict, words: Sequence[str]) -> float:
        grades = graded(with_weights(self.model, state), {word: self.tuning[word] for word in words})
        return fmean(grade.exact for grade in grades.values())


def subsets(count: int) -> dict[int, list[list[str]]]:
    """Random subsets of 2, 4 and 6 skills, always the same ones, and all eight once."""
    draw = random.Random(0)
    order = sorted(HELD_IN)
    found = {n: [sorted(draw.sample(order, n)) for _ in range(count)] for n in (2, 4, 6)}
    return {**found, 8: [order]}


def _plain(grades: Mapping[str, Grade]) -> dict[str, dict[str, float]]:
    return {word: {"exact": round(grade.exact, 6), "tokens": round(grade.tokens, 6)} for word, grade in grades.items()}


def _mean(grades: Mapping[str, Grade], words: Sequence[str]) -> float:
    return fmean(grades[word].exact for word in words)


def references(found: Pool, exam: Exam) -> dict[str, Any]:
    """Base and multitask on everything, every expert on its own skill and on those held out."""
    everything = (*HELD_IN, *HELD_OUT)
    start, both = (exam.test(weights_of(folder), everything) for folder in (found.base, found.multitask))
    experts = {word: exam.test(weights_of(folder), (word, *HELD_OUT)) for word, folder in found.experts.items()}
    own = {word: grades[word].exact for word, grades in experts.items()}
    return {
        "base": {"held_in": _mean(start, HELD_IN), "held_out": _mean(start, HELD_OUT), "scores": _plain(start)},
        "multitask": {"held_out": _mean(both, HELD_OUT), "scores": _plain(both)},
        "experts": {
            "own": own,
            "held_out": fmean(_mean(grades, HELD_OUT) for grades in experts.values()),
            "best_held_out": max(_mean(grades, HELD_OUT) for grades in experts.values()),
        },
    }


def gates_of(found: Pool, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An instruction-tuned base must follow instructions that it was not taught, and experts must know their skill."""
    gates = [gate(f"expert {word}", score, LEAST_EXPERT) for word, score in known["experts"]["own"].items()]
    if found.kind == "it":
        gates.insert(0, gate("base, held-in, zero-shot", known["base"]["held_in"], LEAST_ZERO_SHOT))
    return gates


def merges(found: Pool, exam: Exam, ask: Ask, known: Mapping[str, Any], told: Callable[[str], None]) -> list[Any]:
    start = weights_of(found.base)
    experts = {word: weights_of(folder) for word, folder in found.experts.items()}
    rows: list[Any] = []
    for count, chosen in subsets(ask.subsets).items():
        for words in chosen:
            some = {word: experts[word] for word in words}
            ways = [*DEFAULTS, *(_tuned(exam, ask, start, some) if count >= TUNED_FROM else [])]
            rows += [_row(exam, start, some, way, known) for way in ways]
        told(f"{found.size.name} {found.kind} seed {found.seed}: merges of {count}")
    return rows


def _tuned(exam: Exam, ask: Ask, start: StateDict, some: Mapping[str, StateDict]) -> list[Way]:
    """Of each grid the way that is best on validation items of the merged skills; the first of several."""
    best = []
    for ways in ask.grids.values():
        scores = [exam.validation(way.merged(start, some), list(some)) for way in ways]
        best.append(ways[scores.index(max(scores))])
    return best


def _row(
    exam: Exam, start: StateDict, some: Mapping[str, StateDict], way: Way, known: Mapping[str, Any]
) -> dict[str, Any]:
    """A merge's scores; random masks are drawn three times and the scores averaged."""
    own = known["experts"]["own"]
    seeds = MASK_SEEDS if way.method == "dare_ties" else MASK_SEEDS[:1]
    found = [exam.test(way.merged(start, some, seed), (*some, *HELD_OUT)) for seed in seeds]
    exact = {word: fmean(grades[word].exact for grades in found) for word in found[0]}
    tokens = {word: fmean(grades[word].tokens for grades in found) for word in found[0]}
    normalised = {word: exact[word] / own[word] if own[word] else 0.0 for word in some}
    return {
        "way": way.name,
        "n": len(some),
        "settings": dict(way.settings),
        "members": list(some),
        "held_in": fmean(normalised.values()),
        "worst": min(normalised.values()),
        "held_out": fmean(exact[word] for word in HELD_OUT),
        "held_in_tokens": fmean(tokens[word] for word in some),
        "held_out_tokens": fmean(tokens[word] for word in HELD_OUT),
        "scores": exact,
    }


def by_folders(found: Pool, way: Way) -> str:
    """The same merge three ways: of state dicts, from folders in memory, from folders to a folder; all must agree.

    Raises:
        AssertionError: they do not.
    """
    start, experts = weights_of(found.base), {word: weights_of(path) for word, path in found.experts.items()}
    plain = way.merged(start, experts)
    recipe = cuvee.recipe_from(way.recipe(found.base, list(found.experts.values())))
    loaded = dict(cuvee.load(recipe).named_parameters())
    with TemporaryDirectory() as room:
        cuvee.merge(recipe, Path(room) / "merged")
        written = weights_of(Path(room) / "merged")
    for name, value in plain.items():
        assert torch.equal(value, written[name]), f"{way.name}: {name} on disk is not what it is in memory"
        assert torch.equal(value, loaded[name].detach()), f"{way.name}: {name} loaded is not what it is in memory"
    return "state dicts, cuvee.load and cuvee.merge agree bit by bit"


def fusing(found: Pool, exam: Exam, ask: Ask, told: Callable[[str], None]) -> dict[str, Any]:
    """Exact match on held-out skills after a few steps of training on each, from several starts (Choshen et al.)."""
    experts = {word: weights_of(path) for word, path in found.experts.items()}
    chosen = {word: experts[word] for word in INTERTRAINING}
    starts = {"base": weights_of(found.base), "multitask": weights_of(found.multitask), **chosen}
    starts["fused"] = AVERAGING.merged({}, experts)
    by_start: dict[str, Any] = {}
    for name, state in starts.items():
        by_start[name] = {str(steps): _after(state, steps, found, exam) for steps in ask.fusing}
        told(f"{found.size.name} {found.kind} seed {found.seed}: fusing from {name}")
    for said, pick in (("mean", fmean), ("best", max)):
        by_start[f"intertraining, {said}"] = {
            str(steps): pick([by_start[word][str(steps)] for word in chosen]) for steps in ask.fusing
        }
    return by_start


def _after(state: StateDict, steps: int, found: Pool, exam: Exam) -> float:
    """The mean over the held-out skills and two draws of lessons, each trained on by itself."""
    if not steps:
        return _mean(exam.test(state, HELD_OUT), HELD_OUT)
    schedule = Schedule(steps=steps, batch=32, rate=5e-4, warm_up=3)
    scores = []
    for word in HELD_OUT:
        for draw in (77, 78):
            model = with_weights(pretrained.build_causal_lm(config_of(found.size)), state)
            train(model, partial(lesson, (word,)), schedule, f"claims/{found.seed}/fusing/{draw}/{word}")
            scores.append(graded(model, {word: exam.rows[word]})[word].exact)
    return fmean(scores)


def measured(seed: int, quick: bool = False, told: Callable[[str], None] = lambda _: None) -> Outcome:
    """One seed's pools: S and M on the base as pre-trained, M (and S, if it passes its gate) on the taught one."""
    ask = QUICK if quick else FULL
    sizes = [SIZES["quick"]] if quick else [SIZES["S"], SIZES["M"]]
    with one_thread():
        pools = {f"{size.name} {kind}": _measured(size, kind, seed, ask, told) for size in sizes for kind in KINDS}
    return {"pools": pools, "test_rows": ask.test}


def _measured(size: Size, kind: Kind, seed: int, ask: Ask, told: Callable[[str], None]) -> dict[str, Any]:
    exam = Exam(size, ask, seed)
    if kind == "it" and size.name == "S":
        start = exam.test(weights_of(base(size, kind, seed)), (*HELD_IN, *HELD_OUT))
        one = gate("base, held-in, zero-shot", _mean(start, HELD_IN), LEAST_ZERO_SHOT)
        if not one["passed"]:  # expected: nothing stands on a base that does not follow instructions
            return {"gates": [one], "references": {"base": {"scores": _plain(start)}}, "merges": []}
    found = pool(size, kind, seed, told)
    known = references(found, exam)
    experts = {word: weights_of(folder) for word, folder in found.experts.items()}
    outcome = {"gates": gates_of(found, known), "references": known, "merges": merges(found, exam, ask, known, told)}
    outcome["geometry"] = geometry(weights_of(found.base), experts)
    outcome["interface"] = [by_folders(found, way) for way in DEFAULTS]
    if kind == "pt" and size.name != "S":
        outcome["fusing"] = fusing(found, exam, ask, told)
    return outcome
