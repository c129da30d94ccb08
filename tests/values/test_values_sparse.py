"""Methods that thin and vote, and robust averages, on examples small enough to work out on paper."""

from __future__ import annotations

import math

import pytest

from tests.support.values import exactly, merge

BASE = (1.0,) * 5
DELTAS = ((4.0, -3.0, 2.0, -1.0, 0.5), (-5.0, -2.0, 1.0, 8.0, 0.25))
MODELS = tuple(tuple(1.0 + x for x in d) for d in DELTAS)
CRUMBS = {"base": BASE, "density": 0.4, "gamma": 0.2, "weight": [1.0, 0.5]}


class TestBreadcrumbs:
    # density 0.4 keeps two of five, gamma 0.2 drops the largest: (·, −3, 2, ·, ·) and (−5, −2, ·, ·, ·)
    def test_sum(self):
        # (−2.5, −3 − 1, 2, 0, 0)
        assert merge("breadcrumbs", MODELS, **CRUMBS) == [-1.5, -3.0, 3.0, 1.0, 1.0]

    def test_fewer_outliers_where_too_few_would_be_left(self):
        # density 0.8 keeps four, so that one goes, not two: (·, −3, 2, −1, ½) and (−5, −2, 1, ·, ¼)
        got = merge("breadcrumbs", MODELS, base=BASE, density=0.8, gamma=0.4, weight=1.0)
        assert got == [-4.0, -4.0, 4.0, 0.0, 1.75]

    def test_nothing_is_too_large_among_few(self):
        # ⌊0.01·5⌋ = 0: (4, −3, ·, ·, ·) and (−5, ·, ·, 8, ·)
        got = merge("breadcrumbs", MODELS, base=BASE, density=0.4, weight=1.0)
        assert got == [0.0, -2.0, 1.0, 9.0, 1.0]

    def test_nothing_stays_of_too_little(self):
        # ⌊0.1·5⌋ = 0
        assert merge("breadcrumbs", MODELS, base=BASE, density=0.1, weight=1.0) == list(BASE)

    def test_ties(self):
        # votes (0, −2.5), (−3, −1), (2, 0): −2.5, −4, 2; divided by ½, 1.5, 1
        got = merge("breadcrumbs_ties", MODELS, **CRUMBS, normalize=True)
        assert got == exactly([1 - 5.0, 1 - 4 / 1.5, 3.0, 1.0, 1.0])

    def test_rescaled(self):
        # sums of magnitudes 10.5 and 16.25, kept 5 and 7: factors 2.1 and 65/28
        got = merge("breadcrumbs", MODELS, base=BASE, density=0.4, gamma=0.2, weight=1.0, rescale=True)
        b = 65 / 28
        assert got == exactly([1 - 5 * b, 1 - 3 * 2.1 - 2 * b, 1 + 2 * 2.1, 1.0, 1.0])


class TestTiesGlobal:
    def test_disjoint_mean(self):
        # k = 2: (4, −3, ·, ·, ·) and (−5, ·, ·, 8, ·); −1 → −5/1; −3/1; 8/1
        assert merge("ties_global", MODELS, base=BASE, density=0.4) == [-4.0, -2.0, 1.0, 9.0, 1.0]

    def test_all_of_the_entries_equal_to_the_threshold_stay(self):
        # k = 1
        assert merge("ties_global", [[2.0, -2.0, 1.0]], base=[0.0] * 3, density=0.34) == [2.0, -2.0, 0.0]


class TestCompose:
    def test_peft(self):
        # both weighed ½, no entry goes: votes −½, −2.5, 1.5, 3.5, 0.375;
        # −2.5/1; −2.5/2; 1.5/2; 4/1; 0.375/2
        got = merge("compose", MODELS, base=BASE, weight=0.5, combine="count")
        assert got == [-1.5, -0.25, 1.75, 5.0, 1.1875]

    def test_the_sign_of_more_models(self):
        # 4 and −5: one each, plus; 4/1 … of the fourth −1 and 8 too: 8/1
        assert merge("compose", MODELS, base=BASE, weight=1.0, elect="count") == [5.0, -1.5, 2.5, 9.0, 1.375]


class TestTaskVectors:
    def test_wise_ft(self):
        assert merge("wise_ft", [[3.0, -2.0]], base=[1.0, 2.0], alpha=0.25) == [1.5, 1.0]

    def test_expo(self):
        assert merge("expo", [[3.0, -2.0]], base=[1.0, 2.0], alpha=0.5) == [4.0, -4.0]

    def test_negation(self):
        assert merge("task_negation", [[3.0, -2.0]], base=[1.0, 2.0], lambda_=0.5) == [0.0, 4.0]

    def test_analogy(self):
        # deltas A (1, 0), B (3, −1), C (0, 2): C + B − A = (2, 1); λ = ½
        got = merge("task_analogy", [[2.0, 1.0], [4.0, 0.0], [1.0, 3.0]], base=[1.0, 1.0], lambda_=0.5)
        assert got == [2.0, 1.5]


