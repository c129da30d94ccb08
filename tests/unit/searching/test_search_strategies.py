"""Strategies: what they find, and that their answers follow from seed and what they were told."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import UsageError
from cuvee.searching.journal import Trial
from cuvee.searching.outcome import pareto
from cuvee.searching.pool import pool_recipe
from cuvee.searching.space import Space
from cuvee.searching.strategy import STRATEGIES, make_strategy
from tests.support.lanes import rarely
from tests.support.searches import space_from, sums

WANTED = (0.7, 0.2, 0.9)


def soup(count: int) -> Space:
    entries = [
        {"model": f"m{i}", "include": {"choose": [True, False]}, "parameters": {"weight": 1}} for i in range(count)
    ]
    return space_from({"merge_method": "linear", "models": entries})


def space_for(name: str) -> Space:
    if "soup" in name:
        return soup(4)
    return space_from(pool_recipe([f"m{i}" for i in range(3)], ["base"])) if name == "pool" else space_from(sums(3))


def worth(values: Mapping[str, Any]) -> float:
    """Any figure that depends on all values."""
    return random.Random(repr(sorted(values.items()))).random()


def asked(
    name: str, gain: Callable[[Mapping[str, Any]], Any], count: int, space: Space | None = None
) -> list[Mapping[str, Any]]:
    """What a strategy asks for, told at once."""
    made = make_strategy(name, space or space_for(name), 7, 2 if name == "nsga2" else 1)
    found: list[Mapping[str, Any]] = []
    while len(found) < count and (values := made.ask()) is not None:
        found.append(values)
        gains = gain(values)
        made.tell(gains if gains is None or isinstance(gains, tuple) else (gains,) * (2 if name == "nsga2" else 1))
    return found


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_told_the_same_asks_the_same(name: str) -> None:
    first, second = (asked(name, worth, 30) for _ in range(2))
    assert first == second
    assert len(first) > 0


@pytest.mark.parametrize("name", STRATEGIES)
def test_failures_are_taken_in(name: str) -> None:
    numbers = itertools.count()
    found = asked(name, lambda values: None if next(numbers) % 3 == 0 else worth(values), 40)
    assert len(found) > 0


@pytest.mark.parametrize("name", ["cma-es", "coordinate", *rarely("tpe")])
def test_a_smooth_gain_is_climbed(name: str) -> None:
    def gain(values: Mapping[str, Any]) -> float:
        return -sum((v - w) ** 2 for v, w in zip(values.values(), WANTED))

    best = max(map(gain, asked(name, gain, 120)))
    assert best > (-0.02 if name == "tpe" else -0.005)


def test_cma_es_waits_for_its_population() -> None:
    """4 + ⌊3 ln 3⌋ = 7 members; what is told late changes no draw of the same population."""
    made = make_strategy("cma-es", space_for("cma-es"), 7, 1)
    found = [made.ask() for _ in range(9)]
    assert [one is None for one in found] == [False] * 7 + [True] * 2
    assert found[:7] == asked("cma-es", worth, 7)
    for one in found[:7]:
        made.tell((worth(one or {}),))
    assert made.ask() == asked("cma-es", worth, 8)[-1]


def test_a_grid_is_every_combination() -> None:
    data = sums(2, {"search": [0, 1], "step": 0.5})
    found = asked("grid", worth, 100, space_from(data))
    assert [tuple(v.values()) for v in found] == list(itertools.product((0.0, 0.5, 1.0), repeat=2))


def test_a_grid_that_never_ends_is_refused() -> None:
    with pytest.raises(UsageError, match="combinations"):
        make_strategy("grid", space_from(sums(2, {"search": [0, 1], "per": 8})), 0, 1)


def test_sobol_points_are_spread() -> None:
    found = [values["models[0].weight"] for values in asked("sobol", worth, 8)]
    assert {int(value * 8) for value in found} == set(range(8))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_a_greedy_soup_is_never_below_the_best_single(count: int, seed: int) -> None:
    """The law of Wortsman et al.: whatever the gains of all sets of models are, ties among them."""

    def gain(values: Mapping[str, Any]) -> float:
        return random.Random(f"{seed}{sorted(values.items())}").randrange(8) / 8

    tried = asked("greedy-soup", gain, 100, soup(count))
    singles = [gain(v) for v in tried if sum(v.values()) == 1]
    assert len(singles) == count
    assert max(reversed([gain(v) for v in tried])) >= max(singles)
    chain = max((v for v in reversed(tried)), key=gain)
    assert gain(chain) >= max(singles)


def test_a_greedy_soup_adds_in_the_order_of_worth_and_keeps_ties() -> None:
    alone = {0: 0.5, 1: 0.9, 2: 0.7}

    def gain(values: Mapping[str, Any]) -> float:
        inside = [i for i, (_, on) in enumerate(values.items()) if on]
        return alone[inside[0]] if len(inside) == 1 else 0.9 if set(inside) == {1, 2} else 0.1

    tried = asked("greedy-soup", gain, 100, soup(3))
    inside = [[i for i, on in enumerate(v.values()) if on] for v in tried]
    assert inside == [[0], [1], [2], [1, 2], [0, 1, 2]]
    assert make_strategy("greedy-soup", soup(3), 0, 1).latest


def test_a_uniform_soup_is_one_candidate() -> None:
    assert asked("uniform-soup", worth, 9) == [dict.fromkeys([f"models[{i}].include" for i in range(4)], True)]


def test_soups_are_of_switches_only() -> None:
    with pytest.raises(UsageError, match="nothing else"):
        make_strategy("greedy-soup", space_from(sums(2)), 0, 1)


def test_several_objectives_and_their_pareto_set() -> None:
    def gain(values: Mapping[str, Any]) -> tuple[float, float]:
        first = values["models[0].weight"]
        return (first - values["models[1].weight"], 1 - first)

    tried = asked("nsga2", gain, 64)
    late = [sum(gain(v)) for v in tried[48:]]
    assert sum(late) / 16 > sum(sum(gain(v)) for v in tried[:16]) / 16
    trials = [
        Trial(i, {}, "scored", str(i), gains)
        for i, gains in enumerate([(1.0, 0.0), (0.5, 0.5), (0.4, 0.4), (1.0, 0.0)])
    ]
    assert pareto(trials) == (0, 1, 3)
    with pytest.raises(UsageError, match="two objectives"):
        make_strategy("nsga2", space_from(sums(2)), 0, 1)


def test_a_pool_finds_members_and_base() -> None:
    """A pool in which m0 and m2 help each other and `base` is right for task arithmetic."""
    space = space_from(pool_recipe(["m0", "m1", "m2", "base"], ["m0", "base"]))

    def gain(values: Mapping[str, Any]) -> float:
        inside = {name[8:] for name, on in values.items() if name.startswith("include") and on}
        found = {"m0": 0.5, "m2": 0.4, "m1": 0.1, "base": 0.2}[min(inside)] if len(inside) == 1 else 0.0
        found = 0.6 if inside == {"m0", "m2"} else found
        if values["merge_method"] == "task_arithmetic":
            found += 0.2 * (values["base_model"] == "base") - (values["parameters.lambda"] - 0.9) ** 2
        return found

    tried = asked("pool", gain, 60, space)
    best = max(tried, key=gain)
    arithmetic = [values for values in tried if values["merge_method"] == "task_arithmetic"]
    assert {values["base_model"] for values in arithmetic} == {"m0", "base"}
    assert not any(values["include m0"] for values in arithmetic if values["base_model"] == "m0")
    assert (best["merge_method"], best["base_model"]) == ("task_arithmetic", "base")
    assert [name for name, on in best.items() if name.startswith("include") and on] == ["include m0", "include m2"]
    assert best["parameters.lambda"] == pytest.approx(0.9, abs=0.05)


def test_an_unknown_strategy_has_a_near_one() -> None:
    with pytest.raises(UsageError, match="cma-es"):
        make_strategy("cmaes", space_from(sums(2)), 0, 1)
