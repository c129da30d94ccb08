"""What every member of a bank is worth by itself, by a metric of `judging`."""

from __future__ import annotations

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.judging.answers import Answers
from cuvee.judging.metrics import Metric, Undefined, metric_named
from cuvee.judging.metrics.declared import value_of
from cuvee.judging.metrics.scoring import no_value
from cuvee.predict.bank import Bank


def member_scores(bank: Bank, metric: str) -> tuple[Array, Metric]:
    """The metric of each member, on the rows that it predicted.

    Args:
        bank: with the truth.
        metric: its name.

    Returns:
        `[M]`, and the metric.

    Raises:
        UsageError: there is no such metric of this task.
        InputError: `too-few-rows`: a member predicted nothing; `undefined-metric`; all members are told at once.
    """
    chosen = metric_named(metric, bank.task)
    found, wrong = [], []
    for number, name in enumerate(bank.members):
        answers = member_answers(bank, number)
        try:
            found.append(value_of(chosen, answers) if len(answers) else np.nan)
        except Undefined as error:
            wrong.append(no_value(chosen, answers, f"the member {name!r}: {error}"))
        if not len(answers):
            message = f"the member {name!r} has predicted none of the {len(bank):,} rows of the bank"
            wrong.append(Fault("too-few-rows", message, subject=name, hint="give rows that it can read"))
    if wrong:
        raise InputError(wrong)
    return np.array(found), chosen


def member_answers(bank: Bank, number: int) -> Answers:
    """What one member said of the rows that it predicted, as `judging` reads it."""
    there = np.flatnonzero(bank.mask[number])
    return bank.only([bank.members[number]]).rows(there).answers_of(bank.P[number, there])
