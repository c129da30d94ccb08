"""Soups: fourteen fine-tunes of one base and one head, with settings drawn at random, averaged and ensembled.

Judged on test pictures like those of the training and on five shifts away from them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.claims import encoder
from benchmarks.claims.cache import cached
from benchmarks.claims.encoder import Batch, Course, Encoder, Shape
from benchmarks.claims.glyphs import Hand, glyphs
from benchmarks.claims.merging import AVERAGING, StateDict, weights_of
from benchmarks.claims.verdicts import Claim, Estimate, Outcome, gate, must_pass
from cuvee.demo.train import one_thread

MADE_AS: Final = 1
BASE_SHAPE: Final = Shape(out=64, place=1)
SHAPE: Final = Shape(out=20, place=1)
SHIFTS: Final[Mapping[str, Hand]] = {
    "noise": Hand(noise=0.45),
    "rotation": Hand(rotation=0.55),
    "jitter": Hand(jitter=0.14),
    "thick": Hand(half_width=(0.16, 0.24)),
    "blur": Hand(),
}


@dataclass(frozen=True)
class Run:
    """How one of the fine-tunes is trained."""

    steps: int
    rate: float
    decay: float
    smoothing: float
    mixup: float
    augmentation: str


@dataclass(frozen=True)
class Size:
    name: str
    pictures: int
    base: Course
    examples: int
    runs: int
    steps: tuple[int, ...]
    validation: int
    test: int
    shifted: int


FULL: Final = Size("full", 20_000, Course(700, 2e-3), 600, 14, (100, 200, 300), 1000, 2000, 1000)
QUICK: Final = Size("quick", 600, Course(15, 2e-3), 200, 4, (3, 4, 5), 100, 100, 60)


def drawn_runs(size: Size, seed: int) -> tuple[Run, ...]:
    """The settings of a sweep, those of the wide sweep of the page."""
    draw = random.Random(seed)

    def one() -> Run:
        return Run(
            steps=draw.choice(size.steps),
            rate=10 ** draw.uniform(-3.7, -2.4),
            decay=10 ** draw.uniform(-4, -1),
            smoothing=draw.choice((0.0, 0.0, 0.1)),
            mixup=draw.choice((0.0, 0.0, 0.3)),
            augmentation=draw.choice(("none", "shift", "noise", "both")),
        )

    return tuple(one() for _ in range(size.runs))


def classes_of(seed: int) -> tuple[int, ...]:
    return tuple(range(300 + 100 * seed, 320 + 100 * seed))


def target(size: Size, seed: int, split: str) -> Batch:
    """The target task's pictures: 20 classes that the base has not seen. The splits draw from seeds far apart."""
    counts = {"train": size.examples, "validation": size.validation, "test": size.test}
    return glyphs(classes_of(seed), counts[split], 30_000 + 100 * seed + list(counts).index(split))


def shifted(size: Size, seed: int, shift: str) -> Batch:
    """Test pictures by another hand; `blur` is a matter of the pictures themselves."""
    place = list(SHIFTS).index(shift)
    pictures, labels = glyphs(classes_of(seed), size.shifted, 30_010 + 100 * seed + place, SHIFTS[shift])
    return (0.7 * functional.avg_pool2d(pictures, 3, 1, 1) + 0.2 if shift == "blur" else pictures), labels


