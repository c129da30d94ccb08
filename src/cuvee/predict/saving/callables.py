"""Members that are plain functions, kept by the path that they are imported by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cuvee.errors import Fault
from cuvee.predict.member import Member
from cuvee.predict.saving.import_paths import imported, is_path, path_of, untrusted
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, cannot_be_saved, unsound


def save(member: Member, _: Path, __: bool) -> Kept:
    """Write nothing but the path, if there is one, and that of what gives embeddings."""
    path = _path(member, member.thing)
    said: dict[str, Any] = {"function": path, "whole": member.whole}
    paths = [path]
    if member.embed is not None:
        said["embed"] = _path(member, member.embed)
        paths.append(said["embed"])
    named = ", ".join(map(repr, paths))
    note = f"of {member.name!r} only the import path is saved, not its code; loading it needs trust=[{named}]"
    more = () if member.refit is None else (f"{member.name!r} cannot be trained anew once it was loaded",)
    return Kept(said, (path.split(":")[0].split(".")[0],), (note, *more))


def check(stored: Stored) -> list[Fault]:
    """Functions that nobody said to trust."""
    paths = [stored.said.get("function"), *([stored.said["embed"]] if "embed" in stored.said else [])]
    if odd := [path for path in paths if not is_path(path)]:
        return [unsound(stored.facts.name, f"{str(odd[0])[:80]!r} is no path of a function")]
    name = stored.facts.name
    return [
        untrusted(stored.facts.name, str(path), "the function")
        for path in paths
        if not stored.trust.covers(name, str(path))
    ]


def load(stored: Stored) -> Member:
    """Import the function."""
    return Member.callable(
        imported(stored.said["function"]),
        classes=stored.facts.classes,
        output=stored.facts.output,
        embed=imported(stored.said["embed"]) if "embed" in stored.said else None,
        whole=stored.said.get("whole") is True,
        **stored.facts.common,
    )


def _path(member: Member, function: Any) -> str:
    try:
        return path_of(function)
    except ValueError as error:
        hint = "define it with `def` at the top of a module that can be imported where the ensemble is loaded"
        raise cannot_be_saved(member.name, member.kind, f"only its import path is kept, and {error}", hint) from error


KEEPERS.register("callable", Keeper(save, check, load))
