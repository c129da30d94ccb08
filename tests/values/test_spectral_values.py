"""The spectral methods on 2×2 examples worked out on paper; the working stands beside the numbers."""

from __future__ import annotations

import math

import pytest
import torch

from cuvee import methods

ROOT2 = math.sqrt(2.0)


def merge(name, deltas, base=((1.0, 2.0), (3.0, 4.0)), **settings):
    """What the method adds to a base, as a list."""
    start = torch.tensor(base, dtype=torch.float64)
    models = [start + torch.tensor(d, dtype=torch.float64) for d in deltas]
    return (methods.get(name)(models, base=start, **settings) - start).tolist()


def exactly(rows):
    return [pytest.approx(row, abs=1e-13) for row in rows]


def test_tsv_m_keeps_the_top_of_each_and_makes_them_orthogonal():
    # ⌊2/2⌋ = 1 triplet each: 2·e₁e₁ᵀ, and 3·(e₁ + e₂)/√2·e₂ᵀ, whose 1 is cut. The left vectors are 45° apart; opened
    # about their bisector they stand at −22.5° and 67.5°
    second = [[0.5 / ROOT2, 3 / ROOT2], [-0.5 / ROOT2, 3 / ROOT2]]
    cos, sin = math.cos(math.pi / 8), math.sin(math.pi / 8)
    want = [[2 * cos, 3 * sin], [-2 * sin, 3 * cos]]
    assert merge("tsv_m", [[[2.0, 0.0], [0.0, 0.0]], second]) == exactly(want)
    assert merge("tsv_m", [[[2.0, 0.0], [0.0, 0.0]], second], lambda_=0.5) == exactly(
        [[x / 2 for x in r] for r in want]
    )


def test_iso_c_levels_the_sum():
    # the sum is [[0, 4], [−2, 0]], singular values 4 and 2, mean 3; λ = ½
    deltas = [[[0.0, 1.0], [-2.0, 0.0]], [[0.0, 3.0], [0.0, 0.0]]]
    assert merge("iso_c", deltas) == exactly([[0.0, 3.0], [-3.0, 0.0]])
    assert merge("iso_c", deltas, lambda_=0.5) == exactly([[0.0, 1.5], [-1.5, 0.0]])


def test_iso_cts_of_one_model_takes_the_common_and_the_rest():
    # r = 2, half of it common: e₁ with 5; what is left of the model has e₂ with 1; both get (5 + 1)/2
    assert merge("iso_cts", [[[5.0, 0.0], [0.0, 1.0]]], common_fraction=0.5) == exactly([[3.0, 0.0], [0.0, 3.0]])


def test_iso_cts_with_all_directions_common_is_iso_c():
    deltas = [[[0.0, 1.0], [-2.0, 0.0]], [[0.0, 3.0], [0.0, 0.0]]]
    assert merge("iso_cts", deltas, common_fraction=1.0) == exactly([[0.0, 3.0], [-3.0, 0.0]])
    # 0.8 of two directions leaves ½ to each of two tasks, which rounds to none
    assert merge("iso_cts", deltas) == exactly([[0.0, 3.0], [-3.0, 0.0]])


class TestKnots:
    # side by side [[3, 0, 4, 0], [0, 2, 0, 0]]: U = I, σ = 5 and 2, V₁ᵀ = [[.6, 0], [0, 1]], V₂ᵀ = [[.8, 0], [0, 0]]
    DELTAS = ([[3.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, 0.0]])

    def test_mean_of_those_that_agree(self):
        # (.6 + .8)/2 · 5 = 3.5; the second direction is the first model's alone: 1 · 2
        assert merge("knots", self.DELTAS) == exactly([[3.5, 0.0], [0.0, 2.0]])

    def test_weights(self):
        # (1 · .6 + 3 · .8)/4 · 5 = 3.75; undivided (.6 + 2.4) · 5 = 15
        assert merge("knots", self.DELTAS, weight=[1.0, 3.0]) == exactly([[3.75, 0.0], [0.0, 2.0]])
        assert merge("knots", self.DELTAS, weight=[1.0, 3.0], normalize=False) == exactly([[15.0, 0.0], [0.0, 2.0]])

    def test_trim_among_the_coordinates(self):
        # a quarter of four: of V₁ᵀ the 1 stays, of V₂ᵀ the .8; of S V₁ᵀ = diag(3, 2) it is the 3
        assert merge("knots", self.DELTAS, density=0.25) == exactly([[4.0, 0.0], [0.0, 2.0]])
        assert merge("knots", self.DELTAS, density=0.25, aligned="SV") == exactly([[3.5, 0.0], [0.0, 0.0]])

    def test_vectors_get_the_weighted_mean(self):
        call = {"base": (1.0, 1.0), "weight": [1.0, 3.0]}
        # (1·4 + 3·0)/4 and (1·(−2) + 3·2)/4
        assert merge("knots", [(4.0, -2.0), (0.0, 2.0)], **call) == [1.0, 1.0]
        assert merge("knots", [(4.0, -2.0), (0.0, 2.0)], **call, normalize=False) == [4.0, 4.0]

    def test_no_weight_is_no_change(self):
        assert merge("knots", self.DELTAS, weight=0.0, normalize=False) == [[0.0, 0.0], [0.0, 0.0]]


