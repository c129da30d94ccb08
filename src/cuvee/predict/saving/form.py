"""What `ensemble.json` says, as data, and read with no trust."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, get_args

from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError, nearest
from cuvee.predict.saving.files import FORM_NAME
from cuvee.predict.saving.plain import label_of
from cuvee.predict.trained import Missing, Output

MARK: Final = "cuvee ensemble"
SCHEMA: Final = 1
"""The version of this form; another one is refused."""
LIMIT: Final = 64 << 20
"""Bytes that the form may have."""
FAULT_LIMIT: Final = 20

_FOLDER: Final = re.compile(r"members/[a-z0-9][a-z0-9-]{0,79}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class MemberForm:
    """What the form says of a member; labels stand as `plain.said_label` says them.

    Attributes:
        name, kind, output, classes, label_map, missing, reads, cost, notes: as `Trained` has them.
        folder: where its files are, `members/…`.
        inverse: import path of a function, `module:function`, or nothing.
        settings: what its adapter needs besides.
        kept: what the keeper of its kind said.
        libraries: library → version that it was saved with.
    """

    name: str
    kind: str
    folder: str
    output: str
    classes: list[Any]
    label_map: list[Any]
    missing: str
    reads: str | list[str] | None
    inverse: str | None
    settings: dict[str, Any]
    cost: dict[str, Any] | None
    notes: list[str]
    kept: dict[str, Any]
    libraries: dict[str, str]


@dataclass(frozen=True)
class Form:
    """What the form says of the ensemble."""

    task: str
    classes: list[Any]
    number: int
    what: str
    notes: list[str]
    temperature: float | None
    history: list[Any]
    combiner: dict[str, Any]
    fitted: dict[str, Any] | None
    bank: dict[str, Any] | None
    members: list[Any]
    golden: dict[str, Any]
    libraries: dict[str, str]
    machine: str
    settings: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)

    @property
    def of_members(self) -> tuple[MemberForm, ...]:
        """What it says of each member."""
        return tuple(MemberForm(**one) for one in self.members)


def as_text(form: Form) -> str:
    """The form as JSON; the hash of the rest stands in it, so that damage is seen."""
    said = {"format": MARK, "schema": SCHEMA, **asdict(form)}
    said["sha256"] = _digest(said)
    return json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def is_ensemble(folder: Path) -> bool:
    """Whether a folder says that it is a saved ensemble, of whatever version."""
    try:
        said, _ = parse_json(read_capped(folder / FORM_NAME, LIMIT))
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("format") == MARK


def read_form(folder: Path) -> Form:
    """Read and check the form.

    Raises:
        InputError: `model-missing`: there is none; `bad-ensemble`, with all that is wrong.
    """
    said, repeated = _read(folder / FORM_NAME)
    where = str(folder / FORM_NAME)
    if not isinstance(said, dict) or said.get("format") != MARK:
        raise InputError(bad(f'{where} should say `"format": "{MARK}"`; it does not', FORM_NAME))
    if said.get("schema") != SCHEMA:
        message = f"{where} has the version {str(said.get('schema'))[:40]} of the form; this Cuvee reads {SCHEMA}"
        raise InputError(bad(message, FORM_NAME, "load it with the Cuvee that saved it, or save it again"))
    faults = [bad(f"{where}: the key `{key[:80]}` stands twice", key[:80]) for key in repeated]
    if said.get("sha256") != _digest(said):
        faults.append(bad(f"{where} is not what was saved: its own hash differs", FORM_NAME))
    body = {key: value for key, value in said.items() if key not in ("format", "schema", "sha256")}
    if found := _typed(body, _FORM, where):
        raise InputError([*faults, *found][:FAULT_LIMIT])
    faults += _value_faults(body, where)
    if faults:
        raise InputError(faults[:FAULT_LIMIT])
    return Form(**body)


def bad(message: str, subject: str | None = None, hint: str | None = None) -> Fault:
    """A fault of a saved ensemble."""
    return Fault("bad-ensemble", message, None, subject, hint)


def _read(path: Path) -> tuple[Any, tuple[str, ...]]:
    try:
        return parse_json(read_capped(path, LIMIT))
    except (FileNotFoundError, NotADirectoryError):
        message = f"a saved ensemble should be at {path.parent}; there is no {FORM_NAME}"
        raise InputError(Fault("model-missing", message, None, str(path.parent))) from None
    except OSError as error:
        raise InputError(bad(f"{path} cannot be read: {error.strerror or error}", FORM_NAME)) from error
    except ValueError as error:
        raise InputError(bad(f"{path} is no form of an ensemble: {error}", FORM_NAME)) from error


def _digest(said: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in said.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_integer(value: Any) -> bool:
    return type(value) is int


def _versions(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _kind(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


_NONE: Final = type(None)
_MEMBER: Final[Mapping[str, Callable[[Any], bool]]] = {
    "name": _kind(str),
    "kind": _kind(str),
    "folder": lambda value: isinstance(value, str) and bool(_FOLDER.fullmatch(value)),
    "output": lambda value: value in get_args(Output),
    "classes": _kind(list),
    "label_map": lambda value: isinstance(value, list) and all(isinstance(o, list) and len(o) == 2 for o in value),
    "missing": lambda value: value in get_args(Missing),
    "reads": lambda value: value is None or isinstance(value, str) or _texts(value),
    "inverse": _kind(str, _NONE),
    "settings": _kind(dict),
    "cost": _kind(dict, _NONE),
    "notes": _texts,
    "kept": _kind(dict),
    "libraries": _versions,
}
_FORM: Final[Mapping[str, Callable[[Any], bool]]] = {
    "task": lambda value: value in ("classification", "regression"),
    "classes": _kind(list),
    "number": lambda value: _is_integer(value) and value >= 0,
    "what": _kind(str),
    "notes": _texts,
    "temperature": _kind(float, int, _NONE),
    "history": _kind(list),
    "combiner": lambda value: isinstance(value, dict) and value.keys() == {"name", "settings"},
    "fitted": lambda value: value is None or _is_fitted(value),
    "bank": _kind(dict, _NONE),
    "members": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "golden": _kind(dict),
    "libraries": _versions,
    "machine": _kind(str),
    "settings": _kind(dict),
    "files": _kind(dict),
}


def _is_fitted(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"kind", "said", "thing", "libraries"}
        and isinstance(value["thing"], dict)
        and _versions(value["libraries"])
    )


def _typed(said: Mapping[str, Any], keys: Mapping[str, Callable[[Any], bool]], where: str) -> list[Fault]:
    """Keys that lack, that are unknown, and values of another type."""
    faults = [bad(f"{where}: the key `{key}` is missing", key) for key in keys.keys() - said.keys()]
    unknown = sorted(said.keys() - keys.keys())
    faults += [bad(f"{where}: the key `{key[:80]}` is unknown", key[:80], nearest(key, keys)) for key in unknown]
    wrong = [key for key, good in keys.items() if key in said and not good(said[key])]
    return faults + [bad(f"{where}: `{key}` cannot be {_shown(said[key])}", key) for key in wrong]


def _value_faults(said: Mapping[str, Any], where: str) -> list[Fault]:
    faults = [fault for i, one in enumerate(said["members"]) for fault in _typed(one, _MEMBER, f"{where}, member {i}")]
    if not faults:
        faults = [*_label_faults(said, where), *_twice(said["members"], where)]
    return faults + [
        bad(f"{where}: `files` cannot list {_shown(name)}: {_shown(value)}", str(name)[:80])
        for name, value in said["files"].items()
        if not _is_file(name, value)
    ]


def _label_faults(said: Mapping[str, Any], where: str) -> list[Fault]:
    faults = []
    mapped = [label for one in said["members"] for pair in one["label_map"] for label in pair]
    for label in [*said["classes"], *(label for one in said["members"] for label in one["classes"]), *mapped]:
        try:
            label_of(label)
        except ValueError as error:
            faults.append(bad(f"{where}: {error}", "classes"))
    return faults


def _twice(members: list[Any], where: str) -> list[Fault]:
    for key in ("name", "folder"):
        values = [one[key] for one in members]
        if again := sorted({value for value in values if values.count(value) > 1}):
            return [bad(f"{where}: two members have the {key} `{again[0][:80]}`", again[0][:80])]
    return []


def _is_file(name: str, value: Any) -> bool:
    path = PurePosixPath(name)
    is_inside = not path.is_absolute() and not {"..", "."} & set(path.parts) and name == path.as_posix()
    return (
        is_inside
        and "\\" not in name
        and name.isprintable()
        and isinstance(value, dict)
        and value.keys() == {"bytes", "sha256"}
        and _is_integer(value["bytes"])
        and isinstance(value["sha256"], str)
        and bool(_SHA256.fullmatch(value["sha256"]))
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
