"""The reference formulas of thinned deltas against examples worked by hand, each derived in the comment above it."""

import pytest

from tests.reference import formulas
from tests.reference import sparse_formulas as ref


def near(values):
    return pytest.approx(values, abs=1e-14, rel=1e-14)


class TestTrimOutliers:
    D = (1.0, -9.0, 2.0, -3.0, 0.5, 4.0, -0.25, 5.0, 6.0, 7.0)

    def test_largest_and_smallest_go(self):
        # N = 10: 5 stay, 1 of the largest goes (−9): 7, 6, 5, 4, −3
        want = [0.0, 0.0, 0.0, -3.0, 0.0, 4.0, 0.0, 5.0, 6.0, 7.0]
        assert ref.trim_outliers(self.D, 0.5, 0.1) == want

    def test_no_outliers_is_the_trim_of_ties(self):
        # ⌊0.09·10⌋ = 0 outliers
        want = [0.0, -9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0]
        assert ref.trim_outliers(self.D, 0.2, 0.09) == want
        assert formulas.trim(self.D, 0.2) == want

    def test_fewer_outliers_go_where_too_many_would(self):
        # 8 stay, 5 outliers would leave 5: only 2 go, −9 and 7, and none of the smallest
        want = [1.0, 0.0, 2.0, -3.0, 0.5, 4.0, -0.25, 5.0, 6.0, 0.0]
        assert ref.trim_outliers(self.D, 0.8, 0.5) == want

    def test_of_equal_ones_the_first_is_the_larger(self):
        # 2 of 4 stay, 1 outlier: the first goes, the next two stay
        assert ref.trim_outliers([1.0, -1.0, 1.0, -1.0], 0.5, 0.25) == [0.0, -1.0, 1.0, 0.0]

    def test_nothing_may_stay(self):
        # ⌊0.5·1⌋ = 0
        assert ref.trim_outliers([3.0], 0.5, 0.01) == [0.0]

    def test_density_one_keeps_outliers(self):
        assert ref.trim_outliers([3.0, 1.0], 1.0, 0.5) == [3.0, 1.0]


class TestBreadcrumbs:
    BASE = (1.0, 1.0, 1.0, 1.0)
    MODELS = ((9.0, 3.0, 2.0, 1.5), (0.0, 4.0, -1.0, 6.0))
    # deltas (8, 2, 1, ½) and (−1, 3, −2, 5); density ½, gamma ¼: (0, 2, 1, 0) and (0, 3, −2, 0)

    def test_sum(self):
        # 1·2 + 2·3 = 8, 1 − 4 = −3; λ ½
        want = [1.0, 5.0, -0.5, 1.0]
        assert ref.breadcrumbs(self.BASE, self.MODELS, [1.0, 2.0], [0.5, 0.5], [0.25, 0.25], 0.5) == want

    def test_normalised_and_rescaled(self):
        # first × 11.5/3, second × 11/5; (1·d₁ + 1·d₂)/2
        want = [1.0, 1 + (23 / 3 + 6.6) / 2, 1 + (11.5 / 3 - 4.4) / 2, 1.0]
        args = ([1.0, 1.0], [0.5, 0.5], [0.25, 0.25], 1.0, True, True)
        assert ref.breadcrumbs(self.BASE, self.MODELS, *args) == near(want)

    def test_ties(self):
        # votes 2 and 6, 1 and −4: 8; minus wins, −4
        want = [1.0, 9.0, -3.0, 1.0]
        assert ref.breadcrumbs_ties(self.BASE, self.MODELS, [1.0, 2.0], [0.5, 0.5], [0.25, 0.25]) == want

    def test_ties_normalised(self):
        # 8/3; −4/2
        want = [1.0, 1 + 8 / 3, -1.0, 1.0]
        args = ([1.0, 2.0], [0.5, 0.5], [0.25, 0.25], 1.0, True)
        assert ref.breadcrumbs_ties(self.BASE, self.MODELS, *args) == near(want)


