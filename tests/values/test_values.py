"""Every method on an example small enough to work out on paper; the working stands beside the numbers."""

from __future__ import annotations

import math

import pytest
import torch

from cuvee import methods
from cuvee.testing import recover_mask
from tests.support.values import exactly, merge


class TestLinear:
    MODELS = ((1.0, 2.0, -3.0, 4.0), (5.0, -2.0, 1.0, 0.0), (0.0, 1.0, 1.0, -4.0))

    def test_weighted_mean(self):
        # 2·x₁ + x₂ + x₃ = (2+5+0, 4−2+1, −6+1+1, 8+0−4) = (7, 3, −4, 4), divided by 4
        assert merge("linear", self.MODELS, weight=[2.0, 1.0, 1.0]) == [1.75, 0.75, -1.0, 1.0]

    def test_weighted_sum(self):
        assert merge("linear", self.MODELS, weight=[2.0, 1.0, 1.0], normalize=False) == [7.0, 3.0, -4.0, 4.0]

    def test_one_weight_for_all(self):
        # (6, 1, −1, 0)/3
        assert merge("linear", self.MODELS, weight=0.7) == exactly([2.0, 1 / 3, -1 / 3, 0.0])


class TestSlerp:
    def test_right_angle(self):
        # a·b = 0, angle 90°; t = 1/3: sin 60° = √3/2 and sin 30° = ½
        want = [1.5 * math.sqrt(3), 2.5, 0.0, 2 * math.sqrt(3)]
        assert merge("slerp", [[0.0, 5.0, 0.0, 0.0]], base=[3.0, 0.0, 0.0, 4.0], t=1 / 3) == exactly(want)

    def test_sixty_degrees(self):
        # a·b = 1, norms √2: cos = ½; t = ½: sin 30°/sin 60° = 1/√3 for both
        want = [2 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3), 0.0]
        assert merge("slerp", [[1.0, 0.0, 1.0, 0.0]], base=[1.0, 1.0, 0.0, 0.0], t=0.5) == exactly(want)

    def test_obtuse_and_of_unequal_length(self):
        # b is ten times (−1, 0, 1, 0): cos = −½, 120°; t = ¼: sin 90°/sin 120° = 2/√3, sin 30°/sin 120° = 1/√3
        root3 = math.sqrt(3)
        want = [2 / root3 - 10 / root3, 2 / root3, 10 / root3, 0.0]
        assert merge("slerp", [[-10.0, 0.0, 10.0, 0.0]], base=[1.0, 1.0, 0.0, 0.0], t=0.25) == exactly(want)

    def test_nearly_parallel_is_a_straight_line(self):
        # cos = 4/(√2·√8.0004) = 0.99998 > 0.9995: ¾·a + ¼·b
        assert merge("slerp", [[2.0, 2.0, 0.0, 0.02]], base=[1.0, 1.0, 0.0, 0.0], t=0.25) == [1.25, 1.25, 0.0, 0.005]

    def test_zero_tensor_counts_as_perpendicular(self):
        # t = ½: √½·b
        assert merge("slerp", [[2.0, 0.0, -4.0]], base=[0.0, 0.0, 0.0], t=0.5) == exactly([2**0.5, 0.0, -(8**0.5)])


class TestTaskArithmetic:
    BASE = (1.0, 2.0, 0.0, -1.0)
    MODELS = ((2.0, 2.0, 1.0, -1.0), (1.0, 0.0, 1.0, -3.0))
    # deltas (1, 0, 1, 0) and (0, −2, 1, −2)

    def test_sum(self):
        # ½·d₁ + 2·d₂ = (½, −4, 2.5, −4); λ = ½
        got = merge("task_arithmetic", self.MODELS, base=self.BASE, weight=[0.5, 2.0], lambda_=0.5)
        assert got == [1.25, 0.0, 1.25, -3.0]

    def test_normalised(self):
        # (½, −4, 2.5, −4)/2.5 = (0.2, −1.6, 1, −1.6); λ = ½
        got = merge("task_arithmetic", self.MODELS, base=self.BASE, weight=[0.5, 2.0], lambda_=0.5, normalize=True)
        assert got == exactly([1.1, 1.2, 0.5, -1.8])

    def test_forgetting(self):
        # base − d₂
        assert merge("task_arithmetic", self.MODELS[1:], base=self.BASE, weight=-1.0) == [1.0, 4.0, -1.0, 1.0]


