"""Workers and tiles that fit into a limit, and how much memory is free where nobody gave one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvee.errors import ResourceError
from cuvee.planning import Plan, Workers, fit_workers, peak_memory, room
from cuvee.planning.free import free_memory
from cuvee.planning.model import ModelFacts, Piece, Step
from cuvee.recipe.model import Recipe
from cuvee.types import ModelRef, TensorSpec

MIB = 1 << 20
GIANT = 1 << 31


def plan_for(method: str, numel: int, models: int, held: int = 0) -> Plan:
    """A plan of one tensor: a base and fine-tunes, or models alone."""
    refs = [ModelRef(str(i)) for i in range(models)]
    facts = tuple(ModelFacts(ref, str(ref), 1, numel, 2 * numel, ("bfloat16",), {}, held=held) for ref in refs)
    base, *inputs = (Piece(i, "w") for i in range(models))
    step = Step(TensorSpec("w", "bfloat16", (numel,)), "merge", tuple(inputs), base)
    return Plan(Recipe(method, ()), facts, 0, (step,))


def least_of(plan: Plan, **asked: int) -> int:
    """The MiB that the refusal of one MiB names."""
    with pytest.raises(ResourceError) as caught:
        fit_workers(plan, MIB, **asked)
    (fault,) = caught.value.faults
    assert fault.code == "memory"
    named = str(fault.hint).split("--max-memory to ")[1].split("MiB")[0]
    assert f"{int(named):,} MiB of memory at least, the limit is 1 MiB" in fault.message
    return int(named)


@given(
    st.sampled_from(["linear", "slerp", "ties", "dare_ties"]),
    st.integers(1, 40),
    st.integers(3, 9),
    st.sampled_from([{}, {"threads": 3}, {"tile": 1 << 20}, {"tile": 1}, {"threads": 2, "tile": 1 << 14}]),
)
def test_the_least_that_is_named_is_the_least(method, power, models, asked) -> None:
    plan = plan_for(method, 1 << power if power < 32 else 3, models)
    least = least_of(plan, **asked)
    workers = fit_workers(plan, least * MIB, **asked)
    assert peak_memory(plan, workers, keeps=False) <= least * MIB
    with pytest.raises(ResourceError):
        fit_workers(plan, (least - 1) * MIB, **asked)


@given(st.integers(400, 4000), st.integers(1, 31))
def test_what_is_chosen_fits_and_more_room_is_used(limit, power) -> None:
    plan = plan_for("dare_ties", 1 << power, 4)
    chosen = fit_workers(plan, limit * MIB)
    assert peak_memory(plan, chosen, keeps=False) <= limit * MIB
    more = fit_workers(plan, 8 * limit * MIB)
    assert (more.threads, more.tile) >= (chosen.threads, chosen.tile)


def test_a_tensor_of_any_size_fits_into_a_gibibyte() -> None:
    for method in ("linear", "slerp", "ties", "dare_ties"):
        assert peak_memory(plan_for(method, GIANT, 3), fit_workers(plan_for(method, GIANT, 3), 1 << 30)) > 0


def test_small_tiles_of_a_giant_take_more_than_large_ones() -> None:
    plan = plan_for("ties", GIANT, 3)
    assert peak_memory(plan, Workers(1, 1 << 13)) > peak_memory(plan, Workers(1, 1 << 19))


def test_what_readers_hold_is_counted() -> None:
    without, held = plan_for("linear", 1000, 3), plan_for("linear", 1000, 3, held=50 * MIB)
    workers = Workers(1, 1 << 13)
    assert peak_memory(held, workers, keeps=False) - peak_memory(without, workers, keeps=False) == 150 * MIB


def test_wider_arithmetic_takes_more() -> None:
    plan = plan_for("linear", 1 << 20, 3)
    wide = replace(plan, steps=tuple(replace(step, work="float64") for step in plan.steps))
    assert peak_memory(wide, Workers(2, 1 << 19)) > peak_memory(plan, Workers(2, 1 << 19))


def test_freed_memory_that_is_kept_is_counted() -> None:
    plan = plan_for("ties", 1 << 24, 3)
    assert peak_memory(plan, Workers(2, 1 << 19)) > peak_memory(plan, Workers(2, 1 << 19), keeps=False)


# --- without a limit


def with_free(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: free)


def test_half_of_what_is_free_is_taken(monkeypatch) -> None:
    plan = plan_for("dare_ties", 1 << 24, 9)
    need = peak_memory(plan, Workers(4, 1 << 19))
    with_free(monkeypatch, 2 * need)
    assert fit_workers(plan, None, 4) == Workers(4, 1 << 19)
    with_free(monkeypatch, 2 * need - 2)
    assert fit_workers(plan, None, 4) == Workers(4, 1 << 18)


def test_a_small_machine_gets_the_smallest_tiles_rather_than_an_error(monkeypatch) -> None:
    plan = plan_for("dare_ties", 1 << 24, 9)
    least = peak_memory(plan, Workers(1, 1 << 13))
    with_free(monkeypatch, least)
    assert fit_workers(plan, None) == Workers(1, 1 << 13)
    with_free(monkeypatch, least - 1)
    with pytest.raises(ResourceError) as caught:
        fit_workers(plan, None)
    assert "less than that is free" in str(caught.value)
    insisted = int(str(caught.value.faults[0].hint).split("--max-memory to ")[1].split("MiB")[0])
    assert fit_workers(plan, insisted * MIB), "whoever insists is not refused"


def test_a_system_that_does_not_say_gets_what_was_asked_for(monkeypatch) -> None:
    with_free(monkeypatch, None)
    assert fit_workers(plan_for("ties", GIANT, 9), None, 64, 1 << 22) == Workers(64, 1 << 22)


# --- what is free


def machine(root: Path, **files: str) -> Path:
    """The files of a system, by path with `__` for `/`."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal: 8000 kB\nMemFree: 100 kB\nMemAvailable:    4096 kB\nHugePages_Total:   0\n"


