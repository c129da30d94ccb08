"""Which device a run takes: what is asked for, what is there, what is worth it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cuvee.errors import ResourceError, UsageError
from cuvee.execute import execute
from cuvee.execute.place import Place, choose, find
from cuvee.planning import devices
from cuvee.planning.devices import DEVICE_TILE, device_faults, fit_device, on_device, on_host
from cuvee.planning.room import SMALLEST_TILE, Workers
from tests.support.benches import Table, table
from tests.support.merging import linear

GIB = 1024**3


def job(numel: int = 5000) -> Table:
    return table(linear("a", "b"), {m: {"w": torch.zeros(1).expand(numel)} for m in "ab"})


class Cuda:
    """Stands for what torch says of the GPUs of a machine."""

    def __init__(self, patch: pytest.MonkeyPatch, *names: str, free: int = 8 * GIB, broken: bool = False) -> None:
        def free_of(number: int) -> tuple[int, int]:
            if broken:
                raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")
            return free, 80 * GIB

        patch.setattr(torch.version, "cuda", "12.8")
        patch.setattr(torch.cuda, "is_available", lambda: bool(names))
        patch.setattr(torch.cuda, "device_count", lambda: len(names))
        patch.setattr(torch.cuda, "get_device_name", lambda i: names[i])
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "mem_get_info", free_of)


# --- what is there


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch can do CUDA")
def test_a_torch_without_cuda_is_named() -> None:
    with pytest.raises(UsageError, match=r"cuda asks for a GPU; torch .* was built without CUDA"):
        find("cuda")


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch)
    with pytest.raises(UsageError, match=r"torch .* finds none") as caught:
        find("cuda:1")
    assert caught.value.code == "bad-argument"


def test_what_torch_warns_of_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch)

    def is_available() -> bool:
        import warnings

        warnings.warn("CUDA initialization: the driver is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with pytest.raises(UsageError, match="the driver is too old"):
        find("cuda")


def test_a_number_that_is_not_there_names_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, "One", "Other")
    with pytest.raises(UsageError, match=r"cuda:2 is not there; found cuda:0 \(One\), cuda:1 \(Other\)"):
        find("cuda:2")


def test_a_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, "One", "Other", free=7)
    assert find("cuda:1") == Place(torch.device("cuda", 1), "Other", 7)
    assert find("cuda").device == torch.device("cuda", 0)


def test_a_gpu_that_has_no_room_even_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, "One", broken=True)
    with pytest.raises(ResourceError, match=r"cuda:0 cannot be started: CUDA error: out of memory\n"):
        find("cuda")


# --- what is asked for


@pytest.mark.parametrize(
    "asked", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA", "cpu:0", "mps", 3, None, "cuda:99999"]
)
def test_what_is_no_device(asked: Any) -> None:
    made = job()
    with pytest.raises(UsageError, match="`device` must be cpu, cuda"):
        execute(made.bench.plan, made.bench.readers, made.bench.writer, made.bench.method, device=asked)


def test_all_that_does_not_go_with_a_gpu_is_told_at_once() -> None:
    assert len(device_faults("cuda", "plain", "fused")) == 2
    assert not device_faults("auto", "plain", "fused")
    assert not device_faults("cpu", "plain", "fused")


# --- what `auto` takes


def large(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(devices, "LARGE", 1000)


def test_auto_takes_a_gpu_for_a_large_job(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, "One")
    large(monkeypatch)
    chosen = choose("auto", job().bench.plan)
    assert (chosen.name, chosen.why) == ("cuda:0", "the job is large enough for it")


def test_auto_does_not_start_cuda_for_a_small_job(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, "One")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("it was started"))
    chosen = choose("auto", job().bench.plan)
    assert (chosen.name, "less than 4 GiB" in chosen.why) == ("cpu", True)


def test_auto_stays_where_there_is_no_gpu_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch)
    large(monkeypatch)
    chosen = choose("auto", job().bench.plan)
    assert (chosen.name, "finds none" in chosen.why) == ("cpu", True)


def test_auto_stays_where_the_gpu_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, "One", free=1000)
    large(monkeypatch)
    assert "memory of the GPU" in choose("auto", job().bench.plan).why


@pytest.mark.parametrize("options", [{"runner": "plain"}, {"kernels": "fused"}], ids=str)
def test_auto_leaves_what_only_the_processor_does(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, "One")
    large(monkeypatch)
    assert choose("auto", job().bench.plan, **options).name == "cpu"


# --- tiles and memory


def test_where_there_is_room_tiles_are_large_and_at_least_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "default_threads", lambda: 1)
    assert fit_device(job(1 << 24).bench.plan, 80 * GIB, 64 * GIB) == Workers(3, DEVICE_TILE)


def test_less_room_takes_fewer_tiles_first_then_smaller_ones() -> None:
    plan = job(1 << 24).bench.plan
    one = on_device(plan, Workers(1, DEVICE_TILE))
    assert fit_device(plan, 4 * one, 64 * GIB, threads=None) == Workers(2, DEVICE_TILE)
    smaller = fit_device(plan, one, 64 * GIB)
    assert smaller.tile < DEVICE_TILE
    assert on_device(plan, smaller) <= one // 2


def test_what_is_given_is_kept() -> None:
    plan = job(1 << 24).bench.plan
    assert fit_device(plan, 80 * GIB, 64 * GIB, threads=7, tile=3000) == Workers(7, 3000)
    with pytest.raises(ResourceError):
        fit_device(plan, 10 * GIB, 64 * GIB, threads=7, tile=1 << 24)


def test_pinned_memory_counts_against_the_limit() -> None:
    plan = job(1 << 24).bench.plan
    three, one = (on_host(plan, Workers(count, 1 << 20)) for count in (3, 1))
    assert three - one == 2 * 3 * (4 << 20)  # two inputs and the output of two more workers, in float32
    sizes = [SMALLEST_TILE << i for i in range(12)]  # the smallest tile is not the least: every tile has its books
    least = min(on_host(plan, Workers(1, size)) for size in sizes)
    found = fit_device(plan, 80 * GIB, least + (64 << 20))
    assert on_host(plan, found) <= least + (64 << 20)
    with pytest.raises(ResourceError, match="memory of this machine") as caught:
        fit_device(plan, 80 * GIB, least - 1)
    assert caught.value.code == "memory"


def test_both_sides_are_told_at_once() -> None:
    with pytest.raises(ResourceError) as caught:
        fit_device(job(1 << 24).bench.plan, 1000, 1000)
    assert len(caught.value.faults) == 2
