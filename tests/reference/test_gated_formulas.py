"""The reference formulas of gated copies against examples worked by hand, each derived in the comment above it."""

import math

import pytest

from tests.reference import gated_formulas as ref


def near(values):
    return pytest.approx(values, abs=1e-14, rel=1e-14)


class TestNearswap:
    def test_near_entries_are_swapped(self):
        # distances 0.25, 2, 0: ω = 1 (½/¼ > 1), ¼ (of 4 and ¾ of 2), 1
        assert ref.nearswap([1.0, 2.0, 3.0], [1.25, 4.0, 3.0], 0.5) == [1.25, 2.5, 3.0]

    def test_nothing_at_zero(self):
        assert ref.nearswap([1.0], [2.0], 0.0) == [1.0]

    def test_equal_entries_count_as_a_millionth_apart(self):
        # distance 2⁻²² < 1e-6, t = 5e-7: ω = ½
        step = 2.0**-22
        assert ref.nearswap([1.0], [1.0 + step], 5e-7) == near([1 + step / 2])


class TestArceeFusion:
    def test_softmax(self):
        # e^0 and e^(ln 3): 1/4, 3/4; the largest may be huge
        assert ref.softmax([0.0, math.log(3)]) == near([0.25, 0.75])
        assert ref.softmax([1000.0, 1000.0 + math.log(3)]) == pytest.approx([0.25, 0.75], rel=1e-12)

    def test_divergence(self):
        # p (¼, ¾), q (½, ½): ¼ log ½ + ¾ log 1.5
        want = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
        assert ref.divergence([0.0, math.log(3)], [0.0, 0.0], eps=0.0) == near(want)

    def test_divergence_with_eps(self):
        # eps ¼: p (½, 1), q (¾, ¾): ½ log ⅔ + log 4/3
        want = 0.5 * math.log(2 / 3) + math.log(4 / 3)
        assert ref.divergence([0.0, math.log(3)], [0.0, 0.0], eps=0.25) == near(want)

    def test_quantile_is_an_entry(self):
        # n = 6: ⌊½·5⌋ = 2, ⌊¼·5⌋ = 1, ⌊¾·5⌋ = 3
        values = [10.0, 60.0, 20.0, 50.0, 30.0, 40.0]
        assert [ref.quantile(values, q) for q in (0.5, 0.25, 0.75)] == [30.0, 20.0, 40.0]
        # 30 + 1.5·20
        assert ref.fusion_threshold(values) == 60.0

    def test_importance(self):
        # row 0 as above: |0|, |ln 3| times its divergence; row 1: moved as a whole, the softmax is the same: 0
        kl = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
        got = ref.importances([[0.0, 0.0], [1.0, 2.0]], [[0.0, math.log(3)], [2.0, 3.0]], eps=0.0)
        assert got == [near([0.0, math.log(3) * kl]), near([0.0, 0.0])]

    def test_important_entries_are_copied(self):
        # importances of row 0: |d|·k of d = (0, ½, 0, 0, 4), k > 0, the same for all: sorted (0, 0, 0, ½k, 4k):
        # entries 2, 1, 3 → 0 + 1.5·(½k − 0) = ¾k: only the last reaches it
        base, model = [[1.0, 1.0, 1.0, 1.0, 1.0]], [[1.0, 1.5, 1.0, 1.0, 5.0]]
        assert ref.arcee_fusion(base, model) == [[1.0, 1.0, 1.0, 1.0, 5.0]]

    def test_threshold_is_of_the_whole_tensor(self):
        # importances of row 0 (0, 2k), of row 1 (0, h) with h < k, as it moved half as far: sorted (0, 0, h, 2k):
        # entries 1, 0, 2 → 1.5h: 2k reaches it, h does not, though it is the largest of its row
        base, model = [[0.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 1.0]]
        assert ref.arcee_fusion(base, model) == [[0.0, 2.0], [0.0, 0.0]]

    def test_equal_to_the_threshold_is_copied(self):
        # d = (1, 1): both importances are the threshold, their row's divergence is 0
        assert ref.arcee_fusion([[0.0, 0.0]], [[1.0, 1.0]]) == [[1.0, 1.0]]


class TestRam:
    BASE = (1.0, 1.0, 1.0, 1.0)
    MODELS = ((2.0, 3.0, 1.0, 1.5), (1.0, 2.0, 1.0, 1.5), (1.0, 1.25, 1.0, 4.0))
    # deltas (1, 2, 0, ½), (0, 1, 0, ½), (0, ¼, 0, 3); epsilon 0.3: moved by 1, 2 (not the third), 0, 3

    def test_ram(self):
        # 1; (2 + 1)/2; base; (½ + ½ + 3)/3
        assert ref.ram(self.BASE, self.MODELS, 0.3) == near([2.0, 2.5, 1.0, 1 + 4 / 3])

    def test_epsilon_is_not_reached_by_itself(self):
        assert ref.ram([0.0], [[0.5]], 0.5) == [0.0]
        assert ref.ram([0.0], [[0.5]], 0.49) == [0.5]

    def test_factors(self):
        # first: 2 shared, 1 alone: ρ 2, at most 1.5: 1 + 0.1·1.5; second: 2 shared, none alone: 2/0.3, at most 1.5
        # third: 1 shared, none alone: 1/0.3, at most 1.5
        deltas = [[x - b for x, b in zip(m, self.BASE)] for m in self.MODELS]
        assert ref.ramplus_factors(deltas, 0.1, 1.5, 0.3) == near([1.15, 1.15, 1.15])
        # below the clip: alpha 10: 2, 20/3, 10/3
        assert ref.ramplus_factors(deltas, 0.3, 10.0, 0.3) == near([1.6, 3.0, 2.0])

    def test_ramplus_scales_what_one_moved(self):
        # the first entry times 1.6, the others as in RAM
        got = ref.ramplus_tl(self.BASE, self.MODELS, 0.3, 10.0, 0.3)
        assert got == near([2.6, 2.5, 1.0, 1 + 4 / 3])

    def test_nothing_shared_is_ram(self):
        assert ref.ramplus_tl([0.0, 0.0], [[1.0, 0.0], [0.0, 2.0]]) == [1.0, 2.0]


def test_passthrough():
    assert ref.passthrough([1.0, -2.0]) == [1.0, -2.0]
    assert ref.passthrough([1.0, -2.0], 0.5) == [0.5, -1.0]
    assert ref.passthrough([1.0, -2.0], 0.0) == [0.0, 0.0]
