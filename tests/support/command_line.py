"""Running the command line, in this process or in one of its own, and recipes for it to work on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cuvee.cli import main
from tests.support.checkpoints import small_model, write_model

GOLDEN = Path(__file__).parents[1] / "golden" / "recipes"
VERBS = (
    "demo",
    "validate",
    "plan",
    "learn",
    "search",
    "merge",
    "tune",
    "average",
    "stack",
    "moe",
    "pack",
    "unpack",
    "collect",
    "lora",
    "verify",
    "card",
    "push",
    "ensemble",
    "serve",
    "eval",
    "compare",
    "ladder",
    "explain",
    "report",
    "generate",
    "inspect",
    "diff",
    "tokens",
    "methods",
    "env",
    "schema",
)


@dataclass(frozen=True)
class Ran:
    """What a command did: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as one JSON object."""
        return json.loads(self.out, parse_constant=_no_constants)


def _no_constants(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def call(capsys: pytest.CaptureFixture[str], *words: object) -> Ran:
    """Run a command in this process."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    return Ran(code, *capsys.readouterr())


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what changes how text looks, and with what is given."""
    looks = {"NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "TERM"}
    return {**{k: v for k, v in os.environ.items() if k not in looks}, "OMP_NUM_THREADS": "1", **more}


def command(*words: object) -> list[str]:
    """The words that run a command in a process of its own."""
    return [sys.executable, "-m", "cuvee", *(str(word) for word in words)]


def spawn(*words: object, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Ran:
    """Run a command in a process of its own."""
    done = subprocess.run(
        command(*words),
        cwd=cwd,
        env={**environment(), **(environ or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def write_models(folder: Path, names: str = "ab") -> Path:
    """Small models side by side, one per letter."""
    for seed, name in enumerate(names):
        write_model(folder / name, small_model(seed), config={"model_type": "llama", "num_hidden_layers": 2})
    return folder


LINEAR = """\
merge_method: linear
models:
- model: a
  parameters:
    weight: 0.25
- model: b
  parameters:
    weight: 0.75
"""


def write_recipe(folder: Path, text: str = LINEAR, name: str = "recipe.yml") -> Path:
    """A recipe file beside its models."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path


NOTED = LINEAR.replace("linear", "task_arithmetic") + "base_model: a\nparameters: {int8_mask: true}\n"
"""A recipe with a parameter that changes nothing, which is told in a note."""
