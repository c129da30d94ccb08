"""Pictures put into classes by models of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.predict.members.running import Features, Parts, at_work, logits_of, one_column, pooled, run_features


def ask_pictures(parts: Parts, X: Any) -> Array:
    """Logits of pictures, float64 `[N, K]`."""
    with at_work(parts):
        return run_features(parts, one_column(X, parts.name, "pictures"), lambda one: _inputs(parts, one), logits_of)


def embed_pictures(parts: Parts, X: Any) -> Array:
    """The mean of the last hidden states over the places of each picture, float64 `[N, D]`."""
    with at_work(parts):
        return run_features(parts, one_column(X, parts.name, "pictures"), lambda one: _inputs(parts, one), pooled)


def _inputs(parts: Parts, picture: Any) -> Features:
    return {"pixel_values": parts.reader([_opened(picture)], return_tensors="pt")["pixel_values"]}


def _opened(picture: Any) -> Any:
    """A picture in RGB: of a path, the bytes of a file, pillow's, or an array, which is of greys if it is flat."""
    from cuvee.judging.tasks.pictures import open_picture

    if isinstance(picture, str | Path | bytes):
        return open_picture(picture if isinstance(picture, bytes) else Path(picture))
    if hasattr(picture, "convert"):
        return picture.convert("RGB")
    pixels = np.asarray(picture)
    return np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels
