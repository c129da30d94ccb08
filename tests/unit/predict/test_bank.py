"""A bank is checked, read and joined by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cuvee.errors import InputError
from cuvee.judging.metrics import score_of
from cuvee.predict import Bank, Member, cross_fit, rows_of
from cuvee.predict.bank import bank_faults, class_names
from cuvee.predict.gathering import gather
from tests.support.banks import bank_of, regression_bank, unmasked


def faults_of(bank: Bank) -> list[tuple[str, str]]:
    return [(fault.code, fault.message) for fault in bank_faults(bank)]


def test_a_good_bank_has_no_faults() -> None:
    assert faults_of(bank_of()) == []
    assert faults_of(unmasked(bank_of(), 0, 1)) == []
    assert faults_of(regression_bank([[1, 2.5, np.nan]], [1, 2, 3])) == []
    assert faults_of(bank_of(truth=None)) == []


def changed(**other: Any) -> Bank:
    return bank_of(**other)


BROKEN = {
    "members twice": (changed(members="aa"), "duplicate-member", "'a' stands twice"),
    "ids twice": (changed(ids="rr"), "rows-differ", "'r' stands twice"),
    "ids no texts": (replace(bank_of(), ids=(1, 2, 3, 4, 5, 6)), "rows-differ", "found 1"),  # type: ignore[arg-type]
    "classes twice": (changed(classes=(1, True, "z")), "bad-bank", "1 stands twice"),
    "class no label": (changed(classes=("x", "y", None)), "bad-bank", "found None"),
    "class not finite": (changed(classes=("x", "y", float("nan"))), "bad-bank", "found nan"),
    "shape of P": (replace(bank_of(), P=np.zeros((2, 5, 3))), "bad-bank", "shape [2, 6, 3]; found [2, 5, 3]"),
    "dtype of P": (replace(bank_of(), P=np.zeros((2, 6, 3), int)), "bad-bank", "floating-point numbers; found int64"),
    "mask": (replace(bank_of(), mask=np.ones((2, 6))), "bad-bank", "truth values; found float64"),
    "truth short": (replace(bank_of(), truth=np.zeros(5, int)), "bad-bank", "shape [6]; found [5]"),
    "truth beyond": (replace(bank_of(), truth=np.array([0, 1, 2, 3, 0, -1])), "bad-data", "row 'u' is 3 (2 such rows)"),
    "provenance": (replace(bank_of(), provenance=("hold-out",)), "bad-bank", "for each of 2 members; found 1"),
    "provenance word": (
        replace(bank_of(), provenance=("hold-out", "seen")),  # type: ignore[arg-type]
        "bad-bank",
        "of 'b' must be one of out-of-fold, hold-out, in-sample; found 'seen'",
    ),
    "embeddings of nobody": (replace(bank_of(), embeddings={"c": np.zeros((6, 2))}), "unknown-member", "'c'"),
    "features": (replace(bank_of(), features=np.zeros((5, 2))), "bad-bank", "shape [6, any]; found [5, 2]"),
    "regression with classes": (
        replace(regression_bank([[1.0]], [1]), classes=("x",)),
        "bad-bank",
        "a regression has no classes",
    ),
    "truth not finite": (regression_bank([[1.0, 2]], [1, np.inf]), "bad-data", "must be finite"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_told(name: str) -> None:
    bank, code, words = BROKEN[name]
    found = faults_of(bank)
    assert [c for c, _ in found] == [code]
    assert words in found[0][1]


def test_entries_must_be_probabilities_where_the_mask_says_a_value() -> None:
    bank = bank_of()
    bank.P[0, 1, 0] = np.nan
    bank.P[1, 2] = [1.5, -0.5, 0]
    bank.P[1, 3] = [0.5, 0.5, 0.1]
    assert faults_of(bank) == [
        ("bad-output", faults_of(bank)[0][1]),
        ("bad-output", "what 'b' says must be 0 or more and sum to 1; row 't' is [1.5, -0.5, 0.0] (2 such rows)"),
    ]
    assert "must be finite where its mask says that it answered; row 's'" in faults_of(bank)[0][1]
    scores = replace(bank, probable=(True, False))
    assert [code for code, _ in faults_of(scores)] == ["bad-output"]  # the scores of b are none


def test_all_faults_are_told_at_once() -> None:
    bank = replace(bank_of(members="aa"), truth=np.zeros(2, int), features=np.zeros(3))
    assert [code for code, _ in faults_of(bank)] == ["duplicate-member", "bad-bank", "bad-bank"]


def test_answers_are_of_the_rows_that_are_there() -> None:
    bank = unmasked(bank_of(classes=(3, 5, 9)), 1, 2)
    found = bank.answers("b")
    assert found.kind == "classification"
    assert found.ids == ("r", "s", "u", "v", "w")
    assert found.classes == ("3", "5", "9")
    assert bank.truth is not None
    hits = [bank.P[1, n].argmax() == bank.truth[n] for n in (0, 1, 3, 4, 5)]
    assert score_of(found, "accuracy").value == pytest.approx(np.mean(hits))


def test_answers_of_a_regression() -> None:
    found = regression_bank([[1, 2, np.nan]], [1, 4, 3]).answers("a")
    assert score_of(found, "mae").value == 1
    assert found.ids == ("0", "1")


def refused(bank: Bank, member: str) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        bank.answers(member)
    return caught.value.code, str(caught.value)


def test_answers_that_cannot_be() -> None:
    assert refused(bank_of(), "c")[0] == "unknown-member"
    assert refused(bank_of(truth=None), "a")[0] == "missing-label"
    assert refused(bank_of(probable=(False, True)), "a") == (
        "wrong-member",
        "metrics are of probabilities; 'a' gives scores",
    )
    silent = bank_of(mask=np.zeros((2, 6), bool))
    assert refused(silent, "a")[0] == "no-member"


def test_class_names_stay_apart() -> None:
    assert class_names([1, "1", True]) == ("1", "'1'", "True")


def test_classes_seen() -> None:
    assert bank_of(truth=np.array([2, 0, 0, 2, 2, 0])).classes_seen == ("x", "z")


def test_covered_leaves_rows_without_anybody_out() -> None:
    bank = unmasked(unmasked(bank_of(), 0, 1), 1, 1)
    assert bank.covered().ids == ("r", "t", "u", "v", "w")
    whole = unmasked(bank_of(), 0, 1)
    assert whole.covered() is whole


def test_members_are_joined_by_the_ids_of_rows() -> None:
    bank = bank_of("ab")
    more = unmasked(replace(bank_of("c", seed=1), truth=bank.truth, notes=("n",)), 0, 3)
    turned = more.rows([5, 4, 3, 2, 1, 0])
    joined = bank.with_members(turned)
    assert joined.members == ("a", "b", "c")
    assert joined.ids == bank.ids
    np.testing.assert_array_equal(joined.P[2], more.P[0])
    np.testing.assert_array_equal(joined.mask[2], more.mask[0])
    assert joined.provenance == ("hold-out",) * 3
    assert joined.notes == ("n",)
    assert bank_faults(joined) == []


def test_members_are_joined_by_the_names_of_classes() -> None:
    bank = bank_of("a", classes=("x", "y", "z"))
    other = bank_of("b", classes=("z", "x", "y"), seed=2)
    other = replace(other, truth=np.array([("z", "x", "y").index("xyz"[t]) for t in bank._known_truth()]))
    joined = bank.with_members(other)
    np.testing.assert_array_equal(joined.P[1][:, 0], other.P[0][:, 1])
    np.testing.assert_array_equal(joined.P[1][:, 2], other.P[0][:, 0])


def test_one_truth_is_enough_and_two_must_agree() -> None:
    bank = bank_of("a")
    assert bank.with_members(bank_of("b", truth=None)).truth is bank.truth
    known = bank_of("a", truth=None).with_members(bank_of("b").rows([2, 1, 0, 5, 4, 3]))
    np.testing.assert_array_equal(known.truth, bank_of("b").truth)
    other = bank._known_truth().copy()
    other[4] = (other[4] + 1) % 3
    with pytest.raises(InputError, match=r"same right answers; 1 differ \(rows 'v'\)") as caught:
        bank.with_members(bank_of("b", truth=other))
    assert caught.value.code == "rows-differ"


def test_rows_that_differ_are_named() -> None:
    with pytest.raises(InputError) as caught:
        bank_of("a", "rstuvw").with_members(bank_of("b", "rstuxy"))
    assert caught.value.code == "rows-differ"
    assert "2 lacking ('v', 'w') and 2 foreign ('x', 'y')" in str(caught.value)


def test_all_that_keeps_members_apart_is_told() -> None:
    with pytest.raises(InputError) as caught:
        bank_of("ab", "rs").with_members(bank_of("bc", "rt", ("x", "q")))
    assert caught.value.codes == ("class-mismatch", "rows-differ", "duplicate-member")
    assert "the other lacks 'y', 'z'; has besides 'q'" in str(caught.value)
    with pytest.raises(InputError, match="classification, the other of regression"):
        bank_of("b", "0").with_members(regression_bank([[1.0]], [1]))


def test_a_broken_bank_is_not_joined() -> None:
    with pytest.raises(InputError, match="ids of rows must differ"):
        bank_of("a", "rr").with_members(bank_of("b", "rs"))


def test_rows_are_appended_with_members_in_any_order() -> None:
    bank = bank_of("ab", "rst")
    more = bank_of("ba", "uv", ("y", "x", "z"), seed=3)
    joined = bank.with_rows(more)
    assert joined.ids == tuple("rstuv")
    np.testing.assert_array_equal(joined.P[0, 3:], more.P[1][:, [1, 0, 2]])
    assert [joined.classes[t] for t in joined._known_truth()[3:]] == [more.classes[t] for t in more._known_truth()]
    assert bank_faults(joined) == []


def test_rows_that_are_there_already_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        bank_of("ab", "rst").with_rows(bank_of("ab", "tuv"))
    assert (caught.value.code, "1 are there already ('t')" in str(caught.value)) == ("rows-differ", True)


def test_rows_need_the_same_members_and_parts() -> None:
    with pytest.raises(InputError) as caught:
        bank_of("ab", "rst").with_rows(bank_of("bc", "uvw"))
    assert caught.value.codes == ("unknown-member", "unknown-member")
    with pytest.raises(InputError) as caught:
        bank_of("a", "rs", features=np.zeros((2, 3))).with_rows(bank_of("a", "tu", truth=None))
    assert caught.value.codes == ("missing-label", "bad-bank")


def test_the_less_independent_provenance_counts() -> None:
    joined = bank_of("a", "rs").with_rows(bank_of("a", "tu", provenance=("in-sample",)))
    assert joined.provenance == ("in-sample",)
    assert joined.notes == ("a: 2 rows are hold-out, 2 more in-sample; all count as in-sample",)


def test_embeddings_and_features_go_along() -> None:
    first = bank_of("ab", "rs", embeddings={"b": np.ones((2, 4))}, features=np.zeros((2, 3)))
    second = bank_of("ab", "tu", embeddings={"b": np.zeros((2, 4))}, features=np.ones((2, 3)))
    joined = first.with_rows(second)
    assert joined.embeddings["b"].tolist() == [[1] * 4, [1] * 4, [0] * 4, [0] * 4]
    assert joined.features is not None
    assert joined.features[:, 0].tolist() == [0, 0, 1, 1]
    assert set(joined.without(["b"]).embeddings) == set()


def test_without() -> None:
    assert bank_of("abc").without(["b"]).members == ("a", "c")
    with pytest.raises(InputError) as caught:
        bank_of("abc").without(["b", "bb"])
    assert caught.value.code == "unknown-member"
    with pytest.raises(InputError, match="must keep a member") as caught:
        bank_of("ab").without(["a", "b"])
    assert caught.value.code == "no-member"


def test_truth_is_given_by_place_by_id_or_by_mapping() -> None:
    bank = bank_of("a", "rst", truth=None)
    assert bank.with_truth(["z", "x", "y"])._known_truth().tolist() == [2, 0, 1]
    assert bank.with_truth(["z", "x", "y"], ids=["t", "r", "s"])._known_truth().tolist() == [0, 1, 2]
    assert bank.with_truth({"t": "z", "r": "x", "s": "y"})._known_truth().tolist() == [0, 1, 2]
    assert bank.with_truth(np.array(["x", "x", "z"]), row_hash=bank.row_hash)._known_truth().tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"y": ["x", "y"]}, "for each of 3 rows; found the shape [2]"),
        ({"y": ["x", "y", "z"], "ids": "rsu"}, "1 lacking ('t') and 1 foreign ('u')"),
        ({"y": ["x", "y", "z", "z"], "ids": "rsts"}, "'s' stands twice"),
        ({"y": ["x", "y", "z"], "row_hash": "0" * 64}, "of the rows of the bank"),
    ],
)
def test_a_truth_of_other_rows_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        bank_of("a", "rst", truth=None).with_truth(**given)
    assert caught.value.code == "rows-differ"
    assert words in str(caught.value)


def test_labels_of_several_types_stay_what_they_are() -> None:
    bank = bank_of("a", "rst", classes=("1", 2, 2.5), truth=None)
    assert bank.with_truth([2.5, "1", 2])._known_truth().tolist() == [2, 0, 1]
    with pytest.raises(InputError, match="a right answer is 1, which is no class"):
        bank.with_truth([1, "1", 2])


def test_the_row_hash_knows_order_and_borders() -> None:
    hashes = {bank_of(ids=ids).row_hash for ids in ("rs", "sr", "r")}
    hashes |= {replace(bank_of(ids="rs"), ids=ids).row_hash for ids in (("rs", ""), ("", "rs"), ("\udc80", "s"))}
    assert len(hashes) == 6


NAMED = pd.DataFrame({"x": [0.0, 1.0, 2.0]}, index=["r", "s", "t"])
COUNTED = NAMED.reset_index(drop=True)
SAYS = Member.callable(lambda X: np.full((len(X), 2), 0.5), name="m", classes=["n", "y"])


@pytest.mark.parametrize(
    ("X", "index", "words"),
    [
        (NAMED, ["t", "s", "r"], "in the order of the rows; their index has 't' where the rows' has 'r'"),
        (NAMED, ["r", "s", "u"], "of the rows; their index has 'u'"),
        (COUNTED, [2, 1, 0], "in the order of the rows"),
    ],
)
def test_right_answers_in_another_order_than_the_data_frame_are_refused(X, index, words) -> None:
    """scikit-learn takes them by place, without a word: every row would have the answer of another."""
    right = pd.Series(["n", "y", "y"], index=index)
    for work in (
        lambda: gather([SAYS], rows_of(X), ["n", "y"], "classification", truth=right),
        lambda: cross_fit([SAYS], X, right, held_out=["m"], cv=2, fewest=0),
    ):
        with pytest.raises(InputError, match=words) as caught:
            work()
        assert caught.value.code == "rows-differ"


@pytest.mark.parametrize(
    ("X", "index"),
    [
        (NAMED, ["r", "s", "t"]),
        (NAMED, [0, 1, 2]),
        (COUNTED, [0, 1, 2]),
        (COUNTED, ["r", "s", "t"]),
        (COUNTED, [7, 7, 8]),
        (NAMED.to_numpy(), [2, 1, 0]),
    ],
)
def test_an_index_that_says_nothing_against_it_is_taken_by_place(X, index) -> None:
    right = pd.Series(["n", "y", "y"], index=index)
    assert gather([SAYS], rows_of(X), ["n", "y"], "classification", truth=right).truth.tolist() == [0, 1, 1]
