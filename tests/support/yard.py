"""A folder of good models, and merges in it that must be refused without a trace."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from torch import Tensor

import cuvee
from cuvee.cli import main
from cuvee.errors import CuveeError
from tests.support.merging import decoder, picture, write

Q = "model.layers.1.self_attn.q_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Yard:
    """A folder in which models stand side by side."""

    root: Path

    @property
    def out(self) -> Path:
        """Where the output would be."""
        return self.root / "out"

    def model(self, name: str, tensors: dict[str, Tensor], **more: Any) -> Path:
        """One more model."""
        return write(self.root / name, tensors, **more)

    def file(self, data: dict[str, Any] | str, name: str = "recipe.yml") -> Path:
        """A recipe file; the models in it are named relative to it."""
        path = self.root / name
        if isinstance(data, str):
            path.write_text(data, "utf-8")
        else:
            YAML().dump(data, path)
        return path


def copied(yard: Path, to: Path) -> Yard:
    """A copy of models and recipes, without what was `made` of them, where a test may do what it likes."""
    for path in yard.iterdir():
        if path.is_dir() and path.name != "made":
            shutil.copytree(path, to / path.name)
        elif path.is_file():
            shutil.copy(path, to)
    return Yard(to)


def new_yard(root: Path) -> Yard:
    """A yard with three models of one shape: `base`, `a` and `b`."""
    made = Yard(root)
    for seed, name in enumerate(("base", "a", "b")):
        made.model(name, decoder(seed))
    return made


def spoilt(seed: int, name: str, at: int, value: float, **sizes: int) -> dict[str, Tensor]:
    """A decoder with one entry of one tensor replaced."""
    tensors = decoder(seed, **sizes)
    tensors[name].view(-1)[at] = value
    return tensors


def refused(yard: Yard, asked: Any, kind: type[CuveeError], code: str, *words: str, **options: Any) -> CuveeError:
    """The error of a merge that must be refused: its class, first reason, words and advice, and no trace left.

    Args:
        yard: where the merge takes place.
        asked: a recipe file, or what is to be written into one.
        kind: class of the error.
        code: reason of its first fault.
        words: what its text must hold.
        options: arguments of the merge.
    """
    if isinstance(asked, dict):
        asked = yard.file(asked)
    before = picture(yard.root)
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(asked, options.pop("out", yard.out), **options)
    error = caught.value
    assert (type(error), error.code) == (kind, code), str(error)
    assert [word for word in words if word not in str(error)] == [], str(error)
    assert [fault.message for fault in error.faults if not fault.hint] == [], "no advice"
    assert picture(yard.root) == before
    return error


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a command."""
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def told(error: CuveeError) -> list[tuple[str, str | None]]:
    """Reason and subject of every fault."""
    return [(fault.code, fault.subject) for fault in error.faults]
