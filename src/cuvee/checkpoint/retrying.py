"""Requests to remote stores, asked again while that may help; what stays wrong becomes an error of Cuvee."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from cuvee.checkpoint.wire import Kind, WireError
from cuvee.errors import Fault, InputError

T = TypeVar("T")

WAITS: Final = [0.25, 0.5, 1.0, 2.0, 4.0]
"""Seconds before asking again; after the last the failure is told."""

_MEANING: Final[Mapping[Kind, tuple[str, str]]] = {
    "missing": ("model-missing", "check the address; a model's is that of its folder, or of one .safetensors file"),
    "denied": ("remote-denied", "check the name, and the credentials as the store's own tools would find them"),
    "changed": ("io-error", "let nothing write to it, and run again"),
    "refused": ("remote-unreachable", "download the model, and name its folder"),
    "transient": ("remote-unreachable", "look at the network and run again, or download the model and name its folder"),
}


def persist(ask: Callable[[], T]) -> T:
    """The answer of a request, which is repeated after growing waits while its failure may pass.

    Raises:
        WireError: the last failure.
    """
    for wait in WAITS:
        try:
            return ask()
        except WireError as error:
            if error.kind != "transient":
                raise
        time.sleep(wait)
    return ask()


def persistently(ask: Callable[[], T], what: str, subject: str) -> T:
    """What a request for reading gives, see `persist`.

    Args:
        ask: the request.
        what: what was asked for, for messages.
        subject: the URL or model it is about.

    Raises:
        InputError: see `remote_fault`.
    """
    try:
        return persist(ask)
    except WireError as error:
        raise InputError(remote_fault(error, what, subject)) from error


def remote_fault(error: WireError, what: str, subject: str) -> Fault:
    """What a failed request means: `model-missing`, `remote-denied`, `io-error` or `remote-unreachable`."""
    code, hint = _MEANING[error.kind]
    said = {"changed": f"{error.reason} since it was opened", "transient": f"{error.reason}, {len(WAITS) + 1} times"}
    return Fault(code, f"could not read {what}: {said.get(error.kind, error.reason)}", subject=subject, hint=hint)
