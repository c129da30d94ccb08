"""A small transformer that learns to read reviews in some seconds, written as an ordinary model folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from cuvee.demo.predictions.reviews import LABELS, Review
from cuvee.demo.train import Schedule
from cuvee.families.pretrained import library, quiet
from cuvee.families.training import skeleton

LEARNING: Final = Schedule(steps=330, batch=64, rate=2e-3, warm_up=30)
"""About seven times through 3,000 reviews."""

_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]")
_WIDTH: Final = 48
"""Tokens of the longest review, with room to spare."""


def train_reader(
    folder: Path,
    lessons: Sequence[Review],
    seed: int,
    schedule: Schedule = LEARNING,
    step_done: Callable[[int], None] | None = None,
) -> None:
    """Train a reader on reviews and write it as a model folder of transformers.

    Args:
        folder: the folder to write; its parent is there.
        lessons: what it learns from.
        seed: of the first weights and of the order of the lessons.
        schedule: steps, batch size and learning rate.
        step_done: called after each step with the number of steps done.
    """
    words = _vocabulary(lessons)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = skeleton(json.dumps(_config(len(words))), "the reader")
        _learn(model, *_encoded(lessons, words), schedule, generator, step_done)
    with quiet(library()):  # its meter would stand in ours
        model.eval().save_pretrained(folder)
    for name, told in _tokenizer(words).items():
        (folder / name).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _vocabulary(lessons: Sequence[Review]) -> dict[str, int]:
    counts = Counter(word for one in lessons for word in _split(one.text))
    return {word: number for number, word in enumerate((*_SPECIAL, *sorted(counts)))}


def _split(text: str) -> list[str]:
    """Words and marks, as the tokenizer's `Whitespace` splits them."""
    return re.findall(r"\w+|[^\w\s]+", text)


def _encoded(lessons: Sequence[Review], words: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids `[n, width]`, filled up with 0, and the number of each label."""
    rows = [[words["[CLS]"], *(words[word] for word in _split(one.text))] for one in lessons]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for row, found in zip(ids, rows):
        row[: len(found)] = torch.tensor(found)
    return ids, torch.tensor([LABELS.index(one.label) for one in lessons])


def _learn(
    model: Any,
    ids: torch.Tensor,
    labels: torch.Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    step_done: Callable[[int], None] | None,
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    model.train()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_at(step)
        drawn = torch.randint(len(ids), (schedule.batch,), generator=generator)
        batch = ids[drawn]
        batch = batch[:, : int((batch > 0).sum(1).max())]
        loss = model(input_ids=batch, attention_mask=(batch > 0).long(), labels=labels[drawn]).loss
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step_done is not None:
            step_done(step + 1)


def _config(words: int) -> dict[str, Any]:
    return {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": words,
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": _WIDTH,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }


def _tokenizer(words: dict[str, int]) -> dict[str, Any]:
    """The files of its tokenizer: whole words, `[CLS]` in front."""
    special = [
        {"id": words[token], "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for token in _SPECIAL
    ]
    first = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    told = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [words["[CLS]"]], "tokens": ["[CLS]"]}},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": _WIDTH, **names}
    return {"tokenizer.json": told, "tokenizer_config.json": settings}
