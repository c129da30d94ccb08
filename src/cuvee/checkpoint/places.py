"""Where a model that a recipe names lies: a path, a task of a pack, a hub id; and what to say where nothing does."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Final

from cuvee.checkpoint.pack_form import PACK_NAME
from cuvee.errors import Fault, InputError
from cuvee.types import ModelRef

_NAME: Final = r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_HUB_ID: Final = re.compile(rf"(?:{_NAME}/)?{_NAME}", re.ASCII)


def local_path(text: str, root: Path | None) -> Path:
    """Where a model's path leads: `~` expanded, relative to `root`."""
    if "\0" in text:
        raise InputError(Fault("model-missing", f"a path cannot hold a zero byte: {text!r}", subject=text))
    # absolute, because files are opened when they are read; not normalised, because `..` after a link means the target
    return ((root or Path()) / os.path.expanduser(text)).absolute()  # noqa: PTH111 - the Path method raises on `~nobody`


def task_of_pack(text: str, root: Path | None) -> tuple[Path, str] | None:
    """The pack and the task that `PACK#TASK` names; `None` where it does not, or where a path of this name is there."""
    path = local_path(text, root)
    if "#" not in text or os.path.lexists(path):
        return None
    splits = ((text[:i], text[i + 1 :]) for i, letter in enumerate(text) if letter == "#" and i)
    folders = ((local_path(start, root), task) for start, task in splits)
    return next(((folder, task) for folder, task in folders if (folder / PACK_NAME).is_file()), None)


def is_hub_id(text: str) -> bool:
    """Whether a text can be a hub id: `name` or `organisation/name` in the hub's own letters."""
    return bool(_HUB_ID.fullmatch(text)) and not any(bad in text for bad in ("--", "..")) and not text.endswith(".git")


def missing(ref: ModelRef, path: Path) -> Fault:
    """A fault for a path that leads nowhere, with the nearest name beside it."""
    """A fault for a path that leads nowhere, with the nearest name beside it."""
    where = "" if str(path) == ref.path else f" ({path})"
    if path.is_symlink():
        message, hint = f"{ref.path}: a link that leads nowhere{where}", "mend the link, or name the model itself"
        return Fault("model-missing", message, subject=str(ref), hint=hint)
    near = nearest_sibling(path)
    hint = f"did you mean `{near}`?" if near else "paths in a recipe are relative to the recipe's folder"
    hint = "several adapters are a list: `{model: base, lora: [a, b]}`" if "+" in ref.path else hint
    return Fault("model-missing", f"{ref.path}: no such model folder or file{where}", subject=str(ref), hint=hint)


def nearest_sibling(path: Path) -> str | None:
    """The name beside a missing path that is most like it."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return None
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return close[0] if close else None
