"""Merges of linear models whose joint optimum is known: what is claimed of the quadratic methods, to rounding."""

import numpy as np
import pytest

from tests.conformance.exact import tasks

SEEDS = range(5)


def near(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-7 * max(1.0, float(np.abs(want).max())))


@pytest.mark.parametrize("seed", SEEDS)
def test_regmean_with_the_grams_of_all_data_is_the_joint_optimum(seed):
    made = tasks.regression(seed)
    near(tasks.call("regmean", made.models, collected=made.grams), made.joint)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plain_average_is_not(seed):
    made = tasks.regression(seed)
    average = tasks.call("linear", made.models, weight=1.0)
    assert made.error(average) > 1.01 * made.error(made.joint)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_equal_grams_the_average_is_the_optimum_and_regmean_is_the_average(seed):
    made = tasks.regression_of_equal_grams(seed)
    near(tasks.call("linear", made.models, weight=1.0), made.joint)
    near(tasks.call("regmean", made.models, collected=made.grams), made.joint)


@pytest.mark.parametrize("seed", SEEDS)
def test_fisher_is_the_joint_optimum_where_the_inputs_are_orthogonal(seed):
    made = tasks.regression_of_orthogonal_designs(seed)
    # of squared error the Fisher information of an output's weights is the diagonal of the Gram matrix
    information = [np.broadcast_to(np.diag(g), w.shape) for g, w in zip(made.grams, made.models)]
    near(tasks.call("fisher", made.models, collected=information), made.joint)


@pytest.mark.parametrize("seed", SEEDS)
def test_regmean_of_one_input_short_of_data_is_still_an_optimum(seed):
    """Where the Grams of all data have no inverse there are many optima; the merge must be one of them."""
    made = tasks.regression(seed, rows=2)
    merged = tasks.call("regmean", made.models[:2], collected=made.grams[:2])
    for x, y in zip(made.inputs[:2], made.outputs[:2]):
        near(x @ merged.T, y)


@pytest.mark.parametrize("name", ["wudi", "actmat"])
@pytest.mark.parametrize("seed", SEEDS)
def test_deltas_that_read_orthogonal_inputs_do_not_interfere(name, seed):
    deltas = tasks.orthogonal_inputs(seed)
    merged = tasks.call_on_deltas(name, deltas, seed)
    near(merged, sum(deltas))
    for delta in deltas:
        near(merged @ delta.T, delta @ delta.T)


@pytest.mark.parametrize(("name", "shared"), [("wudi", 7 / 3), ("actmat", 2.8)])
def test_deltas_that_read_the_same_input_share_it_by_their_grams(name, shared):
    """I and diag(3, 0): WUDI's Grams are ½I and diag(1, 0), (½ + 3)/1.5; ACTMat's are I and diag(9, 0), (1 + 27)/10."""
    near(tasks.call(name, [np.eye(2), np.diag([3.0, 0.0])], np.zeros((2, 2))), np.diag([shared, 1.0]))


def test_regmean_shrinks_off_diagonals():
    """With α = 0 the Grams are diag(2, 2) and diag(6, 2): (1·2 + 5·6)/8 = 4 and (2·2 + 4·2)/4 = 3."""
    grams = [np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[6.0, 1.0], [1.0, 2.0]])]
    models = [np.array([[1.0, 2.0]]), np.array([[5.0, 4.0]])]
    near(tasks.call("regmean", models, collected=grams, alpha=0.0), [[4.0, 3.0]])


def test_where_no_model_has_data_the_merge_is_the_plain_mean():
    models = [np.array([[1.0, 2.0]]), np.array([[5.0, 4.0]])]
    grams = [np.diag([1.0, 0.0]), np.diag([3.0, 0.0])]
    near(tasks.call("regmean", models, collected=grams), [[4.0, 3.0]])
    near(tasks.call("fisher", models, collected=[np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]])]), [[4.0, 3.0]])
