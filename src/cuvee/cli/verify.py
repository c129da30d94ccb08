"""`cuvee verify`: check a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import printable
from cuvee.cli.options import COMMON, Common
from cuvee.cli.progress import metered
from cuvee.cli.words import counted
from cuvee.errors import CheckFailed

if TYPE_CHECKING:
    from cuvee.execute.verify import Verification

_MARKS: Final = {"ok": ("✓", "green"), "failed": ("✗", "bold red"), "skipped": ("–", "dim")}


def verify(folder: str, /, *, common: Common = COMMON) -> int:
    """Check a model folder: readable, complete, finite, as recorded, loadable.

    Looked at: headers and index, NaN and infinity, tied tensors, the hashes in
    cuvee.json if there is one, files that it does not name, and whether
    transformers, if it is installed, finds every tensor it expects. The exit
    code is 6 if a check failed. It finds damage, not forgers: cuvee.json has no
    hash of itself, and who changes it along with the files is not found out.

    For example:

        cuvee verify merged
        cuvee verify merged --json

    Args:
        folder: A model folder or weight file.
        common: How to print.
    """
    from cuvee import api

    with metered("verifying", "tensor") as meter:
        found = api.verify(folder, progress=meter)
    code = 0 if found.ok else CheckFailed.exit_code
    data: dict[str, Any] = {"path": folder, "ok": found.ok, "checks": [asdict(check) for check in found.checks]}
    return deliver(Answer("verify", data, _text(found), exit_code=code), common)


def _text(found: Verification) -> Iterator[Text]:
    width = max(len(check.name) for check in found.checks)
    for check in found.checks:
        mark, style = _MARKS[check.outcome]
        yield Text.assemble((mark, style), f" {check.name:<{width}}  ", _indented(check.found))
    failed = sum(check.outcome == "failed" for check in found.checks)
    verdict = f"{counted(failed, 'check')} failed" if failed else "ok"
    yield Text(printable(f"{found.path}: {verdict}"), style="bold")


def _indented(text: str) -> str:
    """Text whose further lines cannot be taken for further checks, whatever the names in it are."""
    return printable(text).replace("\n", "\n      ")
