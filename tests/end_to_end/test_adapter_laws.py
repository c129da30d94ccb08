"""What must hold of adapters by their arithmetic alone: small ones, written by hand, against sums of s · B · A."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cuvee import api
from cuvee.errors import CuveeError

Tensors = dict[str, torch.Tensor]

Q, V, EMBEDDING, HEAD = "model.layers.0.q_proj", "model.layers.0.v_proj", "model.embed_tokens", "lm_head"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model of one layer, an embedding of 6 tokens and a head of its own."""
    return write_model(tmp_path / "base")


def write_model(folder: Path, dtype: torch.dtype = torch.float32, **config: Any) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    tensors = {f"{Q}.weight": torch.randn(4, 4), f"{V}.weight": torch.randn(2, 4), f"{V}.bias": torch.randn(2)}
    tensors |= {f"{EMBEDDING}.weight": torch.randn(6, 4)}
    if not config.get("tie_word_embeddings"):
        tensors[f"{HEAD}.weight"] = torch.randn(6, 4)
    save_file({name: value.to(dtype) for name, value in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}), "utf-8")
    return folder


def write(folder: Path, tensors: Tensors, **settings: Any) -> Path:
    """An adapter of rank 1 and scale 3, of these tensors."""
    folder.mkdir()
    save_file({f"base_model.model.{n}": t for n, t in tensors.items()}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 3, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def factors(module: str, outputs: int, seed: int = 0, inputs: int = 4) -> Tensors:
    """B and A of one module."""
    torch.manual_seed(seed)
    return {f"{module}.lora_A.weight": torch.randn(1, inputs), f"{module}.lora_B.weight": torch.randn(outputs, 1)}


def change(adapter: Path, module: str) -> torch.Tensor:
    """s · B · A."""
    held = load_file(adapter / "adapter_model.safetensors")
    a, b = (held[f"base_model.model.{module}.lora_{part}.weight"].double() for part in "AB")
    return 3 * b @ a


def weights(folder: Path) -> Tensors:
    return load_file(folder / "model.safetensors")


def told(call: Callable[[], object]) -> list[tuple[str, str | None]]:
    """Code and subject of every fault of a refusal."""
    with pytest.raises(CuveeError) as caught:
        call()
    return [(fault.code, fault.subject) for fault in caught.value.faults]


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_base_that_has_an_adapter_keeps_it(base: Path, tmp_path: Path, weight: float) -> None:
    one, two, three = (write(tmp_path / f"a{i}", factors(Q, 4, i)) for i in (1, 2, 3))
    api.lora_apply(f"{base}+{one}", [two, three], tmp_path / "out", weight=weight)
    added = change(one, Q) + weight * (change(two, Q) + change(three, Q))
    found = weights(tmp_path / "out")[f"{Q}.weight"] - weights(base)[f"{Q}.weight"]
    torch.testing.assert_close(found.double(), added, rtol=0, atol=1e-5)


def bare(tensors: Tensors) -> Tensors:
    """Tensors as an adapter of the model without its head names them."""
    return {name.removeprefix("model."): value for name, value in tensors.items()}


def test_two_changes_of_one_tensor_are_refused(base: Path, tmp_path: Path) -> None:
    twice = write(tmp_path / "twice", {**factors(Q, 4), **bare(factors(Q, 4, 1)), **factors(V, 2)})
    assert told(lambda: api.lora_apply(base, twice, tmp_path / "out")) == [("adapter-mismatch", f"{Q}.weight")]
    whole = {f"{EMBEDDING}.weight": torch.ones(6, 4), "embed_tokens.weight": torch.zeros(6, 4)}
    doubled = write(tmp_path / "whole", whole, modules_to_save=["embed_tokens"])
    found = told(lambda: api.lora_apply(base, doubled, tmp_path / "out"))
    assert found == [("adapter-mismatch", f"{EMBEDDING}.weight")]
    rows = {
        f"{EMBEDDING}.weight": torch.ones(6, 4),
        f"{EMBEDDING}.token_adapter.trainable_tokens_delta": torch.ones(1, 4),
    }
    both = write(tmp_path / "both", rows, modules_to_save=["embed_tokens"], trainable_token_indices=[2])
    assert told(lambda: api.lora_apply(base, both, tmp_path / "out")) == [("adapter-mismatch", f"{EMBEDDING}.weight")]
    assert not (tmp_path / "out").exists()


def test_one_part_of_an_adapter_that_stands_twice_is_refused(base: Path, tmp_path: Path) -> None:
    layer = {f"{EMBEDDING}.weight": torch.ones(6, 4), f"{EMBEDDING}.base_layer.weight": torch.zeros(6, 4)}
    one = write(tmp_path / "layer", {**layer, **factors(Q, 4)})
    assert [code for code, _ in told(lambda: api.lora_apply(base, one, tmp_path / "out"))] == ["bad-adapter"]
    lengths = {f"{Q}.lora_magnitude_vector{end}": torch.ones(4) for end in ("", ".weight")}
    two = write(tmp_path / "lengths", {**factors(Q, 4), **lengths}, use_dora=True)
    assert [code for code, _ in told(lambda: api.lora_apply(base, two, tmp_path / "out"))] == ["bad-adapter"]


def test_adapters_that_name_the_same_modules_in_two_ways_are_not_merged(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a", factors(Q, 4)), write(tmp_path / "b", bare(factors(Q, 4, 1)))
    for order in ([one, other], [other, one]):
        ((code, subject),) = told(lambda order=order: api.merge_adapters(order, tmp_path / "out"))
        assert (code, subject) == ("adapter-mismatch", Q)
    # others that end alike and are other modules: one name in common says that both count in the same way
    plain = write(tmp_path / "c", {**factors("proj", 4), **factors(Q, 4)})
    longer = write(tmp_path / "d", {**factors("vision.proj", 4), **factors(Q, 4)})
    assert len(api.merge_adapters([plain, longer], tmp_path / "out").modules) == 3


def with_rows(folder: Path) -> Path:
    rows = {f"{EMBEDDING}.token_adapter.trainable_tokens_delta": torch.arange(8.0).reshape(2, 4)}
    return write(folder, {**factors(Q, 4), **rows}, trainable_token_indices={"embed_tokens": [5, 2]})


@pytest.mark.parametrize("method", ["cat", "svd", "ties", "peft-linear"])
def test_rows_of_tokens_of_one_adapter_are_kept(base: Path, tmp_path: Path, method: str) -> None:
    one = with_rows(tmp_path / "a")
    found = api.merge_adapters([one], tmp_path / "out", method=method)
    old, new = (load_file(folder / "adapter_model.safetensors") for folder in (one, tmp_path / "out"))
    name = f"base_model.model.{EMBEDDING}.token_adapter.trainable_tokens_delta"
    assert torch.equal(old[name], new[name])
    assert found.whole == (name,)
    for adapter, out in ((one, "of-one"), (tmp_path / "out", "of-out")):
        api.lora_apply(base, adapter, tmp_path / out)
    held = weights(tmp_path / "of-out")[f"{EMBEDDING}.weight"]
    assert torch.equal(held, weights(tmp_path / "of-one")[f"{EMBEDDING}.weight"])
    assert torch.equal(held[[5, 2]], torch.arange(8.0).reshape(2, 4))


def test_rows_of_tokens_are_not_scaled_or_averaged(tmp_path: Path) -> None:
    one, other = with_rows(tmp_path / "a"), with_rows(tmp_path / "b")
    half = told(lambda: api.merge_adapters([one], tmp_path / "out", weights=[0.5]))
    assert half == [("no-low-rank", str(one))]
    two = told(lambda: api.merge_adapters([one, other], tmp_path / "out"))
    assert two == [("no-low-rank", str(one)), ("no-low-rank", str(other))]


@pytest.mark.parametrize("method", ["cat", "svd", "ties", "knots", "core-space", "linear", "peft-linear"])
@pytest.mark.parametrize("weight", [1e40, 1e200, 1e308])
def test_changes_that_become_too_large_are_refused(tmp_path: Path, method: str, weight: float) -> None:
    one, other = (write(tmp_path / f"a{i}", factors(Q, 4, i)) for i in (1, 2))
    how: dict[str, Any] = {} if method in ("cat", "svd", "peft-linear") else {"normalize": False}
    large = [weight * weight, weight] if method == "peft-linear" and weight < 1e100 else [weight, weight]
    found = told(lambda: api.merge_adapters([one, other], tmp_path / "out", method=method, weights=large, **how))
    assert found == [("non-finite", Q)]
    assert not (tmp_path / "out").exists()


def test_whole_tensors_that_become_too_large_are_refused(tmp_path: Path) -> None:
    one, other = (
        write(
            tmp_path / name,
            {**factors(Q, 4), "lm_head.weight": torch.full((6, 4), value, dtype=torch.float16)},
            modules_to_save=["lm_head"],
        )
        for name, value in (("a", 6e4), ("b", -6e4))
    )
    name = "base_model.model.lm_head.weight"
    assert told(lambda: api.merge_adapters([one, other], tmp_path / "out", weights=[3, -2])) == [("non-finite", name)]
    huge = told(lambda: api.merge_adapters([one, other], tmp_path / "out", weights=[1e308, 1e308]))
    assert ("non-finite", Q) in huge


def tied(folder: Path, seed: int, *, apart: float = 0.0) -> Path:
    """An adapter whose embedding and head were trained as one; `apart` says how far the head is from that."""
    torch.manual_seed(seed)
    a, b = torch.randn(1, 6), torch.randn(4, 1)
    tensors = {f"{EMBEDDING}.lora_embedding_A": a, f"{EMBEDDING}.lora_embedding_B": b}
    tensors |= {f"{HEAD}.lora_A.weight": b.mT * (1 + apart), f"{HEAD}.lora_B.weight": a.mT}
    how: dict[str, Any] = {"ensure_weight_tying": True, "target_modules": ["embed_tokens"]}
    return write(folder, {name: value.clone() for name, value in tensors.items()}, **how)


@pytest.mark.parametrize("method", ["cat", "svd", "ties"])
def test_merged_adapters_of_tied_embeddings_are_applied(tmp_path: Path, method: str) -> None:
    base = write_model(tmp_path / "base", tie_word_embeddings=True)
    one, other = tied(tmp_path / "a", 1), tied(tmp_path / "b", 2)
    api.merge_adapters(
        [one, other], tmp_path / "both", method=method, weights=[0.6, 0.3], rank=2 if method != "cat" else None
    )
    assert not any("leaves out" in note for note in api.lora_apply(base, tmp_path / "both", tmp_path / "out").notes)
    held = load_file(tmp_path / "both" / "adapter_model.safetensors")
    a, b = (held[f"base_model.model.{EMBEDDING}.lora_embedding_{part}"].double() for part in "AB")
    name = f"{EMBEDDING}.weight"
    added = (weights(tmp_path / "out")[name] - weights(base)[name]).double()
    torch.testing.assert_close(added, (b @ a).mT, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("apart", "fits"), [(1e-7, True), (1e-4, False), (-2.0, False)])
def test_a_tied_head_that_was_changed_in_another_way_is_refused(tmp_path: Path, apart: float, fits: bool) -> None:
    base, one = write_model(tmp_path / "base", tie_word_embeddings=True), tied(tmp_path / "a", 1, apart=apart)
    if fits:
        assert not any("leaves out" in note for note in api.lora_apply(base, one, tmp_path / "out").notes)
    else:
        assert told(lambda: api.lora_apply(base, one, tmp_path / "out")) == [
            ("adapter-mismatch", f"{EMBEDDING}.weight")
        ]


def with_head(folder: Path, value: float = 1.0) -> Path:
    tensors = {**factors(Q, 4), f"{HEAD}.weight": torch.full((6, 4), value)}
    return write(folder, tensors, modules_to_save=["lm_head"])


@pytest.mark.parametrize("method", ["cat", "ties"])
def test_weights_of_whole_tensors_that_sum_to_nought_are_refused(tmp_path: Path, method: str) -> None:
    one = with_head(tmp_path / "a")
    found = told(lambda: api.merge_adapters([one], tmp_path / "out", method=method, weights=[0]))
    assert found == [("zero-weight-sum", "weights")]


@pytest.mark.parametrize(("method", "weight", "note"), [("cat", 1, False), ("cat", 0.5, True), ("ties", 1, True)])
def test_whole_tensors_that_stay_as_they_are_are_told(tmp_path: Path, method: str, weight: float, note: bool) -> None:
    one = with_head(tmp_path / "a", 2.0)
    how: dict[str, Any] = {"density": 0.5} if method == "ties" else {}
    found = api.merge_adapters([one], tmp_path / "out", method=method, weights=[weight], **how)
    assert any("stay as they are" in said for said in found.notes) is note
    held = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert torch.equal(held[f"base_model.model.{HEAD}.weight"], torch.full((6, 4), 2.0))


def test_adapters_of_two_models_are_not_merged(base: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "a", factors(Q, 4), base_model_name_or_path="me/llama")
    other = write(tmp_path / "b", factors("h.0.attn", 4), base_model_name_or_path="me/gpt2", fan_in_fan_out=True)
    found = told(lambda: api.merge_adapters([one, other], tmp_path / "out"))
    assert found == [("adapter-mismatch", str(one))]
    # one base under two names, and no module in common: the base itself says that they belong together
    further = write(tmp_path / "c", factors(V, 2), base_model_name_or_path="elsewhere/copy")
    assert told(lambda: api.merge_adapters([one, further], tmp_path / "out"))
    assert len(api.merge_adapters([one, further], tmp_path / "both", base=base).modules) == 2
    same = write(tmp_path / "d", factors(V, 2), base_model_name_or_path="elsewhere/llama")
    assert len(api.merge_adapters([one, same], tmp_path / "out").modules) == 2


def test_a_base_that_is_named_must_fit(base: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "a", {**factors(Q, 4), **factors("model.layers.0.z_proj", 4)})
    found = told(lambda: api.merge_adapters([one], tmp_path / "out", base=base))
    assert found == [("adapter-mismatch", "model.layers.0.z_proj.weight")]


ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "a module": ({"target_modules": ["q_proj", "v_proj"]}, f"{V}.weight"),
    "a pattern": ({"target_modules": r".*\.(q|v)_proj"}, f"{V}.weight"),
    "a whole module": ({"modules_to_save": ["lm_head"]}, "asks for lm_head whole"),
    "biases": ({"bias": "all"}, f"{V}.bias"),
    "biases of B": ({"lora_bias": True}, "lora_bias"),
    "another module": ({"target_modules": ["o_proj"]}, f"it changes {Q}"),
    "another layer": ({"target_modules": ["q_proj"], "layers_to_transform": [1]}, f"it changes {Q}"),
    "all but it": ({"target_modules": ["q_proj"], "exclude_modules": ["layers.0.q_proj"]}, f"it changes {Q}"),
}
"""What a configuration says besides what the file holds, and what is told of it."""


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_and_not_there_is_told(base: Path, tmp_path: Path, name: str) -> None:
    settings, said = ASKED[name]
    one = write(tmp_path / "a", factors(Q, 4), **settings)
    found = api.lora_apply(base, one, tmp_path / "out")
    assert any("configuration" in note and said in note for note in found.notes), found.notes


QUIET: list[dict[str, Any]] = [
    {},
    {"target_modules": ["q_proj"]},
    {"target_modules": [Q], "layers_to_transform": [3]},
    {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": 0, "exclude_modules": r".*v_proj"},
    {"target_modules": "all-linear", "modules_to_save": ["classifier", "score"]},
    {"target_modules": r"(x+x+)+y", "bias": "lora_only"},
    {"target_modules": 5, "layers_to_transform": "x", "exclude_modules": {"a": 1}},
]


@pytest.mark.parametrize("settings", QUIET)
def test_what_is_there_is_not_told(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    one = write(tmp_path / "a", factors(Q, 4), **settings)
    assert not [note for note in api.lora_apply(base, one, tmp_path / "out").notes if "configuration" in note]


def test_whole_tensors_that_no_key_names_are_told(base: Path, tmp_path: Path) -> None:
    bias = {f"{V}.bias": torch.ones(2)}
    for number, (settings, told_of) in enumerate(
        [({}, True), ({"bias": "all"}, False), ({"modules_to_save": ["v_proj"]}, False)]
    ):
        one = write(tmp_path / f"a{number}", {**factors(Q, 4), **bias}, **settings)
        notes = api.lora_apply(base, one, tmp_path / f"out{number}").notes
        assert any("does not name" in note for note in notes) is told_of


def test_rows_of_tokens_that_the_file_lacks_are_refused(base: Path, tmp_path: Path) -> None:
    """PEFT refuses them as well."""
    one = write(tmp_path / "a", factors(Q, 4), trainable_token_indices=[1, 2])
    assert [code for code, _ in told(lambda: api.lora_apply(base, one, tmp_path / "out"))] == ["bad-adapter"]


def test_a_layer_that_the_base_does_not_have_is_told_by_their_number(base: Path, tmp_path: Path) -> None:
    deep = write(
        tmp_path / "a", {**factors(Q, 4), **factors(Q.replace("0", "9"), 4), **factors(V.replace("0", "9"), 2)}
    )
    with pytest.raises(CuveeError) as caught:
        api.lora_apply(base, deep, tmp_path / "out")
    one, other = caught.value.faults
    assert "`model.layers` has 1 layer there" in one.message
    assert one.hint == "name the model it was trained on"
    assert (other.subject, other.hint) == ("model.layers.9.v_proj.weight", "")
    bare_names = write(tmp_path / "b", bare(factors(Q.replace("0", "9"), 4)))
    with pytest.raises(CuveeError, match=r"`model\.layers` has 1 layer there"):
        api.lora_apply(base, bare_names, tmp_path / "out")
