"""Pools of language models on the string skills: a base in two stages, an expert per skill, one model of all skills."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from benchmarks.claims.cache import cached
from benchmarks.claims.strings import HELD_IN, INSTRUCTIONS, VOCABULARY, lesson, web_text, write_tokenizer
from cuvee.demo.skills import Document
from cuvee.demo.train import IGNORED, Schedule, collate, one_thread, train
from cuvee.families import pretrained

Kind = Literal["pt", "it"]
"""A base as pre-training leaves it, and one that was taught to follow instructions besides."""

MADE_AS: Final = 1
"""Raised when what the settings below lead to changes, so that older models are not taken for new ones."""
LONGEST: Final = 32


TUNING: Final = Schedule(steps=50, batch=64, rate=1e-3, warm_up=20)
"""Half as long as in the page that this follows, whose base has met a third of all inputs in pre-training: longer, and
what it was taught is learnt by heart (zero-shot on validation items of held-in skills: 50 steps 0.48, 100 steps 0.24,
200 steps 0.16). Chosen by the base alone, before anything was merged."""
GENTLE: Final = Schedule(steps=100, batch=64, rate=3e-4, warm_up=10)
FOUR_TIMES: Final = Schedule(steps=400, batch=64, rate=3e-4, warm_up=10)


@dataclass(frozen=True)
class Size:
    """A model's size and how it is trained; the schedules are those of the published recipe, in miniature."""

    name: str
    width: int
    layers: int
    inner: int
    pre_training: Schedule
    tuning: Schedule = TUNING
    expert: Schedule = GENTLE
    multitask: Schedule = FOUR_TIMES


SIZES: Final = {
    "S": Size("S", 48, 3, 144, Schedule(steps=2600, batch=96, rate=4e-3, warm_up=50)),
    "M": Size("M", 96, 3, 256, Schedule(steps=2600, batch=96, rate=3e-3, warm_up=50)),
    "quick": Size(
        "quick",
        32,
        2,
        64,
        Schedule(steps=60, batch=32, rate=5e-3, warm_up=5),
        *(Schedule(steps=steps, batch=32, rate=3e-3, warm_up=3) for steps in (5, 10, 20)),
    ),
}


@dataclass(frozen=True)
class Pool:
    """Folders of models that stand on one base."""

    size: Size
    kind: Kind
    seed: int
    base: Path
    experts: Mapping[str, Path]
    multitask: Path


def config_of(size: Size) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": len(VOCABULARY),
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "intermediate_size": size.inner,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": LONGEST,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def base(size: Size, kind: Kind, seed: int) -> Path:
    """The base of a size; the seed is that of its initialisation and of its documents."""
    if kind == "pt":
        settings = {"size": size.name, "config": config_of(size), "schedule": asdict(size.pre_training), "seed": seed}
        return cached("strings-pt", {**settings, "made": MADE_AS}, partial(_pre_train, size, seed))
    return tuned(base(size, "pt", seed), "it", INSTRUCTIONS, size.tuning, f"{seed}/it")


def _pre_train(size: Size, seed: int, folder: Path) -> None:
    with one_thread():
        torch.manual_seed(seed)
        model = pretrained.build_causal_lm(config_of(size))
        save(train(model, web_text, size.pre_training, f"claims/{seed}/web text"), folder)


def tuned(start: Path, name: str, words: Sequence[str], schedule: Schedule, seed: str) -> Path:
    """A model fine-tuned from another one on the skills named."""
    settings = {"start": start.name, "words": list(words), "schedule": asdict(schedule), "seed": seed, "made": MADE_AS}

    def make(folder: Path) -> None:
        with one_thread():
            model = pretrained.load_causal_lm(start)
            save(train(model, partial(lesson, tuple(words)), schedule, f"claims/{seed}"), folder)

    return cached(f"strings-{name}", settings, make)


def pool(size: Size, kind: Kind, seed: int, told: Callable[[str], None] = lambda _: None) -> Pool:
    """The base, its experts and the multitask model, made where they are not there yet."""
    start = base(size, kind, seed)
    told(f"{size.name} {kind} seed {seed}: base")
    experts = {word: tuned(start, word, (word,), lessons(size, word), f"{seed}/expert/{word}") for word in HELD_IN}
    told(f"{size.name} {kind} seed {seed}: experts")
    both = tuned(start, "multitask", HELD_IN, size.multitask, f"{seed}/multitask")
    return Pool(size, kind, seed, start, experts, both)


def lessons(size: Size, word: str) -> Schedule:
    """An expert's schedule; on brackets that it has not met, `close` needs three times as long as the rest."""
    return replace(size.expert, steps=3 * size.expert.steps) if word == "close" else size.expert


def save(model: Any, folder: Path) -> None:
    """An ordinary checkpoint folder in float32, with its tokenizer."""
    pretrained.save(model, folder)
    write_tokenizer(folder, LONGEST)


@dataclass(frozen=True)
class Grade:
    """A model's answers to one skill: which are right in full, and the share of tokens that are."""

    hits: tuple[bool, ...]
    tokens: float

    @property
    def exact(self) -> float:
        return sum(self.hits) / len(self.hits)


def graded(model: Any, exam: Mapping[str, Sequence[Document]]) -> dict[str, Grade]:
    """Exact match and token accuracy on every skill of an exam.

    An answer is right when every token is, given the right tokens before it: then writing it token by token, always the
    likeliest, would have written the very same.
    """
    ids, labels = collate([document for documents in exam.values() for document in documents])
    with torch.inference_mode():
        guesses = torch.cat([model(input_ids=part, use_cache=False).logits.argmax(-1) for part in ids.split(400)])
    right, asked = guesses == labels, labels != IGNORED
    exact = (right | ~asked).all(-1)
    grades, at = {}, 0
    for word, documents in exam.items():
        rows = slice(at, at := at + len(documents))
        grades[word] = Grade(tuple(exact[rows].tolist()), _share(right[rows], asked[rows]))
    return grades


def _share(right: Tensor, asked: Tensor) -> float:
    return float((right & asked).sum() / asked.sum())
