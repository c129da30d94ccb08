"""FP8 with scales read as float32: the arithmetic, the layouts, and what is refused before any work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cuvee.checkpoint import (
    MemoryReader,
    Reader,
    as_floats,
    digest_tensor,
    open_checkpoint,
    open_stored,
    said_quantised,
)
from cuvee.errors import InputError
from cuvee.types import ModelRef, TensorSpec
from tests.support.checkpoints import assert_same, raw_bytes, read_in_tiles, read_whole
from tests.support.fp8 import DEEPSEEK, compressed, in_blocks, of_block, slowly
from tests.support.merging import SIDE_FILES, write

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def shown(tensors: dict[str, Tensor], said: dict[str, Any] | None = None, **config: Any) -> Reader:
    """The model as it is read, with a configuration where there is one."""
    given = {**config, **({"quantization_config": said} if said else {})} or None
    return as_floats(MemoryReader("m", tensors, given))


def faults(tensors: dict[str, Tensor], said: dict[str, Any] | None = None) -> list[tuple[str, str | None]]:
    with pytest.raises(InputError) as caught:
        shown(tensors, said)
    return [(fault.code, fault.subject) for fault in caught.value.faults]


# --- arithmetic


@pytest.mark.parametrize("dtype", [E4M3, E5M2], ids=str)
@pytest.mark.parametrize("shape", [(128, 128), (256, 384), (200, 300), (1, 1), (129, 1), (1, 129), (64, 64)], ids=str)
def test_values_are_codes_times_the_scale_of_their_block(shape: tuple[int, int], dtype: torch.dtype) -> None:
    codes, scales = in_blocks(matrix(*shape), dtype=dtype)
    found = read_whole(shown({"l.weight": codes, "l.weight_scale_inv": scales}, DEEPSEEK))
    assert_same(found, {"l.weight": slowly(codes, scales, 128, 128)})


@pytest.mark.parametrize("dtype", [E4M3, E5M2], ids=str)
def test_every_code_stands_for_its_number(dtype: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(dtype)
    finite = codes[codes.float().isfinite()].view(1, -1)
    scales = torch.tensor([[0.7]])
    (found,) = read_whole(shown({"l.weight": finite, "l.weight_scale": scales})).values()
    assert raw_bytes(found) == raw_bytes(slowly(finite, scales, 1, finite.numel()))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.data())
def test_any_range_is_that_range_of_the_whole(
    rows: int, columns: int, high: int, wide: int, data: st.DataObject
) -> None:
    codes, scales = in_blocks(matrix(rows, columns), high, wide)
    reader = shown({"l.weight": codes, "l.weight_scale_inv": scales}, of_block(high, wide))
    start = data.draw(st.integers(0, rows * columns))
    stop = data.draw(st.integers(start, rows * columns))
    expected = slowly(codes, scales, high, wide).reshape(-1)[start:stop]
    assert raw_bytes(reader.read("l.weight", start, stop)) == raw_bytes(expected)
    into = bytearray(4 * (stop - start))
    reader.read_into("l.weight", start, stop, memoryview(into))
    assert bytes(into) == raw_bytes(expected)


def test_a_large_tensor_is_read_whole_as_in_parts() -> None:
    """Longer than what is looked up at a time."""
    codes, scales = in_blocks(matrix(701, 613))
    reader = shown({"l.weight": codes, "l.weight_scale_inv": scales}, DEEPSEEK)
    assert_same(read_whole(reader), {"l.weight": slowly(codes, scales, 128, 128)})


def test_what_is_no_fp8_is_read_as_it_is() -> None:
    tensors = {"norm.weight": matrix(3, 3).bfloat16(), "count": torch.tensor(4), "l.weight": torch.ones(2, 2).to(E4M3)}
    reader = shown({**tensors, "l.weight_scale": torch.tensor(2.0)})
    assert_same(read_whole(reader), {**tensors, "l.weight": torch.full((2, 2), 2.0)})
    into = bytearray(18)
    reader.read_into("norm.weight", 0, 9, memoryview(into))
    assert bytes(into) == raw_bytes(tensors["norm.weight"])


def test_many_threads_read_alike(tmp_path: Path) -> None:
    codes, scales = in_blocks(matrix(300, 200))
    write(tmp_path / "m", {"l.weight": codes, "l.weight_scale_inv": scales}, {"quantization_config": DEEPSEEK})
    reader = open_checkpoint(ModelRef(str(tmp_path / "m")))
    starts = list(range(0, 60000, 777))
    with ThreadPoolExecutor(8) as pool:
        tiles = list(pool.map(lambda start: reader.read("l.weight", start, min(start + 777, 60000)), starts))
    reader.close()
    assert raw_bytes(torch.cat(tiles)) == raw_bytes(slowly(codes, scales, 128, 128))


class Watched:
    """A reader that takes note of how many elements are read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.read_of: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        self.read_of[name] = self.read_of.get(name, 0) + stop - start
        return self._reader.read(name, start, stop)