class TestTies:
    BASE = (1.0,) * 6
    DELTAS = (
        (4.0, -3.0, 2.0, -1.0, 0.5, 0.0),
        (-5.0, -2.0, 1.0, 2.0, 0.0, 0.25),
        (1.0, 2.0, -3.0, 0.5, 0.25, -4.0),
    )
    MODELS = tuple(tuple(1.0 + x for x in d) for d in DELTAS)
    # density ½ keeps three of six: (4, −3, 2, ·, ·, ·), (−5, −2, ·, 2, ·, ·), (·, 2, −3, ·, ·, −4)

    def ties(self, **settings):
        return merge("ties", self.MODELS, base=self.BASE, weight=[1.0, 1.0, 0.5], density=0.5, **settings)

    def test_mean_of_those_that_agree(self):
        # votes with weights 1, 1, ½:
        #   4, −5, 0     sum −1 → minus: −5/1     = −5
        #   −3, −2, 1    sum −4 → minus: −5/2     = −2.5
        #   2, 0, −1.5   sum ½  → plus:  2/1      = 2
        #   0, 2, 0               plus:  2/1      = 2
        #   nothing                                 0
        #   0, 0, −2              minus: −2/½     = −4
        assert self.ties() == [-4.0, -1.5, 3.0, 3.0, 1.0, -3.0]

    def test_half_of_it(self):
        assert self.ties(lambda_=0.5) == [-1.5, -0.25, 2.0, 2.0, 1.0, -1.0]

    def test_sum_of_those_that_agree(self):
        assert self.ties(normalize=False) == [-4.0, -4.0, 3.0, 3.0, 1.0, -1.0]

    def test_rescaled(self):
        # sums of magnitudes 10.5, 10.25, 10.75, kept 9 each: factors 7/6, 41/36, 43/36
        #   −5·41/36 = −205/36;  −(3·7/6 + 2·41/36)/2 = −26/9;  2·7/6 = 7/3;  2·41/36 = 41/18;  0;  −4·43/36 = −43/9
        want = [1 - 205 / 36, 1 - 26 / 9, 1 + 7 / 3, 1 + 41 / 18, 1.0, 1 - 43 / 9]
        assert self.ties(rescale=True) == exactly(want)

    def test_equal_magnitudes_are_kept_from_the_left(self):
        # k = ⌊0.6·4⌋ = 2
        got = merge("ties", [[1.0, -1.0, 1.0, -1.0]], base=[0.0] * 4, weight=1.0, density=0.6)
        assert got == [1.0, -1.0, 0.0, 0.0]

    def test_draw_goes_to_plus(self):
        got = merge("ties", [[1.0, -2.0], [-1.0, 2.0]], base=[0.0, 0.0], weight=1.0)
        assert got == [1.0, 2.0]


# --- random masks: pinned, so that a seed keeps meaning what it meant when someone wrote it into a recipe

PINNED = [
    ("models/a", "layers.0.weight", 0, 0.5, "0101111010001010"),
    ("models/b", "layers.0.weight", 0, 0.5, "1111000010010111"),
    ("models/a", "layers.1.weight", 0, 0.5, "1010111011110000"),
    ("models/a", "layers.0.weight", 1, 0.5, "0010010011011101"),
    ("models/a", "layers.0.weight", 2**63 - 1, 0.25, "0100000000000100"),
    ("модель/a", "", 7, 0.9, "1111111110011101"),
]


def bits(mask):
    return "".join(str(int(kept)) for kept in mask)


@pytest.mark.parametrize("via", ["dare_linear", "dare_ties"])
@pytest.mark.parametrize(("name", "tensor_name", "seed", "density", "due"), PINNED)
def test_mask_is_what_it_always_was(via, name, tensor_name, seed, density, due):
    mask = recover_mask(methods.get(via), (16,), density, seed=seed, name=name, tensor_name=tensor_name)
    assert bits(mask) == due


def test_mask_far_into_a_tensor_is_what_it_always_was():
    key = {"seed": 0, "name": "models/a", "tensor_name": "layers.0.weight"}
    mask = recover_mask(methods.get("dare_linear"), (5000,), 0.5, **key)
    assert (bits(mask[1020:1036]), bits(mask[4096:4112])) == ("0101001100000000", "1001101010110000")


