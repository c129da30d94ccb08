"""Seconds that a plan is thought to take, from paces that are easy to reckon with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cuvee import methods
from cuvee.checkpoint import syncing
from cuvee.fused import SAVES
from cuvee.planning import DEFAULT, Machine, Pace, Workers, pace, predict
from cuvee.planning.pace import arithmetic_entries
from tests.support.plans import entry, plan_of, recipe, tensors

MACHINE = Machine(
    start_up=1.0,
    fused_start=0.5,
    tensor=0.01,
    read=1e9,
    write=1e9,
    sync=1e6,
    cores=2,
    algebra=1e6,
    copy=Pace(1e6, 1e6),
    plain={"linear": Pace(4e6, 2e6)},
    fused={"linear": Pace(1e6, 0.5e6)},
)
ONE, TWO = Workers(1, 1024), Workers(2, 1024)


def plan(dtype: torch.dtype = torch.bfloat16, models: int = 2, names: tuple[str, ...] = ("x", "y")):
    held = tensors(*names, shape=(100,), dtype=dtype)
    labels = "abcd"[:models]
    return plan_of(recipe("linear", *(entry(m, weight=1) for m in labels)), dict.fromkeys(labels, held))


def test_every_part_is_counted() -> None:
    found = predict(plan(), ONE, MACHINE, "plain")
    assert found.start == 1.0
    assert found.merging == pytest.approx(2 * 100 * 2 * 4e-3 + 2 * 0.01)
    assert found.durable == pytest.approx(2 * 100 * 2 / 1e6)
    assert found.seconds == found.start + found.merging + found.durable


def test_the_disk_works_while_the_merge_does(monkeypatch: pytest.MonkeyPatch) -> None:
    written = 2 * 100 * 2
    monkeypatch.setattr(pace, "_LAST", 100)
    behind = predict(plan(), ONE, replace(MACHINE, sync=10.0), "plain")
    assert behind.durable == pytest.approx(written / 10.0 - behind.merging)
    keeping_up = predict(plan(), ONE, replace(MACHINE, sync=300.0), "plain")
    assert keeping_up.merging > written / 300.0
    assert keeping_up.durable == pytest.approx(100 / 300.0)


def test_what_is_left_for_the_end_is_what_the_writer_leaves() -> None:
    assert pace._LAST == syncing.STEP


def test_a_fused_form_starts_later_and_merges_faster() -> None:
    found = predict(plan(), ONE, MACHINE, "fused", compiling=3.0)
    assert found.start == 4.5
    assert found.merging == pytest.approx(2 * 100 * 2 * 1e-3 + 2 * 0.01)
    assert predict(plan(), ONE, MACHINE, "plain", compiling=3.0).start == 1.0


def test_time_grows_with_models_and_falls_with_workers() -> None:
    arithmetic = [predict(plan(models=n), ONE, MACHINE, "plain").merging - 0.02 for n in (1, 2, 4)]
    assert arithmetic == pytest.approx([arithmetic[0], 2 * arithmetic[0], 4 * arithmetic[0]])
    two = predict(plan(models=4), TWO, MACHINE, "plain").merging - 0.02
    assert two == pytest.approx(arithmetic[2] / 2)


def test_speed_grows_evenly_up_to_all_cores() -> None:
    speeds = [1 / Pace(4.0, 1.0).by(workers, 4) for workers in (1, 2, 3, 4, 64)]
    assert speeds == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert Pace(4.0, 4.0).by(3, 1) == 4.0


def test_wider_dtypes_take_the_time_of_their_bytes() -> None:
    slow = replace(MACHINE, read=1e3, write=2e3)
    more = predict(plan(torch.float32), ONE, slow, "plain").merging - predict(plan(), ONE, slow, "plain").merging
    assert more == pytest.approx(2 * (2 * 200) / 1e3 + 2 * 200 / 2e3)


def test_copies_have_a_pace_of_their_own() -> None:
    held = tensors("x", shape=(100,), dtype=torch.bfloat16)
    copied = plan_of(recipe("passthrough", entry("a")), {"a": held})
    assert copied.copied == 1
    assert predict(copied, ONE, MACHINE, "plain").merging == pytest.approx(100 * 1e-3 + 0.01)
    assert arithmetic_entries(copied.steps) == 0
    assert arithmetic_entries(plan().steps) == 400


def test_a_method_that_was_not_measured_has_the_middle_pace() -> None:
    known = replace(MACHINE, plain={"a": Pace(1, 1), "b": Pace(3, 2), "c": Pace(9, 8)}, fused={})
    assert known.pace("new", "plain") == known.pace("new", "fused") == Pace(3, 2)
    assert replace(known, plain={}).pace("new", "plain") == known.copy


def test_the_usual_machine_knows_the_methods_and_is_faster_fused() -> None:
    assert DEFAULT.fused.keys() == set(SAVES)
    assert set(DEFAULT.plain) <= set(methods.names())
    for name, fused in DEFAULT.fused.items():
        assert fused.one < DEFAULT.plain[name].one
        assert fused.all < fused.one


def of_matrices(method: str, *shapes: tuple[int, ...], models: str = "abc", **more: object):
    held = {f"model.layers.{i}.w": torch.zeros(shape, dtype=torch.bfloat16) for i, shape in enumerate(shapes)}
    own = {"weight": 1} if method == "task_arithmetic" else {}
    asked = recipe(method, *(entry(m, **own) for m in models), base_model="base", **more)
    return plan_of(asked, dict.fromkeys((*models, "base"), held))


def algebra(plan, workers: Workers = ONE) -> float:
    """Seconds that go away on a machine that multiplies at once."""
    fast = replace(MACHINE, algebra=1e30)
    return predict(plan, workers, MACHINE, "plain").merging - predict(plan, workers, fast, "plain").merging


def test_matrices_take_what_their_multiplications_take() -> None:
    one = 11 * 30 * 20 * 20 / 1e6
    assert algebra(of_matrices("iso_c", (30, 20))) == pytest.approx(one)
    assert algebra(of_matrices("tsv_m", (20, 30))) == pytest.approx(5 * one)
    assert algebra(of_matrices("opcm", (30, 20))) == pytest.approx(2 * one)
    assert algebra(of_matrices("knots", (30, 20))) == pytest.approx(11 * 30 * 30 * 60 / 1e6)
    assert algebra(of_matrices("iso_c", (30,))) == 0.0
    assert algebra(of_matrices("task_arithmetic", (30, 20))) == 0.0


def test_matrices_are_shared_out_but_none_is_divided() -> None:
    one = 11 * 30 * 20 * 20 / 1e6
    assert algebra(of_matrices("iso_c", (30, 20), (30, 20)), TWO) == pytest.approx(one)
    assert algebra(of_matrices("iso_c", (30, 20)), TWO) == pytest.approx(one)
    assert algebra(of_matrices("iso_c", *[(30, 20)] * 6), Workers(64, 1024)) == pytest.approx(3 * one)


def test_looking_at_layers_takes_its_time() -> None:
    plain = of_matrices("task_arithmetic", (30, 20), layer_scaling={"policy": "lines", "beta": 0.5, "alpha": 1.0})
    looked = of_matrices("task_arithmetic", (30, 20), layer_scaling={"policy": "larv"})
    assert algebra(plain) == 0.0
    assert algebra(looked) == pytest.approx((7 * 30 * 20 * 20 + 4 * 4 * 20**3) / 1e6)


def test_every_method_of_matrices_says_what_it_multiplies() -> None:
    for name in methods.names():
        method = methods.get(name)
        count = method.operations(64, 48, 4)
        assert (count > 0) == (method.spec.scope == "matrix"), name
        assert count == 0 or method.operations(128, 96, 4) >= 4 * count, name
        assert count == 0 or count <= method.operations(64, 48, 9), name
