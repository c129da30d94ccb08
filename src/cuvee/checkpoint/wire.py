"""What a remote store says: a file's stamp, and why a request failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["missing", "denied", "refused", "changed", "transient"]
"""Why a request failed; only after `transient` is there any sense in asking again."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a remote file from itself after a change: bytes, and an ETag, generation or time of change."""

    size: int
    tag: str


class WireError(Exception):
    """A request that failed; `reason` holds no address and no key."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def failure_of_status(status: int) -> WireError:
    """What an HTTP status that is no success means.

    Example:
        >>> failure_of_status(404).kind, failure_of_status(403).kind, failure_of_status(503).kind
        ('missing', 'denied', 'transient')
    """
    if status in (404, 410):
        return WireError("missing", "it is not there")
    if status in (401, 403):
        return WireError("denied", f"access is denied (status {status})")
    if status in (412, 416):
        return WireError("changed", "it has changed")
    again = status >= 500 and status != 501
    return WireError("transient" if again or status in (408, 425, 429) else "refused", f"status {status}")
