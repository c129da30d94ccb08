"""Models made for one test, both tools' answers about them, and how far apart two models are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tests.peers import page
from tests.peers.models import write
from tests.peers.rival import Job, Outcome, ours


@dataclass(frozen=True)
class Room:
    """Where the models of these tests lie."""

    root: Path

    def model(self, name: str, tensors: Mapping[str, Tensor] | None = None, **config: object) -> str:
        """The path of a model, written when its tensors are first given."""
        path = self.root / name
        return str(path) if tensors is None else write(path, tensors, **config)

    def wrote(self, name: str) -> dict[str, Tensor]:
        return load_file(self.root / name / "model.safetensors")


@dataclass(frozen=True)
class Sides:
    """Both tools' answers to a job."""

    room: Room
    jobs: Mapping[str, Job]
    answers: Mapping[str, Outcome]
    out: Path

    def both(self, name: str, **changes: Any) -> tuple[Outcome, Outcome]:
        """Ours and theirs; `changes` are made to our copy of the recipe only."""
        job = self.jobs[name]
        mine = Job(name + "".join(map(str, changes.values())), {**job.recipe, **changes}, job.seed)
        return ours(mine, self.out), self.answers[name]

    def check(self, key: str, name: str) -> None:
        """What happens is what the page's row says."""
        mine, their = self.both(name)
        assert page.explains(page.rows()[key], their.error, mine.error), (mine.error, their.error)


def off(found: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> float:
    """Relative error of a whole model."""
    wrong = sum(((found[k].double() - truth[k].double()) ** 2).sum().item() for k in truth)
    return (wrong / sum((t.double() ** 2).sum().item() for t in truth.values())) ** 0.5
