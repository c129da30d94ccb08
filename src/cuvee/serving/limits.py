"""What a service takes, and no more."""

from __future__ import annotations

from dataclasses import dataclass

from cuvee.errors import Fault, integer_faults, refuse


@dataclass(frozen=True)
class Limits:
    """Limits of a service.

    Attributes:
        max_rows: rows of one request.
        max_bytes: bytes of its body.
        at_once: requests that are answered or wait at a time; one more is turned away.
        threads: predictions that run at a time.
        read_seconds: how long a body may take to come in.
    """

    max_rows: int = 1_000
    max_bytes: int = 4 << 20
    at_once: int = 256
    threads: int = 4
    read_seconds: float = 30.0

    def __post_init__(self) -> None:
        names = ("max_rows", "max_bytes", "at_once", "threads")
        wrong = [fault for name in names for fault in integer_faults(name, getattr(self, name), least=1)]
        if not self.read_seconds > 0:
            message = f"`read_seconds` must be above 0; found {self.read_seconds!r}"
            wrong.append(Fault("bad-argument", message, subject="read_seconds"))
        refuse(wrong)
