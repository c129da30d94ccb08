"""Judge models on tasks: every model on every task, what is known already not asked again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import callback_faults, found, refuse, switch_faults, unfit
from cuvee.api.candidates import Ready, candidates, named
from cuvee.api.loading import device_faults, dtype_faults
from cuvee.errors import CuveeError, Fault, InputError, UsageError, attempt, number_faults

if TYPE_CHECKING:
    from cuvee.judging.judged import Judged
    from cuvee.judging.tasks import Task
    from cuvee.types.scores import Score


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no score of a model on a task."""

    model: str
    task: str
    error: CuveeError


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every model on every task.

    Attributes:
        models: names of the models, in the order they were given.
        tasks: names of the tasks, likewise.
        judged: what there is, model by model.
        failures: what there is not, and why.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    judged: tuple[Judged, ...]
    failures: tuple[Failure, ...] = ()

    def score(self, model: str, task: str, metric: str | None = None) -> Score:
        """One score.

        Args:
            model: what the model is called.
            task: what the task is called.
            metric: the task's first one without it.

        Raises:
            CuveeError: why there is none.
        """
        for failure in self.failures:
            if (failure.model, failure.task) == (model, task):
                raise failure.error
        for one in self.judged:
            for score in one.scores if (one.model, one.task) == (model, task) else ():
                if metric in (None, score.metric):
                    return score
        message = f"there is no score of {found(model)} on {found(task)}{f' by {metric}' if metric else ''}"
        raise UsageError(Fault("bad-argument", message, subject="model"))

    def check(self) -> None:
        """Refuse an evaluation with failures.

        Raises:
            InputError: with the faults of all.
        """
        if self.failures:
            raise InputError([fault for failure in self.failures for fault in failure.error.faults])


