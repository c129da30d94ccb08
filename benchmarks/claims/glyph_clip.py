"""Glyph CLIP: one encoder with fixed heads, fine-tuned on eight tasks of unseen classes, each seen distorted.

The vision track of the papers on task vectors: a base that knows a little of every task, one expert per task, one model
of all tasks, and merges of two to eight experts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.claims import encoder
from benchmarks.claims.cache import cached
from benchmarks.claims.encoder import Batch, Course, Encoder, Shape
from benchmarks.claims.glyphs import BASE_CLASSES, embeddings, glyphs
from benchmarks.claims.merging import DEFAULTS, StateDict, Way, geometry, grids, weights_of
from benchmarks.claims.verdicts import Outcome, gate
from cuvee.demo.train import one_thread

MADE_AS: Final = 1
SHAPE: Final = Shape()
SHARPNESS: Final = 15.0
TASKS: Final = ("blur", "noise", "rot90", "low contrast", "occlusion", "ramp", "inversion", "stripes")


@dataclass(frozen=True)
class Size:
    """How much is trained and asked."""

    name: str
    pictures: int
    base: Course
    examples: int
    expert: Course
    multitask: Course
    validation: int
    test: int
    subsets: int


FULL: Final = Size(
    "full",
    24_000,
    Course(900, 3e-3),
    2500,
    Course(120, 1e-3),
    Course(480, 1e-3, warm_up=1, floor=0.0),
    200,
    500,
    3,
)
QUICK: Final = Size(
    "quick", 1000, Course(25, 3e-3), 200, Course(5, 1e-3), Course(10, 1e-3, warm_up=1, floor=0.0), 40, 60, 1
)
OTHERS_FOR: Final = 6
"""So many experts are also asked the tasks that nobody in the merge was trained on."""
GRIDS: Final = grids((0.1, 0.2, 0.3, 0.4, 0.6, 0.8), (0.5, 1.0, 1.5), (0.3, 0.6, 1.0))


def distorted(task: str, pictures: Tensor, draw: torch.Generator) -> Tensor:
    """The pictures as a task shows them."""
    plain: dict[str, Callable[[Tensor], Tensor]] = {
        "blur": lambda x: functional.avg_pool2d(x, 3, 1, 1),
        "noise": lambda x: x + 0.4 * torch.randn(x.shape, generator=draw),
        "rot90": lambda x: x.rot90(1, (2, 3)),
        "low contrast": lambda x: 0.35 * x + 0.5,
        "occlusion": lambda x: _occluded(x, draw),
        "ramp": lambda x: x + torch.linspace(-1, 1, x.shape[-1]),
        "inversion": lambda x: 1 - x,
        "stripes": lambda x: x + 0.6 * (torch.arange(x.shape[-2]) % 4 < 2)[:, None],
    }
    return plain[task](pictures)


def _occluded(pictures: Tensor, draw: torch.Generator) -> Tensor:
    """A square of 6 × 6 pixels of one grey, anywhere."""
    corner = torch.randint(10, (2, len(pictures), 1), generator=draw)
    along = torch.arange(pictures.shape[-1])
    rows, columns = ((along >= c) & (along < c + 6) for c in corner)
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(covered, torch.tensor(0.6), pictures)


def classes_of(number: int) -> tuple[int, ...]:
    return tuple(range(2000 + 10 * number, 2010 + 10 * number))


def task_data(number: int, size: Size, splits: Sequence[str], seed: int) -> dict[str, Batch]:
    """The splits asked for; every split has draws of its own, so that none depends on which others are made."""
    counts = {"train": size.examples, "validation": size.validation, "test": size.test}
    found = {}
    for place, split in enumerate(counts):
        if split in splits:
            own = 1000 * seed + 100 * place + number
            pictures, labels = glyphs(classes_of(number), counts[split], 10_000 + own)
            draw = torch.Generator().manual_seed(20_000 + own)
            found[split] = (distorted(TASKS[number], pictures, draw), labels)
    return found


def logits(model: Encoder, pictures: Tensor, heads: Tensor) -> Tensor:
    return SHARPNESS * functional.normalize(model(pictures), dim=-1) @ heads.T


def _loss(model: Encoder, heads: Tensor, one: Callable[[], Batch], _step: int) -> Tensor:
    pictures, labels = one()
    return functional.cross_entropy(logits(model, pictures, heads), labels)


def base(size: Size, seed: int) -> Path:
    """The encoder before fine-tuning: 400 classes, none of them a task's."""

    def make(folder: Path) -> None:
        torch.manual_seed(seed)
        model = Encoder(**vars(SHAPE))
        data = glyphs(BASE_CLASSES, size.pictures, 1 + 1000 * seed)
        draw = partial(_loss, model, embeddings(BASE_CLASSES), encoder.batches(data, seed))
        encoder.save(encoder.train(model, size.base, draw), SHAPE, folder)

    settings = {"pictures": size.pictures, "course": asdict(size.base), "seed": seed, "made": MADE_AS}
    return cached("glyphs-base", {**settings, "shape": vars(SHAPE)}, make)


