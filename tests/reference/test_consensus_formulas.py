"""The reference formulas of compared deltas against examples worked by hand, each derived in the comment above it."""

import math

import pytest

from tests.reference import consensus_formulas as ref


def near(values):
    return pytest.approx(values, abs=1e-14, rel=1e-14)


class TestSce:
    def test_selection(self):
        # variances of (1, 3), (2, 2), (0, 4), (5, 3): 1, 0, 4, 1; three are not 0, ⌊⅔·3⌋ = 2 stay: the third and,
        # of the equal ones, the first
        deltas = [[1.0, 2.0, 0.0, 5.0], [3.0, 2.0, 4.0, 3.0]]
        assert ref.keep_most_varied(deltas, 0.67) == [[1.0, 0.0, 0.0, 0.0], [3.0, 0.0, 4.0, 0.0]]

    def test_everything_selected_is_more_than_what_varies(self):
        assert ref.keep_most_varied([[1.0, 2.0], [3.0, 2.0]], 1.0) == [[1.0, 2.0], [3.0, 2.0]]

    def test_a_delta_of_zero_does_not_dilute(self):
        # deltas (0, 2), (4, 0): ω = 4/20, 16/20; each entry is one model's alone
        assert ref.sce([1.0, 1.0], [[1.0, 3.0], [5.0, 1.0]]) == near([5.0, 3.0])

    def test_nothing_selected(self):
        # ⌊0.3·3⌋ = 0
        deltas = [[1.0, 2.0, 0.0, 5.0], [3.0, 2.0, 4.0, 3.0]]
        assert ref.keep_most_varied(deltas, 0.3) == [[0.0] * 4, [0.0] * 4]
        assert ref.sce([1.0] * 4, [[2.0, 3.0, 1.0, 6.0], [4.0, 3.0, 5.0, 4.0]], 0.3) == [1.0] * 4

    def test_weights(self):
        # squares 1 + 4 = 5 and 9 + 6 = 15 as sums, means 2.5 and 7.5
        assert ref.sce_weights([[1.0, -2.0], [3.0, math.sqrt(6)]]) == near([0.25, 0.75])
        assert ref.sce_weights([[0.0], [0.0]]) == [0.5, 0.5]
        # faint deltas keep their weights: squares 1e-20 and 3e-20
        assert ref.sce_weights([[1e-10], [math.sqrt(3) * 1e-10]]) == near([0.25, 0.75])

    def test_merge(self):
        # deltas (1, −2, 0), (3, 1, 0), squares 5 and 10: ω = ⅓, ⅔
        # entry 0: (1 + 6)/3; entry 1: sum −1, minus, −2; entry 2: none
        got = ref.sce([1.0, 1.0, 1.0], [[2.0, -1.0, 1.0], [4.0, 2.0, 1.0]])
        assert got == near([1 + 7 / 3, -1.0, 1.0])

    def test_weights_are_those_of_the_selected(self):
        # topk ½ of 3 varied → 1: variances of (1, 3), (2, 3), (8, 2) are 1, ¼, 9: the third; squares 64 and 4
        # (64·8 + 4·2)/68 = 520/68; with all entries the squares would be 69 and 22
        got = ref.sce([0.0] * 3, [[1.0, 2.0, 8.0], [3.0, 3.0, 2.0]], 0.5)
        assert got == near([0.0, 0.0, 520 / 68])

    def test_draw_is_plus(self):
        # (1, −1): the first agrees alone
        assert ref.sce([0.0], [[1.0], [-1.0]]) == [1.0]


def test_magmax():
    # deltas (1, −2, 2), (−3, 1, −2): −3, −2 and, of the equal ones, the first; λ ½
    got = ref.magmax([1.0, 1.0, 1.0], [[2.0, -1.0, 3.0], [-2.0, 2.0, -1.0]], 0.5)
    assert got == [-0.5, 0.0, 2.0]


