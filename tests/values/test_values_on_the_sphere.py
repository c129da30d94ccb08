"""Means of directions, Model Stock, and methods that choose entry by entry, worked out on paper beside the numbers."""

from __future__ import annotations

import math

import pytest
import torch

from cuvee.errors import UsageError
from tests.support.values import exactly, merge

ROOT3 = math.sqrt(3)
HALF = math.sqrt(0.5)


class TestMultislerp:
    def test_right_angle(self):
        # the direction between, at the mean of the lengths 3 and 4
        got = merge("multislerp", [[3.0, 0.0], [0.0, 4.0]], weight=1.0)
        assert got == exactly([3.5 * HALF, 3.5 * HALF])

    def test_weights(self):
        # m = ¾ u₁ + ¼ u₂ = (3, 1)/4 of length √10/4; ¾·3 + ¼·4 = 3.25
        got = merge("multislerp", [[3.0, 0.0], [0.0, 4.0]], weight=[3.0, 1.0])
        assert got == exactly([3.25 * 3 / math.sqrt(10), 3.25 / math.sqrt(10)])

    def test_weights_as_they_are(self):
        # m = (1, 2) of length √5; 1·3 + 2·4 = 11
        got = merge("multislerp", [[3.0, 0.0], [0.0, 4.0]], weight=[1.0, 2.0], normalize_weights=False)
        assert got == exactly([11 / math.sqrt(5), 22 / math.sqrt(5)])
        assert merge("multislerp", [[3.0, -1.0]], weight=0.5, normalize_weights=False) == exactly([1.5, -0.5])

    def test_deltas(self):
        # deltas (3, 0) and (0, 4)
        got = merge("multislerp", [[4.0, 1.0], [1.0, 5.0]], base=[1.0, 1.0], weight=1.0)
        assert got == exactly([1 + 3.5 * HALF, 1 + 3.5 * HALF])

    def test_opposite_directions_give_the_weighted_sum(self):
        # ½·2 − ½·4
        assert merge("multislerp", [[2.0, 0.0], [-4.0, 0.0]], weight=1.0) == exactly([-1.0, 0.0])
        # three directions 120° apart: (2 − ½ − ½, ½√3 − ½√3)/3
        three = [[2.0, 0.0], [-0.5, ROOT3 / 2], [-0.5, -ROOT3 / 2]]
        assert merge("multislerp", three, weight=1.0) == exactly([1 / 3, 0.0])

    def test_a_tensor_of_zeros_counts_for_the_length_alone(self):
        assert merge("multislerp", [[0.0, 0.0], [0.0, 4.0]], weight=1.0) == exactly([0.0, 2.0])

    def test_weights_that_cancel_are_refused(self):
        with pytest.raises(UsageError, match="normalize_weights=False") as caught:
            merge("multislerp", [[3.0, 0.0], [0.0, 4.0]], weight=[1.0, -1.0])
        assert caught.value.codes == ("zero-weight-sum",)
        # m = (1, −1); 3 − 4 = −1
        got = merge("multislerp", [[3.0, 0.0], [0.0, 4.0]], weight=[1.0, -1.0], normalize_weights=False)
        assert got == exactly([-HALF, HALF])


class TestKarcher:
    def turned(self, *degrees):
        return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]

    def test_two_models(self):
        assert merge("karcher", [[3.0, 0.0], [0.0, 4.0]]) == exactly([3.5 * HALF, 3.5 * HALF])

    def test_weighted(self):
        # a third of the way round: 30°, at (2·3 + 4)/3
        got = merge("karcher", [[3.0, 0.0], [0.0, 4.0]], weight=[2.0, 1.0], tol=0.0)
        assert got == exactly([10 / 3 * ROOT3 / 2, 10 / 3 / 2])

    def test_on_a_circle_the_mean_of_the_angles(self):
        # (0 + 30 + 90)/3 = 40; the mean direction, where it starts, is at 38.8
        assert merge("karcher", self.turned(0, 30, 90), tol=0.0) == exactly(self.turned(40)[0])
        start = merge("karcher", self.turned(0, 30, 90), max_iter=0)
        assert math.degrees(math.atan2(start[1], start[0])) == pytest.approx(38.794, abs=1e-3)

    def test_the_far_side_pulls_nowhere(self):
        # two of three point one way, the third the opposite; the length is 1
        assert merge("karcher", self.turned(0, 0, 180)) == exactly([1.0, 0.0])

    def test_directions_that_cancel_give_the_mean(self):
        assert merge("karcher", [[2.0, 0.0], [-4.0, 0.0]]) == exactly([-1.0, 0.0])

    def test_a_tensor_of_zeros_counts_for_the_length_alone(self):
        assert merge("karcher", [[0.0, 0.0], [0.0, 4.0]]) == exactly([0.0, 2.0])


