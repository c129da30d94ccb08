"""Members that are plain functions, kept by the path that they are imported by."""

from __future__ import annotations

from dataclasses import replace

from cuvee.errors import Fault
from cuvee.predict.member import Member
from cuvee.predict.saving.import_paths import imported, is_path, path_of, untrusted
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, cannot_be_saved, unsound


def save(member: Member, *_: object) -> Kept:
    """Write nothing but the path, if there is one."""
    try:
        path = path_of(member.thing)
    except ValueError as error:
        hint = "define it with `def` at the top of a module that can be imported where the ensemble is loaded"
        raise cannot_be_saved(member, f"only its import path is kept, and {error}", hint) from error
    note = f"{member.name!r} is `{path}`: its code is not saved, and loading it needs trust=[{path!r}]"
    return Kept({"function": path}, (path.split(":")[0].split(".")[0],), (note,))


def check(stored: Stored) -> list[Fault]:
    """A function that nobody said to trust."""
    path = stored.said.get("function")
    if not is_path(path):
        return [unsound(stored, f"{str(path)[:80]!r} is no path of a function")]
    path = str(path)
    return [] if stored.trust.covers(stored.facts.name, path) else [untrusted(stored, path, "the function")]


def load(stored: Stored) -> Member:
    """Import the function."""
    function = imported(stored.said["function"])
    facts = stored.facts
    made = Member(facts.name, "callable", function, facts.output, facts.classes, facts.label_map, thing=function)
    return replace(made, missing=facts.missing, reads=facts.reads, settings=stored.settings)


KEEPERS.register("callable", Keeper(save, check, load))
