"""Members with scikit-learn's interface, kept by skops; by pickle only where that was asked for."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault
from cuvee.predict.member import Member
from cuvee.predict.saving.files import read_plain
from cuvee.predict.saving.import_paths import untrusted
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, cannot_be_saved, unsound
from cuvee.predict.saving.through_skops import asked, dumped, loaded, roots
from cuvee.predict.saving.trusted import STOCK

_SKOPS: Final = "model.skops"
_PICKLE: Final = "model.pkl"


def save(member: Member, folder: Path, allow_pickle: bool) -> Kept:
    """Write `model.skops`, or `model.pkl` for what skops cannot write and where pickle is allowed."""
    try:
        data = dumped(member.thing)
        wanted = untrusted_types(asked(data))
    except Exception as error:  # skops raises all kinds for what it does not know
        return _pickled(member, folder, allow_pickle, f"{type(error).__name__}: {error}")
    (folder / _SKOPS).write_bytes(data)
    notes = [f"to load {member.name!r}, trust {', '.join(wanted)}"] if wanted else []
    return Kept({"format": "skops", "embed": member.embed is not None}, tuple(roots(data)), tuple(notes))


def check(stored: Stored) -> list[Fault]:
    """Types that nobody said to trust, all of them; a pickle where none is allowed."""
    if stored.said.get("format") == "pickle":
        return [] if stored.trust.allow_pickle else [_no_pickle(stored)]
    if stored.said.get("format") != "skops":
        return [unsound(stored, "it is kept in an unknown format")]
    try:
        types = untrusted_types(asked(read_plain(stored.folder / _SKOPS)))
    except OSError:
        return []  # the file is missing, or is none: the list of files says so
    except ValueError as error:
        return [unsound(stored, str(error))]
    return [untrusted(stored, name, "the type") for name in types if not stored.trust.covers(stored.facts.name, name)]


def load(stored: Stored) -> Member:
    """Make the estimator, and of it the member."""
    facts = stored.facts
    return Member.sklearn(
        _model(stored),
        classes=facts.classes if stored.settings.get("encoded") else None,
        output=facts.output,
        embed=stored.said.get("embed") is True,
        **facts.common,
    )


def untrusted_types(types: list[str]) -> list[str]:
    """Those that are not stock types of the libraries."""
    return [name for name in types if name not in STOCK]


def _model(stored: Stored) -> Any:
    if stored.said["format"] == "pickle":
        return pickle.loads(read_plain(stored.folder / _PICKLE))
    data = read_plain(stored.folder / _SKOPS)
    return loaded(data, asked(data))  # all of them: `check` has let them pass


def _pickled(member: Member, folder: Path, allow_pickle: bool, why: str) -> Kept:
    if not allow_pickle:
        hint = (
            "put functions of it into a module that can be imported; `allow_pickle=True` writes a pickle, which runs \
code when it is loaded"
        )
        raise cannot_be_saved(member, f"skops says {why}", hint)
    try:
        data = pickle.dumps(member.thing, protocol=5)
    except Exception as error:
        raise cannot_be_saved(member, f"skops says {why}; pickle says {error}") from error
    (folder / _PICKLE).write_bytes(data)
    note = f"{member.name!r} is a pickle, which runs code when it is loaded"
    return Kept(
        {"format": "pickle", "embed": member.embed is not None}, (type(member.thing).__module__.split(".")[0],), (note,)
    )


def _no_pickle(stored: Stored) -> Fault:
    message = f"the member {stored.facts.name!r} is a pickle, which runs code of whoever wrote it when it is loaded"
    hint = "if you trust the writer, load it with `allow_pickle=True`"
    return Fault("untrusted-type", message, None, stored.facts.name, hint)


KEEPERS.register("sklearn", Keeper(save, check, load))
