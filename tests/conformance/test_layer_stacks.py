"""Stacks of layers: the result loads, has the layers asked for in their order, and answers as one built by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from cuvee.errors import CuveeError
from tests.support.lanes import every_other, rarely
from tests.support.stacks import (
    LAYERS,
    PREFIX,
    STORED_PREFIX,
    Cut,
    Pair,
    is_dense,
    pair,
    picked,
    recipe,
    stack_by_hand,
    stack_of,
)
from tests.support.zoo import ZOO, Cellar, stored, write_by_hand, write_legacy

FIVE: tuple[Cut, ...] = (("a", 0, 2), ("b", 1, 4))
PATTERNED = ["qwen2", "qwen3", "gemma2", "gemma3 text", "cohere2", "gpt-oss", "modernbert"]
ONE_MODEL = {
    "prune": (("a", 0, 1), ("a", 2, 4)),
    "drop the first": (("a", 1, 4),),
    "repeat": (("a", 0, 2), ("a", 1, 2), ("a", 1, 4)),
    "reorder": (("a", 0, 1), ("a", 2, 3), ("a", 1, 2), ("a", 3, 4)),
}


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("stacks"))


def assert_is_the_stack(name: str, two: Pair, cuts: Sequence[Cut], out: Path) -> Any:
    """The stored stack loads whole, holds the sources' tensors and answers as the stack by hand; returns its config."""
    model, account = two.entry.load(out)
    assert not {key: value for key, value in account.items() if value}
    expected = stack_of({key: stored(path) for key, path in two.paths.items()}, STORED_PREFIX[name], cuts)
    assert_same_tensors(stored(out), expected)
    models = two.models
    assert model.config.num_hidden_layers == len(picked(cuts))
    wanted = two.entry.logits(stack_by_hand(name, models, cuts))
    torch.testing.assert_close(two.entry.logits(model), wanted, rtol=1e-5, atol=1e-5)
    return model.config


def assert_same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert sorted(found) == sorted(expected)
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


# --- the stack asked for


@pytest.mark.parametrize("name", every_other(PREFIX))
def test_a_stack_of_two_models_is_the_one_built_by_hand(name: str, cellar: Cellar, tmp_path: Path) -> None:
    two = pair(name, cellar)
    cuvee.merge(recipe(two.paths, FIVE), tmp_path / "out")
    config = assert_is_the_stack(name, two, FIVE, tmp_path / "out")
    assert config.num_hidden_layers == 5


@pytest.mark.parametrize("way", ONE_MODEL)
@pytest.mark.parametrize(
    "name",
    [
        "llama",
        "gemma3 text",
        "gpt2",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("qwen3", "gemma2", "bert masked")),
    ],
)
def test_layers_of_one_model_are_dropped_repeated_and_moved(
    name: str, way: str, cellar: Cellar, tmp_path: Path
) -> None:
    two = pair(name, cellar)
    cuvee.merge(recipe(two.paths, ONE_MODEL[way]), tmp_path / "out")
    assert_is_the_stack(name, two, ONE_MODEL[way], tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", PREFIX)
def test_the_order_of_layers_matters_to_the_answer(name: str, cellar: Cellar) -> None:
    """Else a stack in the wrong order would pass for the right one."""
    models = pair(name, cellar).models
    cuts = FIVE, (("a", 0, 1), ("b", 1, 2), ("a", 1, 2), ("b", 2, 4))
    one, other = (ZOO[name].logits(stack_by_hand(name, models, cut)) for cut in cuts)
    assert not torch.allclose(one[0], other[0], atol=1e-3)


def test_only_what_the_stack_changes_is_changed_in_the_configuration(cellar: Cellar, tmp_path: Path) -> None:
    two = pair("gemma3 text", cellar)
    cuvee.merge(recipe(two.paths, FIVE), tmp_path / "out")
    before, after = (json.loads((p / "config.json").read_text()) for p in (two.paths["a"], tmp_path / "out"))
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed == {"num_hidden_layers", "layer_types"}
    assert list(before) == list(after)


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "bert masked"])
def test_pickled_models_with_tied_copies_are_stacked(name: str, cellar: Cellar, tmp_path: Path) -> None:
    """The second model's copy of its own embedding must not become the head of the stack."""
    two, entry = pair(name, cellar), ZOO[name]
    pickled = {key: write_legacy(entry.build(seed, LAYERS), tmp_path / key) for key, seed in (("a", 1), ("b", 2))}
    cuvee.merge(recipe(pickled, FIVE), tmp_path / "out")
    found, account = entry.load(tmp_path / "out")
    assert not {key: value for key, value in account.items() if value}
    wanted = entry.logits(stack_by_hand(name, two.models, FIVE))
    torch.testing.assert_close(entry.logits(found), wanted, rtol=1e-5, atol=1e-5)


