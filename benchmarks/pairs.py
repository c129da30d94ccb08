"""Pairs of models that are known to merge or not: tiny language models, trained from seeds.

A row begins with the name of a dialect, and from then on each token follows from the two before it by the dialect's own
table, now and then by chance. The base has read all dialects, two of them with most of their rules wrong; a fine-tune
has read one of those. A merge of two fine-tunes should know both, which can be measured.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cuvee.families import pretrained

WORDS, CLASSES, LENGTH = 24, 6, 24
"""Tokens besides the names of dialects, classes of the token before last, tokens of a row."""
DIALECTS = ("plain", "north", "south")
FIRST_NAME = WORDS
VOCABULARY = WORDS + len(DIALECTS) + 1
CHANCE = 0.1
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": VOCABULARY - 1,
}
Row = list[int]


def tables() -> Mapping[str, list[list[int]]]:
    """What follows in each dialect: the plain table, and two with a third of it changed, each another third."""
    rng = random.Random(0)
    plain = [[rng.randrange(WORDS) for _ in range(WORDS)] for _ in range(CLASSES)]
    made = {"plain": plain}
    for number, name in enumerate(DIALECTS[1:]):
        table = copy.deepcopy(plain)
        for row in table:
            for cell in range(number * WORDS // 3, (number + 1) * WORDS // 3):
                row[cell] = rng.randrange(WORDS)
        made[name] = table
    return made


TABLES = tables()


def rows(dialect: str, count: int, seed: str, wrong: float = CHANCE) -> list[Row]:
    """Rows of a dialect; a share of the tokens is by chance."""
    rng = random.Random(f"{dialect}/{seed}")
    table, made = TABLES[dialect], []
    for _ in range(count):
        row = [FIRST_NAME + DIALECTS.index(dialect), rng.randrange(WORDS), rng.randrange(WORDS)]
        while len(row) < LENGTH:
            by_chance = rng.random() < wrong
            row.append(rng.randrange(WORDS) if by_chance else table[row[-2] % CLASSES][row[-1]])
        made.append(row)
    return made


def reading(shares: Mapping[str, float], seed: str) -> list[Row]:
    """Two thousand rows of several dialects, each with a share of tokens by chance, shuffled."""
    made = [row for name, wrong in shares.items() for row in rows(name, 2048 // len(shares), seed, wrong)]
    random.Random(seed).shuffle(made)
    return made


def new_model(seed: int, **settings: Any) -> Any:
    """A model as its seed draws it."""
    torch.manual_seed(seed)
    return pretrained.build_causal_lm({**CONFIG, **settings})


def train(model: Any, data: Sequence[Row], steps: int, rate: float, parameters: Any = None) -> Any:
    """The model, trained in place by Adam on batches of 32 rows, the rate going down to nothing."""
    ids = torch.tensor(data)
    adam = torch.optim.Adam(model.parameters() if parameters is None else parameters, lr=rate)
    model.train()
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 20) * (1 - step / steps)
        batch = ids[[(32 * step + i) % len(ids) for i in range(32)]]
        adam.zero_grad()
        torch.autograd.backward(loss_of(model, batch).mean())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    return model.eval()


def loss_of(model: Any, batch: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each row, over the tokens that a table gives."""
    logits = model(input_ids=batch, use_cache=False).logits[:, 2:-1]
    flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 3:].flatten(), reduction="none")
    return flat.reshape(len(batch), -1).mean(1)


def tuned(base: Any, dialect: str, steps: int = 120, rate: float = 1e-3, seed: str = "tune") -> Any:
    """A copy of the base that has read one dialect."""
    return train(copy.deepcopy(base), reading({dialect: CHANCE}, seed), steps, rate)


def tuned_low_rank(base: Any, dialect: str, rank: int = 4, steps: int = 200, rate: float = 5e-3) -> Any:
    """A copy of the base with low-rank changes of its matrices, trained as such and then added (LoRA)."""
    model = copy.deepcopy(base)
    torch.manual_seed(7)
    pairs = []
    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.requires_grad_(False)
            down = torch.nn.Parameter(0.1 * torch.randn(rank, module.in_features))
            up = torch.nn.Parameter(torch.zeros(module.out_features, rank))
            torch.nn.utils.parametrize.register_parametrization(module, "weight", _Added(up, down))
            pairs += [up, down]
    train(model, reading({dialect: CHANCE}, "lora"), steps, rate, pairs)
    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.utils.parametrize.remove_parametrizations(module, "weight")
    return model


class _Added(torch.nn.Module):
    """W + up · down."""

    def __init__(self, up: torch.nn.Parameter, down: torch.nn.Parameter) -> None:
        super().__init__()
        self.up, self.down = up, down

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def permuted(model: Any, seed: int = 3, *, stream: bool = False) -> Any:
    """The same function with its hidden units and heads in another order, and with `stream` its residual stream too."""
    made, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    width = CONFIG["hidden_size"] // CONFIG["num_attention_heads"]
    with torch.no_grad():
        for layer in made.model.layers:
            units = torch.randperm(CONFIG["intermediate_size"], generator=generator)
            heads = torch.randperm(CONFIG["num_attention_heads"], generator=generator)
            places = (heads[:, None] * width + torch.arange(width)).flatten()
            for linear in (layer.mlp.gate_proj, layer.mlp.up_proj):
                linear.weight.copy_(linear.weight[units].clone())
            layer.mlp.down_proj.weight.copy_(layer.mlp.down_proj.weight[:, units].clone())
            for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                linear.weight.copy_(linear.weight[places].clone())
            layer.self_attn.o_proj.weight.copy_(layer.self_attn.o_proj.weight[:, places].clone())
        if stream:
            _move_stream(made, torch.randperm(CONFIG["hidden_size"], generator=generator))
    return made


