"""Glyphs: classes of two pen strokes each, drawn ever differently on 16 × 16 pixels; and an embedding per class.

A class is any whole number. Its embedding is made from its clean picture by a fixed projection, so that every class,
those never seen in training included, has a head that nobody trained: what a text tower does for CLIP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

SIDE: Final = 16
EMBEDDED: Final = 32
BASE_CLASSES: Final = tuple(range(1000, 1400))
_DRAWN_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class Hand:
    """How unsteady the hand is that draws; standard deviations, and the range of the stroke's half-width."""

    jitter: float = 0.07
    rotation: float = 0.25
    scale: float = 0.15
    shear: float = 0.15
    shift: float = 0.12
    half_width: tuple[float, float] = (0.05, 0.11)
    noise: float = 0.1


@cache
def template(number: int) -> Tensor:
    """The points of a class, `[2 strokes, 4 points, 2]`, in [-0.85, 0.85]."""
    draw = torch.Generator().manual_seed(12345 * 1000003 + number)
    return torch.rand(2, 4, 2, generator=draw) * 1.7 - 0.85


def _pixels() -> Tensor:
    """Pixel centres, `[256, 2]`: x along columns, y along rows."""
    along = torch.linspace(-1.15, 1.15, SIDE)
    rows, columns = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([columns, rows], -1).reshape(-1, 2)


def distances(points: Tensor) -> Tensor:
    """From each pixel to the nearest segment of the strokes: `[n, 2, 4, 2]` to `[n, 256]`."""
    starts, ends = points[:, :, :-1].flatten(1, 2), points[:, :, 1:].flatten(1, 2)
    along = ends - starts
    away = _pixels()[None, :, None] - starts[:, None]
    place = (away * along[:, None]).sum(-1) / (along * along).sum(-1).clamp_min(1e-9)[:, None]
    nearest = away - place.clamp(0, 1)[..., None] * along[:, None]
    return nearest.square().sum(-1).amin(-1).sqrt()


def glyphs(classes: Sequence[int], count: int, seed: int, hand: Hand | None = None) -> tuple[Tensor, Tensor]:
    """Pictures `[count, 1, 16, 16]`, ink near 1 and ground near 0, and labels: places in `classes`.

    Args:
        classes: numbers of the classes; each picture's is drawn uniformly.
        count: number of pictures.
        seed: of labels and hands.
        hand: how they are drawn.
    """
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(classes), (count,), generator=draw)
    templates = torch.stack([template(number) for number in classes])
    parts = [_drawn(templates[part], draw, hand or Hand()) for part in labels.split(_DRAWN_AT_ONCE)]
    return torch.cat(parts), labels


def _drawn(points: Tensor, draw: torch.Generator, hand: Hand) -> Tensor:
    count = len(points)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=draw)

    points = points + hand.jitter * normal(2, 4, 2)
    turn, scale, shear = (one[:, None, None] for one in _turned(normal, hand))
    x, y = points.unbind(-1)
    cos, sin = scale * turn.cos(), turn.sin()
    points = torch.stack([cos * x + (shear - sin) * y, sin * x + cos * y], -1)
    points = points + hand.shift * normal(2)[:, None, None]
    low, high = hand.half_width
    half_width = low + (high - low) * torch.rand(count, 1, generator=draw)
    ink = torch.sigmoid((half_width - distances(points)) / 0.03)
    return (ink + hand.noise * normal(SIDE * SIDE)).reshape(count, 1, SIDE, SIDE)


def _turned(normal: Callable[..., Tensor], hand: Hand) -> tuple[Tensor, Tensor, Tensor]:
    """How far each picture is turned, enlarged and slanted."""
    return hand.rotation * normal(), 1 + hand.scale * normal(), hand.shear * normal()


def prototypes(classes: Sequence[int]) -> Tensor:
    """The clean picture of each class, blurred to 8 × 8: `[classes, 64]`."""
    points = torch.stack([template(number) for number in classes])
    clean = torch.sigmoid((0.14 - distances(points)) / 0.08).reshape(-1, 1, SIDE, SIDE)
    return functional.avg_pool2d(clean, 3, 2, 1).flatten(1)


@cache
def _projection() -> tuple[Tensor, Tensor]:
    """The mean of the base classes' prototypes and 32 directions, each scaled by how much they spread along it."""
    found = prototypes(BASE_CLASSES)
    mean = found.mean(0)
    _, spread, directions = torch.linalg.svd(found - mean, full_matrices=False)
    deviation = spread[:EMBEDDED] / len(BASE_CLASSES) ** 0.5
    return mean, directions[:EMBEDDED].T / (deviation + 0.05)


def embeddings(classes: Sequence[int]) -> Tensor:
    """A head for each class, `[classes, 32]`, of length 1."""
    mean, projection = _projection()
    return functional.normalize((prototypes(classes) - mean) @ projection, dim=-1)
