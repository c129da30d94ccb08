"""A step on its way: the passes of its method, then the tiles of its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cuvee.methods import Job
from cuvee.methods.job import AnyMeasure
from cuvee.methods.tiles import Tally
from cuvee.planning.model import Step

if TYPE_CHECKING:
    from cuvee.fused.model import Combine, Fused


@dataclass
class Course:
    """A step on its way through its phases.

    Attributes:
        step: the step.
        job: the method's view of it.
        ranges: its tiles.
        form: the fused form, where it serves the step.
        round: the pass that is being made, a plain or a fused one; `None` while tiles are written.
        known: what the passes before it concluded.
        done: how many those are.
        seen: whether all of the tensor has been read before.
        combine: what writes the tiles, in the fused form.
        tally: adds up what the pass finds.
        left: tiles of the phase that are not done.
    """

    step: Step
    job: Job
    ranges: list[tuple[int, int]]
    form: Fused | None = None
    round: Any = None
    known: Any = None
    done: int = 0
    seen: bool = False
    combine: Combine | None = None
    tally: Tally = field(default_factory=Tally)
    left: int = 0

    def turn(self, measure: AnyMeasure) -> None:
        """Ask for the next pass; where none is wanted, get ready to write."""
        self.round = measure(self.job, self.done, self.known)
        if self.round is None and self.form is not None:
            self.combine = self.form.combiner(self.job, self.known)

    def conclude(self) -> None:
        """Draw the conclusion of the pass whose tiles are all done."""
        self.known = self.round.conclude(self.tally.total(), self.job, self.known)
        self.seen = self.seen or not sample_of(self.round)
        self.done += 1
        self.tally = Tally()


def sample_of(following: Any) -> Sequence[tuple[int, int]] | None:
    """The runs of elements that a pass wants to see, if not all."""
    return getattr(following, "sample", None)


@dataclass(frozen=True)
class Task:
    """What a worker does at a time: one tile of one phase, or the sample of a tensor."""

    course: Course
    runs: Sequence[tuple[int, int]]
