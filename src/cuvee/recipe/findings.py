"""What is wrong with a recipe, told by document path first and turned into faults with places at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cuvee.errors import Fault, Place
from cuvee.recipe.model import DocumentPath


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, before its place in the file is looked up.

    Attributes:
        code: a key of `cuvee.reasons.REASONS`.
        message: what should be and what was found.
        path: where in the document.
        hint: what to do.
        subject: the key, parameter or model it is about.
        on_key: point at the key of `path`, not at its value.
        excuses: paths for which no second fault is told, e.g. `parameters.weight` where `wieght` was found.
    """

    code: str
    message: str
    path: DocumentPath
    hint: str | None = None
    subject: str | None = None
    on_key: bool = False
    excuses: tuple[DocumentPath, ...] = ()


@dataclass(frozen=True, slots=True)
class Excused:
    """The document paths that are faulty already: what follows from them is not told as a second fault."""

    paths: frozenset[DocumentPath] = frozenset()

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Excused:
        """Everything the findings excuse."""
        return cls(frozenset(path for finding in findings for path in finding.excuses))

    def covers(self, path: DocumentPath) -> bool:
        """Whether the path, or something it stands in, is faulty."""
        return any(path[:length] in self.paths for length in range(1, len(path) + 1))

    def touches(self, path: DocumentPath) -> bool:
        """Whether the path, something it stands in, or a model named in it is faulty."""
        inside = [other[len(path) :] for other in self.paths if other[: len(path)] == path]
        return self.covers(path) or any(not {"parameters", "layer_range", "layers"} & set(rest) for rest in inside)


class Places(Protocol):
    """Where the values and keys of a document stand."""

    @property
    def file(self) -> str:
        """The file's name."""

    def __call__(self, path: DocumentPath) -> Place | None:
        """Place of the value at a path."""

    def key(self, path: DocumentPath) -> Place | None:
        """Place of the key at a path."""


@dataclass(frozen=True, slots=True)
class Positions:
    """The place of every key and value of a document; called with a path it is a recipe's `locate`."""

    file: str
    keys: Mapping[DocumentPath, Place] = field(default_factory=dict)
    values: Mapping[DocumentPath, Place] = field(default_factory=dict)

    def __call__(self, path: DocumentPath) -> Place | None:
        """Place of the value at a path, or of the nearest thing around it that is written down."""
        for length in range(len(path), -1, -1):
            for written in (path[:length], _without_branch_number(path[:length])):
                if written in self.values:
                    return self.values[written]
        return None

    def key(self, path: DocumentPath) -> Place | None:
        """Place of the key at a path, or of the nearest value around it."""
        return self.keys.get(path) or self(path)


def _without_branch_number(path: DocumentPath) -> DocumentPath:
    """The path with the branch number 0 taken out: a single `{filter, value}` is written without its list."""
    for index, step in enumerate(path[:-2]):
        if step == "parameters" and path[index + 2] == 0:
            return path[: index + 2] + path[index + 3 :]
    return path


def to_faults(findings: Iterable[Finding], positions: Places | None) -> tuple[Fault, ...]:
    """The findings as faults, in the order of the file; without positions the message starts with the path."""
    if positions is None:
        return tuple(_spoken(finding) for finding in findings)
    faults = [_placed(finding, positions) for finding in findings]
    return in_order(faults)


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """The faults in the order of the file, those without a place first."""
    return tuple(sorted(faults, key=lambda fault: (fault.place.line, fault.place.column) if fault.place else (0, 0)))


def _spoken(finding: Finding) -> Fault:
    start = f"{dotted(finding.path)}: " if finding.path else ""
    return Fault(finding.code, start + finding.message, None, finding.subject, finding.hint)


def _placed(finding: Finding, positions: Places) -> Fault:
    place = positions.key(finding.path) if finding.on_key else positions(finding.path)
    return Fault(finding.code, finding.message, place or Place(positions.file, 1, 1), finding.subject, finding.hint)


def dotted(path: DocumentPath) -> str:
    """A path as people write it.

    Example:
        >>> dotted(("models", 0, "parameters", "weight"))
        'models[0].parameters.weight'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def named(path: DocumentPath) -> str:
    """The thing at a path, for the start of a sentence.

    Example:
        >>> named(("models", 0, "model")), named(("models", 1))
        ('`model`', 'entry 2 of `models`')
    """
    numbers = [step + 1 for step in path if isinstance(step, int)]
    names = [step for step in path if isinstance(step, str)]
    if path and isinstance(path[-1], int):
        return f"entry {numbers[-1]} of `{names[-1]}`"
    return f"`{names[-1]}`" if names else "the recipe"


def described(value: Any) -> str:
    """A found value in words, short enough for a message.

    Example:
        >>> described("0.5"), described(None), described([1])
        ("the text '0.5'", 'nothing', 'a list')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return shortened(repr(value))
    if isinstance(value, str):
        return f"the text {shortened(repr(value))}"
    if isinstance(value, list | tuple):
        return "a list"
    return "a mapping" if isinstance(value, Mapping) else f"a Python {type(value).__name__}"


def shortened(text: str, limit: int = 60) -> str:
    """Text cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
