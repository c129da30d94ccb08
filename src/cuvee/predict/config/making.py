"""Members made of what a configuration says: estimators trained here, models loaded from where they lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cuvee.errors import CuveeError, Fault, InputError, UsageError, listed, nearest
from cuvee.predict.config.estimators import ESTIMATORS, made
from cuvee.predict.config.schema import AnyMember, CausalMember, EstimatorMember, FileMember, FolderMember, NestedMember
from cuvee.predict.config.table import Table
from cuvee.predict.member import Member
from cuvee.predict.members.tables import as_frame
from cuvee.predict.rows import Reads
from cuvee.predict.trained import Label, Task


def is_declared(item: AnyMember) -> bool:
    """Whether a member is trained here."""
    return isinstance(item, EstimatorMember) and item.file is None


def estimator_name(item: EstimatorMember) -> str:
    """The estimator that is declared."""
    return item.estimator or "lightgbm"


def reads_of(item: AnyMember, table: Table) -> Reads:
    """What a member reads: what it says; else all numbers, or the only text.

    Raises:
        InputError: `bad-data`: columns that are not there or of the wrong kind; `wrong-config`: it must say which.
    """
    if item.reads is not None:
        check_columns(item.name, item.reads, table, numbers=_wants(item) == "numbers")
    wants = _wants(item)
    if wants == "rows":
        return None if item.reads is None else tuple(item.reads)
    if wants == "file":
        return tuple(item.reads or table.numbers)  # without `reads`, those that it was trained on where it names them
    if wants == "numbers":
        found = tuple(item.reads or table.numbers)
        if not found:
            message = f"{item.name} reads numbers, and {table.path} has no column of them"
            raise InputError(Fault("wrong-config", message, subject=item.name, hint="say what it reads, with `reads`"))
        return found
    texts = tuple(item.reads or table.texts)
    most = 1 if isinstance(item, EstimatorMember) else 2
    if (item.reads is None and len(texts) != 1) or not 1 <= len(texts) <= most:
        found_columns = listed(map(repr, texts), 6) or "none"
        message = f"{item.name} should read one column of texts; found {found_columns}"
        raise InputError(Fault("wrong-config", message, subject=item.name, hint="say which, with `reads`"))
    return texts[0] if len(texts) == 1 else texts


def _wants(item: AnyMember) -> str:
    if isinstance(item, EstimatorMember):
        return "file" if item.file is not None else ESTIMATORS[estimator_name(item)].reads
    return {"onnx": "numbers", "ensemble": "rows"}.get(item.kind, "text")


def check_columns(who: str, columns: Sequence[str], table: Table, *, numbers: bool) -> None:
    """Refuse columns that a table does not have, or that hold something else than the numbers that are wanted.

    Raises:
        InputError: `bad-data`, for every such column.
    """
    known = table.rows.columns
    faults = [
        Fault("bad-data", f"{who} reads {name!r}; {table.path} has no such column", None, name, nearest(name, known))
        for name in columns
        if name not in known
    ]
    if not faults and numbers:
        faults = [
            Fault("bad-data", f"{who} reads numbers; {name!r} holds something else", None, name)
            for name in columns
            if not hasattr(table.rows.data[name], "dtype")
        ]
    if faults:
        raise InputError(faults)


def members_of(
    items: Sequence[AnyMember],
    table: Table,
    learning: Table,
    task: Task,
    folder: Path,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> list[Member]:
    """All members.

    Args:
        items: what the configuration says.
        table: the data, by which columns are found.
        learning: the rows that declared estimators are trained on.
        task: of the ensemble.
        folder: where paths start.
        seed: of what is trained.
        say: told what is made.

    Raises:
        CuveeError: the faults of all members.
    """
    found: list[Member] = []
    faults: list[Fault] = []
    kinds: list[type[CuveeError]] = []
    reads: dict[str, Reads] = {}
    for item in items:
        try:
            reads[item.name] = reads_of(item, table)
        except CuveeError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    for item in items:
        say(item.name)
        try:
            if is_declared(item):
                found.append(_trained(item, reads[item.name], learning, task, seed))
            else:
                found.append(_loaded(item, reads[item.name], folder))
        except CuveeError as error:
            faults += [replace(one, subject=one.subject or item.name) for one in error.faults]
            kinds.append(type(error))
    if faults:
        raise (UsageError if set(kinds) == {UsageError} else InputError)(faults)
    return found


def _trained(item: Any, reads: Reads, learning: Table, task: Task, seed: int) -> Member:
    """A declared estimator trained on rows.

    Raises:
        InputError: `member-failed`.
    """
    import numpy as np

    there = np.flatnonzero(learning.rows.present(reads))
    rows, y = learning.rows.take(there), [(learning.y or [])[i] for i in there]
    read = rows.read(reads)
    X = as_frame(read, list(read)) if isinstance(read, Mapping) else list(read)
    try:
        model = made(estimator_name(item), task, item.settings, seed).fit(X, y)
    except CuveeError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        message = f"{item.name} could not be trained on {len(y):,} rows: {type(error).__name__}: {said}"
        raise InputError(Fault("member-failed", message, subject=item.name)) from error
    return Member.sklearn(model, name=item.name, reads=reads, missing=item.missing)


def _loaded(item: AnyMember, reads: Reads, folder: Path) -> Member:
    """A member from where it lies; its labels called as the ensemble calls them."""
    member = _MAKERS[type(item)](item, reads, folder)
    if not item.label_map:
        return member
    own = {str(label): label for label in member.classes}
    mapped = {own.get(key, key): value for key, value in item.label_map.items()}
    return replace(member, label_map=mapped, missing=item.missing)


def _at(folder: Path, given: str) -> Path:
    return folder / Path(given).expanduser()


def _model_at(folder: Path, given: str) -> Any:
    """Where a model lies; a base and its adapter each lie where they are said to."""
    from cuvee.execute.adapting import adapted_recipe

    adapted = adapted_recipe(given, folder)
    return _at(folder, given) if adapted is None else adapted


def _missing(item: AnyMember) -> Any:
    """The policy, unless classes are renamed first: it is judged by the names of the ensemble."""
    return "error" if item.label_map else item.missing


def _from_skops(item: Any, reads: Reads, folder: Path) -> Member:
    from cuvee.predict.saving.through_skops import asked, loaded
    from cuvee.predict.saving.trusted import STOCK

    path = _at(folder, item.file)
    data, trusted = path.read_bytes(), set(item.trust or ()) | STOCK
    try:
        foreign = sorted(set(asked(data)) - trusted)
    except ValueError as error:
        raise InputError(Fault("wrong-member", f"{path}: {error}", subject=item.name)) from error
    if foreign:
        message = f"{path} holds types that nobody said to trust: {listed(foreign, 8)}"
        hint = "look at what they are, and name them under `trust`"
        raise InputError(Fault("untrusted-type", message, subject=item.name, hint=hint))
    try:
        model = loaded(data, trusted)
    except Exception as error:  # whatever the library that it is of says
        message = f"{path} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(Fault("wrong-member", message, subject=item.name)) from error
    trained_on = getattr(model, "feature_names_in_", None)
    if item.reads is None and trained_on is not None:
        reads = tuple(map(str, trained_on))
    if not reads:
        message = f"{item.name} reads numbers, and the table has no column of them"
        raise InputError(Fault("wrong-config", message, subject=item.name, hint="say what it reads, with `reads`"))
    return Member.sklearn(model, name=item.name, reads=reads, missing=_missing(item))


def _from_folder(item: FolderMember, reads: Reads, folder: Path) -> Member:
    common: dict[str, Any] = {"name": item.name, "reads": reads, "missing": _missing(item)}
    return Member.transformers(_model_at(folder, item.folder), classes=item.classes, **common)


def _nested(item: NestedMember, reads: Reads, folder: Path) -> Member:
    from cuvee.predict.ensemble import Ensemble

    inner = Ensemble.load(_at(folder, item.folder), trust=list(item.trust or ()))
    return Member.ensemble(inner, name=item.name, reads=reads, missing=_missing(item))


def _causal(item: CausalMember, reads: Reads, folder: Path) -> Member:
    words = item.words
    classes: Any = words if words else item.classes
    if not classes:
        message = f"{item.name}: a language model should have `classes`, or `words` for them; found neither"
        raise InputError(Fault("wrong-config", message, subject=item.name))
    common: dict[str, Any] = {"name": item.name, "reads": reads, "missing": _missing(item)}
    return Member.causal(_model_at(folder, item.folder), classes=classes, template=item.prompt, **common)


def _from_file(item: FileMember, reads: Reads, folder: Path) -> Member:
    common: dict[str, Any] = {"name": item.name, "reads": reads, "missing": _missing(item)}
    if item.kind == "recipe":
        return Member.recipe(_at(folder, item.file), classes=item.classes, **common)
    return Member.onnx(_at(folder, item.file), classes=item.classes, output=item.output, **common)


_MAKERS: Final[Mapping[type[AnyMember], Callable[[Any, Reads, Path], Member]]] = {
    EstimatorMember: _from_skops,
    FolderMember: _from_folder,
    NestedMember: _nested,
    CausalMember: _causal,
    FileMember: _from_file,
}


def known_classes(labels: Sequence[Label], given: Sequence[Label] | None) -> tuple[Label, ...]:
    """The classes of an ensemble: those given, else those of the labels, sorted.

    Raises:
        InputError: `bad-data`: fewer than two.
    """
    from cuvee.predict.truths import classes_of

    found = tuple(given) if given else tuple(classes_of(labels))
    if len(found) < 2:
        message = f"right answers should be of two classes or more; found {found[0]!r} alone"
        raise InputError(Fault("bad-data", message, subject="label"))
    return found