def _move_stream(model: Any, order: torch.Tensor) -> None:
    """Put the residual stream's places in another order."""
    for name, parameter in model.named_parameters():
        writes = name.endswith(("o_proj.weight", "down_proj.weight"))
        moved = parameter[order] if writes or parameter.dim() == 1 else parameter[:, order]
        parameter.copy_(moved.clone())


def pruned(model: Any, share: float = 0.5) -> Any:
    """A copy in which the smallest entries of every matrix of the layers are zero."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.model.layers.parameters():
            if parameter.dim() == 2:
                limit = parameter.abs().flatten().kthvalue(int(share * parameter.numel())).values
                parameter.mul_(parameter.abs() > limit)
    return made


@dataclass(frozen=True)
class Pair:
    """Two models, what they were tuned from, and what should be said of them.

    `wanted` is the verdict: `merge`, `care` or `no`. `because` names rules of which one at least must be a reason.
    """

    name: str
    a: str
    b: str
    wanted: str
    base: str | None = None
    because: tuple[str, ...] = ()


PAIRS = (
    Pair("same base", "north", "south", "merge", "base"),
    Pair("different initialisation", "north", "stranger", "no", None, ("strangers",)),
    Pair("permuted copy", "north", "shuffled", "no", None, ("permuted",)),
    Pair("permuted copy, residual stream too", "north", "streamed", "no", None, ("permuted",)),
    Pair("permuted fine-tune", "north", "shuffled-south", "no", None, ("permuted",)),
    Pair("different vocabulary", "north", "words", "no", None, ("vocabulary-mismatch",)),
    Pair("different depth", "north", "deep", "no", None, ("layer-count-mismatch",)),
    Pair("pruned", "pruned", "south", "care", "base", ("pruned",)),
    Pair("fine-tuned far", "far", "south", "care", "base", ("far",)),
    Pair("fine-tuned farther", "farther", "south", "no", "base", ("farther",)),
    Pair("identical", "north", "copy", "merge", "base", ("same",)),
    Pair("low-rank fine-tunes", "lora-north", "lora-south", "merge", "base", ("low-rank",)),
    Pair("other dtype", "north-bf16", "south", "merge", "base", ("dtypes",)),
)


@dataclass
class Cellar:
    """Models by name, made when they are asked for."""

    makers: Mapping[str, Callable[[Cellar], Any]]
    made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self.made:
            self.made[name] = self.makers[name](self)
        return self.made[name]


HALF_WRONG = {"plain": CHANCE, "north": 0.6, "south": 0.6}
FIRST = {"steps": 700, "rate": 5e-3}


def cellar(seed: int = 0) -> Cellar:
    """All models of the pairs."""

    def first(number: int, **settings: Any) -> Any:
        return train(new_model(100 * seed + number, **settings), reading(HALF_WRONG, f"base {seed}"), **FIRST)

    return Cellar(
        {
            "base": lambda _: first(0),
            "north": lambda c: tuned(c["base"], "north"),
            "south": lambda c: tuned(c["base"], "south"),
            "stranger": lambda _: tuned(first(1), "south"),
            "shuffled": lambda c: permuted(c["north"], seed + 3),
            "streamed": lambda c: permuted(c["north"], seed + 4, stream=True),
            "shuffled-south": lambda c: permuted(c["south"], seed + 5),
            "words": lambda _: tuned(first(2, vocab_size=VOCABULARY + 8), "south"),
            "deep": lambda _: tuned(first(3, num_hidden_layers=5), "south"),
            "pruned": lambda c: pruned(c["north"]),
            "far": lambda c: tuned(c["base"], "north", 600, 5e-3),
            "farther": lambda c: tuned(c["base"], "north", 1500, 2e-2),
            "copy": lambda c: copy.deepcopy(c["north"]),
            "lora-north": lambda c: tuned_low_rank(c["base"], "north"),
            "lora-south": lambda c: tuned_low_rank(c["base"], "south"),
            "north-bf16": lambda c: copy.deepcopy(c["north"]).to(torch.bfloat16),
        }
    )


def write(models: Cellar, names: Sequence[str], folder: Path) -> None:
    """The models as folders, those that are there already left alone."""
    for name in names:
        if not (folder / name).exists():
            pretrained.save(models[name], folder / name)


def write_rows(path: Path, count: int = 64, seed: str = "test") -> Path:
    """Rows of both tuned dialects as a data file."""
    both = [*rows("north", count, seed), *rows("south", count, seed)]
    path.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in both), "utf-8")
    return path


def halfway(a: Any, b: Any) -> Any:
    """The mean of two models, as weights."""
    made = copy.deepcopy(a).float()
    other = dict(b.named_parameters())
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.add_(other[name].float()).mul_(0.5)
    return made


__all__ = ["PAIRS", "Cellar", "Pair", "cellar", "halfway", "loss_of", "rows", "write", "write_rows"]