class TestNuslerp:
    def test_right_angle(self):
        # t = 1/3: sin 60° = √3/2, sin 30° = ½
        assert merge("nuslerp", [[3.0, 0.0], [0.0, 4.0]], weight=[2.0, 1.0]) == exactly([1.5 * ROOT3, 2.0])

    def test_of_deltas(self):
        got = merge("nuslerp", [[4.0, 1.0], [1.0, 5.0]], base=[1.0, 1.0], weight=[2.0, 1.0])
        assert got == exactly([1 + 1.5 * ROOT3, 3.0])

    ROWS = ([[3.0, 0.0], [1.0, 1.0]], [[0.0, 4.0], [3.0, 3.0]])
    # the first rows are at right angles, the second parallel: 2/3·1 + 1/3·3
    BY_ROW = ([1.5 * ROOT3, 2.0], [5 / 3, 5 / 3])

    def test_row_by_row(self):
        found = merge("nuslerp", self.ROWS, weight=[2.0, 1.0], nuslerp_flatten=False)
        assert [exactly(row) for row in self.BY_ROW] == found

    def test_column_by_column(self):
        turned = [[list(column) for column in zip(*rows)] for rows in self.ROWS]
        found = merge("nuslerp", turned, weight=[2.0, 1.0], nuslerp_flatten=False, nuslerp_row_wise=True)
        assert [exactly(list(row)) for row in zip(*self.BY_ROW)] == found

    def test_columns_are_asked_for_by_both_switches(self):
        whole = merge("nuslerp", self.ROWS, weight=[2.0, 1.0])
        assert merge("nuslerp", self.ROWS, weight=[2.0, 1.0], nuslerp_row_wise=True) == whole

    def test_a_vector_is_one_row_and_no_column(self):
        for row_wise in (False, True):
            settings = {"nuslerp_flatten": False, "nuslerp_row_wise": row_wise}
            got = merge("nuslerp", [[3.0, 4.0], [4.0, -3.0]], weight=[2.0, 1.0], **settings)
            assert got == exactly([1.5 * ROOT3 + 2.0, 2.0 * ROOT3 - 1.5])

    def test_rows_of_a_kernel_are_along_the_last_dimension(self):
        got = merge("nuslerp", [[rows] for rows in self.ROWS], weight=[2.0, 1.0], nuslerp_flatten=False)
        assert [exactly(row) for row in self.BY_ROW] == got[0]


class TestModelStock:
    BASE = (1.0, 1.0)

    def test_sixty_degrees(self):
        # deltas (2, 0), (1, √3): c = ½, t = 2·½/1.5 = ⅔; the mean is (1.5, √3/2)
        assert merge("model_stock", [[3.0, 1.0], [2.0, 1 + ROOT3]], base=self.BASE) == exactly([2.0, 1 + ROOT3 / 3])

    def test_right_angle_is_the_base_and_so_are_opposites(self):
        assert merge("model_stock", [[3.0, 1.0], [1.0, 2.0]], base=self.BASE) == exactly(list(self.BASE))
        assert merge("model_stock", [[3.0, 1.0], [0.0, 1.0]], base=self.BASE) == exactly(list(self.BASE))

    def test_obtuse_leads_away(self):
        # deltas (2, 0), (−1, √3): c = −½, t = −1/½ = −2; the mean is (½, √3/2)
        assert merge("model_stock", [[3.0, 1.0], [0.0, 1 + ROOT3]], base=self.BASE) == exactly([0.0, 1 - ROOT3])

    def test_three_models(self):
        # two parallel, one at right angles to both: c = (1 + 0 + 0)/3, t = 3/3/(1 + 2/3) = 0.6; the mean is (1, 1)
        models = [[2.0, 1.0], [3.0, 1.0], [1.0, 4.0]]
        assert merge("model_stock", models, base=self.BASE) == exactly([1.6, 1.6])

    def test_row_by_row(self):
        # as above, and deltas (1, 0), (3, 0), which are parallel: t = 1
        models = [[[3.0, 1.0], [1.0, 0.0]], [[2.0, 1 + ROOT3], [3.0, 0.0]]]
        got = merge("model_stock", models, base=[self.BASE, [0.0, 0.0]], filter_wise=True)
        assert [exactly([2.0, 1 + ROOT3 / 3]), exactly([2.0, 0.0])] == got


class TestNearswap:
    def test_near_entries_swap_and_far_ones_move_by_t(self):
        got = merge("nearswap", [[0.25, 1.0, -2.0, 1.0]], base=[0.0, 0.0, 0.0, 1.0], t=0.5)
        assert got == [0.25, 0.5, -0.5, 1.0]

    def test_a_near_entry_is_the_models_to_the_bit(self):
        # in float32 the model minus the base plus the base would be 0.30000001 − 100 + 100 = 0.30000305
        assert merge("nearswap", [[0.3]], base=[100.0], t=200.0, dtype=torch.float32) == [torch.tensor(0.3).item()]

    def test_a_t_far_below_1e_6_is_nothing_special(self):
        assert merge("nearswap", [[3e-12, 1e-13]], base=[0.0, 0.0], t=1e-12) == exactly([1e-12, 1e-13])


