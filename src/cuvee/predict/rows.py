"""What members are asked: rows of a matrix, of named columns, of a data frame, or plain objects such as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from cuvee.errors import Fault, InputError, UsageError, nearest

Reads = str | tuple[str, ...] | None
"""The column, or the columns, that a member reads; `None`: the rows as they were given."""

Form = Literal["array", "columns", "frame", "items"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows in the form that they were given in.

    Attributes:
        data: `array`: `[N, …]`; `columns`: name → N values; `frame`: a data frame; `items`: N objects.
        form: which of them.
        ids: a name for each row.
    """

    data: Any
    form: Form
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns; none where there are none."""
        return tuple(str(name) for name in self._names())

    def _names(self) -> list[Any]:
        return list(self.data.columns) if self.form == "frame" else list(self.data) if self.form == "columns" else []

    def read(self, reads: Reads) -> Any:
        """What a member reads: the rows as they are, one column, or some columns in the same form.

        Raises:
            InputError: `bad-data`: there is no such column, or there are no columns at all.
        """
        if reads is None:
            return self.data
        wanted = (reads,) if isinstance(reads, str) else reads
        if lacking := [name for name in wanted if name not in self.columns]:
            found = f"they have {', '.join(map(repr, self.columns))}" if self.columns else "they have no named columns"
            hint = None if self.columns else "give a mapping of columns or a data frame"
            raise InputError(
                [
                    Fault(
                        "bad-data", f"rows must have a column {name!r}; {found}", None, name, hint or _near(self, name)
                    )
                    for name in lacking
                ]
            )
        own = {str(name): name for name in self._names()}  # a data frame may call its columns by numbers
        if isinstance(reads, str):
            return self.data[own[reads]] if self.form == "columns" else self.data[own[reads]].to_numpy()
        return self.data[[own[n] for n in reads]] if self.form == "frame" else {n: self.data[own[n]] for n in reads}

    def present(self, reads: Reads, *, whole: bool = False) -> np.ndarray[Any, Any]:
        """The rows that have what a member reads, bool `[N]`: a text, picture or sound may be lacking (`None`, NaN).

        Args:
            reads: what it reads.
            whole: whether it can say nothing of a row that lacks any of it. Without, only a member of one column can
                lack it: what a matrix or several columns hold is for the member to judge.
        """
        if isinstance(reads, str):
            return _there(self.read(reads))
        if not whole:
            return np.ones(len(self), dtype=bool)
        if reads is None:
            return _there(self.data) if self.form in ("array", "items") else np.ones(len(self), dtype=bool)
        return np.asarray(np.all([_there(self.read(name)) for name in reads], axis=0))

    def take(self, where: Sequence[int] | np.ndarray[Any, Any]) -> Rows:
        """Some of the rows, in that order."""
        at = np.asarray(where, dtype=np.int64)
        ids = tuple(self.ids[i] for i in at)
        if self.form == "frame":
            return Rows(self.data.iloc[at], self.form, ids)
        if self.form == "columns":
            return Rows({name: _taken(column, at) for name, column in self.data.items()}, self.form, ids)
        return Rows(_taken(self.data, at), self.form, ids)


def rows_of(X: Any, ids: Sequence[Any] | None = None) -> Rows:
    """Rows of whatever they are given as.

    Args:
        X: a matrix (NumPy, SciPy sparse, torch), a mapping of columns, a data frame, a sequence of mappings (which
            become columns) or of other objects, or `Rows`.
        ids: a name for each row, all different; their numbers without them, or the data frame's index where it names
            every row differently.

    Raises:
        UsageError: it is none of these.
        InputError: `bad-data`: columns of different lengths; `rows-differ`: ids that do not fit or repeat.
    """
    if isinstance(X, Rows):
        return X if ids is None else Rows(X.data, X.form, _ids(ids, len(X)))
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return Rows(X, "frame", _ids(_index_of(X) if ids is None else ids, len(X)))
    if isinstance(X, Mapping):
        columns = {str(name): _plain(column) for name, column in X.items()}
        return Rows(columns, "columns", _ids(ids, _common_length(columns)))
    if hasattr(X, "iloc"):  # one column of a data frame
        return Rows(X.to_numpy(), "array", _ids(_index_of(X) if ids is None else ids, len(X)))
    if hasattr(X, "shape") and len(X.shape):
        return Rows(X.tocsr() if hasattr(X, "tocsr") else X, "array", _ids(ids, int(X.shape[0])))
    if isinstance(X, str) or not isinstance(X, Sequence):
        what = f"rows must be a matrix, columns, a data frame or a sequence; found {type(X).__name__}"
        raise UsageError(Fault("bad-argument", what, subject="X"))
    if len(X) and all(isinstance(one, Mapping) for one in X):
        names = list(dict.fromkeys(name for one in X for name in one))
        return Rows({str(name): [one.get(name) for one in X] for name in names}, "columns", _ids(ids, len(X)))
    return Rows(list(X), "items", _ids(ids, len(X)))


def _near(rows: Rows, name: str) -> str:
    return nearest(name, rows.columns)


def _common_length(columns: Mapping[Any, Any]) -> int:
    sizes = {str(name): len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(Fault("bad-data", f"columns must have the same number of rows; found {sizes}"))
    return next(iter(sizes.values()), 0)


def _index_of(frame: Any) -> Sequence[Any] | None:
    """The index of a data frame, `None` where it is only numbers or names two rows alike."""
    index = frame.index
    counts = (getattr(index, "start", None), getattr(index, "step", None)) == (0, 1)
    return list(index) if index.is_unique and not counts else None


def _ids(given: Sequence[Any] | None, n: int) -> tuple[str, ...]:
    if given is None:
        return _numbers(n)
    made = tuple(map(str, given))
    if len(made) != n:
        raise InputError(Fault("rows-differ", f"there must be an id for each of {n:,} rows; found {len(made):,}"))
    if len(set(made)) < n:
        seen: set[str] = set()
        twice = next(name for name in made if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(Fault("rows-differ", f"ids of rows must differ; {twice!r} stands twice", subject="ids"))
    return made


@lru_cache(maxsize=8)
def _numbers(n: int) -> tuple[str, ...]:
    """Rows called by their numbers; kept, because a thousand predictions ask for the same ones."""
    return tuple(map(str, range(n)))


def _plain(column: Any) -> Any:
    """A column that numbers can be looked up in by place; one of a data frame would look them up by name."""
    return column.to_numpy() if hasattr(column, "iloc") else column


def _taken(values: Any, at: np.ndarray[Any, Any]) -> Any:
    return values[at] if hasattr(values, "shape") else [values[i] for i in at]


def _there(values: Any) -> np.ndarray[Any, Any]:
    """Which of N values are there, bool `[N]`."""
    kind = getattr(getattr(values, "dtype", None), "kind", None)
    if kind == "f" and values.ndim == 1:
        return np.asarray(~np.isnan(values))
    if kind not in (None, "O"):
        return np.ones(len(values), dtype=bool)
    return np.array([not is_lacking(value) for value in values], dtype=bool)


def is_lacking(value: Any) -> bool:
    """Whether a value stands for none: `None`, NaN, and what pandas has for it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(value != value)
