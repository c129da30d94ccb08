"""The table that a stack's meta-learner reads: what members said, their embeddings, the rows' own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cuvee.combine.parts import Array
from cuvee.combine.stacking import filled, log_ratios, side_by_side, without_first
from cuvee.errors import Fault, InputError, UsageError
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Batch, Need
from cuvee.predict.combiners.grounds import probable_of
from cuvee.predict.trained import Task

On = Literal["probabilities", "logits", "embeddings"]


@dataclass(frozen=True, eq=False)
class Design:
    """How a batch becomes the columns `[N, D]` of a meta-learner: the same at the fit and ever after.

    Blocks stand in this order: what members say, their embeddings, features.

    - `probabilities`: of each member all classes but the first; `logits`: `ln(p_k / p_1)`. Values of a regression stand
      as they are. Members of scores give all their columns.
    - `embeddings`: of each member that has some, side by side.

    What is masked counts as the mean of the members that speak of the row and say the same kind of thing. Columns are
    shifted to mean 0 over the rows of the fit, and all but probabilities and logits, which are of one scale, scaled to
    deviation 1. What is still unknown then (a missing embedding or feature, a score, a row where no such member speaks)
    counts as that mean, 0.

    Attributes:
        on: which blocks.
        task: of the ensemble.
        probable: for each member, whether it says probabilities.
        embedded: members whose embeddings are read.
        widths: how many numbers the embeddings of each of them have. Of rows that all lack what it reads a member gives
            embeddings of no width.
        features: whether the rows' own numbers are read.
        centre: `[D]`.
        scale: `[D]`.
    """

    on: tuple[On, ...]
    task: Task
    probable: tuple[bool, ...]
    embedded: tuple[str, ...]
    widths: tuple[int, ...]
    features: bool
    centre: Array
    scale: Array

    @property
    def needs(self) -> tuple[Need, ...]:
        """What is read besides what members say."""
        wanted: dict[Need, bool] = {"embeddings": bool(self.embedded), "features": self.features}
        return tuple(need for need, is_wanted in wanted.items() if is_wanted)

    def matrix(self, batch: Batch) -> Array:
        """The columns, `[N, D]`.

        Raises:
            UsageError: features or embeddings are needed and not there.
            InputError: `no-member`: a row of which nothing is known; `bad-data`: another number of columns than at the
                fit.
        """
        widths = dict(zip(self.embedded, self.widths))
        raw = _columns(batch, self.on, self.task, self.probable, widths, self.features)[0]
        if raw.shape[1] != len(self.centre):
            message = f"the stack was fitted on {len(self.centre)} columns; these rows give {raw.shape[1]}"
            raise InputError(Fault("bad-data", message, hint="give features and embeddings as at the fit"))
        if (silent := np.flatnonzero(~spoken(batch, self.on, self.embedded))).size:
            message = f"every row needs a member that predicts it; row {silent[0]} has none ({len(silent):,} such rows)"
            raise InputError(Fault("no-member", message))
        return np.nan_to_num((raw - self.centre) / self.scale, nan=0.0)

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Itself as JSON and arrays."""
        said: dict[str, Any] = {"on": list(self.on), "task": self.task, "probable": list(self.probable)}
        said |= {"embedded": list(self.embedded), "widths": list(self.widths), "features": self.features}
        return said, {"centre": self.centre, "scale": self.scale}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Design:
        """What `told` told."""
        centre, scale = (np.asarray(arrays[name], np.float64) for name in ("centre", "scale"))
        probable, embedded = tuple(map(bool, said["probable"])), tuple(said["embedded"])
        widths, features = tuple(map(int, said["widths"])), bool(said["features"])
        return cls(tuple(said["on"]), said["task"], probable, embedded, widths, features, centre, scale)


