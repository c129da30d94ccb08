"""A saved ensemble judged on tasks, as any model is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cuvee.data.tables import place_in
from cuvee.errors import Fault, InputError, listed
from cuvee.judging.answers import Answers
from cuvee.judging.tasks.model import Task

if TYPE_CHECKING:
    from cuvee.predict import Ensemble

_LIMIT = 20


def saved_ensemble(label: str, folder: Path) -> SavedEnsemble:
    """A saved ensemble as something that is judged; nothing of it is trusted but what is known.

    Raises:
        UsageError, InputError: it cannot be loaded.
    """
    from cuvee.predict.ensemble import Ensemble

    return SavedEnsemble(label, Ensemble.load(folder))


def digest_of_ensemble(folder: Path) -> str:
    """The fingerprint of the whole: the hashes of all files stand in the form."""
    from cuvee.predict.saving.files import FORM_NAME

    return hashlib.sha256((folder / FORM_NAME).read_bytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class SavedEnsemble:
    """An ensemble that answers tasks by itself.

    Attributes:
        label: what it is called in messages.
        ensemble: who is asked.
        model: there is no module of torch.
    """

    label: str
    ensemble: Ensemble
    model: None = None

    def answers(self, task: Task) -> tuple[Answers, tuple[str, ...]]:
        """What it says of the rows of a task, and what should be known.

        Raises:
            InputError: `wrong-model`: a task of another kind than the ensemble; `bad-data`: labels that are no classes.
        """
        if task.kind != self.ensemble.task:
            message = f"{task.name}: {task.kind} is not what {self.label} answers: it is an ensemble for "
            raise InputError(Fault("wrong-model", f"{message}{self.ensemble.task}", subject=self.label))
        truth = self._truth(task)
        found = self.ensemble.answer(self._columns(task))
        said = {"truth": truth, "probabilities": found.P}
        if task.kind == "regression":
            said = {"truth": truth, "predicted": found.P[:, 0]}
        names = tuple(map(str, self.ensemble.classes))
        ids = tuple(row.id for row in task.rows)
        answers = Answers(self.ensemble.task, said, ids, names, dict(task.groups) or None)
        return answers, found.notes

    def _columns(self, task: Task) -> dict[str, list[Any]]:
        """The rows; the text stands under the name by which members read it, where they all use one of their own."""
        names = [name for name in task.rows[0].values if name != "label"]
        found = {name: [row.values[name] for row in task.rows] for name in names}
        wanted = {name for one in self.ensemble.members for name in _several(one.reads)} - found.keys()
        return {**found, wanted.pop(): found["text"]} if len(wanted) == 1 else found

    def _truth(self, task: Task) -> np.ndarray[Any, Any]:
        labels = [row.values["label"] for row in task.rows]
        if task.kind == "regression":
            return np.array(labels, np.float64)
        classes = {str(label): number for number, label in enumerate(self.ensemble.classes)}
        numbers = [classes.get(str(label)) for label in labels]
        known = listed(classes, 8)
        faults = [
            Fault(
                "bad-data",
                f"{task.name}: `label` should be a class of {self.label} ({known}); found {row.values['label']!r:.60}",
                None if task.data is None else place_in(task.data, row.number),
                "label",
            )
            for row, number in zip(task.rows, numbers)
            if number is None
        ]
        if faults:
            raise InputError(faults[:_LIMIT])
        return np.array(numbers, np.int64)


def _several(reads: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (reads,) if isinstance(reads, str) else reads or ()
