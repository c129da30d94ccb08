"""What is known while a ladder is climbed: how it was asked for, and what the models answered so far."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api import ladder_forms as forms
from cuvee.api.evaluating import evaluate
from cuvee.api.files import plan
from cuvee.api.ladder_measure import Measure, OnTasks, Parts
from cuvee.errors import Fault, InputError
from cuvee.judging.bootstrap import Draws
from cuvee.judging.ladder import Price
from cuvee.recipe import Recipe
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.judging.answers import Answers
    from cuvee.judging.tasks import Task


@dataclass(frozen=True)
class Asked:
    """How a ladder was asked for; see `cuvee.ladder`."""

    base: str | os.PathLike[str] | None
    soup: str
    masks: str
    holdout: float
    loss: float
    how: Draws
    time_rows: int
    progress: Callable[[int, int, str], None] | None
    asking: dict[str, Any]


@dataclass(frozen=True)
class Form:
    """One form of the models, asked.

    Attributes:
        what: what it is, in words.
        answers: on all rows.
        systems: task → the model that answers it.
        price: what it costs, without its time.
        seconds: works its time out where that is no model's own.
    """

    what: str
    answers: OnTasks
    systems: Mapping[str, Any]
    price: Price
    seconds: Callable[[Mapping[str, float | None]], float | None] | None = None


@dataclass
class Run:
    """What is known while a ladder is climbed."""

    recipe: Recipe
    asked: Asked
    tasks: tuple[Task, ...]
    names: tuple[str, ...]
    models: tuple[ModelRef, ...]
    singles: dict[str, str | Recipe]
    room: Path
    answers: dict[str, dict[str, Answers]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    step: int = 0

    def __post_init__(self) -> None:
        self.parts: Parts
        self.measure: Measure
        self.best: str

    def ask(self, label: str, model: Any, tasks: Sequence[Task] | None = None) -> dict[str, Answers]:
        """What a model answers on all rows of tasks.

        Raises:
            CuveeError: it cannot be asked, or a task gives no answers.
        """
        asked = {key: value for key, value in self.asked.asking.items() if key != "limit"}
        made = evaluate({label: model}, list(tasks or self.tasks), **asked)
        made.check()
        if bare := [one.task for one in made.judged if one.answers is None]:
            message = f"rungs are judged by answers, row by row; {bare[0]} gives scores alone"
            raise InputError(Fault("bad-answers", message, subject=bare[0], hint="see them with `cuvee eval`"))
        self.notes += [note for one in made.judged for note in one.notes]
        return {one.task: one.answers for one in made.judged if one.answers is not None}

    def say(self, text: str) -> None:
        """Tell whoever follows."""
        if self.asked.progress is not None:
            self.asked.progress(min(self.step, self.total), self.total, text)
        self.step += 1

    @property
    def total(self) -> int:
        """Steps of the whole: a model alone each, five other rungs, and the times."""
        return len(self.names) + 6

    def worth(self, answers: OnTasks) -> float:
        """What answers come to on the rows that things are chosen on."""
        return self.measure(self.parts.to_choose(answers))

    def parameters(self, model: Any) -> int | None:
        """Parameters of a model."""
        return forms.parameters(plan, model)