def test_only_what_is_asked_for_is_read() -> None:
    codes, scales = in_blocks(matrix(1024, 512), 8, 8)
    watched = Watched(MemoryReader("m", {"l.weight": codes, "l.weight_scale_inv": scales}))
    reader = as_floats(_with_config(watched, of_block(8, 8)))
    reader.read("l.weight", 100 * 512 + 7, 103 * 512)
    assert watched.read_of == {"l.weight": 3 * 512 - 7, "l.weight_scale_inv": 64}


def _with_config(watched: Watched, said: dict[str, Any]) -> Any:
    watched.config = {"quantization_config": said}
    return watched


# --- layouts

ROWS = torch.tensor([0.5, 2.0, 3.0])
LAYOUTS: dict[str, tuple[dict[str, Any] | None, str, Tensor, Tensor]] = {
    "tensor, no axis": (None, "l.weight_scale", torch.tensor(0.5), torch.tensor(0.5)),
    "tensor, one": (compressed("tensor"), "l.weight_scale", torch.tensor([0.5]), torch.tensor(0.5)),
    "tensor, null blocks": ({**DEEPSEEK, "weight_block_size": None}, "l.weight_scale_inv", torch.tensor(3.0), ROWS[2]),
    "tensor, static": (
        {"quant_method": "fp8", "activation_scheme": "static"}, "l.weight_scale", torch.tensor(3.0), ROWS[2]
    ),
    "row, column vector": (compressed("channel"), "l.weight_scale", ROWS[:, None], ROWS[:, None]),
    "row, half precision": (compressed("channel"), "l.weight_scale", ROWS[:, None].bfloat16(), ROWS[:, None]),
    "row, flat": (None, "l.weight_scale", ROWS, ROWS[:, None]),
    "row, fbgemm": ({"quant_method": "fbgemm_fp8"}, "l.weight_scale", ROWS[:, None], ROWS[:, None]),
    "column": (None, "l.weight_scale", ROWS[None, :2], ROWS[None, :2]),
    "modelopt": ({"quant_method": "modelopt", "quant_algo": "FP8"}, "l.weight_scale", torch.tensor(0.5), ROWS[0]),
    "older name": (None, "l.scale", torch.tensor([[2.0]]), ROWS[1]),
    "Mistral": (None, "l.qscale_weight", torch.tensor(2.0), ROWS[1]),
    "ComfyUI": (None, "l.scale_weight", torch.tensor(2.0), ROWS[1]),
    "blocks": (compressed("block", [2, 2]), "l.weight_scale", ROWS[:2, None], ROWS[[0, 0, 1], None]),
    "powers of two": (
        of_block(2, 2), "l.weight_scale_inv", torch.tensor([[0.25], [8.0]]).to(torch.float8_e8m0fnu),
        torch.tensor([[0.25], [0.25], [8.0]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_every_layout_of_scales(case: str) -> None:
    said, name, scale, factors = LAYOUTS[case]
    codes = matrix(3, 2).to(E4M3)
    reader = shown({"l.weight": codes, name: scale}, said)
    assert_same(read_whole(reader), {"l.weight": codes.float() * factors})
    assert_same(read_in_tiles(reader, 1), {"l.weight": codes.float() * factors})


def test_experts_in_one_tensor_have_blocks_each() -> None:
    """Rows of an expert that fill no block: the next expert begins a block of its own."""
    pairs = [in_blocks(matrix(5, 7, seed), 4, 4) for seed in range(3)]
    codes, scales = (torch.stack(side) for side in zip(*pairs, strict=True))
    tensors = {"experts.up_proj": codes, "experts.up_proj_scale_inv": scales}
    expected = torch.stack([slowly(c, s, 4, 4) for c, s in pairs])
    for tile in (1, 11, 35, 105):
        assert_same(read_in_tiles(shown(tensors, of_block(4, 4)), tile), {"experts.up_proj": expected})


@pytest.mark.parametrize("shape", [(3, 1, 7), (3, 5, 1), (3, 1, 1), (1, 1, 1), (1, 5, 1)], ids=str)
def test_experts_with_whole_scales(shape: tuple[int, ...]) -> None:
    codes = torch.stack([matrix(5, 7, seed) for seed in range(3)]).to(E4M3)
    scale = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    found = read_in_tiles(shown({"up": codes, "up_scale": scale}), 13)
    assert_same(found, {"up": codes.float() * scale})


def test_vectors_and_tensors_without_entries() -> None:
    tensors = {"b": matrix(1, 5)[0].to(E4M3), "b_scale": torch.tensor(0.5), "e.weight": torch.empty(0, 4).to(E4M3)}
    reader = shown({**tensors, "e.weight_scale": torch.tensor(1.0)})
    assert_same(read_whole(reader), {"b": tensors["b"].float() * 0.5, "e.weight": torch.empty(0, 4)})


# --- what is shown


def test_scales_are_not_shown_and_activations_are_told() -> None:
    tensors = {
        "l.weight": torch.ones(2, 2).to(E4M3),
        "l.weight_scale": torch.tensor(2.0),
        "l.input_scale": torch.tensor(3.0),
        "attn.k_scale": torch.tensor(1.0),
        "scaled_fp8": torch.empty(0),
        "norm.scale": torch.ones(2),
    }
    reader = shown(tensors)
    assert set(reader.specs) == {"l.weight", "norm.scale"}
    assert reader.notes == (
        "1 weights are float8_e4m3fn with one scale per tensor; they are dequantised to float32 as they are read",
        "scales of activations and caches are left out: attn.k_scale, l.input_scale, scaled_fp8",
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "float16"}, "float16"),
        ({"text_config": {"dtype": "float32"}}, "float32"),
        ({"dtype": "auto"}, "float16"),
        ({}, "float16"),
    ],
    ids=str,
)
def test_a_weight_is_written_in_the_dtype_it_had(config: dict[str, Any], expected: str) -> None:
    tensors = {"l.weight": torch.ones(2, 2).to(E4M3), "l.weight_scale": torch.ones(99, 1)[:2]}
    tensors["n"] = torch.ones(3).half()
    said = compressed("channel", dtype="float64")
    spec = shown(tensors, said, **config).specs["l.weight"]
    assert spec == TensorSpec("l.weight", "float32", (2, 2), "float8_e4m3fn", expected)
    assert (spec.nbytes, spec.stored_nbytes) == (16, 4)


def test_fingerprints_are_of_the_values_read() -> None:
    codes, scales = in_blocks(matrix(600, 700))
    norm = torch.ones(3)
    reader = shown({"l.weight": codes, "l.weight_scale_inv": scales, "n": norm}, DEEPSEEK)
    assert reader.digest("l.weight") == digest_tensor(slowly(codes, scales, 128, 128))
    assert reader.digest("n") == digest_tensor(norm)


def test_the_configuration_is_shown_without_its_quantisation(tmp_path: Path) -> None:
    codes, scales = in_blocks(matrix(4, 4))
    config = {"x": 1, "text_config": {"y": 2, "quantization_config": DEEPSEEK}}
    folder = write(tmp_path / "m", {"l.weight": codes, "l.weight_scale_inv": scales}, config)
    (folder / "hf_quant_config.json").write_text("{}")
    with_all, reader = open_stored(ModelRef(str(folder))), open_checkpoint(ModelRef(str(folder)))
    assert (with_all.config, reader.config) == (config, {"x": 1, "text_config": {"y": 2}})
    assert reader.config_text == (folder / "config.json").read_text()
    assert (reader.folder, reader.label) == (folder, str(folder))
    assert {file.name for file in reader.side_files} == set(SIDE_FILES)
    assert {file.name for file in with_all.side_files} == {*SIDE_FILES, "hf_quant_config.json"}


def test_tied_weights_stay_tied_where_their_scale_is_one() -> None:
    codes, scale = torch.ones(2, 2).to(E4M3), torch.tensor(2.0)
    tied = {"a.weight": codes, "b.weight": codes, "a.weight_scale": scale, "b.weight_scale": scale}
    assert shown(tied).shared == {"b.weight": "a.weight"}
    assert shown(tied | {"b.weight_scale": torch.tensor(3.0)}).shared == {}


def test_plain_casts_are_left_alone() -> None:
    reader = MemoryReader("m", {"l.weight": torch.ones(2, 2).to(E4M3), "scale": torch.ones(1)})
    assert as_floats(reader) is reader
    assert said_quantised(reader) is None


def test_a_configuration_that_outlived_its_quantisation_is_passed_over() -> None:
    reader = shown({"l.weight": torch.ones(2, 2)}, DEEPSEEK)
    assert (reader.config, reader.specs["l.weight"].dtype) == ({}, "float32")


# --- what is refused

CODES, SCALES = in_blocks(matrix(200, 300))
GOOD = {"l.weight": CODES, "l.weight_scale_inv": SCALES}
BAD: dict[str, tuple[dict[str, Tensor], str]] = {
    "no scale": ({"l.weight": CODES}, "l.weight"),
    "transposed": ({"l.weight": CODES, "l.weight_scale_inv": SCALES.T.contiguous()}, "l.weight_scale_inv"),
    "one for all": ({"l.weight": CODES, "l.weight_scale_inv": torch.ones(1)}, "l.weight_scale_inv"),
    "one per row": ({"l.weight": CODES, "l.weight_scale_inv": torch.ones(200, 1)}, "l.weight_scale_inv"),
    "other blocks": ({"l.weight": CODES, "l.weight_scale_inv": torch.ones(4, 5)}, "l.weight_scale_inv"),
    "of integers": ({"l.weight": CODES, "l.weight_scale_inv": SCALES.byte()}, "l.weight_scale_inv"),
    "two scales": ({**GOOD, "l.weight_scale": torch.ones(1)}, "l.weight"),
    "of no weight": ({**GOOD, "k.weight_scale_inv": SCALES}, "k.weight_scale_inv"),
    "of floats": ({**GOOD, "k.weight": torch.ones(2, 2), "k.weight_scale": SCALES}, "k.weight_scale"),
    "of a vector": ({"l.weight": CODES[0], "l.weight_scale_inv": SCALES[0]}, "l.weight_scale_inv"),
}


@pytest.mark.parametrize("case", BAD)
def test_scales_that_do_not_fit_are_refused(case: str) -> None:
    tensors, subject = BAD[case]
    assert faults(tensors, DEEPSEEK) == [("bad-scale", subject)]


def test_null_blocks_are_no_blocks_of_the_usual_size() -> None:
    assert faults(GOOD, {**DEEPSEEK, "weight_block_size": None}) == [("bad-scale", "l.weight_scale_inv")]


def test_all_faults_are_told_at_once() -> None:
    bad = {f"{i}.{name}": tensor for i, (tensors, _) in enumerate(BAD.values()) for name, tensor in tensors.items()}
    assert sorted(faults(bad, DEEPSEEK)) == sorted(
        ("bad-scale", f"{i}.{subject}") for i, (_, subject) in enumerate(BAD.values())
    )


def test_thousands_of_faults_are_told_in_short() -> None:
    found = faults({f"{i}.weight": CODES for i in range(50)}, DEEPSEEK)
    assert found == [*(("bad-scale", f"{i}.weight") for i in range(20)), ("bad-scale", "m")]


def test_one_scale_among_casts_asks_for_all() -> None:
    assert faults({**GOOD, "k.weight": CODES}) == [("bad-scale", "k.weight")]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("make", [lambda s: s, lambda s: s.bfloat16()], ids=["float32", "bfloat16"])
def test_scales_that_no_quantisation_makes_are_refused_when_read(
    value: float, make: Callable[[Tensor], Tensor]
) -> None:
    scales = SCALES.clone()
    scales[1, 2] = value
    reader = shown({"l.weight": CODES, "l.weight_scale_inv": make(scales)}, DEEPSEEK)
    reader.read("l.weight", 0, 300 * 128)
    with pytest.raises(InputError, match=r"entry 5 of l\.weight_scale_inv") as caught:
        reader.read("l.weight", 300 * 128, 300 * 128 + 1)
    assert caught.value.code == "bad-scale"
