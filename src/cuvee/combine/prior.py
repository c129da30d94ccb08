"""How frequent the classes are before anything is known of a row."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array


def class_prior(truth: Array, classes: int) -> Array:
    """The share of each class, none of them zero: `(n_k + 1) / (n + K)`.

    Args:
        truth: `[N]`, numbers of classes.
        classes: K.

    Returns:
        `[K]`, sum one.
    """
    counts = np.bincount(truth, minlength=classes)
    prior: Array = (counts + 1) / (len(truth) + classes)
    return prior
