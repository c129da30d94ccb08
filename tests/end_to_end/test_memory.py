"""What a merge takes of memory against what its plan says and what it is allowed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cuvee.fused import available
from tests.support.command_line import call, spawn
from tests.support.peaks import MIB, peak_of, write_recipe, write_tunes

METHODS = ("linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties")
KERNELS = ("plain", "fused")
TINY = {"model.embed_tokens.weight": (64, 16), "model.norm.weight": (16,)}
MIDDLE = {"model.embed_tokens.weight": (4096, 1024), "lm_head.weight": (4096, 1024), "model.norm.weight": (1024,)}
LARGE = {**MIDDLE, **{f"model.layers.{i}.mlp.weight": (2048, 2048) for i in range(8)}}
MANY = {f"model.layers.{i}.mlp.experts.{j}.weight": (4, 8) for i in range(32) for j in range(128)}
ONE = {"model.embed_tokens.weight": (8192, 1024)}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel must tell a process's anonymous memory")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled kernels, found by none but these tests."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A base and three fine-tunes of 17 MB each."""
    return write_tunes(tmp_path_factory.mktemp("middle"), MIDDLE, torch.bfloat16)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same of 84 MB each."""
    return write_tunes(tmp_path_factory.mktemp("large"), LARGE, torch.bfloat16)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_tunes(tmp_path_factory.mktemp("tiny"), TINY, torch.bfloat16)


def outlook_of(asked: Path, *options: str) -> dict[str, int]:
    """What `cuvee plan` says that a merge costs."""
    planned = spawn("plan", asked, "--json", *options)
    assert planned.code == 0, planned.err
    return planned.json["cost"]


def check(room: Path, files: list[Path], method: str, cache: Path, kernels: str, *options: str) -> float:
    """Merge: the peak is not above the estimate, nor that above the limit; gives how many times the peak it is."""
    if kernels == "fused" and not available():
        pytest.skip("numba is not installed")
    asked = write_recipe(room / "recipe.yml", method, files)
    estimate = outlook_of(asked, *options)["memory"]
    words = ("merge", asked, "-o", room / "out", "--overwrite", "--kernels", kernels, *options)
    peak = peak_of(*words, environ={"CUVEE_CACHE": str(cache)})
    assert peak <= estimate, f"{peak / MIB:.0f} MiB were taken, {estimate / MIB:.0f} estimated"
    if "--max-memory" in options:
        assert estimate <= int(options[options.index("--max-memory") + 1])
    return estimate / peak


@pytest.mark.slow
def test_a_tiny_merge_whose_kernels_are_compiled_on_the_way(tiny, tmp_path: Path) -> None:
    check(tmp_path, tiny, "ties", tmp_path / "cold", "fused", "--threads", "2")


def test_the_peak_is_not_above_the_estimate(middle, tmp_path, cache) -> None:
    ratio = check(tmp_path, middle, "dare_ties", cache, "plain", "--threads", "4", "--tile", str(1 << 20))
    assert ratio < 2.5, "a bound, and not a silly one"


@pytest.mark.slow
def test_the_least_that_is_named_works_and_a_mebibyte_less_is_refused(middle, tmp_path, capsys) -> None:
    asked = write_recipe(tmp_path / "recipe.yml", "ties", middle)
    refused = call(capsys, "merge", asked, "-o", tmp_path / "out", "--max-memory", "100MiB", "--json")
    assert refused.code == 5
    (fault,) = refused.json["error"]["faults"]
    assert fault["code"] == "memory"
    assert not (tmp_path / "out").exists()
    least = int(fault["hint"].split("--max-memory to ")[1].split("MiB")[0])
    short = call(capsys, "plan", asked, "--max-memory", f"{least - 1}MiB")
    assert (short.code, f"{least}MiB" in short.err) == (5, True)
    told = call(capsys, "plan", asked, "--max-memory", f"{least}MiB", "--json").json["cost"]
    assert told["threads"] == 1, "what will be taken is told"
    assert told["tile"] < 1 << 19
    check(tmp_path, middle, "ties", tmp_path / "cold", "plain", "--max-memory", str(least * MIB))


@pytest.mark.parametrize("given", ["0", "-1GiB", "much", "1 GiBB", "", "1e3", "NaN"])
def test_limits_that_are_none_are_refused(tiny, tmp_path, capsys, given) -> None:
    asked = write_recipe(tmp_path / "recipe.yml", "linear", tiny)
    for words in (("plan", asked), ("merge", asked, "-o", tmp_path / "out")):
        refused = call(capsys, *words, f"--max-memory={given}")
        assert refused.code == 2
        assert "1GiB" in refused.err


@pytest.mark.slow
def test_a_file_that_must_be_held_in_memory_is_in_the_estimate(tmp_path, capsys) -> None:
    tensors = {"model.embed_tokens.weight": torch.randn(4096, 4096).bfloat16()}
    files = {name: tmp_path / name for name in ("zip.bin", "old.bin")}
    for name, file in files.items():
        torch.save(tensors, file, _use_new_zipfile_serialization=name == "zip.bin")
    save_file(tensors, tmp_path / "base.safetensors")
    asked = {
        name: write_recipe(tmp_path / f"{name}.yml", "slerp", [tmp_path / "base.safetensors", file])
        for name, file in files.items()
    }
    mapped, held = (call(capsys, "plan", r, "--threads", "1", "--json").json["cost"]["memory"] for r in asked.values())
    assert 32 * MIB <= held - mapped < 64 * MIB
    taken = peak_of("merge", asked["old.bin"], "-o", tmp_path / "out", "--threads", "1", "--kernels", "plain")
    assert taken <= held


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [(), ("--threads", "1", "--tile", "8192"), ("--threads", "8"), ("--tile", "1048576")]
)
@pytest.mark.parametrize("limit", [None, 3 << 30])
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_stays_below_its_estimate(
    tmp_path_factory, tmp_path, cache, method, kernels, limit, options
) -> None:
    folder = tmp_path_factory.getbasetemp() / "large"
    files = sorted(folder.glob("*.safetensors")) or write_tunes(folder, LARGE, torch.bfloat16)
    check(tmp_path, files, method, cache, kernels, *options, *(("--max-memory", str(limit)) if limit else ()))


@pytest.mark.slow
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("method", ["linear", "slerp", "ties"])
@pytest.mark.parametrize(
    ("shapes", "dtype", "options"),
    [
        (MANY, torch.bfloat16, ()),
        (ONE, torch.bfloat16, ("--tile", "1024", "--threads", "2")),
        (ONE, torch.float32, ("--threads", "2")),
        (ONE, torch.float64, ("--threads", "2")),
    ],
    ids=["many tensors", "many tiles", "float32", "float64"],
)
def test_odd_models_stay_below_their_estimates(tmp_path, cache, shapes, dtype, options, method, kernels) -> None:
    limit = ("--max-memory", str(4 << 30))
    check(tmp_path, write_tunes(tmp_path, shapes, dtype), method, cache, kernels, *options, *limit)
