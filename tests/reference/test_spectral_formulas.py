"""The spectral references: examples worked by hand, and the exact claims of the conformance suite."""

import math
from functools import partial

import numpy as np
import pytest

from tests.conformance.exact import tasks
from tests.reference import formulas
from tests.reference import spectral_formulas as ref

SEEDS = range(10)
METHODS = [ref.tsv_m, ref.iso_c, ref.iso_cts, ref.knots, ref.opcm]
# of matrices [6, 5] and three models, 0.4 leaves one direction for each; 0.8 would leave none
SYMMETRIC = [ref.tsv_m, ref.iso_c, partial(ref.iso_cts, common_fraction=0.4), ref.knots]
ROOT2 = math.sqrt(2.0)


def near(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * max(1.0, float(np.abs(want).max())))


class TestByHand:
    def test_nearest_orthogonal(self):
        # symmetric positive definite: its own stretch, so the rotation is I; a column alone: its unit vector
        near(ref.nearest_orthogonal(np.array([[2.0, 1.0], [1.0, 2.0]])), np.eye(2))
        near(ref.nearest_orthogonal(np.array([[3.0], [4.0]])), [[0.6], [0.8]])
        # [u u] = u·√2·(1, 1)/√2: nothing says where a second direction should point, so there is none
        near(ref.nearest_orthogonal(np.array([[1.0, 1.0], [0.0, 0.0]])), [[1 / ROOT2, 1 / ROOT2], [0.0, 0.0]])

    def test_tsv_m_keeps_half_of_each_of_two(self):
        # top triplets: 3·e₁e₁ᵀ and 4·e₂e₂ᵀ; orthogonal already, the rest (1 and 2) is cut
        near(ref.tsv_m([np.diag([3.0, 1.0]), np.diag([2.0, 4.0])]), np.diag([3.0, 4.0]))
        near(ref.tsv_m([np.diag([3.0, 1.0]), np.diag([2.0, 4.0])], alpha=0.5), np.diag([1.5, 2.0]))

    def test_tsv_m_makes_crossing_directions_orthogonal(self):
        # left vectors e₁ and (e₁ + e₂)/√2, 45° apart, right e₁ and e₂. Their nearest orthogonal pair opens to 90°
        # with the same bisector at 22.5°: −22.5° and 67.5°
        deltas = [np.diag([2.0, 0.0]), np.outer([1.0, 1.0], [0.0, 1.0]) * 3 / ROOT2]
        angle = math.pi / 8
        first, second = [math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]
        near(ref.tsv_m(deltas), 2 * np.outer(first, [1, 0]) + 3 * np.outer(second, [0, 1]))

    def test_tsv_m_of_a_delta_twice_is_its_top_once(self):
        # û = [e₁ e₁] becomes e₁(1, 1)/√2 on both sides: 5·e₁·½(1, 1)·(1, 1)ᵀ·e₁ᵀ = 5 e₁e₁ᵀ
        near(ref.tsv_m([np.diag([5.0, 1.0])] * 2), np.diag([5.0, 0.0]))

    def test_iso_c(self):
        # Σ = diag(4, −2): singular values 4 and 2, mean 3, the sign stays with the vectors
        near(ref.iso_c([np.diag([1.0, -2.0]), np.diag([3.0, 0.0])]), np.diag([3.0, -3.0]))
        near(ref.iso_c([np.diag([1.0, -2.0]), np.diag([3.0, 0.0])], alpha=1.5), np.diag([4.5, -4.5]))

    def test_iso_c_of_a_sum_of_low_rank(self):
        # one direction of two: nothing to share its 4 with
        near(ref.iso_c([np.diag([1.0, 0.0]), np.diag([3.0, 0.0])]), np.diag([4.0, 0.0]))

    @pytest.mark.parametrize(
        ("smallest", "models", "fraction", "want"),
        [
            (768, 8, 0.8, (616, 19)),  # ⌊614.4⌋ leave 154; 154/8 = 19.25, so 19 each and 768 − 152 common
            (10, 2, 0.8, (8, 1)),
            (10, 3, 0.5, (4, 2)),  # 5/3 rounds up to 2 each
            (4, 8, 0.8, (4, 0)),  # no room for eight
            (12, 8, 0.0, (4, 1)),  # 12/8 would round to 2 each, which is more than there is
        ],
    )
    def test_common_and_per_task(self, smallest, models, fraction, want):
        assert ref.common_and_per_task(smallest, models, fraction) == want

    def test_iso_cts_without_own_directions_is_iso_c_of_the_top(self):
        deltas = [np.diag([1.0, -2.0]), np.diag([3.0, 0.0])]
        near(ref.iso_cts(deltas, common_fraction=1.0), ref.iso_c(deltas))

    def test_iso_cts_keeps_what_cancels_in_the_sum(self):
        # half of four is common: k = 2, one direction per task
        # sum diag(6, 0, 2, 0): common e₁ (6) and e₃ (2); residuals: e₂ with 1 for τ₁, −e₂ with 1 for τ₂
        # left [e₂, e₂], right [e₂, −e₂] up to sign: both become one direction shared by halves, and these cancel
        # σ̄ = (6 + 2 + 1 + 1)/4 = 2.5
        deltas = [np.diag([3.0, 1.0, 0.0, 0.0]), np.diag([3.0, -1.0, 2.0, 0.0])]
        near(ref.iso_cts(deltas, common_fraction=0.5), np.diag([2.5, 0.0, 2.5, 0.0]))
        # where the second task does without: σ̄ = (6 + 2 + 1)/3 = 3
        deltas = [np.diag([3.0, 1.0, 0.0, 0.0]), np.diag([3.0, 0.0, 2.0, 0.0])]
        near(ref.iso_cts(deltas, common_fraction=0.5), np.diag([3.0, 3.0, 3.0, 0.0]))

    def test_iso_cts_of_a_delta_within_the_common_directions(self):
        # as above, turned by 3-4-5 angles so that the projection leaves rounding of the second task, and not zero:
        # common 6 and 2, of its own 1 for the first task and nothing for the second; σ̄ = (6 + 2 + 1)/3 = 3
        turn = np.kron([[0.6, -0.8], [0.8, 0.6]], [[0.28, -0.96], [0.96, 0.28]])
        deltas = [turn @ np.diag(d) @ turn for d in ([3.0, 1.0, 0.0, 0.0], [3.0, 0.0, 2.0, 0.0])]
        near(ref.iso_cts(deltas, common_fraction=0.5), turn @ np.diag([3.0, 3.0, 3.0, 0.0]) @ turn)

    def test_knots(self):
        # [τ₁ τ₂] = [[3, 4], [0, 0]] of one output that matters: U = e₁, σ = 5, V₁ᵀ = 0.6, V₂ᵀ = 0.8; TIES' mean 0.7
        near(ref.knots([np.array([[3.0], [0.0]]), np.array([[4.0], [0.0]])]), [[3.5], [0.0]])
        # opposite signs: the longer wins
        near(ref.knots([np.array([[3.0], [0.0]]), np.array([[-4.0], [0.0]])]), [[-4.0], [0.0]])

    def test_knots_trims_among_coordinates(self):
        # τ = diag(8, 1): U = I, σ = (8, 1), Vᵀ = I. Half of its four entries are 1 and 1, which both stay.
        # Of ΣVᵀ = diag(8, 1) a quarter is the 8.
        tau = np.array([[8.0, 0.0], [0.0, 1.0]])
        near(ref.knots([tau], density=0.5), tau)
        near(ref.knots([tau], density=0.25, aligned="ΣV"), np.diag([8.0, 0.0]))

    def test_knots_with_dare(self):
        # Vᵀ = 0.6 and 0.8; the first is dropped, the second doubled: 5·1.6 = 8
        deltas = [np.array([[3.0], [0.0]]), np.array([[4.0], [0.0]])]
        near(ref.knots(deltas, "dare", density=0.5, normalize=False, keep_masks=[[False], [True]]), [[8.0], [0.0]])

    def test_opcm_drops_the_diagonal(self):
        # Δ₁ = diag(3, 1). Of τ₂ = [[5, 1], [0, 7]] the diagonal lies along known directions; α = ½ < ¾ keeps the
        # rest: the sum is [[3, 1], [0, 1]] of length √11; mean length (√10 + √75)/2
        deltas = [np.diag([3.0, 1.0]), np.array([[5.0, 1.0], [0.0, 7.0]])]
        length = (math.sqrt(10) + math.sqrt(75)) / 2
        near(ref.opcm(deltas), np.array([[3.0, 1.0], [0.0, 1.0]]) * length / math.sqrt(11))

    def test_opcm_drops_the_leading_block(self):
        # α = 1: both directions lead, the whole 2×2 block of τ₂ is known; what remains is Δ₁ at the mean length
        deltas = [np.diag([3.0, 1.0]), np.array([[5.0, 1.0], [0.0, 7.0]])]
        near(ref.opcm(deltas, alpha=1.0), np.diag([3.0, 1.0]) * (1 + math.sqrt(7.5)) / 2)

    def test_opcm_of_three(self):
        # e₁₁, e₂₂ and e₃₃ of length 1 each: mean length 1 of a sum of length √3
        deltas = [np.diag(row) for row in np.eye(3)]
        near(ref.opcm(deltas), np.eye(3) / math.sqrt(3))

    @pytest.mark.parametrize("method", METHODS)
    def test_nothing_changed_or_no_matrix(self, method):
        near(method([np.zeros((2, 3))] * 2), np.zeros((2, 3)))
        near(method([np.array([1.0, -2.0]), np.array([3.0, 0.0])]), [2.0, -1.0])