def design_of(bank: Bank, on: tuple[On, ...], features: bool) -> Design:
    """The design for a bank, its means and deviations those of its rows.

    Raises:
        InputError: `wrong-member`: members without embeddings where these are all that is looked at.
        UsageError: features are wanted and the bank has none.
    """
    embedded = tuple(name for name in bank.members if name in bank.embeddings) if "embeddings" in on else ()
    if wrong := _embedding_faults(bank, on, embedded):
        raise InputError(wrong)
    probable = probable_of(bank)
    widths = {name: bank.embeddings[name].shape[1] for name in embedded}
    raw, even = _columns(batch_of(bank), on, bank.task, probable, widths, features)
    known = np.isfinite(raw)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, raw, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, raw - centre, 0.0) ** 2).sum(axis=0) / count)
    scale = np.where(even | ~(spread > 1e-12 * np.abs(centre)), 1.0, spread)
    return Design(on, bank.task, probable, embedded, tuple(widths.values()), features, centre, scale)


def batch_of(bank: Bank) -> Batch:
    """The predictions of a bank without what is known of the truth."""
    return Batch(bank.P, bank.mask, bank.features, bank.embeddings)


def spoken(batch: Batch, on: tuple[On, ...], embedded: tuple[str, ...]) -> Array:
    """Rows of which some member says what is looked at, bool `[N]`."""
    seen: Array = np.asarray(
        batch.mask.any(axis=0) if set(on) - {"embeddings"} else np.zeros(batch.mask.shape[1], bool)
    )
    for name in embedded:
        vectors = batch.embeddings[name]
        seen = seen | (np.isfinite(vectors).all(axis=1) & (vectors.shape[1] > 0))
    return seen


def needed_features(batch: Batch) -> Array:
    """The rows' own numbers, `[N, D]`.

    Raises:
        UsageError: there are none.
    """
    if batch.features is None:
        message = "the combiner looks at the rows' own numbers (`features`), and none were given"
        raise UsageError(Fault("bad-argument", message, subject="features", hint="give `features` with the rows"))
    return np.asarray(batch.features, np.float64)


def _columns(
    batch: Batch, on: tuple[On, ...], task: Task, probable: tuple[bool, ...], widths: Mapping[str, int], features: bool
) -> tuple[Array, Array]:
    """The columns before they are shifted, `[N, D]`, and which of them keep their scale, `[D]`."""
    blocks: list[tuple[Array, bool]] = []
    if set(on) & {"probabilities", "logits"}:
        blocks += _said(batch, "logits" in on, task, np.array(probable, bool))
    for name, width in widths.items():
        if name not in batch.embeddings:
            message = f"the stack looks at the embeddings of {name!r}, and none were given"
            raise UsageError(Fault("bad-argument", message, subject=name))
        vectors = np.asarray(batch.embeddings[name], np.float64)
        is_lacking = 0 in (width, vectors.shape[1])
        blocks.append((np.full((len(vectors), width), np.nan) if is_lacking else vectors, False))
    if features:
        blocks.append((needed_features(batch), False))
    keeps = [np.full(block.shape[1], even) for block, even in blocks]
    return np.concatenate([block for block, _ in blocks], axis=1), np.concatenate(keeps)


def _said(batch: Batch, logits: bool, task: Task, probable: Array) -> list[tuple[Array, bool]]:
    """What members say: probabilities in one block, scores in another; values of a regression in one."""
    if task == "regression":
        return [(side_by_side(filled(batch.P, batch.mask)), False)]
    sure = filled(batch.P[probable], batch.mask[probable])
    scores = np.where(batch.mask[~probable][:, :, None], batch.P[~probable], np.nan)
    return [(side_by_side(log_ratios(sure) if logits else without_first(sure)), True), (side_by_side(scores), False)]


def _embedding_faults(bank: Bank, on: tuple[On, ...], embedded: tuple[str, ...]) -> list[Fault]:
    if "embeddings" not in on or (len(on) > 1 and embedded):
        return []
    hint = "make the member with embeddings, leave it out, or stack on probabilities too"
    return [
        Fault(
            "wrong-member", f"the member {name!r} gives no embeddings, which the stack is to look at", None, name, hint
        )
        for name in bank.members
        if name not in embedded
    ]
