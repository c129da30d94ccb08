"""The form of `pack.json`, which says what a task pack holds, and reading one that anybody may have written.

A pack is a folder:

    pack.json              tasks, base, the dtype of every tensor of a task's model, fingerprints
    model.safetensors      one delta for all tasks, under the models' own names; or shards and their index
    task-NAME.safetensors  for every task one bit per entry of the delta, as uint8 under `TENSOR@NAME`
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.side_files import allowed_roots, link_fault
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError, listed
from cuvee.types import DTYPES

PACK_NAME: Final = "pack.json"
PACK_FORMAT: Final = 1
PACK_MARK: Final = "cuvee_pack"
"""The key of the format's number: other programs have files of this name too."""
PACK_LIMIT: Final = 100_000_000
"""Bytes a pack.json may have: those of some 300,000 tensors."""
BASE_MARK: Final = "?base="
"""What stands between a task and a base that is not where the pack says."""
BASE_KINDS: Final = ("local", "hub", "url")

_TASK: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_HINT: Final = "make the pack again with `cuvee pack`, or copy the whole folder again"


@dataclass(frozen=True, slots=True)
class PackedTask:
    """One task of a pack.

    Attributes:
        name: its name.
        model: the model it stands for, as the recipe named it.
        rescaler: what the masked delta is multiplied with.
        kept: entries of the delta that the mask keeps.
        masks: fingerprint of all its masks.
    """

    name: str
    model: str
    rescaler: float
    kept: int
    masks: str


@dataclass(frozen=True, slots=True)
class PackedTensor:
    """One tensor of a task's model.

    Attributes:
        dtype: what it is rounded to.
        source: the base's tensor that it starts from.
        base: fingerprint of that.
        delta: fingerprint of the delta; `None` where there is none, and the base's tensor is taken as it is.
    """

    dtype: str
    source: str
    base: str
    delta: str | None


@dataclass(frozen=True, slots=True)
class PackForm:
    """What a `pack.json` says.

    Attributes:
        tasks, tensors: by name.
        base_kind: `local`, a path from the pack's folder; `hub`, an id; or `url`.
        base_path, base_revision: where the base is.
        config: the `config.json` of the tasks' models, where it is not the base's.
        masks: `agree` or `tall`.
        data: all of it.
    """

    tasks: Mapping[str, PackedTask]
    tensors: Mapping[str, PackedTensor]
    base_kind: str
    base_path: str
    base_revision: str | None
    config: str | None
    masks: str
    data: Mapping[str, Any]


def mask_file(task: str) -> str:
    """The file that holds the masks of a task."""
    return f"task-{task}.safetensors"


def mask_name(tensor: str, task: str) -> str:
    """The name of a tensor's mask in it."""
    return f"{tensor}@{task}"


def is_task_name(text: object) -> bool:
    """Whether a text can be the name of a task: letters, digits, `_`, `.`, `-`, and no file but one of the pack."""
    return isinstance(text, str) and _TASK.fullmatch(text) is not None


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a pack, of whatever version; another program's `pack.json` makes none."""
    try:
        return f'"{PACK_MARK}"'.encode() in read_capped(folder / PACK_NAME, PACK_LIMIT)
    except (OSError, ValueError):
        return False


def read_pack_form(folder: Path) -> PackForm:
    """Read the `pack.json` of a folder.

    Raises:
        InputError: `bad-pack` with every fault that was found; `unsafe-link`: it is a link that leads elsewhere.
    """
    path = folder / PACK_NAME
    if fault := link_fault(path, PACK_NAME, allowed_roots(folder)):
        raise InputError(fault)
    try:
        data, repeated = parse_json(read_capped(path, PACK_LIMIT))
    except (OSError, ValueError) as error:
        raise InputError(pack_fault(path, f"cannot be read: {error}")) from None
    if not isinstance(data, dict) or data.get(PACK_MARK) != PACK_FORMAT or data[PACK_MARK] is True:
        found = data.get(PACK_MARK) if isinstance(data, dict) else data
        raise InputError(pack_fault(path, f"should say `{PACK_MARK}: {PACK_FORMAT}`, found {found!r:.60}"))
    if wrong := [*(f"`{key:.100}` stands twice" for key in repeated), *_wrong(data)]:
        raise InputError(pack_fault(path, listed(wrong, 5, "; ")))
    return _form(data)


