"""What a plan costs, what its parameters come to layer by layer, and where every input tensor went."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.checkpoint import MemoryReader
from cuvee.families import study
from cuvee.planning import Effect, Workers, cost, effects
from cuvee.planning.account import Account, account
from cuvee.planning.model import Piece, Plan, Step, Tied
from cuvee.planning.slots import Opened, Part
from cuvee.recipe.model import ModelEntry, Slice, Source
from cuvee.types import ModelRef, TensorSpec
from tests.support.plans import Data, entry, piece, plan_of, recipe, sliced, source, stack, stacked, tensors

OUTER = tensors("model.embed_tokens.weight", "lm_head.weight")


def linear(*models: str, **more: Any) -> Data:
    return recipe("linear", *(entry(m, weight=1) for m in models), **more)


def table(plan: Plan) -> dict[tuple[str, str, object], Any]:
    """The rows of effects by stack, group and layers; no two may speak of the same."""
    rows = {(e.stack, e.group, e.layers): e for e in effects(plan)}
    assert len(rows) == len(effects(plan))
    return rows


def weights(plan: Plan) -> dict[tuple[str, object], Any]:
    """The weights by group and layers."""
    return {(group, layers): effect.values["weight"] for (_, group, layers), effect in table(plan).items()}


# --- effects


def test_layers_that_agree_are_told_together() -> None:
    model = stack(12, "model.layers", "mlp.up", "mlp.down", "attn.q") | OUTER
    found = table(plan_of(linear("a", "b"), {"a": model, "b": model}, {}))
    values = {"weight": (1.0, 1.0), "normalize": True}
    assert found.keys() == {
        ("model.layers", "mlp", (0, 11)),
        ("model.layers", "attn.q", (0, 11)),
        ("", "lm_head.weight", None),
        ("", "model.embed_tokens.weight", None),
    }
    row = found["model.layers", "mlp", (0, 11)]
    assert row == Effect("model.layers", (0, 11), "mlp", 24, "merge", values, ("a", "b"))


def test_every_layer_of_a_gradient_is_told() -> None:
    data = recipe("linear", entry("a", weight=[0, 1]), entry("b", weight=1))
    plan = plan_of(data, dict.fromkeys("ab", stack(3) | OUTER))
    found = weights(plan)
    assert {layers: pair for (_, layers), pair in found.items() if layers} == {
        (0, 0): (0.0, 1.0),
        (1, 1): (0.5, 1.0),
        (2, 2): (1.0, 1.0),
    }
    assert found["lm_head.weight", None] == (0.0, 1.0)


def test_runs_of_a_stepwise_gradient_are_told_each_once() -> None:
    data = recipe("linear", entry("a", weight=1), parameters={"normalize": [True, True, False, True]})
    plan = plan_of(data, {"a": stack(9)}, {"a": {"num_hidden_layers": 9}})
    found = {layers: effect.values["normalize"] for (_, _, layers), effect in table(plan).items()}
    assert found == {(0, 5): True, (6, 7): False, (8, 8): True}


def test_a_filter_inside_a_group_splits_it() -> None:
    weight = [{"filter": "mlp.up", "value": 2}, {"value": 1}]
    plan = plan_of(recipe("linear", entry("a", weight=weight)), {"a": stack(4, "l", "mlp.up", "mlp.down", "mlp.gate")})
    found = {(group, layers): (e.values["weight"], e.tensors) for (_, group, layers), e in table(plan).items()}
    assert found == {("mlp.up", (0, 3)): ((2.0,), 4), ("mlp", (0, 3)): ((1.0,), 8)}


def test_a_filter_for_one_layer_parts_the_others() -> None:
    weight = [{"filter": "l.2.", "value": 2}, {"value": 1}]
    plan = plan_of(recipe("linear", entry("a", weight=weight)), {"a": stack(5, "l")})
    assert weights(plan) == {("w", (0, 1)): (1.0,), ("w", (2, 2)): (2.0,), ("w", (3, 4)): (1.0,)}


def test_two_stacks_are_told_apart() -> None:
    model = stack(2, "encoder.block") | stack(3, "decoder.block")
    found = table(plan_of(linear("a"), {"a": model}))
    assert found.keys() == {("encoder.block", "w", (0, 1)), ("decoder.block", "w", (0, 2))}


def test_stacked_layers_are_told_by_output_layer_and_model() -> None:
    plan = plan_of(stacked(("a", 2, 4), ("b", 0, 2)), dict.fromkeys("ab", stack(4)), {})
    found = {layers: (e.models, e.action) for (_, _, layers), e in table(plan).items()}
    assert found == {(0, 1): (("a",), "copy"), (2, 3): (("b",), "copy")}


def test_the_base_is_not_among_the_models_combined() -> None:
    data = recipe("ties", entry("a", weight=1), entry("b", weight=2), base_model="o")
    (row,) = effects(plan_of(data, dict.fromkeys("abo", stack(3))))
    assert row.models == ("a", "b")
    assert row.values == {
        "weight": (1.0, 2.0),
        "density": (1.0, 1.0),
        "lambda_": 1.0,
        "normalize": True,
        "rescale": False,
    }


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=12), st.integers(1, 3))
def test_the_rows_say_of_every_tensor_what_was_resolved(gradient: list[float], parts: int) -> None:
    """As many values as layers: each layer has its own, and runs of equal ones are told together, no shorter."""
    n = len(gradient)
    model = stack(n, "l", *(f"p.{i}" for i in range(parts)))
    filters = [{"filter": f"l.{i}.", "value": value} for i, value in reversed(list(enumerate(gradient)))]
    plan = plan_of(recipe("linear", entry("a", weight=filters)), {"a": model})
    told: dict[int, Any] = {}
    for effect in effects(plan):
        first, last = effect.layers
        assert effect.tensors == parts * (last - first + 1)
        assert not told.keys() & set(range(first, last + 1))
        told |= dict.fromkeys(range(first, last + 1), effect.values["weight"])
        assert last == n - 1 or gradient[last + 1] != gradient[last]
    assert told == {i: (value,) for i, value in enumerate(gradient)}


def test_every_tensor_is_in_one_row() -> None:
    weight = [{"filter": "up", "value": [0, 1]}, {"filter": "l.3", "value": 5}, {"value": 1}]
    model = stack(6, "l", "mlp.up", "mlp.down", "attn.q", "attn.k") | stack(2, "v") | OUTER
    plan = plan_of(recipe("linear", entry("a", weight=weight), parameters={"normalize": False}), {"a": model})
    assert sum(effect.tensors for effect in effects(plan)) == len(model)


def test_rows_stand_in_the_order_of_stacks_and_layers() -> None:
    weight = [{"filter": "l.1.mlp", "value": 2}, {"filter": "l.3.mlp", "value": 2}, {"value": 1}]
    model = stack(4, "l", "attn.q", "mlp.up") | stack(3, "a") | tensors("embed.weight")
    rows = effects(plan_of(recipe("linear", entry("a", weight=weight)), {"a": model}))
    places = [(effect.stack, effect.layers or (-1, -1)) for effect in rows]
    assert places == sorted(places)


# --- cost


def test_bytes_read_and_written_are_those_of_the_tensors() -> None:
    model = {"w": torch.zeros(1000), "i": torch.zeros(10, dtype=torch.int64)}
    plan = plan_of(linear("a", "b", out_dtype="bfloat16"), {"a": model, "b": model})
    found = cost(plan, Workers(1, 1024))
    assert found.write == 2000 + 80
    assert 2 * 4000 + 80 <= found.read <= 2 * 4080


def test_a_tensor_that_is_used_twice_is_read_once() -> None:
    once = cost(plan_of(stacked(("a", 0, 1)), {"a": stack(2)}), Workers(1, 1024))
    twice = cost(plan_of(stacked(("a", 0, 1), ("a", 0, 1)), {"a": stack(2)}), Workers(1, 1024))
    assert (once.read, once.write) == (8, 8)
    assert (twice.read, twice.write) == (8, 16)


def test_the_base_is_read_too() -> None:
    data = recipe("ties", entry("a", weight=1), entry("b", weight=1), base_model="o")
    assert cost(plan_of(data, dict.fromkeys("abo", stack(2))), Workers(1, 1024)).read == 3 * 16


def test_memory_grows_with_workers_tiles_and_models_and_hardly_with_the_tensor() -> None:
    def memory(models: str, numel: int, threads: int, tile: int) -> int:
        return cost(
            plan_of(linear(*models), dict.fromkeys(models, tensors("w", shape=(numel,)))), Workers(threads, tile)
        ).memory

    start = memory("ab", 100_000, 1, 1000)
    assert 0 <= memory("ab", 200_000, 1, 1000) - start < 100 * 2048, "what is kept of a hundred tiles"
    assert memory("ab", 100_000, 2, 1000) > start
    assert memory("ab", 100_000, 1, 2000) > start
    assert memory("abc", 100_000, 1, 1000) > start
    assert memory("ab", 500, 1, 1000) < start
    assert memory("ab", 500, 1, 10**9) < start


def test_a_plan_of_nothing_costs_nothing_but_itself() -> None:
    found = cost(plan_of(linear("a", "b"), {"a": {}, "b": {}}), Workers(2, 1024))
    assert (found.read, found.write) == (0, 0)
    assert found.memory > 0


def test_a_part_of_a_model_of_two_precisions_costs_its_own_bytes() -> None:
    model = {"model.embed.weight": torch.zeros(1000), **{f"l.{i}.w": torch.zeros(1000).bfloat16() for i in range(2)}}
    assert cost(plan_of(stacked(("a", 0, 1)), {"a": model}), Workers(1, 1024)).read == 4000 + 2000


def test_what_is_only_compared_is_read_too() -> None:
    model = {"i": torch.zeros(1000, dtype=torch.int64)}
    assert cost(plan_of(linear("a", "b"), {"a": model, "b": model}), Workers(1, 1024)).read == 16_000


# --- the account


def opened(*models: str, tensors_of: dict[str, Any]) -> list[Opened]:
    readers = [MemoryReader(m, tensors_of) for m in models]
    return [Opened(ModelRef(r.label), r, study(r.specs, None)) for r in readers]


def step(name: str, *pieces: Piece, must_equal: tuple[Piece, ...] = ()) -> Step:
    return Step(TensorSpec(name, "float32", (2,)), "merge", pieces, must_equal=must_equal)


WHOLE = Part(lambda _: True, (ModelEntry(ModelRef("a")), ModelEntry(ModelRef("b"))), (), ())
SLICED = Part(lambda _: True, (), (Slice((Source(ModelRef("a"), (0, 1)),)),), ())


def test_a_tensor_that_nothing_was_decided_for_is_lost() -> None:
    models = opened("a", "b", tensors_of=tensors("x", "y"))
    steps = [step("x", Piece(0, "x"), Piece(1, "x"))]
    assert account(models, [WHOLE], steps, []) == Account((Piece(0, "y"), Piece(1, "y")), ())


def test_a_tensor_is_accounted_for_when_it_is_read_compared_written_by_name_or_tied() -> None:
    models = opened("a", "b", tensors_of=tensors("x", "y", "h", "t"))
    steps = [step("x", Piece(0, "x"), Piece(1, "x")), step("y", Piece(0, "y"))]
    tied = [Tied("h", "x", ((Piece(0, "h"), Piece(0, "x")),))]
    assert account(models, [WHOLE], steps, tied).lost == (Piece(0, "t"), Piece(1, "t"))
    steps.append(step("z", Piece(0, "t"), must_equal=(Piece(1, "t"),)))
    assert account(models, [WHOLE], steps, tied) == Account((), ())


def test_what_slices_do_not_ask_for_is_left_out_whatever_is_written() -> None:
    models = opened("a", tensors_of=stack(3, "l"))
    found = account(models, [SLICED], [step("l.1.w", Piece(0, "l.0.w"))], [])
    assert found == Account((), (Piece(0, "l.1.w"), Piece(0, "l.2.w")))


def test_models_that_a_part_does_not_name_owe_it_nothing() -> None:
    models = opened("a", "b", tensors_of=stack(1, "l"))
    assert account(models, [SLICED], [step("l.0.w", Piece(0, "l.0.w"))], []) == Account((), ())


def test_a_base_that_gives_only_its_configuration_owes_nothing() -> None:
    data = sliced("linear", piece(source("a", 0, 2, weight=1)), base_model="o")
    plan = plan_of(data, {"a": stack(2), "o": stack(2)})
    assert (plan.lost, plan.left_out) == (0, 0)