def test_a_model_stored_without_the_prefix_of_its_class_is_stacked(cellar: Cellar, tmp_path: Path) -> None:
    """GPT-2 on the hub: no `transformer.` before the names, and the attention masks stored as buffers."""
    two, bare = pair("gpt2", cellar), {}
    for key, path in two.paths.items():
        tensors = {name.removeprefix("transformer."): tensor for name, tensor in stored(path).items()}
        masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 40, 40).tril() for i in range(LAYERS)}
        bare[key] = write_by_hand(path, {**tensors, **masks}, tmp_path / key)
    cuvee.merge(recipe(bare, FIVE), tmp_path / "out")
    assert sorted(stored(tmp_path / "out")) == sorted(stack_of({k: stored(p) for k, p in bare.items()}, "h", FIVE))
    found, account = two.entry.load(tmp_path / "out")
    assert not account["missing_keys"]
    wanted = two.entry.logits(stack_by_hand("gpt2", two.models, FIVE))
    torch.testing.assert_close(two.entry.logits(found), wanted, rtol=1e-5, atol=1e-5)


# --- what a configuration says of each layer


@pytest.mark.parametrize("name", PATTERNED)
def test_layer_types_follow_the_layers_of_both_models(name: str, cellar: Cellar, tmp_path: Path) -> None:
    """The second model has its full and its windowed attention the other way round."""
    two = pair(name, cellar)
    types = json.loads((two.paths["b"] / "config.json").read_text())["layer_types"]
    turned = {"full_attention": "sliding_attention", "sliding_attention": "full_attention"}
    other = write_by_hand(
        two.paths["b"], stored(two.paths["b"]), tmp_path / "b", layer_types=[turned[t] for t in types]
    )
    mixed = Pair(two.entry, {"a": two.paths["a"], "b": other})
    cuvee.merge(recipe(mixed.paths, FIVE), tmp_path / "out")
    config = assert_is_the_stack(name, mixed, FIVE, tmp_path / "out")
    assert config.layer_types == types[:2] + [turned[t] for t in types[1:]]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("gemma2", {}),
        ("gemma3 text", {"sliding_window_pattern": 3}),
        ("cohere2", {"sliding_window_pattern": 2}),
        ("modernbert", {"global_attn_every_n_layers": 2}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2}),
    ],
)
@pytest.mark.parametrize("cuts", [FIVE, *rarely((("a", 0, 1), ("a", 2, 4)))], ids=["stack", "prune"])
def test_a_pattern_that_is_only_implied_becomes_a_list(
    name: str, pattern: dict[str, Any], cuts: tuple[Cut, ...], cellar: Cellar, tmp_path: Path
) -> None:
    """Hub configurations often hold a period or nothing at all where newer ones hold `layer_types`."""
    two = pair(name, cellar)
    implied = Pair(two.entry, {key: without_types(path, tmp_path / key, pattern) for key, path in two.paths.items()})
    expected = [implied.models[m].config.layer_types[i] for m, i in picked(cuts)]
    assert len(set(expected)) == 2
    cuvee.merge(recipe(implied.paths, cuts), tmp_path / "out")
    config = assert_is_the_stack(name, implied, cuts, tmp_path / "out")
    assert config.layer_types == expected


def test_a_rule_that_is_switched_off_does_not_stand_in_the_way(cellar: Cellar, tmp_path: Path) -> None:
    """Qwen2.5 on the hub says from which layer on windows would be used, and that they are not."""
    two, off = pair("qwen2", cellar), {"use_sliding_window": False, "sliding_window": 3, "max_window_layers": 2}
    plain = Pair(two.entry, {key: without_types(path, tmp_path / key, off) for key, path in two.paths.items()})
    cuts = (("a", 0, 3), ("b", 1, 4))
    cuvee.merge(recipe(plain.paths, cuts), tmp_path / "out")
    config = assert_is_the_stack("qwen2", plain, cuts, tmp_path / "out")
    assert config.layer_types == ["full_attention"] * 6


@pytest.mark.parametrize("lacking", ["a", "b"])
@pytest.mark.parametrize("name", ["gemma2", "qwen2"])
def test_a_list_that_one_model_lacks_is_completed(name: str, lacking: str, cellar: Cellar, tmp_path: Path) -> None:
    """A model from the hub may imply its layer types, and its fine-tune, written by a newer library, list them."""
    two = pair(name, cellar)
    bare = without_types(two.paths[lacking], tmp_path / lacking, {"max_window_layers": 1} if name == "qwen2" else {})
    mixed = Pair(two.entry, {**two.paths, lacking: bare})
    cuvee.merge(recipe(mixed.paths, FIVE), tmp_path / "out")
    assert_is_the_stack(name, mixed, FIVE, tmp_path / "out")


def without_types(source: Path, folder: Path, pattern: dict[str, Any]) -> Path:
    """A copy of a model whose configuration has a pattern instead of a list of layer types."""
    write_by_hand(source, stored(source), folder, **pattern)
    settings = json.loads((folder / "config.json").read_text())
    del settings["layer_types"]
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


