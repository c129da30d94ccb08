"""What goes wrong inside a method is told with the tensor it was met at, whoever carries the merge out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import cuvee
from cuvee.errors import CuveeError, InputError, ResourceError
from cuvee.execute import surveying
from cuvee.execute.trouble import told_of


def no_end(*_given: Any, **_more: Any) -> None:
    """An error of LAPACK's, as torch tells it."""
    torch.linalg.cholesky(-torch.eye(2))


def no_room(*_given: Any, **_more: Any) -> None:
    """An error of torch's allocator."""
    torch.empty(1 << 55, dtype=torch.uint8)


TROUBLES = [(no_end, InputError, "no-factors", 4), (no_room, ResourceError, "memory", 5)]


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    chance = torch.Generator().manual_seed(0)
    for name in "abc":
        drawn = {"m": torch.randn(6, 4, generator=chance), "v": torch.randn(4, generator=chance)}
        save_file(drawn, tmp_path / f"{name}.safetensors")
    files = [str(tmp_path / f"{name}.safetensors") for name in "abc"]
    return {"merge_method": "tsv_m", "base_model": files[0], "models": [{"model": f} for f in files[1:]]}


@pytest.mark.parametrize(("trouble", "kind", "code", "exit_code"), TROUBLES)
@pytest.mark.parametrize("way", [{"runner": "plain"}, {"threads": 1}, {"threads": 3}, "nested"])
def test_it_is_told_by_name(
    trouble: Callable[..., None],
    kind: type[CuveeError],
    code: str,
    exit_code: int,
    way: Any,
    asked: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.linalg, "svd", trouble)
    if way == "nested":
        asked, way = {"merge_method": "passthrough", "models": [{"model": asked}]}, {}
    with pytest.raises(kind, match="tensor m: ") as caught:
        cuvee.merge(cuvee.recipe_from(asked), tmp_path / "out", **way)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert caught.value.faults[0].subject == "m"
    assert not (tmp_path / "out").exists()


def test_what_a_survey_meets_is_told_by_name(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked["merge_method"] = "ties_global"
    monkeypatch.setattr(surveying, "seen_by", no_room)
    with pytest.raises(ResourceError, match=r"tensor [mv]: not enough memory"):
        cuvee.merge(cuvee.recipe_from(asked), tmp_path / "out")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("x"), KeyboardInterrupt()])
def test_other_errors_are_left_alone(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, told_of("m"):
        raise error
    assert caught.value is error
