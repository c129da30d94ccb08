"""Stamps and ranges of files on a plain web server, over a session that fsspec keeps.

fsspec's own calls do not say whether a server gave the part it was asked for or the whole file: here it is looked at
before a byte of the answer is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cuvee.checkpoint.wire import Stamp, WireError, failure_of_status

# A compressed answer would have other offsets than the file.
_PLAIN: Final = {"Accept-Encoding": "identity"}


async def web_stamp(files: Any, url: str) -> Stamp:
    """Size and tag of a file; a page of HTML in its place is none.

    Raises:
        WireError: it is not there, or the server does not say how large it is.
    """
    session = await files.set_session()
    address = files.encode_url(url)
    async with session.head(address, allow_redirects=True, **_settings(files)) as answer:
        status, told = answer.status, answer.headers
    if status in (405, 501):  # a server without HEAD
        async with session.get(address, **_settings(files, {"Range": "bytes=0-0"})) as answer:
            status, told = answer.status, answer.headers
    if status >= 400:
        raise failure_of_status(status)
    if told.get("Content-Type", "").startswith("text/html"):  # what many servers say instead of 404
        raise WireError("missing", "a web page stands in its place")
    size = told.get("Content-Range", "").rpartition("/")[2] or told.get("Content-Length", "")
    if not size.isdecimal() or told.get("Content-Encoding", "identity") != "identity":
        raise WireError("refused", "the server does not say how large it is")
    return Stamp(int(size), _tag(told))


async def web_read(files: Any, url: str, begin: int, end: int, known: Stamp) -> bytes:
    """Bytes `begin` to `end` (not included).

    Raises:
        WireError: the file has changed, or the server gives no parts of files.
    """
    headers = {"Range": f"bytes={begin}-{end - 1}"}
    if known.tag.startswith('"'):  # only a strong ETag may be compared by a server
        headers["If-Match"] = known.tag
    session = await files.set_session()
    async with session.get(files.encode_url(url), **_settings(files, headers)) as answer:
        _check_part(answer, begin, end, known)
        return bytes(await answer.content.readexactly(end - begin))


def _check_part(answer: Any, begin: int, end: int, known: Stamp) -> None:
    """Refuse an answer that is not the part asked for of the file that was known."""
    if answer.status >= 400:
        raise failure_of_status(answer.status)
    if answer.status != 206 and not (answer.status == 200 and (begin, end) == (0, known.size)):
        raise WireError("refused", "the server gives files only whole, not in parts")
    part, _, total = answer.headers.get("Content-Range", "").rpartition("/")
    if (total.isdecimal() and int(total) != known.size) or _tag(answer.headers) not in ("", known.tag):
        raise WireError("changed", "it has changed")
    if part and part.split() != ["bytes", f"{begin}-{end - 1}"]:
        raise WireError("refused", "the server sends another part than it was asked for")


def _settings(files: Any, headers: Mapping[str, str] = _PLAIN) -> dict[str, Any]:
    """What every request is sent with, the user's own headers among it."""
    return {**files.kwargs, "headers": {**files.kwargs.get("headers", {}), **_PLAIN, **headers}}


def _tag(told: Any) -> str:
    return str(told.get("ETag") or told.get("Last-Modified") or "")
