"""How much memory this process may still take: what the machine has free, and what a container's limits leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

_ROOT: Final = Path("/")


def free_memory(root: Path = _ROOT) -> int | None:
    """Bytes that this process may take without pushing others out; `None` where the system does not say.

    Args:
        root: where `proc` and `sys` are found.
    """
    available = _fields(root / "proc/meminfo").get("MemAvailable:")
    found = [] if available is None else [available * 1024]
    return min([*found, *_left_in_groups(root)], default=None)


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each control group above this process leaves, of either version."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        inside = PurePosixPath(path.lstrip("/"))
        if controllers == "":
            places = [mount / part for part in (inside, *inside.parents)]
            yield from _left(places, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            places = [mount / "memory" / part for part in (inside, *inside.parents)]
            yield from _left(places, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _left(places: list[Path], limit: str, usage: str, prefix: str) -> Iterator[int]:
    """Limit less usage; file cache counts as used there, but makes room for whoever asks."""
    for place in dict.fromkeys(places):
        most, used = _text(place / limit).strip(), _text(place / usage).strip()
        if most.isdecimal() and used.isdecimal():
            stat = _fields(place / "memory.stat")
            cache = sum(stat.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
            yield max(0, int(most) - max(0, int(used) - cache))


def _fields(path: Path) -> Mapping[str, int]:
    """The lines `name number …` of a file."""
    rows = [line.split() for line in _text(path).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _text(path: Path) -> str:
    """Nothing, where there is no such file."""
    try:
        return path.read_text("ascii", errors="replace")
    except OSError:
        return ""