class TestByEntry:
    def test_magmax(self):
        # −5, −3, 2, 8, ½; λ = ½
        assert merge("magmax", MODELS, base=BASE, lambda_=0.5) == [-1.5, -0.5, 2.0, 5.0, 1.25]

    def test_of_equal_magnitudes_the_first_model_s(self):
        assert merge("magmax", [[-2.0, 2.0], [2.0, -2.0]], base=[0.0, 0.0]) == [-2.0, 2.0]

    def test_consensus(self):
        # sums (−1, −5, 3, 7, ¾); with ½: 4 > ½·5 and 5 > ½·4: both;  3 > 1, 2 > 1.5: both;  2 > ½, 1 ≤ 1: the first;
        # 1 ≤ 4, 8 > ½: the second;  ½ > ⅛, ¼ ≤ ¼: the first
        given = {"base": BASE, "tall_lambda": 0.5}
        assert merge("consensus_ta", MODELS, **given) == [0.0, -4.0, 1.0, 1.0, 1.0]
        assert merge("consensus_ta", MODELS, **given, k=1, lambda_=2.0) == [-1.0, -9.0, 7.0, 15.0, 2.5]

    def test_pcb(self):
        # S = (2, 0), of both models m = (1, 0): the first (2, 1), the second (0, −1): m = (0, 1)
        # scores: e²·tanh 4 and tanh 0;  tanh 0 and e²·tanh 0: of ratio ½ one stays, and all zeros with it
        # first entry: weights e²·tanh 4 and 0: 2;  second: 0 and 0: the base
        assert merge("pcb", [[3.0, 2.0], [1.0, 0.0]], base=[1.0, 1.0], ratio=0.5) == [3.0, 1.0]

    def test_pcb_weighs(self):
        # one entry each, m = 0: tanh(1·3) and tanh(2·3)
        a, b = math.tanh(3), math.tanh(6)
        assert merge("pcb", [[1.0], [2.0]], base=[0.0]) == exactly([(a + 2 * b) / (a + b)])

    def test_pcb_of_deltas_against_the_sum(self):
        # one entry each, m = 0, every tanh is 1 or −1: the sum is positive, so the four negative deltas weigh nothing
        models = [[-900.0], [1000.0], [-900.0], [-900.0], [1000.0], [-900.0], [1000.0], [1000.0]]
        assert merge("pcb", models, base=[5.0]) == pytest.approx([1000.0])

    def test_pcb_never_leaves_what_it_is_a_mean_of(self):
        # nearly opposite scalars: divided by the difference of their scores they would give 16 millions
        found = merge("pcb", [[1.0], [-1.0 + 2**-24]], base=[0.0], ratio=1.0)
        assert -1.0 <= found[0] <= 1.0


THREE = ((1.0, -4.0), (2.0, 0.0), (90.0, 1.0))


class TestRobust:
    def test_median(self):
        assert merge("median", THREE) == [2.0, 0.0]
        assert merge("median", THREE[:2]) == [1.5, -2.0]

    def test_trimmed_mean(self):
        # ⌊0.4·3⌋ = 1 goes at either end; ⌊0.3·3⌋ = 0
        assert merge("trimmed_mean", THREE, beta=0.4) == [2.0, 0.0]
        assert merge("trimmed_mean", THREE, beta=0.3) == [31.0, -1.0]

    def test_one_step_towards_the_geometric_median(self):
        # mean (1, 0) of (0, 0), (0, 0), (3, 0): distances 1, 1, 2; weights 1, 1, ½: 1.5/2.5
        got = merge("geometric_median", [[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]], max_iter=1)
        assert got == exactly([0.6, 0.0])

    def test_the_geometric_median_of_a_right_angle(self):
        # the Fermat point of (0,0), (1,0), (0,1): x = y = (3 − √3)/6
        got = merge("geometric_median", [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], eps=1e-13, max_iter=1000)
        assert all(abs(x - (3 - math.sqrt(3)) / 6) < 1e-9 for x in got)

    def test_krum(self):
        # squares: ab 17, ac 7946, bc 7745; the nearest of each: 17, 17, 7745 → a
        assert merge("krum", THREE) == [1.0, -4.0]
        assert merge("multi_krum", THREE, m=2) == [1.5, -2.0]

    def test_krum_with_one_that_may_be_wrong(self):
        # n − f − 2 = 2 nearest of 0, 1, 3, 4, 100: 1+9, 1+4, 1+4, 1+9, …: the second, then the third
        models = [[0.0], [1.0], [3.0], [4.0], [100.0]]
        assert merge("krum", models, f=1) == [1.0]
        assert merge("multi_krum", models, f=1, m=2) == [2.0]


class TestSlerpOfDirections:
    def test_right_angle(self):
        # unit vectors (1, 0) and (0, 1) at 45°: √½ each; norm (2 + 4)/2 = 3
        got = merge("slerp", [[0.0, 4.0]], base=[2.0, 0.0], t=0.5, norm="interpolated")
        assert got == exactly([3 * math.sqrt(0.5), 3 * math.sqrt(0.5)])


class TestModelStockOfAngles:
    def test_three(self):
        # angles 90°, 90° and 0°: mean 60°, c = ½, t = 1.5/2 = ¾; mean (2/3, 1/3)
        got = merge("model_stock", [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], base=[0.0, 0.0], average="angle")
        assert got == exactly([0.5, 0.25])