class TestDella:
    def test_probabilities(self):
        # ranks of 3, −1, 2: 2, 0, 1; 0.5 − 0.1 + 0.2·rank/2
        assert ref.della_probabilities([3.0, -1.0, 2.0], 0.5, 0.1) == near([0.6, 0.4, 0.5])

    def test_of_equal_ones_the_first_is_the_larger(self):
        assert ref.della_probabilities([1.0, -1.0], 0.5, 0.25) == [0.75, 0.25]

    def test_one_entry(self):
        assert ref.della_probabilities([7.0], 0.5, 0.25) == [0.5]

    ROWS = ((4.0, -1.0), (1.0, 2.0))
    # probabilities with density ½, ε ¼: (¾, ¼), (¼, ¾)
    DRAWS = ((0.7, 0.25), (0.2, 0.75))
    # 0.7 < ¾ stays; ¼ < ¼ is false; 0.2 < ¼ stays; ¾ < ¾ is false

    def test_paper(self):
        # 4/¾, 1/¼
        assert ref.magprune(self.ROWS, 0.5, 0.25, self.DRAWS) == [near([16 / 3, 0.0]), near([4.0, 0.0])]

    def test_l1(self):
        # magnitudes 8 of the whole tensor, 5 kept: × 1.6
        assert ref.magprune(self.ROWS, 0.5, 0.25, self.DRAWS, "l1") == [near([6.4, 0.0]), near([1.6, 0.0])]

    def test_as_it_is(self):
        assert ref.magprune(self.ROWS, 0.5, 0.25, self.DRAWS, "none") == [[4.0, 0.0], [1.0, 0.0]]

    def test_density_one(self):
        assert ref.magprune(self.ROWS, 1.0, 0.25, self.DRAWS) == [[4.0, -1.0], [1.0, 2.0]]

    def test_unbiased(self):
        # over a fine grid of draws an entry is worth what it was: p·(x/p)
        grid = [(k + 0.5) / 1000 for k in range(1000)]
        kept = [ref.magprune([[4.0, -1.0]], 0.5, 0.25, [[u, u]])[0] for u in grid]
        assert [sum(column) / 1000 for column in zip(*kept)] == pytest.approx([4.0, -1.0], rel=1e-12)

    BASE = ((1.0, 1.0), (0.0, 0.0))
    MODELS = (((5.0, 0.0), (1.0, 2.0)), ((0.0, 3.0), (-2.0, 1.0)))
    # first deltas = ROWS; second (−1, 2), (−2, 1) with probabilities (¼, ¾), (¾, ¼)
    SECOND = ((0.1, 0.1), (0.9, 0.1))
    # second keeps −1/¼ = −4, 2/¾ = 8/3, nothing, 1/¼ = 4

    def test_linear(self):
        # 16/3 − 4, 0 + 8/3, 4 + 0, 0 + 4, λ = 3
        want = [5.0, 9.0, 12.0, 12.0]
        args = ([1.0, 1.0], [0.5, 0.5], [0.25, 0.25], [self.DRAWS, self.SECOND], 3.0)
        assert ref.della_linear(self.BASE, self.MODELS, *args) == near(want)

    def test_ties(self):
        # votes of weights 1 and 3: 16/3 − 12 < 0 → −12/3; 8/3; 4/1; 12/3
        want = [-3.0, 11 / 3, 4.0, 4.0]
        args = ([1.0, 3.0], [0.5, 0.5], [0.25, 0.25], [self.DRAWS, self.SECOND])
        assert ref.della(self.BASE, self.MODELS, *args) == near(want)

    def test_ties_l1(self):
        # first kept (6.4, 0, 1.6, 0); second: magnitudes 6, kept −1, 2, 0, 1 = 4: × 1.5: (−1.5, 3, 0, 1.5)
        # weights 1, 1: 6.4 − 1.5 > 0 → 6.4; 3; 1.6; 1.5
        want = [7.4, 4.0, 1.6, 1.5]
        args = ([1.0, 1.0], [0.5, 0.5], [0.25, 0.25], [self.DRAWS, self.SECOND], 1.0, True, "l1")
        assert ref.della(self.BASE, self.MODELS, *args) == near(want)


