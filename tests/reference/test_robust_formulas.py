"""The reference formulas of robust averages and walks against examples worked by hand, derived in the comments."""

import math

import pytest

from tests.reference import robust_formulas as ref


def near(values, within=1e-14):
    return pytest.approx(values, abs=within, rel=within)


class TestGeometricMedian:
    def test_fermat_point(self):
        # an equilateral triangle: its centre, where the mean is too
        triangle = [[0.0, 0.0], [2.0, 0.0], [1.0, math.sqrt(3)]]
        assert ref.geometric_median(triangle) == near([1.0, 1 / math.sqrt(3)])

    def test_isosceles(self):
        # (±1, 0) and (0, 4): the angles at the point (0, h) are 120°: h = tan 30° = 1/√3, far below the mean at 4/3
        got = ref.geometric_median([[-1.0, 0.0], [1.0, 0.0], [0.0, 4.0]], eps=1e-12, max_iter=1000)
        assert got == near([0.0, 1 / math.sqrt(3)], 1e-9)

    def test_one_step(self):
        # from the mean (0, 1) of (±2, 0), (0, 3): distances √5, √5, 2: (3/2)/(2/√5 + ½)
        got = ref.geometric_median([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]], max_iter=1)
        assert got == near([0.0, 1.5 / (2 / math.sqrt(5) + 0.5)])
        assert ref.geometric_median([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]], max_iter=0) == near([0.0, 1.0])

    def test_large_eps_stops_after_one_step(self):
        # with eps 2 the distances count as √5, √5, 2 as they are, and the first step (0.06) is below eps
        got = ref.geometric_median([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]], eps=2.0)
        assert got == near([0.0, 1.5 / (2 / math.sqrt(5) + 0.5)])

    def test_majority_wins(self):
        # on a line the median: two of three are at 0
        assert ref.geometric_median([[0.0], [0.0], [30.0]], max_iter=1000) == near([0.0], 1e-4)

    def test_weights(self):
        # weights 1, 1, 3: more than half the weight is at 30
        assert ref.geometric_median([[0.0], [0.0], [30.0]], [1.0, 1.0, 3.0], max_iter=1000) == near([30.0], 1e-4)

    def test_at_a_model(self):
        # the mean of −1, 0, 1 is a model: its distance counts as eps, and it stays
        assert ref.geometric_median([[-1.0], [0.0], [1.0]]) == [0.0]


class TestCoordinates:
    MODELS = ((1.0, 5.0), (9.0, -1.0), (2.0, 0.0), (4.0, 2.0))

    def test_median(self):
        # (2 + 4)/2, (0 + 2)/2; without the last model 2 and 0
        assert ref.median(self.MODELS) == [3.0, 1.0]
        assert ref.median(self.MODELS[:3]) == [2.0, 0.0]

    def test_trimmed_mean(self):
        # ⌊¼·4⌋ = 1 off each end: the same two; ⌊0.24·4⌋ = 0: the mean
        assert ref.trimmed_mean(self.MODELS, 0.25) == [3.0, 1.0]
        assert ref.trimmed_mean(self.MODELS, 0.24) == [4.0, 1.5]

    def test_trimmed_mean_of_five(self):
        # 1 off each end of 1, 2, 4, 9, 30: 5
        assert ref.trimmed_mean([[4.0], [1.0], [30.0], [2.0], [9.0]], 0.2) == [5.0]


class TestKrum:
    MODELS = ((0.0, 0.0), (1.0, 0.0), (0.0, 2.0), (10.0, 0.0), (1.0, 1.0))

    def test_scores(self):
        # n = 5, f = 1: 2 nearest. Squares from (0,0): 1, 4, 100, 2 → 3; (1,0): 1, 5, 81, 1 → 2; (0,2): 4, 5, 104, 2 → 6
        # (10,0): 100, 81, 104, 82 → 163; (1,1): 2, 1, 2, 82 → 3
        assert ref.krum_scores(self.MODELS, 1) == near([3.0, 2.0, 6.0, 163.0, 3.0])

    def test_more_neighbours(self):
        # f = 0: 3 nearest: 7, 7, 11, 263, 5
        assert ref.krum_scores(self.MODELS, 0) == near([7.0, 7.0, 11.0, 263.0, 5.0])
        assert ref.krum(self.MODELS, 0) == [1.0, 1.0]

    def test_krum(self):
        assert ref.krum(self.MODELS, 1) == [1.0, 0.0]

    def test_of_equal_ones_the_first(self):
        # on a line 0, 1, 2, 3 with f = 1 (1 nearest): all have score 1
        assert ref.krum([[0.0], [1.0], [2.0], [3.0]], 1) == [0.0]

    def test_multi_krum(self):
        # the second, then the first and the last: (1 + 0 + 1)/3, (0 + 0 + 1)/3
        assert ref.multi_krum(self.MODELS, 1, 3) == near([2 / 3, 1 / 3])
        assert ref.multi_krum(self.MODELS, 1, 1) == [1.0, 0.0]


class TestWalks:
    BASE, MODEL = (1.0, 2.0), (3.0, 1.0)

    def test_wise_ft(self):
        # ¾·1 + ¼·3, ¾·2 + ¼·1
        assert ref.wise_ft(self.BASE, self.MODEL, 0.25) == [1.5, 1.75]

    def test_expo(self):
        # 3 + ½·2, 1 − ½·1
        assert ref.expo(self.BASE, self.MODEL, 0.5) == [4.0, 0.5]

    def test_negation(self):
        # 1 − ½·2, 2 + ½·1
        assert ref.task_negation(self.BASE, self.MODEL, 0.5) == [0.0, 2.5]

    def test_analogy(self):
        # τ_A (1, 0), τ_B (2, 4), τ_C (0, −1): (1, 3); λ 2
        a, b, c = (2.0, 2.0), (3.0, 6.0), (1.0, 1.0)
        assert ref.task_analogy(self.BASE, a, b, c, 2.0) == [3.0, 8.0]


class TestLines:
    def test_factors(self):
        # 0.2 + 0.6·(0, ⅓, ⅔, 1)
        assert ref.lines_factors(4, 0.2, 0.6) == near([0.2, 0.4, 0.6, 0.8])
        assert ref.lines_factors(1, 0.2, 0.6) == [0.2]

    def test_alpha(self):
        # Σ τ = (3, −1, 0), ‖·‖₁ 4; merged by the mean: 2: 4/2/2; merged by the sum: 4/4/2
        deltas = [[1.0, -2.0, 1.0], [2.0, 1.0, -1.0]]
        assert ref.lines_alpha(deltas, [1.5, -0.5, 0.0]) == 1.0
        assert ref.lines_alpha(deltas, [3.0, -1.0, 0.0]) == 0.5

    def test_layers(self):
        # factors ½ and 1.5 on deltas (2), (4, −2)
        assert ref.lines([[1.0], [0.0, 0.0]], [[3.0], [4.0, -2.0]], 0.5, 1.0) == [[2.0], [6.0, -3.0]]
