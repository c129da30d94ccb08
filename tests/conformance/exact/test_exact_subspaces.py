"""Merges of planted low-rank tasks whose singular vectors are known: what is claimed of the spectral methods."""

import numpy as np
import pytest

from tests.conformance.exact import tasks
from tests.reference import formulas

SEEDS = range(5)
MATRIX = ["tsv_m", "iso_c", "iso_cts", "knots", "wudi", "actmat"]
# of matrices [6, 5] and three models, 0.4 leaves one direction for each; 0.8 would leave none
ROOM = {"iso_cts": {"common_fraction": 0.4}}


def near(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-7 * max(1.0, float(np.abs(want).max())))


def flat(made, size):
    return size * sum((u @ v.T for u, v in zip(made.u, made.v)), start=np.zeros(made.deltas[0].shape))


@pytest.mark.parametrize("shape", [(9, 6), (6, 9), (6, 6)])
@pytest.mark.parametrize("seed", SEEDS)
def test_tsv_m_of_orthogonal_tasks_is_their_sum(seed, shape):
    """Three tasks of rank 2 fill min(m, n) = 6: each keeps a third of the triplets, which is all it has."""
    made = tasks.planted(seed, shape=shape)
    near(tasks.call_on_deltas("tsv_m", made.deltas, seed), sum(made.deltas))


@pytest.mark.parametrize("seed", SEEDS)
def test_tsv_m_of_tasks_with_fewer_directions_than_it_keeps_is_their_sum(seed):
    """Each keeps 3 of 9 triplets and has 2: vectors of a singular value of zero mean nothing and must not disturb."""
    made = tasks.planted(seed, shape=(10, 9))
    near(tasks.call_on_deltas("tsv_m", made.deltas, seed), sum(made.deltas))


def test_tsv_m_opens_crossing_directions_to_a_right_angle():
    """Left vectors 45° apart, e₁ and (e₁ + e₂)/√2, open about their bisector at 22.5°, to −22.5° and 67.5°."""
    deltas = [np.diag([2.0, 0.0]), np.outer([1.0, 1.0], [0.0, 1.0]) * 3 / np.sqrt(2)]
    cos, sin = np.cos(np.pi / 8), np.sin(np.pi / 8)
    near(tasks.call("tsv_m", deltas, np.zeros((2, 2))), [[2 * cos, 3 * sin], [-2 * sin, 3 * cos]])


def test_tsv_m_of_many_directions_keeps_the_top_ones():
    deltas = [np.diag([3.0, 1.0]), np.diag([2.0, 4.0])]
    near(tasks.call("tsv_m", deltas, np.zeros((2, 2))), np.diag([3.0, 4.0]))


@pytest.mark.parametrize("seed", SEEDS)
def test_iso_c_of_orthogonal_tasks_is_flat(seed):
    made = tasks.planted(seed, shape=(9, 6))
    merged = tasks.call_on_deltas("iso_c", made.deltas, seed)
    mean = float(np.concatenate(made.sigma).mean())
    near(np.linalg.svd(merged, compute_uv=False), np.full(6, mean))
    near(merged, flat(made, mean))


@pytest.mark.parametrize("seed", SEEDS)
def test_iso_c_stays_within_the_span_of_the_tasks(seed):
    """Six directions of seven: the seventh belongs to no task, and the sum of the singular values is kept."""
    made = tasks.planted(seed, shape=(9, 7))
    merged = tasks.call_on_deltas("iso_c", made.deltas, seed)
    near(merged, flat(made, float(np.concatenate(made.sigma).mean())))


@pytest.mark.parametrize("seed", SEEDS)
def test_iso_cts_takes_the_common_directions_and_each_tasks_own(seed):
    made = tasks.common_and_own(seed)
    merged = tasks.call_on_deltas("iso_cts", made.deltas, seed, common_fraction=made.fraction)
    near(merged, made.iso_cts)


@pytest.mark.parametrize("density", [1.0, 0.5])
@pytest.mark.parametrize("seed", SEEDS)
def test_knots_is_ties_on_the_coordinates_in_the_shared_basis(seed, density):
    basis, sigma, rows = tasks.shared_left_basis(seed)
    deltas = [basis @ np.diag(sigma) @ vt for vt in rows]
    coordinates = [list(map(float, vt.ravel())) for vt in rows]
    merged = formulas.ties([0.0] * len(coordinates[0]), coordinates, [1.0] * 3, [density] * 3)
    want = basis @ np.diag(sigma) @ np.array(merged).reshape(rows[0].shape)
    got = tasks.call_on_deltas("knots", deltas, seed, density=density)
    near(got, want)
    near(basis @ (basis.T @ got), got)


@pytest.mark.parametrize("seed", SEEDS)
def test_opcm_of_orthogonal_tasks_is_their_sum_at_the_mean_length(seed):
    made = tasks.planted(seed)
    total = sum(made.deltas)
    length = np.mean([np.linalg.norm(d) for d in made.deltas])
    near(tasks.call_on_deltas("opcm", made.deltas, seed), total * length / np.linalg.norm(total))


@pytest.mark.parametrize("seed", SEEDS)
def test_opcm_drops_of_a_new_task_what_is_known_and_keeps_the_rest(seed):
    made = tasks.planted(seed)
    repeated = 0.7 * np.outer(made.u[0][:, 0], made.v[0][:, 0])
    deltas = [made.deltas[0], made.deltas[1] + repeated]
    total = made.deltas[0] + made.deltas[1]
    length = np.mean([np.linalg.norm(d) for d in deltas])
    near(tasks.call_on_deltas("opcm", deltas, seed), total * length / np.linalg.norm(total))


@pytest.mark.parametrize(("alpha", "corner"), [(0.5, 1.0), (1.0, 0.0)])
def test_opcm_drops_the_leading_block(alpha, corner):
    """σ = 3 and 1: with α = ½ nothing leads and only the diagonal goes, with α = 1 both lead and all goes."""
    deltas = [np.diag([3.0, 1.0]), np.array([[5.0, 1.0], [0.0, 7.0]])]
    total = np.array([[3.0, corner], [0.0, 1.0]])
    length = (np.sqrt(10) + np.sqrt(75)) / 2
    near(tasks.call("opcm", deltas, np.zeros((2, 2)), alpha=alpha), total * length / np.linalg.norm(total))


@pytest.mark.parametrize("name", [*MATRIX, "opcm"])
def test_a_vector_gets_the_mean_of_the_deltas(name):
    deltas = [np.array([1.0, 2.0, -3.0]), np.array([3.0, 0.0, 1.0])]
    near(tasks.call_on_deltas(name, deltas), [2.0, 1.0, -1.0])


@pytest.mark.parametrize("name", MATRIX)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_models_does_not_matter(name, seed):
    rng = np.random.default_rng(seed)
    deltas = [rng.normal(size=(6, 5)) for _ in range(3)]
    room = ROOM.get(name, {})
    near(tasks.call_on_deltas(name, deltas, seed, **room), tasks.call_on_deltas(name, deltas[::-1], seed, **room))


@pytest.mark.parametrize("name", MATRIX)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_rotation_of_the_outputs_rotates_the_merge(name, seed):
    """All of these speak of matrices, not of their entries: Q τᵢ merges to Q times the merge."""
    rng = np.random.default_rng(seed)
    turn = tasks.orthonormal(rng, 6, 6)
    deltas = [rng.normal(size=(6, 5)) for _ in range(3)]
    room = ROOM.get(name, {})
    merged = tasks.call_on_deltas(name, deltas, seed, **room)
    near(tasks.call_on_deltas(name, [turn @ d for d in deltas], seed, **room), turn @ merged)
