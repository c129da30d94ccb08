"""Rows drawn again: the same for all models, in the shares they should have, and what metrics are of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cuvee.judging.metrics import Mean, Metric, Ratio, Whole, metric_named, metrics_for
from cuvee.judging.metrics.declared import Undefined, value_of
from cuvee.judging.resampling import resampled, row_draws
from tests.support.answering import KINDS, classified, drawn, regressed


def all_rows(n: int, draws: int, seed: int, strata=None) -> np.ndarray:
    return np.concatenate(list(row_draws(n, draws, seed, strata)))


def test_draws_are_of_all_rows_and_the_same_each_time() -> None:
    rows = all_rows(7, 2000, 3)
    assert rows.shape == (2000, 7)
    assert np.bincount(rows.ravel()) / 2000 == pytest.approx(np.ones(7), abs=0.1)
    assert (rows == all_rows(7, 2000, 3)).all()
    assert (rows != all_rows(7, 2000, 4)).any()


def test_many_rows_are_drawn_in_blocks_of_bounded_size() -> None:
    blocks = list(row_draws(400_000, 5, 0))
    assert [len(block) for block in blocks] == [2, 2, 1]
    assert (np.concatenate(blocks)[:2] == blocks[0]).all()


def test_strata_keep_their_sizes() -> None:
    strata = ["a", "b", "a", "c", "b", "a"]
    rows = all_rows(6, 300, 1, strata)
    groups = np.array(strata)[rows]
    assert all(sorted(group) == sorted(strata) for group in groups)
    assert len(np.unique(rows)) == 6


def by_taking(metric: Metric) -> Metric:
    """The metric without its short cut: rows are really drawn."""
    form = metric.form
    whole = form.of if isinstance(form, Whole) else lambda found: value_of(metric, found)
    return replace(metric, form=Whole(whole))


@pytest.mark.parametrize("name", [name for kind in KINDS for name in metrics_for(kind)])
def test_counting_rows_gives_what_taking_them_gives(name: str) -> None:
    """Few rows, so that classes go missing and truths come out equal: then both have no value."""
    kind = metric_named(name).kinds[0]
    for n, seed in ((4, 2), (15, 3)):
        several = [drawn(kind, n, seed=s) for s in (seed, seed + 1)]
        counted = resampled(metric_named(name), several, draws=40, seed=seed)
        taken = resampled(by_taking(metric_named(name)), several, draws=40, seed=seed)
        np.testing.assert_allclose(counted, taken, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["auc", "ece", "f1_macro", "balanced_accuracy", "brier"])
@pytest.mark.parametrize("classes", [2, 3])
def test_counting_with_equal_probabilities(name: str, classes: int) -> None:
    """Ties between rows and between classes."""
    coarse = np.random.default_rng(classes).integers(1, 3, size=(14, classes))
    found = classified(np.arange(14) % classes, coarse / coarse.sum(1, keepdims=True))
    counted = resampled(metric_named(name), [found], draws=60, seed=0)
    taken = resampled(by_taking(metric_named(name)), [found], draws=60, seed=0)
    np.testing.assert_allclose(counted, taken, rtol=1e-9, atol=1e-12)


def test_draws_without_a_value_are_not_numbers() -> None:
    found = classified([0, 0, 1], [[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]])
    values = resampled(metric_named("auc"), [found], draws=200, seed=0)[0]
    assert np.isnan(values).mean() == pytest.approx((2 / 3) ** 3 + (1 / 3) ** 3, abs=0.1)
    assert (values[np.isfinite(values)] == 1).all()


def test_truths_that_come_out_equal_have_no_share_of_variance() -> None:
    values = resampled(metric_named("r2"), [regressed([0.1, 0.1, 0.7], [0.1, 0.2, 0.6])], draws=200, seed=0)[0]
    assert np.isnan(values).mean() == pytest.approx((2 / 3) ** 3 + (1 / 3) ** 3, abs=0.1)


def test_equal_answers_have_equal_draws_bit_for_bit() -> None:
    for kind in KINDS:
        for name in metrics_for(kind):
            one, two = (drawn(kind, 333, seed=1) for _ in range(2))
            values = resampled(metric_named(name), [one, drawn(kind, 333, seed=2), two], draws=20, seed=0)
            assert (values[0] == values[2]).all(), name


def test_a_metric_of_ones_own_that_fails_on_some_draws() -> None:
    def fussy(found) -> float:
        if len(set(found.ids)) < 2:
            raise Undefined("too few")
        return float(len(set(found.ids)))

    own = Metric("own", ("match",), "higher", Whole(fussy), "", "", "")
    values = resampled(own, [drawn("match", 2, seed=0)], draws=50, seed=0)[0]
    assert set(values[np.isfinite(values)]) == {2.0}
    assert np.isnan(values).any()


def test_ratios_and_means_of_one_row() -> None:
    for kind, form in (("match", Mean), ("likelihood", Ratio)):
        metric = metric_named(metrics_for(kind)[0])
        assert isinstance(metric.form, form)
        found = drawn(kind, 1, seed=1)
        assert resampled(metric, [found], draws=3, seed=0)[0] == pytest.approx([value_of(metric, found)] * 3)