class TestDareL1:
    BASE = (1.0, 0.0, -1.0, 2.0)
    MODELS = ((2.0, 1.0, -3.0, 2.0), (0.0, -2.0, 0.0, 3.0))
    # deltas (1, 1, −2, 0) and (−1, −2, 1, 1)
    MASKS = ((True, False, True, True), (True, True, False, False))
    # kept (1, 0, −2, 0) × 4/3 and (−1, −2, 0, 0) × 5/3

    def test_linear(self):
        # weights 3, 3: (4 − 5, −10, −8, 0)
        want = [0.0, -10.0, -9.0, 2.0]
        assert ref.dare_linear_l1(self.BASE, self.MODELS, [3.0, 3.0], [0.5, 0.25], self.MASKS) == near(want)

    def test_ties(self):
        # minus wins everywhere: −5, −10, −8, none
        want = [-4.0, -10.0, -9.0, 2.0]
        assert ref.dare_ties_l1(self.BASE, self.MODELS, [3.0, 3.0], [0.5, 0.25], self.MASKS) == near(want)

    def test_density_one_ignores_the_mask(self):
        assert ref.drop_l1([1.0, -2.0], [False, True], 1.0) == [1.0, -2.0]


class TestTrimWholeModel:
    def test_one_threshold_for_all_tensors(self):
        # 6 entries, ⌊½·6⌋ = 3 stay: 5, −4, 3, all but one in the first tensor
        got = ref.trim_whole_model([[5.0, -4.0, 1.0], [3.0, 0.5], [-2.0]], 0.5)
        assert got == [[5.0, -4.0, 0.0], [3.0, 0.0], [0.0]]

    def test_equal_ones_all_stay(self):
        # ⌊½·4⌋ = 2, the second largest is 2: three entries are as large
        assert ref.trim_whole_model([[3.0, 2.0], [-2.0, 1.0]], 0.5) == [[3.0, 2.0], [-2.0, 0.0]]

    def test_at_least_one_stays(self):
        assert ref.trim_whole_model([[3.0], [-4.0]], 0.1) == [[0.0], [-4.0]]

    def test_density_one(self):
        assert ref.trim_whole_model([[0.0, 1.0]], 1.0) == [[0.0, 1.0]]


class TestElectCounted:
    def test_mean_and_sum(self):
        # votes 2·2 = 4, −1, ½·1: plus wins; 4.5/2, or 4.5
        assert ref.elect_counted([[2.0], [-1.0], [1.0]], [2.0, 1.0, 0.5], 1) == [2.25]
        assert ref.elect_counted([[2.0], [-1.0], [1.0]], [2.0, 1.0, 0.5], 1, divide=False) == [4.5]

    def test_draw_and_nothing(self):
        # 1 − 1 is a draw: plus; 0 and 0: none agrees
        assert ref.elect_counted([[1.0, 0.0], [-1.0, 0.0]], [1.0, 1.0], 2) == [1.0, 0.0]

    def test_a_vote_of_zero_is_not_counted(self):
        # 3/1, not 3/2
        assert ref.elect_counted([[0.0], [3.0]], [1.0, 1.0], 1) == [3.0]
        assert ref.elect_peft([[0.0], [3.0]], [1.0, 1.0], 1) == [3.0]

    def test_a_small_sum_elects_too(self):
        # ½ − ¼ > 0: plus
        assert ref.elect_peft([[0.5], [-0.25]], [1.0, 1.0], 1) == [0.5]

    def test_peft_draw_is_plus(self):
        assert ref.elect_peft([[1.0], [-1.0]], [2.0, 1.0], 1) == [2.0]

    def test_peft_elects_before_it_weighs(self):
        # unweighted 2 − 1 > 0: plus, ½·2/1; weighted 1 − 3 < 0: minus, −3/1
        assert ref.elect_peft([[2.0], [-1.0]], [0.5, 3.0], 1) == [1.0]
        assert ref.elect_counted([[2.0], [-1.0]], [0.5, 3.0], 1) == [-3.0]

    def test_peft_counts(self):
        # plus; (1·2 + 3·4)/2; nothing agrees in the second entry
        assert ref.elect_peft([[2.0, 0.0], [4.0, 0.0], [-1.0, 0.0]], [1.0, 3.0, 1.0], 2) == [7.0, 0.0]
