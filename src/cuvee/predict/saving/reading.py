"""Loading an ensemble: nothing of it runs before all of it was checked and every fault told."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cuvee.combine import Array
from cuvee.errors import CuveeError, Fault, InputError, UsageError
from cuvee.predict.combiners import COMBINERS, FITTED, Combiner, Fitted
from cuvee.predict.member import Member
from cuvee.predict.row_numbers import ColumnNumbers
from cuvee.predict.saving.arrays import read_arrays, within
from cuvee.predict.saving.banks import bank_of
from cuvee.predict.saving.estimators import estimator_faults, read
from cuvee.predict.saving.files import ARRAYS_NAME, COMBINER_FOLDER, file_faults
from cuvee.predict.saving.form import Form, MemberForm, bad, read_form
from cuvee.predict.saving.golden import answer_faults, kept_answers, rows_from
from cuvee.predict.saving.import_paths import HARMLESS, imported, is_path, untrusted
from cuvee.predict.saving.keepers import Facts, Keeper, Make, Stored, Trust, unsound
from cuvee.predict.saving.kinds import keeper_of
from cuvee.predict.saving.plain import frozen, label_of, unplain
from cuvee.predict.saving.versions import differences, machine
from cuvee.predict.saving.writing import AT_LOADING, answers_of
from cuvee.predict.state import Manner, State
from cuvee.predict.subject import ROLES
from cuvee.predict.trained import Cost, Missing, Output, Task

if TYPE_CHECKING:
    from cuvee.predict.ensemble import Ensemble


def load(path: str | Path, make: Make, *, trust: Iterable[str] = (), allow_pickle: bool = False) -> Any:
    """Load a saved ensemble; see `Ensemble.load`.

    Checked, in this order: the form; that every file is there, is what was saved, and no other is; that no member needs
    a type or function that nobody trusts. All faults of these are told at once, and nothing has run yet. Then the
    members are made, and the golden rows must be answered as they were: exactly on the same versions and machine.

    Args:
        path: the folder.
        make: makes the ensemble.
        trust: types (`module.Type`), functions (`module:function`), or names of members, that may run.
        allow_pickle: whether members that are pickles may be loaded. A pickle runs whatever its writer wished.

    Raises:
        InputError: `model-missing`: there is none; `bad-ensemble`; `unsafe-link`; `untrusted-type`.
        UsageError: a library that members need is not installed.
    """
    if isinstance(trust, str):
        message = f"`trust` must be a list of names; found the text {trust!r}"
        raise UsageError(Fault("bad-argument", message, None, "trust", f"trust=[{trust!r}]"))
    folder, given = Path(path), Trust(frozenset(trust), allow_pickle)
    form = read_form(folder)
    faults = file_faults(folder, form.files)
    if not any(fault.code == "unsafe-link" for fault in faults):  # behind a link lies what nobody may look at
        faults += trust_faults(form, folder, given, make)
    if faults:
        raise InputError(faults)
    return assembled(form, folder, given, make)


def trust_faults(form: Form, folder: Path, trust: Trust, make: Make) -> list[Fault]:
    """What forbids making the members; nothing runs."""
    faults = _features_faults(form, trust)
    if form.fitted is not None and form.fitted["thing"]:
        faults += estimator_faults(form.fitted["thing"].get("format"), COMBINER_FOLDER, folder / COMBINER_FOLDER, trust)
    for one in form.of_members:
        stored = stored_of(one, folder, trust, make)
        faults += _inverse_faults(one, stored)
        keeper = _keeper(one)
        faults += (
            [unsound(stored.facts.name, f"there is no kind {one.kind[:40]!r}")]
            if keeper is None
            else keeper.check(stored)
        )
    return faults


def assembled(form: Form, folder: Path, trust: Trust, make: Make) -> Ensemble:
    """The ensemble of a folder that was checked.

    Raises:
        InputError: `bad-ensemble`: what was saved does not come to an ensemble, or to another one.
    """
    faults: list[Fault] = []
    stored = [(one, stored_of(one, folder, trust, make)) for one in form.of_members]
    members = [made for one, where in stored if (made := _member(one, where, faults)) is not None]
    with _failing("its arrays", faults):
        arrays = read_arrays(folder / ARRAYS_NAME)
    if faults:
        raise InputError(faults)
    with _failing("its combiner", faults):
        state = _state(form, members, arrays, folder)
    if faults:
        raise InputError(faults)
    classes = [label_of(label) for label in form.classes]
    with _failing("its settings", faults):
        ensemble: Ensemble = make(cast(Task, form.task), classes, state, form.history, **_asking(form))
    if faults:
        raise InputError(faults)
    _check_golden(ensemble, form, within(arrays, "golden"))
    return ensemble


def stored_of(form: MemberForm, folder: Path, trust: Trust, make: Make) -> Stored:
    """A member as it lies on disk."""
    facts = Facts(
        form.name,
        cast(Output, form.output),
        tuple(label_of(label) for label in form.classes),
        {label_of(one): label_of(other) for one, other in form.label_map},
        cast(Missing, form.missing),
        tuple(form.reads) if isinstance(form.reads, list) else form.reads,
    )
    return Stored(facts, folder / form.folder, unplain(form.kept), unplain(form.settings), trust, make)


def _keeper(form: MemberForm) -> Keeper | None:
    try:
        return keeper_of(form.kind)
    except CuveeError:
        return None


def _inverse_faults(form: MemberForm, stored: Stored) -> list[Fault]:
    path = form.inverse
    if path is None or path in HARMLESS or (is_path(path) and stored.trust.covers(form.name, path)):
        return []
    return [
        untrusted(stored.facts.name, path, "the function")
        if is_path(path)
        else unsound(stored.facts.name, "its inverse is no path")
    ]


def _member(form: MemberForm, stored: Stored, faults: list[Fault]) -> Member | None:
    """One member made; what its library says goes into the faults, differences of versions into its notes."""
    keeper = _keeper(form)
    assert keeper is not None
    with _failing(f"the member {form.name!r}", faults), warnings.catch_warnings():
        if differs := differences(form.libraries):
            warnings.simplefilter("ignore")  # it is noted: libraries warn of nothing else while they load
        made = keeper.load(stored)
        if made.name != form.name or made.output != form.output or made.classes != stored.facts.classes:
            raise ValueError(f"it became {made.output} of {made.classes!r:.200}")
        return replace(
            made,
            inverse=None if form.inverse is None else imported(form.inverse),
            cost=None if form.cost is None else Cost(**unplain(form.cost)),
            notes=(
                *(note for note in form.notes if not note.startswith(AT_LOADING)),
                *map(AT_LOADING.__add__, differs),
            ),
        )
    return None


def _state(form: Form, members: list[Member], arrays: dict[str, Array], folder: Path) -> State:
    combiner: Combiner = COMBINERS.get(form.combiner["name"])(**frozen(unplain(form.combiner["settings"])))
    fitted = None if form.fitted is None else _fitted(form.fitted, arrays, folder)
    if fitted is not None and (strange := set(fitted.members) - {member.name for member in members}):
        raise ValueError(f"it was fitted with a member {sorted(strange)[0]!r}")
    bank = None if form.bank is None else bank_of(form.bank, within(arrays, "bank"))
    notes = [*form.notes, *(f"{AT_LOADING}{one}" for one in differences(form.libraries))]
    if "skipped" in form.golden:
        notes.append(f"{AT_LOADING}no golden rows were asked: {form.golden['skipped']}")
    temperature = None if form.temperature is None else float(form.temperature)
    return State(
        form.number, form.what, tuple(members), combiner, fitted, bank, temperature, tuple(notes), _manner(form)
    )


def _fitted(said: dict[str, Any], arrays: dict[str, Array], folder: Path) -> Fitted:
    """What the combiner found, with the estimator that it may have."""
    found = FITTED.get(said["kind"]).restored(unplain(said["said"]), within(arrays, "fitted"))
    return found.with_thing(read(said["thing"]["format"], folder / COMBINER_FOLDER)) if said["thing"] else found


def _asking(form: Form) -> dict[str, Any]:
    """How members are asked."""
    said = unplain(form.settings)
    asked = {"on_error": said["on_error"], "time_limit": said["time_limit"], "roles": _roles(said.get("roles", {}))}
    features = said.get("features")
    if isinstance(features, dict):
        return {**asked, "features": _column_numbers(features)}
    return {**asked, "features": None if features is None else imported(features)}


def _column_numbers(said: dict[str, Any]) -> ColumnNumbers:
    """Columns whose numbers are looked at; nothing of it runs.

    Raises:
        ValueError: it is something else.
    """
    columns, fills = said.get("columns"), said.get("fills")
    if not isinstance(columns, list | tuple) or not isinstance(fills, list | tuple) or len(said) != 2:
        raise ValueError(f"`features` should be columns and a number for each; found {str(said)[:80]}")
    texts, numbers = all(isinstance(one, str) for one in columns), all(type(one) in (int, float) for one in fills)
    if not columns or not texts or not numbers or len(columns) != len(fills):
        raise ValueError(f"`features` should be columns and a number for each; found {str(said)[:80]}")
    return ColumnNumbers(tuple(columns), tuple(map(float, fills)))


def _roles(said: Any) -> dict[str, Any]:
    """What the columns of its table are.

    Raises:
        ValueError: it is something else.
    """
    good = isinstance(said, dict) and all(key in ROLES and type(value) in (str, int) for key, value in said.items())
    if not good:
        raise ValueError(f"`roles` should be columns by {', '.join(ROLES)}; found {str(said)[:80]}")
    return dict(said)


def _manner(form: Form) -> Manner:
    return Manner(**unplain(form.settings)["manner"])


def _features_faults(form: Form, trust: Trust) -> list[Fault]:
    """A function for the rows' own numbers that nobody said to trust."""
    path = form.settings.get("features")
    if path is None or isinstance(path, dict) or (is_path(path) and path in trust.names):
        return []  # columns are data, which is looked at when it is made
    if not is_path(path):
        return [bad(f"`features` cannot be {str(path)[:80]!r}", "features")]
    message = f"the ensemble needs the function `{path}` for the rows' own numbers, which nobody said to trust"
    hint = f"if you know it and whoever saved the ensemble, load it with trust=[{path!r}]"
    return [Fault("untrusted-type", message, None, path, hint)]


def _check_golden(ensemble: Ensemble, form: Form, arrays: dict[str, Array]) -> None:
    if "skipped" in form.golden:
        return
    faults: list[Fault] = []
    with _failing("its golden rows", faults):
        rows, kept = kept_answers(arrays)
        asked = rows_from(form.golden["rows"], rows)
        differs = [*differences(form.libraries), *(d for one in form.of_members for d in differences(one.libraries))]
        exact = not differs and form.machine == machine()
        faults += answer_faults(form.golden, kept, answers_of(ensemble, ensemble.state, asked), exact)
    if faults:
        raise InputError(faults)


@contextmanager
def _failing(what: str, faults: list[Fault]) -> Iterator[None]:
    """Whatever goes wrong with what was saved, as a fault; a library that is missing stays what it is."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        why = error.faults[0].message if isinstance(error, CuveeError) else f"{type(error).__name__}: {error}"
        faults.append(bad(f"{what} cannot be loaded: {why}"[:2000], what))
