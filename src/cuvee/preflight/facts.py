"""What is found out about several models, as frozen data; every share is of 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cuvee.recipe import Recipe

Level = Literal["stops", "care", "note"]
"""What a reason does to the verdict: no merge, one to be looked at closely, nothing."""
Verdict = Literal["merge", "merge with care", "will not merge as they are"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks for or against.

    Attributes:
        rule: its name in the table of rules, or the reason code of what `cuvee merge` would refuse.
        level: what it does to the verdict.
        models: the models it is about.
        text: what was found, in words.
        value: the figure, where there is one.
        limit: what the rule compares it with, such as `>= 0.1`.
        why: where the limit comes from, or what to do.
    """

    rule: str
    level: Level
    models: tuple[str, ...]
    text: str
    value: float | None = None
    limit: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read.

    Attributes:
        entries: of one model, in tensors that at least two models have alike.
        of: entries of these tensors in all.
        nbytes: bytes of one model's sample.
        whole: tensors of which every entry was read.
        tensors: tensors of which any was.
        seed: of the choice of rows.
    """

    entries: int
    of: int
    nbytes: int
    whole: int
    tensors: int
    seed: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """How well a model does as the base of the others.

    Attributes:
        model: the candidate.
        distances: ‖model − candidate‖ / ‖candidate‖ of every other model; `None` where nothing can be compared.
        mean: their mean.
        cosine: the smallest cosine between the candidate's matrices and another model's.
        task_cosine: mean cosine of the task vectors as seen from the candidate; `None` for fewer than two.
        fits: whether it can be the base.
    """

    model: str
    distances: dict[str, float | None]
    mean: float | None
    cosine: float | None
    task_cosine: float | None
    fits: bool


@dataclass(frozen=True, slots=True)
class Base:
    """What the models were tuned from: the model (`None` where none is visible), how that is known, the candidates."""

    model: str | None
    how: str
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model, measured.

    Attributes:
        model: its name.
        is_base: whether it is what the others were tuned from.
        zeros: share of entries of its matrices that are exactly zero, above the base's share.
        nonfinite: entries of the sample that are NaN or infinite.
        task_norm: ‖task vector‖ / ‖base‖; `None` without a base.
        layers: the same by layer.
        unchanged: share of tensors that are the base's.
        rank: mean share of a matrix' directions that hold 90 % of its task vector's squared norm.
    """

    model: str
    is_base: bool
    zeros: float
    nonfinite: int
    task_norm: float | None = None
    layers: dict[str, float | None] | None = None
    unchanged: float | None = None
    rank: float | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """Two models in one layer: cosine of their weights and of their task vectors, and share of opposite signs."""

    layer: str
    cosine: float | None
    task_cosine: float | None
    sign_conflict: float | None


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far two task vectors use the same directions.

    tr(PₐP_b)/k of the projections on the k leading singular vectors, the mean of cos² of their principal angles.

    Attributes:
        left: of the left vectors, mean over the matrices read whole; `None` if there was none.
        right: of the right vectors, mean over all matrices looked at.
        by_chance: mean of k/n, what directions in no relation have on the right.
        k: most directions compared.
        matrices: matrices looked at.
    """

    left: float | None
    right: float
    by_chance: float
    k: int
    matrices: int


@dataclass(frozen=True, slots=True)
class Match:
    """How well the rows or columns of a matrix of two models match in another order.

    Attributes:
        tensor: the matrix.
        norms: ‖sorted norms of a − those of b‖ / ‖those of a‖, of rows or of columns, whichever is smaller.
        as_they_are: mean cosine of rows in the order that they have.
        matched: mean cosine of rows with those that they are paired with; rows without a partner count 0.
        by_chance: the same for a shuffled matrix.
        fall: 1 − (1 − matched) / (1 − by chance).
    """

    tensor: str
    norms: float
    as_they_are: float
    matched: float
    by_chance: float
    fall: float


@dataclass(frozen=True, slots=True)
class PairFigures:
    """Two models, measured.

    Attributes:
        a, b: the models.
        cosine: of their matrices.
        distance: ‖a − b‖ / ‖a‖.
        equal: share of entries that are the same.
        strange: share of the matrices' entries in matrices that have nothing in common.
        strange_tensors: names of some of these.
        task_cosine: of their task vectors.
        sign_conflict: share of opposite signs, of the entries that both have changed.
        both_changed: share of entries that both have changed.
        overlap: of their task vectors' directions.
        match: evidence that one is the other in another order; `None` where nothing was strange.
        layers: the same by layer.
    """

    a: str
    b: str
    cosine: float | None
    distance: float | None
    equal: float | None
    strange: float | None
    strange_tensors: tuple[str, ...] = ()
    task_cosine: float | None = None
    sign_conflict: float | None = None
    both_changed: float | None = None
    overlap: Overlap | None = None
    match: Match | None = None
    layers: tuple[Layer, ...] = ()

    @property
    def fall(self) -> float | None:
        """How much a match in another order explains."""
        return None if self.match is None else self.match.fall

    @property
    def distance_alone(self) -> float | None:
        """The distance, where there are no task vectors to say more."""
        return self.distance if self.both_changed is None else None

    @property
    def shared_directions(self) -> float | None:
        """Overlap on the right."""
        return None if self.overlap is None else self.overlap.right


@dataclass(frozen=True, slots=True)
class Barrier:
    """The loss on the straight line between two models.

    Attributes:
        a, b: the models.
        losses: mean over rows at a, half-way, and at b.
        barrier: loss half-way − mean of the losses at the ends.
        stderr: its standard error over rows.
        relative: barrier / mean loss of the ends.
        rows: rows of data.
    """

    a: str
    b: str
    losses: tuple[float, float, float]
    barrier: float
    stderr: float
    relative: float
    rows: int

    @property
    def sure(self) -> float:
        """What is left of the relative barrier after two standard errors."""
        return self.relative * max(0.0, 1 - 2 * self.stderr / abs(self.barrier)) if self.barrier else 0.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A method to begin with, why, and a recipe of it."""

    method: str
    why: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Preflight:
    """The answer to: will these merge?

    Attributes:
        verdict: in words.
        reasons: what it rests on, the gravest first.
        models: every model, the base among them.
        base: what they were tuned from.
        pairs: every two models besides the base.
        sample: what was read of the weights.
        barriers: losses on the way between two models, where data were given.
        suggestion: what to begin with; `None` where nothing will merge.
        notes: what the user should know of how this was found.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    models: tuple[ModelFigures, ...]
    base: Base
    pairs: tuple[PairFigures, ...]
    sample: Sample
    barriers: tuple[Barrier, ...] = ()
    suggestion: Suggestion | None = None
    notes: tuple[str, ...] = ()
