"""The quadratic references: examples worked by hand, and the exact claims of the conformance suite."""

import numpy as np
import pytest

from tests.conformance.exact import tasks
from tests.reference import quadratic_formulas as ref

SEEDS = range(10)


def near(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * max(1.0, float(np.abs(want).max())))


class TestByHand:
    A = np.array([[1.0, 0.0], [0.0, 0.0]])
    B = np.array([[0.0, 2.0], [0.0, 2.0]])

    def test_solve_with_a_diagonal_weighs_column_by_column(self):
        # column 1: (1·3 + 5·1)/(3 + 1) = 2    column 2: (2·1 + 6·3)/(1 + 3) = 5
        grams = [np.diag([3.0, 1.0]), np.diag([1.0, 3.0])]
        near(ref.solve([np.array([[1.0, 2.0]]), np.array([[5.0, 6.0]])], grams), [[2.0, 5.0]])

    def test_solve_with_a_full_gram(self):
        # ΣG = [[2, 1], [1, 2]], inverse ⅓[[2, −1], [−1, 2]]; ΣWG = (1, 0)·[[1, 1], [1, 1]] = (1, 1), as the second W
        # is 0 (1, 1)·⅓[[2, −1], [−1, 2]] = (⅓, ⅓)
        grams = [np.ones((2, 2)), np.eye(2)]
        near(ref.solve([np.array([[1.0, 0.0]]), np.zeros((1, 2))], grams), [[1 / 3, 1 / 3]])

    def test_ridge_is_relative_to_the_mean_diagonal(self):
        # ΣG = diag(2, 6), mean diagonal 4, ridge ½: divisors 2 + 2 and 6 + 2; ΣWG = (2, 6)
        near(ref.solve([np.array([[1.0, 1.0]])], [np.diag([2.0, 6.0])], ridge=0.5), [[0.5, 0.75]])

    def test_regmean_off_diagonals(self):
        # α = 0 leaves G₁ = diag(2, 2), G₂ = diag(6, 2): (1·2 + 5·6)/8 = 4    (2·2 + 4·2)/4 = 3
        grams = [np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[6.0, 1.0], [1.0, 2.0]])]
        near(ref.regmean([np.array([[1.0, 2.0]]), np.array([[5.0, 4.0]])], grams, alpha=0.0), [[4.0, 3.0]])

    def test_regmean_where_no_model_has_data_is_the_mean(self):
        # the second input is never seen: its weight is (2 + 4)/2
        grams = [np.diag([1.0, 0.0]), np.diag([3.0, 0.0])]
        near(ref.regmean([np.array([[1.0, 2.0]]), np.array([[5.0, 4.0]])], grams), [[4.0, 3.0]])

    def test_regmean_of_vectors_is_the_mean(self):
        near(ref.regmean([np.array([1.0, 2.0]), np.array([3.0, 6.0])], [np.eye(2)] * 2), [2.0, 4.0])

    def test_fisher(self):
        # (1·1 + 3·5)/4 = 4    nobody knows: (2 + 4)/2 = 3    λ = (2, 1) of F = (1, 2): (2·0 + 2·8)/4 = 4
        models, information = [[1.0, 2.0], [5.0, 4.0]], [[1.0, 0.0], [3.0, 0.0]]
        near(ref.fisher(models, information), [4.0, 3.0])
        near(ref.fisher([[0.0], [8.0]], [[1.0], [2.0]], lambdas=[2.0, 1.0]), [4.0])

    def test_wudi_and_actmat_of_deltas_that_share_an_input(self):
        # one output and one input: Gᵢ = 1 for WUDI, the mean of 1 and 3; Gᵢ = 1 and 9 for ACTMat, (1 + 27)/10
        deltas = [np.array([[1.0]]), np.array([[3.0]])]
        near(ref.wudi(deltas), [[2.0]])
        near(ref.actmat(deltas), [[2.8]])

    def test_wudi_and_actmat_where_one_delta_reads_two_inputs(self):
        # τ₁ = (1, 0), τ₂ = (1, 1): τ₁ᵀτ₁ = [[1, 0], [0, 0]], τ₂ᵀτ₂ = [[1, 1], [1, 1]]; both agree on their own inputs
        # with τ = (1, 1): τ·τ₁ᵀ = 1 = τ₁·τ₁ᵀ and τ·τ₂ᵀ = 2 = τ₂·τ₂ᵀ, so the loss is 0 whatever the scale of G
        deltas = [np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])]
        near(ref.wudi(deltas), [[1.0, 1.0]])
        near(ref.actmat(deltas), [[1.0, 1.0]])

    def test_wudi_weighs_by_share_and_actmat_by_size(self):
        # τ₁ = I: WUDI's G = ½I; τ₂ = diag(3, 0): G = diag(1, 0), and τᵀτ = diag(9, 0)
        # WUDI: (½·1 + 1·3)/1.5 = 7/3    ACTMat: (1·1 + 9·3)/10 = 2.8    the second entry is τ₁'s alone
        deltas = [np.eye(2), np.diag([3.0, 0.0])]
        near(ref.wudi(deltas), np.diag([7 / 3, 1.0]))
        near(ref.actmat(deltas), np.diag([2.8, 1.0]))

    def test_nothing_changed(self):
        near(ref.wudi([np.zeros((2, 3))] * 2), np.zeros((2, 3)))
        near(ref.wudi([self.A, np.zeros((2, 2))]), self.A)
        near(ref.actmat([np.zeros((2, 3))] * 2), np.zeros((2, 3)))

    def test_vectors_get_the_mean(self):
        for method in (ref.wudi, ref.actmat):
            near(method([np.array([1.0, -2.0]), np.array([3.0, 0.0])]), [2.0, -1.0])


