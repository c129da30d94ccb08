"""Every architecture of the zoo, merged: every tensor is there, and the model is the one expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import cuvee
from cuvee.errors import InputError
from tests.support.lanes import every_other
from tests.support.zoo import (
    PLAIN,
    ZOO,
    Cellar,
    Entry,
    save,
    stored,
    ties_of,
    write_by_hand,
    write_legacy,
    write_sharded,
    write_tokenizer,
)

TRANSFORMERS = [name for name in ZOO if ZOO[name] is not PLAIN]
WITH_BASE = ["llama with biases", "bert masked", "t5 gated", "llava", "whisper", "deepseek-v3", PLAIN.name]


@dataclass(frozen=True)
class Merged:
    """A merge of two models of the zoo: its inputs, the folder it wrote, what it returned."""

    entry: Entry
    a: Path
    b: Path
    out: Path
    result: Any


def linear(a: Path, b: Path, weights: tuple[float, float], **more: Any) -> dict[str, Any]:
    """A linear recipe of two models."""
    models = [{"model": str(path), "parameters": {"weight": w}} for path, w in zip((a, b), weights)]
    return {"merge_method": "linear", "models": models, **more}


def merged(name: str, cellar: Cellar, weights: tuple[float, float]) -> Merged:
    """A linear merge of two models of one architecture."""
    a, b = cellar.model(name, 1), cellar.model(name, 2)
    out = cellar.root / f"{name} {weights}"
    return Merged(ZOO[name], a, b, out, cuvee.merge(linear(a, b, weights), out))


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module", params=list(ZOO))
def all_a(request: pytest.FixtureRequest, cellar: Cellar) -> Merged:
    """1.0 · A + 0.0 · B."""
    return merged(request.param, cellar, (1.0, 0.0))


def assert_loads(entry: Entry, source: Path) -> Any:
    """Load a model; nothing may be missing, left over or of another shape."""
    model, account = entry.load(source)
    faults = {key: value for key, value in account.items() if value}
    assert not faults
    return model


def assert_same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same names, and under each the same dtype, shape and values."""
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name], tensor), name


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-6) -> None:
    """The same names, and under each the same dtype and nearly the same values."""
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=1e-6, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


# --- the zoo itself


@pytest.mark.parametrize("name", every_other(ZOO))
def test_two_seeds_differ_in_every_float_tensor(name: str, cellar: Cellar) -> None:
    a, b = stored(cellar.model(name, 1)), stored(cellar.model(name, 2))
    same = [key for key in a if a[key].is_floating_point() and (a[key] == b[key]).any()]
    assert not same


