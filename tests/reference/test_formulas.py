"""The reference formulas against examples worked by hand; every number is derived in the comment above it."""

import math

import pytest

from tests.reference import formulas as ref

ROOT2 = math.sqrt(2.0)


def near(values):
    return pytest.approx(values, abs=1e-15, rel=1e-15)


class TestLinear:
    MODELS = ((1.0, -2.0, 0.5), (3.0, 2.0, -0.5))

    def test_weighted_mean(self):
        # (1·1 + 3·3)/4 = 2.5    (1·−2 + 3·2)/4 = 1    (0.5 − 1.5)/4 = −0.25
        assert ref.linear(self.MODELS, [1.0, 3.0]) == [2.5, 1.0, -0.25]

    def test_weighted_sum(self):
        # the same without the division by 4
        assert ref.linear(self.MODELS, [1.0, 3.0], normalize=False) == [10.0, 4.0, -1.0]

    def test_negative_weight_extrapolates(self):
        # weights 3 and −1 sum to 2: (3·1 − 3)/2 = 0    (−6 − 2)/2 = −4    (1.5 + 0.5)/2 = 1
        assert ref.linear(self.MODELS, [3.0, -1.0]) == [0.0, -4.0, 1.0]

    def test_no_entries(self):
        assert ref.linear([[], []], [1.0, 1.0]) == []


class TestSlerp:
    def test_right_angle(self):
        # cos 0, angle 90°, t = 1/2: both coefficients sin 45° / sin 90° = √½
        assert ref.slerp([2.0, 0.0], [0.0, 4.0], 0.5) == near([ROOT2, 2 * ROOT2])

    def test_sixty_degrees_third_of_the_way(self):
        # a = (1, 0), b = (½, √3/2), angle 60°, t = 1/2: the unit vector at 30° = (√3/2, ½)
        assert ref.slerp([1.0, 0.0], [0.5, math.sqrt(3) / 2], 0.5) == near([math.sqrt(3) / 2, 0.5])

    def test_norms_do_not_change_the_angle(self):
        # as above with b ten times as long: coefficients sin 30°/sin 60° = 1/√3 for both
        want = [(1 + 5.0) / math.sqrt(3), 10 * math.sqrt(3) / 2 / math.sqrt(3)]
        assert ref.slerp([1.0, 0.0], [5.0, 10 * math.sqrt(3) / 2], 0.5) == near(want)

    def test_parallel_tensors_are_interpolated_on_the_line(self):
        # cos = 1 > 0.9995: ¾·(1, 2) + ¼·(3, 6) = (1.5, 3)
        assert ref.slerp([1.0, 2.0], [3.0, 6.0], 0.25) == [1.5, 3.0]

    def test_opposite_tensors_are_interpolated_on_the_line(self):
        # cos = −1, |cos| > 0.9995: ½·(1, 2) − ½·(1, 2) = 0
        assert ref.slerp([1.0, 2.0], [-1.0, -2.0], 0.5) == [0.0, 0.0]

    @pytest.mark.parametrize(("cos", "straight"), [(0.9996, True), (0.9994, False), (-0.9996, True), (-0.9994, False)])
    def test_threshold(self, cos, straight):
        assert (ref.slerp_coefficients(cos, 0.25) == (0.75, 0.25)) is straight

    def test_a_zero_tensor_counts_as_perpendicular(self):
        # coefficients sin 45° for both; only b is left: √½·(2, 0)
        assert ref.slerp([0.0, 0.0], [2.0, 0.0], 0.5) == near([ROOT2, 0.0])

    def test_ends(self):
        a, b = [1.0, 2.0, -3.0], [0.5, -1.0, 4.0]
        assert ref.slerp(a, b, 0.0) == a
        assert ref.slerp(a, b, 1.0) == b


