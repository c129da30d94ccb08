"""From rows to what the model reads: tokens within its vocabulary and length, classes that it has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cuvee.checkpoint.protocol import Reader
from cuvee.coefficients.asked import Asked
from cuvee.coefficients.descent import DataSet
from cuvee.coefficients.rows import Task, examples
from cuvee.errors import Fault, InputError
from cuvee.families.inputs import classes_of, longest_input, padding_token, token_ids
from cuvee.families.training import KINDS, Kind, kind_of
from cuvee.planning import Plan


def class_and_text(plan: Plan, label: str) -> tuple[Kind, str]:
    """What the models predict, and the configuration that says so.

    Raises:
        InputError: `bad-config`: there is none; `not-yet`: a class that is not known here.
    """
    if plan.config_text is None:
        message = f"{label} should have a config.json that says which class to run; it has none"
        raise InputError(Fault("bad-config", message, subject=label))
    config = json.loads(plan.config_text)
    kind = kind_of(config)
    if kind is None:
        known = ", ".join(f"…{end}" for end in KINDS)
        message = f"weights are learned for models of the classes {known}; {label} is {config.get('architectures')}"
        raise InputError(Fault("not-yet", message, subject=label))
    return kind, plan.config_text


def check_labels(tasks: Sequence[Task], asked: Asked, kind: Kind) -> None:
    """Refuse rows without a label where the objective needs one.

    Raises:
        InputError: `missing-label`, one for each file.
    """
    if asked.objective != "cross-entropy" or kind != "classes":
        return
    faults = []
    for task in tasks:
        lacking = [row.line for row in task.rows if row.label is None]
        if lacking:
            message = (
                f"{task.path}: cross-entropy on classes needs a `label` in every row; {len(lacking)} of "
                f"{len(task.rows)} have none, line {lacking[0]} for one"
            )
            hint = "entropy and kl need no labels"
            faults.append(Fault("missing-label", message, subject=str(task.path), hint=hint))
    if faults:
        raise InputError(faults)


def data_sets(
    tasks: Sequence[Task], asked: Asked, skeleton: Any, kind: Kind, donor: Reader
) -> tuple[list[DataSet], list[dict[str, Any]]]:
    """Data ready for the model, and what the log says of each file.

    Args:
        tasks: the files' rows.
        asked: how to learn.
        skeleton: the model, built.
        kind: what it predicts.
        donor: the model whose tokenizer and configuration hold.

    Raises:
        InputError: rows that do not fit the model; classes, or a lack of padding, that learning cannot use.
    """
    classes = _classes(skeleton.config, donor.label, asked) if kind == "classes" else None
    labels = asked.objective == "cross-entropy"
    sets: list[DataSet] = []
    told: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for task in tasks:
        try:
            rows, cut = examples(
                task,
                lambda texts: _tokenized(donor, texts),
                vocabulary=skeleton.get_input_embeddings().num_embeddings,
                classes=classes if labels else None,
                least=2 if labels and kind == "tokens" else 1,
                most=min(asked.max_length, longest_input(skeleton.config) or asked.max_length),
            )
        except InputError as error:
            faults += error.faults
            continue
        sets.append(DataSet(task.name, rows, task.experts))
        told.append({"name": task.name, "file": str(task.path), "rows": len(rows), "cut": cut})
    if faults:
        raise InputError(faults)
    return sets, told


def _tokenized(donor: Reader, texts: Sequence[str]) -> list[list[int]]:
    if donor.folder is None:
        message = f"{donor.label} is no folder with a tokenizer, which rows with `text` need"
        raise InputError(Fault("no-tokenizer", message, subject=donor.label, hint="give `input_ids` instead"))
    return token_ids(donor.folder, texts)


def _classes(config: Any, label: str, asked: Asked) -> Mapping[str, int]:
    """Number of every class by name.

    Raises:
        InputError: `not-yet`: the head does not choose one class of several; `bad-config`: no padding token.
    """
    kind = config.problem_type
    if config.num_labels < 2 or kind not in (None, "single_label_classification"):
        message = (
            f"{label} should choose one class of several; it has {config.num_labels} outputs for {kind or 'values'}"
        )
        raise InputError(Fault("not-yet", message, subject=label))
    if padding_token(config) is None and asked.batch_size > 1:
        message = f"{label} should name its padding token in config.json, to tell where a row ends; it names none"
        hint = "set `pad_token_id` there, or learn with --batch-size 1"
        raise InputError(Fault("bad-config", message, subject=label, hint=hint))
    return classes_of(config)
