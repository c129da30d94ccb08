"""Members of every kind on one table of texts, numbers, pictures and sounds, some of which are lacking."""

from __future__ import annotations

import numpy as np
import pandas as pd
import skl2onnx
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from cuvee.combine import weighted_mean
from cuvee.families import pretrained
from cuvee.predict import Member, rows_of
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
