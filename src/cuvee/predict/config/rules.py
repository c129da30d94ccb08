"""Rules between what stands in the file of an ensemble: what is well formed and still cannot be meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from cuvee.errors import CuveeError, nearest
from cuvee.predict.combiners import COMBINERS, Combiner, Stack
from cuvee.predict.combiners.grounds import metric_for
from cuvee.predict.config.estimators import ESTIMATORS, setting_fault
from cuvee.predict.config.schema import AnyMember, EstimatorMember
from cuvee.predict.meta_learners import check_meta
from cuvee.predict.trained import Task
from cuvee.recipe.findings import Finding
from cuvee.recipe.model import DocumentPath


def member_findings(member: AnyMember, path: DocumentPath, task: Any, folder: Path) -> Iterator[Finding]:
    """What is wrong with one member.

    Args:
        member: the member, well formed.
        path: where it stands.
        task: of the ensemble.
        folder: where paths start.
    """
    if task == "regression" and member.label_map:
        message = "`label_map` is for classes; the ensemble predicts values"
        yield Finding("wrong-config", message, (*path, "label_map"), subject=member.name, on_key=True)
    if isinstance(member, EstimatorMember):
        yield from _estimator(member, path, task)
    for key in ("file", "folder"):
        given = getattr(member, key, None)
        if given is not None and not (folder / Path(given).expanduser()).exists():
            message = f"{member.name}: there should be a model at {given}; nothing is there"
            yield Finding("model-missing", message, (*path, key), f"paths start from {folder}", member.name)


def _estimator(member: EstimatorMember, path: DocumentPath, task: Any) -> Iterator[Finding]:
    """Exactly one of a declaration and a file; and a declaration that means something."""
    name = member.estimator or ("lightgbm" if member.kind == "lightgbm" and member.file is None else None)
    if (name is None) == (member.file is None):
        found = "both" if name is not None else "neither"
        message = f"{member.name} should have either `estimator`, to be trained here, or `file`; found {found}"
        yield Finding("wrong-config", message, path, subject=member.name)
        return
    if name is None:
        if member.settings:
            message = "`settings` are of an estimator that is trained here; the one in a file has its own"
            yield Finding("wrong-config", message, (*path, "settings"), subject=member.name, on_key=True)
        return
    if member.label_map:
        message = f"{member.name} is trained here, on the labels of the data: `label_map` has nothing to rename"
        yield Finding("wrong-config", message, (*path, "label_map"), subject=member.name, on_key=True)
    at = (*path, "estimator")
    if name not in ESTIMATORS:
        message = f"there is no estimator `{name}`"
        yield Finding("wrong-value", message, at, nearest(name, ESTIMATORS), name)
        return
    if task in ("classification", "regression") and task not in ESTIMATORS[name].tasks:
        known = ", ".join(key for key, one in ESTIMATORS.items() if task in one.tasks)
        yield Finding("wrong-config", f"`{name}` is not for {task}", at, f"for that there are {known}", name)
    for key, value in member.settings.items():
        where = (*path, "settings", key)
        if key not in ESTIMATORS[name].settings:
            message = f"`{name}` has no setting `{key}`"
            yield Finding("unknown-key", message, where, nearest(key, ESTIMATORS[name].settings), key, on_key=True)
        elif (wrong := setting_fault(ESTIMATORS[name], key, value)) is not None:
            yield Finding("wrong-value", f"`{key}` {wrong}", where, subject=key)


def config_findings(data: Mapping[str, Any], members: Sequence[AnyMember]) -> Iterator[Finding]:
    """What is wrong between the parts of a configuration; parts that are not well formed are passed over."""
    task = data.get("task", "classification")
    yield from _twice(data)
    if task == "regression":
        for key in ("classes", "calibrate"):
            if data.get(key) not in (None, "none"):
                message = f"`{key}` is for classes; the ensemble predicts values"
                yield Finding("wrong-config", message, (key,), subject=key, on_key=True)
    cv, split = data.get("cv"), data.get("split")
    if cv in ("group", "time") and not data.get(cv):
        message = f"`cv: {cv}` needs the column to go by, `{cv}`"
        yield Finding("wrong-config", message, ("cv",), f"write `{cv}: COLUMN`", "cv")
    if cv is not None and split is not None:
        message = "`split` says which rows are trained on, so nothing is cross-fitted; found `cv` too"
        yield Finding("wrong-config", message, ("cv",), "leave one of them out", "cv", on_key=True)
    yield from _columns(data, members)
    yield from _combiner(data.get("combiner", "greedy"), task)


def _twice(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Members that are called alike."""
    seen: set[str] = set()
    listed = data.get("members")
    for number, entry in enumerate(listed if isinstance(listed, list) else []):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            message = f"members should have names of their own; `{name}` is there already"
            yield Finding("duplicate-member", message, ("members", number, "name"), subject=name)
        seen.add(name)


