"""A real service in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette would rather have httpx2, which is not what users have
    from fastapi.testclient import TestClient

__all__ = ["TOKEN", "Served", "TestClient", "served"]

TOKEN = "a token that nobody guesses"


@dataclass(frozen=True)
class Served:
    """A service that runs, and what it said when it began."""

    address: str
    process: subprocess.Popen[str]
    said: dict[str, object]


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """`cuvee serve` on a free port; ended with SIGTERM, to which it must say 0."""
    command = [sys.executable, "-m", "cuvee", "serve", str(folder), "--port", "0", "--json", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        text = line
        while True:  # the object may stand in several lines
            try:
                said = json.loads(text)
                break
            except json.JSONDecodeError:
                text += process.stdout.readline()
        yield Served(said["address"], process, said)
    finally:
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (out, errors) == ("", "")
