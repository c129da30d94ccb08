"""The same bytes, whoever does the work in whatever pieces and order, by the plain or the fused form."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

pytest.importorskip("numba")

from cuvee import methods
from cuvee.checkpoint import MemoryReader, MemoryWriter, plan_layout
from cuvee.execute import Digests, execute
from cuvee.planning import Plan, bind
from cuvee.recipe import from_data
from tests.support.lanes import rarely

SHAPES = {"embed": (700, 96), "a": (4096, 70), "b": (33,), "c": (1,), "d": (150_001,), "e": (2, 3, 5)}
EACH = {
    "linear": {"weight": [0.5, 0.3, 0.4]},
    "slerp": {},
    "task_arithmetic": {"weight": [0.5, -0.3, 0.4]},
    "ties": {"weight": [0.5, 0.3, 0.4], "density": [0.5, 0.2, 1.0]},
    "dare_ties": {"weight": [0.5, 0.3, 0.4], "density": [0.5, 0.2, 1.0]},
    "dare_linear": {"weight": [0.5, 0.3, 0.4], "density": [0.5, 0.2, 1.0]},
}


def model(number: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """The base is random; a fine-tune is near it, and on a coarse grid, so that many deltas are alike."""
    found = {}
    for i, (name, shape) in enumerate(SHAPES.items()):
        base = torch.randn(shape, generator=torch.Generator().manual_seed(i)) * 0.02
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(100 * number + i)) * 0.002
        found[name] = (base + (noise * 4096).round() / 4096 * (number > 0)).to(dtype)
    return found


def readers_of(method: str, dtype: torch.dtype) -> list[MemoryReader]:
    count = 2 if method == "slerp" else 4
    return [MemoryReader("oabc"[i], model(i, dtype)) for i in range(count)]


def plan_of(method: str, readers: list[MemoryReader]) -> Plan:
    given = EACH[method]
    tunes = [r.label for r in readers[1:]]
    models = [
        {"model": name, "parameters": {key: values[i] for key, values in given.items()}} for i, name in enumerate(tunes)
    ]
    data = {"merge_method": method, "models": models}
    data |= {} if method == "linear" else {"base_model": "o"}
    data |= {"parameters": {"t": 0.35}} if method == "slerp" else {}
    recipe = from_data(data, methods.specs())
    return bind(recipe, readers[1:] if method == "linear" else readers, methods.get(method).spec)


def merged(method: str, dtype: torch.dtype, order: random.Random | None = None, **how: object) -> tuple[dict, Digests]:
    readers = readers_of(method, dtype)
    plan = plan_of(method, readers)
    layout = plan_layout([step.out for step in plan.steps], 1 << 40)
    if order is not None:
        plan = replace(plan, steps=tuple(order.sample(plan.steps, len(plan.steps))))
    with MemoryWriter(layout) as writer:
        used = readers[1:] if method == "linear" else readers
        digests = execute(plan, used, writer, methods.get(method), seed=7, **how)  # type: ignore[arg-type]
        writer.publish()
    return writer.tensors, digests


def same(one: tuple[dict, Digests], other: tuple[dict, Digests]) -> bool:
    bits = {2: torch.int16, 4: torch.int32}
    alike = all(
        torch.equal(t.view(bits[t.itemsize]), other[0][name].view(bits[t.itemsize])) for name, t in one[0].items()
    )
    return alike and one[1].inputs == other[1].inputs and one[1].outputs == other[1].outputs


@pytest.mark.parametrize("dtype", [torch.bfloat16, *rarely(torch.float32, torch.float16)], ids=str)
@pytest.mark.parametrize("method", EACH)
def test_any_workers_tiles_order_and_form(method, dtype):
    definition = merged(method, dtype, runner="plain")
    chance = random.Random(f"{method}{dtype}")
    for kernels in ("plain", "fused", "fused"):
        threads, tile = chance.randint(1, 5), chance.choice([1, 1000, 4096, 1 << 15, 131_072, 1 << 22])
        found = merged(method, dtype, chance, kernels=kernels, threads=threads, tile=max(tile, 1 << 12))
        assert same(found, definition), (kernels, threads, tile)


def test_a_number_that_is_none_is_told_in_the_words_of_the_plain_form(monkeypatch):
    from cuvee.errors import InputError

    def spoilt(number: int, dtype: torch.dtype) -> dict[str, Tensor]:
        found = real(number, dtype)
        if number == 2:
            found["d"][149_000] = float("nan")
        return found

    real = model
    monkeypatch.setitem(globals(), "model", spoilt)
    told = []
    for kernels in ("plain", "fused"):
        with pytest.raises(InputError) as caught:
            merged("ties", torch.bfloat16, kernels=kernels)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "entry 149000" in told[0]


def test_a_result_too_large_for_its_dtype_is_told_in_the_words_of_the_plain_form(monkeypatch):
    from cuvee.errors import InputError

    monkeypatch.setitem(EACH, "task_arithmetic", {"weight": [1e25, 1.0, 1.0]})
    real = model
    monkeypatch.setitem(globals(), "model", lambda number, dtype: {k: v * 1e19 for k, v in real(number, dtype).items()})
    told = []
    for kernels in ("plain", "fused"):
        with pytest.raises(InputError, match="too large") as caught:
            merged("task_arithmetic", torch.bfloat16, kernels=kernels, threads=1)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_a_fused_form_that_is_wrong_is_noticed_and_not_used(monkeypatch):
    from cuvee.fused import forms, weighted

    def wrong(rows, given, divisor, out):  # a compiler's slip
        worst = real(rows, given, divisor, out)
        out[0] ^= 1
        return worst

    real = weighted.sum_models
    monkeypatch.setattr(forms.weighted, "sum_models", wrong)
    with pytest.warns(RuntimeWarning, match="the fused form of linear is wrong"):
        found = merged("linear", torch.bfloat16, kernels="fused")
    monkeypatch.undo()
    assert same(found, merged("linear", torch.bfloat16, runner="plain"))


def test_a_threshold_that_is_wrong_is_noticed_too(monkeypatch):
    from cuvee.fused import threshold

    def wrong(*given):
        worst = real(*given)
        given[-1][0] += 1  # one entry too many is counted above the bracket
        return worst

    real = threshold.select.collect
    monkeypatch.setattr(threshold.select, "collect", wrong)
    with pytest.warns(RuntimeWarning, match="the fused form of ties is wrong"):
        found = merged("ties", torch.bfloat16, kernels="fused")
    monkeypatch.undo()
    assert same(found, merged("ties", torch.bfloat16, runner="plain"))


def test_numba_that_does_not_work_is_done_without(monkeypatch):
    import cuvee.fused

    def broken(name: str) -> None:
        raise ImportError("Numba needs another NumPy")

    monkeypatch.setattr(cuvee.fused, "form_of", broken)
    monkeypatch.setattr(cuvee.fused, "is_worth_it", lambda *_: True)
    with pytest.warns(RuntimeWarning, match=r"cannot be used .*another NumPy"):
        found = merged("ties", torch.bfloat16)
    assert same(found, merged("ties", torch.bfloat16, runner="plain"))
    with pytest.raises(ImportError):
        merged("ties", torch.bfloat16, kernels="fused")


def test_a_form_that_cannot_be_used_is_told_with_the_result(monkeypatch, tmp_path):
    import cuvee
    import cuvee.fused
    from tests.support.checkpoints import write_model

    def broken(name: str) -> None:
        raise ImportError("Numba needs another NumPy")

    monkeypatch.setattr(cuvee.fused, "form_of", broken)
    monkeypatch.setattr(cuvee.fused, "is_worth_it", lambda *_: True)
    for name in "ab":
        write_model(tmp_path / name, {"w": torch.ones(3)})
    models = [{"model": str(tmp_path / name), "parameters": {"weight": 1}} for name in "ab"]
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        result = cuvee.merge({"merge_method": "linear", "models": models}, tmp_path / "out")
    assert any("the plain form was used" in note for note in result.notes)


@pytest.mark.parametrize("place", ["nowhere", "unwritable", "no home"])
def test_a_cache_that_cannot_be_used_is_none(monkeypatch, tmp_path, place):
    from cuvee.fused import compiler

    if place == "no home":
        monkeypatch.setenv("CUVEE_CACHE", "~nobody-of-that-name/x")
        assert compiler.cache_folder() is None
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / ("file/x" if place == "nowhere" else "file")))
    assert not compiler.is_cached("ties", "bfloat16-bfloat16")
    compiler.note_used("ties", "bfloat16-bfloat16")
    with compiler.one_at_a_time():
        pass
    assert compiler._usable_folder() is None


def test_the_place_of_a_number_that_is_none_is_that_in_the_tensor(monkeypatch):
    from cuvee.errors import InputError

    def spoilt(number: int, dtype: torch.dtype) -> dict[str, Tensor]:
        found = real(number, dtype)
        if number == 1:
            found["a"].view(-1)[131_077] = float("nan")
        return found

    real = model
    monkeypatch.setitem(globals(), "model", spoilt)
    with pytest.raises(InputError, match="entry 131077 is nan"):
        merged("ties", torch.bfloat16, kernels="fused")