class TestTaskArithmetic:
    BASE = (1.0, 1.0, 0.0)
    MODELS = ((2.0, 0.0, 0.5), (1.0, 3.0, -0.5))
    # deltas (1, −1, ½) and (0, 2, −½)

    def test_sum_of_deltas(self):
        # ½·d₁ + 1·d₂ = (½, 1.5, −¼); λ = 2 → (1, 3, −½)
        assert ref.task_arithmetic(self.BASE, self.MODELS, [0.5, 1.0], 2.0) == [2.0, 4.0, -0.5]

    def test_normalised(self):
        # (½·d₁ + 1.5·d₂)/2 = (0.25, 1.25, −0.25)
        assert ref.task_arithmetic(self.BASE, self.MODELS, [0.5, 1.5], normalize=True) == [1.25, 2.25, -0.25]

    def test_weights_that_cancel_are_not_divided_by(self):
        # d₁ − d₂ = (1, −3, 1)
        assert ref.task_arithmetic(self.BASE, self.MODELS, [1.0, -1.0], normalize=True) == [2.0, -2.0, 1.0]

    def test_no_models(self):
        assert ref.task_arithmetic(self.BASE, [], []) == list(self.BASE)


class TestTrim:
    def test_keeps_the_largest(self):
        # n = 5, ⌊0.5·5⌋ = 2 stay: 4 and −3
        assert ref.trim([1.0, -3.0, 0.5, 4.0, 2.0], 0.5) == [0.0, -3.0, 0.0, 4.0, 0.0]

    def test_equal_magnitudes_stay_from_the_left(self):
        # two of four of magnitude 1 stay: the first two
        assert ref.trim([1.0, -1.0, 1.0, -1.0], 0.5) == [1.0, -1.0, 0.0, 0.0]

    def test_at_least_one_stays(self):
        assert ref.trim([0.25, -0.5], 0.1) == [0.0, -0.5]
        assert ref.trim([7.0], 0.01) == [7.0]

    def test_density_one_keeps_all(self):
        assert ref.trim([0.0, 1.0], 1.0) == [0.0, 1.0]

    def test_count_is_rounded_down_in_double_precision(self):
        # 0.29·100 is 28.999999999999996 in doubles, so 28 stay
        assert sum(x != 0 for x in ref.trim([float(i + 1) for i in range(100)], 0.29)) == 28

    def test_rescaling_restores_the_sum_of_magnitudes(self):
        # magnitudes 1+3+0.5+4+1.5 = 10, kept 7: factor 10/7
        kept = [0.0, -3.0, 0.0, 4.0, 0.0]
        assert ref.rescale_l1([1.0, -3.0, 0.5, 4.0, 1.5], kept) == near([0.0, -30 / 7, 0.0, 40 / 7, 0.0])

    def test_nothing_to_rescale(self):
        assert ref.rescale_l1([0.0, 0.0], [0.0, 0.0]) == [0.0, 0.0]


class TestElect:
    def test_majority_by_weighted_sum(self):
        # votes 2 and −1 and 0.5: sum 1.5, plus wins; 2 + 0.5 over weights 1 + ½
        assert ref.elect([[2.0], [-1.0], [1.0]], [1.0, 1.0, 0.5], True, 1) == [2.5 / 1.5]

    def test_unnormalised(self):
        assert ref.elect([[2.0], [-1.0], [1.0]], [1.0, 1.0, 0.5], False, 1) == [2.5]

    def test_draw_goes_to_plus(self):
        # votes 1 and −1: sum 0 counts as plus, so only the first agrees
        assert ref.elect([[1.0], [-1.0]], [1.0, 1.0], True, 1) == [1.0]

    def test_zero_never_agrees(self):
        # were zero to agree, the mean would be (0 + 3)/2
        assert ref.elect([[0.0], [3.0]], [1.0, 1.0], True, 1) == [3.0]
        assert ref.elect([[0.0], [-0.0]], [1.0, 1.0], True, 1) == [0.0]

    def test_negative_weight_turns_the_vote(self):
        # votes −1·2 = −2 and 1·1 = 1: sum −1, minus wins; −2/−1 = 2
        assert ref.elect([[2.0], [1.0]], [-1.0, 1.0], True, 1) == [2.0]

    def test_agreeing_weights_that_cancel_are_not_divided_by(self):
        # votes 1·1 and −1·−2: both plus, sum 3, weights 1 − 1 = 0 count as 1
        assert ref.elect([[1.0], [-2.0]], [1.0, -1.0], True, 1) == [3.0]