class TestPcb:
    DELTAS = ((1.0, -3.0, 2.0), (1.0, 1.0, 0.0))
    # Σ (2, −2, 2); minmax of magnitudes (0, 1, ½) and (1, 1, 0), squared (0, 1, ¼) and (1, 1, 0), N = 2
    # products τ·Σ (2, 6, 4) and (2, −2, 0)

    def test_scores(self):
        want = [
            [math.tanh(2), math.exp(2) * math.tanh(6), math.exp(0.5) * math.tanh(4)],
            [math.exp(2) * math.tanh(2), -math.exp(2) * math.tanh(2), 0.0],
        ]
        assert [near(row) for row in want] == ref.pcb_scores(self.DELTAS)

    def test_weights(self):
        # n = 4, ratio ½: sorted (1, 2, 4, 6), entry 2 is 4: raised (4, 4, 4, 6): (0, 0, 0, 1)
        assert ref.pcb_weights([2.0, 6.0, 1.0, 4.0], 0.5) == [0.0, 1.0, 0.0, 0.0]
        # ratio ¾: entry 1 is 2: raised (2, 6, 2, 4): (0, 1, 0, ½)
        assert ref.pcb_weights([2.0, 6.0, 1.0, 4.0], 0.75) == [0.0, 1.0, 0.0, 0.5]
        assert ref.pcb_masked_weights([2.0, 6.0, 1.0, 4.0], 0.75) == [2.0, 6.0, 0.0, 4.0]
        assert ref.pcb_weights([3.0, 3.0], 0.5) == [0.0, 0.0]
        # ratio 0: the largest alone, as if raised to it
        assert ref.pcb_masked_weights([2.0, 6.0, 1.0, 4.0], 0.0) == [0.0, 6.0, 0.0, 0.0]
        assert ref.pcb_weights([2.0, 6.0, 1.0, 4.0], 0.0) == [0.0] * 4

    def test_merge(self):
        # ratio 1: nothing is raised; minmax of the scores a = (tanh 2, e²tanh 6, √e·tanh 4): the first 0, the second 1,
        # the third c = (√e·tanh 4 − tanh 2)/(e²tanh 6 − tanh 2); of the second model (1, 0, ½)
        c = (math.exp(0.5) * math.tanh(4) - math.tanh(2)) / (math.exp(2) * math.tanh(6) - math.tanh(2))
        # entry 0: 0·1 + 1·1 over 1; entry 1: −3·1 over 1; entry 2: 2c/(c + ½); λ 2 on base (1, 1, 1)
        got = ref.pcb([1.0] * 3, [[2.0, -2.0, 3.0], [2.0, 2.0, 1.0]], 1.0, 2.0)
        assert got == near([3.0, -5.0, 1 + 4 * c / (c + 0.5)])

    def test_merge_by_the_paper(self):
        # ratio 0.3: from entry ⌊0.7·3⌋ = 2 of the sorted scores on, of each model the largest: entry 1 of the first,
        # entry 0 of the second
        got = ref.pcb_masked([0.0] * 3, self.DELTAS, 0.3)
        assert got == near([1.0, -3.0, 0.0])
        # the same with the published weights: the largest alone is the cut and weighs 0
        assert ref.pcb([0.0] * 3, self.DELTAS, 0.3) == [0.0] * 3

    def test_paper_divides_by_the_sum_of_kept_scores(self):
        # two equal models (1, 2): Σ (2, 4), minmax² (0, 1), scores (tanh 2, e²·tanh 8), all kept: the models again
        assert ref.pcb_masked([0.0, 0.0], [[1.0, 2.0], [1.0, 2.0]], 1.0) == near([1.0, 2.0])


class TestTallMasks:
    BASE = (1.0, 1.0, 1.0, 1.0)
    MODELS = ((3.0, 2.0, 1.0, 2.0), (2.0, 2.0, 1.0, -2.0))
    # τ (2, 1, 0, 1), (1, 1, 0, −3); Σ (3, 2, 0, −2); |Σ − τ| (1, 1, 0, 3) and (2, 1, 0, 1)

    def test_masks(self):
        # λ 1: 2 > 1, 1 > 1 not, 0 > 0 not, 1 > 3 not; λ ½: 1 > 1 not, 1 > ½, not, 3 > ½
        got = ref.tall_masks([(2.0, 1.0, 0.0, 1.0), (1.0, 1.0, 0.0, -3.0)], [1.0, 0.5])
        assert got == [[True, False, False, False], [False, True, False, True]]

    def test_one_task(self):
        assert ref.tall_mask(self.BASE, self.MODELS, [1.0, 0.5], 1) == [1.0, 3.0, 1.0, -1.0]

    def test_consensus(self):
        # λ 0.4: 2 > .4, 1 > .4, no, 1 > 1.2 not; 1 > .8, 1 > .4, no, 3 > .4: used by 2, 2, 0, 1
        lambdas = [0.4, 0.4]
        assert ref.consensus_ta(self.BASE, self.MODELS, lambdas, 2, 0.5) == [2.5, 2.0, 1.0, 1.0]
        assert ref.consensus_ta(self.BASE, self.MODELS, lambdas, 1, 0.5) == [2.5, 2.0, 1.0, 0.0]
        assert ref.consensus_ta(self.BASE, self.MODELS, lambdas, 3, 0.5) == [1.0, 1.0, 1.0, 1.0]


class TestEmr:
    DELTAS = ((1.0, -2.0, 3.0, 0.0), (2.0, 1.0, -1.0, 0.0))
    # Σ (3, −1, 2, 0): signs +, −, +, none; values 2, 2, 3, 0

    def test_parts(self):
        # masks: both agree, first, first, none; rescalers 6/(2 + 2 + 3) and 4/2
        unified, masks, rescalers = ref.emr(self.DELTAS)
        assert unified == [2.0, -2.0, 3.0, 0.0]
        assert masks == [[True, True, True, False], [True, False, False, False]]
        assert rescalers == near([6 / 7, 2.0])

    def test_draw(self):
        # (1, −1): minus in the code, none in the paper
        assert ref.emr_unified([[1.0], [-1.0]]) == [-1.0]
        assert ref.emr_unified([[1.0], [-1.0]], 0.0) == [0.0]

    def test_empty_mask(self):
        assert ref.emr([[1.0], [-2.0]])[2] == [0.0, 1.0]

    def test_task_s_model(self):
        # 1 + 6/7·(2, −2, 3, 0);  1 + 2·(2, 0, 0, 0)
        models = [[2.0, -1.0, 4.0, 1.0], [3.0, 2.0, 0.0, 1.0]]
        assert ref.emr_task([1.0] * 4, models, 0) == near([19 / 7, -5 / 7, 25 / 7, 1.0])
        assert ref.emr_task([1.0] * 4, models, 1) == near([5.0, 1.0, 1.0, 1.0])
