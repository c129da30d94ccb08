"""Quantised formats by name: from what a configuration says, and from what tensors are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee.checkpoint import MemoryReader, as_floats, open_checkpoint, said_quantised
from cuvee.errors import Fault, InputError
from cuvee.types import ModelRef
from tests.support.fp8 import DEEPSEEK, compressed

FLOATS = {"l.weight": torch.ones(2, 2), "l.bias": torch.ones(2)}
BYTES = torch.ones(2, 2, dtype=torch.uint8)
INT8 = torch.ones(2, 2, dtype=torch.int8)
INT32 = torch.ones(2, 2, dtype=torch.int32)
FP8 = torch.ones(2, 2).to(torch.float8_e4m3fn)
ONE = torch.ones(1)


def refused(tensors: dict[str, Tensor], config: dict[str, Any] | None = None) -> Fault:
    reader = MemoryReader("m", tensors, config)
    with pytest.raises(InputError) as caught:
        as_floats(reader)
    (fault,) = caught.value.faults
    assert (fault.code, fault.subject) == ("quantised-input", "m")
    assert said_quantised(reader) is not None
    return fault


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "gptq": ({"quant_method": "gptq", "bits": 4}, "GPTQ "),
    "awq": ({"quant_method": "awq", "bits": 4}, "AWQ "),
    "bitsandbytes 4": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes 4-bit "),
    "bitsandbytes 8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes 8-bit "),
    "bitsandbytes, unnamed": ({"load_in_4bit": True}, "bitsandbytes 4-bit "),
    "hqq": ({"quant_method": "hqq"}, "HQQ "),
    "aqlm": ({"quant_method": "aqlm"}, "AQLM "),
    "eetq": ({"quant_method": "eetq"}, "EETQ "),
    "quanto": ({"quant_method": "quanto"}, "quanto "),
    "torchao": ({"quant_method": "torchao"}, "torchao "),
    "mxfp4": ({"quant_method": "mxfp4"}, "MXFP4 "),
    "upper case": ({"quant_method": "GPTQ"}, "GPTQ "),
    "packed": ({**compressed("group"), "format": "pack-quantized"}, "compressed-tensors (pack-quantized) "),
    "int8": (
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "int"}}}},
        "compressed-tensors ",
    ),
    "one of two groups": (
        compressed("tensor") | {"config_groups": {**compressed("tensor")["config_groups"], "b": {"weights": None}}},
        "compressed-tensors (float-quantized) ",
    ),
    "rotated": (compressed("tensor", transform_config={"a": 1}), "compressed-tensors (float-quantized) "),
    "sparse": (
        compressed("tensor", sparsity_config={"format": "sparse-24-bitmask"}), "compressed-tensors (float-quantized) "
    ),
    "FP4 experts": ({**DEEPSEEK, "expert_dtype": "fp4"}, "`fp8` with FP4 experts "),
    "blocks of nothing": ({**DEEPSEEK, "weight_block_size": [0, 128]}, "`fp8` "),
    "NVFP4 of ModelOpt": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "ModelOpt (NVFP4) "),
    "one from the future": ({"quant_method": "q1"}, "`q1` "),
    "nothing named": ({"bits": 4}, "an unnamed format "),
    "no text": ({"quant_method": 3}, "`3` "),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
def test_what_a_configuration_says(case: str, inside: bool, key: str) -> None:
    said, name = SAID[case]
    config = {"text_config": {key: said}} if inside else {key: said}
    message = refused({"l.weight": INT8}, config).message
    assert message.startswith(f"m: weights must be floats, or FP8 with scales; these are quantised as {name}(`")
    assert f"`{'text_config.' if inside else ''}{key}` of its config.json" in message


@pytest.mark.parametrize("said", [None, {}, "fp8", []], ids=str)
def test_entries_that_say_nothing(said: object) -> None:
    reader = MemoryReader("m", FLOATS, {"quantization_config": said})
    if said == {}:
        refused(FLOATS, {"quantization_config": said})
    else:
        assert as_floats(reader) is reader


TOLD: dict[str, tuple[dict[str, Tensor], str, str]] = {
    "gptq": ({"l.qweight": INT32, "l.qzeros": INT32, "l.scales": ONE, "l.g_idx": INT32}, "GPTQ", "l.g_idx"),
    "awq": ({"l.qweight": INT32, "l.qzeros": INT32, "l.scales": ONE}, "AWQ", "l.qzeros"),
    "symmetric": ({"l.qweight": INT32, "l.scales": ONE}, "AWQ or GPTQ", "l.qweight"),
    "nf4": (
        {"l.weight": BYTES, "l.weight.absmax": ONE, "l.weight.quant_state.bitsandbytes__nf4": BYTES},
        "bitsandbytes 4-bit", "l.weight.quant_state.bitsandbytes__nf4",
    ),
    "int8": ({"l.weight": INT8, "l.SCB": ONE}, "bitsandbytes 8-bit", "l.SCB"),
    "hqq": ({"l.W_q": BYTES, "l.scale": ONE, "l.zero": ONE}, "HQQ", "l.W_q"),
    "aqlm": ({"l.codes": INT8, "l.codebooks": ONE, "l.scales": ONE}, "AQLM", "l.codes"),
    "eetq": ({"l.weight": INT8, "l.weight_scales": ONE}, "EETQ", "l.weight_scales"),
    "quanto": ({"l.weight._data": INT8, "l.weight._scale": ONE}, "quanto", "l.weight._data"),
    "torchao": ({"l._weight_qdata": INT8, "l._weight_scale": ONE}, "torchao", "l._weight_qdata"),
    "packed": ({"l.weight_packed": INT32, "l.weight_scale": ONE}, "compressed-tensors, packed", "l.weight_packed"),
    "nvfp4": ({"l.weight": BYTES, "l.weight_scale": FP8, "l.weight_scale_2": ONE}, "NVFP4", "l.weight_scale_2"),
    "mxfp4": ({"up_blocks": BYTES, "up_scales": BYTES}, "MXFP4", "up_blocks"),
    "mlx": ({"l.weight": INT32, "l.scales": ONE, "l.biases": ONE}, "MLX", "l.weight"),
    "int8, scaled": ({"l.weight": INT8, "l.weight_scale": ONE}, "integers with scales", "l.weight"),
    "fp4 in bytes": ({"l.weight": INT8, "l.scale": ONE}, "integers with scales", "l.weight"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
@pytest.mark.parametrize("said", [False, True])
def test_what_tensors_are_called(case: str, said: bool) -> None:
    """Also where the configuration says FP8."""
    tensors, name, evidence = TOLD[case]
    fault = refused({**FLOATS, **tensors}, {"quantization_config": DEEPSEEK} if said else None)
    assert f"quantised as {name} (" in fault.message
    assert f"tensor {evidence}" in fault.message or f"tensors {evidence}" in fault.message


@pytest.mark.parametrize("case", TOLD)
def test_floats_and_casts_may_be_called_alike(case: str) -> None:
    tensors = {name: torch.ones(2, 2) for name in TOLD[case][0] if "bitsandbytes" not in name}
    assert said_quantised(MemoryReader("m", {**FLOATS, **tensors})) is None


def test_counters_beside_a_scale_are_no_weights() -> None:
    reader = MemoryReader("m", {**FLOATS, "step": torch.tensor(3), "step_scale": ONE, "p": INT8[0], "p_scale": ONE})
    assert as_floats(reader) is reader


def test_advice_is_of_what_can_be_done() -> None:
    def hint(method: str, tensors: dict[str, Tensor]) -> str:
        return refused(tensors, {"quantization_config": {"quant_method": method}}).hint or ""

    assert "model.dequantize()" in hint("bitsandbytes", {"l.weight": BYTES})
    assert "Mxfp4Config(dequantize=True)" in hint("mxfp4", {"l.weight": BYTES})
    assert "dequantize" not in hint("gptq", {"l.weight": BYTES})
    assert "remove that entry from its config.json" in hint("gptq", FLOATS)
    assert "remove that entry" not in hint("gptq", {"l.weight": BYTES})


@pytest.mark.parametrize("whole", [False, True])
def test_gguf_is_named(tmp_path: Path, whole: bool) -> None:
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError) as caught:
        open_checkpoint(ModelRef(str(tmp_path if whole else tmp_path / "model-Q4_K_M.gguf")))
    assert caught.value.codes == ("quantised-input",)
    assert "GGUF (model-Q4_K_M.gguf)" in str(caught.value)
    assert "gguf_file" in str(caught.value)


def test_the_reader_is_closed_on_refusal() -> None:
    class Closing(MemoryReader):
        closed = False

        def close(self) -> None:
            self.closed = True

    for tensors in (TOLD["gptq"][0], {"l.weight": FP8, "l.weight_scale": torch.ones(9)}):
        reader = Closing("m", tensors)
        with pytest.raises(InputError):
            as_floats(reader)
        assert reader.closed
