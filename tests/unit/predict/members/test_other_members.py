"""Functions, merges and other ensembles as members."""

from __future__ import annotations

import json

import numpy as np
import pytest

import cuvee
from cuvee.errors import InputError, RecipeError, UsageError
from cuvee.families import pretrained
from cuvee.predict import Ensemble, Member, rows_of
from cuvee.predict.answers import ask
from cuvee.predict.members.recipe import recipe_of
from cuvee.recipe import to_yaml
from tests.support import classifiers as made
from tests.support.members import ABC, doing, drawn, saying

CLASSES = tuple(made.NAMES.values())
TEXTS = list(made.TEXTS)


@pytest.fixture(scope="module")
def cellar(tmp_path_factory):
    """Two fine-tunes, a recipe of them, and the merge that was written."""
    root = tmp_path_factory.mktemp("cellar")
    for seed, name in enumerate("ab"):
        pretrained.save(made.bert(seed), root / name)
        made.tokenizer().save_pretrained(str(root / name))
    models = [{"model": str(root / name), "parameters": {"weight": 1 + 2 * (name == "b")}} for name in "ab"]
    recipe = {"merge_method": "linear", "models": models}
    cuvee.merge(recipe, root / "out")
    return root, recipe


def test_a_virtual_recipe_answers_as_the_merge_that_was_written(cellar) -> None:
    root, recipe = cellar
    before = sorted(root.rglob("*"))
    virtual = Member.recipe(recipe, name="soup", embed=True)
    assert sorted(root.rglob("*")) == before, "nothing is written"
    written = Member.recipe(root / "out")
    found = ask(virtual, rows_of(TEXTS), CLASSES, "classification").P
    np.testing.assert_array_equal(found, ask(written, rows_of(TEXTS), CLASSES, "classification").P)
    alone = ask(Member.transformers(root / "a"), rows_of(TEXTS), CLASSES, "classification").P
    assert np.abs(found - alone).max() > 1e-3, "it is no parent"
    assert (virtual.kind, written.kind, virtual.name, written.name) == ("recipe", "recipe", "soup", "out")
    assert recipe_of(json.loads(json.dumps(dict(virtual.settings["recipe"])))) == recipe_of(recipe)
    assert written.settings["folder"] == str(root / "out")


def test_a_recipe_in_its_file(cellar) -> None:
    root, recipe = cellar
    (root / "soup.yml").write_text(to_yaml(recipe_of({**recipe, "name": "reds"})))
    member = Member.recipe(root / "soup.yml")
    assert member.name == "reds"
    np.testing.assert_array_equal(member.ask(TEXTS), Member.recipe(recipe).ask(TEXTS))


@pytest.mark.parametrize(
    ("recipe", "error", "code"),
    [
        ({"merge_method": "linaer", "models": [{"model": "x"}]}, RecipeError, "unknown-method"),
        ("none.yml", RecipeError, "recipe-missing"),
        (3, UsageError, "bad-argument"),
        (
            {"merge_method": "linear", "models": [{"model": "./none", "parameters": {"weight": 1}}]},
            InputError,
            "model-missing",
        ),
    ],
)
def test_recipes_that_cannot_be_members(recipe, error, code) -> None:
    with pytest.raises(error) as caught:
        Member.recipe(recipe)
    assert caught.value.code == code


def test_an_ensemble_nests_and_answers_as_it_stands() -> None:
    inner = Ensemble(classes=ABC)
    P, Q = drawn(4, 3, 1), drawn(4, 3, 2)
    inner.add(saying(P, name="p"))
    member = Member.ensemble(inner, name="inner")
    rows = rows_of(np.zeros((4, 1)))
    np.testing.assert_allclose(ask(member, rows, ("c", "b", "a"), "classification").P, P[:, ::-1], atol=1e-15)
    inner.add(saying(Q, name="q"))
    np.testing.assert_allclose(ask(member, rows, ABC, "classification").P, (P + Q) / 2, atol=1e-15)
    outer = Ensemble(classes=ABC)
    outer.add(member)
    outer.add(saying(P, name="p"))
    np.testing.assert_allclose(outer.predict_proba(np.zeros((4, 1))), (P + (P + Q) / 2) / 2, atol=1e-15)


def test_an_ensemble_of_a_regression_gives_values() -> None:
    inner = Ensemble(task="regression")
    inner.add(saying([1.0, 2.0], ()))
    member = Member.ensemble(inner)
    assert ask(member, rows_of([0, 0]), (), "regression").P.tolist() == [[1.0], [2.0]]


def test_what_is_no_ensemble() -> None:
    with pytest.raises(InputError, match="int has no task") as caught:
        Member.ensemble(3)
    assert caught.value.code == "wrong-member"


def module_level(X):
    return np.full((len(X), 3), 1 / 3)


def test_functions() -> None:
    member = Member.callable(module_level, classes=ABC)
    assert (member.name, member.output, member.kind) == ("module_level", "probabilities", "callable")
    assert member.refit is None
    assert Member.callable(np.exp).output == "values"
    assert Member.callable(np.exp).settings == {"import": "numpy:exp"}
    assert doing(lambda X: X).settings == {}, "what is made on the spot cannot be imported again"
    with pytest.raises(UsageError, match="can be called; found int"):
        Member.callable(3)


def test_functions_that_can_be_trained() -> None:
    def train(X, y):
        share = [np.mean(np.asarray(y) == label) for label in ABC]
        return lambda rows: np.tile(share, (len(rows), 1))

    member = doing(train([0] * 4, list("abca")), refit=train, name="prior")
    assert member.refit is not None
    fresh = member.refit([0] * 2, ["a", "b"])
    assert fresh.ask([0]).tolist() == [[0.5, 0.5, 0.0]]
    assert (fresh.name, fresh.classes) == ("prior", ABC)
    assert fresh.refit is not None
