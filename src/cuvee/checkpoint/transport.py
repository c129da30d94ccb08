"""Files behind URLs: the one place that imports fsspec and what it brings (s3fs, gcsfs, aiohttp).

One request, one answer: asking again is the business of `retrying`. Endpoints and credentials are found by the
libraries themselves (`AWS_ENDPOINT_URL`, `AWS_PROFILE`, fsspec's configuration …) and are never part of a message.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.web import web_read, web_stamp
from cuvee.checkpoint.wire import Stamp, WireError, failure_of_status
from cuvee.errors import Fault, UsageError
from cuvee.types import scheme_of

EXTRA_HINT: Final = 'install it: pip install "cuvee[remote]"'

_CONNECT: Final = 15.0
_SILENCE: Final = 60.0
"""Seconds to wait for a connection, and for the next byte."""

# Where stores tell what changes with the content; the first that is there counts, as a listing may leave some out.
_TAGS: Final = ("generation", "ETag", "etag", "LastModified", "updated", "mtime")

_PATIENT: Final = {"max_concurrency": 2}
"""Parts of 50 MB sent at a time; the library's own ten would take half a gigabyte of memory."""

# Of these libraries every error is about the store; of others only those of the system and of time are.
_LIBRARIES: Final = frozenset({"aiohttp", "botocore", "aiobotocore", "gcsfs", "google", "fsspec"})
_ON_ACCESS: Final = ("Credential", "TokenRetrieval", "ProfileNotFound")


def stamp(url: str) -> Stamp:
    """Size and tag of the file behind a URL.

    Raises:
        WireError: it is not there, or the store does not say.
    """
    files = _files(url)
    with _translated():
        found: Stamp = _run(files, web_stamp, url) if _is_web(url) else _stamp_of(files.info(url))
        return found


def list_folder(url: str) -> dict[str, Stamp | None] | None:
    """What lies in a folder: files by plain name, sub-folders as `None`; `None` where the store cannot list.

    Raises:
        WireError: there is no such folder, or the store does not say.
    """
    if _is_web(url):
        return None
    files = _files(url)
    with _translated():
        entries = files.ls(url, detail=True)
    own = str(files._strip_protocol(url)).rstrip("/")
    found: dict[str, Stamp | None] = {}
    for entry in entries:
        name = str(entry["name"]).rstrip("/").removeprefix(own).removeprefix("/")
        if name:  # a store may list the folder's own mark
            found[name] = None if entry["type"] == "directory" else _stamp_of(entry)
    return found


def read(url: str, begin: int, end: int, known: Stamp) -> bytes:
    """Bytes `begin` to `end` (not included) of a file that is still the one it was.

    Raises:
        WireError: fewer bytes came, it has changed, or the store does not answer.
    """
    files = _files(url)
    with _translated():
        data = bytes(
            _run(files, web_read, url, begin, end, known) if _is_web(url) else files.cat_file(url, start=begin, end=end)
        )
    if len(data) != end - begin:
        if stamp(url) != known:  # a store cuts a range where the file ends now
            raise WireError("changed", "it has changed")
        raise WireError("transient", f"{len(data):,} of {end - begin:,} bytes came")
    return data


def put(path: Path, url: str, progress: Callable[[int], None]) -> None:
    """Copy a local file to a URL; `progress` is told how many more bytes are there.

    Raises:
        WireError: the store refuses, or does not answer.
    """
    from fsspec.callbacks import Callback

    raised: list[BaseException] = []

    class Told(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            try:
                progress(inc)
            except BaseException as error:  # let out here, an interrupt would end fsspec's own thread and hang us all
                raised.append(error)

    with _translated():
        _files(url, patient=True).put_file(str(path), url, callback=Told())
    if raised:
        raise raised[0]


def check_bucket(url: str) -> None:
    """Find out whether a store is there, whatever is in it.

    Raises:
        WireError: it is not, refuses, or does not answer.
    """
    with _translated():
        _files(url).info(url)


def remove(url: str) -> None:
    """Remove a file.

    Raises:
        WireError: the store refuses, or does not answer.
    """
    with _translated():
        _files(url, patient=True).rm_file(url)


def _is_web(url: str) -> bool:
    return scheme_of(url) in ("http", "https")


def _run(files: Any, coroutine: Any, *arguments: Any) -> Any:
    from fsspec.asyn import sync

    return sync(files.loop, coroutine, files, *arguments)


def _stamp_of(entry: Any) -> Stamp:
    if entry.get("type") == "directory":
        raise WireError("missing", "it is a folder")
    tag = next((str(entry[key]) for key in _TAGS if entry.get(key)), "")
    return Stamp(int(entry["size"]), tag)


def _files(url: str, *, patient: bool = False) -> Any:
    """The file system of a URL; `patient` leaves asking again to the library, which can do it for a part of a file.

    Raises:
        UsageError: `missing-extra`: the library for this kind of store is not installed.
    """
    scheme = scheme_of(url) or ""
    try:
        import fsspec

        # Listings are kept for ever otherwise, and a file that changes would not be found out.
        options: dict[str, Any] = {"use_listings_cache": False}
        if scheme in ("http", "https"):
            options |= _web_options(fsspec.config.conf.get(scheme, {}))
        if scheme == "s3":
            options |= _PATIENT if patient else _once(fsspec.config.conf.get("s3", {}))
        made = fsspec.filesystem(scheme, **options)
    except ImportError as error:
        message = f"{scheme}:// needs a library that is not installed{f' ({error.name})' if error.name else ''}"
        raise UsageError(Fault("missing-extra", message, subject=scheme, hint=EXTRA_HINT)) from error
    if scheme == "s3" and not patient:
        made.retries = 1
    return made


def _web_options(configured: Any) -> dict[str, Any]:
    """A limit on silence, not on the whole answer, added to what the user has configured."""
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
    return {"client_kwargs": {"timeout": timeout, **configured.get("client_kwargs", {})}}


def _once(configured: Any) -> dict[str, Any]:
    """Ask once: the library's tries times our own would be minutes before anything is told."""
    return {"config_kwargs": {"retries": {"total_max_attempts": 1}, **configured.get("config_kwargs", {})}}


@contextmanager
def _translated() -> Iterator[None]:
    """Raise what the libraries raise as a `WireError`, without their texts: these may hold keys and addresses."""
    try:
        yield
    except WireError:
        raise
    except Exception as error:
        found = _failure(error)
        if found is None:
            raise
        raise found from error


def _failure(error: Any) -> WireError | None:
    """What an error of the libraries means; `None` for one that is no answer of a store."""
    name, status = type(error).__name__, _status(error)
    if status is not None:
        return failure_of_status(status)
    if isinstance(error, FileNotFoundError):
        return WireError("missing", "it is not there")
    if isinstance(error, PermissionError) or any(word in name for word in _ON_ACCESS):
        return WireError("denied", "access is denied")
    known = any(kind.__module__.split(".")[0] in _LIBRARIES for kind in type(error).__mro__)
    if known or isinstance(error, OSError | EOFError):
        return WireError("refused" if _is_final(error) else "transient", name)
    return None


def _status(error: Any) -> int | None:
    """The HTTP status behind an error, if the library keeps it: as a number of its own, or in the answer (botocore)."""
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    told = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    found = (told, getattr(error, "status", None), getattr(error, "code", None))
    return next((status for status in found if type(status) is int and status >= 400), None)


def _is_final(error: Any) -> bool:
    """Whether asking again cannot help: the request itself is wrong."""
    return getattr(error, "errno", None) in (errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENAMETOOLONG)
