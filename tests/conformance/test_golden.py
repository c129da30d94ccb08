"""Outputs of mergekit 0.1.5, kept under `tests/golden`, reproduced within their tolerance.

The recipes are read from the folder; those whose method is not registered are skipped by name, so that registering a
method activates its recipes.

The same recipes are run once more with `dtype: bfloat16` on bfloat16 copies of the models, and held against two
truths, both from the same bfloat16 numbers: our merge with `dtype: float32`, and our merge with `dtype: float64`, whose
arithmetic is float64 throughout. (That this arithmetic is right is shown elsewhere, against slow formulas.)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
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
OF_ELECTIONS = ("ties", "dare_ties", "della", "breadcrumbs_ties", "sce")
"""Methods that elect a sign. bfloat16 numbers with weights such as 0.3 and 0.4 can cancel exactly, as 3·4 − 4·3 does,
and then the last bit of the arithmetic elects: one entry in 10 000 may be undecided so."""
OF_ANGLES = ("slerp", "nuslerp", "multislerp", "karcher")
"""Methods whose coefficients come from an angle, which near 0 is known to fewer digits."""
UNDECIDED: Mapping[str, int] = {"arcee_fusion": 3}
"""Entries that mergekit's float32 chooses otherwise. An importance within 3e-4 of the threshold is one that it cannot
tell from it: with its arithmetic in float64 mergekit's formula chooses as we do, all three times."""
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


def bfloat16_step(*magnitudes: Tensor) -> Tensor:
    """The distance between neighbouring bfloat16 numbers at the largest of some magnitudes, entry by entry.

    bfloat16 has 8 significant bits: from 2^e up to 2^(e+1) its numbers lie 2^(e-7) apart, and below its smallest
    normal number, 2^-126, they lie 2^-133 apart.
    """
    largest = torch.stack([m.double().abs() for m in magnitudes]).amax(0)
    _, exponent = torch.frexp(largest.clamp(min=2.0**-126))  # largest is in [2^(exponent - 1), 2^exponent)
    return torch.ldexp(torch.ones_like(largest), exponent - 8)