# --- layers that are not all alike


@pytest.mark.parametrize(
    ("cuts", "dense"),
    [(FIVE, 1), ((("a", 1, 4),), 0), ((("a", 0, 1), ("b", 0, 4)), 2)],
    ids=["stack", "drop the dense layer", "two dense layers"],
)
def test_the_number_of_dense_layers_follows_the_stack(
    cuts: tuple[Cut, ...], dense: int, cellar: Cellar, tmp_path: Path
) -> None:
    two = pair("deepseek-v3", cellar)
    cuvee.merge(recipe(two.paths, cuts), tmp_path / "out")
    config = assert_is_the_stack("deepseek-v3", two, cuts, tmp_path / "out")
    assert config.first_k_dense_replace == dense


@pytest.mark.parametrize(
    "settings",
    [{"mlp_only_layers": [1]}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [3], "decoder_sparse_step": 2}],
)
def test_layers_without_experts_follow_the_stack(settings: dict[str, Any], tmp_path: Path) -> None:
    entry = ZOO["qwen3-moe"]
    paths = {key: entry.write(entry.build(seed, LAYERS, **settings), tmp_path / key) for seed, key in enumerate("ab")}
    two = Pair(entry, paths)
    cuvee.merge(recipe(paths, FIVE), tmp_path / "out")
    config = assert_is_the_stack("qwen3-moe", two, FIVE, tmp_path / "out")
    sparse = [i for i in range(5) if not is_dense(config, i)]
    assert sparse == [n for n, (m, i) in enumerate(picked(FIVE)) if not is_dense(two.models[m].config, i)]


def test_layers_without_experts_follow_models_that_say_it_differently(cellar: Cellar, tmp_path: Path) -> None:
    """The first model has experts in every layer, the second in every other one."""
    entry = ZOO["qwen3-moe"]
    other = entry.write(entry.build(2, LAYERS, decoder_sparse_step=2), tmp_path / "b")
    two = Pair(entry, {"a": cellar.model("qwen3-moe", 1, LAYERS), "b": other})
    cuvee.merge(recipe(two.paths, FIVE), tmp_path / "out")
    assert_is_the_stack("qwen3-moe", two, FIVE, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("deepseek-v3", (("a", 0, 2), ("b", 0, 2))),
        ("modernbert", (("a", 0, 2), ("b", 0, 2))),
        ("modernbert", (("a", 1, 4),)),
    ],
    ids=["a dense layer after one with experts", "a first layer in second place", "no first layer"],
)
def test_a_stack_its_format_cannot_express_is_refused(
    name: str, cuts: tuple[Cut, ...], cellar: Cellar, tmp_path: Path
) -> None:
    """ModernBERT's first layer, and only that, has no norm before its attention."""
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(recipe(pair(name, cellar).paths, cuts), tmp_path / "out")
    assert caught.value.code == "layers-unrepresentable"
    assert not (tmp_path / "out").exists()


# --- models in which it is not clear which layers are meant


@pytest.mark.parametrize(
    "name", ["t5", "t5 gated", "clip", "whisper", "llava", "gemma3", "qwen2-vl", "qwen2.5-vl", "plain state dict"]
)
def test_slices_need_one_stack_of_layers(name: str, cellar: Cellar, tmp_path: Path) -> None:
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(recipe(pair(name, cellar).paths, (("a", 0, 2), ("b", 1, 2))), tmp_path / "out")
    assert caught.value.codes == ("no-layer-stack",)
    assert not (tmp_path / "out").exists()


def test_layers_that_a_model_does_not_have_are_refused(cellar: Cellar, tmp_path: Path) -> None:
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(recipe(pair("llama", cellar).paths, (("a", 0, 2), ("b", 1, 5))), tmp_path / "out")
    assert caught.value.codes == ("layers-out-of-range",)


def test_one_part_of_a_model_is_stacked_and_the_others_kept(cellar: Cellar, tmp_path: Path) -> None:
    """A LLaVA with five text layers; its vision tower and projector come from the first model."""
    two = pair("llava", cellar)
    whole = {"models": [{"model": str(two.paths["a"])}]}
    parts = {"vision_tower": whole, "multi_modal_projector": whole}
    text = {"slices": recipe(two.paths, FIVE)["slices"]}
    out = tmp_path / "out"
    cuvee.merge({"merge_method": "passthrough", "modules": {**parts, "language_model": text}}, out)
    model, account = two.entry.load(out)
    assert not {key: value for key, value in account.items() if value}
    assert model.config.text_config.num_hidden_layers == 5
    values = {key: stored(path) for key, path in two.paths.items()}
    expected = stack_of(values, "language_model.model.layers", FIVE)
    seen = {k: v for k, v in values["a"].items() if not k.startswith("language_model.")}
    assert_same_tensors(stored(out), {**expected, **seen})
    assert all(torch.isfinite(part).all() for part in two.entry.logits(model))
