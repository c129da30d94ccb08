"""RegMean++: inputs that went through merged layers, beside a sweep written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import cuvee
from cuvee.checkpoint import read_statistics
from cuvee.errors import InputError
from tests.support.calibration import TEXTS, load, make_model, tokens_of, write_lines

PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


def half(path: Path, first: bool) -> Path:
    """Some of the texts: each model has data of its own."""
    return write_lines(path, [{"text": text} for text in (TEXTS[:3] if first else TEXTS[2:])])


def ids_of(folder: Path, first: bool) -> list[Tensor]:
    return tokens_of(folder)[:3] if first else tokens_of(folder)[2:]


def grams(model: Any, batches: list[Tensor], modules: list[str]) -> dict[str, Tensor]:
    """Means of x xᵀ from whole forward passes."""
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _m, given, _out, keep=seen[name].append: keep(given[0].reshape(-1, given[0].shape[-1]).double())
        )
        for name in modules
    ]
    with torch.no_grad():
        for ids in batches:
            model(input_ids=ids)
    for handle in handles:
        handle.remove()
    return {name: (x := torch.cat(rows)).T @ x / len(x) for name, rows in seen.items()}


def by_hand(folders: list[Path], alpha: float) -> list[dict[str, Tensor]]:
    """Layer by layer: gather with own layer behind merged ones, solve, put the merged layer in."""
    models = [load(folder) for folder in folders]
    data = [ids_of(folder, number == 0) for number, folder in enumerate(folders)]
    found: list[dict[str, Tensor]] = [{}, {}]

    def put(name: str, value: Tensor) -> None:
        for model in models:
            model.get_parameter(name).data.copy_(value)

    def average(name: str) -> None:
        put(name, sum(model.get_parameter(name).data.double() for model in models) / 2)

    average("model.embed_tokens.weight")
    average("model.norm.weight")
    for layer in ("model.layers.0", "model.layers.1", ""):
        modules = [f"{layer}.{part}" for part in (*PARTS, *MLP)] if layer else ["lm_head"]
        seen = [grams(model, batches, modules) for model, batches in zip(models, data)]
        for own, kept in zip(seen, found):
            kept.update({f"{name}.weight": gram for name, gram in own.items()})
        for name in modules:
            damped = [alpha * g[name] + (1 - alpha) * torch.diag(g[name].diagonal()) for g in seen]
            right = sum(m.get_parameter(f"{name}.weight").data.double() @ g for m, g in zip(models, damped))
            put(f"{name}.weight", right @ torch.linalg.inv(sum(damped)))
        if layer:
            average(f"{layer}.input_layernorm.weight")
            average(f"{layer}.post_attention_layernorm.weight")
    return found


def run(folders: list[Path], tmp_path: Path, **settings: Any) -> tuple[Any, ...]:
    data = [half(tmp_path / "first.jsonl", True), half(tmp_path / "second.jsonl", False)]
    return cuvee.collect(folders, data=data, out=tmp_path / "out", through_merged=True, **settings)


def test_it_equals_a_sweep_by_hand(tmp_path: Path) -> None:
    folders = [make_model(tmp_path / name, "llama", seed) for seed, name in enumerate("ab")]
    made = run(folders, tmp_path, alpha=0.5)
    assert [one.path.name for one in made] == ["a.gram.safetensors", "b.gram.safetensors"]
    for one, expected in zip(made, by_hand(folders, 0.5)):
        found = load_file(one.path)
        assert found.keys() == expected.keys()
        for name, gram in expected.items():
            torch.testing.assert_close(found[name].double(), gram, rtol=1e-3, atol=1e-5, msg=name)
        assert '"alpha": 0.5' in read_statistics(one.path).metadata["through_merged"]


def test_the_first_layer_sees_averaged_embeddings_and_a_model_with_itself_what_it_sees_alone(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "a", "gpt2")
    make_model(tmp_path / "b", "gpt2")
    data = half(tmp_path / "data.jsonl", True)
    made = cuvee.collect([folder, tmp_path / "b"], data=data, out=tmp_path / "out", through_merged=True, ridge=1e-6)
    (alone,) = cuvee.collect(folder, data=data, out=tmp_path / "alone.safetensors")
    expected = load_file(alone.path)
    assert made[0].path.read_bytes() != alone.path.read_bytes()  # it says how it was made
    found = load_file(made[0].path)
    assert found.keys() == expected.keys()
    for name, gram in expected.items():
        torch.testing.assert_close(found[name], gram, rtol=1e-3, atol=1e-4, msg=name)
    assert read_statistics(made[0].path).transposed == read_statistics(alone.path).transposed != frozenset()


def test_heads_of_different_tasks_stay_each_models_own(tmp_path: Path) -> None:
    folders = [make_model(tmp_path / "a", "bert classifier"), make_model(tmp_path / "b", "bert of five classes")]
    made = run(folders, tmp_path)
    for one in made:
        assert "classifier.weight" in one.tensors
        assert load_file(one.path)["classifier.weight"].shape == (16, 16)


def test_models_that_differ_in_their_layers_are_refused(tmp_path: Path) -> None:
    folders = [make_model(tmp_path / "a", "llama"), make_model(tmp_path / "b", "llama tied")]
    with pytest.raises(InputError) as caught:
        run(folders, tmp_path)
    assert set(caught.value.codes) == {"shape-mismatch"}
    assert not (tmp_path / "out").exists()
