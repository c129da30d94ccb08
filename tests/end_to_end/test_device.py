"""`--device` from the command line and from Python: which device, why, and that no file tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.cli import main
from cuvee.errors import UsageError
from cuvee.execute import place
from tests.support.merging import cast, decoder, files, recipe, write


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, ...]:
    return tuple(write(tmp_path / m, cast(decoder(i), torch.bfloat16)) for i, m in enumerate(("base", "a", "b")))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor stands for a GPU, behind the seam."""
    monkeypatch.setattr(place, "find", lambda _: place.Place(torch.device("cpu"), "the processor", 1 << 34))
    monkeypatch.setattr(place.Choice, "name", property(lambda self: "cpu" if self.place is None else "cuda:0"))


@pytest.mark.parametrize("method", ["ties", "dare_linear", "slerp"])
def test_every_file_is_the_same(method: str, paths: tuple[Path, ...], tmp_path: Path, gpu: None) -> None:
    here = cuvee.merge(recipe(method, *paths), tmp_path / "here", seed=3)
    there = cuvee.merge(recipe(method, *paths), tmp_path / "there", seed=3, device="cuda")
    assert (here.device, there.device) == ("cpu", "cuda:0")
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_a_run_is_gone_on_with_on_another_device(paths: tuple[Path, ...], tmp_path: Path, gpu: None) -> None:
    data = recipe("ties", *paths)
    cuvee.merge(data, tmp_path / "whole")

    def stop(progress: Any) -> None:
        if progress.done > progress.total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cuvee.merge(data, tmp_path / "out", device="cuda", resume=True, progress=stop, threads=1)
    done = cuvee.merge(data, tmp_path / "out", resume=True)
    assert done.resumed_ranges > 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_begun(paths: tuple[Path, ...], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="asks for a GPU"):
        cuvee.merge(recipe("ties", *paths), tmp_path / "out", device="cuda")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "base"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=str)
def test_the_command_says_so(
    more: list[str], paths: tuple[Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.json").write_text(json.dumps(recipe("ties", *paths)))
    assert main(["merge", str(tmp_path / "r.json"), "-o", str(tmp_path / "out"), "--device", "cuda:1", *more]) == 2
    assert "asks for a GPU" in capsys.readouterr().err


def test_a_wrong_word(paths: tuple[Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").write_text(json.dumps(recipe("ties", *paths)))
    for more in ([], ["--dry-run"]):
        assert main(["merge", str(tmp_path / "r.json"), "-o", str(tmp_path / "out"), "--device", "gpu", *more]) == 2
        assert "must be cpu, cuda" in capsys.readouterr().err


def test_auto_says_what_it_took(paths: tuple[Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").write_text(json.dumps(recipe("ties", *paths)))
    words = ["merge", str(tmp_path / "r.json"), "-o", str(tmp_path / "out"), "--device", "auto", "--overwrite"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["device"]
    assert told["used"] == "cpu"
    assert "less than 4 GiB" in told["why"]
    assert main(words) == 0
    assert "combined on cpu: less than 4 GiB" in capsys.readouterr().out
