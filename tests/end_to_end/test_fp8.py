"""Merges of FP8 models: as transformers dequantises them, as slow arithmetic has it, refused where they are broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import cuvee
from cuvee.errors import InputError
from cuvee.families.pretrained import build_causal_lm, load_causal_lm
from tests.support.checkpoints import assert_same
from tests.support.command_line import call
from tests.support.fp8 import DEEPSEEK, compressed, dequantised, of_block, quantised
from tests.support.merging import METHODS, cast, decoder, linear, picture, read, recipe, write
from tests.support.yard import Q, Yard
from tests.support.zoo import Cellar, stored

QWEN3: Mapping[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 80,
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
}
CONFIG: Mapping[str, Any] = {"model_type": "small", "num_hidden_layers": 2, "torch_dtype": "bfloat16"}
SMALL = of_block(5, 3)
"""Blocks that no matrix of `decoder` is a multiple of."""


def qwen3(folder: Path, seed: int) -> Path:
    """A small Qwen3 with blocks of 128 × 128, as its FP8 releases are stored."""
    torch.manual_seed(seed)
    tensors = {name: t.detach() for name, t in build_causal_lm(QWEN3).state_dict().items()}
    return write(folder, quantised(tensors), {**QWEN3, "quantization_config": DEEPSEEK}, shards=2)


def small(folder: Path, seed: int, said: Mapping[str, Any] | None = SMALL) -> dict[str, Tensor]:
    """A stored decoder in FP8; returns what it stands for."""
    tensors = quantised(decoder(seed), 5, 3)
    write(folder, tensors, {**CONFIG, **({"quantization_config": dict(said)} if said else {})})
    return dequantised(tensors, 5, 3)


# --- against transformers and slow arithmetic


def test_a_model_is_dequantised_as_transformers_does(tmp_path: Path) -> None:
    source = qwen3(tmp_path / "m", 0)
    theirs = load_causal_lm(source).state_dict()
    found = read(cuvee.merge(linear(source, weights=[1], out_dtype="float32"), tmp_path / "out").path)
    assert_same(found, {name: tensor.float() for name, tensor in theirs.items()})


def test_the_output_is_a_plain_model(tmp_path: Path) -> None:
    """It loads, is what its record says, and gives the logits of the merged weights."""
    a, b = qwen3(tmp_path / "a", 0), qwen3(tmp_path / "b", 1)
    result = cuvee.merge(linear(a, b), tmp_path / "out")
    assert json.loads((result.path / "config.json").read_text()) == dict(QWEN3)
    assert result.record["config_changes"] == {"quantization_config": None}
    assert {t.dtype for t in read(result.path).values()} == {torch.bfloat16}
    outcomes = {check.name: check.outcome for check in cuvee.verify(result.path).checks}
    assert set(outcomes.values()) == {"ok"}
    assert {"hashes", "loads"} <= outcomes.keys()


def test_deepseek_v3_with_edges_in_every_matrix(tmp_path: Path) -> None:
    """Real names and shapes; experts and compressed attention whose sizes are no multiples of the block."""
    plain, block = Cellar(tmp_path).model("deepseek-v3", 1), (12, 10)
    config = json.loads((plain / "config.json").read_text())
    tensors = quantised(stored(plain), *block)
    source = write(tmp_path / "fp8", tensors, {**config, "quantization_config": of_block(*block)})
    found = read(cuvee.merge(linear(source, weights=[1], out_dtype="float32"), tmp_path / "out").path)
    assert_same(found, dequantised(tensors, *block))
    assert cuvee.verify(tmp_path / "out").ok


@pytest.mark.parametrize("method", METHODS)
def test_every_method_merges_what_the_codes_stand_for(tmp_path: Path, method: str) -> None:
    """An FP8 base with FP8 and bfloat16 fine-tunes: the same bytes as the merge of their float copies."""
    wide = {name: small(tmp_path / name, seed) for seed, name in enumerate(("base", "a"))}
    wide["b"] = cast(cast(decoder(2), torch.bfloat16), torch.float32)
    write(tmp_path / "b", cast(decoder(2), torch.bfloat16), CONFIG)
    for name, tensors in wide.items():
        write(tmp_path / "wide" / name, tensors, CONFIG)
    names = ("base", "a", "b")
    (tmp_path / "recipe.json").write_text(json.dumps(recipe(method, *names, out_dtype="float32")))
    shutil.copy(tmp_path / "recipe.json", tmp_path / "wide")
    for tile in (None, 7):
        found = cuvee.merge(tmp_path / "recipe.json", tmp_path / "out", tile=tile, overwrite=True, threads=2)
        expected = cuvee.merge(tmp_path / "wide" / "recipe.json", tmp_path / "expected", overwrite=True)
        assert_same(read(found.path), read(expected.path))


@pytest.mark.parametrize("runner", ["plain", "threaded"])
def test_the_record_holds_what_was_read(tmp_path: Path, runner: Any) -> None:
    """Its fingerprint of an FP8 input is that of the float32 values, whoever reads them."""
    wide = small(tmp_path / "a", 1)
    others = {n: t.bfloat16() if f"{n}_scale_inv" not in read(tmp_path / "a") else t for n, t in wide.items()}
    write(tmp_path / "wide", others, CONFIG)
    found = [
        cuvee.merge(linear(tmp_path / n, weights=[1]), tmp_path / f"out-{n}", runner=runner) for n in ("a", "wide")
    ]
    records = [result.record["inputs"][0] for result in found]
    assert records[0]["content"] == records[1]["content"]
    assert (records[0]["tensors"], records[0]["parameters"]) == (records[1]["tensors"], records[1]["parameters"])


# --- dtypes


@pytest.mark.parametrize(
    ("other", "asked", "expected"),
    [
        ("bfloat16", {}, "bfloat16"),
        ("float16", {}, "float32"),
        ("float32", {}, "float32"),
        ("float64", {}, "float64"),
        ("float16", {"dtype": "float16"}, "float16"),
        ("bfloat16", {"out_dtype": "float64"}, "float64"),
    ],
    ids=str,
)
def test_mixtures_with_floats(tmp_path: Path, other: str, asked: dict[str, str], expected: str) -> None:
    """The dtype that FP8 weights had before counts, and values are rounded once, to what is written."""
    wide = small(tmp_path / "a", 1)
    plain = cast(decoder(2), getattr(torch, other))
    write(tmp_path / "b", plain, CONFIG)
    found = read(
        cuvee.merge(linear(tmp_path / "a", tmp_path / "b", weights=[0.5, 0.5], **asked), tmp_path / "out").path
    )
    assert {str(t.dtype) for t in found.values()} == {f"torch.{expected}"}
    work = torch.float64 if "float64" in (other, expected) else torch.float32
    exact = {name: (wide[name].to(work) + plain[name].to(work)) / 2 for name in wide}
    assert_same(found, cast(exact, getattr(torch, expected)))


def test_passing_through_rounds_once_to_the_dtype_of_the_model(tmp_path: Path) -> None:
    wide = small(tmp_path / "a", 1)
    data = {"merge_method": "passthrough", "models": [{"model": str(tmp_path / "a")}]}
    assert_same(read(cuvee.merge(data, tmp_path / "out").path), cast(wide, torch.bfloat16))


def test_other_dtypes_of_the_configuration_stay(tmp_path: Path) -> None:
    config = {"dtype": "bfloat16", "vision_config": {"dtype": "float32"}}
    write(tmp_path / "a", quantised(decoder(1), 5, 3), {**config, "quantization_config": SMALL})
    out = cuvee.merge(linear(tmp_path / "a"), tmp_path / "out").path
    assert json.loads((out / "config.json").read_text()) == config


def test_state_dicts_and_bare_files(tmp_path: Path) -> None:
    """No configuration: scales beside FP8 weights say enough, with blocks of the usual size."""
    torch.manual_seed(0)
    model = quantised({"model.layers.0.w.weight": torch.randn(150, 140), "norm": torch.ones(3)})
    save_file(model, tmp_path / "bare.safetensors")
    expected = cast(dequantised(model), torch.bfloat16)
    merged = cuvee.merge_state_dicts([model, model], weight=1)
    assert_same(merged, expected)
    assert_same(read(cuvee.merge(linear(tmp_path / "bare.safetensors"), tmp_path / "out").path), expected)


def test_static_activations_are_left_out(tmp_path: Path) -> None:
    codes = decoder(1)[Q].to(torch.float8_e4m3fn)
    tensors = {**cast(decoder(1), torch.bfloat16), Q: codes, f"{Q}_scale": torch.tensor([0.25])}
    config = {**CONFIG, "quantization_config": compressed("tensor")}
    write(tmp_path / "a", tensors | {Q.replace("weight", "input_scale"): torch.tensor([3.0])}, config)
    result = cuvee.merge(linear(tmp_path / "a", weights=[1]), tmp_path / "out")
    found = read(result.path)
    assert found.keys() == decoder(1).keys()
    assert torch.equal(found[Q], (codes.float() / 4).bfloat16())
    assert any("scales of activations and caches are left out: model.layers.1" in note for note in result.notes)


def test_a_plan_tells_what_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path / "a", 1)
    plan = cuvee.plan(linear(tmp_path / "a"))
    assert plan.models[0].dtypes == ("bfloat16", "float8_e4m3fn")
    assert (
        plan.read == plan.models[0].nbytes == sum(t.nbytes for n, t in read(tmp_path / "a").items() if "_inv" not in n)
    )
    (tmp_path / "r.yml").write_text(json.dumps(linear("a")))
    text = call(capsys, "plan", tmp_path / "r.yml").out
    assert "quantization_config: left out" in text
    assert "float8_e4m3fn with one scale per block of 5 × 3" in " ".join(text.split())


# --- refused


def refused(yard: Yard, *models: str) -> InputError:
    """The error of a merge, which leaves nothing behind."""
    path = yard.file(linear(*models))
    before = picture(yard.root)
    for attempt in (lambda: cuvee.plan(path), lambda: cuvee.merge(path, yard.out)):
        with pytest.raises(InputError) as caught:
            attempt()
        assert picture(yard.root) == before
    return caught.value


def test_quantised_models_are_refused_together(yard: Yard) -> None:
    yard.model("q", {"l.qweight": torch.ones(2, dtype=torch.int32)}, config=None)
    yard.model("r", decoder(1), config={"quantization_config": {"quant_method": "awq"}})
    yard.model("s", {"l.weight": torch.ones(2, 2).to(torch.float8_e4m3fn)}, config={"quantization_config": DEEPSEEK})
    error = refused(yard, "a", "q", "r", "s")
    assert [(f.code, f.subject) for f in error.faults] == [
        ("quantised-input", "q"),
        ("quantised-input", "r"),
        ("bad-scale", "l.weight"),
    ]
    assert "r: weights must be floats, or FP8 with scales; these are quantised as AWQ (`quantization_config`" in str(
        error
    )


def test_state_dicts_are_refused_together() -> None:
    with pytest.raises(InputError) as caught:
        cuvee.merge_state_dicts(
            [{"l.W_q": torch.ones(2).byte()}, {"l.SCB": torch.ones(2), "l.weight": torch.ones(2).char()}],
            weight=1,
        )
    assert [(f.code, f.subject) for f in caught.value.faults] == [("quantised-input", "0"), ("quantised-input", "1")]


def test_damaged_scales_leave_no_output(yard: Yard) -> None:
    tensors = quantised(decoder(1), 5, 3)
    tensors[f"{Q}_scale_inv"][1, 1] = torch.nan
    yard.model("x", tensors, config={**CONFIG, "quantization_config": SMALL})
    path = yard.file(linear("x"))
    before = picture(yard.root)
    with pytest.raises(InputError, match=f"entry 4 of {Q}_scale_inv is nan"):
        cuvee.merge(path, yard.out)
    assert picture(yard.root) == before


def test_codes_that_stand_for_nan_are_found(yard: Yard) -> None:
    tensors = quantised(decoder(1), 5, 3)
    tensors[Q].view(torch.uint8)[2, 3] = 0x7F
    yard.model("x", tensors, config={**CONFIG, "quantization_config": SMALL})
    with pytest.raises(InputError, match=f"tensor {Q} must be finite; entry 19 is nan") as caught:
        cuvee.merge(yard.file(linear("x")), yard.out)
    assert caught.value.code == "non-finite"


def test_inspect_and_verify_look_at_what_is_stored(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    """Also at models that no merge takes."""
    yard.model(
        "awq", {"l.qweight": torch.ones(2, dtype=torch.int32)}, config={"quantization_config": {"quant_method": "awq"}}
    )
    small(yard.root / "fp8", 1)
    found = cuvee.inspect(yard.root / "fp8")
    assert found.quantised == "FP8 (`quantization_config` of its config.json says `quant_method` 'fp8')"
    assert found.dtypes["float8_e4m3fn"] > 0
    assert f"{Q}_scale_inv" in read(yard.root / "fp8")
    told = call(capsys, "inspect", yard.root / "awq")
    assert (told.code, "AWQ (`quantization_config`" in " ".join(told.out.split())) == (0, True)
    assert cuvee.inspect(yard.root / "a").quantised is None
    assert cuvee.verify(yard.root / "fp8").ok
    assert cuvee.verify(yard.root / "awq").ok


def test_diff_compares_what_the_codes_stand_for(tmp_path: Path) -> None:
    write(tmp_path / "wide", small(tmp_path / "a", 1), CONFIG)
    found = cuvee.diff(tmp_path / "a", tmp_path / "wide")
    assert (found.total.relative_difference, found.only_a, found.only_b) == (0.0, (), ())
