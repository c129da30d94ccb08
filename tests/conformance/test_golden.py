"""Outputs of mergekit 0.1.5, kept under `tests/golden`, reproduced within their tolerance.

The recipes are read from the folder; those whose method is not registered are skipped by name, so that registering a
method activates its recipes.

The same recipes are run once more with `dtype: bfloat16` on bfloat16 copies of the models. The truth there is our own
merge of the same bfloat16 numbers with `dtype: float64`: arithmetic and result in float64, hence no rounding that
could be seen in bfloat16. (That float64 arithmetic is right is shown elsewhere, against slow formulas.)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import Tensor

import cuvee
from cuvee import methods

GOLDEN = Path(__file__).parents[1] / "golden"
RECIPES = sorted(path.stem for path in (GOLDEN / "recipes").glob("*.yml"))
OF_ANGLES = ("slerp", "nuslerp", "multislerp", "karcher")
"""Methods whose coefficients come from an angle, which near 0 is known to fewer digits."""
CONFIG_DIFFERS_ON_PURPOSE: Mapping[str, frozenset[str]] = {}
"""Recipe → keys of config.json that we write differently, each explained in docs/differences.md."""

Tensors = Mapping[str, Tensor]


def content(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load((GOLDEN / "recipes" / f"{name}.yml").read_text("utf-8"))


def skip_if_unknown(name: str) -> None:
    method = content(name)["merge_method"]
    if method not in methods.names():
        pytest.skip(f"the method {method} does not exist yet")


def tolerance(name: str) -> float:
    return 5e-6 if content(name)["merge_method"] in OF_ANGLES else 1e-6


def is_bfloat16(name: str) -> bool:
    return content(name)["dtype"] == "bfloat16"


def expected(name: str) -> Tensors:
    return load_file(GOLDEN / "expected" / f"{name}.safetensors")


def weights_of(folder: Path) -> Tensors:
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def bfloat16_step(a: Tensor, b: Tensor) -> Tensor:
    """The distance between neighbouring bfloat16 numbers at the larger of two magnitudes.

    bfloat16 has 8 significant bits: from 2^e up to 2^(e+1) its numbers lie 2^(e-7) apart, and below its smallest
    normal number, 2^-126, they lie 2^-133 apart.
    """
    larger = torch.maximum(a.double().abs(), b.double().abs())
    _, exponent = torch.frexp(larger.clamp(min=2.0**-126))  # larger is in [2^(exponent - 1), 2^exponent)
    return torch.ldexp(torch.ones_like(larger), exponent - 8)


def assert_same_layout(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    assert {k: t.shape for k, t in found.items()} == {k: t.shape for k, t in wanted.items()}


def assert_within(found: Tensors, wanted: Tensors, bound: float) -> None:
    assert_same_layout(found, wanted)
    assert {k: t.dtype for k, t in found.items()} == {k: t.dtype for k, t in wanted.items()}
    for name, tensor in wanted.items():
        error = (found[name].double() - tensor.double()).abs().max().item()
        assert error <= bound, f"{name}: {error:.3g} apart; at most {bound:g} is allowed"


def assert_within_steps(found: Tensors, wanted: Tensors, steps: float) -> None:
    """No entry of `found`, which is bfloat16, is more bfloat16 steps away from `wanted` than allowed."""
    assert_same_layout(found, wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == torch.bfloat16, name
        apart = ((found[name].double() - tensor.double()).abs() / bfloat16_step(found[name], tensor)).max().item()
        assert apart <= steps, f"{name}: {apart:.3g} bfloat16 steps apart; at most {steps:g} are allowed"


@pytest.mark.parametrize("name", RECIPES)
def test_tensors_are_mergekits(name: str, tmp_path: Path) -> None:
    skip_if_unknown(name)
    cuvee.merge(GOLDEN / "recipes" / f"{name}.yml", tmp_path / "out")
    found = weights_of(tmp_path / "out")
    if is_bfloat16(name):
        assert_within_steps(found, expected(name), 1)
    else:
        assert_within(found, expected(name), tolerance(name))


@pytest.mark.parametrize("name", RECIPES)
def test_configurations_are_mergekits(name: str, tmp_path: Path) -> None:
    skip_if_unknown(name)
    cuvee.merge(GOLDEN / "recipes" / f"{name}.yml", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    wanted = json.loads((GOLDEN / "expected" / f"{name}.config.json").read_text("utf-8"))
    on_purpose = CONFIG_DIFFERS_ON_PURPOSE.get(name, frozenset())
    assert {k: v for k, v in found.items() if k not in on_purpose} == {
        k: v for k, v in wanted.items() if k not in on_purpose
    }


@pytest.mark.parametrize("name", ["linear_gradient", "passthrough_stack", "slerp", "ties_weighted"])
def test_the_command_line_gives_the_same(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cuvee", "merge", str(GOLDEN / "recipes" / f"{name}.yml")]
    done = subprocess.run([*command, "-o", str(tmp_path / "out")], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_within(weights_of(tmp_path / "out"), expected(name), tolerance(name))


def test_every_method_of_ours_with_a_golden_recipe_is_run() -> None:
    """The lists above are not empty by mistake."""
    golden = {content(name)["merge_method"] for name in RECIPES}
    assert {"linear", "slerp", "task_arithmetic", "ties", "passthrough"} <= golden & set(methods.names())


@pytest.fixture(scope="session")
def bfloat16_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden models rounded to bfloat16, beside an empty folder for recipes."""
    root = tmp_path_factory.mktemp("bfloat16")
    (root / "recipes").mkdir()
    for model in sorted((GOLDEN / "models").iterdir()):
        copy = root / "models" / model.name
        copy.mkdir(parents=True)
        config = json.loads((model / "config.json").read_text("utf-8")) | {"dtype": "bfloat16"}
        (copy / "config.json").write_text(json.dumps(config), "utf-8")
        tensors = {k: t.bfloat16() for k, t in load_file(model / "model.safetensors").items()}
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    return root


