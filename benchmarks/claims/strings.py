"""The string skills: twenty small jobs on rows of symbols, told to a language model as one instruction each.

The skills of the demo, and `close`, whose answers are like no other skill's. A document is a row of word tokens; the
form asked for, `Q ? reverse a b c > A c b a`, recombines delimiters that pre-training shows in another order. A hash of
the input decides whether it may be trained on, tuned on or tested on, whatever the seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cuvee.demo.skills import (
    BOS,
    EOS,
    INSTRUCTION_SKILLS,
    LETTERS,
    NOISE,
    PADDING_FORM,
    Document,
    Skill,
    Split,
    split_of,
)
from cuvee.demo.skills import SKILLS as OF_DEMO
from cuvee.demo.skills import draw_input as draw_letters

OPENING: Final = "([{"
CLOSING: Final = ")]}"
CLOSES: Final = dict(zip(OPENING, CLOSING))


def closing(text: str) -> str:
    """The brackets that close what is open, the innermost first."""
    still_open: list[str] = []
    for symbol in text:
        if symbol in CLOSES:
            still_open.append(CLOSES[symbol])
        else:
            still_open.pop()
    return "".join(reversed(still_open))


CLOSE: Final = Skill("close", "the brackets that close what is open", closing)
SKILLS: Final[Mapping[str, Skill]] = {**OF_DEMO, "close": CLOSE}

HELD_IN: Final = ("reverse", "sort", "next", "swap", "close", "double", "rotate", "ends")
"""The skills of the experts, one each. `close` and `double` have answers unlike any other skill's: hard to merge."""
HELD_OUT: Final = ("unrotate", "descend", "odd", "previous")
"""Skills that nobody is fine-tuned on."""
INSTRUCTIONS: Final = INSTRUCTION_SKILLS
"""The skills of instruction tuning; no expert is trained on one of them."""

VOCABULARY: Final = ("<pad>", "<bos>", "<eos>", ">", ";", "Q", "?", "A", *SKILLS, *LETTERS, *OPENING, *CLOSING)
_ID: Final = {token: i for i, token in enumerate(VOCABULARY)}
_BARREN: Final = 2000
"""Draws in a row that give nothing new, after which a split is taken to have no more."""


def draw_brackets(rng: random.Random) -> str:
    """A row of four to six brackets with at least one left open; a closer closes the innermost one."""
    length = rng.choice((4, 5, 6))
    text, still_open = "", ""
    for place in range(length):
        last_one = place == length - 1 and len(still_open) == 1
        if still_open and place >= 2 and rng.random() < 0.35 and not last_one:
            text, still_open = text + CLOSES[still_open[-1]], still_open[:-1]
        else:
            kind = rng.choice(OPENING)
            text, still_open = text + kind, still_open + kind
    return text


def draw_input(skill: Skill, split: Split, rng: random.Random) -> str:
    """A random input of a skill that belongs to the split."""
    if skill is not CLOSE:
        return draw_letters(skill, split, rng)
    while True:
        text = draw_brackets(rng)
        if split_of(text) == split:
            return text


def encode(tokens: Sequence[str], answer: str) -> Document:
    """`<bos>`, the prompt's tokens, the symbols of the answer, `<eos>`."""
    prompt = (BOS, *(_ID[token] for token in tokens))
    return Document((*prompt, *(_ID[symbol] for symbol in answer), EOS), len(prompt))


def prompt_of(word: str, text: str) -> tuple[str, ...]:
    """The instruction form, up to where the answer begins."""
    return ("Q", "?", word, *text, ">", "A")


def instruction(word: str, text: str) -> Document:
    return encode(prompt_of(word, text), SKILLS[word].answer(text))


def web_text(rng: random.Random) -> Document:
    """A document of pre-training: a random skill in a form other than that asked for, now and then answered wrongly."""
    skill = SKILLS[rng.choice(tuple(SKILLS))]
    text = draw_input(skill, "train", rng)
    rare = rng.random() < PADDING_FORM
    answered = draw_input(skill, "train", rng) if rng.random() < NOISE else text
    if rare:
        tokens: tuple[str, ...] = ("Q", *text, "?", skill.word, "A")
    elif rng.random() < 0.5:
        tokens = (skill.word, *text, ">")
    else:
        tokens = (*text, ";", skill.word, ">")
    return encode(tokens, skill.answer(answered))


def lesson(words: Sequence[str], rng: random.Random) -> Document:
    """A training document in the instruction form, on one of the skills named."""
    word = rng.choice(tuple(words))
    return instruction(word, draw_input(SKILLS[word], "train", rng))


def inputs(word: str, split: Split, count: int, seed: int) -> tuple[str, ...]:
    """Different inputs of a skill, `count` of them or as many as the split has (`close` has fewer than 300 for tests).

    The draw depends on seed, split and skill, so that the errors of two skills have nothing in common.
    """
    rng = random.Random(f"claims/{seed}/{split}/{word}")
    found: dict[str, None] = {}
    barren = 0
    while len(found) < count and barren < _BARREN:
        text = draw_input(SKILLS[word], split, rng)
        barren = barren + 1 if text in found else 0
        found[text] = None
    return tuple(found)


def items(word: str, split: Split, count: int, seed: int) -> tuple[Document, ...]:
    return tuple(instruction(word, text) for text in inputs(word, split, count, seed))


def write_task(word: str, folder: Path, counts: Mapping[Split, int], seed: int) -> None:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`: a prompt and its answer, tokens parted by spaces."""
    folder.mkdir(parents=True)
    for split, count in counts.items():
        rows = (
            {"prompt": " ".join(prompt_of(word, text)), "answer": " ".join(SKILLS[word].answer(text))}
            for text in inputs(word, split, count, seed)
        )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_tokenizer(folder: Path, longest: int) -> None:
    """A tokenizer of whole words parted by spaces, which puts `<bos>` in front."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    words.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