class TestExactClaims:
    @pytest.mark.parametrize("shape", [(9, 6), (6, 9), (6, 6), (10, 9)])
    @pytest.mark.parametrize("seed", SEEDS)
    def test_tsv_m_of_orthogonal_tasks_is_their_sum(self, seed, shape):
        made = tasks.planted(seed, shape=shape)
        near(ref.tsv_m(made.deltas), sum(made.deltas))

    @pytest.mark.parametrize("shape", [(9, 6), (9, 7)])
    @pytest.mark.parametrize("seed", SEEDS)
    def test_iso_c_of_orthogonal_tasks_is_flat_on_their_span(self, seed, shape):
        made = tasks.planted(seed, shape=shape)
        mean = float(np.concatenate(made.sigma).mean())
        near(ref.iso_c(made.deltas), mean * sum(u @ v.T for u, v in zip(made.u, made.v)))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_iso_cts_takes_the_common_directions_and_each_tasks_own(self, seed):
        made = tasks.common_and_own(seed)
        near(ref.iso_cts(made.deltas, made.fraction), made.iso_cts)
        assert np.abs(ref.iso_c(made.deltas) - made.iso_cts).max() > 0.1

    @pytest.mark.parametrize("density", [1.0, 0.5])
    @pytest.mark.parametrize("seed", SEEDS)
    def test_knots_is_ties_on_the_coordinates(self, seed, density):
        basis, sigma, rows = tasks.shared_left_basis(seed)
        flat = [list(map(float, vt.ravel())) for vt in rows]
        merged = formulas.ties([0.0] * len(flat[0]), flat, [1.0] * 3, [density] * 3)
        deltas = [basis @ np.diag(sigma) @ vt for vt in rows]
        near(ref.knots(deltas, density=density), basis @ np.diag(sigma) @ np.array(merged).reshape(rows[0].shape))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_knots_with_a_sum_is_task_arithmetic(self, seed):
        rng = np.random.default_rng(seed)
        deltas = [rng.normal(size=(4, 3)) for _ in range(2)]
        near(ref.knots(deltas, "linear", weights=[1.0, 2.0], normalize=False), deltas[0] + 2 * deltas[1])

    @pytest.mark.parametrize("seed", SEEDS)
    def test_knots_of_untrimmed_rows_does_not_care_where_sigma_stands(self, seed):
        rng = np.random.default_rng(seed)
        deltas = [rng.normal(size=(4, 3)) for _ in range(2)]
        near(ref.knots(deltas), ref.knots(deltas, aligned="ΣV"))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_opcm_keeps_the_orthogonal_part(self, seed):
        made = tasks.planted(seed)
        repeated = 0.7 * np.outer(made.u[0][:, 0], made.v[0][:, 0])
        for deltas in ([*made.deltas[:2]], [made.deltas[0], made.deltas[1] + repeated]):
            total, length = sum(made.deltas[:2]), np.mean([np.linalg.norm(d) for d in deltas])
            near(ref.opcm(deltas), total * length / np.linalg.norm(total))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_opcm_has_the_mean_length(self, seed):
        rng = np.random.default_rng(seed)
        deltas = [rng.normal(size=(5, 4)) * (i + 1) for i in range(4)]
        near(np.linalg.norm(ref.opcm(deltas)), np.mean([np.linalg.norm(d) for d in deltas]))

    @pytest.mark.parametrize("method", SYMMETRIC)
    @pytest.mark.parametrize("seed", SEEDS)
    def test_order_and_rotation(self, method, seed):
        rng = np.random.default_rng(seed)
        deltas = [rng.normal(size=(6, 5)) for _ in range(3)]
        merged, turn = method(deltas), tasks.orthonormal(rng, 6, 6)
        near(method(deltas[::-1]), merged)
        near(method([turn @ d for d in deltas]), turn @ merged)
