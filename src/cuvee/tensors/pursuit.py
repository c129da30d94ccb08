"""Orthogonal matching pursuit: vectors told as sums of a few others, and these sums carried over into another space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

SAME: Final = 1e-6
"""Scores that differ by less than this share of the length of the rest are one: rounding must not choose an atom."""
SETTLED: Final = 1e-6
"""Share of its length below which what is left of a vector is nothing."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """Vectors as sums of atoms.

    Attributes:
        atoms: numbers of the atoms in the order in which they were chosen, [rows, k]; 0 where none was.
        weights: what each counts, float64 [rows, k]; 0 where none was chosen.
        left: length of what the sum does not reach over the length of the vector, float64 [rows], [0, 1]; 0 of a
            vector of zeros.
    """

    atoms: Tensor
    weights: Tensor
    left: Tensor

    def of(self, others: Tensor) -> Tensor:
        """The same sums of other vectors.

        Args:
            others: one vector for every atom, [atoms, width].

        Returns:
            float64 [rows, width].
        """
        found = torch.zeros(len(self.atoms), others.shape[1], dtype=torch.float64, device=others.device)
        for place in range(self.atoms.shape[1]):
            found += self.weights[:, place, None] * others[self.atoms[:, place]].double()
        return found


def pursue(targets: Tensor, atoms: Tensor, *, k: int) -> Sparse:
    """Tell every target as a sum of at most `k` atoms.

    Step by step the atom a with the largest |⟨r, a⟩| / ‖a‖ is taken to those chosen, where r is what is left of the
    target y, and all weights are found anew: min over w of ‖y − Σ wⱼ aⱼ‖. Of atoms that are alike in this, the first is
    taken. It ends early where nothing is left, or no atom has a part in what is. Chosen atoms are kept as an
    orthonormal basis, and w solves the triangular system that belongs to it.

    Args:
        targets: [rows, width], float32 or float64.
        atoms: [n, width], of the same dtype. The scores are worked out in it, all else in float64.
        k: most atoms of a sum, 1 or more.

    Example:
        >>> found = pursue(torch.tensor([[3.0, 4.0]]), torch.eye(2), k=1)
        >>> found.atoms.tolist(), found.weights.tolist(), [round(x, 3) for x in found.left.tolist()]
        ([[1]], [[4.0]], [0.6])

    Reference:
        Pati, Rezaiifar and Krishnaprasad 1993; for embeddings Goddard and Fernandes Neto 2025, arXiv:2506.06607, §3.
        Atoms are compared as if they were of length 1, so that a long one is not taken for a near one.
    """
    rows, width = targets.shape
    k = min(k, len(atoms), width)
    state = _State.begin(targets, max(k, 1))
    if not len(atoms) or not rows:
        return state.told()
    norms = torch.linalg.vector_norm(atoms.double(), dim=1)
    units = (atoms / norms.clamp_min(torch.finfo(torch.float64).tiny)[:, None]).to(atoms.dtype)
    for place in range(k):
        rest = state.rest.to(atoms.dtype)
        slack = SAME * torch.linalg.vector_norm(rest, dim=1)
        choice, score = _best(rest @ units.T, slack)
        alive = state.alive & (score > SETTLED * state.lengths)
        if not alive.any():
            break
        state.add(place, choice, atoms[choice].double(), alive)
    return state.told()


def _best(scores: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """The first of the atoms that are best by magnitude, for every row, and the best score.

    One that was chosen is orthogonal to the rest, and one of zeros to everything: neither is ever best.
    """
    scores = scores.abs()
    best = scores.amax(1)
    choice = (scores >= (best - slack)[:, None]).to(torch.uint8).argmax(1)
    return choice, best.double()


@dataclass(slots=True)
class _State:
    """Where the pursuit of a block of targets stands; its tensors are its own buffers.

    `basis` [rows, k, width] is orthonormal, `factor` [rows, k, k] upper triangular: chosen atoms = factorᵀ · basis.
    """

    lengths: Tensor
    rest: Tensor
    alive: Tensor
    basis: Tensor
    factor: Tensor
    parts: Tensor
    atoms: Tensor

    @classmethod
    def begin(cls, targets: Tensor, k: int) -> _State:
        """Nothing chosen yet."""
        (rows, width), device = targets.shape, targets.device
        rest = targets.double()
        lengths = torch.linalg.vector_norm(rest, dim=1)
        return cls(
            lengths,
            rest.clone(),
            lengths > 0,
            torch.zeros(rows, k, width, dtype=torch.float64, device=device),
            torch.eye(k, dtype=torch.float64, device=device).repeat(rows, 1, 1),
            torch.zeros(rows, k, dtype=torch.float64, device=device),
            torch.zeros(rows, k, dtype=torch.int64, device=device),
        )

    def add(self, place: int, choice: Tensor, chosen: Tensor, alive: Tensor) -> None:
        """Take one more atom to those of every row that goes on.

        An atom that lies in the span of those before has nothing new to it; the row goes on without.
        """
        before = self.basis[:, :place]
        new, along = chosen.clone(), torch.zeros_like(self.parts[:, :place])
        for _ in range(2):  # once leaves what rounding brings in, twice does not
            part = (before @ new[:, :, None])[:, :, 0]
            new -= (part[:, None] @ before)[:, 0]
            along += part
        height = torch.linalg.vector_norm(new, dim=1)
        fresh = alive & (height > SETTLED * torch.linalg.vector_norm(chosen, dim=1))
        unit = torch.where(fresh[:, None], new / height.clamp_min(torch.finfo(torch.float64).tiny)[:, None], 0.0)
        part = (unit * self.rest).sum(1)
        self.basis[:, place] = unit
        self.factor[:, :place, place] = torch.where(fresh[:, None], along, 0.0)
        self.factor[:, place, place] = torch.where(fresh, height, 1.0)
        self.parts[:, place] = part
        self.atoms[:, place] = torch.where(fresh, choice, 0)
        self.rest -= part[:, None] * unit
        left = torch.linalg.vector_norm(self.rest, dim=1)
        self.alive = alive & (left > SETTLED * self.lengths)

    def told(self) -> Sparse:
        """The sums found."""
        weights = torch.linalg.solve_triangular(self.factor, self.parts[:, :, None], upper=True)[:, :, 0]
        left = torch.linalg.vector_norm(self.rest, dim=1)
        share = torch.where(self.lengths > 0, left / self.lengths.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
        return Sparse(self.atoms, weights, share)


def rows_within(limit: int, *, atoms: int, width: int, k: int, size: int) -> int:
    """How many targets can be pursued at once in so much memory, 1 at the least.

    Args:
        limit: bytes.
        atoms: how many there are.
        width: entries of a vector.
        k: most atoms of a sum.
        size: bytes of an entry of the scores.
    """
    scores = atoms * (2 * size + 1)
    own = 8 * width * (k + 6) + 8 * k * (k + 4)
    return max(1, limit // (scores + own))
