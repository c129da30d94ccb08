"""Adapters merged as adapters, and extracted: real ones of peft, held against ΔW computed plainly and against peft."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cuvee import api, methods
from cuvee.checkpoint.adapter import open_adapter_folder
from cuvee.errors import InputError, OutputExists, UsageError
from tests.support.adapters import ADAPTERS, load_base, logits, merged_by_peft, train_adapter, unwarned, write_base

Deltas = dict[str, torch.Tensor]

LINEAR: dict[str, Any] = {
    "r": 4,
    "target_modules": ["q_proj", "up_proj"],
    "rank_pattern": {"q_proj": 2},
    "lora_alpha": 6,
}
OTHER: dict[str, Any] = {"r": 3, "target_modules": ["q_proj", "down_proj"], "use_rslora": True, "lora_alpha": 5}
SAME: dict[str, Any] = {"r": 4, "target_modules": ["q_proj", "up_proj"], "lora_alpha": 3}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and adapters of it: `a` and `b` differ in ranks, scales and modules, `c` and `d` in numbers only."""
    folder = tmp_path_factory.mktemp("algebra")
    base = write_base("llama", folder / "base")
    for seed, (name, settings) in enumerate({"a": LINEAR, "b": OTHER, "c": SAME, "d": SAME}.items(), 1):
        train_adapter(base, folder / name, seed=seed, **settings)
    return folder


def deltas(folder: Path) -> Deltas:
    """ΔW of every module, computed plainly: s · B · A."""
    adapter = open_adapter_folder(folder, folder.name)
    found = {
        module: one.scale * (adapter.read(one.b.name).double() @ adapter.read(one.a.name).double())
        for module, one in adapter.changes.items()
    }
    adapter.close()
    return found


def mixed(parts: list[Deltas], weights: list[float]) -> Deltas:
    """Σ wᵢ ΔWᵢ, modules that one does not have being 0."""
    total: Deltas = {}
    for part, weight in zip(parts, weights, strict=True):
        for module, delta in part.items():
            total[module] = total.get(module, torch.zeros_like(delta)) + weight * delta
    return total


def close(found: Deltas, want: Deltas, tolerance: float = 1e-6) -> None:
    assert set(found) == set(want)
    for module, delta in want.items():
        assert torch.allclose(found[module], delta, atol=tolerance * float(delta.abs().max() + 1e-3)), module


def test_cat_is_the_exact_sum_and_loads_in_peft(yard: Path, tmp_path: Path) -> None:
    found = api.merge_adapters([yard / "a", yard / "b"], tmp_path / "out", weights=[0.7, -0.4])
    want = mixed([deltas(yard / "a"), deltas(yard / "b")], [0.7, -0.4])
    close(deltas(tmp_path / "out"), want)
    assert max(one.error for one in found.modules) == 0
    assert any("leaves" in note for note in found.notes)
    base = load_base(yard / "base")
    with torch.no_grad():
        for module, delta in want.items():
            base.get_submodule(module).weight += delta.float()
    merged = merged_by_peft(yard / "base", tmp_path / "out")
    assert torch.allclose(logits(merged), logits(base), atol=1e-5)


@pytest.mark.parametrize(
    "method", ["cat", "svd", "ties", "dare_ties", "knots", "core-space", "linear", "task_arithmetic"]
)
@pytest.mark.parametrize("name", ["a", "b"])
def test_one_adapter_at_weight_one_is_itself(yard: Path, tmp_path: Path, method: str, name: str) -> None:
    api.merge_adapters([yard / name], tmp_path / "out", method=method)
    old, new = (load_file(folder / "adapter_model.safetensors") for folder in (yard / name, tmp_path / "out"))
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key], new[key]) for key in old)
    first, second = (open_adapter_folder(folder, "x") for folder in (yard / name, tmp_path / "out"))
    for module, change in first.changes.items():
        assert second.changes[module].scale == pytest.approx(change.scale, rel=1e-15)
    assert torch.equal(
        logits(merged_by_peft(yard / "base", yard / name)), logits(merged_by_peft(yard / "base", tmp_path / "out"))
    )


