"""The other side of the comparison: mergekit in its own interpreter, and ours beside it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

import cuvee

DRIVER = Path(__file__).with_name("driver.py")
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Job:
    """One merge: a recipe in mergekit's keys with absolute model paths, the seed of random masks, more options."""

    name: str
    recipe: Mapping[str, Any]
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One tensor merged in memory: the models' tensors, per-model settings as lists, the base beside them."""

    name: str
    method: str
    tensors: Sequence[Tensor]
    base: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a merge: a folder, or an error."""

    folder: Path
    error: str | None = None

    @property
    def tensors(self) -> Tensors:
        """Every tensor of the folder."""
        assert self.error is None, self.error
        found: dict[str, Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            found |= load_file(path)
        return found

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration."""
        return json.loads((self.folder / "config.json").read_text("utf-8"))


@dataclass(frozen=True)
class Rival:
    """mergekit, as installed beside some interpreter."""

    python: Path
    root: Path

    def merge(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """Run all jobs in one process."""
        answers = self._run([self._told(job) for job in jobs])
        return {name: Outcome(self.root / name, error) for name, error in answers.items()}

    def combine(self, cases: Sequence[Case]) -> dict[str, Tensor | str]:
        """Merge single tensors, all in one process; an error is given as its text."""
        answers = self._run([self._shown(case) for case in cases])
        return {name: error or load_file(self.root / name)["merged"] for name, error in answers.items()}

    def _run(self, asked: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
        names = [one["name"] for one in asked]
        assert len(set(names)) == len(names), "two jobs of one name"
        jobs, answers = self.root / "jobs.json", self.root / "answers.json"
        jobs.write_text(json.dumps(asked), "utf-8")
        answers.unlink(missing_ok=True)
        done = subprocess.run(
            [self.python, DRIVER, jobs, answers],
            capture_output=True,
            text=True,
            cwd=self.root,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        assert done.returncode == 0, f"the peer's driver failed:\n{done.stderr[-4000:]}"
        found: dict[str, str | None] = json.loads(answers.read_text("utf-8"))
        return found

    def _told(self, job: Job) -> dict[str, Any]:
        out = str(self.root / job.name)
        return {"name": job.name, "recipe": job.recipe, "out": out, "seed": job.seed, "options": job.options}

    def _shown(self, case: Case) -> dict[str, Any]:
        """A base stands first among the inputs."""
        stack = [*([] if case.base is None else [case.base]), *case.tensors]
        inputs = str(self.root / f"{case.name}.inputs")
        save_file({str(i): t.clone().contiguous() for i, t in enumerate(stack)}, inputs)
        told = {"name": case.name, "method": case.method, "inputs": inputs, "seed": case.seed}
        told |= {"settings": dict(case.settings)}
        return told | {"base": None if case.base is None else 0, "out": str(self.root / case.name)}


def ours(job: Job, root: Path, **options: Any) -> Outcome:
    """The same merge by Cuvee, in this process."""
    folder = root / job.name
    try:
        cuvee.merge(job.recipe, folder, seed=job.seed, **options)
    except cuvee.CuveeError as error:
        return Outcome(folder, f"{error.code}: {error}")
    return Outcome(folder)


def combined(case: Case) -> Tensor:
    """The same tensors merged by Cuvee."""
    settings = {{"lambda": "lambda_"}.get(k, k): v for k, v in case.settings.items()}
    return cuvee.methods.get(case.method)(case.tensors, base=case.base, seed=case.seed, **settings)
