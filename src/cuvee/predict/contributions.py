"""Which member contributed what to the prediction of a row.

    Σ_m contributions[n, m, k] + base[n, k] + calibration[n, k] = output[n, k]

    weighted means   share_mn · P_mnk; nothing is said without members, so that the base is 0
    all others       Shapley values over the members, per row and class,
                     φ_m = Σ_S |S|! (M − |S| − 1)! / M! (v(S ∪ m) − v(S)), exact up to 12 members, from drawn orders
                     above (`coalition_game` says what v is); the base is v(∅)

A temperature acts on what was pooled, softmax(ln p / T), and belongs to no member: what it changes is told by itself,
in probabilities, and is zero without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from cuvee.combine import Array, shares
from cuvee.explaining.coalitions import Course, course
from cuvee.explaining.shapley import shapley_weights
from cuvee.predict.asking_all import Asking, calibrated, fitted_of, gathered
from cuvee.predict.coalition_game import CoalitionGame, players_of, said_by_nobody
from cuvee.predict.combiners.declared import Batch, Fitted
from cuvee.predict.rows import Rows
from cuvee.predict.state import State
from cuvee.predict.trained import Label

Way = Literal["weights", "shapley"]
_ENTRIES: Final = 1 << 22
"""Values of sets that are held at a time: what bounds the memory."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """What members contributed.

    Attributes:
        members: their names, in the order of `contributions`.
        classes: the classes, in the order of the last axis; none for a regression.
        ids: the rows.
        contributions: `[N, M, K]`.
        base: `[N, K]`, what is said without any member.
        calibration: `[N, K]`, what the temperature changes.
        output: `[N, K]`, what is predicted.
        way: how they were found.
        exact: whether all sets of members were looked at.
        notes: what should be known, such as members that failed.
    """

    members: tuple[str, ...]
    classes: tuple[Label, ...]
    ids: tuple[str, ...]
    contributions: Array
    base: Array
    calibration: Array
    output: Array
    way: Way
    exact: bool
    notes: tuple[str, ...] = ()

    def as_rows(self) -> list[dict[str, Any]]:
        """For every row the class that is predicted and what every member contributed to it."""
        told = []
        for number, name in enumerate(self.ids):
            k = int(self.output[number].argmax())
            row: dict[str, Any] = {"id": name, "predicted": self.classes[k] if self.classes else None}
            row |= {"output": float(self.output[number, k]), "base": float(self.base[number, k])}
            row |= {"calibration": float(self.calibration[number, k])}
            told.append(row | {m: float(self.contributions[number, i, k]) for i, m in enumerate(self.members)})
        return told


def explain(
    state: State,
    rows: Rows,
    asking: Asking,
    view: Array | None = None,
    *,
    budget: int = 4096,
    seed: int = 0,
) -> Contributions:
    """Contributions of the members to each row.

    Args:
        state: the version that is explained.
        rows: what is predicted.
        asking: how members are asked.
        view: `[N, D]`, the rows' own numbers.
        budget: most sets of members that are looked at; 4096 are all sets of 12.
        seed: of drawn orders.

    Raises:
        UsageError: `no-member`; the budget is too small.
        InputError: as for a prediction.
    """
    fitted = fitted_of(state)
    batch, failed, _ = gathered(state, rows, asking, view)
    pooled = fitted.apply(batch)
    width = pooled.shape[1]
    if fitted.weights is not None:
        parts, base, path = _by_weights(fitted.weights, batch), np.zeros((len(rows), width)), None
    else:
        game = CoalitionGame(fitted, batch, said_by_nobody(state.bank, width, asking.task), players_of(fitted))
        path = course(len(game.players), budget, seed)
        parts, base = _by_shapley(game, path), np.tile(game.nothing, (len(rows), 1))
    output = calibrated(pooled, state.temperature)
    return Contributions(
        members=state.names,
        classes=asking.classes,
        ids=rows.ids,
        contributions=_in_order(parts, fitted, state.names),
        base=base,
        calibration=output - pooled,
        output=output,
        way="weights" if path is None else "shapley",
        exact=path is None or path.is_exact,
        notes=tuple(failed.values()),
    )


def _by_weights(weights: Array, batch: Batch) -> Array:
    """Share · P, `[N, M, K]`; what is masked contributes nothing."""
    share = shares(weights, batch.mask)
    known = np.where(batch.mask[:, :, None], batch.P, 0.0)
    return (share[:, :, None] * known).transpose(1, 0, 2)


def _by_shapley(game: CoalitionGame, path: Course) -> Array:
    """φ, `[N, M, K]`, a few rows at a time."""
    weights = shapley_weights(path)
    found = np.zeros((game.rows, len(game.fitted.members), len(game.nothing)))
    step = max(1, _ENTRIES // (len(path.coalitions) * len(game.nothing)))
    for start in range(0, game.rows, step):
        at = np.arange(start, min(start + step, game.rows))
        part = game.some(at)
        values = np.stack([part.value(coalition) for coalition in path.coalitions])
        each = weights @ values.reshape(len(values), -1)
        found[at[:, None], game.players] = each.reshape(len(weights), *values.shape[1:]).transpose(1, 0, 2)
    return found


def _in_order(parts: Array, fitted: Fitted, names: Sequence[str]) -> Array:
    """Contributions in the order of the ensemble's members; one that the combiner does not know contributes nothing."""
    whole = np.zeros((parts.shape[0], len(names), parts.shape[2]))
    whole[:, [list(names).index(name) for name in fitted.members]] = parts
    return whole
