"""Versions of libraries, as an ensemble was saved with and as they are now."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Final

_NAMES: Final = {"sklearn": "scikit-learn"}
ALWAYS: Final = ("cuvee", "numpy")


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Package → version, of those that say one."""
    found = {name: one for name in sorted(set(packages)) if (one := _version(name))}
    return found | ({"python": platform.python_version()} if found else {})


def differences(saved: Mapping[str, str]) -> list[str]:
    """What differs, in words.

    Example:
        >>> differences({"numpy": "0.1"})[0].startswith("saved with numpy 0.1, now ")
        True
    """
    now = {name: platform.python_version() if name == "python" else _version(name) for name in saved}
    return [
        f"saved with {_NAMES.get(name, name)} {one}, now {now[name] or 'without it'}"
        for name, one in sorted(saved.items())
        if now[name] != one
    ]


def machine() -> str:
    """What decides about the last bits of an answer besides versions."""
    return f"{platform.system()} {platform.machine()} {_processor()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _version(package: str) -> str | None:
    """Of a package that is loaded, what it says itself; two distributions may bring the same package."""
    said = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(said, str):
        return said
    try:
        return version(_NAMES.get(package, package))
    except PackageNotFoundError:
        bringing = _distributions().get(package, [])
        return version(bringing[0]) if bringing else None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
