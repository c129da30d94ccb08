"""Shapley values, exact and sampled: held to the definition, to games worked out by hand, and to their laws."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from cuvee.errors import UsageError
from cuvee.explaining.coalitions import course, members, prefixes
from cuvee.explaining.explanation import About, Explanation, doubts, explained
from cuvee.explaining.outcomes import Outcome, mean_outcome, student
from cuvee.explaining.shapley import leave_one_out_weights, pair_weights, shapley_weights

Game = Callable[[frozenset[int]], Fraction]


def slow_shapley(parts: int, worth: Game) -> list[Fraction]:
    """The mean over all orders of what each part adds to those before it."""
    added = [Fraction(0)] * parts
    for order in permutations(range(parts)):
        before: frozenset[int] = frozenset()
        for part in order:
            added[part] += worth(before | {part}) - worth(before)
            before |= {part}
    return [one / math.factorial(parts) for one in added]


def drawn_game(seed: int, parts: int) -> Game:
    rng = random.Random(seed)
    table = {frozenset(members(one)): Fraction(rng.randint(-100, 100), rng.randint(1, 9)) for one in range(1 << parts)}
    return table.__getitem__


def values(parts: int, budget: int, worth: Game, seed: int = 0) -> np.ndarray:
    path = course(parts, budget, seed)
    found = [float(worth(frozenset(members(one)))) for one in path.coalitions]
    return shapley_weights(path) @ np.array(found)


def told(path_of: tuple[int, int, int], outcomes: Callable[[frozenset[int]], Outcome], **about: str) -> Explanation:
    path = course(*path_of)
    found = {one: outcomes(frozenset(members(one))) for one in path.coalitions}
    usual = {"subject": "merge", "task": "t", "metric": "m", "direction": "higher", "of": "models"}
    what = About(**{**usual, **about}, n=4, nothing_is="the base")
    return explained(what, [f"p{i}" for i in range(path_of[0])], path, found)


def test_a_game_of_three_worked_out_by_hand() -> None:
    """Gloves: 0 has a left one, 1 and 2 a right one each; a pair is worth 1."""

    def worth(who: frozenset[int]) -> Fraction:
        return Fraction(int(0 in who and len(who) > 1))

    assert slow_shapley(3, worth) == [Fraction(2, 3), Fraction(1, 6), Fraction(1, 6)]
    assert values(3, 8, worth).tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    path = course(3, 8)
    found = np.array([float(worth(frozenset(members(one)))) for one in path.coalitions])
    assert (leave_one_out_weights(path) @ found).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("parts", [1, 2, 4, 5])
@pytest.mark.parametrize("seed", range(3))
def test_exact_values_are_those_of_the_definition(parts: int, seed: int) -> None:
    worth = drawn_game(seed, parts)
    expected = [float(one) for one in slow_shapley(parts, worth)]
    assert values(parts, 64, worth).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("parts", "budget"), [(5, 64), (7, 60)])
def test_values_add_up_to_what_all_are_worth(parts: int, budget: int) -> None:
    worth = drawn_game(7, parts)
    whole = float(worth(frozenset(range(parts))) - worth(frozenset()))
    assert math.fsum(values(parts, budget, worth)) == pytest.approx(whole, abs=1e-10)


@pytest.mark.parametrize(("parts", "budget"), [(4, 16), (7, 60)])
def test_a_part_that_never_adds_anything_has_nothing(parts: int, budget: int) -> None:
    worth = drawn_game(3, parts)
    assert values(parts, budget, lambda who: worth(who - {2}))[2] == pytest.approx(0, abs=1e-12)


def test_parts_that_are_alike_have_the_same() -> None:
    rng = random.Random(5)
    table = {(a, b): Fraction(rng.randint(0, 50)) for a in range(3) for b in range(8)}

    def worth(who: frozenset[int]) -> Fraction:  # parts 0 and 1 only count by how many of them there are
        return table[len(who & {0, 1}), sum(1 << (one - 2) for one in who - {0, 1})]

    found = values(5, 32, worth)
    assert found[0] == pytest.approx(found[1], abs=1e-12)
    assert abs(found[2] - found[3]) > 0.01


@pytest.mark.parametrize(("parts", "budget"), [(4, 16), (7, 60)])
def test_values_are_linear(parts: int, budget: int) -> None:
    a, b = drawn_game(1, parts), drawn_game(2, parts)
    both = values(parts, budget, lambda who: 3 * a(who) - b(who))
    np.testing.assert_allclose(both, 3 * values(parts, budget, a) - values(parts, budget, b), atol=1e-10)


def test_drawn_orders_are_right_on_average() -> None:
    """A game of six with known values: over many seeds the mean of the drawn ones is the exact one."""
    worth = drawn_game(11, 6)
    exact = values(6, 64, worth)
    several = np.stack([values(6, 32, worth, seed) for seed in range(400)])
    error = several.std(axis=0, ddof=1) / math.sqrt(len(several))
    assert (error > 0.05).all()
    assert (np.abs(several.mean(axis=0) - exact) < 4 * error).all()


def test_the_error_that_is_told_is_that_of_the_draws() -> None:
    """What the spread over pairs says, against the spread over seeds."""
    worth = drawn_game(11, 6)

    def outcome(who: frozenset[int]) -> Outcome:
        return Outcome(float(worth(who)), rows=np.full(3, float(worth(who))))

    found = [told((6, 44, seed), outcome) for seed in range(100)]
    values_of = np.array([[part.shapley.value for part in one.parts] for one in found])
    said = np.array([[part.shapley.stderr for part in one.parts] for one in found])
    np.testing.assert_allclose(np.sqrt((said**2).mean(axis=0)), values_of.std(axis=0, ddof=1), rtol=0.25)


def test_few_pairs_of_orders_make_wide_intervals() -> None:
    worth = drawn_game(11, 6)
    found = told((6, 26, 1), lambda who: Outcome(float(worth(who)), rows=np.full(9, float(worth(who)))))
    assert found.permutations == 4
    part = found["p0"].shapley  # the rows are alike: all that is uncertain is what was drawn
    assert (part.high - part.value) / part.stderr == pytest.approx(12.706)
    assert [student(n) for n in (1, 10, 11, 30, 10**6)] == pytest.approx([12.706, 2.228, 2.201, 2.042, 1.960], abs=3e-3)


def test_no_set_stands_twice_and_the_budget_holds() -> None:
    for parts, budget in ((3, 8), (7, 60), (12, 256), (40, 400)):
        path = course(parts, budget, 3)
        assert len(set(path.coalitions)) == len(path.coalitions) <= budget
        always = {0, path.whole, *(1 << i for i in range(parts)), *(path.whole & ~(1 << i) for i in range(parts))}
        assert always <= set(path.coalitions)
    assert course(8, 256).is_exact
    assert not course(9, 256).is_exact


def test_every_order_stands_beside_its_reverse() -> None:
    path = course(9, 256, 4)
    assert path.orders is not None
    assert len(path.orders) > 20
    assert all(b == a[::-1] for a, b in zip(path.orders[::2], path.orders[1::2], strict=True))
    assert path == course(9, 256, 4)
    assert path != course(9, 256, 5)
    assert all(set(prefixes(order)) <= set(path.coalitions) for order in path.orders)
    assert len(pair_weights(path)) == len(path.orders) // 2


def test_any_whole_number_is_a_seed() -> None:
    assert course(9, 60, -1).orders == course(9, 60, -1).orders != course(9, 60, 0).orders


def test_a_budget_that_is_too_small() -> None:
    with pytest.raises(UsageError, match="9 parts need a budget of 44 sets or more; found 43"):
        course(9, 43)
    assert len(course(9, 44).orders) == 4
    with pytest.raises(UsageError, match="2 parts need a budget of 4"):
        course(2, 3)


ROWS = {
    frozenset(): [0.0, 0.0, 1.0, 0.0],
    frozenset({0}): [1.0, 0.0, 1.0, 0.0],
    frozenset({1}): [0.0, 1.0, 1.0, 0.0],
    frozenset({0, 1}): [1.0, 1.0, 1.0, 0.0],
}


def by_rows(who: frozenset[int]) -> Outcome:
    rows = np.array(ROWS[who])
    return Outcome(float(rows.mean()), rows=rows)


def test_error_bars_over_rows_are_paired_and_exact() -> None:
    """Part 0 adds 1 on the first row and nothing on the three others, whoever is there."""
    found = told((2, 4, 0), by_rows)
    own = np.array([1.0, 0, 0, 0])
    for figure in (found["p0"].shapley, found["p0"].leave_one_out):
        assert figure.value == pytest.approx(0.25)
        assert figure.stderr == pytest.approx(own.std(ddof=1) / 2)
        assert (figure.low, figure.high) == pytest.approx(
            (0.25 - 1.96 * figure.stderr, 0.25 + 1.96 * figure.stderr), abs=1e-4
        )
    assert found.whole.value == pytest.approx(0.75)
    assert found.nothing.value == pytest.approx(0.25)
    assert found["p1"].alone.value == pytest.approx(0.5)
    assert (found["p0"].shapley.differing, found["p0"].shapley.is_doubtful) == (1, True)
    assert doubts([found])[0].startswith("4 of 4 contributions differ from nothing on fewer than 6 rows")


def test_many_rows_or_none_leave_no_doubt() -> None:
    many = told((1, 2, 0), lambda who: Outcome(len(who) / 2, rows=np.repeat([len(who), 0.0], 6)))
    none = told((1, 2, 0), lambda who: Outcome(1.0, rows=np.ones(8)))
    assert (many["p0"].shapley.differing, none["p0"].shapley.differing) == (6, 0)
    single = told((1, 2, 0), lambda who: Outcome(float(len(who)), rows=np.array([float(len(who))])))
    assert math.isnan(single["p0"].shapley.stderr)
    assert doubts([many, none, single]) == []


def test_where_lower_is_better_gains_are_positive_and_scores_as_they_are() -> None:
    found = told((2, 4, 0), lambda who: Outcome(-3.0 + len(who), rows=np.full(4, -3.0 + len(who))), direction="lower")
    assert found["p0"].shapley.value == pytest.approx(1)
    assert (found.whole.value, found.nothing.value, found["p0"].alone.value) == (1, 3, 2)
    assert found["p0"].shapley.stderr == 0


def test_a_score_that_is_no_mean_has_the_spread_of_its_draws() -> None:
    draws = {len(who): np.random.default_rng(len(who)).normal(size=500) for who in ROWS}
    draws[1][3] = np.nan  # a draw without a value is left out everywhere

    def outcome(who: frozenset[int]) -> Outcome:
        return Outcome(float(len(who)), draws=draws[len(who)])

    found = told((2, 4, 0), outcome)
    expected = np.delete((draws[2] - draws[0]) / 2, 3).std(ddof=1)
    assert found["p0"].shapley.stderr == pytest.approx(expected)
    assert found["p0"].leave_one_out.stderr == pytest.approx(np.delete(draws[2] - draws[1], 3).std(ddof=1))


def test_no_rows_no_error_bar() -> None:
    found = told((2, 4, 0), lambda who: Outcome(float(len(who))))
    assert math.isnan(found["p0"].shapley.stderr)
    assert math.isnan(found["p0"].shapley.low)
    assert found.notes == ("merge on t: m has no error bar here, so none is told",)


def test_nothing_may_be_the_mean_of_the_single_ones() -> None:
    made = mean_outcome([by_rows(frozenset({0})), by_rows(frozenset({1}))])
    assert made.value == pytest.approx(0.5)
    assert made.rows.tolist() == [0.5, 0.5, 1, 0]
    assert mean_outcome([Outcome(1.0), by_rows(frozenset({1}))]).rows is None


def test_the_form_of_the_data() -> None:
    data = told((2, 4, 0), by_rows).as_data()
    assert list(data) == [
        *("subject", "task", "metric", "direction", "n", "of", "whole", "nothing"),
        *("exact", "coalitions", "permutations", "parts"),
    ]
    assert data["nothing"]["what"] == "the base"
    assert (data["exact"], data["coalitions"], data["permutations"]) == (True, 4, None)
    part = data["parts"][0]
    assert list(part) == ["name", "shapley", "leave_one_out", "alone"]
    assert list(part["shapley"]) == ["value", "stderr", "low", "high"]
    assert list(part["alone"]) == ["value", "stderr"]