def base(size: Size) -> Path:
    """The encoder of all sweeps, with a head of 64 classes that the sweeps do not use."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        model = Encoder(**vars(BASE_SHAPE))
        one = encoder.batches(glyphs(range(64), size.pictures, 1), 0)

        def loss(_step: int) -> Tensor:
            pictures, labels = one()
            return functional.cross_entropy(model(pictures), labels)

        encoder.save(encoder.train(model, size.base, loss), BASE_SHAPE, folder)

    return cached("soups-base", {"pictures": size.pictures, "course": asdict(size.base), "made": MADE_AS}, make)


def probed(size: Size, start: Path, seed: int) -> Path:
    """The base with a head fitted on its frozen features: what every run starts from."""

    def make(folder: Path) -> None:
        old = encoder.load(start)
        pictures, labels = target(size, seed, "train")
        with torch.inference_mode():
            features = old.features(pictures)
        torch.manual_seed(0)
        model = Encoder(**vars(SHAPE))
        kept = {name: value for name, value in old.state_dict().items() if not name.startswith("head")}
        model.load_state_dict({**model.state_dict(), **kept})
        _fit_head(model.head, features.clone(), labels)
        encoder.save(model, SHAPE, folder)

    settings = {"start": start.name, "seed": seed, "examples": size.examples, "made": MADE_AS}
    return cached("soups-start", settings, make)


def _fit_head(head: torch.nn.Module, features: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.03, weight_decay=0.01)
    for _ in range(300):
        loss = functional.cross_entropy(head(features), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def fine_tuned(size: Size, start: Path, run: Run, seed: int, number: int) -> Path:
    def make(folder: Path) -> None:
        model = encoder.load(start)
        draw = torch.Generator().manual_seed(40_000 + 100 * seed + number)
        mixed = random.Random(f"{seed}/{number}")
        one = encoder.batches(target(size, seed, "train"), number + 100 * seed)
        loss = partial(_loss, model, run, one, draw, mixed)
        encoder.save(encoder.train(model, Course(run.steps, run.rate, run.decay), loss), SHAPE, folder)

    settings = {"start": start.name, "run": asdict(run), "number": number, "seed": seed, "examples": size.examples}
    return cached("soups-run", {**settings, "made": MADE_AS}, make)


def _loss(
    model: Encoder, run: Run, one: Callable[[], Batch], draw: torch.Generator, mixed: random.Random, _step: int
) -> Tensor:
    pictures, labels = one()
    if run.augmentation in ("shift", "both"):
        by = torch.randint(-2, 3, (2,), generator=draw).tolist()
        pictures = pictures.roll(by, (2, 3))
    if run.augmentation in ("noise", "both"):
        pictures = pictures + 0.2 * torch.randn(pictures.shape, generator=draw)
    shares = functional.one_hot(labels, SHAPE.out).float()
    if run.mixup:
        own, order = mixed.betavariate(run.mixup, run.mixup), torch.randperm(len(labels), generator=draw)
        pictures, shares = (own * one + (1 - own) * one[order] for one in (pictures, shares))
    shares = (1 - run.smoothing) * shares + run.smoothing / SHAPE.out
    return functional.cross_entropy(model(pictures), shares)


@dataclass(frozen=True)
class Sweep:
    """The folders of one sweep."""

    start: Path
    runs: tuple[Path, ...]
    settings: tuple[Run, ...]


def sweep(size: Size, seed: int, told: Callable[[str], None] = lambda _: None) -> Sweep:
    with one_thread():
        start = probed(size, base(size), seed)
        settings = drawn_runs(size, seed)
        made = []
        for number, run in enumerate(settings):
            made.append(fine_tuned(size, start, run, seed, number))
            told(f"soups seed {seed}: {number + 1} of {len(settings)} runs")
    return Sweep(start, tuple(made), settings)


def accuracy(answers: Tensor, labels: Tensor) -> float:
    return float((answers.argmax(-1) == labels).float().mean())


def greedy(states: Mapping[str, StateDict], score: Callable[[StateDict], float], order: Sequence[str]) -> list[str]:
    """The members of a greedy soup: best first, each kept if the soup with it is no worse on validation rows."""
    members = [order[0]]
    best = score(states[order[0]])
    for name in order[1:]:
        found = score(AVERAGING.merged({}, {one: states[one] for one in [*members, name]}))
        if found >= best:
            members, best = [*members, name], found
    return members


def measured(seed: int, quick: bool = False, told: Callable[[str], None] = lambda _: None) -> Outcome:
    """Accuracy of singles, soups and ensembles on validation rows, test rows and each of the five shifts."""
    size = QUICK if quick else FULL
    made = sweep(size, seed, told)
    with one_thread():
        asked = {"validation": target(size, seed, "validation"), "test": target(size, seed, "test")}
        asked |= {shift: shifted(size, seed, shift) for shift in SHIFTS}
        model = Encoder(**vars(SHAPE)).eval()

        def answers(state: StateDict) -> dict[str, Tensor]:
            encoder.with_weights(model, state)
            return {name: encoder.outputs(model, pictures) for name, (pictures, _) in asked.items()}

        def score(state: StateDict) -> float:
            encoder.with_weights(model, state)
            return accuracy(encoder.outputs(model, asked["validation"][0]), asked["validation"][1])

        states = {f"run {number:02}": weights_of(folder) for number, folder in enumerate(made.runs)}
        singles = {name: answers(state) for name, state in states.items()}
        labels = {name: rows for name, (_, rows) in asked.items()}
        validated = {name: accuracy(said["validation"], labels["validation"]) for name, said in singles.items()}
        order = sorted(states, key=lambda name: -validated[name])
        members = greedy(states, score, order)
        start = answers(weights_of(made.start))
        told(f"soups seed {seed}: greedy soup of {len(members)}")
        soup = partial(_soup, states, answers)
        sets = {"start": start, "best single": singles[order[0]], "uniform soup": soup(order)}
        sets |= {"top half soup": soup(order[: len(order) // 2]), "greedy soup": soup(members)}
        sets |= {"ensemble of all": _ensemble(singles, order), "ensemble of greedy": _ensemble(singles, members)}
    found = {name: _judged(said, labels) for name, said in sets.items()}
    each = [_judged(said, labels) for said in singles.values()]
    found["mean single"] = {key: fmean(one[key] for one in each) for key in each[0]}
    gates = [
        gate("start, test", found["start"]["test"], 0.6),
        gate("best single over start, test", found["best single"]["test"] - found["start"]["test"], 0.0),
    ]
    described = [{**asdict(run), **one} for run, one in zip(made.settings, each, strict=True)]
    return {"gates": gates, "models": found, "members": members, "runs": described, "test_rows": size.test}


def _soup(
    states: Mapping[str, StateDict], answers: Callable[[StateDict], dict[str, Tensor]], names: Sequence[str]
) -> dict[str, Tensor]:
    return answers(AVERAGING.merged({}, {name: states[name] for name in names}))


def _ensemble(singles: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> dict[str, Tensor]:
    """The mean of the members' logits."""
    return {part: torch.stack([singles[name][part] for name in names]).mean(0) for part in singles[names[0]]}