def _columns(data: Mapping[str, Any], members: Sequence[AnyMember]) -> Iterator[Finding]:
    """Columns that mean two things; a member that reads the right answer would be right for nothing."""
    roles = {key: data[key] for key in ("label", "id", "split", "group", "time") if isinstance(data.get(key), str)}
    for key, column in roles.items():
        other = next((one for one in roles if one != key and roles[one] == column), None)
        if other is not None and list(roles).index(other) < list(roles).index(key):
            message = f"`{key}` should be another column than `{other}`, found {column!r} for both"
            yield Finding("wrong-config", message, (key,), subject=key)
    label = roles.get("label")
    compared = data.get("features")
    if label is not None and (compared == label or (isinstance(compared, list) and label in compared)):
        message = f"rows should not be compared by the right answer; found {label!r} in `features`"
        yield Finding("wrong-config", message, ("features",), subject="features")
    listed = data.get("members")
    entries = listed if isinstance(listed, list) else []
    for member in members:
        if member.reads and label in member.reads:
            number = next(
                i for i, one in enumerate(entries) if isinstance(one, Mapping) and one.get("name") == member.name
            )
            message = f"{member.name} should not read the right answer; found {label!r} in `reads`"
            yield Finding("wrong-config", message, ("members", number, "reads"), subject=member.name)


def _combiner(given: Any, task: Any) -> Iterator[Finding]:
    """A combiner that there is, with settings that it has, and that mean something."""
    name = given.get("name") if isinstance(given, Mapping) else given
    at: DocumentPath = ("combiner", "name") if isinstance(given, Mapping) else ("combiner",)
    if not isinstance(name, str) or not name:
        return
    if name not in COMBINERS:
        message = f"there is no combiner `{name}`"
        yield Finding("wrong-value", message, at, nearest(name, list(COMBINERS)), name)
        return
    kind = COMBINERS.get(name)
    settings = given.get("settings", {}) if isinstance(given, Mapping) else {}
    settings = settings if isinstance(settings, Mapping) else {}
    known = [one.name for one in fields(kind) if one.init]
    unknown = [key for key in settings if key not in known]
    for key in unknown:
        message = f"`{name}` has no setting `{key}`"
        where = ("combiner", "settings", key)
        yield Finding("unknown-key", message, where, nearest(str(key), known), str(key), on_key=True)
    if not unknown:
        yield from _made(kind, settings, task)


def _made(kind: Any, settings: Mapping[str, Any], task: Any) -> Iterator[Finding]:
    """What the combiner itself says of its settings, and whether they are for the task."""
    try:
        made = kind(**_frozen(settings))
        if task in get_args(Task):
            _check_task(made, settings, task)
    except CuveeError as error:
        for fault in error.faults:
            own = (fault.subject,) if fault.subject is not None and fault.subject in settings else ()
            where: DocumentPath = ("combiner", "settings", *own)
            yield Finding("wrong-value", fault.message, where, fault.hint, fault.subject)
    except (TypeError, ValueError) as error:
        yield Finding("wrong-value", f"the combiner refuses its settings: {error}", ("combiner", "settings"))


def _check_task(combiner: Combiner, settings: Mapping[str, Any], task: Task) -> None:
    """Refuse a metric or a meta-learner that the task does not have, before anything is trained.

    Raises:
        UsageError: with the setting as its subject.
    """
    if isinstance(settings.get("metric"), str):
        try:
            metric_for(task, settings["metric"])
        except CuveeError as error:
            raise type(error)([replace(one, subject="metric") for one in error.faults]) from error
    if isinstance(combiner, Stack) and combiner.meta is not None:
        check_meta(combiner.meta, 2 if task == "classification" else 0)


def _frozen(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples: combiners are frozen."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