@pytest.mark.parametrize("name", every_other(ZOO))
def test_one_seed_gives_one_model(name: str, cellar: Cellar, tmp_path: Path) -> None:
    assert_same_tensors(stored(save(ZOO[name], 1, tmp_path)), stored(cellar.model(name, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_an_input_tells_two_models_apart(name: str, cellar: Cellar) -> None:
    entry = ZOO[name]
    a, b = (entry.logits(assert_loads(entry, cellar.model(name, seed))) for seed in (1, 2))
    assert all(not torch.allclose(x, y, atol=1e-2) for x, y in zip(a, b))


# --- weight 1 and weight 0


def test_a_model_at_weight_one_is_stored_as_it_was(all_a: Merged) -> None:
    assert_same_tensors(stored(all_a.out), stored(all_a.a))


def test_every_tensor_is_accounted_for(all_a: Merged) -> None:
    floats = [tensor.is_floating_point() for tensor in stored(all_a.a).values()]
    counts = {"merged": sum(floats), "copied": len(floats) - sum(floats), "tied": 0, "lost": 0, "left_out": 0}
    assert all_a.result.record["counts"] == counts
    assert (all_a.result.merged, all_a.result.copied) == (counts["merged"], counts["copied"])


def test_the_files_beside_the_weights_are_copied_byte_for_byte(all_a: Merged) -> None:
    folder = all_a.a if all_a.a.is_dir() else None
    names = [p.name for p in folder.glob("*.json")] if folder else []
    assert {n: (all_a.out / n).read_bytes() for n in names} == {n: (all_a.a / n).read_bytes() for n in names}
    assert (all_a.out / "config.json").exists() == ("config.json" in names)


def test_a_model_at_weight_one_loads_and_answers_as_it_did(all_a: Merged) -> None:
    entry = all_a.entry
    found, expected = (entry.logits(assert_loads(entry, source)) for source in (all_a.out, all_a.a))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


# --- averages


@pytest.mark.parametrize("name", every_other(ZOO))
def test_linear_is_the_average_of_the_stored_tensors(name: str, cellar: Cellar) -> None:
    merge = merged(name, cellar, (0.3, 0.7))
    a, b = stored(merge.a), stored(merge.b)
    assert_near(stored(merge.out), {key: average(a[key], b[key], 0.3, 0.7) for key in a})
    assert_loads(merge.entry, merge.out)


def average(x: Tensor, y: Tensor, wx: float, wy: float) -> Tensor:
    """Weighted mean in float32; integers, which the two models share, as they are."""
    return (wx * x.float() + wy * y.float()).to(x.dtype) if x.is_floating_point() else x


@pytest.mark.parametrize("name", every_other(WITH_BASE))
def test_task_arithmetic_adds_deltas_to_the_base(name: str, cellar: Cellar, tmp_path: Path) -> None:
    base, a, b = (cellar.model(name, seed) for seed in (0, 1, 2))
    recipe = {**linear(a, b, (0.5, -0.3)), "merge_method": "task_arithmetic", "base_model": str(base)}
    cuvee.merge(recipe, tmp_path / "out")
    t0, t1, t2 = stored(base), stored(a), stored(b)
    floats = {key: t0[key] + 0.5 * (t1[key] - t0[key]) - 0.3 * (t2[key] - t0[key]) for key in t0}
    assert_near(stored(tmp_path / "out"), {k: v if t0[k].is_floating_point() else t0[k] for k, v in floats.items()})
    assert_loads(ZOO[name], tmp_path / "out")


# --- other ways to store the same model


@pytest.mark.parametrize("name", ["llama", "mixtral", "t5", "clip"])
def test_a_sharded_model_is_read_whole(name: str, cellar: Cellar, tmp_path: Path) -> None:
    entry, a, b = ZOO[name], tmp_path / "a", cellar.model(name, 2)
    write_sharded(entry.build(1), a)
    assert len(list(a.glob("*.safetensors"))) > 2
    cuvee.merge(linear(a, b, (1.0, 0.0)), tmp_path / "out")
    assert_same_tensors(stored(tmp_path / "out"), stored(cellar.model(name, 1)))


def test_a_sharded_output_loads(cellar: Cellar, tmp_path: Path) -> None:
    a, b = cellar.model("llama", 1), cellar.model("llama", 2)
    cuvee.merge(linear(a, b, (1.0, 0.0)), tmp_path / "out", shard_size="8KB")
    assert len(list((tmp_path / "out").glob("model-*-of-*.safetensors"))) > 2
    assert_same_tensors(stored(tmp_path / "out"), stored(a))
    found, expected = (ZOO["llama"].logits(assert_loads(ZOO["llama"], s)) for s in (tmp_path / "out", a))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "qwen2", "bert masked", "gpt2", "t5", "mixtral", "vit"])
def test_a_pickled_model_is_written_as_safetensors(name: str, tmp_path: Path) -> None:
    """Old tools stored tied tensors under both names; whichever names are kept, the model is the same."""
    entry = ZOO[name]
    a, b = (write_legacy(entry.build(seed), tmp_path / str(seed)) for seed in (1, 2))
    cuvee.merge(linear(a, b, (1.0, 0.0)), tmp_path / "out")
    found, model = stored(tmp_path / "out"), entry.build(1)
    pickled = torch.load(a / "pytorch_model.bin", weights_only=True)
    assert set(pickled) - set(ties_of(model)) <= set(found) <= set(pickled)
    assert_same_tensors(found, {key: pickled[key] for key in found})
    again = assert_loads(entry, tmp_path / "out")
    torch.testing.assert_close(entry.logits(again), entry.logits(model), rtol=1e-5, atol=1e-5)


def test_bfloat16_is_averaged_in_float32_and_rounded_once(tmp_path: Path) -> None:
    entry = ZOO["llama"]
    a, b = (entry.write(entry.build(seed).to(torch.bfloat16), tmp_path / str(seed)) for seed in (1, 2))
    cuvee.merge(linear(a, b, (0.3, 0.7)), tmp_path / "out")
    ta, tb = stored(a), stored(b)
    assert_same_tensors(stored(tmp_path / "out"), {key: average(ta[key], tb[key], 0.3, 0.7) for key in ta})


def test_a_tokenizer_travels_with_the_model(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    a, b = (save(ZOO["llama"], seed, tmp_path / str(seed)) for seed in (1, 2))
    write_tokenizer(a)
    cuvee.merge(linear(a, b, (0.5, 0.5)), tmp_path / "out")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (a / name).read_bytes(), name
    text = "merge the wines"
    found, expected = (AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in (tmp_path / "out", a))
    assert found == expected != []


# --- tensors that no class of transformers asks for


def test_a_tensor_that_transformers_ignores_is_kept(cellar: Cellar, tmp_path: Path) -> None:
    """Old checkpoints hold rotary tables and masks that newer classes compute."""
    name, folders = "model.layers.0.self_attn.rotary_emb.inv_freq", []
    for seed in (1, 2):
        model = cellar.model("llama", seed)
        extra = {name: torch.arange(4) * float(seed), "model.layers.1.mask": torch.ones(2, 2, dtype=torch.bool)}
        folders.append(write_by_hand(model, {**stored(model), **extra}, tmp_path / str(seed)))
    result = cuvee.merge(linear(folders[0], folders[1], (0.5, 0.5)), tmp_path / "out")
    found = stored(tmp_path / "out")
    assert torch.equal(found[name], torch.arange(4) * 1.0)  # no weight: taken from the first
    assert found["model.layers.1.mask"].dtype == torch.bool
    assert found["model.layers.1.mask"].all()
    assert result.merged + result.copied == len(found) == len(stored(folders[0]))


def test_integers_that_differ_are_refused(tmp_path: Path) -> None:
    paths = [save(PLAIN, seed, tmp_path / str(seed)) for seed in (1, 2)]
    for number, path in enumerate(paths):
        save_file({**stored(path), "relative_position_index": torch.arange(4) + number}, path)
    with pytest.raises(InputError) as caught:
        cuvee.merge(linear(paths[0], paths[1], (0.5, 0.5)), tmp_path / "out")
    assert caught.value.codes == ("unmergeable-dtype",)
    assert caught.value.faults[0].subject == "relative_position_index"
    assert not (tmp_path / "out").exists()


def test_a_count_of_training_steps_is_the_first_models(tmp_path: Path) -> None:
    """Two fine-tunes never have equal counts in their batch norms, which use them for nothing at inference."""
    paths = [save(PLAIN, seed, tmp_path / str(seed)) for seed in (1, 2)]
    for number, path in enumerate(paths):
        save_file({**stored(path), "1.num_batches_tracked": torch.tensor(70 + number)}, path)
    cuvee.merge(linear(paths[0], paths[1], (0.5, 0.5)), tmp_path / "out")
    assert stored(tmp_path / "out")["1.num_batches_tracked"] == 70


def test_a_tied_and_an_untied_model_make_an_untied_one(cellar: Cellar, tmp_path: Path) -> None:
    """The tied model's head is its embedding."""
    entry, a, b = ZOO["qwen2"], cellar.model("qwen2", 1), tmp_path / "b"
    entry.write(entry.build(2, tie_word_embeddings=False), b)
    cuvee.merge(linear(a, b, (0.5, 0.5)), tmp_path / "out")
    first, second = stored(a), stored(b)
    first["lm_head.weight"] = first["model.embed_tokens.weight"]
    by_hand = {key: average(first[key], second[key], 0.5, 0.5) for key in second}
    assert_near(stored(tmp_path / "out"), by_hand)
    model = assert_loads(entry, tmp_path / "out")
    expected = assert_loads(entry, write_by_hand(b, by_hand, tmp_path / "by hand"))
    torch.testing.assert_close(entry.logits(model), entry.logits(expected), rtol=1e-5, atol=1e-5)


def test_a_plain_pickle_is_a_model_too(cellar: Cellar, tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        paths.append(tmp_path / f"{seed}.pth")
        torch.save(stored(cellar.model(PLAIN.name, seed)), paths[-1])
    cuvee.merge(linear(paths[0], paths[1], (1.0, 0.0)), tmp_path / "out")
    assert_same_tensors(stored(tmp_path / "out"), stored(cellar.model(PLAIN.name, 1)))
