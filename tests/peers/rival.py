"""The other side of the comparison: mergekit in its own interpreter, and ours beside it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
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
        names = [job.name for job in jobs]
        assert len(set(names)) == len(names), "two jobs of one name"
        asked, answered = self.root / "jobs.json", self.root / "answers.json"
        asked.write_text(json.dumps([self._told(job) for job in jobs]), "utf-8")
        answered.unlink(missing_ok=True)
        done = subprocess.run(
            [self.python, DRIVER, asked, answered],
            capture_output=True,
            text=True,
            cwd=self.root,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        assert done.returncode == 0, f"the peer's driver failed:\n{done.stderr[-4000:]}"
        answers = json.loads(answered.read_text("utf-8"))
        return {name: Outcome(self.root / name, answers[name]) for name in names}

    def _told(self, job: Job) -> dict[str, Any]:
        out = str(self.root / job.name)
        return {"name": job.name, "recipe": job.recipe, "out": out, "seed": job.seed, "options": job.options}


def ours(job: Job, root: Path, **options: Any) -> Outcome:
    """The same merge by Cuvee, in this process."""
    folder = root / job.name
    try:
        cuvee.merge(job.recipe, folder, seed=job.seed, **options)
    except cuvee.CuveeError as error:
        return Outcome(folder, f"{error.code}: {error}")
    return Outcome(folder)