def test_order_does_not_matter_and_weights_scale(yard: Path, tmp_path: Path) -> None:
    api.merge_adapters([yard / "a", yard / "b"], tmp_path / "ab", weights=[0.7, 0.3], method="svd", rank=8)
    api.merge_adapters([yard / "b", yard / "a"], tmp_path / "ba", weights=[0.3, 0.7], method="svd", rank=8)
    api.merge_adapters([yard / "a", yard / "b"], tmp_path / "twice", weights=[1.4, 0.6], method="svd", rank=8)
    close(deltas(tmp_path / "ab"), deltas(tmp_path / "ba"))
    close({k: 2 * v for k, v in deltas(tmp_path / "ab").items()}, deltas(tmp_path / "twice"))


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_svd_tells_its_error(yard: Path, tmp_path: Path, rank: int) -> None:
    found = api.merge_adapters([yard / "a", yard / "b"], tmp_path / "out", method="svd", rank=rank)
    want, have = mixed([deltas(yard / "a"), deltas(yard / "b")], [1.0, 1.0]), deltas(tmp_path / "out")
    for one in found.modules:
        error = float((want[one.module] - have[one.module]).norm() / want[one.module].norm())
        assert one.error == pytest.approx(error, abs=1e-6)
        best = torch.linalg.svdvals(want[one.module])[rank:].norm() / want[one.module].norm()
        assert one.error == pytest.approx(float(best), abs=1e-6)


@pytest.mark.parametrize("method", ["ties", "dare_ties", "dare_linear", "linear", "della"])
def test_methods_run_on_the_change_itself(yard: Path, tmp_path: Path, method: str) -> None:
    settings = {} if method == "linear" else {"density": 0.6}
    rank = 40
    api.merge_adapters(
        [yard / "a", yard / "b"], tmp_path / "out", method=method, weights=[0.8, 0.5], rank=rank, **settings
    )
    a, b, have = deltas(yard / "a"), deltas(yard / "b"), deltas(tmp_path / "out")
    for module, delta in have.items():
        zero = torch.zeros_like(delta)
        given = [a.get(module, zero), b.get(module, zero)]
        base = {} if method == "linear" else {"base": zero}
        names = [str(yard / "a"), str(yard / "b")]
        how = {"names": names, "tensor_name": f"{module}.weight", **base, **settings}
        want = methods.get(method)(given, weight=[0.8, 0.5], **how)
        assert torch.allclose(delta, want, atol=1e-6), module


@pytest.mark.parametrize("density", [1.0, 0.5])
def test_knots_is_the_method_of_that_name(yard: Path, tmp_path: Path, density: float) -> None:
    api.merge_adapters([yard / "c", yard / "d"], tmp_path / "out", method="knots", weights=[0.8, 0.5], density=density)
    c, d, have = deltas(yard / "c"), deltas(yard / "d"), deltas(tmp_path / "out")
    for module, delta in have.items():
        base = torch.zeros_like(delta)
        want = methods.get("knots")([c[module], d[module]], base=base, weight=[0.8, 0.5], density=density)
        assert torch.allclose(delta, want, atol=1e-6), module


def test_core_space_of_a_sum_is_the_sum(yard: Path, tmp_path: Path) -> None:
    how = {"method": "core-space", "inner": "task_arithmetic", "weights": [0.8, -0.5]}
    api.merge_adapters([yard / "a", yard / "b"], tmp_path / "out", **how)  # type: ignore[arg-type]
    close(deltas(tmp_path / "out"), mixed([deltas(yard / "a"), deltas(yard / "b")], [0.8, -0.5]))


@pytest.mark.parametrize(
    ("kind", "density"), [("linear", None), ("ties", 0.5), ("magnitude_prune", 0.5), ("dare_linear", 1.0)]
)
def test_pefts_arithmetic_by_name_is_pefts(yard: Path, tmp_path: Path, kind: str, density: float | None) -> None:
    from peft import PeftModel

    settings = {} if density is None else {"density": density}
    api.merge_adapters(
        [yard / "c", yard / "d"], tmp_path / "out", method=f"peft-{kind}", weights=[0.7, -0.2], **settings
    )
    with unwarned():
        model = PeftModel.from_pretrained(load_base(yard / "base"), str(yard / "c"), adapter_name="c")
        model.load_adapter(str(yard / "d"), adapter_name="d")
        model.add_weighted_adapter(["c", "d"], [0.7, -0.2], "m", combination_type=kind, **settings)
        model.set_adapter("m")
    have = load_file(tmp_path / "out" / "adapter_model.safetensors")
    for name, value in model.state_dict().items():
        if ".m." in name:
            assert torch.allclose(have[name.replace(".m.", ".")], value, atol=1e-6), name
    assert torch.allclose(
        logits(merged_by_peft(yard / "base", tmp_path / "out")), logits(model.merge_and_unload()), atol=1e-5
    )


@pytest.mark.parametrize("name", ["conv1d", "embedding", "saved", "head"])
def test_other_kinds_of_modules_load_in_peft(tmp_path: Path, name: str) -> None:
    kind, settings = ADAPTERS[name]
    base = write_base(kind, tmp_path / "base")
    for seed, label in enumerate("ab", 1):
        train_adapter(base, tmp_path / label, seed=seed, **settings)
    api.merge_adapters([tmp_path / "a", tmp_path / "b"], tmp_path / "out", weights=[0.5, 0.5])
    one, two = (merged_by_peft(base, tmp_path / label).state_dict() for label in "ab")
    have = merged_by_peft(base, tmp_path / "out").state_dict()
    for key, value in have.items():
        assert torch.allclose(value, (one[key] + two[key]) / 2, atol=1e-5), key