def _judged(said: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, float]:
    scores = {part: accuracy(logits, labels[part]) for part, logits in said.items()}
    return {**scores, "shifted": fmean(scores[shift] for shift in SHIFTS)}


def _gap(part: str, better: str, worse: str) -> Callable[[Outcome], Estimate]:
    return partial(_gap_in, part=part, better=better, worse=worse)


def _gap_in(outcome: Outcome, part: str, better: str, worse: str) -> Estimate:
    must_pass(outcome)
    found = outcome["models"]
    return Estimate(found[better][part] - found[worse][part])


SOUPS: Final = "Wortsman et al. 2022 (Model soups)"
CLAIMS: Final[tuple[Any, ...]] = (
    Claim(
        "greedy soup, validation",
        "a greedy soup is no worse than the best single model on the rows that it was chosen on (a theorem)",
        SOUPS,
        0.0,
        _gap("validation", "greedy soup", "best single"),
    ),
    Claim(
        "greedy soup, in distribution",
        "a greedy soup is at least as good as the best single model on test rows",
        SOUPS,
        0.0,
        _gap("test", "greedy soup", "best single"),
    ),
    Claim(
        "greedy soup beats, in distribution",
        "… and better by more than the noise",
        SOUPS,
        0.001,
        _gap("test", "greedy soup", "best single"),
    ),
    Claim(
        "greedy soup, shifted",
        "a greedy soup is better than the best single model out of distribution",
        SOUPS,
        0.001,
        _gap("shifted", "greedy soup", "best single"),
    ),
    Claim(
        "uniform soup over the mean single, shifted",
        "the average of all runs is better out of distribution than they are on average",
        SOUPS,
        0.005,
        _gap("shifted", "uniform soup", "mean single"),
    ),
    Claim(
        "uniform soup over the best single, shifted",
        "… and better than the best single model",
        SOUPS,
        0.001,
        _gap("shifted", "uniform soup", "best single"),
    ),
    Claim(
        "uniform soup below the best single, in distribution",
        "in distribution the average of all runs is below the best single model",
        SOUPS,
        0.001,
        _gap("test", "best single", "uniform soup"),
    ),
    Claim(
        "ensemble over uniform soup, in distribution",
        "in distribution an ensemble of all runs is better than their average",
        SOUPS,
        0.001,
        _gap("test", "ensemble of all", "uniform soup"),
    ),
    Claim(
        "uniform soup over ensemble, shifted",
        "out of distribution the average of all runs is better than their ensemble",
        SOUPS,
        0.001,
        _gap("shifted", "uniform soup", "ensemble of all"),
    ),
    Claim(
        "greedy soup near its ensemble, in distribution",
        "a greedy soup is within a point of the ensemble of the same models, at a fraction of the cost",
        SOUPS,
        -0.01,
        _gap("test", "greedy soup", "ensemble of greedy"),
    ),
)
