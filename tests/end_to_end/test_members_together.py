"""Members of every kind on one table of texts, numbers, pictures and sounds, some of which are lacking."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import skl2onnx
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from cuvee.combine import weighted_mean
from cuvee.errors import InputError
from cuvee.families import pretrained
from cuvee.predict import Ensemble, Greedy, Member, Stack, rows_of
from cuvee.predict.answers import ask_all
from tests.support import classifiers as made

CLASSES = ("corked", "dry", "sweet")


def table() -> pd.DataFrame:
    columns = {
        "text": ["oak and wine", None, "sweet wine", "a cold cellar"],
        "alcohol": [11.0, 12.5, 9.0, 13.0],
        "sugar": [2.0, 3.0, 60.0, 1.0],
        "label": [*made.pictures(3), None],
        "sound": [None, *made.sounds(400, 700), None],
    }
    return pd.DataFrame(columns, index=["w1", "w2", "w3", "w4"])


def members(folder) -> list[Member]:
    rng = np.random.default_rng(0)
    numbers = rng.normal((11, 20), (2, 10), (60, 2)).astype(np.float32)
    kinds = np.array(CLASSES)[rng.integers(3, size=60)]
    words = make_pipeline(TfidfVectorizer(), LogisticRegression())
    words.fit([f"{kind} wine" for kind in kinds], kinds)
    two = LogisticRegression().fit(numbers, kinds != "dry")
    fast = folder / "fast.onnx"
    fast.write_bytes(skl2onnx.to_onnx(two, numbers[:1], options={id(two): {"zipmap": False}}).SerializeToString())
    for seed, name in enumerate("ab"):
        pretrained.save(made.bert(seed), folder / name)
        made.tokenizer().save_pretrained(str(folder / name))
    soup = {
        "merge_method": "linear",
        "models": [{"model": str(folder / name), "parameters": {"weight": 1}} for name in "ab"],
    }
    return [
        Member.sklearn(words, name="words", reads="text"),
        Member.onnx(fast, classes=("dry", "sweet"), missing="mask", reads=("alcohol", "sugar")),
        Member.recipe(soup, name="soup", reads="text"),
        Member.transformers(*made.vit(), name="pictures", reads="label"),
        Member.transformers(*made.ast(), name="sounds", reads="sound"),
        Member.callable(
            lambda X: ["dry"] * len(X["sugar"]), name="rule", classes=("dry",), output="labels", missing="zero"
        ),
    ]


def test_members_of_every_kind_answer_on_one_table(tmp_path) -> None:
    some, rows = members(tmp_path), table()
    made_of = ask_all(some, rows_of(rows), CLASSES, "classification")
    assert made_of.mask.astype(int).tolist() == [
        [1, 0, 1, 1],
        [1, 1, 1, 1],
        [1, 0, 1, 1],
        [1, 1, 1, 0],
        [0, 1, 1, 0],
        [1, 1, 1, 1],
    ]
    sums = made_of.P.sum(axis=2)
    np.testing.assert_allclose(sums[made_of.mask], 1.0, atol=1e-9)
    assert np.isnan(sums[~made_of.mask]).all()
    corked = made_of.P[[0, 2], 3, 0].mean()
    assert made_of.P[1, 3, 0] == corked, "of a class that it does not know, it says what the others do"
    pooled = weighted_mean(made_of.P, made_of.mask)
    np.testing.assert_allclose(pooled.sum(axis=1), 1.0, atol=1e-9)
    alone = ask_all(some, rows_of(rows.iloc[[2]]), CLASSES, "classification")
    np.testing.assert_allclose(alone.P[:, 0], made_of.P[:, 2], atol=2e-6)


def scenes(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows whose text tells dry ones, whose picture sweet ones, and whose sound corked ones; some lack one of them."""
    draw = np.random.default_rng(seed)
    right = np.arange(n) % 3
    texts = ["oak and wine" if kind == 0 else "a cold cellar" for kind in right]
    bright = draw.integers(0, 60, (n, 16, 16, 3)) + np.where(right == 1, 190, 0)[:, None, None, None]
    time = np.arange(500) / 16000
    waves = [np.sin(2 * np.pi * (4000 if kind == 2 else 500) * time + draw.uniform(0, 6)) for kind in right]
    columns = {
        "text": texts,
        "label": list(bright.astype(np.uint8)),
        "sound": [(0.5 * wave + draw.normal(0, 0.02, 500)).astype(np.float32) for wave in waves],
    }
    for at, name in enumerate(columns):  # any two of the three are enough
        columns[name] = [None if row % 12 == 3 + 2 * at else value for row, value in enumerate(columns[name])]
    return pd.DataFrame(columns), np.array(["dry", "sweet", "corked"])[right]


def test_texts_pictures_and_sounds_together_tell_what_none_tells_alone() -> None:
    ens = Ensemble(classes=CLASSES)
    for name, column, parts in (
        ("words", "text", (made.bert(), made.tokenizer())),
        ("pictures", "label", made.vit()),
        ("sounds", "sound", made.ast()),
    ):
        ens.add(Member.transformers(*parts, name=name, reads=column, embed=True))
    (known, right), (new, answers) = scenes(48, 0), scenes(24, 1)
    bank = ens.predictions(known, right, embed=["words", "pictures", "sounds"])
    assert (bank.mask == known[["text", "label", "sound"]].notna().to_numpy().T).all()
    for name in bank.members:
        alone = Ensemble(classes=CLASSES)
        alone.add(next(one for one in ens.members if one.name == name))
        alone.fit_combiner(Stack(on="embeddings", folds=2, fewest=2), bank.only([name]))
        there = new[alone.members[0].reads].notna().to_numpy()
        assert np.mean(alone.predict(new[there]) == answers[there]) < 0.8, name
    ens.fit_combiner(Stack(on="embeddings", folds=2, fewest=2), bank)
    found = ens.predict_proba(new)
    assert np.mean(np.array(CLASSES)[found.argmax(axis=1)] == answers) >= 0.95
    np.testing.assert_allclose(ens.predict_proba(new.iloc[[3, 20]]), found[[3, 20]], atol=1e-4)
    nothing = pd.DataFrame({"text": [None], "label": [None], "sound": [None]})
    with pytest.raises(InputError, match="every row needs a member") as caught:
        ens.predict(nothing)
    assert caught.value.code == "no-member"


def test_votes_of_texts_pictures_and_sounds_are_of_those_who_are_there() -> None:
    ens = Ensemble(classes=CLASSES)
    ens.add(Member.transformers(made.bert(), made.tokenizer(), name="words", reads="text"))
    ens.add(Member.transformers(*made.vit(), name="pictures", reads="label"))
    ens.add(Member.transformers(*made.ast(), name="sounds", reads="sound"))
    rows, right = scenes(24, 2)
    rows.loc[20, ["text", "label"]] = None
    bank = ens.predictions(rows, right)
    mean = np.nanmean(bank.P, axis=0)
    np.testing.assert_allclose(ens.predict_proba(rows), mean, atol=1e-12)
    np.testing.assert_allclose(mean[20], bank.P[2, 20], atol=1e-12)
    ens.fit_combiner(Greedy(), bank)
    assert ens.answer(rows).asked == ens.state.fitted.used
    np.testing.assert_allclose(ens.predict_proba(rows).sum(axis=1), 1.0)
