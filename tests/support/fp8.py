"""FP8 checkpoints in the layouts that real models have, and what they stand for in plain Python numbers."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]

DEEPSEEK: Mapping[str, Any] = {
    "quant_method": "fp8",
    "fmt": "e4m3",
    "weight_block_size": [128, 128],
    "activation_scheme": "dynamic",
}
"""`quantization_config` of DeepSeek-V3."""


def of_block(rows: int, columns: int) -> dict[str, Any]:
    """The same for blocks of another size."""
    return {**DEEPSEEK, "weight_block_size": [rows, columns]}


def compressed(strategy: str, block: list[int] | None = None, **more: Any) -> dict[str, Any]:
    """`quantization_config` of compressed-tensors for eight-bit floats."""
    weights = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": strategy, "block_structure": block}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ["lm_head"],
        **more,
    }


def in_blocks(
    weight: Tensor, rows: int = 128, columns: int = 128, dtype: torch.dtype = torch.float8_e4m3fn
) -> tuple[Tensor, Tensor]:
    """A matrix in FP8 and the scale of every block, the last ones cut at the edge."""
    grid = -(-weight.shape[0] // rows), -(-weight.shape[1] // columns)
    codes, scales = torch.empty_like(weight, dtype=dtype), torch.empty(grid)
    for i in range(grid[0]):
        for j in range(grid[1]):
            here = slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns)
            scales[i, j] = weight[here].abs().max() / torch.finfo(dtype).max
            codes[here] = (weight[here] / scales[i, j]).to(dtype)
    return codes, scales


def quantised(tensors: Tensors, rows: int = 128, columns: int = 128) -> dict[str, Tensor]:
    """A state dict as DeepSeek stores it: the matrices of layers in FP8, everything else in bfloat16."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if ".layers." in name and tensor.dim() == 2:
            found[name], found[f"{name}_scale_inv"] = in_blocks(tensor.float(), rows, columns)
        else:
            found[name] = tensor.bfloat16()
    return found


# --- the truth, one number at a time


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def number(byte: int, exponent_bits: int, mantissa_bits: int) -> float:
    """What a code of an FP8 format stands for; codes of NaN and infinity are not asked for."""
    sign = -1.0 if byte >> 7 else 1.0
    exponent, mantissa = byte >> mantissa_bits & (1 << exponent_bits) - 1, byte & (1 << mantissa_bits) - 1
    bias = (1 << exponent_bits - 1) - 1
    if exponent == 0:
        return sign * mantissa * 2.0 ** (1 - bias - mantissa_bits)
    return sign * (1 + mantissa / (1 << mantissa_bits)) * 2.0 ** (exponent - bias)


BITS = {torch.float8_e4m3fn: (4, 3), torch.float8_e5m2: (5, 2)}


def slowly(codes: Tensor, scales: Tensor, rows: int, columns: int) -> Tensor:
    """A matrix dequantised: each code's number times the scale of its block, rounded to float32."""
    grid = [[_float32(x) for x in row] for row in scales.float().tolist()]
    table = codes.view(torch.uint8).tolist()
    values = [
        [_float32(number(byte, *BITS[codes.dtype]) * grid[i // rows][j // columns]) for j, byte in enumerate(row)]
        for i, row in enumerate(table)
    ]
    return torch.tensor(values, dtype=torch.float32)


def dequantised(tensors: Tensors, rows: int = 128, columns: int = 128) -> dict[str, Tensor]:
    """What a state dict made by `quantised` stands for, in float32."""
    return {
        name: slowly(tensor, tensors[f"{name}_scale_inv"], rows, columns) if tensor.dtype in BITS else tensor.float()
        for name, tensor in tensors.items()
        if not name.endswith("_scale_inv")
    }