def merged_in(dtype: str, name: str, models: Path, out: Path) -> Tensors:
    recipe = cuvee.recipe_from({**content(name), "dtype": dtype}, root=models / "recipes")
    cuvee.merge(recipe, out)
    return weights_of(out)


@pytest.mark.parametrize("name", RECIPES)
def test_in_bfloat16_the_result_is_the_truth_rounded(name: str, bfloat16_models: Path, tmp_path: Path) -> None:
    skip_if_unknown(name)
    truth = merged_in("float64", name, bfloat16_models, tmp_path / "truth")
    assert {t.dtype for t in truth.values()} == {torch.float64}
    assert_within_steps(merged_in("bfloat16", name, bfloat16_models, tmp_path / "found"), truth, 1)


@pytest.mark.parametrize("name", RECIPES)
def test_the_tolerance_would_notice_an_error(name: str) -> None:
    """Twice the tolerance at one entry — 2e-6, and 1e-5 where angles are involved — or one step and a half."""
    wanted = expected(name)
    least = min(wanted, key=lambda k: wanted[k].abs().max())
    changed = {k: t.clone() for k, t in wanted.items()}
    if is_bfloat16(name):
        truth = {k: t.double() for k, t in wanted.items()}
        truth[least].view(-1)[0] += 1.5 * bfloat16_step(truth[least], truth[least]).view(-1)[0]
        with pytest.raises(AssertionError, match="bfloat16 steps apart"):
            assert_within_steps(wanted, truth, 1)
    else:
        changed[least].view(-1)[0] += 2 * tolerance(name)
        with pytest.raises(AssertionError, match="apart; at most"):
            assert_within(changed, wanted, tolerance(name))


def test_a_step_is_the_distance_to_the_next_bfloat16() -> None:
    values = torch.tensor([1.0, 1.9921875, 2.0, 0.02, 3e-5, 1e-40, 0.0], dtype=torch.float64)
    bits = values.bfloat16().view(torch.int16)
    following = (bits + 1).view(torch.bfloat16).double()
    step = bfloat16_step(values.bfloat16(), torch.zeros(7))
    assert torch.equal(step, following - values.bfloat16().double())
    assert torch.equal(bfloat16_step(torch.zeros(7), values.bfloat16()), step)
