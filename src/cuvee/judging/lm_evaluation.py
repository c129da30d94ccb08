"""The one place that knows lm-eval: tasks of local files run on a model in memory, and what they came to as scores.

Nothing is fetched: only tasks of the folder that a task names are known, and their data are files. Paths in those
tasks start from that folder, as they do in ours; lm-eval itself has them start from where it is called.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cuvee.errors import CuveeError, Fault, InputError, UsageError, listed, nearest
from cuvee.judging.asking.encoding import context_of, padding_of
from cuvee.judging.asking.ensemble import PredictionMean
from cuvee.judging.asking.subject import Subject, at_rest, tokenizer_of
from cuvee.judging.tasks.model import LmEvalOptions, Task
from cuvee.types.scores import Score

_RESAMPLES: Final = 200
"""Draws of lm-eval's bootstrap, where a metric has no formula for its error."""
_OFFLINE: Final = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")


def scores_by_lm_eval(subject: Subject, task: Task, batch_size: int | None = None) -> tuple[Score, ...]:
    """The scores of a causal language model on tasks of lm-eval.

    Args:
        subject: the model.
        task: an `lm-eval`.
        batch_size: rows run at once; one without it, because lm-eval's own search for more fails on small data.

    Returns:
        A score for each metric of each task, which may be NaN, called `task/metric` where there are several tasks.

    Raises:
        UsageError: lm-eval is not installed.
        InputError: a task is not in the folder, or fails.
    """
    options = task.options
    assert isinstance(options, LmEvalOptions)
    lm_eval = _library()
    if isinstance(subject.model, PredictionMean):
        message = f"{task.name} is a task of lm-eval, which asks single models; {subject.label} is an ensemble"
        raise InputError(Fault("wrong-model", message, subject=subject.label))
    tokenizer = tokenizer_of(subject, task)
    with _in_folder(options), at_rest(subject.model):
        try:
            manager = lm_eval.tasks.TaskManager(include_path=str(options.include), include_defaults=False)
            _check_known(task, options, set(manager.all_tasks))
            model = _wrapped(lm_eval, subject, tokenizer, batch_size)
            found = lm_eval.simple_evaluate(
                model=model,
                tasks=list(options.tasks),
                task_manager=manager,
                num_fewshot=options.shots,
                limit=options.limit,
                bootstrap_iters=_RESAMPLES,
                log_samples=True,
            )
        except CuveeError:
            raise
        except Exception as error:  # whatever lm-eval and the data sets below it do
            said = " ".join(str(error).split())[:400]
            message = f"{task.name}: lm-eval failed on {subject.label}: {type(error).__name__}: {said}"
            raise InputError(Fault("task-crashed", message, subject=task.name)) from error
    return scores_from(found, options.tasks)


def scores_from(found: Mapping[str, Any], names: Sequence[str]) -> tuple[Score, ...]:
    """What lm-eval gives as scores.

    Args:
        found: its results.
        names: of its tasks.

    Example:
        >>> results = {"acc,none": 0.75, "acc_stderr,none": "N/A", "alias": "t", "sample_len": 4}
        >>> found = {"results": {"t": results}, "higher_is_better": {"t": {"acc": True}}, "samples": {}}
        >>> [(s.metric, s.value, s.direction, s.n) for s in scores_from(found, ["t"])]
        [('acc', 0.75, 'higher', 4)]
    """
    return tuple(
        _score(found, name, key, f"{name}/" if len(names) > 1 else "")
        for name in names
        for key, value in found["results"].get(name, {}).items()
        if "," in key and "_stderr," not in key and isinstance(value, int | float)
    )


def _score(found: Mapping[str, Any], name: str, key: str, prefix: str) -> Score:
    metric, _, filtered = key.partition(",")
    results = found["results"][name]
    value = float(results[key])
    samples = [one for one in found.get("samples", {}).get(name, ()) if one.get("filter", filtered) == filtered]
    count = len(samples) or int(results.get("sample_len", 0)) or _effective(found, name)
    error = results.get(f"{metric}_stderr,{filtered}")
    # a metric without direction is taken for one of which more is better, as lm-eval's tables do
    is_higher = found.get("higher_is_better", {}).get(name, {}).get(metric) is not False
    shown = f"{prefix}{metric}" if filtered == "none" else f"{prefix}{metric},{filtered}"
    stderr = float(error) if isinstance(error, int | float) else math.nan
    return Score(shown, value, stderr, count, "higher" if is_higher else "lower", _rows(samples, metric, value))


