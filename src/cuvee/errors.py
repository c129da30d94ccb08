"""Every error Cuvee raises on purpose, and the reason codes tests and programs rely on.

    CuveeError                  exit  1   never raised itself
    ├── UsageError                    2   the command line or the call is wrong
    ├── RecipeError                   3   the recipe is wrong, whatever the models hold
    ├── InputError                    4   a model is missing, unreadable, hostile or does not fit the others
    ├── ResourceError                 5   not enough disk or memory, or no right to write
    ├── CheckFailed                   6   `verify` or a threshold said no
    └── OutputExists                  7   the output is there already and `--overwrite` was not given

Each error carries one or more `Fault`s, so that all faults of a recipe or of a set of models are told at once. A fault
has a stable reason code (a key of `reasons.REASONS`), a text that says what should be and what was found, a place, and
a hint.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from cuvee.reasons import REASONS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, counted from 1 as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        code: a key of `reasons.REASONS`.
        message: what should be and what was found.
        place: where in a file, if it is in one.
        subject: the model, tensor or key it is about.
        hint: what to do next.
    """

    code: str
    message: str
    place: Place | None = None
    subject: str | None = None
    hint: str | None = None

    def __post_init__(self) -> None:
        if self.code not in REASONS:
            raise AssertionError(f"reason code {self.code!r} is not in cuvee.reasons.REASONS")

    def __str__(self) -> str:
        start = f"{self.place}: " if self.place else ""
        end = f"\n    {self.hint}" if self.hint else ""
        return f"{start}{self.message}{end}"


class CuveeError(Exception):
    """Base of all errors Cuvee raises on purpose; `faults` lists everything that is wrong."""

    exit_code: ClassVar[int] = 1

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(f) for f in self.faults))

    @property
    def code(self) -> str:
        """Reason code of the first fault."""
        return self.faults[0].code

    @property
    def codes(self) -> tuple[str, ...]:
        """Reason codes of all faults, in order."""
        return tuple(f.code for f in self.faults)


class UsageError(CuveeError):
    """The command line or the call is wrong."""

    exit_code = 2


class RecipeError(CuveeError):
    """The recipe is wrong, whatever the models hold."""

    exit_code = 3


class InputError(CuveeError):
    """A model is missing, unreadable, hostile, or does not fit the others."""

    exit_code = 4


class ResourceError(CuveeError):
    """Not enough disk or memory, or no right to write."""

    exit_code = 5


class CheckFailed(CuveeError):
    """A check or a threshold said no."""

    exit_code = 6


class OutputExists(CuveeError):
    """The output is there already."""

    exit_code = 7


def refuse(wrong: Iterable[Fault]) -> None:
    """Tell everything that is wrong with a call at once.

    Raises:
        UsageError: anything is.
    """
    if told := tuple(wrong):
        raise UsageError(told)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so with an error of its own."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error).lower()
    )


def integer_faults(name: str, value: object, least: int | None = None) -> list[Fault]:
    """What is wrong with an argument that must be an integer, of at least `least`; nothing for a good one."""
    good = isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)
    wanted = "an integer" if least is None else f"an integer of at least {least}"
    return [] if good else [Fault("bad-argument", f"`{name}` must be {wanted}; found {value!r}", subject=name)]


def number_faults(*, seed: object, **counts: object) -> list[Fault]:
    """What is wrong with a seed, any integer, and with numbers that are 1 or more, or `None` for the usual one."""
    given = [(name, count) for name, count in counts.items() if count is not None]
    return [*integer_faults("seed", seed), *(one for name, n in given for one in integer_faults(name, n, least=1))]


def attempt(step: Callable[[], T], faults: list[Fault]) -> T | None:
    """The result of a step, or `None` with its faults added to those of the others."""
    try:
        return step()
    except InputError as error:
        faults.extend(error.faults)
        return None


def listed(names: Iterable[str], most: int = 3, between: str = ", ") -> str:
    """A list that does not grow too long.

    Example:
        >>> listed("ab"), listed("abcdef", most=2)
        ('a, b', 'a, b and 4 more')
    """
    words = list(names)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them when none is near."""
    words = sorted(known)
    if close := difflib.get_close_matches(name, words, n=1, cutoff=0.6):
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(words)}" if words else "none are known"
