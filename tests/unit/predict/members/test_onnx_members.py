"""ONNX files as members: written by skl2onnx from real estimators, answering as those do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import scipy.sparse
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from cuvee.errors import InputError, UsageError
from cuvee.predict import Member, measure, rows_of, stamp_onnx
from cuvee.predict.answers import ask
from tests.support.members import ABC

X = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
NUMBERS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
Y = np.array(ABC)[NUMBERS]
ROWS = rows_of(X)
PLAIN = LogisticRegression().fit(X, Y)


def written(folder: Path, model, zipmap: bool | None = False, types=None, name: str = "model") -> Path:
    options = {} if zipmap is None else {"options": {id(model): {"zipmap": zipmap}}}
    first = {"X": X[:1]} if types is None else {"initial_types": types}
    path = folder / f"{name}.onnx"
    path.write_bytes(skl2onnx.to_onnx(model, **first, **options).SerializeToString())
    return path


def predicted(member: Member, rows=ROWS, classes=ABC):
    return ask(member, rows, classes, "classification").P


@pytest.mark.parametrize("zipmap", [False, True], ids=["tensor", "maps"])
@pytest.mark.parametrize("labels", [Y, NUMBERS], ids=["named", "numbered"])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(4, random_state=0),
        GradientBoostingClassifier(n_estimators=3),
        StackingClassifier([("lr", LogisticRegression()), ("rf", RandomForestClassifier(2, random_state=0))], cv=2),
        CalibratedClassifierCV(LinearSVC(), ensemble=False, cv=2),
    ],
    ids=["lr", "rf", "gb", "stack", "svc"],
)
def test_it_answers_as_the_estimator_does(tmp_path, model, labels, zipmap) -> None:
    model.fit(X, labels)
    found = predicted(Member.onnx(written(tmp_path, model, zipmap), classes=ABC))
    assert np.abs(found - model.predict_proba(X)).max() < 1e-6


def test_classes_must_be_known_and_can_be_written_into_the_file(tmp_path) -> None:
    path = written(tmp_path, PLAIN)
    with pytest.raises(UsageError, match="does not say its classes") as caught:
        Member.onnx(path)
    assert "stamp_onnx" in str(caught.value)
    before = predicted(Member.onnx(path, classes=ABC))
    stamp_onnx(path, np.array(ABC), output="probabilities")
    member = Member.onnx(path)
    assert (member.classes, member.output) == (ABC, "probabilities")
    np.testing.assert_array_equal(predicted(member), before)
    onnx.checker.check_model(onnx.load(path))
    assert [entry.key for entry in onnx.load(path).metadata_props] == ["cuvee.member"]
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    with pytest.raises(UsageError, match="says its classes already"):
        stamp_onnx(path, ABC)


def test_a_long_stamp_is_read_back(tmp_path) -> None:
    """Its length needs two bytes of a variable integer, and more."""
    path = written(tmp_path, Ridge().fit(X, X[:, 0]), None)
    names = [f"class number {i:04d} é" for i in range(1500)]
    stamp_onnx(path, names, output="logits")
    (entry,) = onnx.load(path).metadata_props
    assert len(entry.value.encode()) > 1 << 14
    assert json.loads(entry.value) == {"classes": names, "output": "logits"}
    assert Member.onnx(path, output="values", classes=()).task == "regression"


def test_a_wrong_order_of_classes_is_seen_by_the_labels_of_the_file(tmp_path) -> None:
    member = Member.onnx(written(tmp_path, PLAIN), classes=("b", "a", "c"), name="m")
    with pytest.raises(
        InputError, match="'m': `classes` should be in the order of the columns: column 1 is 'b'"
    ) as caught:
        predicted(member)
    assert caught.value.code == "class-mismatch"


def test_maps_are_read_by_name_whatever_the_order_of_classes(tmp_path) -> None:
    found = predicted(Member.onnx(written(tmp_path, PLAIN, True), classes=("b", "a", "c")))
    assert np.abs(found - PLAIN.predict_proba(X)).max() < 1e-6
    with pytest.raises(InputError, match="has the classes 'a', 'b', 'c'; `classes` are 'a', 'b', 'z'"):
        predicted(Member.onnx(written(tmp_path, PLAIN, True), classes=("a", "b", "z")), classes=("a", "b", "z"))


@pytest.mark.parametrize("labels", [Y, NUMBERS], ids=["named", "numbered"])
def test_labels(tmp_path, labels) -> None:
    model = LogisticRegression().fit(X, labels)
    member = Member.onnx(written(tmp_path, model), classes=ABC, output="labels", output_name="label")
    np.testing.assert_array_equal(predicted(member).argmax(axis=1), PLAIN.predict_proba(X).argmax(axis=1))


def test_regressions_give_values(tmp_path) -> None:
    model = Ridge().fit(X, X[:, 0])
    found = ask(Member.onnx(written(tmp_path, model, None)), ROWS, (), "regression").P
    np.testing.assert_allclose(found[:, 0], model.predict(X), atol=1e-6)


def test_columns_go_to_inputs_by_name(tmp_path) -> None:
    frame = pd.DataFrame({"year": X[:, 0], "colour": np.where(X[:, 1] > 0, "red", "white")})
    columns = ColumnTransformer([("year", StandardScaler(), ["year"]), ("colour", OneHotEncoder(), ["colour"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, Y)
    types = [("year", FloatTensorType([None, 1])), ("colour", StringTensorType([None, 1]))]
    member = Member.onnx(written(tmp_path, model, types=types), classes=ABC, name="m")
    for rows in (frame[["colour", "year"]], {name: frame[name].tolist() for name in ("colour", "year")}):
        assert np.abs(predicted(member, rows_of(rows)) - model.predict_proba(frame)).max() < 1e-6
    with pytest.raises(InputError, match="'m': the ONNX file reads a column 'colour'") as caught:
        predicted(member, rows_of(frame[["year"]]))
    assert caught.value.code == "bad-data"
    with pytest.raises(InputError, match="has the inputs year, colour, and the rows no columns"):
        predicted(member)


def test_columns_go_into_one_matrix_in_their_order(tmp_path) -> None:
    member = Member.onnx(written(tmp_path, PLAIN), classes=ABC, reads=tuple("dcba"))
    rows = rows_of({name: X[:, i] for name, i in zip("abcd", (3, 2, 1, 0))})
    np.testing.assert_array_equal(
        predicted(member, rows), predicted(Member.onnx(written(tmp_path, PLAIN), classes=ABC))
    )


@pytest.mark.parametrize("form", [lambda x: x.astype(np.float64), lambda x: scipy.sparse.csr_matrix(x)], ids=range(2))
def test_numbers_are_cast_to_what_the_file_reads_which_is_said(tmp_path, form) -> None:
    member = Member.onnx(written(tmp_path, PLAIN), classes=ABC)
    assert "reads float numbers: those of rows are rounded to it" in member.notes[0]
    np.testing.assert_array_equal(predicted(member, rows_of(form(X))), predicted(member))


@pytest.mark.parametrize(
    ("types", "value"), [([("X", Int64TensorType([None, 4]))], 0.5), ([("X", FloatTensorType([None, 4]))], 1e300)]
)
def test_numbers_that_the_input_cannot_hold_are_refused(tmp_path, types, value) -> None:
    model = LogisticRegression().fit(X.astype(np.int64), Y)
    member = Member.onnx(written(tmp_path, model, types=types), classes=ABC, name="m")
    assert predicted(member, rows_of(np.ones((2, 4)))).shape == (2, 3)
    with pytest.raises(
        InputError, match=r"'m': the input 'X' of the ONNX file is .*, which cannot hold some"
    ) as caught:
        predicted(member, rows_of(np.full((2, 4), value)))
    assert caught.value.code == "bad-data"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"classes": ("a", "b")}, "the output 'probabilities' of 'model' has 3 columns; `classes` are 'a', 'b'"),
        ({"classes": ABC, "output_name": "zz"}, "has the outputs label, probabilities; `output_name` is 'zz'"),
        ({"classes": ABC, "output": "probs"}, "`output` of 'model' should be one of"),
    ],
)
def test_arguments_that_do_not_fit_the_file(tmp_path, more, words) -> None:
    with pytest.raises(UsageError, match=words):
        Member.onnx(written(tmp_path, PLAIN), **more)


def test_what_is_no_onnx_file(tmp_path) -> None:
    with pytest.raises(InputError, match="there is no file") as caught:
        Member.onnx(tmp_path / "none.onnx")
    assert caught.value.code == "model-missing"
    (tmp_path / "bad.onnx").write_bytes(b"\x08\xff\xffhello")
    with pytest.raises(InputError, match=r"bad\.onnx cannot be read as an ONNX file") as caught:
        Member.onnx(tmp_path / "bad.onnx")
    assert caught.value.code == "not-a-checkpoint"


def test_a_stamp_that_somebody_spoilt_says_nothing(tmp_path) -> None:
    path = written(tmp_path, PLAIN)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"cuvee.member": "{not json"})
    onnx.save(model, path)
    with pytest.raises(UsageError, match="does not say its classes"):
        Member.onnx(path)


def test_cost_of_a_file(tmp_path) -> None:
    path = written(tmp_path, PLAIN)
    cost = measure(Member.onnx(path, classes=ABC, threads=1), X, batch=16).cost
    assert cost is not None
    assert (cost.nbytes, cost.threads, cost.batch) == (path.stat().st_size, 1, 16)
    assert cost.memory is not None
    assert cost.us_per_row > 0


def graph(folder: Path, *outputs: str, kind: int = onnx.TensorProto.DOUBLE) -> Path:
    """A file of one product by (1, 2, 3), as many outputs of it as are named."""
    weights = onnx.helper.make_tensor("W", kind, [1, 3], [1.0, 2.0, 3.0])
    nodes = [onnx.helper.make_node("MatMul", ["x", "W"], [name]) for name in outputs]
    made = onnx.helper.make_graph(
        nodes,
        "product",
        [onnx.helper.make_tensor_value_info("x", kind, [None, 1])],
        [onnx.helper.make_tensor_value_info(name, kind, [None, 3]) for name in outputs],
        [weights],
    )
    path = folder / "graph.onnx"
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_logits_by_the_name_of_the_output(tmp_path) -> None:
    member = Member.onnx(graph(tmp_path, "hidden", "logits"), classes=ABC)
    assert (member.output, member.settings["output_name"], member.notes) == ("logits", "logits", ())
    found = predicted(member, rows_of({"x": [0.5, -1.0]}))
    z = np.outer([0.5, -1.0], [1, 2, 3])
    np.testing.assert_allclose(found, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), atol=1e-15)


def test_logits_that_are_not_called_so_are_not_taken_for_probabilities(tmp_path) -> None:
    path = graph(tmp_path, "y")
    with pytest.raises(InputError, match='say so: `output="logits"`') as caught:
        predicted(Member.onnx(path, classes=ABC), rows_of(np.ones((2, 1))))
    assert caught.value.code == "bad-output"
    assert predicted(Member.onnx(path, classes=ABC, output="logits"), rows_of(np.ones((2, 1)))).shape == (2, 3)


def test_of_several_outputs_without_known_names_one_must_be_named(tmp_path) -> None:
    path = graph(tmp_path, "y", "z")
    with pytest.raises(UsageError, match="has several outputs: y, z") as caught:
        Member.onnx(path, classes=ABC)
    assert "give `output_name`" in str(caught.value)
    assert Member.onnx(path, classes=ABC, output_name="z", output="scores").output == "scores"
    rows = rows_of(np.ones((2, 1)))
    found = ask(Member.onnx(path, output_name="z", output="embeddings"), rows, ABC, "classification").embeddings
    assert found is not None
    assert found.tolist() == [[1.0, 2.0, 3.0]] * 2
