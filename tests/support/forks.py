"""Processes that may be killed at any moment, without paying for the import of torch each time.

A helper process imports everything once and forks a child for each call; the child runs one function of a test module
and ends with the number it returns. The tests know the children's numbers and may send them any signal.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any, cast

from cuvee.methods import specs
from cuvee.recipe import parse_text

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "cuvee.api",
    "cuvee.checkpoint.folder",
    "cuvee.checkpoint.stored",
    "cuvee.checkpoint.sharded",
    "cuvee.checkpoint.writer",
    "cuvee.cli.app",
    "cuvee.cli.merge",
    "cuvee.execute.publish",
    "cuvee.planning",
    "cuvee.tensors.blocks",
)
CRASHED = 99
"""What a child ends with when its function raises."""


class Forks:
    """The helper process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, function: Callable[..., Any], *arguments: object) -> int:
        """Begin a call in a child; gives its process number."""
        named = cast(FunctionType, function)
        words = [str(argument) if isinstance(argument, Path) else argument for argument in arguments]
        return self._ask({"module": named.__module__, "function": named.__name__, "arguments": words})

    def wait(self, number: int) -> int:
        """How a child ended: its exit code, or minus the signal that killed it."""
        return self._ask({"wait": number})

    def run(self, function: Callable[..., Any], *arguments: object) -> int:
        """Start a call and wait for its end."""
        return self.wait(self.start(function, *arguments))

    def _ask(self, question: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def forks(*modules: str) -> Iterator[Forks]:
    """A helper process that has imported some test modules; it ends with the block."""
    command = [sys.executable, "-m", "tests.support.forks", *modules]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environ
    ) as process:
        try:
            yield Forks(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _child(question: dict[str, Any]) -> int:
    """Run one function; nothing it prints reaches the helper's answers."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        function = getattr(importlib.import_module(question["module"]), question["function"])
        return int(function(*question["arguments"]) or 0)
    except BaseException:
        return CRASHED


def _answer(question: dict[str, Any]) -> int:
    if "wait" in question:
        return os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])
    number = os.fork()
    if number == 0:
        os._exit(_child(question))
    return number


def _serve(modules: list[str]) -> None:
    for name in (*HEAVY, *modules):
        importlib.import_module(name)
    parse_text("merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\n", specs())  # builds validators
    for line in sys.stdin:
        sys.stdout.write(f"{_answer(json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1:])