class TestRam:
    BASE = (1.0,) * 4
    MODELS = ([2.0, 1.5, -1.0, 1.0], [4.0, 1.25, 1.25, 1.0])
    # deltas (1, ½, −2, 0) and (3, ¼, ¼, 0); more than ½: both, none, the first, none

    def test_ram(self):
        assert merge("ram", self.MODELS, base=self.BASE, epsilon=0.5) == [3.0, 1.0, -1.0, 1.0]

    def test_ram_plus(self):
        # the first: one shared, one alone, ρ = 1; λ = 1 + 0.1·min(1, 0.2) = 1.02
        got = merge("ramplus_tl", self.MODELS, base=self.BASE, epsilon=0.5)
        assert got == exactly([3.0, 1.0, 1 - 2.04, 1.0])
        # λ = 1 + ½·min(1, 2)
        got = merge("ramplus_tl", self.MODELS, base=self.BASE, epsilon=0.5, r=0.5, alpha=2.0)
        assert got == [3.0, 1.0, -2.0, 1.0]


class TestSce:
    BASE = (0.0,) * 4
    MODELS = ([2.0, -1.0, 0.0, 1.0], [1.0, 1.0, 0.0, -3.0])
    # variances ¼, 1, 0, 4

    def test_all_entries(self):
        # squares 6 and 11 of 17; signs + + 0 −: (2·6 + 1·11)/17, 1, 0, −3
        assert merge("sce", self.MODELS, base=self.BASE) == exactly([23 / 17, 1.0, 0.0, -3.0])

    def test_the_most_varied(self):
        # ⌊½·3⌋ = 1 of the three that vary: the last
        assert merge("sce", self.MODELS, base=self.BASE, select_topk=0.5) == [0.0, 0.0, 0.0, -3.0]
        # ⌊0.7·3⌋ = 2
        assert merge("sce", self.MODELS, base=self.BASE, select_topk=0.7) == [0.0, 1.0, 0.0, -3.0]

    def test_none(self):
        assert merge("sce", self.MODELS, base=self.BASE, select_topk=0.3) == list(self.BASE)
        assert merge("sce", self.MODELS[:1], base=self.BASE, select_topk=0.9) == list(self.BASE)

    def test_equal_variances_are_kept_from_the_left(self):
        # variances 1, 4, 1, 1: two of four
        models = ([1.0, 4.0, 1.0, -1.0], [3.0, 0.0, -1.0, 1.0])
        assert merge("sce", models, base=self.BASE, select_topk=0.5) == exactly([(1 * 17 + 3 * 9) / 26, 4.0, 0.0, 0.0])

    def test_faint_deltas_are_weighed_too(self):
        faint = [[x * 2.0**-40 for x in m] for m in self.MODELS]
        got = merge("sce", faint, base=self.BASE, dtype=torch.float32)
        assert got == pytest.approx([23 / 17 * 2.0**-40, 2.0**-40, 0.0, -3 * 2.0**-40], rel=1e-6, abs=0)


class TestArceeFusion:
    def test_in_one_row_the_size_decides(self):
        # by size 1 2 3 4 100 (tenths): quartiles 2, 3, 4; 3 + 1.5·2 = 6
        got = merge("arcee_fusion", [[0.1, -0.2, 0.3, -0.4, 10.0]], base=[0.0] * 5)
        assert got == [0.0, 0.0, 0.0, 0.0, 10.0]

    def test_the_threshold_itself_is_reached(self):
        # 1 2 3 4 6 eighths: 3 + 1.5·2 = 6
        rows = [0.125, -0.25, 0.375, -0.5]
        assert merge("arcee_fusion", [[*rows, 0.75]], base=[0.0] * 5) == [0.0, 0.0, 0.0, 0.0, 0.75]
        assert merge("arcee_fusion", [[*rows, 0.74]], base=[0.0] * 5) == [0.0] * 5

    def test_a_row_whose_softmax_stays_does_not_count(self):
        # adding the same to a whole row changes no softmax: 5 zeros, then 1 2 3 4 80 times the first row's divergence
        # (eighths); numbers ⌊q·9⌋ = 2, 4, 6 of those: 0, 0, 2; 1.5·2 = 3
        rows = [[0.125, -0.25, 0.375, -0.5, 10.0], [5.0] * 5]
        got = merge("arcee_fusion", [rows], base=[[0.0] * 5, [0.0] * 5])
        assert got == [[0.0, 0.0, 0.375, -0.5, 10.0], [0.0] * 5]
