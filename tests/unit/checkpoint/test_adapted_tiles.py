"""Adapters tile by tile: the bytes of the whole however it is cut, against the formula in plain floats."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from cuvee.checkpoint import open_checkpoint, open_stored
from cuvee.checkpoint.adapter_config import pattern_of
from cuvee.checkpoint.adapter_fit import fit_adapter
from cuvee.checkpoint.low_rank import Factors, add_change, folded
from cuvee.checkpoint.protocol import Reader
from cuvee.types import ModelRef
from tests.support.fp8 import in_blocks, of_block

OUT, IN, RANK, TOKENS = 13, 9, 3, 11
SCALE = 2 / 3


def write(folder: Path, base: dict[str, Tensor], changes: dict[str, Tensor], **settings: Any) -> ModelRef:
    """A base and an adapter by hand."""
    for name in ("base", "adapter"):
        (folder / name).mkdir(parents=True)
    save_file(base, folder / "base/model.safetensors")
    tensors = {f"base_model.model.{name}": values for name, values in changes.items()}
    save_file(tensors, folder / "adapter/adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2, **settings}
    (folder / "adapter/adapter_config.json").write_text(json.dumps(config), "utf-8")
    return ModelRef(str(folder / "base"), adapter=ModelRef(str(folder / "adapter")))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def in_floats(weight: Tensor, a: Tensor, b: Tensor, m: Tensor | None = None, *, turned: bool = False) -> Tensor:
    """W + s · B · A, and DoRA's lengths, in Python's own floats."""
    w = (weight.T if turned else weight).tolist()
    rows = [
        [w[i][j] + SCALE * sum(float(b[i][k]) * float(a[k][j]) for k in range(len(a))) for j in range(len(w[i]))]
        for i in range(len(w))
    ]
    if m is not None:
        lengths = [math.sqrt(sum(x * x for x in row)) for row in rows]
        rows = [[float(m[i]) * x / lengths[i] for x in row] for i, row in enumerate(rows)]
    made = torch.tensor(rows, dtype=torch.float64)
    return made.T if turned else made


def cases(folder: Path) -> dict[str, tuple[ModelRef, Tensor]]:
    """Kinds of changes, with what the formula makes of them."""
    a, b, m = drawn(RANK, IN), drawn(OUT, RANK, seed=1), drawn(OUT, seed=2).abs()
    w, ea, eb, e = (
        drawn(OUT, IN, seed=3),
        drawn(RANK, TOKENS, seed=4),
        drawn(IN, RANK, seed=5),
        drawn(TOKENS, IN, seed=6),
    )
    factors = {"x.lora_A.weight": a, "x.lora_B.weight": b}
    long = {**factors, "x.lora_magnitude_vector": m}
    turned = w.T.contiguous()
    embedding = {"x.lora_embedding_A": ea, "x.lora_embedding_B": eb}
    flat = {"fan_in_fan_out": True}
    return {
        "plain": (write(folder / "1", {"x.weight": w}, factors), in_floats(w, a, b)),
        "turned": (write(folder / "2", {"x.weight": turned}, factors, **flat), in_floats(turned, a, b, turned=True)),
        "dora": (write(folder / "3", {"x.weight": w}, long, use_dora=True), in_floats(w, a, b, m)),
        "dora, turned": (
            write(folder / "4", {"x.weight": turned}, long, use_dora=True, **flat),
            in_floats(turned, a, b, m, turned=True),
        ),
        "embedding": (write(folder / "5", {"x.weight": e}, embedding), in_floats(e, ea, eb, turned=True)),
    }


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Reader, Tensor]]:
    found = cases(tmp_path_factory.mktemp("cases"))
    return {name: (open_checkpoint(ref), wanted) for name, (ref, wanted) in found.items()}


KINDS = ("plain", "turned", "dora", "dora, turned", "embedding")


@pytest.mark.parametrize("kind", KINDS)
def test_the_formula(known: dict[str, tuple[Reader, Tensor]], kind: str) -> None:
    reader, wanted = known[kind]
    found = reader.read("x.weight", 0, wanted.numel()).reshape(wanted.shape)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(cuts=st.sets(st.integers(1, 98), max_size=8))
def test_any_cut_gives_the_bytes_of_the_whole(
    known: dict[str, tuple[Reader, Tensor]], kind: str, cuts: set[int]
) -> None:
    reader, wanted = known[kind]
    ends = [0, *sorted(cuts), wanted.numel()]
    pieces = [reader.read("x.weight", start, stop) for start, stop in itertools.pairwise(ends)]
    assert torch.equal(torch.cat(pieces), reader.read("x.weight", 0, wanted.numel()))


def test_large_pieces_and_small_ones_are_the_same() -> None:
    factors = Factors(drawn(300, 5), drawn(5, 700), 0.3)
    values = drawn(300 * 700)
    whole = add_change(values, 0, factors)
    for start, stop in ((0, 1), (699, 701), (1, 209_999), (65_536, 131_073)):
        assert torch.equal(add_change(values[start:stop], start, factors), whole[start:stop])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_b_of_noughts_leaves_the_bytes_of_the_base(tmp_path: Path, dtype: torch.dtype) -> None:
    weight = drawn(OUT, IN).to(dtype)
    weight[0, :3] = -0.0
    factors = {"x.lora_A.weight": drawn(RANK, IN), "x.lora_B.weight": torch.zeros(OUT, RANK)}
    reader = open_checkpoint(write(tmp_path, {"x.weight": weight}, factors))
    found = torch.empty(weight.numel() * weight.element_size(), dtype=torch.uint8)
    reader.read_into("x.weight", 0, weight.numel(), memoryview(found.numpy()))
    assert torch.equal(found, weight.view(torch.uint8).reshape(-1))


def test_float64_is_worked_out_in_float64(tmp_path: Path) -> None:
    a, b, weight = drawn(RANK, IN), drawn(OUT, RANK, seed=1), drawn(OUT, IN, seed=3).double()
    ref = write(tmp_path, {"x.weight": weight}, {"x.lora_A.weight": a, "x.lora_B.weight": b})
    found = open_checkpoint(ref).read("x.weight", 0, weight.numel()).reshape(weight.shape)
    torch.testing.assert_close(found, in_floats(weight, a, b), rtol=1e-14, atol=1e-14)


def test_a_square_weight_stands_as_those_beside_it(tmp_path: Path) -> None:
    """`fan_in_fan_out` is one word for modules that PEFT overrules one by one."""
    side, wide = drawn(IN, IN), drawn(IN, OUT, seed=1)  # inputs by outputs
    base = {"h.0.c_proj.weight": side, "h.0.c_attn.weight": wide}
    changes = {
        "h.0.c_proj.lora_A.weight": drawn(RANK, IN),
        "h.0.c_proj.lora_B.weight": drawn(IN, RANK),
        "h.0.c_attn.lora_A.weight": drawn(RANK, IN),
        "h.0.c_attn.lora_B.weight": drawn(OUT, RANK),
    }
    reader = open_checkpoint(write(tmp_path, base, changes, fan_in_fan_out=False))
    fit = fit_adapter(reader.adapter, reader.inner)  # type: ignore[attr-defined]
    assert {name: placed.turned for name, placed in fit.changes.items()} == dict.fromkeys(base, True)


def test_a_bias_of_b_is_scaled_and_added(tmp_path: Path) -> None:
    base = {"x.weight": drawn(OUT, IN), "x.bias": drawn(OUT, seed=1)}
    added = drawn(OUT, seed=2)
    changes = {"x.lora_A.weight": drawn(RANK, IN), "x.lora_B.weight": drawn(OUT, RANK), "x.lora_B.bias": added}
    reader = open_checkpoint(write(tmp_path, base, changes, lora_bias=True))
    torch.testing.assert_close(reader.read("x.bias", 0, OUT), base["x.bias"] + SCALE * added)


def test_rows_of_tokens_take_the_place_of_the_bases(tmp_path: Path) -> None:
    rows, weight = drawn(2, IN, seed=1), drawn(TOKENS, IN)
    changes = {"x.token_adapter.trainable_tokens_delta": rows}
    reader = open_checkpoint(write(tmp_path, {"x.weight": weight}, changes, trainable_token_indices=[7, 2]))
    wanted = weight.clone()
    wanted[7], wanted[2] = rows[0], rows[1]
    found = [reader.read("x.weight", at, min(at + 5, weight.numel())) for at in range(0, weight.numel(), 5)]
    assert torch.equal(torch.cat(found).reshape(weight.shape), wanted)


def test_folded_sums() -> None:
    values = torch.arange(35, dtype=torch.float64).reshape(7, 5)
    assert torch.equal(folded(values.clone()), values.sum(0))


def test_patterns_match_as_pefts_do() -> None:
    get_pattern_key = pytest.importorskip("peft.utils.other").get_pattern_key
    patterns = {"q_proj": 1, r"layers\.1\..*k_proj": 2, "model.layers.0.v_proj": 3, "proj": 4, "^o_proj": 5}
    for layer in (0, 1, 11):
        for module in ("q_proj", "k_proj", "v_proj", "o_proj", "fc_q_proj"):
            name = f"model.layers.{layer}.{module}"
            assert (pattern_of(patterns, name) or name) == get_pattern_key(patterns, name)


def test_what_is_held_counts_factors_and_lengths(known: dict[str, tuple[Reader, Tensor]]) -> None:
    assert known["plain"][0].held == 4 * RANK * (OUT + IN)
    assert known["dora"][0].held == known["plain"][0].held + 8 * OUT


def test_an_fp8_base_is_dequantised_first(tmp_path: Path) -> None:
    weight, a, b = drawn(OUT, IN), drawn(RANK, IN), drawn(OUT, RANK, seed=1)
    codes, scales = in_blocks(weight, 4, 4)
    ref = write(
        tmp_path,
        {"x.weight": codes, "x.weight_scale_inv": scales},
        {"x.lora_A.weight": a, "x.lora_B.weight": b},
    )
    config = {"quantization_config": of_block(4, 4), "torch_dtype": "bfloat16"}
    (tmp_path / "base/config.json").write_text(json.dumps(config), "utf-8")
    plain = open_checkpoint(ModelRef(ref.path)).read("x.weight", 0, OUT * IN).reshape(OUT, IN)
    for reader in (open_checkpoint(ref), open_stored(ref)):
        assert list(reader.specs) == ["x.weight"]
        found = reader.read("x.weight", 0, OUT * IN).reshape(OUT, IN)
        torch.testing.assert_close(found.double(), in_floats(plain, a, b), rtol=1e-6, atol=1e-6)
