"""LARV: a layer's factor from the contrast and the conflict of its matrices."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import pstdev

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cuvee.planning.model import ModelFacts, Piece, Plan, Step
from cuvee.planning.room import evaluating
from cuvee.planning.scaling import by_layer, larv, matrices_of_layers, settling_memory
from cuvee.recipe.model import Larv, Lines, Recipe
from cuvee.types import ModelRef, TensorSpec
from tests.reference import larv_formulas as ref

NAN = (math.nan, math.nan)


def step(name: str, layer: tuple[str, int] | None, shape: tuple[int, ...] = (4, 3), work: str = "float32") -> Step:
    out = TensorSpec(name, "float32", shape)
    settings = {"lambda_": 2.0}
    return Step(out, "merge", (Piece(1, name),), Piece(0, name), settings=settings, layer=layer, work=work)


def plan(*steps: Step, scaling: Larv | Lines | None = None) -> Plan:
    facts = tuple(ModelFacts(ModelRef(n), n, 1, 12, 48, ("float32",), {}) for n in "ab")
    return Plan(Recipe("task_arithmetic", layer_scaling=scaling), facts, 0, steps)


def stack(count: int, name: str = "layers") -> list[Step]:
    return [step(f"{name}.{i}", (name, i)) for i in range(count)]


def factors(pairs: list[tuple[float, float]], scaling: Larv) -> list[float]:
    found = larv(plan(*stack(len(pairs))), pairs, scaling)
    return [found.get(("layers", i), 1.0) for i in range(len(pairs))]


numbers = st.floats(0.1, 50.0)
layers = st.lists(st.tuples(numbers, st.floats(0.0, 1.4)), min_size=2, max_size=12)


@settings(max_examples=40, deadline=None)
@given(layers, st.floats(0.0, 3.0), st.floats(0.0, 3.0), st.floats(-2.0, 5.0))
def test_the_continuous_mapping_is_the_papers(pairs, eta, rho, gamma) -> None:
    assume(pstdev(c for _, c in pairs) > 1e-6)
    scores = ref.scores([e for e, _ in pairs], [c for _, c in pairs], eta, rho)
    found = factors(pairs, Larv(mapping="continuous", eta=eta, rho=rho, gamma=gamma))
    assert found == pytest.approx(ref.continuous(scores, gamma), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(layers, st.lists(st.floats(-1.0, 2.0), min_size=2, max_size=4))
def test_the_tiers_are_parts_of_the_layers_in_order(pairs, scales) -> None:
    assume(pstdev(c for _, c in pairs) > 1e-6)
    scores = ref.scores([e for e, _ in pairs], [c for _, c in pairs], 1.0, 0.5)
    assume(min(abs(a - b) for i, a in enumerate(scores) for b in scores[:i]) > 1e-9)
    assert factors(pairs, Larv(scales=tuple(scales))) == ref.tiers(scores, scales)


def test_three_tiers_of_six_layers() -> None:
    pairs = [(float(e), 0.5) for e in (60, 1, 10, 2, 30, 4)]
    assert factors(pairs, Larv(rho=0.0)) == [1.5, 0.5, 1.0, 0.5, 1.5, 1.0]


def test_equal_scores_are_in_the_same_tier_and_if_all_are_equal_no_layer_stands_out() -> None:
    pairs = [(e, 0.5) for e in (1.0, 1.0, 1.0, 2.0)]
    assert factors(pairs, Larv(rho=0.0, scales=(0.5, 1.5))) == [0.5, 0.5, 0.5, 1.5]
    assert factors([(1.0, 0.5)] * 4, Larv(rho=0.0)) == [1.0] * 4
    assert factors([(7.0, 0.5)], Larv()) == [1.0]


def test_conflicts_that_differ_by_rounding_are_the_same() -> None:
    nearly = [(1.0, 0.3), (2.0, 0.3 + 1e-12), (3.0, 0.3 - 1e-9)]
    assert factors(nearly, Larv(mapping="continuous")) == factors(
        [(e, 0.3) for e, _ in nearly], Larv(mapping="continuous")
    )


def test_a_layer_in_which_nothing_changed_is_left_out() -> None:
    with_it = factors([(1.0, 0.2), NAN, (3.0, 0.9), (2.0, 0.4)], Larv(rho=0.0))
    without = factors([(1.0, 0.2), (3.0, 0.9), (2.0, 0.4)], Larv(rho=0.0))
    assert with_it == [without[0], 1.0, *without[1:]]
    assert factors([NAN] * 3, Larv()) == [1.0] * 3


def test_a_layers_matrices_are_averaged_and_stacks_are_ranked_each_for_itself() -> None:
    steps = [*stack(2, "encoder"), step("encoder.0.more", ("encoder", 0)), *stack(2, "decoder")]
    pairs = [(1.0, 0.5), (2.0, 0.5), (9.0, 0.5), (70.0, 0.5), (80.0, 0.5)]
    found = larv(plan(*steps), pairs, Larv(rho=0.0, scales=(0.5, 1.5)))
    assert found == {("encoder", 0): 1.5, ("encoder", 1): 0.5, ("decoder", 0): 0.5, ("decoder", 1): 1.5}


def test_what_has_no_layer_or_is_no_matrix_is_not_looked_at_and_has_the_factor_of_its_layer() -> None:
    steps = (
        *stack(2),
        step("layers.1.norm", ("layers", 1), (4,)),
        step("embed", None),
        step("one", ("layers", 0), (1, 9)),
    )
    assert [one.out.name for one in matrices_of_layers(plan(*steps))] == ["layers.0", "layers.1"]
    scaled = by_layer(steps, {("layers", 1): 0.25})
    assert [one.settings["lambda_"] for one in scaled] == [2.0, 0.5, 0.5, 2.0, 2.0]


@pytest.mark.parametrize(("eta", "rho"), [(1e300, 0.0), (0.0, 1e300), (1e300, 1e300)])
def test_absurd_exponents_are_survived(eta, rho) -> None:
    found = factors([(3.0, 0.1), (2.0, 0.7), (0.5, 0.3)], Larv(mapping="continuous", eta=eta, rho=rho))
    assert all(0.5 <= factor <= 1.5 for factor in found)


def test_memory_is_asked_for_where_matrices_are_looked_at_whole() -> None:
    big = step("layers.0.w", ("layers", 0), (4096, 1024))
    assert settling_memory(plan(big, scaling=Lines(None, 0.5)), 2) == 0
    least = 4096 * 1024 * 4 * 3 + 3 * 1024**2 * 8
    assert (
        settling_memory(plan(big, scaling=Larv()), 2) == 2 * settling_memory(plan(big, scaling=Larv()), 1) > 2 * least
    )
    wide = step("layers.0.w", ("layers", 0), (4096, 1024), work="float64")
    assert settling_memory(plan(wide, scaling=Larv()), 1) > settling_memory(plan(big, scaling=Larv()), 1)


def test_a_recipe_inside_another_counts_what_its_layers_are_looked_at_with() -> None:
    inner = plan(step("layers.0.w", ("layers", 0), (4096, 1024)), scaling=Larv())
    outer = plan(step("layers.0.w", ("layers", 0), (4096, 1024)))
    holding = replace(outer, models=(replace(outer.models[0], plan=inner), *outer.models[1:]))
    assert evaluating(holding, 2) >= settling_memory(inner, 1)
