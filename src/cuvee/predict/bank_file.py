"""Banks on disk: a folder that grows by whole pieces. Nothing in it is ever run.

    bank.json                 what the bank is made of; replaced at once, so a bank is the old one or the new one
    part-<hash>.safetensors   members × rows × classes of one piece; never changed once it is there

Each piece is a bank of its own: the first as it was saved, the others more members on the same rows, or more rows of
the same members. `bank.json` names the pieces in order, with the SHA-256 of each. A piece that it does not name, left
by a run that was killed, is no part of the bank.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from cuvee.errors import Fault, InputError, UsageError
from cuvee.predict.bank import Bank, check_bank
from cuvee.predict.bank_part import MOST_BYTES, packed, unpacked

VERSION: Final = 1
LISTING: Final = "bank.json"
How = Literal["start", "members", "rows"]

_MOST_JSON: Final = 4 << 20
_MOST_PARTS: Final = 10_000
_KEYS: Final = {"cuvee_bank", "parts", "row_hash", "cuvee"}
_PART_KEYS: Final = {"file", "sha256", "bytes", "adds"}
_HINT: Final = "docs/ensembles.md says what a saved bank holds"


def save_bank(folder: Path | str, bank: Bank, *, overwrite: bool = False) -> None:
    """Write a bank into a folder; it appears complete or not at all.

    Args:
        folder: the folder to make.
        bank: what to write.
        overwrite: whether a bank that is there may be replaced.

    Raises:
        InputError: what `check_bank` raises: no file is made of a bank that is wrong.
        OutputExists: there is a bank already, or the folder holds something else.
        ResourceError: it cannot be written.
    """
    from cuvee.checkpoint.os_errors import told

    check_bank(bank)
    folder = Path(folder)
    _check_free(folder, overwrite)
    with told("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _held(folder):
        before = [part["file"] for part in _listed(folder)["parts"]] if (folder / LISTING).exists() else []
        entry = _write_part(folder, bank, "start")
        _write_listing(folder, [entry], bank, overwrite=overwrite)
        for name in set(before) - {entry["file"]}:
            (folder / name).unlink(missing_ok=True)


def append_members(folder: Path | str, more: Bank) -> Bank:
    """Add members to a bank on disk; only theirs are written. What is there is read and checked first.

    Args:
        folder: the bank.
        more: the members, on the same rows in any order.

    Returns:
        The whole bank.

    Raises:
        InputError: as `read_bank` and `Bank.with_members`; the bank on disk is then as it was.
    """
    return _append(Path(folder), more, "members")


def append_rows(folder: Path | str, more: Bank) -> Bank:
    """Add rows to a bank on disk; only theirs are written; as `append_members`, with the faults of `Bank.with_rows`."""
    return _append(Path(folder), more, "rows")


def read_bank(folder: Path | str) -> Bank:
    """Read a bank from its folder.

    Raises:
        InputError: `data-missing`: there is none; `bad-bank`: it is damaged, hostile, or of another version; faults of
            safetensors files; what `check_bank` raises.
    """
    folder = Path(folder)
    listing = _listed(folder)
    bank = None
    for entry in listing["parts"]:
        part = _read_part(folder, entry)
        bank = part if bank is None else _joined(bank, part, entry["adds"])
    if bank is None or bank.row_hash != listing["row_hash"]:
        raise _damaged(folder, "its rows are not those that were saved")
    return bank


def _append(folder: Path, more: Bank, how: How) -> Bank:
    _listed(folder)  # before a lock is waited for
    with _held(folder):
        whole = _joined(read_bank(folder), more, how)
        parts = _listed(folder)["parts"]
        if len(parts) >= _MOST_PARTS:
            message = f"{folder} has {len(parts):,} parts, as many as a bank may have"
            raise UsageError(Fault("bad-argument", message, subject=str(folder), hint="save it anew: `save_bank`"))
        entry = _write_part(folder, more, how)
        _write_listing(folder, [*parts, entry], whole, overwrite=True)
    return whole


def _joined(bank: Bank, part: Bank, how: How) -> Bank:
    return bank.with_members(part) if how == "members" else bank.with_rows(part)


def _write_part(folder: Path, bank: Bank, how: How) -> dict[str, Any]:
    """A piece under a name that is made of its content: what has the name already is the same, or is replaced by it."""
    from cuvee.checkpoint.single_file import write_single

    pieces = packed(bank)
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    size, name = sum(map(len, pieces)), f"part-{digest.hexdigest()[:32]}.safetensors"
    if size > MOST_BYTES:
        message = f"a part of a bank has at most {MOST_BYTES:,} bytes; this one would have {size:,}"
        raise UsageError(Fault("bad-argument", message, hint="save some of the rows, and append the others"))
    write_single(folder / name, pieces, overwrite=True)
    return {"file": name, "sha256": digest.hexdigest(), "bytes": size, "adds": how}


def _write_listing(folder: Path, parts: list[dict[str, Any]], bank: Bank, *, overwrite: bool) -> None:
    from importlib.metadata import version

    from cuvee.checkpoint.single_file import write_single

    told = {"cuvee_bank": VERSION, "cuvee": version("cuvee"), "row_hash": bank.row_hash, "parts": parts}
    write_single(folder / LISTING, [json.dumps(told, indent=1).encode() + b"\n"], overwrite=overwrite)


def _check_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that a bank must not be written into."""
    from cuvee.checkpoint.single_file import exists

    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise exists(folder)
    if (folder / LISTING).exists() and not overwrite:
        raise exists(folder / LISTING)
    if folder.is_dir() and not (folder / LISTING).exists() and (found := [x for x in folder.iterdir() if not _ours(x)]):
        raise exists(found[0])


