"""The reference formulas on directions against examples worked by hand; the comment above each derives its numbers."""

import math

import pytest

from tests.reference import sphere_formulas as ref

ROOT2, ROOT3 = math.sqrt(2.0), math.sqrt(3.0)


def near(values, within=1e-14):
    return pytest.approx(values, abs=within, rel=within)


class TestSlerpInterpolatedNorm:
    def test_right_angle(self):
        # units (1, 0) and (0, 1), half way (√½, √½); norm (2 + 4)/2 = 3
        assert ref.slerp_interpolated_norm([2.0, 0.0], [0.0, 4.0], 0.5) == near([3 / ROOT2, 3 / ROOT2])

    def test_a_third_of_ninety_degrees(self):
        # the unit vector at 30° = (√3/2, ½); norm ⅔·3 + ⅓·6 = 4
        assert ref.slerp_interpolated_norm([3.0, 0.0], [0.0, 6.0], 1 / 3) == near([2 * ROOT3, 2.0])

    def test_parallel(self):
        # one unit vector (0.6, 0.8); norm ¾·5 + ¼·10 = 6.25
        assert ref.slerp_interpolated_norm([3.0, 4.0], [6.0, 8.0], 0.25) == near([3.75, 5.0])


class TestNuslerp:
    def test_share(self):
        # 3/(1+3); weights that cancel count as equal
        assert ref.nuslerp_share([1.0, 3.0]) == 0.75
        assert ref.nuslerp_share([1.0, -1.0]) == 0.5
        assert ref.nuslerp_share([1.0, -0.5]) == -1.0

    def test_sixty_degrees(self):
        # (1, 0) and 2·(½, √3/2), t = ½: both coefficients sin 30°/sin 60° = 1/√3; (1 + 1, √3)/√3
        assert ref.nuslerp([[1.0, 0.0], [1.0, ROOT3]], [2.0, 2.0]) == near([2 / ROOT3, 1.0])

    def test_base(self):
        # deltas (2, 0) and (0, 4) from (1, 1), t = ½: √½·(2, 4) on top of the base
        assert ref.nuslerp([[3.0, 1.0], [1.0, 5.0]], [1.0, 1.0], [1.0, 1.0]) == near([1 + ROOT2, 1 + 2 * ROOT2])

    def test_parallel_and_opposite_go_along_the_line(self):
        # t = ¾: ¼·(1, 2) + ¾·(3, 6) = (2.5, 5);   ¼·(1, 2) − ¾·(1, 2) = (−½, −1)
        assert ref.nuslerp([[1.0, 2.0], [3.0, 6.0]], [1.0, 3.0]) == near([2.5, 5.0])
        assert ref.nuslerp([[1.0, 2.0], [-1.0, -2.0]], [1.0, 3.0]) == near([-0.5, -1.0])

    def test_slerp_s_threshold_does_not_hold_here(self):
        # at 1° (cos 0.99985): coefficient of each at t = ½ is sin ½°/sin 1° = 1/(2 cos ½°), not ½
        cos, sin = math.cos(math.radians(1)), math.sin(math.radians(1))
        factor = 1 / (2 * math.cos(math.radians(0.5)))
        got = ref.nuslerp([[1.0, 0.0], [cos, sin]], [1.0, 1.0])
        assert got == near([factor * (1 + cos), factor * sin], 1e-12)

    # two matrices whose rows are at 90° and 0°, whose columns are at other angles
    FIRST = ((1.0, 0.0), (1.0, 1.0))
    SECOND = ((0.0, 1.0), (2.0, 2.0))

    def test_rows(self):
        # row 0: 90°: √½·(1, 1); row 1: parallel: (1.5, 1.5)
        got = ref.nuslerp_rows([self.FIRST, self.SECOND], [1.0, 1.0])
        assert got == [near([1 / ROOT2, 1 / ROOT2]), near([1.5, 1.5])]

    def test_columns(self):
        # column 0: (1, 1) and (0, 2): 45°, t = ½: sin 22.5°/sin 45° = 1/(2 cos 22.5°) =: c; c·(1, 3)
        # column 1: (0, 1) and (1, 2): cos 2/√5; sin of half the angle over sin of the angle = 1/(2 cos half)
        c = 1 / (2 * math.cos(math.radians(22.5)))
        e = 1 / (2 * math.sqrt((1 + 2 / math.sqrt(5)) / 2))
        got = ref.nuslerp_columns([self.FIRST, self.SECOND], [1.0, 1.0])
        assert got == [near([c, e]), near([3 * c, 3 * e])]

    def test_rows_with_base(self):
        # deltas of row 0: (1, 0) and (0, 1); of row 1: (0, 2) twice
        base, a, b = [[1.0, 1.0], [5.0, 5.0]], [[2.0, 1.0], [5.0, 7.0]], [[1.0, 2.0], [5.0, 7.0]]
        want = [near([1 + 1 / ROOT2, 1 + 1 / ROOT2]), near([5.0, 7.0])]
        assert ref.nuslerp_rows([a, b], [1.0, 1.0], base) == want

    def test_columns_with_base(self):
        # deltas of column 0: (1, 0) and (1, 0); of column 1: (0, 2) and (2, 0), √½·(2, 2)
        base, a, b = [[1.0, 1.0], [5.0, 5.0]], [[2.0, 1.0], [5.0, 7.0]], [[2.0, 3.0], [5.0, 5.0]]
        want = [near([2.0, 1 + ROOT2]), near([5.0, 5 + ROOT2])]
        assert ref.nuslerp_columns([a, b], [1.0, 1.0], base) == want


