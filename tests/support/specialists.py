"""Tiny language models of three specialities, each further trained from one base: real models, made in seconds.

Every speciality has words of its own, among which one follows another by a rule of its own, and a few words that all
share. The base has seen a little of everything.
"""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from cuvee.families import pretrained
from tests.support.tokenizers import byte_level, save

SPECIALITIES = ("maths", "code", "law")
OWN, COMMON, LENGTH = 16, 6, 14
VOCABULARY = 640
LETTERS = "abcdefghijklmnop"
WORDS = [*(f"c{x}" for x in LETTERS[:COMMON]), *(f"{s}{x}" for s in SPECIALITIES for x in LETTERS[:OWN])]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,
}
KINDS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config"),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config"),
}


def texts(speciality: str, count: int, seed: int) -> list[str]:
    """Texts of a speciality: its words follow each other by its rule, with common words strewn in."""
    rule = list(range(OWN))
    random.Random(f"rule of {speciality}").shuffle(rule)
    draw = random.Random(f"{speciality}/{seed}")
    made = []
    for _ in range(count):
        at, words = draw.randrange(OWN), []
        for _ in range(LENGTH):
            if draw.random() < 0.2:
                words.append(f"c{LETTERS[draw.randrange(COMMON)]}")
            else:
                words.append(f"{speciality}{LETTERS[at]}")
                at = rule[at]
        made.append("".join(f" {word}" for word in words))
    return made


@functools.cache
def tokenizer() -> Any:
    """Byte-level BPE in which every word, with the blank before it, is one token."""
    made = byte_level([" " + word for word in WORDS] * 3, size=VOCABULARY)
    assert made.get_vocab_size() <= VOCABULARY
    return made


def batch(lines: Sequence[str]) -> torch.Tensor:
    """Texts of one length as tokens."""
    return torch.tensor([one.ids for one in tokenizer().encode_batch(list(lines))])


def train(model: Any, lines: Sequence[str], steps: int, rate: float, seed: int, only: str = "") -> Any:
    """The model trained on texts, thirty-two at a time; only the weights with a piece of a name, all without one."""
    rows, draw = batch(lines), torch.Generator().manual_seed(seed)
    chosen_weights = [weight for name, weight in model.named_parameters() if only in name]
    adam = torch.optim.AdamW(chosen_weights, lr=rate)
    model.train()
    for _ in range(steps):
        chosen = rows[torch.randint(len(rows), (32,), generator=draw)]
        adam.zero_grad()
        model(input_ids=chosen, labels=chosen).loss.backward()
        adam.step()
    return model.eval()


def loss(model: Any, lines: Sequence[str]) -> float:
    """Mean negative log-likelihood of a token."""
    rows = batch(lines)
    with torch.inference_mode():
        return float(model(input_ids=rows, labels=rows).loss)


@dataclass(frozen=True)
class Specialists:
    """Where they lie."""

    folder: Path

    @property
    def base(self) -> Path:
        """The model that all began as."""
        return self.folder / "base"

    def of(self, speciality: str) -> Path:
        """One of them."""
        return self.folder / speciality

    def load(self, name: str) -> Any:
        """One of them, or the base, ready to be asked."""
        return transformers.AutoModelForCausalLM.from_pretrained(self.folder / name).eval()

    def config(self, prompts: int = 6, *, seed: int = 11, **more: Any) -> dict[str, Any]:
        """A mixture of the three, with prompts of each."""
        experts = [
            {"source_model": str(self.of(name)), "positive_prompts": texts(name, prompts, seed)}
            for name in SPECIALITIES
        ]
        return {"base_model": str(self.base), "experts": experts, **more}


def write_specialists(
    folder: Path, kind: str = "llama", *, seed: int = 0, base_steps: int = 90, steps: int = 60, only: str = ".mlp."
) -> Specialists:
    """The base and the three, trained and stored with their tokenizer.

    The three differ from the base in their MLPs alone, unless `only` says otherwise: what a mixture takes of them.
    """
    cls, config = KINDS[kind]
    more = {"head_dim": 8} if kind == "qwen3" else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base = getattr(transformers, cls)(getattr(transformers, config)(**SIZES, **more))
    train(base, [line for name in SPECIALITIES for line in texts(name, 64, seed)], base_steps, 3e-3, seed)
    trained = {
        name: train(copy.deepcopy(base), texts(name, 192, seed), steps, 5e-3, seed, only) for name in SPECIALITIES
    }
    for name, model in {"base": base, **trained}.items():
        pretrained.save(model, folder / name)
        save(folder / name, tokenizer(), eos_token="<|end|>")
    return Specialists(folder)
