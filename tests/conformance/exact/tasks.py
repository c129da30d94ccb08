"""Tasks whose best merge is known in closed form, drawn from seeds with NumPy.

A task gives models (arrays of one shape, and the base they share) together with what the right merge is. Nothing here
knows how a method computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from cuvee import methods

# Neutral settings, by which a method is its paper's formula and nothing more.
PLAIN: dict[str, dict[str, Any]] = {
    "tsv_m": {"lambda_": 1.0},
    "iso_c": {"lambda_": 1.0},
    "iso_cts": {"lambda_": 1.0},
    "knots": {"lambda_": 1.0, "density": 1.0},
    "regmean": {"alpha": 1.0},
}


@dataclass(frozen=True)
class Regression:
    """Models that are each the least-squares optimum of their own data, and the optimum of all data together."""

    models: list[np.ndarray]
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]

    @property
    def grams(self):
        return [x.T @ x for x in self.inputs]

    @property
    def joint(self):
        """Of all rows of all data at once, by a solver that never forms a Gram matrix."""
        return least_squares(np.concatenate(self.inputs), np.concatenate(self.outputs))

    def error(self, weight):
        """Σ ‖X Wᵀ − Y‖² over all data."""
        return sum(float(np.sum((x @ weight.T - y) ** 2)) for x, y in zip(self.inputs, self.outputs))


@dataclass(frozen=True)
class Planted:
    """Deltas Uᵢ diag(σᵢ) Vᵢᵀ; all columns of all U are orthonormal, and so are all columns of all V."""

    u: list[np.ndarray]
    sigma: list[np.ndarray]
    v: list[np.ndarray]
    deltas: list[np.ndarray] = field(init=False)

    def __post_init__(self):
        made = [u @ np.diag(s) @ v.T for u, s, v in zip(self.u, self.sigma, self.v)]
        object.__setattr__(self, "deltas", made)


def least_squares(inputs, outputs):
    """W `[out, in]` of the smallest ‖X Wᵀ − Y‖."""
    return np.linalg.lstsq(inputs, outputs, rcond=None)[0].T


def fitted(inputs: list[np.ndarray], outputs: list[np.ndarray]) -> Regression:
    return Regression([least_squares(x, y) for x, y in zip(inputs, outputs)], inputs, outputs)


def regression(seed, models=3, rows=40, size=6, out=4) -> Regression:
    """Inputs of every task with a covariance of its own, noisy outputs of a teacher of its own; full rank."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(rows, size)) @ rng.normal(size=(size, size)) for _ in range(models)]
    outputs = [x @ rng.normal(size=(size, out)) + rng.normal(size=(rows, out)) for x in inputs]
    return fitted(inputs, outputs)


def regression_of_equal_grams(seed, models=3, rows=40, size=6, out=4) -> Regression:
    """Every task sees the inputs of the first, turned by an orthogonal matrix from the left: the Grams are the same."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(rows, size)) @ rng.normal(size=(size, size))
    inputs = [orthonormal(rng, rows, rows) @ first for _ in range(models)]
    return fitted(inputs, [rng.normal(size=(rows, out)) for _ in inputs])


def regression_of_orthogonal_designs(seed, models=3, rows=40, size=6, out=4) -> Regression:
    """Columns of the inputs are orthogonal and of any length: the Grams are diagonal, a diagonal Fisher tells all."""
    rng = np.random.default_rng(seed)
    inputs = [orthonormal(rng, rows, size) * rng.uniform(0.5, 4.0, size) for _ in range(models)]
    return fitted(inputs, [rng.normal(size=(rows, out)) for _ in inputs])


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0]


def planted(seed, models=3, rank=2, shape=(9, 7)) -> Planted:
    """Mutually orthogonal tasks of a rank each, with singular values that are all different."""
    rng = np.random.default_rng(seed)
    u, v = (orthonormal(rng, n, models * rank) for n in shape)
    sigma = rng.permutation(np.linspace(1.0, 3.0, models * rank)).reshape(models, rank)
    cut = [slice(i * rank, (i + 1) * rank) for i in range(models)]
    return Planted([u[:, c] for c in cut], [-np.sort(-s) for s in sigma], [v[:, c] for c in cut])


def orthogonal_inputs(seed, models=3, rank=2, shape=(5, 8)) -> list[np.ndarray]:
    """Deltas of which each reads a subspace of the inputs of its own; what they write overlaps."""
    rng = np.random.default_rng(seed)
    reads = orthonormal(rng, shape[1], models * rank)
    return [rng.normal(size=(shape[0], rank)) @ reads[:, i * rank : (i + 1) * rank].T for i in range(models)]


def shared_left_basis(seed, models=3, rank=3, shape=(8, 6)):
    """Deltas P Σ Vᵢᵀ with one P for all: P, σ (all different) and the Vᵢᵀ, whose rows, of all models, have length 1."""
    rng = np.random.default_rng(seed)
    basis = orthonormal(rng, shape[0], rank)
    rows = orthonormal(rng, models * shape[1], rank).T
    return basis, np.linspace(3.0, 1.0, rank), np.split(rows, models, axis=1)


def call(name: str, models: Sequence[np.ndarray], base: np.ndarray | None = None, **settings: Any) -> np.ndarray:
    """The method of that name on these arrays in double precision; skips the test where there is no such method yet."""
    if name not in methods.names():
        pytest.skip(f"the method {name} does not exist yet")
    if "collected" in settings:
        settings["collected"] = [torch.from_numpy(np.array(s)) for s in settings["collected"]]
    tensors = [torch.from_numpy(np.array(m)) for m in models]
    given = None if base is None else torch.from_numpy(np.array(base))
    return methods.get(name)(tensors, base=given, **{**PLAIN.get(name, {}), **settings}).numpy()


def call_on_deltas(name: str, deltas: Sequence[np.ndarray], seed: int = 0, **settings: Any) -> np.ndarray:
    """What the method adds to a base that is not zero."""
    base = np.random.default_rng(seed + 1_000).normal(size=deltas[0].shape) / 4
    return call(name, [base + d for d in deltas], base, **settings) - base


@dataclass(frozen=True)
class CommonAndOwn:
    """Two tasks of `[14, 12]` with four common directions, and more of their own than the common ones leave room for.

    The first has four strong directions of its own and a weak one; the second has three strong ones and the weak one of
    the first with the opposite sign, so that the weak one is in neither task's shadow but cancels in their sum.
    """

    deltas: list[np.ndarray]
    iso_cts: np.ndarray
    fraction: float = 1 / 3


def common_and_own(seed) -> CommonAndOwn:
    rng = np.random.default_rng(seed)
    u, v = orthonormal(rng, 14, 12), orthonormal(rng, 12, 12)
    first, second = np.zeros(12), np.zeros(12)
    first[:4], second[:4] = [2.0, 2.2, 2.4, 2.6], [2.3, 2.2, 2.1, 2.0]
    first[4:8], second[8:11] = [1.0, 1.2, 1.4, 1.6], [1.1, 1.3, 1.5]
    first[11], second[11] = 0.5, -0.5
    # common singular values are those of the sum; the weak direction counts once, as the second task has it
    taken = np.concatenate([(first + second)[:4], first[4:8], second[8:11], [0.5]])
    signs = np.sign(np.concatenate([first[:8], second[8:]]))
    return CommonAndOwn([u @ np.diag(s) @ v.T for s in (first, second)], taken.mean() * u @ np.diag(signs) @ v.T)
