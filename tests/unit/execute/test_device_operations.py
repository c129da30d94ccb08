"""What is done on a device is only what docs/design/devices.md vouches for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cuvee import methods
from cuvee.execute import execute
from cuvee.execute.lane import Lane
from cuvee.execute.place import Place
from cuvee.tensors import affine, random, sparsify
from tests.support.benches import table
from tests.support.lanes import rarely
from tests.support.merging import recipe

PAGE = Path(__file__).parents[3] / "docs" / "design" / "devices.md"
OFFLOADED = [n for n, spec in methods.specs().items() if spec.scope == "element" and spec.collected is None]
HERE = Place(torch.device("cpu"), "the processor", 1 << 34)


def vouched() -> set[str]:
    """The operations in the first column of the page's table."""
    rows = PAGE.read_text("utf-8").split("| operations of torch |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


class Noting(TorchDispatchMode):
    """Notes every operation, and refuses division by what is no tensor of the device."""

    def __init__(self, seen: set[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        self._seen.add(name)
        assert name != "div" or isinstance(args[1], Tensor), "CUDA multiplies by the reciprocal of a number"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is done inside a lane, with the forms that functions have for other devices."""
    found: set[str] = set()
    monkeypatch.setattr(Lane, "open", lambda self: Noting(found))
    monkeypatch.setattr(sparsify, "places_of", lambda values, value: (values == value).nonzero().squeeze(1))
    monkeypatch.setattr(random, "_words_of_numpy", None)
    there = torch.device("cpu")
    monkeypatch.setattr(random, "random_words", lambda k, a, b, _: random._words_of_torch(k, a, b, there))
    monkeypatch.setattr(affine, "total_weight", lambda weights: weights.new_tensor(1.5))
    return found


def settings_of(name: str) -> list[dict[str, Any]]:
    """The method's own settings, and each of its switches turned."""
    spec = methods.get(name).spec
    return [{}, *({p.name: not p.default} for p in spec.params if p.kind == "bool" and not p.ignored)]


@pytest.mark.parametrize("dtype", [*rarely(torch.bfloat16), torch.float64], ids=str)
@pytest.mark.parametrize("name", OFFLOADED)
def test_every_operation_is_vouched_for(name: str, dtype: torch.dtype, seen: set[str]) -> None:
    generator = torch.Generator().manual_seed(1)
    sizes = {"small": 3000, "large": 1 << 18}
    given = {m: {t: torch.randn(n, generator=generator).to(dtype) for t, n in sizes.items()} for m in ("base", *"abc")}
    for setting in settings_of(name):
        data = recipe(name, "base", "a", "b", out_dtype="bfloat16")
        data["parameters"] |= setting
        if name == "task_analogy":
            data["models"].append({"model": "c"})
        bench = table(data, given).bench
        execute(bench.plan, bench.readers, bench.writer, bench.method, device=HERE, threads=1, tile=1 << 17)
    assert seen - vouched() == set()
    assert "mul" in seen


def test_an_operation_that_is_not_vouched_for_would_show(seen: set[str]) -> None:
    with Noting(seen):
        torch.ones(3).mean()
    assert seen - vouched() == {"mean"}


def test_division_by_a_number_would_show(seen: set[str]) -> None:
    with pytest.raises(AssertionError, match="reciprocal"), Noting(seen):
        torch.ones(3) / 3.0