def group(root: Path, path: str, most: str, used: str, stat: str = "") -> None:
    """A control group of version 2."""
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("memory.max", most), ("memory.current", used), ("memory.stat", stat)):
        (folder / name).write_text(text + "\n")


def test_this_machine_says_something() -> None:
    found = free_memory()
    assert found is None or found > 0


def test_what_the_kernel_calls_available(tmp_path) -> None:
    assert free_memory(machine(tmp_path, proc__meminfo=MEMINFO)) == 4096 * 1024


@pytest.mark.parametrize("text", ["", "MemTotal: 8000 kB\n", "MemAvailable:\n", "MemAvailable: much kB\n"])
def test_a_system_that_does_not_say(tmp_path, text) -> None:
    assert free_memory(machine(tmp_path / "with", proc__meminfo=text)) is None
    assert free_memory(tmp_path / "without") is None


def test_a_container_leaves_what_its_limit_does(tmp_path) -> None:
    root = machine(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n")
    group(root, "", str(3 * MIB), str(1 * MIB))
    assert free_memory(root) == 2 * MIB
    group(root, "", "max", str(1 * MIB))
    assert free_memory(root) == 4 * MIB
    group(root, "", str(3 * MIB), str(5 * MIB))
    assert free_memory(root) == 0


def test_file_cache_of_a_container_makes_room(tmp_path) -> None:
    """After a download it is as large as the limit."""
    root = machine(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n")
    stat = f"anon 1\nfile {2 * MIB}\ninactive_file {MIB}\nactive_file {MIB // 2}\n"
    group(root, "", str(3 * MIB), str(3 * MIB), stat)
    assert free_memory(root) == MIB * 3 // 2


def test_the_tightest_of_nested_groups_counts(tmp_path) -> None:
    root = machine(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/a.slice/b.scope\n")
    group(root, "a.slice", str(2 * MIB), "0")
    group(root, "a.slice/b.scope", "max", "0")
    assert free_memory(root) == 2 * MIB
    group(root, "a.slice/b.scope", str(MIB), "0")
    assert free_memory(root) == MIB


def test_groups_of_the_first_version(tmp_path) -> None:
    lines = "5:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n"
    root = machine(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup=lines)
    folder = root / "sys/fs/cgroup/memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{2 * MIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{2 * MIB}\n")
    (folder / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {MIB}\n")
    assert free_memory(root) == MIB
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert free_memory(root) == 4 * MIB