class TestDare:
    BASE = (1.0, 1.0, 0.0, 0.0, -1.0, 2.0)
    MODELS = ((2.0, -1.0, 4.0, 3.0, -0.5, 1.0), (0.0, 0.0, 2.0, -5.0, 0.0, 3.0))
    # deltas (1, −2, 4, 3, ½, −1) and (−1, −1, 2, −5, 1, 1)
    # masks pinned above, first six entries: a keeps 0 1 0 1 1 1, b keeps 1 1 1 1 0 0

    def dare(self, name, **settings):
        key = {"seed": 0, "names": ["models/a", "models/b"], "tensor_name": "layers.0.weight"}
        return merge(name, self.MODELS, base=self.BASE, weight=[1.0, 0.5], density=0.5, **key, **settings)

    def test_linear(self):
        # thinned and doubled: (0, −4, 0, 6, 1, −2) and (−2, −2, 4, −10, 0, 0); first + half of second
        # (−1, −5, 2, 1, 1, −2)
        assert self.dare("dare_linear") == [0.0, -4.0, 2.0, 1.0, 0.0, 0.0]

    def test_linear_as_it_is_and_normalised(self):
        # half of that, divided by 1.5; λ = 3 → the same
        got = self.dare("dare_linear", rescale=False, normalize=True, lambda_=3.0)
        assert got == exactly([0.0, -4.0, 2.0, 1.0, 0.0, 0.0])

    def test_ties(self):
        # votes (0, −4, 0, 6, 1, −2) and (−1, −1, 2, −5, 0, 0): signs − − + + + −
        # (−1, −5, 2, 6, 1, −2)
        assert self.dare("dare_ties") == [0.0, -4.0, 2.0, 6.0, 0.0, 0.0]

    def test_ties_normalised(self):
        # divided by the weights that agree: −1/0.5, −5/1.5, 2/0.5, 6/1, 1/1, −2/1
        got = self.dare("dare_ties", normalize=True)
        assert got == exactly([-1.0, 1 - 10 / 3, 4.0, 6.0, 0.0, 0.0])

    def test_each_model_its_own_density(self):
        # a whole: (1, −2, 4, 3, ½, −1); b doubled, halved by its weight: (−1, −1, 2, −5, 0, 0)
        key = {"seed": 0, "names": ["models/a", "models/b"], "tensor_name": "layers.0.weight"}
        got = merge("dare_linear", self.MODELS, base=self.BASE, weight=[1.0, 0.5], density=[1.0, 0.5], **key)
        assert got == [1.0, -2.0, 6.0, -2.0, -0.5, 1.0]


class TestPassthrough:
    def test_as_it_is(self):
        assert merge("passthrough", [[1.0, -2.5, 0.0, 3.0]]) == [1.0, -2.5, 0.0, 3.0]

    def test_scaled(self):
        assert merge("passthrough", [[1.0, -2.5, 0.0, 3.0]], scale=-0.5) == [-0.5, 1.25, 0.0, -1.5]


class TestPrecision:
    """One rounding, at the end: what a method must not lose in a narrow type."""

    def test_bfloat16_sums_are_taken_wider(self):
        # 256 + 1 + 1 + 1 + 1 = 260; in bfloat16 256 + 1 rounds back to 256 each time
        models = [[256.0], [1.0], [1.0], [1.0], [1.0]]
        assert merge("linear", models, dtype=torch.bfloat16, weight=1.0, normalize=False) == [260.0]

    def test_bfloat16_deltas_are_taken_wider(self):
        # 1.0078125 − 256 = −254.9921875, which in bfloat16 is −255: the model would come back as 1
        got = merge("task_arithmetic", [[1.0078125]], base=[256.0], dtype=torch.bfloat16, weight=1.0)
        assert got == [1.0078125]

    def test_float16_weights_are_not_rounded(self):
        # 1000·0.3 − 1000·0.1 = 200; in float16 the weights are 0.30005 and 0.09998, which gives 200.073 → 200.125
        got = merge("linear", [[1000.0], [1000.0]], dtype=torch.float16, weight=[0.3, -0.1], normalize=False)
        assert got == [200.0]
