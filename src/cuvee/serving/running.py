"""The service run by uvicorn until it is told to end; answers under way are finished."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from cuvee.checkpoint.os_errors import told
from cuvee.errors import Fault, UsageError

GRACE: Final = 30
"""Seconds that answers under way may take once the end was asked for."""
_BACKLOG: Final = 2048


def run(application: Any, host: str, port: int, began: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        application: an application of ASGI.
        host: the address to listen at.
        port: the port; 0 for any that is free.
        began: told the address once requests are taken.

    Raises:
        UsageError: `missing-extra`: uvicorn is not installed.
        ResourceError: the port is taken, or may not be used.
    """
    try:
        import uvicorn
    except ImportError as error:
        message = "the service is run by uvicorn, which is not installed"
        raise UsageError(Fault("missing-extra", message, hint="pip install 'cuvee[serve]'")) from error
    listening = _listening(host, port)
    config = uvicorn.Config(application, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE)
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):  # for signals that come before uvicorn takes them, and for those
        signal.signal(number, end)  # that it raises again when all is done: being asked to end is no fault
    shown = f"[{host}]" if ":" in host else host
    began(f"http://{shown}:{listening.getsockname()[1]}")
    server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections already; they wait until the service looks at them."""
    with told("listen at", f"{host}:{port}"):
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(_BACKLOG)
        except BaseException:
            made.close()
            raise
        return made
