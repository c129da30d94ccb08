"""Saving an ensemble: everything is written into a hidden folder, made durable, and appears at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cuvee.checkpoint.whole_folder import check_whole_folder, whole_folder
from cuvee.combine import Array
from cuvee.errors import CuveeError, Fault, OutputExists, UsageError
from cuvee.predict.gathering import gather
from cuvee.predict.member import Member
from cuvee.predict.row_numbers import ColumnNumbers
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.saving.arrays import under, write_arrays
from cuvee.predict.saving.banks import told_bank
from cuvee.predict.saving.estimators import write
from cuvee.predict.saving.files import ARRAYS_NAME, COMBINER_FOLDER, FORM_NAME, listing
from cuvee.predict.saving.form import Form, MemberForm, as_text, is_ensemble
from cuvee.predict.saving.golden import golden_of
from cuvee.predict.saving.import_paths import path_of
from cuvee.predict.saving.keepers import Kept, cannot_be_saved
from cuvee.predict.saving.kinds import keeper_of
from cuvee.predict.saving.plain import plain, said_label
from cuvee.predict.saving.recipes import kept_settings
from cuvee.predict.saving.versions import ALWAYS, machine, versions_of
from cuvee.predict.state import State

if TYPE_CHECKING:
    from cuvee.predict.ensemble import Ensemble

AT_LOADING: Final = "at loading: "
"""How notes begin that loading makes; they are not saved again."""


@dataclass(frozen=True)
class Saved:
    """What was written.

    Attributes:
        path: the folder.
        notes: what whoever loads it should know, such as types to trust.
    """

    path: Path
    notes: tuple[str, ...]


def save(
    ensemble: Ensemble, path: str | Path, *, rows: Any = None, overwrite: bool = False, allow_pickle: bool = False
) -> Saved:
    """Save an ensemble as a folder that holds no pickle and is checked when it is loaded.

    Args:
        ensemble: what to save; the version that answers now.
        path: the folder to make; it appears complete or not at all.
        rows: rows as `predict` takes them, of which up to 8 are kept with their answers, and asked again by `load`;
            without them, those that the ensemble was asked first. `()` keeps none.
        overwrite: whether a saved ensemble that is there may be replaced.
        allow_pickle: whether estimators that cannot be written otherwise may be pickled.

    Raises:
        UsageError: `wrong-member`, for every member that cannot be saved; `bad-argument`.
        OutputExists: something is there; with `overwrite`, something that is no saved ensemble.
        ResourceError: it cannot be written.
    """
    folder = Path(path)
    state, seen = ensemble.state, ensemble.seen if rows is None else rows_of(rows)
    with whole_folder(folder, overwrite=overwrite, check_old=_check_old) as staging:
        notes = write_into(ensemble, state, staging, seen, allow_pickle=allow_pickle, must_answer=rows is not None)
    return Saved(folder, notes)


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that `save` would refuse, before what is to be saved has been made.

    Raises:
        OutputExists: as `save`.
        ResourceError: it cannot be looked at.
    """
    check_whole_folder(folder, overwrite=overwrite, check_old=_check_old)


def write_into(
    ensemble: Ensemble, state: State, folder: Path, rows: Rows | None, *, allow_pickle: bool, must_answer: bool = False
) -> tuple[str, ...]:
    """Write all files of one version into an empty folder; gives what should be known about them."""
    members, notes = _members(state.members, folder, allow_pickle)
    combined, arrays, more = _combined(state, folder, allow_pickle)
    golden, answers = _golden(ensemble, state, rows, must_answer)
    with _said(f"the combiner {state.combiner.name!r}"):
        write_arrays(folder / ARRAYS_NAME, {**arrays, **answers})
    form = Form(
        task=ensemble.task,
        classes=[said_label(label) for label in ensemble.classes],
        number=state.number,
        what=state.what,
        notes=[note for note in state.notes if not note.startswith(AT_LOADING)],
        temperature=state.temperature,
        history=ensemble.past(),
        members=[asdict(one) for one in members],
        golden=golden,
        libraries=versions_of(ALWAYS),
        machine=machine(),
        settings=_settings(ensemble, state),
        files=listing(folder),
        **combined,
    )
    (folder / FORM_NAME).write_text(as_text(form), "utf-8")
    return (*notes, *more)


def _members(members: Iterable[Member], folder: Path, allow_pickle: bool) -> tuple[list[MemberForm], tuple[str, ...]]:
    """Every member written; those that cannot be are refused together."""
    forms: list[MemberForm] = []
    notes: list[str] = []
    faults: list[Fault] = []
    for member in members:
        name = _folder_name(member.name, {form.folder for form in forms})
        (folder / name).mkdir(parents=True)
        try:
            form, more = _member(member, folder, name, allow_pickle)
        except UsageError as error:
            faults += error.faults
            continue
        forms.append(form)
        notes += more
    if faults:
        raise UsageError(faults)
    return forms, tuple(notes)


