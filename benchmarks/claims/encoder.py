"""The picture encoder of the glyph tracks, how it is trained, and how it is kept: a folder that says what it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

Batch = tuple[Tensor, Tensor]
"""Pictures and their labels, or a row of label shares each."""
BATCH: Final = 64


class Block(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut; group norm, so that a merge has no statistics to take again."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(4, out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(4, out)
        changes = stride != 1 or inside != out
        self.shortcut = nn.Conv2d(inside, out, 1, stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class Encoder(nn.Module):
    """Pictures `[n, 1, 16, 16]` to `out` figures; before the last one, a map of `place` × `place` says where."""

    def __init__(self, width: int, out: int, place: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.norm = nn.GroupNorm(4, width)
        sizes = ((width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2))
        self.blocks = nn.Sequential(*(Block(*size) for size in sizes))
        self.pool = nn.AdaptiveAvgPool2d(place)
        self.head = nn.Linear(4 * width * place * place, out)

    def features(self, x: Tensor) -> Tensor:
        return self.pool(self.blocks(functional.relu(self.norm(self.stem(x))))).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class Shape:
    """What an `Encoder` is built from; written into its `config.json`."""

    width: int = 16
    out: int = 32
    place: int = 2


def save(model: Encoder, shape: Shape, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": ["GlyphEncoder"], "model_type": "glyph-encoder", **vars(shape)}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def load(folder: Path) -> Encoder:
    config = json.loads((folder / "config.json").read_text())
    model = Encoder(config["width"], config["out"], config["place"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


@dataclass(frozen=True)
class Course:
    """A training run: AdamW, the rate warmed up over 20 steps, then along a cosine down to a hundredth."""

    steps: int
    rate: float
    decay: float = 1e-4
    warm_up: int = 20
    floor: float = 0.01

    def rate_at(self, step: int) -> float:
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return self.rate * min(1.0, (step + 1) / self.warm_up) * max(self.floor, cosine)


def train(model: Encoder, course: Course, draw: Callable[[int], Tensor]) -> Encoder:
    """Trained in place; `draw` gives the loss of a step."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=course.decay)
    model.train()
    for step in range(course.steps):
        for group in optimizer.param_groups:
            group["lr"] = course.rate_at(step)
        loss = draw(step)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model.eval()


def batches(data: Batch, seed: int) -> Callable[[], Batch]:
    """Draws of 64 rows with replacement."""
    draw = torch.Generator().manual_seed(seed)

    def one() -> Batch:
        rows = torch.randint(len(data[1]), (BATCH,), generator=draw)
        return data[0][rows], data[1][rows]

    return one


def outputs(model: Encoder, pictures: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([model(part) for part in pictures.split(500)])


def with_weights(model: Encoder, state: Mapping[str, Any]) -> Encoder:
    model.load_state_dict(dict(state))
    return model
