"""The file of an ensemble: what may stand in it, and every fault with its place, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cuvee.errors import RecipeError
from cuvee.predict.combiners import COMBINERS
from cuvee.predict.config import json_schema, read_config, read_member
from cuvee.predict.config.building import combiner_of
from cuvee.predict.config.estimators import ESTIMATORS, made, setting_fault
from tests.support.ensemble_files import CONFIG

BASE = "label: y\nmembers:\n  - {name: a, kind: sklearn, estimator: gaussian-nb}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "ensemble.yml"
    path.write_text(text, "utf-8")
    return path


def faults_of(folder: Path, text: str) -> list[tuple[str, int, str]]:
    with pytest.raises(RecipeError) as caught:
        read_config(written(folder, text))
    return [(one.code, one.place.line, f"{one.message} | {one.hint or ''}") for one in caught.value.faults]


def test_a_configuration_is_read(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, CONFIG))
    assert (config.task, config.label, config.id, config.cv, config.seed) == ("classification", "kind", "tree", None, 0)
    assert [one.name for one in config.members] == ["lr", "nb", "knn"]
    assert config.members[0].settings == {"C": 0.5}
    assert combiner_of(config).settings()["rounds"] == 10
    assert read_config(written(tmp_path, BASE)).combiner.name == "greedy"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("task: classificaton\n", "wrong-value", "did you mean `classification`?"),
        ("clases: [a, b]\n", "unknown-key", "the configuration has no key `clases` | did you mean `classes`?"),
        ("classes: [a]\n", "wrong-value", "`classes` should have at least 2 entries"),
        ("classes: [a, a]\n", "wrong-value", "should not hold anything twice, found 'a' again"),
        ("classes: [a, 1.5]\n", "wrong-type", "should be a class's name or number, found 1.5 | put it in quotes"),
        ("cv: 1\n", "wrong-value", "a number of folds from 2 up, `group` or `time`, found 1"),
        ("cv: group\n", "wrong-config", "needs the column to go by, `group` | write `group: COLUMN`"),
        ("cv: 3\nsplit: part\n", "wrong-config", "`split` says which rows are trained on"),
        ("seed: -1\n", "wrong-value", "`seed` should be at least 0, found -1"),
        ("id: y\n", "wrong-config", "`id` should be another column than `label`, found 'y' for both"),
        ("calibrate: temp\n", "wrong-value", "`calibrate` should be temperature or none"),
        ("task: regression\ncalibrate: temperature\n", "wrong-config", "`calibrate` is for classes"),
        ("budget: {us_per_row: 0}\n", "out-of-range", "`us_per_row` should be above 0, found 0"),
        ("budget: {usperrow: 1}\n", "unknown-key", "`budget` has no key `usperrow` | did you mean `us_per_row`?"),
        ("combiner: gredy\n", "wrong-value", "there is no combiner `gredy` | did you mean `greedy`?"),
        ("combiner: {name: greedy, settings: {round: 3}}\n", "unknown-key", "did you mean `rounds`?"),
        ("combiner: {name: greedy, settings: {rounds: 0}}\n", "wrong-value", "rounds"),
        ("combiner: {name: greedy, setings: {}}\n", "unknown-key", "`combiner` has no key `setings`"),
        ("combiner: {name: greedy, settings: {metric: acuracy}}\n", "wrong-value", "did you mean `accuracy`?"),
        ("combiner: {name: greedy, settings: {metric: rmse}}\n", "wrong-value", "rmse"),
        ("combiner: {name: stack, settings: {meta: logitic}}\n", "wrong-value", "did you mean `logistic`?"),
        ("combiner: {name: cascade, settings: {costs: {a: -1}}}\n", "wrong-value", "costs"),
        ("features: [x, y]\n", "wrong-config", "should not be compared by the right answer; found 'y'"),
        ("fewest: -1\n", "wrong-value", "`fewest` should be at least 0"),
        ("label: y\n", "duplicate-key", "label"),
    ],
)
def test_faults_of_the_whole(tmp_path: Path, change: str, code: str, said: str) -> None:
    found = faults_of(tmp_path, change + BASE)
    assert code in {one for one, _, _ in found}, found
    assert any(said in message for _, _, message in found), found


@pytest.mark.parametrize(
    ("member", "code", "said"),
    [
        ("3", "wrong-type", "entry 1 of `members` should be a mapping, found 3"),
        ("{kind: sklearn, estimator: svm}", "missing-key", "entry 1 of `members` should have the key `name`"),
        ("{name: a}", "missing-key", "should have the key `kind`, found none | one of sklearn, lightgbm"),
        ("{name: a, knd: onnx}", "unknown-key", "has no key `knd` | did you mean `kind`?"),
        ("{name: a, kind: sklern}", "wrong-value", "did you mean `sklearn`?"),
        (
            "{name: a, kind: sklearn}",
            "wrong-config",
            "either `estimator`, to be trained here, or `file`; found neither",
        ),
        ("{name: a, kind: sklearn, estimator: svm, file: x}", "wrong-config", "found both"),
        ("{name: a, kind: sklearn, file: x}", "model-missing", "there should be a model at x; nothing is there"),
        ("{name: a, kind: onnx, fil: x}", "unknown-key", "did you mean `file`?"),
        ("{name: a, kind: onnx}", "missing-key", "should have the key `file`"),
        ("{name: a, kind: transformers, folder: gone}", "model-missing", "nothing is there"),
        ("{name: a, kind: sklearn, estimator: randomforest}", "wrong-value", "did you mean `random-forest`?"),
        ("{name: a, kind: sklearn, estimator: ridge}", "wrong-config", "`ridge` is not for classification"),
        ("{name: a, kind: sklearn, estimator: svm, settings: {c: 1}}", "unknown-key", "known: C, degree"),
        ("{name: a, kind: sklearn, estimator: svm, settings: {C: 0}}", "wrong-value", "`C` should be a number above 0"),
        (
            "{name: a, kind: sklearn, estimator: svm, settings: {kernel: rbff}}",
            "wrong-value",
            "`kernel` should be `linear`",
        ),
        ("{name: a, kind: sklearn, estimator: svm, settings: {C: [[1]]}}", "wrong-type", "a number, a text"),
        ("{name: a, kind: sklearn, estimator: svm, reads: [y]}", "wrong-config", "should not read the right answer"),
        ("{name: a, kind: sklearn, estimator: svm, label_map: {n: y}}", "wrong-config", "nothing to rename"),
        ("{name: a, kind: sklearn, estimator: svm, missing: none}", "wrong-value", "error, zero, uniform or mask"),
    ],
)
def test_faults_of_a_member(tmp_path: Path, member: str, code: str, said: str) -> None:
    found = faults_of(tmp_path, f"label: y\nmembers:\n  - {member}\n")
    assert code in {one for one, _, _ in found}, found
    assert any(said in message for _, _, message in found), found
    assert {line for _, line, _ in found} == {3}


def test_all_faults_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "cv: 1\nclases: [a, b]\nlabel: y\nmembers:\n  - {name: a, kind: sklearn, estimator: sv}\n"
    text += "  - {name: a, kind: sklearn, estimator: svm, settings: {C: -1, G: 2}}\ncombiner: gredy\n"
    found = faults_of(tmp_path, text)
    codes = [
        "wrong-value",
        "unknown-key",
        "wrong-value",
        "duplicate-member",
        "wrong-value",
        "unknown-key",
        "wrong-value",
    ]
    assert [code for code, _, _ in found] == codes
    assert [line for _, line, _ in found] == [1, 2, 5, 6, 6, 6, 7]


def test_a_misspelt_key_is_told_once(tmp_path: Path) -> None:
    assert [code for code, _, _ in faults_of(tmp_path, BASE.replace("label", "lable"))] == ["unknown-key"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("- 1\n", "wrong-type"),
        ("label: [\n", "recipe-syntax"),
        (f"{BASE}---\n{BASE}", "wrong-value"),
    ],
)
def test_what_is_no_configuration(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(RecipeError, match="configuration") as caught:
        read_config(written(tmp_path, text))
    assert caught.value.code == code


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the configuration .* cannot be read"):
        read_config(tmp_path / "none.yml")


def test_a_member_by_itself(tmp_path: Path) -> None:
    path = written(tmp_path, "{name: svm, kind: sklearn, estimator: svm}")
    assert read_member(path, "classification").name == "svm"
    with pytest.raises(RecipeError, match="`tfidf-logistic` is not for regression") as caught:
        read_member(written(tmp_path, "{name: a, kind: sklearn, estimator: tfidf-logistic}"), "regression")
    assert "ridge" in str(caught.value)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_is_made_for_its_tasks(name: str) -> None:
    declared = ESTIMATORS[name]
    for task in declared.tasks:
        model = made(name, task, {}, seed=3)
        known = set(model.get_params(deep=True))
        last = {key.rpartition("__")[2] for key in known}
        own = set(declared.settings) - {"ngrams"}
        assert own <= last, own - last


@pytest.mark.parametrize(
    ("name", "key", "good", "bad"),
    [
        ("svm", "gamma", [0.1, "scale", 1], [-1, "big", None, True]),
        ("mlp", "hidden_layer_sizes", [8, [8, 4]], [0, [], [8, 0], [1.5], "8"]),
        ("random-forest", "max_depth", [3, None], [0, 2.5, "none"]),
        ("hist-gradient-boosting", "early_stopping", [True, "auto"], [1, "yes"]),
    ],
)
def test_settings_are_checked(name: str, key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert setting_fault(ESTIMATORS[name], key, value) is None, value
    for value in bad:
        assert "should be" in (setting_fault(ESTIMATORS[name], key, value) or ""), value


def test_the_schema_takes_what_is_good_and_refuses_what_is_not(tmp_path: Path) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(CONFIG), schema)
    jsonschema.validate({**yaml.safe_load(CONFIG), "combiner": "stack", "cv": "time", "classes": ["a", 1]}, schema)
    for wrong in (
        {"combiner": "none"},
        {"cv": 1},
        {"members": []},
        {"members": [{"name": "a", "kind": "x"}]},
        {"x": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**yaml.safe_load(CONFIG), **wrong}, schema)


def test_costs_of_members_can_be_told(tmp_path: Path) -> None:
    text = f"combiner: {{name: cascade, settings: {{costs: {{a: 2.5}}}}}}\n{BASE}"
    assert combiner_of(read_config(written(tmp_path, text))).costs == {"a": 2.5}
    jsonschema.validate(yaml.safe_load(text), json_schema())


def test_few_rows_are_few_for_the_combiner_too(tmp_path: Path) -> None:
    text = f"combiner: stack\nfewest: 12\n{BASE}"
    assert combiner_of(read_config(written(tmp_path, text))).settings()["fewest"] == 12
    own = text.replace("stack", "{name: stack, settings: {fewest: 3}}")
    assert combiner_of(read_config(written(tmp_path, own))).settings()["fewest"] == 3
    assert combiner_of(read_config(written(tmp_path, f"combiner: stack\n{BASE}"))).settings()["fewest"] == 30


def test_every_combiner_can_be_named(tmp_path: Path) -> None:
    for name in COMBINERS:
        assert combiner_of(read_config(written(tmp_path, f"combiner: {name}\n{BASE}"))).name in (name, "dynamic")