def pack_fault(path: Path, what: str, subject: str | None = None) -> Fault:
    """A fault of a pack's file."""
    return Fault("bad-pack", f"{path}: {what}", subject=subject or str(path), hint=_HINT)


def as_text(data: Mapping[str, Any]) -> str:
    """The text of a `pack.json`."""
    return json.dumps({PACK_MARK: PACK_FORMAT, **data}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _form(data: Mapping[str, Any]) -> PackForm:
    base = data["base"]
    kind = next(kind for kind in BASE_KINDS if kind in base)
    return PackForm(
        tasks={
            name: PackedTask(name, task["model"], float(task["rescaler"]), task["kept"], task["masks"])
            for name, task in data["tasks"].items()
        },
        tensors={
            name: PackedTensor(entry["dtype"], entry.get("source", name), entry["base"], entry.get("delta"))
            for name, entry in data["tensors"].items()
        },
        base_kind=kind,
        base_path=base[kind],
        base_revision=base.get("revision"),
        config=data.get("config"),
        masks=data["masks"]["kind"],
        data=data,
    )


def _wrong(data: Mapping[str, Any]) -> Iterator[str]:
    """Where it has not the form that it should have."""
    base = data.get("base")
    if not isinstance(base, dict) or sum(_is_path(base.get(kind)) for kind in BASE_KINDS) != 1:
        yield f"`base` should name one of {', '.join(BASE_KINDS)}, found {base!r:.80}"
    elif not isinstance(base.get("revision"), str | None):
        yield f"`base.revision` should be a text, found {base['revision']!r:.60}"
    if not isinstance(data.get("config"), str | None):
        yield "`config` should be the text of a config.json"
    masks = data.get("masks")
    if not isinstance(masks, dict) or masks.get("kind") not in ("agree", "tall"):
        yield f"`masks.kind` should be agree or tall, found {masks!r:.60}"
    for key, wrong in (("tasks", _wrong_task), ("tensors", _wrong_tensor)):
        entries = data.get(key)
        if not isinstance(entries, dict) or not entries:
            yield f"`{key}` should be a mapping that is not empty"
        else:
            yield from (
                f"`{key}.{name:.100}` {told}" for name, entry in entries.items() if (told := wrong(name, entry))
            )


def _is_path(text: object) -> bool:
    return isinstance(text, str) and bool(text) and text.isprintable()


def _wrong_task(name: str, entry: Any) -> str | None:
    """What is wrong with a task, if anything is."""
    if not is_task_name(name):
        return "is no name of a task: letters, digits, `_`, `.` and `-` only"
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
        return "should name its `model`"
    rescaler, kept = entry.get("rescaler"), entry.get("kept")
    if not _is_factor(rescaler):
        return f"should have a finite `rescaler` of at least 0, found {rescaler!r:.40}"
    if type(kept) is not int or kept < 0:
        return f"should have a number `kept`, found {kept!r:.40}"
    return None if _is_digest(entry.get("masks")) else "should have the fingerprint of its `masks`"


def _is_factor(number: object) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    try:
        return math.isfinite(number) and number >= 0
    except OverflowError:  # an integer of hundreds of digits
        return False


def _wrong_tensor(name: str, entry: Any) -> str | None:
    """What is wrong with a tensor, if anything is."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str) or entry["dtype"] not in DTYPES:
        return "should have a `dtype`"
    if not isinstance(entry.get("source", name), str):
        return "should name its `source` by a text"
    digests = [entry.get("base"), *([entry["delta"]] if entry.get("delta") is not None else [])]
    if not all(map(_is_digest, digests)):
        return "should have fingerprints of its `base` and `delta`"
    return None


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None