class TestOpcm:
    DELTAS = ([[3.0, 0.0], [0.0, 1.0]], [[5.0, 1.0], [0.0, 7.0]])

    def test_drops_what_lies_along_known_directions(self):
        # the diagonal of the second goes: [[3, 1], [0, 1]] of length √11, at the mean length (√10 + √75)/2
        size = (math.sqrt(10) + math.sqrt(75)) / 2 / math.sqrt(11)
        assert merge("opcm", self.DELTAS) == exactly([[3 * size, size], [0.0, size]])

    def test_closes_the_leading_block(self):
        # α = 1: all of the second goes
        size = (1 + math.sqrt(7.5)) / 2
        assert merge("opcm", self.DELTAS, alpha=1.0) == exactly([[3 * size, 0.0], [0.0, size]])

    def test_the_order_matters(self):
        assert merge("opcm", self.DELTAS[::-1]) != exactly(merge("opcm", self.DELTAS))

    def test_goes_on_from_a_result(self):
        # of e₁e₁ᵀ, e₂e₁ᵀ (length 1, λ = √2) and then e₂e₂ᵀ: the sum of all three, of length √3, at length 1
        begun = [[1 / ROOT2, 0.0], [1 / ROOT2, 0.0]]
        three = [[1 / math.sqrt(3), 0.0], [1 / math.sqrt(3), 0.5 / math.sqrt(3)]]
        # begun is σ = 1 of u = (e₁ + e₂)/√2, v = e₁; nothing of e₂e₂ᵀ lies along uvᵀ. Half as long a newcomer makes
        # the mean length (2·1 + ½)/3 and the sum √(2 + ¼) long
        size = (2.5 / 3) / 1.5 * math.sqrt(3)
        got = merge("opcm", [begun, [[0.0, 0.0], [0.0, 0.5]]], merged_before=2, merged_scale=ROOT2)
        assert got == exactly([[x * size for x in row] for row in three])
        assert merge("opcm", [begun, [[0.0, 0.0], [0.0, 0.5]]], merged_before=2) == exactly(got)

    def test_vectors_get_the_mean_of_all_models(self):
        # (3·2 + 6)/4
        assert merge("opcm", [(2.0,), (6.0,)], base=(1.0,), merged_before=3) == pytest.approx([3.0], abs=1e-14)


@pytest.mark.parametrize("name", ["tsv_m", "iso_c", "iso_cts", "knots", "opcm"])
def test_vectors_and_scalars_get_the_mean(name):
    assert merge(name, [(1.0, 2.0), (3.0, -4.0)], base=(0.5, 0.5)) == [2.0, -1.0]
    assert merge(name, [1.0, 4.0], base=0.0) == 2.5


@pytest.mark.parametrize("name", ["tsv_m", "iso_c", "knots"])
def test_a_convolution_is_a_matrix_with_a_row_for_each_output(name):
    chance = torch.Generator().manual_seed(0)
    kernels = [torch.randn(4, 3, 2, 2, generator=chance, dtype=torch.float64) for _ in range(2)]
    method, zero = methods.get(name), torch.zeros(4, 3, 2, 2, dtype=torch.float64)
    flat = method([k.flatten(1) for k in kernels], base=zero.flatten(1))
    assert torch.equal(method(kernels, base=zero).flatten(1), flat)