class TestExactClaims:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_solve_is_the_minimum(self, seed):
        """Any step away costs what the quadratic says: tr(S ΣG Sᵀ), with no part that is linear in the step."""
        rng = np.random.default_rng(seed)
        targets = [rng.normal(size=(3, 4)) for _ in range(3)]
        grams = [x.T @ x for x in (rng.normal(size=(6, 4)) for _ in range(3))]
        best, step = ref.solve(targets, grams), rng.normal(size=(3, 4))
        cost = ref.loss(best + step, targets, grams) - ref.loss(best, targets, grams)
        near(cost, np.trace(step @ sum(grams) @ step.T))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_wudi_minimises_the_loss_of_the_paper(self, seed):
        rng = np.random.default_rng(seed)
        deltas = [rng.normal(size=(3, 4)) * rng.uniform(0.1, 3) for _ in range(2)]

        def paper(t):
            return sum(np.sum(((t - d) @ d.T) ** 2) / np.sum(d**2) for d in deltas)

        best = ref.wudi(deltas)
        steps = [1e-3 * rng.normal(size=(3, 4)) for _ in range(20)]
        assert all(paper(best + s) > paper(best) for s in steps)
        near(sum((best - d) @ d.T @ d / np.sum(d**2) for d in deltas), np.zeros((3, 4)))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_regmean_is_the_joint_optimum(self, seed):
        made = tasks.regression(seed)
        near(ref.regmean(made.models, made.grams), made.joint)
        assert made.error(np.mean(made.models, axis=0)) > 1.01 * made.error(made.joint)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_with_equal_grams_the_average_is_the_optimum(self, seed):
        made = tasks.regression_of_equal_grams(seed)
        near(np.mean(made.models, axis=0), made.joint)
        near(ref.regmean(made.models, made.grams), made.joint)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_fisher_is_the_optimum_of_orthogonal_designs(self, seed):
        made = tasks.regression_of_orthogonal_designs(seed)
        information = [np.broadcast_to(np.diag(g), w.shape) for g, w in zip(made.grams, made.models)]
        near(ref.fisher(made.models, information), made.joint)
        near(ref.fisher(made.models, information), ref.regmean(made.models, made.grams, alpha=0.0))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_regmean_short_of_data_is_one_of_the_optima(self, seed):
        made = tasks.regression(seed, rows=2)
        merged = ref.regmean(made.models[:2], made.grams[:2])
        for x, y in zip(made.inputs[:2], made.outputs[:2]):
            near(x @ merged.T, y)

    @pytest.mark.parametrize("method", [ref.wudi, ref.actmat])
    @pytest.mark.parametrize("seed", SEEDS)
    def test_orthogonal_inputs_do_not_interfere(self, method, seed):
        deltas = tasks.orthogonal_inputs(seed)
        near(method(deltas), sum(deltas))

    @pytest.mark.parametrize("method", [ref.wudi, ref.actmat])
    def test_overlapping_inputs_do(self, method):
        """The claim above is not one that every sum would pass."""
        deltas = [np.random.default_rng(i).normal(size=(5, 4)) for i in range(2)]
        assert np.abs(method(deltas) - sum(deltas)).max() > 0.1