def _ours(path: Path) -> bool:
    """Whether a file is what a run that was killed while it saved a bank may have left."""
    return path.name.lstrip(".").startswith(("part-", LISTING))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The right to change a bank: others wait, so that of two that append neither is lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _listed(folder: Path) -> dict[str, Any]:
    """The listing, if it says all that it must in the right form.

    Raises:
        InputError: `data-missing`, `bad-bank`.
    """
    from cuvee.checkpoint.strict_json import parse_json, read_capped

    try:
        told, twice = parse_json(read_capped(folder / LISTING, _MOST_JSON))
    except OSError as error:
        message = f"there should be a bank at {folder}; {LISTING}: {error.strerror or error}"
        raise InputError(Fault("data-missing", message, subject=str(folder), hint=_HINT)) from error
    except ValueError as error:
        raise _damaged(folder, f"{LISTING} should be JSON; {error}") from None
    if wrong := [f"the key {key!r:.60} stands twice" for key in twice] or _wrongs(told):
        raise InputError([_damaged(folder, f"{LISTING}: {what}").faults[0] for what in wrong[:20]])
    return told  # type: ignore[no-any-return]


def _wrongs(told: Any) -> list[str]:
    if not isinstance(told, dict) or type(told.get("cuvee_bank")) is not int or told["cuvee_bank"] != VERSION:
        found = told.get("cuvee_bank") if isinstance(told, dict) else type(told).__name__
        return [f"it should be of version {VERSION} (`cuvee_bank`); found {found!r:.60}"]
    wrong = [f"there is no key {key!r:.60}" for key in sorted(set(told) - _KEYS)]
    wrong += [f"`{key}` is lacking" for key in sorted(_KEYS - set(told))]
    parts = told.get("parts")
    if not isinstance(parts, list) or not 1 <= len(parts) <= _MOST_PARTS:
        return [*wrong, f"`parts` should be a list of 1 to {_MOST_PARTS:,} parts"]
    for number, part in enumerate(parts):
        wrong += [f"part {number}: {what}" for what in _part_wrongs(part, first=number == 0)]
    if not wrong and len({part["file"] for part in parts}) < len(parts):
        wrong.append("a part stands twice")
    return wrong


def _part_wrongs(part: Any, *, first: bool) -> Iterator[str]:
    if not isinstance(part, dict) or set(part) != _PART_KEYS:
        yield f"should have {', '.join(sorted(_PART_KEYS))}"
        return
    digest = part["sha256"]
    if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        yield f"`sha256` should be 64 hexadecimal digits; found {digest!r:.80}"
    elif part["file"] != f"part-{digest[:32]}.safetensors":  # and so no path leads out of the folder
        yield f"`file` should be named by its hash; found {part['file']!r:.80}"
    if type(part["bytes"]) is not int or not 0 < part["bytes"] <= MOST_BYTES:
        yield f"`bytes` should be 1 to {MOST_BYTES:,}; found {part['bytes']!r:.60}"
    if part["adds"] not in (("start",) if first else ("members", "rows")):
        yield f"`adds` should be {'start' if first else 'members or rows'}; found {part['adds']!r:.60}"


def _read_part(folder: Path, entry: dict[str, Any]) -> Bank:
    """One piece, if it is the one that was written.

    Raises:
        InputError: `data-missing`, `bad-bank`, faults of safetensors files and of banks.
    """
    from cuvee.checkpoint.regular import open_regular

    path = folder / entry["file"]
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry["bytes"]:
                raise _damaged(path, f"it should have {entry['bytes']:,} bytes; found {size:,}")
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
            found = digest.hexdigest()
        if found != entry["sha256"]:
            raise _damaged(path, f"its SHA-256 should be {entry['sha256']}; found {found}")
        return unpacked(path)
    except OSError as error:
        message = f"a part of the bank should be at {path}; {error.strerror or error}"
        raise InputError(Fault("data-missing", message, subject=str(path), hint=_HINT)) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, what: str) -> InputError:
    return InputError(Fault("bad-bank", f"{path}: {what}", subject=str(path), hint=_HINT))
