"""What the figures were measured on; nothing that tells whose machine it is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path


def facts(folder: Path, peer: Path | None) -> dict[str, str | int | float]:
    """Processor, memory, versions, and what kind of file system the models lay on."""
    import torch

    return {
        "processor": _found(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": round(int(_found(r"^MemTotal:\s+(\d+) kB", "/proc/meminfo") or 0) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": file_system(folder),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuvee": version("cuvee"),
        **({"mergekit": _peer_version(peer)} if peer else {}),
    }


def load() -> float:
    """Processes that wanted a core during the last minute."""
    return round(os.getloadavg()[0], 2)


def file_system(folder: Path) -> str:
    """`tmpfs` or another kind, as the longest mount point above a folder says."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    rows = [line.split() for line in mounts.read_text().splitlines()]
    above = [row for row in rows if folder.resolve().is_relative_to(row[1])]
    return max(above, key=lambda row: len(row[1]))[2] if above else "unknown"


def _found(pattern: str, file: str) -> str | None:
    path = Path(file)
    match = re.search(pattern, path.read_text(), re.M) if path.exists() else None
    return match[1].strip() if match else None


def _peer_version(peer: Path) -> str:
    code = "from importlib.metadata import version; print(version('mergekit'))"
    return subprocess.run([peer, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
