"""Sounds put into classes by models of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.members.running import Features, Parts, at_work, logits_of, one_column, pooled, run_features


def ask_sounds(parts: Parts, X: Any) -> Array:
    """Logits of sounds, float64 `[N, K]`."""
    with at_work(parts):
        return run_features(parts, one_column(X, parts.name, "sounds"), lambda one: _inputs(parts, one), logits_of)


def embed_sounds(parts: Parts, X: Any) -> Array:
    """The mean of the last hidden states over the time of each sound, float64 `[N, D]`."""
    with at_work(parts):
        return run_features(parts, one_column(X, parts.name, "sounds"), lambda one: _inputs(parts, one), pooled)


def _inputs(parts: Parts, sound: Any) -> Features:
    """The inputs of one sound: samples, or a mapping of `array` and `sampling_rate`.

    Raises:
        InputError: `bad-data`: it has another rate than the model, or is no run of samples.
    """
    wanted = int(parts.reader.sampling_rate)
    rate = parts.sampling_rate or wanted
    if isinstance(sound, Mapping):
        sound, rate = sound["array"], int(sound.get("sampling_rate", rate))
    samples = np.asarray(sound, dtype=np.float32)
    wrong = f"{rate} samples a second" if rate != wanted else None
    if samples.ndim != 1 or not len(samples):
        wrong = f"the shape {list(samples.shape)}"
    if wrong:
        message = f"the member {parts.name!r} hears one run of samples at {wanted} a second; found {wrong}"
        raise InputError(
            Fault("bad-data", message, subject=parts.name, hint="resample it, or mix its channels, before")
        )
    return dict(parts.reader(samples, sampling_rate=rate, return_tensors="pt"))
