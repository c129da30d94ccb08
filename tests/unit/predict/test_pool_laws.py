"""What holds for every combiner that learns nothing or little, whatever members say."""

from __future__ import annotations

from dataclasses import replace
from itertools import product as pairs
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.predict import (
    Bank,
    Hard,
    Maximum,
    Median,
    Minimum,
    Product,
    RankMean,
    Soft,
    TrimmedMean,
    Weighted,
)
from cuvee.predict.combiners import COMBINERS, FITTED, Batch, Combiner, Fitted

CLASSES: dict[str, Combiner] = {
    "soft": Soft(),
    "hard, by confidence": Hard(),
    "hard, by prior": Hard(tie="prior"),
    "weighted": Weighted(),
    "weighted by softmax": Weighted(by="accuracy", rule="softmax", tau=0.3),
    "weighted by log odds": Weighted(rule="log-odds"),
    "log pool": Product(),
    "product": Product(exponent=1.0, prior=True),
    "product, calibrated": Product(exponent=0.5, calibrate=True),
    "rank mean": RankMean(size=20),
    "median": Median(),
    "trimmed mean": TrimmedMean(cut=0.2),
    "maximum": Maximum(),
    "minimum": Minimum(),
}
VALUES: dict[str, Combiner] = {
    "soft": Soft(),
    "weighted": Weighted(),
    "weighted by R²": Weighted(by="r2", rule="softmax"),
    "median": Median(),
    "trimmed mean": TrimmedMean(cut=0.2),
    "maximum": Maximum(),
    "minimum": Minimum(),
}
EVERY = [("classification", name) for name in CLASSES] + [("regression", name) for name in VALUES]
EACH_WAY = pytest.mark.parametrize(("task", "name"), EVERY)
SEEDS = st.integers(0, 10**6)
QUICK = settings(max_examples=5, deadline=None)


def combiner_of(task: str, name: str) -> Combiner:
    return CLASSES[name] if task == "classification" else VALUES[name]


def drawn(seed: int, task: str, *, rows: int = 30, members: int | None = None) -> Bank:
    """A bank of members of different quality, some of whom miss some rows; entries that are equal are not rare."""
    rng = np.random.default_rng(seed)
    m = members or int(rng.integers(2, 12))
    k = int(rng.integers(2, 5)) if task == "classification" else 1
    truth = rng.integers(k, size=rows) if k > 1 else rng.normal(size=rows)
    if k > 1:
        counts = rng.multinomial(8, np.full(k, 1 / k), (m, rows)) / 8
        P = (counts + np.eye(k)[truth] * rng.random((m, 1, 1))) / (1 + rng.random((m, 1, 1)))
        P /= P.sum(axis=2, keepdims=True)
    else:
        P = (truth + rng.normal(size=(m, rows)) * rng.random((m, 1)))[:, :, None]
    mask = rng.random((m, rows)) < 0.8
    mask[:, :3] = True
    mask[rng.integers(m, size=rows), np.arange(rows)] = True
    names, labels = tuple(f"m{i}" for i in range(m)), tuple("abcd"[:k]) if k > 1 else ()
    P = np.where(mask[:, :, None], P, np.nan)
    ids = tuple(map(str, range(rows)))
    return Bank(task, names, labels, P, mask, ids, truth, ("hold-out",) * m, (True,) * m)  # type: ignore[arg-type]


def combined(fitted: Fitted, bank: Bank) -> np.ndarray:
    return fitted.apply(Batch(bank.P, bank.mask))


@EACH_WAY
@QUICK
@given(seed=SEEDS)
def test_rows_are_finite_and_probabilities_sum_to_one(task: str, name: str, seed: int) -> None:
    bank = drawn(seed, task)
    found = combined(combiner_of(task, name).fit(bank), bank)
    assert found.shape == bank.P.shape[1:]
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    if task == "classification":
        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


@EACH_WAY
@QUICK
@given(seed=SEEDS)
def test_the_order_of_members_does_not_matter(task: str, name: str, seed: int) -> None:
    bank, combiner = drawn(seed, task), combiner_of(task, name)
    other = bank.only(np.random.default_rng(seed).permutation(bank.members).tolist())
    np.testing.assert_allclose(
        combined(combiner.fit(bank), bank), combined(combiner.fit(other), other), rtol=1e-9, atol=1e-12
    )


@EACH_WAY
@QUICK
@given(seed=SEEDS)
def test_who_is_masked_everywhere_may_as_well_not_be_there(task: str, name: str, seed: int) -> None:
    whole, combiner = drawn(seed, task, members=5), combiner_of(task, name)
    less = whole.only(whole.members[:3])
    fitted = combiner.fit(whole)
    mask = whole.mask.copy()
    mask[3:] = False
    mask[0, ~mask.any(axis=0)] = True
    P = np.where(mask[:, :, None], np.where(np.isnan(whole.P), 1 / whole.P.shape[2], whole.P), np.nan)
    alone = restricted(fitted, combiner, less, 3).apply(Batch(P[:3], mask[:3]))
    np.testing.assert_allclose(fitted.apply(Batch(P, mask)), alone, rtol=1e-9, atol=1e-12)


