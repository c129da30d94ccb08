"""The one place that knows numba: plain loops become machine code, kept in a cache from one run to the next."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_HERE: Final = Path(__file__).parent
_SHARED: Final = (_HERE.parent / "tensors" / "blocks.py",)
"""What kernels are compiled with besides the files of this package."""


def available() -> bool:
    """Whether numba is installed; asking does not import it."""
    return find_spec("numba") is not None


def cache_folder() -> Path | None:
    """Where compiled kernels are kept, if they can be: one folder per state of their sources and kind of processor.

    numba notices when the file of a kernel changes, and not when a function that it calls does; so the folder is named
    after all of them together. And it does not expect processors of several kinds to write to one folder at a time.
    """
    home = os.environ.get("CUVEE_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.path.expanduser(home)  # noqa: PTH111 - the Path method raises on `~nobody`
    if folder.startswith("~"):
        return None
    return Path(folder) / "cuvee" / f"kernels-{_state()}"


@cache
def _state() -> str:
    """What is compiled, and for which kind of processor, as a name; read once in a process."""
    sources = b"\0".join(path.read_bytes() for path in [*sorted(_HERE.glob("*.py")), *_SHARED])
    return hashlib.blake2b(sources + _processor(), digest_size=8).hexdigest()


def _processor() -> bytes:
    """What tells kinds of processors apart: what they are called and can do."""
    told = platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        told += "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return told.encode()


def _usable_folder() -> Path | None:
    """The folder, made and writable; `None` where there is none: kernels are then compiled anew each time."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let no other process of this machine write compiled kernels meanwhile: numba's own files hold no lock."""
    with ExitStack() as held:
        if (folder := _usable_folder()) is not None:
            with suppress(OSError):
                fcntl.flock(held.enter_context((folder / "lock").open("w")), fcntl.LOCK_EX)
        yield


def is_cached(method: str, kinds: str) -> bool:
    """Whether the fused form of a method has been used by this user for these dtypes, so that it is compiled."""
    folder = cache_folder()
    try:
        return folder is not None and _mark(folder, method, kinds).exists()
    except OSError:
        return False


def note_used(method: str, kinds: str) -> None:
    """Note that the fused form of a method is compiled, where that is kept."""
    with suppress(OSError):
        if (folder := _usable_folder()) is not None:
            _mark(folder, method, kinds).touch()


def _mark(folder: Path, method: str, kinds: str) -> Path:
    return folder / f"{method}-{kinds}.used"


def compiled(function: F) -> F:
    """A function that is compiled when it is first called with new types, and runs without the interpreter's lock.

    Division by zero gives infinity or NaN, as in torch; nothing is reassociated and no multiply-add is contracted, so
    that every operation rounds as torch's own.
    """
    import numba

    folder = _usable_folder()
    with _cache_in(folder):
        return cast(F, numba.njit(nogil=True, cache=folder is not None, error_model="numpy")(function))


@contextmanager
def _cache_in(folder: Path | None) -> Iterator[None]:
    """Numba takes the folder from its settings when a function is decorated; other users of numba keep theirs."""
    from numba import config

    settings = vars(config)
    before = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = str(folder or "")
    try:
        yield
    finally:
        settings["CACHE_DIR"] = before


def _bitcast(source: str, target: str) -> Any:
    """An operation that takes the same 32 bits as another type; numba has none for single numbers."""
    from numba import types
    from numba.extending import intrinsic

    given, wanted = getattr(types, source), getattr(types, target)

    def cast(_typing: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], context.get_value_type(wanted))

        return wanted(given), generate

    return intrinsic(cast)


def bits_as_number() -> Any:
    """`uint32 -> float32` with the same bits."""
    return _bitcast("uint32", "float32")


def number_as_bits() -> Any:
    """`float32 -> uint32` with the same bits."""
    return _bitcast("float32", "uint32")


def reading_by_width(narrow: Callable[..., Any], wide: Callable[..., Any]) -> Any:
    """`(row, i) -> …` with one form for rows of 16-bit patterns and one for rows of 32 bits."""
    from numba.extending import overload

    def read(row: Any, i: Any) -> Any:  # what numba looks up; never run by the interpreter
        raise NotImplementedError

    def pick(row: Any, i: Any) -> Any:  # noqa: ARG001 - numba asks for the same arguments
        return narrow if row.dtype.bitwidth == 16 else wide

    overload(read, inline="always")(pick)
    return read


def writing_by_width(narrow: Callable[..., Any], wide: Callable[..., Any]) -> Any:
    """`(row, i, bits) -> …` in the same way."""
    from numba.extending import overload

    def write(row: Any, i: Any, bits: Any) -> Any:
        raise NotImplementedError

    def pick(row: Any, i: Any, bits: Any) -> Any:  # noqa: ARG001 - numba asks for the same arguments
        return narrow if row.dtype.bitwidth == 16 else wide

    overload(write, inline="always")(pick)
    return write
