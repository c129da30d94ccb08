"""Classes put in place by name; class sets that differ are refused with both, or filled by a declared policy."""

from __future__ import annotations

import numpy as np
import pytest

from cuvee.errors import InputError, UsageError
from cuvee.predict.answers import ask, ask_all
from cuvee.predict.labels import look_alike, named
from cuvee.predict.member import Member
from cuvee.predict.rows import rows_of
from tests.support.members import ABC, drawn, saying

ROWS = rows_of(np.zeros((4, 1)))


def test_columns_go_where_the_ensemble_has_the_class() -> None:
    P = drawn(4, 3)
    found = ask(saying(P, ("c", "a", "b")), ROWS, ABC, "classification")
    np.testing.assert_array_equal(found.P, P[:, [1, 2, 0]])


def test_scikit_learns_voter_averages_by_place_and_we_do_not() -> None:
    """The trap: members of {a, b, c} and {a, c, z} have three columns each, of other classes."""
    P = np.array([[0.1, 0.1, 0.8]])
    with pytest.raises(InputError) as caught:
        ask(saying(P, ("a", "c", "z"), "stranger"), rows_of([0]), ABC, "classification")
    assert caught.value.code == "class-mismatch"
    said = str(caught.value)
    assert "'stranger' has the classes 'a', 'c', 'z'; the ensemble has 'a', 'b', 'c'" in said
    assert "it lacks 'b'" in said
    assert "'z' is none of the ensemble's" in said
    assert "label_map" in said


def test_classes_that_are_only_missing_offer_a_policy() -> None:
    with pytest.raises(InputError, match='missing="zero"`, `"uniform"` or `"mask"') as caught:
        ask(saying(drawn(4, 2), ("a", "b")), ROWS, ABC, "classification")
    assert caught.value.code == "class-mismatch"


def test_a_label_map_renames_and_joins() -> None:
    P = np.array([[0.1, 0.2, 0.3, 0.4]])
    member = saying(P, ("good", "fine", "b", "c"), label_map={"good": "a", "fine": "a"})
    found = ask(member, rows_of([0]), ABC, "classification").P
    np.testing.assert_allclose(found, [[0.1 + 0.2, 0.3, 0.4]], atol=1e-15)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("zero", [0.25, 0.75, 0.0]), ("uniform", [0.25 * 2 / 3, 0.75 * 2 / 3, 1 / 3]), ("mask", [0.25, 0.75, np.nan])],
)
def test_what_is_done_about_classes_that_a_member_lacks(missing, expected) -> None:
    found = ask(saying([[0.25, 0.75]], ("a", "b"), missing=missing), rows_of([0]), ABC, "classification")
    np.testing.assert_allclose(found.P[0], expected, atol=1e-15)
    assert found.known.tolist() == [True, True, False]


def test_masked_classes_get_what_the_others_say() -> None:
    whole = saying([[0.5, 0.3, 0.2]], name="whole")
    zero = saying([[0.5, 0.5]], ("a", "b"), "zero", missing="zero")
    scores = saying([[5.0, 1.0, 9.0]], name="scores", output="scores")
    part = saying([[0.6, 0.4]], ("a", "b"), "part", missing="mask")
    found = ask_all([whole, zero, scores, part], rows_of([0]), ABC, "classification")
    np.testing.assert_allclose(found.P[3, 0], [0.48, 0.32, 0.2], atol=1e-15)
    assert found.P[1, 0].tolist() == [0.5, 0.5, 0.0], "a zero by policy is no word on the class"
    assert found.probable == (True, True, False, True)


def test_extra_classes_are_refused_whatever_the_policy() -> None:
    with pytest.raises(InputError, match="'z' is none of the ensemble's"):
        ask(saying(drawn(4, 2), ("a", "z"), missing="zero"), ROWS, ABC, "classification")


@pytest.mark.parametrize(
    ("own", "classes", "hint"),
    [
        (("1", "2"), (1, 2), "only their types differ: give `label_map={'1': 1, '2': 2}`"),
        ((1, 2), ("1", "2"), "only their types differ"),
        (("LABEL_0", "LABEL_1"), ("no", "yes"), "transformers calls classes so that nobody named: give `classes`"),
        ((0, 1), ("no", "yes"), "it numbers its classes: give `classes`"),
        (("nope", "yess"), ("no", "yes"), "did you mean `no`"),
    ],
)
def test_hints(own, classes, hint) -> None:
    with pytest.raises(InputError) as caught:
        ask(saying(drawn(4, 2), own), ROWS, classes, "classification")
    assert hint in str(caught.value)


def test_numpys_scalars_are_the_values_that_they_hold() -> None:
    member = saying(drawn(4, 2), (np.int64(3), np.str_("x")))
    assert member.classes == (3, "x")
    assert [type(label) for label in member.classes] == [int, str]
    assert ask(member, ROWS, (np.int64(3), "x"), "classification").mask.all()
    assert named(np.bool_(True)) is True
    assert look_alike(3, ("3",)) == "3"
    assert look_alike("3", ("4",)) is None


def test_all_members_that_do_not_fit_are_told_at_once_and_none_is_asked() -> None:
    asked = []
    good = Member.callable(lambda X: asked.append(X), name="good", classes=ABC)
    wrong = [saying(drawn(4, 2), ("a", "b"), "two"), saying([1.0] * 4, (), "number")]
    with pytest.raises(InputError) as caught:
        ask_all([good, *wrong], ROWS, ABC, "classification")
    assert caught.value.codes == ("class-mismatch", "wrong-member")
    assert "'number' answers with values, and cannot be one of a classification" in str(caught.value)
    assert not asked


def test_a_classifier_in_a_regression() -> None:
    with pytest.raises(InputError, match="'m' chooses among 3 classes, and cannot be one of a regression") as caught:
        ask(saying(drawn(4, 3)), ROWS, (), "regression")
    assert caught.value.code == "wrong-member"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"classes": ("a", "a")}, "'a' stands twice"),
        ({"classes": ("a", float("nan"))}, "texts or numbers; found nan"),
        ({"label_map": {"A": "a"}}, "speaks of 'A', which is none of its classes"),
        ({"label_map": {1: "a"}, "classes": ("1", "b")}, "its class is '1'"),
        ({"missing": "drop"}, "`missing` of 'm' should be one of error, zero, uniform, mask"),
        ({"output": "probs"}, "`output` of 'm' should be one of probabilities"),
        ({"output": "scores", "missing": "zero"}, "scores cannot be filled up"),
        ({"inverse": np.exp}, "`inverse` is for values"),
        ({"output": "values"}, "gives values, which have no classes"),
        ({"classes": (), "output": "labels"}, "the classes of 'm' must be known"),
        ({"name": " "}, "a member needs a name"),
    ],
)
def test_members_whose_parts_do_not_fit(more, words) -> None:
    with pytest.raises(UsageError, match=words):
        Member.callable(len, **{"name": "m", "classes": ("a", "b"), **more})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Member.callable(len, name="m", classes=("a", "a"), output="probs", missing="drop")
    assert len(caught.value.faults) >= 3
