"""What was tried, a line of JSON each, durable before the strategy is told of it.

The first line says what is searched and how; a search that goes on is held against it. A line that was cut off when a
process died is passed over and written anew. One search at a time writes to a journal.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from cuvee.checkpoint.os_errors import told
from cuvee.errors import Fault, ResourceError

NAME: Final = "journal.jsonl"
FORMAT: Final = 1
"""Version of the form of its lines."""

State = Literal["scored", "stopped", "failed", "infeasible", "repeated"]


@dataclass(frozen=True, slots=True)
class Trial:
    """Values that were tried, and what came of it.

    Attributes:
        number: counted from 0.
        values: by hole.
        state: `scored` on all rows; `stopped` on some, as hopeless; `failed`, because merging or judging did;
            `infeasible`, no recipe; `repeated`, the same recipe as an earlier trial.
        recipe: SHA-256 of the recipe, if there is one.
        gains: what every task says, larger is better.
        stderrs: standard errors of these; null where there is none.
        rungs: the mean gain at every rung that was reached.
        of: the trial that is repeated.
        error: what went wrong, with its traceback.
        seconds: that it took.
    """

    number: int
    values: Mapping[str, Any]
    state: State
    recipe: str | None = None
    gains: tuple[float, ...] | None = None
    stderrs: tuple[float | None, ...] = ()
    rungs: tuple[float, ...] = ()
    of: int | None = None
    error: str | None = None
    seconds: float = 0.0

    @property
    def gain(self) -> float | None:
        """The mean over tasks."""
        return None if self.gains is None else sum(self.gains) / len(self.gains)

    @property
    def is_whole(self) -> bool:
        """Whether it was judged on all rows."""
        return self.gains is not None and self.state in ("scored", "repeated")


class Journal:
    """The journal of a search, open for adding lines; in memory only without a path.

    Args:
        path: the file.
        header: what is searched and how.
        resume: go on with what is there.

    Raises:
        ResourceError: it is another search's, damaged, or being written by another process.
    """

    def __init__(self, path: Path | None, header: Mapping[str, Any], *, resume: bool) -> None:
        self.past: tuple[Trial, ...] = ()
        self._file: int | None = None
        if path is None:
            return
        with told("write", path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(self._file, path)
            self._begin(path, {"journal": FORMAT, **header}, resume)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def add(self, trials: Sequence[Trial]) -> None:
        """Add lines, and make them durable.

        Raises:
            ResourceError: the system refuses.
        """
        if self._file is None or not trials:
            return
        with told("write", NAME):
            _write(
                self._file, "".join(_line({k: v for k, v in asdict(one).items() if v is not None}) for one in trials)
            )

    def _begin(self, path: Path, header: Mapping[str, Any], resume: bool) -> None:
        assert self._file is not None
        with told("read", path):
            raw = path.read_bytes() if resume else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        with told("write", path):
            os.ftruncate(self._file, len(whole))
            os.lseek(self._file, 0, os.SEEK_END)
            if not whole:
                _write(self._file, _line(header))
                _sync_folder(path.parent)
                return
        lines = [_parsed(line, number, path) for number, line in enumerate(whole.splitlines(), start=1)]
        _check_header(lines[0], json.loads(_line(header)), path)
        self.past = tuple(_trial(line, number, path) for number, line in enumerate(lines[1:]))


def trials_in(path: Path) -> tuple[Trial, ...]:
    """The trials of a journal, without holding it; a line that is being written is passed over.

    Raises:
        ResourceError: it cannot be read, or is damaged.
    """
    with told("read", path):
        raw = path.read_bytes()
    lines = [_parsed(line, number, path) for number, line in enumerate(raw.split(b"\n")[:-1], start=1)]
    return tuple(_trial(line, number, path) for number, line in enumerate(lines[1:]))


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, allow_nan=False, separators=(",", ":")) + "\n"


def _write(file: int, text: str) -> None:
    left = text.encode()
    while left:
        left = left[os.write(file, left) :]
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        message = f"another search is writing {path}"
        raise ResourceError(Fault("output-busy", message, subject=str(path), hint="wait for it")) from None


def _parsed(line: bytes, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        message = f"line {number} of {path} should be JSON, and is damaged"
        raise ResourceError(Fault("resume-mismatch", message, subject=str(path), hint=_AGAIN)) from None


_AGAIN: Final = "choose another folder, or begin again with --overwrite"


def _check_header(found: Any, wanted: Mapping[str, Any], path: Path) -> None:
    """Refuse the journal of another search; what differs is named."""
    there = found if isinstance(found, dict) else {}
    keys = [key for key in {**wanted, **there} if there.get(key) != wanted.get(key)]
    if keys:
        told_of = "; ".join(f"`{key}` was {_short(there.get(key))} and is {_short(wanted.get(key))}" for key in keys)
        message = f"{path} is of another search: {told_of}"
        raise ResourceError(Fault("resume-mismatch", message, subject=str(path), hint=_AGAIN))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _trial(line: Any, number: int, path: Path) -> Trial:
    try:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in line.items()}
        made = Trial(**fields)
        if made.number == number:
            return made
    except (TypeError, AttributeError):
        pass
    message = f"line {number + 2} of {path} should be trial {number}, and is not"
    raise ResourceError(Fault("resume-mismatch", message, subject=str(path), hint=_AGAIN))
