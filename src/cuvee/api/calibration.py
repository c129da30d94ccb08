"""What was measured of this machine, kept in the user's cache folder for every plan that comes after."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.os_errors import told
from cuvee.fused.compiler import cache_folder
from cuvee.planning import Machine, Pace

FORMAT: Final = 2
"""Number of the file's form; another one is not read."""
_NUMBERS: Final = ("start_up", "fused_start", "tensor", "read", "write", "sync", "cores", "algebra")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A machine as it was measured.

    Attributes:
        machine: the figures.
        folder: where it was measured: reading and writing are those of its disk.
        device: number of that disk.
        when: day and time, ISO 8601, UTC.
        version: the Cuvee that measured.
    """

    machine: Machine
    folder: str
    device: int
    when: str
    version: str

    def is_about(self, path: Path) -> bool:
        """Whether a path that is there lies on the disk that was measured."""
        return path.stat().st_dev == self.device


def calibration_file() -> Path:
    """Where the figures are kept; for who has no home, until the machine is started anew."""
    folder = cache_folder()
    return (Path(tempfile.gettempdir()) / "cuvee" if folder is None else folder.parent) / "machine.json"


def save(found: Calibration) -> Path:
    """Keep the figures, all of them or none.

    Raises:
        ResourceError: they cannot be written.
    """
    path = calibration_file()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with told("keep what was measured in", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_text(json.dumps({"format": FORMAT, **asdict(found)}, indent=1) + "\n", "utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def load() -> Calibration | None:
    """The figures; `None` where nothing was measured, or where what is kept is damaged or of another form."""
    try:
        data = json.loads(calibration_file().read_bytes())
        return _parsed(data) if data["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _parsed(data: Mapping[str, Any]) -> Calibration:
    given = data["machine"]
    numbers = {name: _positive(given[name]) for name in _NUMBERS}
    paces = {form: {str(k): _pace(v) for k, v in given[form].items()} for form in ("plain", "fused")}
    machine = Machine(**{**numbers, "cores": int(numbers["cores"])}, copy=_pace(given["copy"]), **paces)  # type: ignore[arg-type]
    return Calibration(machine, str(data["folder"]), int(data["device"]), str(data["when"]), str(data["version"]))


def _pace(given: Mapping[str, Any]) -> Pace:
    return Pace(_positive(given["one"]), _positive(given["all"]))


def _positive(given: Any) -> float:
    """A number that can be divided by.

    Raises:
        ValueError: it is none.
    """
    number = float(given)
    if isinstance(given, bool) or not (math.isfinite(number) and number > 0):
        raise ValueError(given)
    return number
