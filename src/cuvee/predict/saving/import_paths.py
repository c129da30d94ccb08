"""Functions by the path that they are imported by, `module:function`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from typing import Any, Final

from cuvee.errors import Fault

_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)

HARMLESS: Final = frozenset({f"numpy:{name}" for name in ("exp", "expm1", "exp2", "square", "sinh", "log", "log1p")})
"""Functions of numbers that need no trust: what regressions on another scale are turned back by."""


def path_of(function: Callable[..., Any]) -> str:
    """The path of a function that can be imported.

    Raises:
        ValueError: it cannot; the text says why.
    """
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    module = getattr(function, "__module__", None) or ("numpy" if type(function).__module__ == "numpy" else None)
    if not isinstance(name, str) or not isinstance(module, str):
        raise ValueError(f"a {type(function).__name__} has no path that it could be imported by")
    path = f"{module}:{name}"
    if "<" in name or module == "__main__":
        raise ValueError(f"`{path}` cannot be imported by another program")
    try:
        found = _found(sys.modules[module], name)
    except (KeyError, AttributeError):
        found = None
    if found is not function or not _PATH.fullmatch(path):
        raise ValueError(f"what is imported as `{path}` is something else")
    return path


def is_path(path: object) -> bool:
    """Whether it is written as a path."""
    return isinstance(path, str) and bool(_PATH.fullmatch(path))


def imported(path: str) -> Callable[..., Any]:
    """The function. Importing runs the module's code, so this comes after trust.

    Raises:
        ValueError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        found = _found(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`{path}` cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"`{path}` is no function")
    return found  # type: ignore[no-any-return]


def untrusted(member: str, name: str, what: str) -> Fault:
    """What somebody must say to trust."""
    message = f"the member {member!r} needs {what} `{name}`, which nobody said to trust"
    hint = (
        f"if you know it and whoever saved the ensemble, load it with trust=[{name!r}], or trust=[{member!r}] for all"
    )
    return Fault("untrusted-type", message, None, name, hint)


def _found(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module
