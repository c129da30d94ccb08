"""Whether answers are what they should be: columns, lengths, ranges. Everything that is wrong is told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from cuvee.errors import Fault, InputError, listed
from cuvee.judging.answers import Answers

Array = np.ndarray[Any, Any]

COLUMNS: Final = {
    "classification": (("truth", "probabilities"), ()),
    "regression": (("truth", "predicted"), ()),
    "match": (("correct",), ("parsed",)),
    "likelihood": (("nats",), ("tokens", "bytes")),
    "retrieval": (("rank",), ()),
    "outcome": (("value",), ()),
}
"""Kind of answers → columns that there must be, columns that there may be."""

_SUM_TOLERANCE: Final = 0.02
"""How far probabilities of a row may be from summing to one: what a softmax rounded to bfloat16 has."""


def check_answers(answers: Answers, subject: str | None = None) -> None:
    """Refuse answers that no metric should be taken of.

    Args:
        answers: the answers.
        subject: whose they are, for messages.

    Raises:
        InputError: `bad-answers`, all faults.
    """
    if faults := list(answer_faults(answers, subject)):
        raise InputError(faults)


def answer_faults(answers: Answers, subject: str | None = None) -> Iterator[Fault]:
    """What is wrong with answers."""
    start = f"{subject}: " if subject else ""
    for what in _wrongs(answers):
        yield Fault("bad-answers", f"{start}{what}", subject=subject)


def _wrongs(answers: Answers) -> Iterator[str]:
    if answers.kind not in COLUMNS:
        yield f"the kind of answers should be {listed(COLUMNS, 9)}; found {str(answers.kind)[:40]!r}"
        return
    needed, optional = COLUMNS[answers.kind]
    if lacking := [name for name in needed if name not in answers.columns]:
        yield f"answers of {answers.kind} should have the column {listed(lacking)}; found {listed(answers.columns, 9)}"
    if not len(answers):
        yield "there should be at least one row; found none"
        return
    if len(set(answers.ids)) < len(answers):
        twice, _ = Counter(answers.ids).most_common(1)[0]
        yield f"ids should name each row once; {twice!r} stands twice"
    for name, groups in (answers.groups or {}).items():
        if len(groups) != len(answers):
            yield f"groups by {name!r} should be {len(answers):,}, one for each row; found {len(groups):,}"
    for name in (*needed, *optional):
        if name in answers.columns:
            yield from _column_wrongs(answers, name)


def _column_wrongs(answers: Answers, name: str) -> Iterator[str]:
    """What is wrong with one column."""
    column = answers.columns[name]
    n, wanted = len(answers), 2 if name == "probabilities" else 1
    if column.ndim != wanted or len(column) != n or (wanted == 2 and column.shape[1] < 1):
        shape = "[n, C]" if wanted == 2 else "[n]"
        yield f"`{name}` should have the shape {shape} with n = {n:,}; found {list(column.shape)}"
        return
    if column.dtype.kind not in "biuf":
        yield f"`{name}` should hold numbers; found {column.dtype}"
        return
    finite = np.isfinite(column)
    yield from _where(answers, name, finite if wanted == 1 else finite.all(axis=1), "be finite")
    if finite.all():
        yield from _RULES.get((answers.kind, name), _anything)(answers, column)


def _where(answers: Answers, name: str, good: Array, rule: str) -> Iterator[str]:
    """What is wrong where a rule is not kept, with the first rows that break it."""
    bad = np.flatnonzero(~good)
    if len(bad):
        rows = listed((repr(answers.ids[i]) for i in bad[:4]), 3) if len(bad) < 4 else repr(answers.ids[bad[0]])
        more = f" and {len(bad) - 1:,} more" if len(bad) > 3 else ""
        yield f"`{name}` should {rule}; it does not in row {rows}{more}"


def _anything(answers: Answers, column: Array) -> Iterator[str]:  # noqa: ARG001 - one form for all rules
    """Any finite number is right."""
    yield from ()


def _class_numbers(answers: Answers, column: Array) -> Iterator[str]:
    classes = answers.columns.get("probabilities")
    if classes is not None and classes.ndim == 2:
        count = classes.shape[1]
        good = (column >= 0) & (column < count) & (column == np.floor(column))
        yield from _where(answers, "truth", good, f"be the number of one of {count} classes, from 0")


def _distributions(answers: Answers, column: Array) -> Iterator[str]:
    wanted, found = len(answers.classes), column.shape[1]
    if wanted not in (0, found):
        yield f"`probabilities` should have a column for each of {wanted} classes; found {found}"
    good = (column >= 0).all(axis=1) & (np.abs(column.sum(axis=1, dtype=np.float64) - 1) <= _SUM_TOLERANCE)
    yield from _where(answers, "probabilities", good, "be 0 or more, and sum to 1")


def _yes_or_no(name: str) -> Callable[[Answers, Array], Iterator[str]]:
    def rule(answers: Answers, column: Array) -> Iterator[str]:
        yield from _where(answers, name, (column == 0) | (column == 1), "be 0 or 1")

    return rule


def _at_least(name: str, least: float, whole: bool) -> Callable[[Answers, Array], Iterator[str]]:
    def rule(answers: Answers, column: Array) -> Iterator[str]:
        good = (column >= least) & ((column == np.floor(column)) | (not whole))
        what = f"a whole number of at least {least:g}" if whole else "0 or more"
        yield from _where(answers, name, good, f"be {what}")

    return rule


_RULES: Final[dict[tuple[str, str], Callable[[Answers, Array], Iterator[str]]]] = {
    ("classification", "truth"): _class_numbers,
    ("classification", "probabilities"): _distributions,
    ("match", "correct"): _yes_or_no("correct"),
    ("match", "parsed"): _yes_or_no("parsed"),
    ("likelihood", "nats"): _at_least("nats", -1e-3, False),
    ("likelihood", "tokens"): _at_least("tokens", 0, True),
    ("likelihood", "bytes"): _at_least("bytes", 0, True),
    ("retrieval", "rank"): _at_least("rank", 1, True),
}