class TestMultislerp:
    def test_equal_weights_at_a_right_angle(self):
        # m = (√½, √½), the tangents cancel, s = eps; norm (2 + 4)/2 = 3: 3·(√½, √½)
        assert ref.multislerp([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0]) == near([3 / ROOT2, 3 / ROOT2], 1e-7)

    def test_one_step_without_logarithm(self):
        # weights ¾, ¼, units (1, 0), (0, 1): Σ wu = (¾, ¼), m = (3, 1)/√10, u₁·m = 3/√10, u₂·m = 1/√10
        # τ = (¾, ¼) − (¾·3/√10 + ¼·1/√10)·m = (¾, ¼) − (10/4)/√10·(3, 1)/√10 = 0: the mean's own tangent is none
        # so y = m·(¾·2 + ¼·4) = 2.5·(3, 1)/√10
        want = [7.5 / math.sqrt(10), 2.5 / math.sqrt(10)]
        assert ref.multislerp([[2.0, 0.0], [0.0, 4.0]], [3.0, 1.0]) == near(want, 1e-7)

    def test_step_is_eps_long(self):
        # as above with eps 0.1: u = (2/2.1, 0), (0, 4/4.1); equal weights: m = (a, b)/√(a²+b²), a = 2/2.1, b = 4/4.1
        # τ = 0, s = 0.1, y = cos 0.1 · 3 · m
        a, b = 2 / 2.1, 4 / 4.1
        factor = 3 * math.cos(0.1) / math.hypot(a, b)
        assert ref.multislerp([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0], eps=0.1) == near([factor * a, factor * b])

    def test_weights_as_they_are(self):
        # Σ w = 4: Σ wu = (3, 1), m = (3, 1)/√10; τ = Σ wu − (Σ wu·m)m = 0 again; norm 3·2 + 1·4 = 10
        want = [30 / math.sqrt(10), 10 / math.sqrt(10)]
        assert ref.multislerp([[2.0, 0.0], [0.0, 4.0]], [3.0, 1.0], normalize_weights=False) == near(want, 1e-6)

    def test_base(self):
        # deltas (2, 0), (0, 4) on (10, 20)
        got = ref.multislerp([[12.0, 20.0], [10.0, 24.0]], [1.0, 1.0], [10.0, 20.0])
        assert got == near([10 + 3 / ROOT2, 20 + 3 / ROOT2], 1e-7)

    def test_one_model_is_itself(self):
        assert ref.multislerp([[1.0, -2.0]], [0.5], [7.0, 7.0]) == [1.0, -2.0]

    def test_two_opposite_models_are_averaged(self):
        # ½·(2, 0) + ½·(−4, 0) = (−1, 0); with base (1, 1) the deltas of (3, 1), (−3, 1) are those
        assert ref.multislerp([[2.0, 0.0], [-4.0, 0.0]], [1.0, 1.0]) == [-1.0, 0.0]
        assert ref.multislerp([[3.0, 1.0], [-3.0, 1.0]], [1.0, 1.0], [1.0, 1.0]) == [0.0, 1.0]

    def test_three_that_cancel_are_an_error(self):
        with pytest.raises(ValueError, match="cancel"):
            ref.multislerp([[2.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], [2.0, 1.0, 1.0])


class TestKarcher:
    def test_half_way(self):
        # equal weights at 90°: 45°; norm (2 + 4)/2
        assert ref.karcher([[2.0, 0.0], [0.0, 4.0]]) == near([3 / ROOT2, 3 / ROOT2])

    def test_weights_move_along_the_arc(self):
        # on a circle the mean angle is the weighted mean: weights 2 : 1 at 0° and 90° → 30°; norm (2·3 + 6)/3 = 4
        assert ref.karcher([[3.0, 0.0], [0.0, 6.0]], [2.0, 1.0]) == near([2 * ROOT3, 2.0], 1e-5)

    def test_three_on_a_circle(self):
        # 0°, 0°, 90° → 30°, unlike the mean of the vectors, which is at atan ½ = 26.57°; unit norms
        assert ref.karcher([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) == near([ROOT3 / 2, 0.5], 1e-5)

    def test_one_step(self):
        # from 26.57° = atan ½ =: a, one step: T = ⅔·(−a) + ⅓·(90° − a) = 30° − a, and on a circle that lands on 30°
        got = ref.karcher([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], max_iter=1)
        assert got == near([ROOT3 / 2, 0.5])
        # no step: the normalised mean (2, 1)/√5
        got = ref.karcher([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], max_iter=0)
        assert got == near([2 / math.sqrt(5), 1 / math.sqrt(5)])

    def test_large_tolerance_stops_at_once(self):
        # the step is 30° − 26.57° = 0.06 rad < 0.1: it stays at (2, 1)/√5
        got = ref.karcher([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], tol=0.1)
        assert got == near([2 / math.sqrt(5), 1 / math.sqrt(5)])

    def test_symmetric_corner(self):
        # the mean of the three axes of space is (1, 1, 1)/√3; norm (1 + 2 + 3)/3 = 2
        models = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]
        assert ref.karcher(models) == near([2 / ROOT3] * 3)

    def test_a_zero_model_shortens_only(self):
        # direction (1, 0); norm (4 + 0)/2
        assert ref.karcher([[4.0, 0.0], [0.0, 0.0]]) == near([2.0, 0.0])
        assert ref.karcher([[0.0, 0.0], [0.0, 0.0]]) == [0.0, 0.0]

    def test_weights_of_the_others_are_renormalised(self):
        # weights 2 : 1 at 0° and 90° beside a zero model of weight 3: still 30°; norm (2·3 + 6 + 0)/6 = 2
        models = [[3.0, 0.0], [0.0, 6.0], [0.0, 0.0]]
        assert ref.karcher(models, [2.0, 1.0, 3.0]) == near([ROOT3, 1.0], 1e-5)

    def test_opposite_models(self):
        # the mean of the units is 0: start at the first; the second is at 180°, where its tangent is none
        assert ref.karcher([[2.0, 0.0], [-4.0, 0.0]]) == near([3.0, 0.0])


class TestModelStock:
    BASE = (1.0, 1.0)

    def test_two_models_at_sixty_degrees(self):
        # deltas (2, 0) and (1, √3): cos ½, t = 2·½/1.5 = ⅔; mean (2.5, 1 + √3/2); ⅔·mean + ⅓·base
        models = [[3.0, 1.0], [2.0, 1 + ROOT3]]
        assert ref.model_stock(models, self.BASE) == near([2.0, 1 + ROOT3 / 3])
        assert ref.model_stock_angles(models, self.BASE) == near([2.0, 1 + ROOT3 / 3])

    def test_right_angle_is_the_base(self):
        assert ref.model_stock([[2.0, 1.0], [1.0, 5.0]], self.BASE) == near(self.BASE)

    # deltas (1, 0), (1, 0), (0, 1): cosines 1, 0, 0; angles 0°, 90°, 90°
    THREE = ([2.0, 1.0], [2.0, 1.0], [1.0, 2.0])

    def test_mean_of_cosines(self):
        # c = ⅓, t = 3·⅓/(1 + ⅔) = 0.6; mean (5/3, 4/3): 1 + 0.6·(⅔, ⅓)
        assert ref.model_stock(self.THREE, self.BASE) == near([1.4, 1.2])

    def test_mean_of_angles(self):
        # 60°, c = ½, t = 1.5/2 = ¾: 1 + ¾·(⅔, ⅓)
        assert ref.model_stock_angles(self.THREE, self.BASE) == near([1.5, 1.25])

    def test_pole(self):
        # opposite deltas: c = −1, 1 + c = 0: t = 0
        assert ref.model_stock([[2.0, 1.0], [-1.0, 1.0]], self.BASE) == [1.0, 1.0]

    def test_more_than_ninety_degrees_gives_negative_t(self):
        # c = −½, t = −1/½ = −2
        assert ref.model_stock_ratio(-0.5, 2) == -2.0

    def test_a_model_equal_to_the_base_is_perpendicular(self):
        assert ref.model_stock([[1.0, 1.0], [3.0, 1.0]], self.BASE) == near(self.BASE)

    def test_rows(self):
        # row 0 as at sixty degrees; row 1: deltas both (0, 1): t = 1, the mean
        models = [[[3.0, 1.0], [0.0, 1.0]], [[2.0, 1 + ROOT3], [0.0, 1.0]]]
        got = ref.model_stock_rows(models, [[1.0, 1.0], [0.0, 0.0]])
        assert got == [near([2.0, 1 + ROOT3 / 3]), near([0.0, 1.0])]
