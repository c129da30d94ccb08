"""A cluster of Ray before it is spoken to: whether anybody answers, and what is said where nobody does.

Ray itself is spoken to in `ray_tasks` only.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from cuvee.errors import Fault, ResourceError

LOCAL: Final = "local"
AUTO: Final = "auto"
_REACH: Final = 5.0
"""Seconds that an address has to answer."""
START: Final = "start one with `ray start --head`, or give `--address local` to use this machine only"


def check_answers(address: str) -> None:
    """Refuse an address at which nobody listens; Ray itself takes minutes to say so."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except (OSError, OverflowError) as error:
        raise ResourceError(no_cluster(address, str(error))) from error


def no_cluster(address: str, why: str) -> Fault:
    """That there is no cluster at an address."""
    where = "" if address == AUTO else f" at {address}"
    return Fault("no-cluster", f"there is no Ray cluster{where}: {why}", subject=address, hint=START)


def not_installed(text: str) -> Fault:
    """That workers do not have Cuvee, from the traceback of one."""
    last = next((line for line in reversed(text.splitlines()) if "Error" in line), "").strip()
    message = f"Cuvee cannot be imported by the workers of the cluster: {last}"
    return Fault("worker-mismatch", message, hint="install the same Cuvee on all machines of the cluster")


def first_line(error: BaseException) -> str:
    """The first line of what an error says that is not empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def keeping_signals() -> Iterator[None]:
    """Put the handler of a request to end back after the block."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # not the main thread: then nobody could change it
            signal.signal(signal.SIGTERM, before)
