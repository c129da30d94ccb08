"""Members with scikit-learn's interface, kept by skops; by pickle only where that was asked for."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault
from cuvee.predict.member import Member
from cuvee.predict.saving.files import read_plain
from cuvee.predict.saving.import_paths import untrusted
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, Trust, cannot_be_saved, unsound
from cuvee.predict.saving.through_skops import asked, dumped, loaded, roots
from cuvee.predict.saving.trusted import STOCK

_SKOPS: Final = "model.skops"
_PICKLE: Final = "model.pkl"


def save(member: Member, folder: Path, allow_pickle: bool) -> Kept:
    """Write the estimator, and whether it gives embeddings."""
    kept = write(member.thing, member.name, folder, allow_pickle)
    return replace(kept, said={**kept.said, "embed": member.embed is not None})


def write(thing: Any, name: str, folder: Path, allow_pickle: bool) -> Kept:
    """Write `model.skops`, or `model.pkl` for what skops cannot write and where pickle is allowed.

    Raises:
        UsageError: `wrong-member`.
    """
    try:
        data = dumped(thing)
        wanted = untrusted_types(asked(data))
    except Exception as error:  # skops raises all kinds for what it does not know
        return _pickled(thing, name, folder, allow_pickle, f"{type(error).__name__}: {error}")
    (folder / _SKOPS).write_bytes(data)
    notes = [f"to load {name!r}, trust {', '.join(wanted)}"] if wanted else []
    return Kept({"format": "skops"}, tuple(roots(data)), tuple(notes))


def check(stored: Stored) -> list[Fault]:
    """What forbids reading a member's estimator."""
    return estimator_faults(stored.said.get("format"), stored.facts.name, stored.folder, stored.trust)


def estimator_faults(form: Any, name: str, folder: Path, trust: Trust) -> list[Fault]:
    """Types that nobody said to trust, all of them; a pickle where none is allowed."""
    if form == "pickle":
        return [] if trust.allow_pickle else [_no_pickle(name)]
    if form != "skops":
        return [unsound(name, "it is kept in an unknown format")]
    try:
        types = untrusted_types(asked(read_plain(folder / _SKOPS)))
    except OSError:
        return []  # the file is missing, or is none: the list of files says so
    except ValueError as error:
        return [unsound(name, str(error))]
    return [untrusted(name, one, "the type") for one in types if not trust.covers(name, one)]


def load(stored: Stored) -> Member:
    """Make the estimator, and of it the member."""
    facts = stored.facts
    return Member.sklearn(
        read(stored.said["format"], stored.folder),
        classes=facts.classes if stored.settings.get("encoded") else None,
        output=facts.output,
        embed=stored.said.get("embed") is True,
        **facts.common,
    )


def untrusted_types(types: list[str]) -> list[str]:
    """Those that are not stock types of the libraries."""
    return [name for name in types if name not in STOCK]


def read(form: str, folder: Path) -> Any:
    """The estimator, once it was checked."""
    if form == "pickle":
        return pickle.loads(read_plain(folder / _PICKLE))
    data = read_plain(folder / _SKOPS)
    return loaded(data, asked(data))  # all of them: `estimator_faults` has let them pass


def _pickled(thing: Any, name: str, folder: Path, allow_pickle: bool, why: str) -> Kept:
    if not allow_pickle:
        hint = "put its functions into a module that can be imported; `allow_pickle=True` on both sides takes a pickle"
        raise cannot_be_saved(name, "sklearn", f"skops says {why}", hint)
    try:
        data = pickle.dumps(thing, protocol=5)
    except Exception as error:
        raise cannot_be_saved(name, "sklearn", f"skops says {why}; pickle says {error}") from error
    (folder / _PICKLE).write_bytes(data)
    note = f"{name!r} is a pickle, which runs code when it is loaded"
    return Kept({"format": "pickle"}, (type(thing).__module__.split(".")[0],), (note,))


def _no_pickle(name: str) -> Fault:
    message = f"the member {name!r} is a pickle, which runs code of whoever wrote it when it is loaded"
    hint = "if you trust the writer, load it with `allow_pickle=True`"
    return Fault("untrusted-type", message, None, name, hint)


KEEPERS.register("sklearn", Keeper(save, check, load))
