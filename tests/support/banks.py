"""Banks and members for tests: small, from seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone, is_regressor

from cuvee.predict import Bank, Member


def bank_of(
    members: str = "ab", ids: str = "rstuvw", classes: tuple[Any, ...] = ("x", "y", "z"), *, seed: int = 0, **other: Any
) -> Bank:
    """A classification bank of random probabilities, whole and honest."""
    M, N, K = len(members), len(ids), len(classes)
    random = np.random.default_rng(seed)
    made = Bank(
        task="classification",
        members=tuple(members),
        classes=classes,
        P=random.dirichlet(np.ones(K), size=(M, N)),
        mask=np.ones((M, N), bool),
        ids=tuple(ids),
        truth=np.random.default_rng(N).integers(0, K, N),  # the same for all members and seeds
        provenance=("hold-out",) * M,
        probable=(True,) * M,
    )
    return replace(made, **other)


def unmasked(bank: Bank, member: int, row: int) -> Bank:
    """The bank with one entry that its member did not predict."""
    P, mask = bank.P.copy(), bank.mask.copy()
    P[member, row], mask[member, row] = np.nan, False
    return replace(bank, P=P, mask=mask)


def regression_bank(values: Any, truth: Any, **other: Any) -> Bank:
    """A regression bank of members `a`, `b`, …, from `[M, N]` values."""
    P = np.asarray(values, float)[:, :, None]
    M, N = P.shape[:2]
    made = Bank(
        "regression",
        tuple("abcdefgh"[:M]),
        (),
        P,
        np.isfinite(P[:, :, 0]),
        tuple(map(str, range(N))),
        np.asarray(truth, float),
        ("hold-out",) * M,
        (False,) * M,
    )
    return replace(made, **other)


def fresh(name: str, estimator: Any, **said: Any) -> Member:
    """An estimator that was never fitted, as a member that can be."""

    def refit(X: Any, y: Any) -> Member:
        fitted = clone(estimator).fit(X, y)
        if is_regressor(estimator):
            return Member(name=name, kind="sklearn", ask=fitted.predict, output="values", refit=refit, **said)
        classes = tuple(fitted.classes_.tolist())
        return Member(
            name=name,
            kind="sklearn",
            ask=fitted.predict_proba,
            output="probabilities",
            classes=classes,
            refit=refit,
            **said,
        )

    def never(rows: Any) -> Any:
        raise AssertionError("a member that was never fitted was asked")

    output = "values" if is_regressor(estimator) else "probabilities"
    return Member(name=name, kind="sklearn", ask=never, output=output, refit=refit, **said)
