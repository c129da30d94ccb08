"""Whole merges by singular vectors: the same bytes however they are carried out, stopped merges, narrow dtypes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from cuvee import methods
from cuvee.errors import InputError, ResourceError
from tests.support.command_line import spawn
from tests.support.interrupted import lines, stop
from tests.support.merging import decoder, files, read, write
from tests.support.peaks import peak_of, write_tunes
from tests.support.zoo import Cellar, stored

SPECTRAL = ("tsv_m", "iso_c", "iso_cts", "knots", "opcm")
SHARED: dict[str, dict[str, Any]] = {
    "tsv_m": {"lambda": 0.8},
    "iso_c": {"lambda": 1.4},
    "iso_cts": {"lambda": 1.4, "common_fraction": 0.5},
    "knots": {"density": 0.5, "weight": 0.6, "aligned": "SV"},
    "opcm": {"alpha": 0.4},
}
WAYS: tuple[dict[str, Any], ...] = (
    {"threads": 1, "tile": 1024},
    {"threads": 3, "tile": 5000},
    {"threads": 2, "kernels": "fused"},
)


@pytest.fixture(scope="module")
def llamas(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A base and three fine-tunes, of as many seeds, written by transformers."""
    cellar = Cellar(tmp_path_factory.mktemp("llamas"))
    return [cellar.model("llama", seed) for seed in range(4)]


@pytest.fixture(params=[1, 3], ids=["one thread of torch", "three"])
def torch_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def asked(method: str, base: Path, *models: Path, **more: Any) -> dict[str, Any]:
    listed = [{"model": str(model)} for model in models]
    data = {"merge_method": method, "base_model": str(base), "models": listed, "parameters": SHARED[method]}
    return {**data, **more}


def in_memory(method: str, base: Tensor, models: list[Tensor]) -> Tensor:
    given = {"lambda_" if key == "lambda" else key: value for key, value in SHARED[method].items()}
    return methods.get(method)(models, base=base, **given)


@pytest.mark.parametrize("method", SPECTRAL)
def test_a_llama_is_merged_tensor_by_tensor(llamas: list[Path], method: str, tmp_path: Path) -> None:
    data = asked(method, *llamas)
    cuvee.merge(data, tmp_path / "plain", runner="plain")
    base, *tunes = (stored(path) for path in llamas)
    merged = read(tmp_path / "plain")
    assert merged.keys() == base.keys()
    for name, tensor in merged.items():
        assert torch.equal(tensor, in_memory(method, base[name], [tune[name] for tune in tunes])), name
        assert not torch.equal(tensor, base[name])


@pytest.mark.parametrize("method", SPECTRAL)
def test_workers_tiles_and_runners_change_no_byte(
    llamas: list[Path], method: str, tmp_path: Path, torch_threads: None
) -> None:
    data = asked(method, *llamas)
    cuvee.merge(data, tmp_path / "plain", runner="plain")
    want = files(tmp_path / "plain")
    for i, way in enumerate(WAYS):
        cuvee.merge(data, tmp_path / str(i), **way)
        assert files(tmp_path / str(i)) == want, way


@pytest.mark.parametrize("method", SPECTRAL)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_inputs_are_merged_wide_and_rounded_once(method: str, dtype: str, tmp_path: Path) -> None:
    narrow = getattr(torch, dtype)
    models = [{k: v.to(narrow) for k, v in decoder(seed).items()} for seed in range(3)]
    paths = [write(tmp_path / str(i), model) for i, model in enumerate(models)]
    cuvee.merge(asked(method, *paths), tmp_path / "out")
    for name, tensor in read(tmp_path / "out").items():
        base, *tunes = (model[name].float() for model in models)
        assert torch.equal(tensor, in_memory(method, base, tunes).to(narrow)), name


@pytest.mark.parametrize("method", SPECTRAL)
@pytest.mark.parametrize("runner", ["plain", "threaded"])
def test_a_stopped_merge_goes_on_with_the_tensors_that_are_left(
    llamas: list[Path], method: str, runner: str, tmp_path: Path
) -> None:
    data = asked(method, *llamas)
    whole = cuvee.merge(data, tmp_path / "whole")
    stop(data, tmp_path / "out", 5, tile=1024, runner=runner)
    done = lines(tmp_path / "out")
    found = cuvee.merge(data, tmp_path / "out", resume=True, threads=2)
    assert 0 < found.resumed_ranges <= done
    assert whole.resumed_ranges == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_numbers_that_are_none_spoil_their_tensor_and_no_other(tmp_path: Path) -> None:
    models = [decoder(seed) for seed in range(3)]
    name = "model.layers.0.mlp.up_proj.weight"
    models[1][name][3, 2] = torch.inf
    paths = [write(tmp_path / str(i), model) for i, model in enumerate(models)]
    for method in SPECTRAL:
        with pytest.raises(InputError, match="must be finite"):
            cuvee.merge(asked(method, *paths), tmp_path / "out")
        cuvee.merge(asked(method, *paths), tmp_path / method, allow_nonfinite=True)
        merged = read(tmp_path / method)
        assert {key for key, tensor in merged.items() if not tensor.isfinite().all()} == {name}
        assert merged[name].isnan().all()


def test_too_little_memory_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    paths = [write(tmp_path / str(i), {"w": torch.zeros(2048, 1024)}, None) for i in range(3)]
    with pytest.raises(ResourceError) as caught:
        cuvee.merge(asked("tsv_m", *paths), tmp_path / "out", max_memory=400 << 20)
    assert caught.value.codes == ("memory",)
    assert not (tmp_path / "out").exists()


def test_knots_with_weights_that_cancel_is_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / str(i), decoder(i)) for i in range(3)]
    data = asked("knots", *paths)
    for entry, weight in zip(data["models"], (1.0, -1.0), strict=True):
        entry["parameters"] = {"weight": weight}
    data["parameters"] = {}
    with pytest.raises(cuvee.CuveeError) as caught:
        cuvee.merge(data, tmp_path / "out")
    assert caught.value.codes == ("zero-weight-sum",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "shape"),
    [
        ("tsv_m", (1536, 1536)),
        ("tsv_m", (1 << 20, 2)),
        ("iso_c", (1536, 1536)),
        ("iso_cts", (256, 8192)),
        ("knots", (256, 8192)),
        ("knots", (8192, 256)),
        ("opcm", (1536, 1536)),
    ],
)
def test_what_is_taken_of_memory_stays_below_the_estimate(method: str, shape: tuple[int, int], tmp_path: Path) -> None:
    tunes = write_tunes(tmp_path, {"w": shape}, torch.bfloat16)
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(json.dumps(asked(method, *tunes)), "utf-8")
    planned = spawn("plan", recipe, "--threads", "1", "--json").json["cost"]["memory"]
    assert peak_of("merge", recipe, "-o", tmp_path / "out", "--threads", "1") <= planned