def _member(member: Member, folder: Path, name: str, allow_pickle: bool) -> tuple[MemberForm, tuple[str, ...]]:
    try:
        keeper = keeper_of(member.kind)
    except CuveeError as error:
        raise cannot_be_saved(member.name, member.kind, error.faults[0].message) from None
    kept = keeper.save(member, folder / name, allow_pickle)
    try:
        form = MemberForm(
            name=member.name,
            kind=member.kind,
            folder=name,
            output=member.output,
            classes=[said_label(label) for label in member.classes],
            label_map=[[said_label(one), said_label(other)] for one, other in member.label_map.items()],
            missing=member.missing,
            reads=list(member.reads) if isinstance(member.reads, tuple) else member.reads,
            inverse=None if member.inverse is None else path_of(member.inverse),
            settings=plain(kept_settings(member)),
            cost=None if member.cost is None else plain(asdict(member.cost)),
            notes=list(member.notes),
            kept=plain(kept.said),
            libraries=versions_of(kept.libraries),
        )
    except ValueError as error:
        raise cannot_be_saved(member.name, member.kind, str(error)) from error
    return form, kept.notes


def _folder_name(name: str, taken: set[str]) -> str:
    """A folder that is called like the member, as far as every file system allows it."""
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "member"
    numbers = ("", *(f"-{i}" for i in range(2, len(taken) + 3)))
    return next(found for number in numbers if (found := f"members/{word}{number}") not in taken)


def _combined(
    state: State, folder: Path, allow_pickle: bool
) -> tuple[dict[str, Any], dict[str, Array], tuple[str, ...]]:
    """Combiner, what it found, and its bank, as the form says them; their arrays; what should be known."""
    arrays: dict[str, Array] = {}
    fitted, kept, bank = None, Kept({}), None
    with _said(f"the combiner {state.combiner.name!r}"):
        combiner = {"name": state.combiner.name, "settings": plain(state.combiner.settings())}
        if state.fitted is not None:
            if state.fitted.thing is not None:
                (folder / COMBINER_FOLDER).mkdir()
                kept = write(state.fitted.thing, COMBINER_FOLDER, folder / COMBINER_FOLDER, allow_pickle)
            told, found = state.fitted.told()
            libraries = versions_of(kept.libraries)
            fitted = {"kind": state.fitted.kind, "said": plain(told), "thing": kept.said, "libraries": libraries}
            arrays |= under("fitted", found)
    if state.bank is not None:
        bank, found = told_bank(state.bank)
        arrays |= under("bank", found)
    return {"combiner": combiner, "fitted": fitted, "bank": bank}, arrays, kept.notes


def _settings(ensemble: Ensemble, state: State) -> dict[str, Any]:
    """How members are asked, and how the combiner was fitted.

    Raises:
        UsageError: the function that gives the rows' own numbers cannot be imported.
    """
    with _said("`features`, the function that gives the rows' own numbers,"):
        features = _features(ensemble.features)
    asking = {"on_error": ensemble.on_error, "time_limit": ensemble.time_limit, "features": features}
    if ensemble.roles:
        asking["roles"] = dict(ensemble.roles)
    return plain({**asking, "manner": asdict(state.manner)})  # type: ignore[no-any-return]


def _features(features: Any) -> Any:
    """What gives the rows' own numbers: columns as data, a function by its import path."""
    if isinstance(features, ColumnNumbers):
        return asdict(features)
    return None if features is None else path_of(features)


def _golden(
    ensemble: Ensemble, state: State, rows: Rows | None, must_answer: bool
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What is kept of the golden rows. Rows of which nobody said that they are good may fail: then there are none."""
    golden, again = golden_of(rows if state.members else None)
    if again is None:
        return golden.said, {}
    try:
        answers = answers_of(ensemble, state, again)
    except CuveeError as error:
        if must_answer:
            raise
        return {"skipped": f"the rows that were asked first have no answer now: {error.faults[0].message}"}, {}
    said = {**golden.said, "members": [member.name for member in state.members]}
    return said, under("golden", {**golden.arrays, **answers})


def answers_of(ensemble: Ensemble, state: State, rows: Rows) -> dict[str, Array]:
    """What the ensemble and each of its members say of rows."""
    members = gather(state.members, rows, ensemble.classes, ensemble.task).P
    whole = ensemble.predict_proba(rows) if ensemble.task == "classification" else ensemble.predict(rows)
    return {"answer": np.asarray(whole, np.float64), "members": members}


@contextmanager
def _said(what: str) -> Iterator[None]:
    """What cannot be said in JSON or safetensors, told as a refusal."""
    try:
        yield
    except ValueError as error:
        message = f"{what} cannot be saved: {error}"
        raise UsageError(Fault("bad-argument", message, subject="combiner")) from error


def _check_old(folder: Path) -> None:
    if not is_ensemble(folder):
        message = f"the output {folder} is no saved ensemble, so it is not replaced"
        hint = "remove it yourself if you mean it, or name another folder"
        raise OutputExists(Fault("unsafe-overwrite", message, subject=str(folder), hint=hint))