def restricted(fitted: Fitted, combiner: Combiner, less: Bank, count: int) -> Fitted:
    """What was fitted, as if the last members had never been there."""
    kept: dict[str, Any] = {"members": less.members}
    for attribute in ("share", "temperatures", "reference"):
        if (array := getattr(fitted, attribute, None)) is not None:
            kept[attribute] = array[:count] / (array[:count].sum() if attribute == "share" else 1)
    return replace(fitted, **kept)


@EACH_WAY
@QUICK
@given(seed=SEEDS)
def test_a_row_does_not_depend_on_its_neighbours(task: str, name: str, seed: int) -> None:
    """To the last bit: alone, in another order, or in a batch of another size."""
    bank = drawn(seed, task)
    fitted = combiner_of(task, name).fit(bank)
    whole = combined(fitted, bank)
    order = np.random.default_rng(seed).permutation(len(bank))
    assert combined(fitted, bank.rows(order)).tobytes() == whole[order].tobytes()
    for row in order[:5]:
        assert combined(fitted, bank.rows([row])).tobytes() == whole[row].tobytes()


@EACH_WAY
@QUICK
@given(seed=SEEDS)
def test_what_is_told_is_restored(task: str, name: str, seed: int) -> None:
    import json

    bank = drawn(seed, task)
    fitted = combiner_of(task, name).fit(bank)
    said, arrays = fitted.told()
    again = FITTED.get(fitted.kind).restored(json.loads(json.dumps(said)), {k: v.copy() for k, v in arrays.items()})
    assert type(again) is type(fitted)
    assert combined(again, bank).tobytes() == combined(fitted, bank).tobytes()
    assert again.notes == fitted.notes
    assert again.used == fitted.used
    assert json.dumps(again.told()[0]) == json.dumps(said)


# Votes give shares of votes, ranks are no probabilities, and a full product is surer than its members.
KEEPS = [
    (task, name)
    for task, name in EVERY
    if name not in ("rank mean", "product", "product, calibrated") and "hard" not in name and "log odds" not in name
]


@pytest.mark.parametrize(("task", "name"), KEEPS)
@QUICK
@given(seed=SEEDS)
def test_members_that_are_equal_give_what_each_says(task: str, name: str, seed: int) -> None:
    bank = drawn(seed, task)
    said = np.where(np.isnan(bank.P[:1]), 1 / bank.P.shape[2], bank.P[:1])
    same = replace(bank, P=np.repeat(said, len(bank.members), axis=0))
    found = combined(combiner_of(task, name).fit(same), same)
    # A log pool lifts a probability of 0 to its floor of a millionth
    np.testing.assert_allclose(found, said[0], rtol=1e-5 if name == "log pool" else 1e-9, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in CLASSES if "hard" in name or "log odds" in name])
@QUICK
@given(seed=SEEDS)
def test_votes_of_equal_members_are_for_the_class_of_each(name: str, seed: int) -> None:
    bank = drawn(seed, "classification")
    said = np.where(np.isnan(bank.P[:1]), 0.0, bank.P[:1]) + np.linspace(0, 1e-3, bank.P.shape[2])
    same = replace(bank, P=np.repeat(said, len(bank.members), axis=0), truth=said[0].argmax(axis=1))
    np.testing.assert_allclose(combined(CLASSES[name].fit(same), same), np.eye(said.shape[2])[said[0].argmax(axis=1)])


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_settings_make_the_same_combiner_again(task: str, name: str) -> None:
    import json

    combiner = combiner_of(task, name)
    again = COMBINERS.get(combiner.name)(**json.loads(json.dumps(combiner.settings())))
    assert again == combiner


def test_every_registered_name_is_examined() -> None:
    mine = {one.name for one in CLASSES.values()}
    assert mine == {"soft", "hard", "weighted", "product", "rank-mean", "median", "trimmed-mean", "maximum", "minimum"}
    assert mine <= set(COMBINERS)


def test_classes_may_be_named_in_any_order() -> None:
    """All but the last resort of a tied vote treat classes alike."""
    for seed, (name, combiner) in pairs(range(5), CLASSES.items()):
        bank = drawn(seed, "classification")
        order = np.random.default_rng(seed).permutation(bank.P.shape[2])
        other = replace(bank, P=bank.P[:, :, order], truth=np.argsort(order)[bank.truth])
        found, moved = combined(combiner.fit(bank), bank)[:, order], combined(combiner.fit(other), other)
        np.testing.assert_allclose(moved, found, atol=2e-6, rtol=1e-9, err_msg=name)
