"""Banks of members that are right more or less often, drawn from a seed."""

from __future__ import annotations

import numpy as np

from cuvee.predict import Bank


def noisy_bank(members=4, rows=60, classes=3, seed=0, *, masked=0.0, provenance="hold-out", features=0):
    """Members of different skill and sharpness; some entries masked, but never all of a row."""
    draw = np.random.default_rng(seed)
    truth = np.arange(rows) % classes
    logits = draw.normal(size=(members, rows, classes)) * draw.uniform(0.5, 2, (members, 1, 1))
    logits[:, np.arange(rows), truth] += draw.uniform(0, 3, (members, 1))
    P = np.exp(logits)
    P /= P.sum(axis=-1, keepdims=True)
    mask = draw.random((members, rows)) >= masked
    mask[draw.integers(0, members, rows), np.arange(rows)] = True
    P[~mask] = np.nan
    return Bank(
        "classification",
        tuple(f"m{i}" for i in range(members)),
        tuple(f"c{i}" for i in range(classes)),
        P,
        mask,
        tuple(map(str, range(rows))),
        truth,
        (provenance,) * members,
        (True,) * members,
        features=draw.normal(size=(rows, features)) if features else None,
    )


def noisy_values(members=4, rows=60, seed=0, *, masked=0.0, provenance="hold-out"):
    """A regression: members are the truth with noise and a shift."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=rows) * 3 + 10
    P = truth + draw.normal(size=(members, rows)) * draw.uniform(0.3, 2, (members, 1)) + draw.normal(size=(members, 1))
    mask = draw.random((members, rows)) >= masked
    mask[draw.integers(0, members, rows), np.arange(rows)] = True
    P[~mask] = np.nan
    names, ids = tuple(f"m{i}" for i in range(members)), tuple(map(str, range(rows)))
    return Bank("regression", names, (), P[:, :, None], mask, ids, truth, (provenance,) * members, (False,) * members)
