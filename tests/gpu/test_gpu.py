"""What only a GPU can show: CUDA gives the bytes of the processor, from pinned memory, in streams, out of memory.

`make gpu` runs it; without a GPU everything here is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from cuvee import methods, tensors
from cuvee.cli import main
from cuvee.errors import InputError, UsageError
from cuvee.execute import Digests, execute
from cuvee.execute.lane import Lane
from cuvee.execute.place import find
from cuvee.methods.tiles import stack_of
from cuvee.tensors import random, sparsify
from tests.support.benches import Table, table
from tests.support.checkpoints import assert_same, raw_bytes
from tests.support.merging import EVERY, cast, decoder, files, linear, recipe, write

GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPUS, reason="torch finds no GPU")]
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
SIZES = (300_001, 5000, 1)


@pytest.fixture(autouse=True)
def never_left(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """A GPU that gave other bytes would be left with a warning, and the results be right all the same."""
    yield
    assert not [str(w.message) for w in recwarn if "gives other bytes" in str(w.message)]


def models(kind: str, dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    """Smooth, on a grid (equal magnitudes), with zeros of both signs, or so small that numbers are denormal."""
    generator = torch.Generator().manual_seed(3)
    scale = {"tiny": 1e-39 if dtype in (torch.float32, torch.bfloat16) else 1e-7}.get(kind, 1.0)

    def draw(n: int, size: float) -> Tensor:
        made = torch.randn(n, generator=generator, dtype=torch.float64) * size
        made = (made * 64).round() / 64 if kind == "grid" else made
        return torch.where(torch.rand(n, generator=generator) < 0.2, -torch.zeros(n), made) if kind == "zeros" else made

    base = {f"t{i}": draw(n, 1.0) for i, n in enumerate(SIZES)}
    tuned = {m: {name: t + draw(len(t), 0.3) for name, t in base.items()} for m in "ab"}
    every = {"base": base, **tuned}
    return {m: {name: (t * scale).to(dtype) for name, t in model.items()} for m, model in every.items()}


def carried_out(data: Any, given: Any, **options: Any) -> tuple[Table, Digests]:
    made = table(data, given)
    return made, execute(made.bench.plan, made.bench.readers, made.bench.writer, made.bench.method, seed=5, **options)


def both(data: Any, given: Any, device: str = "cuda:0", **options: Any) -> None:
    plain, expected = carried_out(data, given, runner="plain", allow_nonfinite=options.get("allow_nonfinite", False))
    made, found = carried_out(data, given, device=device, **options)
    assert_same(made.result, plain.result)
    assert found == expected


# --- merges


@pytest.mark.parametrize("out", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", EVERY)
def test_every_method_gives_the_bytes_of_the_processor(method: str, dtype: torch.dtype, out: str) -> None:
    both(recipe(method, "base", "a", "b", out_dtype=out), models("smooth", dtype), threads=3, tile=1 << 17)


@pytest.mark.parametrize("kind", ["grid", "zeros", "tiny"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("method", EVERY)
def test_numbers_of_other_kinds(method: str, dtype: torch.dtype, kind: str) -> None:
    both(recipe(method, "base", "a", "b"), models(kind, dtype))


@pytest.mark.parametrize("method", EVERY)
def test_every_switch(method: str) -> None:
    for param in methods.get(method).spec.params:
        if param.kind == "bool" and not param.ignored:
            data = recipe(method, "base", "a", "b")
            data["parameters"][param.name] = not param.default
            both(data, models("smooth", torch.bfloat16))


def test_many_models_and_their_sum_of_weights() -> None:
    names = [f"m{i}" for i in range(37)]
    generator = torch.Generator().manual_seed(1)
    given = {name: {"w": torch.randn(5000, generator=generator)} for name in names}
    both(linear(*names, weights=[0.1 + 0.37 * i % 1 for i in range(37)]), given)


@pytest.mark.parametrize("tile", [1024, 1 << 15, 1 << 22])
@pytest.mark.parametrize("threads", [1, 4, 16])
def test_any_tile_and_any_number_in_flight(tile: int, threads: int) -> None:
    both(recipe("ties", "base", "a", "b"), models("grid", torch.bfloat16), threads=threads, tile=tile)


@pytest.mark.parametrize("method", EVERY)
def test_numbers_that_are_none_may_pass(method: str) -> None:
    given = models("smooth", torch.float32)
    given["a"]["t0"][4321], given["b"]["t0"][17], given["base"]["t0"][2] = torch.nan, torch.inf, -torch.inf
    both(recipe(method, "base", "a", "b"), given, allow_nonfinite=True)


def test_a_number_that_is_none_is_told_in_the_same_words() -> None:
    given = models("smooth", torch.bfloat16)
    given["b"]["t0"][4321] = torch.nan
    told = []
    for options in ({"runner": "plain"}, {"device": "cuda"}):
        with pytest.raises(InputError) as caught:
            carried_out(recipe("ties", "base", "a", "b"), given, **options)
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.mark.skipif(GPUS < 2, reason="there is one GPU")
def test_the_other_gpu() -> None:
    both(recipe("ties", "base", "a", "b"), models("smooth", torch.bfloat16), device="cuda:1")


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"cuda:99 is not there; found cuda:0 \("):
        find("cuda:99")


def test_a_merge_of_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write(tmp_path / m, cast(decoder(i), torch.bfloat16)) for i, m in enumerate(("base", "a", "b"))]
    (tmp_path / "r.json").write_text(json.dumps(recipe("ties", *paths)))
    cuvee.merge(tmp_path / "r.json", tmp_path / "here")
    words = ["merge", str(tmp_path / "r.json"), "-o", str(tmp_path / "there"), "--device", "cuda", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["device"]["used"] == "cuda:0"
    assert files(tmp_path / "here") == files(tmp_path / "there")


# --- memory


def test_host_memory_is_pinned() -> None:
    row = Lane(CUDA).room("row 0", 5000, torch.bfloat16)
    assert row.is_pinned()
    assert row.dtype == torch.bfloat16


def test_out_of_memory_takes_smaller_tiles() -> None:
    """torch is given so little of the GPU that a tile of this size cannot be there, and one of 2^20 entries can."""
    generator = torch.Generator().manual_seed(1)
    given = {m: {"w": torch.randn(1 << 24, generator=generator).bfloat16()} for m in ("base", *"ab")}
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((256 << 20) / total)
    try:
        both(recipe("ties", "base", "a", "b"), given, threads=2, tile=1 << 24)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


# --- operation by operation


def bits(dtype: torch.dtype, n: int, seed: int) -> Tensor:
    """Finite numbers of random bits, zeros of both signs and denormals among them."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, (n * dtype.itemsize,), dtype=torch.uint8, generator=generator).view(dtype)
    raw[: n // 8] = (torch.randn(n // 8, generator=generator, dtype=torch.float64) * 1e-39).to(dtype)
    raw[n // 8 : n // 7] = -0.0
    return torch.where(raw.isfinite(), raw, torch.ones_like(raw))


OPERATIONS = {
    "mul": lambda a, b: a * b,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "div": lambda a, b: a / torch.where(b == 0, torch.ones_like(b), b),
    "divided by one": lambda a, b: a / b[5000],
    "by a number": lambda a, b: a * 0.1,
    "sign": lambda a, b: a.sign(),
    "block sums": lambda a, b: tensors.block_sums(a),
    "gram": lambda a, b: tensors.gram(torch.stack([a, b])),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_one_operation(name: str, dtype: torch.dtype) -> None:
    a, b = bits(dtype, 1 << 20, 1), bits(dtype, 1 << 20, 2)
    here, there = OPERATIONS[name](a, b), OPERATIONS[name](a.to(CUDA), b.to(CUDA)).cpu()
    numbers = ~here.isnan()  # the bits of NaN differ between devices, and such tiles are the processor's
    assert there.isnan().equal(here.isnan())
    assert here[numbers].view(torch.uint8).equal(there[numbers].view(torch.uint8))


@pytest.mark.parametrize("out", DTYPES[:3], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rounding(dtype: torch.dtype, out: torch.dtype) -> None:
    values = torch.cat([bits(dtype, 1 << 20, 3), torch.randn(1 << 20, dtype=torch.float64).to(dtype)])
    here, there = tensors.round_to(values, out), tensors.round_to(values.to(CUDA), out).cpu()
    assert raw_view(here).equal(raw_view(there))


def raw_view(values: Tensor) -> Tensor:
    return values.contiguous().view(torch.uint8)


def test_random_words() -> None:
    for start, stop in ((0, 5000), (12345, 99_999), (1 << 33, (1 << 33) + 77)):
        assert random.random_words(-77, start, stop).equal(random.random_words(-77, start, stop, CUDA).cpu())
        assert random.uniform(-77, start, stop).equal(random.uniform(-77, start, stop, CUDA).cpu())


def test_what_the_passes_count() -> None:
    deltas = (torch.randn(3, 1 << 19, generator=torch.Generator().manual_seed(1)) * 64).round() / 64
    prefix = torch.tensor([0x3F80, 0x3F00, 0x3E80])
    magnitudes = torch.tensor([0x3F800000, 0x3F000000, 0])
    for values in (deltas, deltas[:, :70_001]):
        there = values.to(CUDA)
        for width, found in ((16, prefix), (8, prefix >> 8)):
            for digit, known in ((0, None), (1, found)):
                here = sparsify.digit_counts(values, known, digit, width).values
                assert here.equal(sparsify.digit_counts(there, known, digit, width).values.cpu())
        here = sparsify.equal_counts(values, magnitudes, 1024).parts[1]
        assert here.equal(sparsify.equal_counts(there, magnitudes, 1024).parts[1].cpu())


def test_a_stack_of_mixed_dtypes() -> None:
    chosen = methods.get("ties")
    rows = [bits(dtype, 5000, i) for i, dtype in enumerate((torch.bfloat16, torch.float16, torch.float32))]
    here = stack_of(chosen, rows[1:], rows[0], torch.float32)
    there = stack_of(chosen, [r.to(CUDA) for r in rows[1:]], rows[0].to(CUDA), torch.float32)
    assert raw_bytes(here[:, :2000]) == raw_bytes(there[:, :2000].cpu())
