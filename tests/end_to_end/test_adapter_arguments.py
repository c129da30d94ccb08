"""What the calls that merge, extract and apply adapters take: mistakes are told as such, all at once, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cuvee import api
from cuvee.errors import CuveeError, InputError, OutputExists, UsageError
from tests.support.adapters import load_base, train_adapter, unwarned, write_base
from tests.support.command_line import call

SETTINGS: dict[str, Any] = {"r": 2, "target_modules": ["q_proj"]}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, adapters `a` and `b` of it, and a model that was tuned from it in two kinds of layers."""
    folder = tmp_path_factory.mktemp("arguments")
    base = write_base("llama", folder / "base")
    for seed, name in enumerate("ab", 1):
        train_adapter(base, folder / name, seed=seed, **SETTINGS)
    model = load_base(base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("q_proj.weight", "v_proj.weight")):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    with unwarned():
        model.save_pretrained(str(folder / "tuned"))
    return folder


@pytest.mark.parametrize(
    ("given", "subjects"),
    [
        ({"weights": 0.5}, ["weights"]),
        ({"weights": [1, "x"]}, ["weights"]),
        ({"weights": "12"}, ["weights"]),
        ({"method": None}, ["method"]),
        ({"method": "svd", "rank": "3"}, ["rank"]),
        ({"method": "svd", "rank": 2.5}, ["rank"]),
        ({"method": "svd", "energy": "a"}, ["energy"]),
        ({"method": "svd", "energy": True}, ["energy"]),
        ({"method": "knots", "inner": 3}, ["inner"]),
        ({"weights": 1, "rank": "2", "energy": [], "seed": "x"}, ["rank", "energy", "seed", "weights"]),
    ],
)
def test_arguments_of_merges_are_checked(
    yard: Path, tmp_path: Path, given: dict[str, Any], subjects: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        api.merge_adapters([yard / "a", yard / "b"], tmp_path / "out", **given)
    assert [fault.subject for fault in caught.value.faults] == subjects
    assert set(caught.value.codes) == {"bad-argument"}


def test_adapters_must_be_several_paths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`adapters` must be"):
        api.merge_adapters(5, tmp_path / "out")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "subjects"),
    [
        ({"rank": "4"}, ["rank"]),
        ({"energy": "4"}, ["energy"]),
        ({"rank": 4, "only": 3}, ["only"]),
        ({"rank": 4, "leave": ["x", 3]}, ["leave"]),
        ({"rank": 4, "seed": "x", "embed_lora": "no", "save_bias": 1}, ["seed", "embed_lora", "save_bias"]),
        ({"rank": 0}, ["rank"]),
    ],
)
def test_arguments_of_extractions_are_checked(
    yard: Path, tmp_path: Path, given: dict[str, Any], subjects: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        api.extract_adapter(yard / "tuned", yard / "base", tmp_path / "out", **given)
    assert [fault.subject for fault in caught.value.faults] == subjects


def test_a_text_is_one_pattern(yard: Path, tmp_path: Path) -> None:
    found = api.extract_adapter(yard / "tuned", yard / "base", tmp_path / "out", rank=2, only="q_proj")
    assert {one.module.rpartition(".")[2] for one in found.modules} == {"q_proj"}
    found = api.extract_adapter(yard / "tuned", yard / "base", tmp_path / "two", rank=2, leave="q_proj")
    assert {one.module.rpartition(".")[2] for one in found.modules} == {"v_proj"}
    record = json.loads((tmp_path / "out" / "cuvee.json").read_text())
    assert record["settings"]["only"] == ["q_proj"]


def test_a_folder_is_replaced_on_demand_and_never_one_that_is_read(yard: Path, tmp_path: Path) -> None:
    given, out = [yard / "a", yard / "b"], tmp_path / "out"
    api.merge_adapters(given, out)
    with pytest.raises(OutputExists, match="--overwrite"):
        api.merge_adapters(given, out)
    api.merge_adapters(given, out, weights=[1, 2], overwrite=True)
    assert json.loads((out / "cuvee.json").read_text())["settings"]["weights"] == [1, 2]
    api.extract_adapter(yard / "tuned", yard / "base", out, rank=1, overwrite=True)
    assert json.loads((out / "cuvee.json").read_text())["made_by"] == "lora extract"
    with pytest.raises(OutputExists, match="is, holds or lies in"):
        api.merge_adapters(given, yard / "a", overwrite=True)
    with pytest.raises(OutputExists, match="is, holds or lies in"):
        api.extract_adapter(yard / "tuned", yard / "base", yard / "tuned", rank=1, overwrite=True)
    assert (yard / "a" / "adapter_config.json").is_file()
    assert (yard / "tuned" / "model.safetensors").is_file()


def test_any_setting_of_a_method_can_be_given_in_the_terminal(
    yard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lora", "merge", str(yard / "a"), str(yard / "b"), "-o", str(tmp_path / "out"), "--method", "linear"]
    refused = call(capsys, *words, "--weights", "1,-1")
    assert refused.code != 0
    assert "normalize" in refused.err
    assert call(capsys, *words, "--weights", "1,-1", "--set", "normalize=False").code == 0
    for given, told in (
        ("normalize", "must be NAME=VALUE"),
        ("rank=2", "has an option of its own: --rank"),
        ("foo=1", "`foo`"),
    ):
        ran = call(capsys, *words, "--overwrite", "--set", given)
        assert ran.code != 0
        assert told in " ".join(ran.err.split())


def test_a_base_with_an_adapter_is_no_adapter(yard: Path, tmp_path: Path) -> None:
    given = f"{yard / 'base'}+{yard / 'a'}"
    for ask in (lambda: api.lora_info(given), lambda: api.merge_adapters([yard / "b", given], tmp_path / "out")):
        with pytest.raises(UsageError, match="takes adapters alone") as caught:
            ask()
        (fault,) = caught.value.faults
        assert str(yard / "a") in str(fault.hint)


def test_a_chain_of_pluses_names_the_list(yard: Path) -> None:
    text = f"{yard / 'base'}+{yard / 'a'}+{yard / 'b'}"
    recipe: dict[str, Any] = {"merge_method": "passthrough", "models": [{"model": text}]}
    with pytest.raises(InputError) as caught:
        api.plan(recipe)
    assert any("lora: [a, b]" in str(fault.hint) for fault in caught.value.faults)
    with pytest.raises(CuveeError, match=r"lora: \[a, b\]"):
        api.plan({**recipe, "models": [{"model": "org/base+org/a+org/b"}]})


@pytest.mark.parametrize("weight", ["1", "0.5"])
def test_apply_tells_how_many_tensors_an_adapter_changes(
    yard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], weight: str
) -> None:
    words = ["lora", "apply", yard / "base", yard / "a", yard / "b", "--weight", weight, "-o"]
    ran = call(capsys, *words, tmp_path / "out")
    assert "2 tensors changed by the adapters, 19 as in the base" in ran.out
    assert "merged" not in ran.out
    data = call(capsys, *words, tmp_path / "again", "--json").json
    assert (data["changed"], data["counts"]["lost"]) == (2, 0)