def expert(size: Size, start: Path, number: int, seed: int) -> Path:
    def make(folder: Path) -> None:
        model, data = encoder.load(start), task_data(number, size, ["train"], seed)["train"]
        draw = partial(_loss, model, embeddings(classes_of(number)), encoder.batches(data, 50 * seed + number))
        encoder.save(encoder.train(model, size.expert, draw), SHAPE, folder)

    settings = {"start": start.name, "task": number, "examples": size.examples, "course": asdict(size.expert)}
    return cached("glyphs-expert", {**settings, "seed": seed, "made": MADE_AS}, make)


def multitask(size: Size, start: Path, seed: int) -> Path:
    """One model of all tasks, a step of each in turn."""

    def make(folder: Path) -> None:
        model = encoder.load(start)
        losses = []
        for number in range(len(TASKS)):
            data = task_data(number, size, ["train"], seed)["train"]
            one = encoder.batches(data, 7000 + 50 * seed + number)
            losses.append(partial(_loss, model, embeddings(classes_of(number)), one))
        encoder.train(model, size.multitask, lambda step: losses[step % len(losses)](step))
        encoder.save(model, SHAPE, folder)

    settings = {"start": start.name, "examples": size.examples, "course": asdict(size.multitask)}
    return cached("glyphs-multitask", {**settings, "seed": seed, "made": MADE_AS}, make)


@dataclass(frozen=True)
class Pool:
    """The folders of one seed."""

    base: Path
    experts: Mapping[str, Path]
    multitask: Path


def pool(size: Size, seed: int, told: Callable[[str], None] = lambda _: None) -> Pool:
    with one_thread():
        start = base(size, seed)
        told(f"glyphs seed {seed}: base")
        experts = {task: expert(size, start, number, seed) for number, task in enumerate(TASKS)}
        told(f"glyphs seed {seed}: experts")
        return Pool(start, experts, multitask(size, start, seed))


class Exam:
    """What models are asked, and a model that weights are put into."""

    def __init__(self, size: Size, seed: int) -> None:
        wanted = ["validation", "test"]
        self.rows = {task: task_data(number, size, wanted, seed) for number, task in enumerate(TASKS)}
        self.heads = {task: embeddings(classes_of(number)) for number, task in enumerate(TASKS)}
        self.model = Encoder(**vars(SHAPE)).eval()

    def scores(self, state: StateDict, tasks: Sequence[str], split: str) -> dict[str, float]:
        model = encoder.with_weights(self.model, state)
        found = {}
        for task in tasks:
            pictures, labels = self.rows[task][split]
            embedded = functional.normalize(encoder.outputs(model, pictures), dim=-1)
            found[task] = float(((embedded @ self.heads[task].T).argmax(-1) == labels).float().mean())
        return found


def subsets(names: Sequence[str], count: int) -> dict[int, list[list[str]]]:
    """Random subsets of 2, 4 and 6 names, always the same ones, and all of them once."""
    draw = random.Random(0)
    places = {n: [sorted(draw.sample(range(len(names)), n)) for _ in range(count)] for n in (2, 4, 6)}
    return {n: [[names[i] for i in one] for one in found] for n, found in {**places, 8: [list(range(8))]}.items()}


def measured(seed: int, quick: bool = False, told: Callable[[str], None] = lambda _: None) -> Outcome:
    """Base, experts, multitask and every merge of one seed; scores by task."""
    size = QUICK if quick else FULL
    made = pool(size, seed, told)
    with one_thread():
        exam, start = Exam(size, seed), weights_of(made.base)
        experts = {task: weights_of(folder) for task, folder in made.experts.items()}
        zero = exam.scores(start, TASKS, "test")
        own = {task: exam.scores(state, [task], "test")[task] for task, state in experts.items()}
        both = exam.scores(weights_of(made.multitask), TASKS, "test")
        merges = []
        for count, chosen in subsets(TASKS, size.subsets).items():
            for words in chosen:
                merges += _merges(exam, start, {word: experts[word] for word in words}, own, seed)
            told(f"glyphs seed {seed}: merges of {count}")
        kept = geometry(start, experts)
    gates = [gate(f"expert {task}", score, 0.6) for task, score in own.items()]
    gates.append(gate("expert over base, mean", fmean(own.values()) - fmean(zero.values()), 0.3))
    references = {"base": zero, "experts": own, "multitask": both}
    return {"gates": gates, "references": references, "geometry": kept, "merges": merges, "test_rows": size.test}


def _merges(
    exam: Exam, start: StateDict, experts: Mapping[str, StateDict], own: Mapping[str, float], seed: int
) -> list[dict[str, object]]:
    """One subset by every method: those at their defaults, and the best of each grid on validation rows."""
    names = list(experts)
    asked = list(TASKS) if len(names) == OTHERS_FOR else names

    def tuned(ways: Sequence[Way]) -> Way:
        found = [fmean(exam.scores(way.merged(start, experts, seed), names, "validation").values()) for way in ways]
        return ways[found.index(max(found))]

    rows: list[dict[str, object]] = []
    for way in (*DEFAULTS, *(tuned(ways) for ways in GRIDS.values())):
        scores = exam.scores(way.merged(start, experts, seed), asked, "test")
        others = [scores[name] for name in asked if name not in names]
        normalised = {name: scores[name] / own[name] if own[name] else 0.0 for name in names}
        rows.append(
            {
                "way": way.name,
                "n": len(names),
                "settings": dict(way.settings),
                "members": names,
                "held_in": fmean(normalised.values()),
                "worst": min(normalised.values()),
                "others": fmean(others) if others else None,
                "scores": scores,
            }
        )
    return rows
