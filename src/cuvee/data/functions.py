"""Functions of the user's own, named as `module:function` or `file.py:function`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cuvee.errors import Fault, UsageError


def function_named(text: str, subject: str, what: str, start: Path | None = None) -> Callable[..., Any]:
    """The function that a text names; its module's code is run, which is what was asked for.

    Args:
        text: `module:function` or `file.py:function`.
        subject: what it was given as, for faults.
        what: what it should do, such as `gives batches`.
        start: folder that modules are looked for in first; the working folder if not given.

    Raises:
        UsageError: the module cannot be imported, or has no such function.
    """
    home, _, name = text.rpartition(":")
    try:
        found = getattr(_module(home, start or Path.cwd()), name, None)
    except Exception as error:  # whatever the code of a module does
        message = f"`{home}` should be a Python module that can be imported: {type(error).__name__}: {error}"
        raise UsageError(Fault("bad-argument", message, subject=subject)) from error
    if not callable(found):
        message = f"`{home}` should have a function `{name}` that {what}, and has none"
        raise UsageError(Fault("bad-argument", message, subject=subject))
    function: Callable[..., Any] = found
    return function


def names_function(text: str) -> bool:
    """Whether a text has the form of `module:function` or `file.py:function`, and is no file."""
    home, _, name = text.rpartition(":")
    return bool(home) and name.isidentifier() and not Path(text).exists()


def _module(home: str, start: Path) -> Any:
    if not home.endswith(".py"):
        with _folder_first(start):
            return importlib.import_module(home)
    path = start / home
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module at {home}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _folder_first(folder: Path) -> Iterator[None]:
    """Look for modules where the user stands, as `python -m` does; a command has its own folder there instead."""
    here = str(folder)
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(here)
