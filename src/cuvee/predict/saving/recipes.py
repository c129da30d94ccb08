"""Members that are merges: a folder that was written is copied; of a merge in memory the recipe is kept.

Such a recipe names models outside the ensemble, by path, hub id or URL. They are opened, and may be downloaded, when
it is loaded: so it must be trusted by the member's name.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault
from cuvee.predict.member import Member
from cuvee.predict.saving import pretrained
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, unsound

_RECIPE: Final = "recipe.json"
_LIMIT: Final = 20 << 20
_OWN: Final = ("recipe", "root", "seed", "folder")


def save(member: Member, folder: Path, allow_pickle: bool) -> Kept:
    """Write the recipe, or copy the folder."""
    if "recipe" not in member.settings:
        return pretrained.save(member, folder, allow_pickle)
    said = {key: member.settings.get(key) for key in ("recipe", "root", "seed")}
    (folder / _RECIPE).write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")
    note = f"{member.name!r} is merged again whenever it is loaded, from models that are not saved with it"
    return Kept({"embed": member.embed is not None, "recipe": True}, ("torch", "transformers"), (note,))


def check(stored: Stored) -> list[Fault]:
    """A recipe whose models nobody said to trust."""
    if stored.said.get("recipe") is not True:
        return pretrained.check(stored)
    try:
        _read(stored)
    except OSError:
        return []  # the file is missing: the list of files says so
    except ValueError as error:
        return [unsound(stored.facts.name, str(error))]
    name = stored.facts.name
    if stored.trust.covers(name, f"recipe {name}"):
        return []
    message = f"the member {name!r} is a recipe: loading it opens, and may download, models that it names"
    hint = f"look at {_RECIPE} in its folder; if you trust whoever saved it, load it with trust=[{name!r}]"
    return [Fault("untrusted-type", message, None, name, hint)]


def load(stored: Stored) -> Member:
    """Merge it again, or load the folder."""
    settings = pretrained.classifier_settings(stored)
    if stored.said.get("recipe") is not True:
        return Member.recipe(stored.folder / "model", **settings)
    from cuvee import methods
    from cuvee.recipe import from_data

    said = _read(stored)
    recipe = from_data(said["recipe"], methods.specs())
    root = None if said["root"] is None else Path(said["root"])
    return Member.recipe(replace(recipe, root=root), seed=int(said["seed"] or 0), **settings)


def kept_settings(member: Member) -> dict[str, Any]:
    """Settings without those that stand in the file."""
    return {key: value for key, value in member.settings.items() if key not in _OWN}


def _read(stored: Stored) -> dict[str, Any]:
    said, twice = parse_json(read_capped(stored.folder / _RECIPE, _LIMIT))
    if twice or not isinstance(said, dict) or said.keys() != {"recipe", "root", "seed"}:
        raise ValueError(f"{_RECIPE} is no recipe of ours")
    return said


KEEPERS.register("recipe", Keeper(save, check, load))
