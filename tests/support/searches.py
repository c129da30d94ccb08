"""Small models and tasks to search with: a state dict of one tensor, worth more the nearer it is to a target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cuvee.searching.cellar import Candidate
from cuvee.searching.reading import read_space
from cuvee.searching.space import Space
from cuvee.types import Score
from tests.support.checkpoints import write_model

SIZE = 6


def units(count: int) -> dict[str, torch.Tensor]:
    """A base of zeros and models that each are 1 in one place: the merge's entries are its weights."""
    made = {"base": torch.zeros(SIZE)}
    return made | {f"m{i}": torch.eye(SIZE)[i] for i in range(count)}


def write_units(folder: Path, count: int = 3) -> Path:
    """The same as folders."""
    for name, values in units(count).items():
        write_model(folder / name, {"w": values})
    return folder


def build(candidate: Candidate) -> torch.Tensor:
    """What the tasks below run: the tensor."""
    return candidate.tensors["w"].clone()


@dataclass
class Near:
    """A row's score is −|w − target|² and a little noise of the row, known and the same for every model."""

    target: Sequence[float]
    name: str = "near"
    count: int = 80
    noise: float = 0.01
    rows_asked: list[tuple[int, ...]] = field(default_factory=list)

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        asked = tuple(range(self.count) if rows is None else rows)
        self.rows_asked.append(asked)
        miss = sum((float(model[i]) - t) ** 2 for i, t in enumerate(self.target))
        each = tuple(-miss + self.noise * math.sin(row) for row in asked)
        mean = sum(each) / len(each)
        spread = math.sqrt(sum((x - mean) ** 2 for x in each) / (len(each) * max(1, len(each) - 1)))
        return Score("nearness", mean, spread, len(each), "higher", each)


def sums(count: int = 3, hole: dict[str, Any] | None = None, folder: Path | None = None) -> dict[str, Any]:
    """A recipe whose candidates are sums of the models, each with a weight of its own."""
    at = "" if folder is None else f"{folder}/"
    weight = hole or {"search": [0, 1]}
    entries = [{"model": f"{at}m{i}", "parameters": {"weight": dict(weight)}} for i in range(count)]
    return {"merge_method": "task_arithmetic", "base_model": f"{at}base", "models": entries}


def space_from(data: Any) -> Space:
    """The space of Python data."""
    from cuvee.recipe.parse import document_from

    return read_space([document_from(data)], None)


def task() -> Near:
    """A task for the command line, which names it `tests.support.searches:task`."""
    return Near([0.8, 0.1, 0.4], noise=0.0)


def write_language_models(folder: Path) -> Path:
    """Three language models `x`, `y` and `z`."""
    import transformers

    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    for seed, name in enumerate("xyz"):
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(**shape, vocab_size=20, max_position_embeddings=32, tie_word_embeddings=True)
        transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / name)
    return folder


@dataclass
class Logits(Near):
    """A row's score is the size of what a language model answers."""

    name: str = "logits"
    count: int = 20

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        asked = tuple(range(self.count) if rows is None else rows)
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[3, row % 20, row % 7] for row in asked])).logits
        each = tuple(float(one.double().square().mean()) for one in logits)
        return Score("size", sum(each) / len(each), 0.01, len(each), "higher", each)


def logits() -> Logits:
    """A task for the command line, which names it `tests.support.searches:logits`."""
    return Logits([0.0])