def test_dora_is_never_taken_for_lora(tmp_path: Path) -> None:
    kind, settings = ADAPTERS["dora"]
    base = write_base(kind, tmp_path / "base")
    train_adapter(base, tmp_path / "dora", **settings)
    with pytest.raises(InputError) as caught:
        api.merge_adapters([tmp_path / "dora"], tmp_path / "out")
    assert caught.value.code == "no-low-rank"
    assert "--base" in str(caught.value)
    assert not (tmp_path / "out").exists()


def damaged(yard: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((yard / "a" / "adapter_config.json").read_bytes())
    tensors = load_file(yard / "a" / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("name", ["dora", "conv1d-dora"])
def test_dora_on_its_base_is_what_peft_merges(tmp_path: Path, name: str) -> None:
    kind, settings = ADAPTERS[name]
    base = write_base(kind, tmp_path / "base")
    train_adapter(base, tmp_path / "dora", **settings)
    found = api.merge_adapters([tmp_path / "dora"], tmp_path / "out", base=base)
    merged = merged_by_peft(base, tmp_path / "dora")
    assert torch.allclose(logits(merged_by_peft(base, tmp_path / "out")), logits(merged), atol=1e-5)
    assert not torch.allclose(logits(load_base(base)), logits(merged), atol=1e-3)
    assert found.record["base"]["model"] == str(base)
    half = api.merge_adapters([tmp_path / "dora"], tmp_path / "half", base=base, weights=[0.5])
    assert [one.norm for one in half.modules] == pytest.approx([one.norm / 2 for one in found.modules])


def test_dora_on_another_base_is_refused(yard: Path, tmp_path: Path) -> None:
    kind, settings = ADAPTERS["dora"]
    base = write_base(kind, tmp_path / "base")
    train_adapter(base, tmp_path / "dora", **settings)
    narrow = write_base(kind, tmp_path / "narrow", hidden_size=8, intermediate_size=24)
    with pytest.raises(InputError) as caught:
        api.merge_adapters([tmp_path / "dora"], tmp_path / "out", base=narrow)
    assert set(caught.value.codes) == {"adapter-mismatch"}
    with pytest.raises(InputError, match="passes over the lengths"):
        api.merge_adapters([tmp_path / "dora"], tmp_path / "out", base=base, method="peft-linear")
    assert not (tmp_path / "out").exists()


def test_what_a_method_does_not_take_is_told_before_any_adapter_is_merged(yard: Path, tmp_path: Path) -> None:
    def told(**how: Any) -> tuple[str, ...]:
        seen: list[int] = []
        with pytest.raises(UsageError) as caught:
            api.merge_adapters([yard / "a", yard / "b"], tmp_path / "out", progress=lambda n, _: seen.append(n), **how)
        assert not seen
        assert not (tmp_path / "out").exists()
        return caught.value.codes

    assert told(method="knots", density=1.5) == ("out-of-range",)
    assert told(method="knots", densty=0.5) == ("unknown-parameter",)
    assert told(method="ties", density=-1) == ("out-of-range",)
    assert told(method="cat", density=0.5, lambda_=2.0) == ("unknown-parameter", "unknown-parameter")
    assert told(method="peft-ties", density=0) == ("out-of-range",)


def test_ranks_and_weights_that_cannot_be_added_up_are_told_together(yard: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        api.merge_adapters([yard / "a", yard / "b"], tmp_path / "out", method="peft-linear")
    assert caught.value.codes == ("adapter-mismatch",) * 2  # q_proj of two layers has rank 2 and 3
    kind, settings = ADAPTERS["saved"]
    base = write_base(kind, tmp_path / "base")
    for seed in (1, 2):
        train_adapter(base, tmp_path / f"s{seed}", seed=seed, **settings)
    with pytest.raises(InputError) as caught:
        api.merge_adapters([tmp_path / "s1", tmp_path / "s2"], tmp_path / "out", weights=[1, -1])
    assert caught.value.codes == ("zero-weight-sum",)


def test_all_matrices_that_are_not_finite_are_told(yard: Path, tmp_path: Path) -> None:
    tensors = load_file(yard / "base" / "model.safetensors")
    names = [name for name in tensors if "q_proj" in name]
    for name in names:
        tensors[name][0, 0] = float("nan")
    shutil.copytree(yard / "base", tmp_path / "bad")
    save_file(tensors, tmp_path / "bad" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        api.extract_adapter(tmp_path / "bad", yard / "base", tmp_path / "out", rank=1)
    assert caught.value.codes == ("non-finite",) * len(names)
    assert [fault.subject for fault in caught.value.faults] == names


def test_adapters_of_other_bases_and_nan_are_refused(yard: Path, tmp_path: Path) -> None:
    def wider(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if "q_proj.lora_A" in key]:
            tensors[key] = torch.zeros(tensors[key].shape[0], tensors[key].shape[1] + 1)

    def spoilt(tensors: dict[str, torch.Tensor]) -> None:
        next(iter(tensors.values()))[0, 0] = float("nan")

    for name, change, code in (("wide", wider, "adapter-mismatch"), ("nan", spoilt, "bad-adapter")):
        other = damaged(yard, tmp_path / name, change)
        with pytest.raises(InputError) as caught:
            api.merge_adapters([yard / "b", other], tmp_path / "out", weights=[1, 1])
        assert code in caught.value.codes
        assert not (tmp_path / "out").exists()


def test_wrong_settings_are_told_at_once(yard: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        api.merge_adapters([yard / "a"], tmp_path / "out", method="tise", weights=[1, 2], rank=0)
    assert caught.value.codes == ("unknown-method", "bad-argument", "bad-argument")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("x")
    with pytest.raises(OutputExists):
        api.merge_adapters([yard / "a"], tmp_path / "there")


@pytest.fixture(scope="module")
def tuned(yard: Path) -> Path:
    """The base with `a` merged by peft and written out."""
    with unwarned():
        merged_by_peft(yard / "base", yard / "a").save_pretrained(str(yard / "tuned"))
    return yard / "tuned"


def test_extracting_a_merged_lora_finds_it(yard: Path, tuned: Path, tmp_path: Path) -> None:
    found = api.extract_adapter(tuned, yard / "base", tmp_path / "out", energy=0.999999)
    ranks = {one.module: one.rank for one in found.modules}
    assert {module.rpartition(".")[2]: rank for module, rank in ranks.items()} == {"q_proj": 2, "up_proj": 4}
    close(deltas(tmp_path / "out"), deltas(yard / "a"), 1e-3)
    assert torch.allclose(logits(merged_by_peft(yard / "base", tmp_path / "out")), logits(load_base(tuned)), atol=1e-4)


def test_extracting_tells_its_error(yard: Path, tuned: Path, tmp_path: Path) -> None:
    found = api.extract_adapter(tuned, yard / "base", tmp_path / "out", rank=1)
    old, new = load_base(yard / "base").state_dict(), load_base(tuned).state_dict()
    have = deltas(tmp_path / "out")
    for one in found.modules:
        wanted = new[f"{one.module}.weight"].double() - old[f"{one.module}.weight"].double()
        assert one.error == pytest.approx(float((wanted - have[one.module]).norm() / wanted.norm()), rel=1e-4)
    assert json.loads((tmp_path / "out" / "cuvee.json").read_text())["made_by"] == "lora extract"


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama"])
def test_full_finetunes_come_back(tmp_path: Path, kind: str) -> None:
    """Everything changed: matrices to full rank, norms and embeddings whole, biases stored."""
    base = write_base(kind, tmp_path / "base")
    model = load_base(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if kind != "gpt2" or "wte" not in name:  # its head is tied: see the next test
                parameter.add_(torch.randn_like(parameter) * 0.02)
    with unwarned():
        model.save_pretrained(str(tmp_path / "tuned"))
    with pytest.raises(InputError) as caught:
        api.extract_adapter(tmp_path / "tuned", base, tmp_path / "out", rank=64)
    assert set(caught.value.codes) == {"no-low-rank"}
    how: dict[str, Any] = {
        "save": ("(?i)norm|ln_|wte|wpe|embed|lm_head",),
        "save_bias": True,
        "leave": ("position_ids",),
    }
    api.extract_adapter(tmp_path / "tuned", base, tmp_path / "out", rank=64, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = merged_by_peft(base, tmp_path / "out")
    assert torch.allclose(logits(found), logits(model), atol=1e-4)


def test_a_tied_embedding_is_refused_unasked(tmp_path: Path) -> None:
    base, other = write_base("gpt2", tmp_path / "base"), write_base("gpt2", tmp_path / "other", seed=1)
    how: dict[str, Any] = {"rank": 4, "save": ("wpe|ln_",), "save_bias": True, "embed_lora": True}
    with pytest.raises(InputError) as caught:
        api.extract_adapter(other, base, tmp_path / "out", **how)
    assert [fault.subject for fault in caught.value.faults] == ["transformer.wte.weight"]


def test_another_vocabulary_is_told(yard: Path, tmp_path: Path) -> None:
    other = write_base("llama", tmp_path / "other", vocab_size=50)
    with pytest.raises(InputError) as caught:
        api.extract_adapter(other, yard / "base", tmp_path / "out", rank=2)
    assert "vocabulary-mismatch" in caught.value.codes
