"""Carrying out a plan: hashes, progress, what must be equal before anything begins."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
import xxhash
from torch import Tensor

from cuvee.checkpoint import MemoryReader, digest_tensor
from cuvee.errors import InputError, UsageError
from cuvee.execute import Digests, Progress, execute
from cuvee.execute.preflight import preflight
from cuvee.planning import DEFAULT_TILE, Piece, default_threads
from cuvee.tensors.blocks import BLOCK
from tests.support.benches import Table, table
from tests.support.checkpoints import assert_same, raw_bytes
from tests.support.merging import linear, recipe

RUNNERS: list[Any] = ["plain", "threaded"]


def carry_out(made: Table, **options: Any) -> Digests:
    bench = made.bench
    return execute(bench.plan, bench.readers, bench.writer, bench.method, **options)


def digest(tensor: Tensor) -> str:
    return xxhash.xxh3_128_hexdigest(raw_bytes(tensor))


def two(**more: Tensor) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return {m: {"w": torch.randn(3, 700, generator=generator), **more} for m in "ab"}


# --- settings


def test_the_default_tile_is_whole_blocks() -> None:
    assert DEFAULT_TILE % BLOCK == 0


def test_as_many_threads_as_cores_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_threads() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert default_threads() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_threads() == 1


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"tile": 0}, {"threads": -2}, {"tile": -1}, {"threads": 1.5}], ids=str
)
def test_settings_that_are_no_counts(options: dict[str, Any]) -> None:
    made = table(linear("a", "b"), two())
    with pytest.raises(UsageError, match="must be an integer"):
        carry_out(made, **options)


# --- hashes


@pytest.mark.parametrize("runner", RUNNERS)
def test_hashes_of_all_that_is_read_and_written(runner: Any) -> None:
    models = two(n=torch.tensor([1, 2]), e=torch.empty(0, 2))
    made = table(linear("a", "b"), models)
    found = carry_out(made, runner=runner, tile=1024)
    assert found.outputs == {name: digest(tensor) for name, tensor in made.result.items()}
    assert found.inputs == {Piece(i, n): digest(t) for i, m in enumerate("ab") for n, t in models[m].items()}


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_passes_through_is_not_read_again_for_its_hash(runner: Any) -> None:
    hashed: list[str] = []

    class Counting(MemoryReader):
        def digest(self, name: str) -> str:
            hashed.append(name)
            return super().digest(name)

    tensors = {f"layers.{i}.weight": torch.ones(4) * i for i in range(2)}
    slices = [{"sources": [{"model": "a", "layer_range": r}]} for r in ([0, 2], [1, 2], [1, 2])]
    data = {"merge_method": "passthrough", "slices": slices, "parameters": {"scale": 0.5}}
    made = table(data, {"a": tensors}, reader=Counting)
    found = carry_out(made, runner=runner, threads=1)
    assert found.inputs == {Piece(0, name): digest(tensor) for name, tensor in tensors.items()}
    assert found.outputs == {name: digest(tensor) for name, tensor in made.result.items()}
    assert hashed == []


@pytest.mark.parametrize("tile", [1024, 1 << 17, 1 << 18, None])
@pytest.mark.parametrize("threads", [1, 3])
def test_hashes_do_not_depend_on_tiles(tile: int | None, threads: int) -> None:
    models = {m: {"w": torch.randn(300_001, generator=torch.Generator().manual_seed(i))} for i, m in enumerate("ab")}
    made = table(linear("a", "b"), models)
    found = carry_out(made, threads=threads, tile=tile)
    assert found.outputs == {"w": digest_tensor(made.result["w"])}
    assert found.inputs == {Piece(i, "w"): digest_tensor(models[m]["w"]) for i, m in enumerate("ab")}


@pytest.mark.parametrize("runner", RUNNERS)
def test_without_hashes(runner: Any) -> None:
    made = table(linear("a", "b"), two())
    assert carry_out(made, runner=runner, hashes=False) == Digests()
    assert made.result.keys() == {"w"}


# --- what is written


@pytest.mark.parametrize("runner", RUNNERS)
def test_empty_tensors_and_single_numbers(runner: Any) -> None:
    models = {m: {"e": torch.empty(0), "f": torch.empty(3, 0), "s": torch.tensor(float(i))} for i, m in enumerate("ab")}
    made = table(linear("a", "b", weights=[1, 1]), models)
    carry_out(made, runner=runner)
    assert_same(made.result, {"e": torch.empty(0), "f": torch.empty(3, 0), "s": torch.tensor(0.5)})


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_plan_of_copies(runner: Any) -> None:
    models = two(n=torch.arange(3000))
    data = {"merge_method": "passthrough", "models": [{"model": "a"}]}
    made = table(data, models)
    assert {step.action for step in made.bench.plan.steps} == {"copy"}
    carry_out(made, runner=runner, tile=1024, threads=3)
    assert_same(made.result, models["a"])


@pytest.mark.parametrize("runner", RUNNERS)
def test_progress(runner: Any) -> None:
    made = table(linear("a", "b"), two(e=torch.empty(0), x=torch.ones(5)))
    told: list[Progress] = []
    carry_out(made, runner=runner, progress=told.append)
    assert (told[-1].done, told[-1].total) == (2105 * 4, 2105 * 4)
    assert sorted(step.tensor for step in told) == ["w", "x"]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_large_tensor_is_told_tile_by_tile(threads: int) -> None:
    told: list[Progress] = []
    carry_out(table(linear("a", "b"), two(w=torch.ones(5000))), threads=threads, tile=1024, progress=told.append)
    assert len(told) == 5
    assert (told[0].done <= 4096, told[-1].done) == (True, 20000)
    assert [step.done for step in told] == sorted(step.done for step in told)


# --- what must be equal


def test_a_difference_in_the_last_element_is_found() -> None:
    """Compared piece by piece."""
    long = torch.zeros((1 << 20) + 3, dtype=torch.uint8)
    other = long.clone()
    other[-1] = 1
    made = table(linear("a", "b"), {"a": {"q": long}, "b": {"q": other}})
    with pytest.raises(InputError, match="a and b differ"):
        preflight(made.bench.plan, made.bench.readers)


def test_nothing_is_written_before_all_is_compared() -> None:
    models = {"a": two()["a"] | {"z": torch.tensor([1])}, "b": two()["b"] | {"z": torch.tensor([2])}}
    made = table(linear("a", "b"), models)
    told: list[Progress] = []
    with pytest.raises(InputError):
        carry_out(made, progress=told.append)
    assert told == []


def test_floats_are_not_compared() -> None:
    class Untouched(MemoryReader):
        def read(self, name: str, start: int, stop: int) -> Tensor:
            raise AssertionError(f"{name} was read")

    made = table(recipe("ties", "z", "a", "b"), {"z": two()["a"], **two()}, reader=Untouched)
    preflight(made.bench.plan, made.bench.readers)


def test_all_models_are_compared_with_the_first() -> None:
    models = {name: {"n": torch.tensor([value])} for name, value in (("a", 1), ("b", 1), ("c", 2), ("d", 3))}
    made = table(linear("a", "b", "c", "d"), models)
    with pytest.raises(InputError) as caught:
        preflight(made.bench.plan, made.bench.readers)
    assert [fault.message.rsplit("; ")[-1] for fault in caught.value.faults] == ["a and c differ", "a and d differ"]


def test_stored_copies_of_a_tied_head_are_compared_whole() -> None:
    embedding = torch.randn(500, 20, generator=torch.Generator().manual_seed(0))
    head = embedding.clone()
    head[-1, -1] += 1
    tied = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding.clone()}
    models = {"a": tied, "b": {**tied, "lm_head.weight": head}}
    config = {"tie_word_embeddings": True}
    made = table(linear("a", "b"), models, configs={"a": config, "b": config})
    with pytest.raises(InputError, match=r"b: lm_head.weight should repeat") as caught:
        preflight(made.bench.plan, made.bench.readers)
    assert caught.value.codes == ("tied-mismatch",)