def _rows(samples: Sequence[Mapping[str, Any]], metric: str, value: float) -> tuple[float, ...] | None:
    """What each row adds, where the figure is their mean."""
    each = [one.get(metric) for one in sorted(samples, key=lambda one: one.get("doc_id", 0))]
    if not each or not all(isinstance(one, int | float) for one in each):
        return None
    rows = tuple(float(one) for one in each)  # type: ignore[arg-type]
    return rows if math.isclose(math.fsum(rows) / len(rows), value, rel_tol=1e-9, abs_tol=1e-12) else None


def _effective(found: Mapping[str, Any], name: str) -> int:
    return int(found.get("n-samples", {}).get(name, {}).get("effective", 0))


def chosen(scores: tuple[Score, ...], task: Task) -> tuple[Score, ...]:
    """The scores that a task names, or all; every one of them a number.

    Raises:
        InputError: lm-eval gives no such metric, none at all, or one that is NaN or infinite.
    """
    known = {score.metric for score in scores}
    if wrong := [name for name in task.metrics if name not in known]:
        message = f"{task.name}: `metric` should be one that lm-eval gives; found {listed(wrong)}"
        raise InputError(Fault("wrong-value", message, subject=wrong[0], hint=nearest(wrong[0], known)))
    kept = [score for score in scores if not task.metrics or score.metric in task.metrics]
    faults = [
        Fault(
            "no-score",
            f"{task.name}: {score.metric} should be a number; lm-eval gives {score.value}",
            subject=task.name,
        )
        for score in kept
        if not math.isfinite(score.value)
    ]
    if not kept:
        faults = [Fault("no-score", f"{task.name}: lm-eval gives no figure", subject=task.name)]
    if faults:
        raise InputError(faults)
    return tuple(kept)


def _check_known(task: Task, options: LmEvalOptions, known: set[str]) -> None:
    faults = [
        Fault(
            "unknown-task",
            f"{task.name}: lm-eval knows no task `{name}` in {options.include}",
            subject=name,
            hint=f"{nearest(name, known)}; only tasks of that folder are known",
        )
        for name in options.tasks
        if name not in known
    ]
    if faults:
        raise InputError(faults)


def _wrapped(lm_eval: Any, subject: Subject, tokenizer: Any, batch_size: int | None) -> Any:
    """The model as lm-eval takes it."""
    # it begins texts with the tokenizer's own token, and asks for one by name only where it knows none
    start = context_of(tokenizer) if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None else ()
    return lm_eval.models.huggingface.HFLM(
        pretrained=subject.model,
        tokenizer=_with_padding(tokenizer, subject),
        batch_size=batch_size or 1,
        prefix_token_id=start[0] if start else None,
    )


def _with_padding(tokenizer: Any, subject: Subject) -> Any:
    """The tokenizer with a token to fill up rows, which lm-eval cannot do without."""
    import copy

    if tokenizer.pad_token_id is not None:
        return tokenizer
    own = copy.deepcopy(tokenizer)
    own.pad_token_id = next((i for i in (padding_of(subject), tokenizer.eos_token_id) if i is not None), 0)
    return own


def _library() -> Any:
    try:
        import lm_eval
        import lm_eval.models.huggingface
        import lm_eval.tasks
    except ImportError as error:
        message = "lm-eval is needed for tasks of kind `lm-eval`, and is not installed"
        hint = 'pip install "cuvee[eval]"'
        raise UsageError(Fault("missing-extra", message, subject="lm-eval", hint=hint)) from error
    return lm_eval


@contextlib.contextmanager
def _in_folder(options: LmEvalOptions) -> Iterator[None]:
    """Work in the folder of the tasks, offline, with lm-eval's log lines and prints kept away from the user."""
    before = {name: os.environ.get(name) for name in _OFFLINE}
    os.environ.update(dict.fromkeys(_OFFLINE, "1"))
    level, aside = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.WARNING)
    try:
        with contextlib.chdir(options.include), contextlib.redirect_stdout(aside), contextlib.redirect_stderr(aside):
            yield
    except FileNotFoundError as error:
        message = f"the tasks of lm-eval should be in {options.include}; {error.strerror}"
        raise InputError(Fault("data-missing", message, subject=str(options.include))) from error
    finally:
        logging.disable(level)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