def evaluate(
    models: Any,
    tasks: Any,
    *,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    cache: bool = True,
    tokenizer: Any = None,
    image_processor: Any = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Judge models on tasks.

    What is wrong with tasks, their data or the names of models is told before anything runs. What goes wrong after
    that costs one model on one task: the others are judged all the same, and what was answered is kept.

    Args:
        models: model folders, hub ids, recipe files, recipes or `PredictionAverage`s, one or several; or a mapping of
            names to these or to models of transformers in memory.
        tasks: YAML files, `module:function`, or tasks that were read; one or several.
        batch_size: rows run at once; as many as fit without it.
        limit: most rows of every task, instead of what it says.
        seed: what they are drawn by, instead of what it says.
        dtype: torch name of the dtype that models are run in.
        device: torch's name of the device.
        cache: look for answers in the user's cache folder, and keep new ones there.
        tokenizer: of models in memory.
        image_processor: likewise.
        progress: called with rows done, their number, and what it is at.

    Raises:
        UsageError: an argument is wrong.
        InputError: faults of tasks and data, or models that are not there.

    Example:
        >>> evaluate([], [])
        Traceback (most recent call last):
        cuvee.errors.UsageError: `models` must be one model or more; found none
        `tasks` must be one task or more; found none
    """
    given, asked = named(models), _listed(tasks)
    refuse(
        [
            *_none_faults(models=given, tasks=asked),
            *number_faults(seed=seed or 0, batch_size=batch_size, limit=limit),
            *switch_faults(cache=cache),
            *callback_faults(progress),
            *(dtype_faults(dtype) if dtype else [unfit("dtype", "a name", dtype)]),
            *device_faults(device),
        ]
    )
    read = _read(asked, limit, seed)
    beside = {"tokenizer": tokenizer, "image_processor": image_processor}
    models_found = candidates(given, dtype, device, beside)
    kept = _entries(read, {"dtype": dtype, "device": device.partition(":")[0]}) if cache else {}
    meter = _Meter(progress, len(models_found) * sum(_count(task) for task in read))
    judged, failures = [], []
    for candidate in models_found:
        with candidate.ready() as ready:
            for task in read:
                follow = meter.start(_count(task), f"{candidate.label}: {task.name}")
                try:
                    judged.append(_judge(candidate.label, task, ready, kept.get(task.name), batch_size, follow))
                except CuveeError as error:
                    failures.append(Failure(candidate.label, task.name, error))
    meter.end()
    return Evaluation(tuple(given), tuple(task.name for task in read), tuple(judged), tuple(failures))


def _entries(tasks: Sequence[Task], settings: Mapping[str, Any]) -> dict[str, Callable[[str], str]]:
    """Name of a task whose answers may be kept → what names their entry, given the fingerprint of a model."""
    from cuvee.judging.caching import digest_of_task, entry_name, is_cached

    asked = {task.name: digest_of_task(task) for task in tasks if is_cached(task)}
    return {name: partial(entry_name, task=digest, settings=settings) for name, digest in asked.items()}


def _judge(
    label: str, task: Task, ready: Ready, entry: Callable[[str], str] | None, batch_size: int | None, follow: Any
) -> Judged:
    from cuvee.judging.judged import judge

    model = None if entry is None else ready.digest()
    name = None if entry is None or model is None else entry(model)
    with ready.lent() if task.kind == "function" else nullcontext():
        return judge(label, task, ready.subject, entry=name, batch_size=batch_size, follow=follow)


def _listed(tasks: Any) -> list[Any]:
    return list(tasks) if isinstance(tasks, list | tuple) else [tasks]


def _none_faults(**several: Mapping[str, Any] | Sequence[Any]) -> list[Fault]:
    return [
        Fault("bad-argument", f"`{name}` must be one {name[:-1]} or more; found none", subject=name)
        for name, given in several.items()
        if not given
    ]


def _read(asked: Sequence[Any], limit: int | None, seed: int | None) -> tuple[Task, ...]:
    """The tasks, those of files read.

    Raises:
        UsageError: one is neither a path nor a task, or two are called alike.
        InputError: the faults of all files.
    """
    from cuvee.judging.tasks import Task, read_task

    faults: list[Fault] = []
    made = []
    for one in asked:
        if isinstance(one, str | os.PathLike):
            made.append(attempt(lambda one=one: read_task(one, limit=limit, seed=seed), faults))  # type: ignore[misc]
        elif isinstance(one, Task):
            _check_whole(one, limit, seed)
            made.append(one)
        else:
            raise UsageError(unfit("tasks", "task files, `module:function`, or tasks", one))
    if faults:
        raise InputError(faults)
    tasks = tuple(task for task in made if task is not None)
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        message = f"tasks should have names of their own; several are called `{twice[0]}`"
        raise UsageError(Fault("bad-argument", message, subject="tasks", hint="give them a `name`"))
    return tasks


def _check_whole(task: Task, limit: int | None, seed: int | None) -> None:
    """Refuse to draw from a task that was read already.

    Raises:
        UsageError: it is asked for.
    """
    if limit is not None or seed is not None:
        message = f"`limit` and `seed` are for task files; the rows of `{task.name}` were drawn when it was read"
        raise UsageError(Fault("bad-argument", message, subject="limit", hint="give them to `read_task`"))


def _count(task: Task) -> int:
    """Rows of a task; one where they are not known before it runs."""
    return max(1, len(task.rows))


class _Meter:
    """Adds up rows for whoever follows; what a row is run in parts of is counted in shares of it."""

    def __init__(self, follow: Callable[[int, int, str], None] | None, total: int) -> None:
        self._follow, self._total, self._before, self._rows = follow, total, 0, 0

    def start(self, rows: int, detail: str) -> Callable[[int, int], None]:
        """Begin with a task on a model; what is given back is told how far that is."""
        self._before, self._rows = self._before + self._rows, rows
        self._say(self._before, detail)
        return lambda done, total: self._say(self._before + rows * done // max(1, total), detail)

    def end(self) -> None:
        """Say that all is done."""
        self._say(self._total, "")

    def _say(self, done: int, detail: str) -> None:
        if self._follow is not None:
            self._follow(done, self._total, detail)
