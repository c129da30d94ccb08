"""Bytes of tokens as text that can be shown: no half letters, nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Stream:
    r"""The text of one row while it grows.

    Args:
        stops: texts at which it stops; they are not part of it.

    Example:
        >>> stream = Stream(["END"])
        >>> [stream.add(piece) for piece in (b"caf", b"\xc3", b"\xa9 E", b"ND x")], stream.finish()
        (['caf', '', 'é ', ''], '')
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = [stop.encode("utf-8") for stop in stops]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = b""
        self.stopped = False

    def add(self, piece: bytes) -> str:
        """What can be shown now: nothing of what may still become a stop string or a letter."""
        if self.stopped:
            return ""
        self._held += piece
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped, shown, self._held = True, self._held[: min(found)], b""
            return self._decoder.decode(shown, final=True)
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return self._decoder.decode(shown)

    def finish(self) -> str:
        """What was held back, when nothing more comes."""
        if self.stopped:
            return ""
        shown, self._held = self._held, b""
        return self._decoder.decode(shown, final=True)


def _overlap(text: bytes, stop: bytes) -> int:
    """Bytes at the end of a text that a stop string begins with."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