def assert_same_layout(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    assert {k: t.shape for k, t in found.items()} == {k: t.shape for k, t in wanted.items()}


def assert_within(found: Tensors, wanted: Tensors, bound: float, undecided: int = 0) -> None:
    """No entry is further apart than a bound, but for as many as rounding may decide otherwise."""
    assert_same_layout(found, wanted)
    assert {k: t.dtype for k, t in found.items()} == {k: t.dtype for k, t in wanted.items()}
    left = undecided
    for name, tensor in wanted.items():
        apart = (found[name].double() - tensor.double()).abs()
        left -= int((apart > bound).sum()) if undecided else 0
        error = 0.0 if undecided else apart.max().item()
        assert error <= bound, f"{name}: {error:.3g} apart; at most {bound:g} is allowed"
    assert left >= 0, f"{undecided - left} entries are apart; at most {undecided} may be"


def assert_within_steps(found: Tensors, wanted: Tensors, steps: float, terms: Tensors | None = None) -> None:
    """No entry of `found`, which is bfloat16, is more bfloat16 steps away from `wanted` than allowed.

    A step is taken at the larger of both magnitudes, or of these and the entry's `terms`: what is left when large
    numbers cancel is known no better than they were.
    """
    assert_same_layout(found, wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == torch.bfloat16, name
        step = bfloat16_step(found[name], tensor, *([terms[name]] if terms else []))
        apart = ((found[name].double() - tensor.double()).abs() / step).max().item()
        assert apart <= steps, f"{name}: {apart:.3g} bfloat16 steps apart; at most {steps:g} are allowed"


def assert_rounded_once(found: Tensors, truth: Tensors, terms: float, undecided: int = 0) -> None:
    """Every entry is the truth rounded to bfloat16, save for float32's own error in terms of some magnitude.

    Half a step of the result for the one rounding; 2^-20 of the terms is eight times float32's precision. Entries
    where an election of signs is `undecided` may be so few.
    """
    assert_same_layout(found, truth)
    beyond = 0
    for name, tensor in truth.items():
        allowed = 0.5 * bfloat16_step(found[name], tensor) + 2.0**-20 * terms
        beyond += int(((found[name].double() - tensor.double()).abs() > allowed).sum())
    assert beyond <= undecided, f"{beyond} entries lie beyond half a bfloat16 step; at most {undecided} may"


def largest_inputs(name: str) -> Tensors:
    """The largest magnitude among a recipe's models, entry by entry; for recipes without slices."""
    paths = [GOLDEN / "recipes" / entry["model"] for entry in content(name)["models"]]
    models = [load_file(path / "model.safetensors") for path in paths]
    return {k: torch.stack([m[k].abs() for m in models]).amax(0) for k in models[0]}


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder that a golden recipe is merged into, the first time it is asked for."""
    root = tmp_path_factory.mktemp("merged")

    def folder(name: str) -> Path:
        skip_if_unknown(name)
        if not (root / name).exists():
            cuvee.merge(GOLDEN / "recipes" / f"{name}.yml", root / name)
        return root / name

    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_tensors_are_mergekits(name: str, merged: Callable[[str], Path]) -> None:
    found = weights_of(merged(name))
    if is_bfloat16(name):
        assert_within_steps(found, expected(name), 1, largest_inputs(name))
    else:
        assert_within(found, expected(name), tolerance(name), UNDECIDED.get(name, 0))


@pytest.mark.parametrize("name", RECIPES)
def test_configurations_are_mergekits(name: str, merged: Callable[[str], Path]) -> None:
    found = json.loads((merged(name) / "config.json").read_text("utf-8"))
    wanted = json.loads((GOLDEN / "expected" / f"{name}.config.json").read_text("utf-8"))
    on_purpose = CONFIG_DIFFERS_ON_PURPOSE.get(name, frozenset())
    assert {k: v for k, v in found.items() if k not in on_purpose} == {
        k: v for k, v in wanted.items() if k not in on_purpose
    }


@pytest.mark.parametrize(
    "name",
    [
        "ties_weighted",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("linear_gradient", "passthrough_stack", "slerp")),
    ],
)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_in_bfloat16_the_result_is_the_truth_rounded(name: str, bfloat16_models: Path, tmp_path: Path) -> None:
    skip_if_unknown(name)
    found = merged_in("bfloat16", name, bfloat16_models, tmp_path / "bfloat16")
    truth = merged_in("float32", name, bfloat16_models, tmp_path / "float32")
    wide = merged_in("float64", name, bfloat16_models, tmp_path / "float64")
    assert {t.dtype for t in wide.values()} == {torch.float64}
    assert_within_steps(found, truth, 1)
    entries = sum(t.numel() for t in wide.values())
    undecided = entries // 10_000 if content(name)["merge_method"] in OF_ELECTIONS else 0
    assert_rounded_once(found, wide, terms=2.0, undecided=undecided)


def test_the_golden_terms_are_below_two() -> None:
    """What the bound above takes for granted."""
    models = [load_file(path / "model.safetensors") for path in (GOLDEN / "models").iterdir()]
    assert max(t.abs().max().item() for m in models for t in m.values()) < 2


def changed(tensors: Tensors, by: float) -> Tensors:
    """A copy with one entry changed, in the tensor of the smallest numbers, widened to float64."""
    copy = {k: t.double() for k, t in tensors.items()}
    smallest = min(copy, key=lambda k: copy[k].abs().max())
    copy[smallest].view(-1)[0] += by
    return copy


@pytest.mark.parametrize("name", [name for name in RECIPES if not is_bfloat16(name)])
def test_the_tolerance_notices_twice_itself(name: str) -> None:
    """2e-6 at one entry; 1e-5 where angles are involved."""
    wanted = expected(name)
    wrong = {k: t.float() for k, t in changed(wanted, 2 * tolerance(name)).items()}
    assert_within(wanted, wanted, 0)
    with pytest.raises(AssertionError, match="apart; at most"):
        assert_within(wrong, wanted, tolerance(name))


@pytest.mark.parametrize("name", [name for name in RECIPES if is_bfloat16(name)])
def test_the_tolerance_in_steps_notices_a_step_and_a_half(name: str) -> None:
    wanted = expected(name)
    wrong = changed(wanted, 1.5 * float(max(bfloat16_step(t).max() for t in largest_inputs(name).values())))
    assert_within_steps(wanted, wanted, 0)
    with pytest.raises(AssertionError, match="bfloat16 steps apart"):
        assert_within_steps(wanted, wrong, 1, largest_inputs(name))


def test_the_rounding_test_notices_2e_6() -> None:
    wanted = {k: t.bfloat16() * 2**-6 for k, t in expected("linear_bf16").items()}  # half a step is below 1e-6 there
    assert_rounded_once(wanted, wanted, terms=2**-5)
    with pytest.raises(AssertionError, match="1 entries lie beyond half"):
        assert_rounded_once(wanted, changed(wanted, 2e-6), terms=2**-5)


def test_a_step_is_the_distance_to_the_next_bfloat16() -> None:
    values = torch.tensor([1.0, 1.9921875, 2.0, 0.02, 3e-5, 1e-40, 0.0], dtype=torch.float64).bfloat16()
    following = (values.view(torch.int16) + 1).view(torch.bfloat16).double()
    assert torch.equal(bfloat16_step(values, torch.zeros(7)), following - values.double())
    assert torch.equal(bfloat16_step(torch.zeros(7), -values), following - values.double())