class TestTies:
    BASE = (0.0, 1.0, -1.0, 0.5)
    MODELS = ((4.0, 0.0, -1.5, 0.5), (-1.0, 2.0, 1.0, 0.25))
    # deltas (4, −1, −0.5, 0) and (−1, 1, 2, −0.25)

    def test_trimmed_to_half(self):
        # kept (4, −1, 0, 0) and, of the two equal ones, the first: (−1, 0, 2, 0)
        # sums 3, −1, 2, 0 → signs +, −, +, +; means 4, −1, 2, nothing
        want = [4.0, 0.0, 1.0, 0.5]
        assert ref.ties(self.BASE, self.MODELS, [1.0, 1.0], [0.5, 0.5]) == want

    def test_weights_and_lambda(self):
        # density 1, weights 1 and 3: votes (4, −1, −.5, 0), (−3, 3, 6, −.75); sums 1, 2, 5.5, −.75
        # agree 4/1 = 4, 3/3 = 1, 6/3 = 2, −.75/3 = −.25; λ = ½
        assert ref.ties(self.BASE, self.MODELS, [1.0, 3.0], [1.0, 1.0], 0.5) == [2.0, 1.5, 0.0, 0.375]

    def test_unnormalised(self):
        # the sums that agree: 4, 3, 6, −.75
        assert ref.ties(self.BASE, self.MODELS, [1.0, 3.0], [1.0, 1.0], normalize=False) == [4.0, 4.0, 5.0, -0.25]

    def test_rescaled(self):
        # first: 5.5/5 · (4, −1, 0, 0); second: 4.25/3 · (−1, 0, 2, 0); one model agrees in each entry
        want = [4.4, 1.0 - 1.1, -1.0 + 2 * 4.25 / 3, 0.5]
        assert ref.ties(self.BASE, self.MODELS, [1.0, 1.0], [0.5, 0.5], rescale=True) == near(want)


class TestDare:
    BASE = (1.0, 0.0, -1.0, 2.0)
    MODELS = ((2.0, 1.0, -3.0, 2.0), (0.0, -2.0, 0.0, 3.0))
    # deltas (1, 1, −2, 0) and (−1, −2, 1, 1)
    MASKS = ((True, False, True, True), (True, True, False, False))

    def test_linear(self):
        # survivors ×2: (2, 0, −4, 0); ×4: (−4, −8, 0, 0); weights ½ and ¼: (1−1, −2, −2, 0)
        want = [1.0, -2.0, -3.0, 2.0]
        assert ref.dare_linear(self.BASE, self.MODELS, [0.5, 0.25], [0.5, 0.25], self.MASKS) == want

    def test_linear_as_it_is(self):
        # survivors (1, 0, −2, 0) and (−1, −2, 0, 0), weights ½ and ¼: (¼, −½, −1, 0); /0.75; λ 3 → ×4
        want = [2.0, -2.0, -5.0, 2.0]
        args = ([0.5, 0.25], [0.5, 0.25], self.MASKS, 3.0, True, False)
        assert ref.dare_linear(self.BASE, self.MODELS, *args) == want

    def test_density_one_ignores_mask_and_scale(self):
        # plain task arithmetic with weights 1, 1: (0, −1, −1, 1)
        want = [1.0, -1.0, -2.0, 3.0]
        assert ref.dare_linear(self.BASE, self.MODELS, [1.0, 1.0], [1.0, 1.0], self.MASKS) == want

    def test_ties(self):
        # thinned (2, 0, −4, 0) and (−4, −8, 0, 0), weights 1, 1: sums −2, −8, −4, 0; agree −4, −8, −4, none
        want = [-3.0, -8.0, -5.0, 2.0]
        assert ref.dare_ties(self.BASE, self.MODELS, [1.0, 1.0], [0.5, 0.25], self.MASKS) == want

    def test_ties_divides_by_the_survivors_that_agree(self):
        # votes 2·(2, 0, −4, 0) and (−4, −8, 0, 0): sums 0 → plus: 4/2; −8/1; −8/2; none
        want = [1.0 + 2.0, -8.0, -1.0 - 4.0, 2.0]
        args = ([2.0, 1.0], [0.5, 0.25], self.MASKS, 1.0, True)
        assert ref.dare_ties(self.BASE, self.MODELS, *args) == want


def test_passthrough():
    assert ref.passthrough([1.0, -2.0, 0.0]) == [1.0, -2.0, 0.0]
    assert ref.passthrough([1.0, -2.0, 0.0], 0.5) == [0.5, -1.0, 0.0]
