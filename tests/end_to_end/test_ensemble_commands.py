"""`cuvee ensemble`: from a YAML file and a table to a folder that is asked, looked at and changed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import skops.io
from sklearn.ensemble import ExtraTreesClassifier

from cuvee import api
from cuvee.predict import Ensemble
from cuvee.predict.combiners.dynamic import Selected
from cuvee.predict.row_numbers import ColumnNumbers
from tests.support.command_line import Ran, call
from tests.support.ensemble_files import CONFIG, KINDS, trees, write_csv

CHEAP = """\
label: kind
id: tree
members:
  - {name: nb, kind: sklearn, estimator: gaussian-nb}
  - {name: low, kind: sklearn, estimator: gaussian-nb, reads: height}
cv: 2
"""
Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a configuration, and the ensemble that was fitted of them."""
    home = tmp_path_factory.mktemp("ensembles")
    write_csv(home / "train.csv", trees(150))
    write_csv(home / "test.csv", trees(60, seed=1, start=1000))
    write_csv(home / "new.csv", trees(9, seed=2, start=2000), ["kind"])
    (home / "ensemble.yml").write_text(f"{CONFIG}cv: 2\n", "utf-8")
    (home / "svm.yml").write_text("{name: svm, kind: sklearn, estimator: svm}\n", "utf-8")
    api.fit_ensemble(home / "ensemble.yml", home / "train.csv", home / "ens")
    return home


@pytest.fixture
def home(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """The ensemble in a folder that may be changed."""
    shutil.copytree(home / "ens", tmp_path / "ens")
    return tmp_path / "ens"


def told(ran: Ran, command: str) -> dict[str, Any]:
    assert ran.code == 0, ran
    assert ran.json["command"] == f"ensemble {command}"
    return ran.json


def refused(ran: Ran, code: int, reason: str, *said: str) -> None:
    assert ran.code == code, ran
    assert reason in {fault["code"] for fault in ran.json["error"]["faults"]}, ran
    text = " ".join(f"{fault['message']} {fault['hint']}" for fault in ran.json["error"]["faults"])
    for words in said:
        assert words in text, text


def test_fit_tells_what_it_made(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    asked = ["ensemble", "fit", "ensemble.yml", "--data", "train.csv", "-o", tmp_path / "e"]
    (tmp_path / "e").mkdir()  # an empty folder may be taken, a saved ensemble only with --overwrite
    found = told(call(capsys, *asked, "--overwrite", "--json"), "fit")
    assert found["classes"] == list(KINDS)
    assert [one["name"] for one in found["members"]] == ["lr", "nb", "knn"]
    assert {one["provenance"] for one in found["members"]} == {"out-of-fold"}
    assert sum(one["share"] for one in found["members"]) == pytest.approx(1)
    assert all(one["us_per_row"] > 0 for one in found["members"])
    assert (found["rows"], found["combiner"]) == (150, "greedy")
    refused(call(capsys, *asked, "--json"), 7, "output-exists")


def test_what_was_fitted_is_asked_again_when_it_is_loaded(home: Path) -> None:
    ensemble = Ensemble.load(home / "ens")
    assert not [note for note in ensemble.state.notes if "golden" in note]
    assert ensemble.seen is not None
    assert (len(ensemble.seen), "kind" in ensemble.seen.columns) == (8, False)


def test_fit_never_combines_by_rows_that_members_know(home: Path) -> None:
    bank = Ensemble.load(home / "ens").state.bank
    assert bank is not None
    assert set(bank.provenance) == {"out-of-fold"}
    ensemble = Ensemble.load(home / "ens")
    own = ensemble.predictions(api.ensembling.unlabelled_table(ensemble, "train.csv").rows)
    assert not np.allclose(own.P, bank.P)  # what members trained on all rows say of them


def test_predict_writes_what_the_ensemble_says(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    asked = ["ensemble", "predict", "ens", "--data", "new.csv", "--id", "tree"]
    found = told(call(capsys, *asked, "--json"), "predict")
    rows = found["predictions"]
    assert [row["id"] for row in rows] == [f"t{2000 + i}" for i in range(9)]
    for row in rows:
        chances = {label: row[f"p_{label}"] for label in KINDS}
        assert sum(chances.values()) == pytest.approx(1)
        assert row["prediction"] == max(chances, key=chances.__getitem__)
    for ending in ("csv", "jsonl", "tsv"):
        target = tmp_path / f"p.{ending}"
        assert call(capsys, *asked, "-o", target).code == 0
        text = target.read_text("utf-8")
        if ending == "jsonl":
            assert [json.loads(line) for line in text.splitlines()] == rows
        else:
            read = list(csv.DictReader(text.splitlines(), delimiter="\t" if ending == "tsv" else ","))
            assert [one["prediction"] for one in read] == [row["prediction"] for row in rows]
    assert "t2000" in call(capsys, *asked).out
    refused(call(capsys, *asked, "-o", tmp_path / "p.csv", "--json"), 7, "output-exists")
    refused(call(capsys, *asked, "-o", tmp_path / "p.xml", "--json"), 2, "bad-argument", ".jsonl, .csv, .tsv")


def test_leaderboard_on_rows_of_its_own_and_on_new_ones(home: Path, capsys: Capsys) -> None:
    asked = ["ensemble", "leaderboard", "ens", "--combiners", "soft", "greedy"]
    own = told(call(capsys, *asked, "--json"), "leaderboard")
    names = {row["name"]: row for row in own["rows"]}
    assert set(names) == {"lr", "nb", "knn", "soft", "greedy", "ensemble"}
    assert names["greedy"]["estimate"] == "nested"
    new = told(call(capsys, *asked, "--data", "test.csv", "--label", "kind", "--id", "tree", "--json"), "leaderboard")
    assert {row["name"]: row["estimate"] for row in new["rows"]}["ensemble"] == "direct"
    assert {row["rows"] for row in new["rows"]} == {60}
    text = call(capsys, *asked, "--metrics", "accuracy")
    assert text.code == 0
    assert "accuracy" in text.out
    assert "log_loss" not in text.out


def test_explanations_sum_to_what_is_predicted(home: Path, capsys: Capsys) -> None:
    asked = ["ensemble", "explain", "ens", "--data", "new.csv", "--id", "tree", "--limit", 4]
    found = told(call(capsys, *asked, "--json"), "explain")
    assert len(found["rows"]) == 4
    for row in found["rows"]:
        parts = np.sum([row["base"], row["calibration"], *row["contributions"].values()], axis=0)
        np.testing.assert_allclose(parts, row["output"], atol=1e-9)
    assert "t2000" in call(capsys, *asked).out


def test_members_join_and_leave(home: Path, copy: Path, capsys: Capsys) -> None:
    data = ["--data", "train.csv", "--label", "kind", "--id", "tree"]
    found = told(call(capsys, "ensemble", "add", copy, "svm.yml", *data, "--json"), "add")
    assert [one["name"] for one in found["members"]] == ["lr", "nb", "knn", "svm"]
    assert found["members"][-1]["provenance"] == "out-of-fold"
    assert found["rows"] == 150
    refused(call(capsys, "ensemble", "add", copy, "svm.yml", *data, "--json"), 2, "duplicate-member")
    gone = told(call(capsys, "ensemble", "remove", copy, "nb", "--json"), "remove")
    assert [one["name"] for one in gone["members"]] == ["lr", "knn", "svm"]
    refused(call(capsys, "ensemble", "remove", copy, "nbb", "--json"), 2, "unknown-member")
    assert [one.name for one in Ensemble.load(copy).members] == ["lr", "knn", "svm"]


@pytest.mark.slow
def test_an_estimator_of_a_file_reads_what_it_was_trained_on(home: Path, tmp_path: Path) -> None:
    rows = [{**row, "girth": float(row["girth"] or 2.0), "plot": 1} for row in trees(60, seed=4)]
    columns = {"girth": [row["girth"] for row in rows], "height": [row["height"] for row in rows]}
    named = ExtraTreesClassifier(3, random_state=0).fit(pandas.DataFrame(columns), [row["kind"] for row in rows])
    cells = [[row["height"], row["girth"]] for row in rows]
    plain = ExtraTreesClassifier(3, random_state=0).fit(cells, [row["kind"] for row in rows])
    skops.io.dump(named, tmp_path / "named.skops")
    skops.io.dump(plain, tmp_path / "plain.skops")
    text = "label: kind\nid: tree\ngroup: plot\nmembers:\n"
    text += "".join(f"  - {{name: {one}, kind: sklearn, file: {one}.skops}}\n" for one in ("named", "plain"))
    (tmp_path / "e.yml").write_text(text + "combiner: soft\n", "utf-8")
    api.fit_ensemble(tmp_path / "e.yml", write_csv(tmp_path / "t.csv", rows), tmp_path / "e")
    reads = {one.name: one.reads for one in Ensemble.load(tmp_path / "e").members}
    assert reads == {"named": ("girth", "height"), "plain": ("height", "girth")}


def test_a_trained_member_joins_with_rows_that_are_new(home: Path, copy: Path, capsys: Capsys, tmp_path: Path) -> None:
    rows = trees(90, seed=5)
    X = [[row["height"], float(row["girth"] or 2.0)] for row in rows]
    skops.io.dump(
        ExtraTreesClassifier(5, random_state=0).fit(X, [row["kind"][0] for row in rows]), tmp_path / "x.skops"
    )
    text = "name: extra\nkind: sklearn\nfile: x.skops\nreads: [height, girth]\n"
    (tmp_path / "x.yml").write_text(f"{text}label_map: {{o: oak, p: pine, y: yew}}\n", "utf-8")
    filled = [{**row, "girth": row["girth"] or 2.0} for row in trees(60, seed=6, start=3000)]
    data = ["--data", write_csv(tmp_path / "t.csv", filled), "--label", "kind", "--id", "tree"]
    found = told(call(capsys, "ensemble", "add", copy, tmp_path / "x.yml", *data, "--json"), "add")
    assert (found["rows"], found["members"][-1]["provenance"]) == (60, "hold-out")
    (tmp_path / "y.yml").write_text(text, "utf-8")
    told_of = call(capsys, "ensemble", "add", copy, tmp_path / "y.yml", *data, "--json")
    assert told_of.code != 0


def test_update_refits_and_tells_of_drift(home: Path, copy: Path, capsys: Capsys) -> None:
    asked = ["ensemble", "update", copy, "--data", "test.csv", "--label", "kind", "--id", "tree"]
    found = told(call(capsys, *asked, "--json"), "update")
    assert (found["new_rows"], found["kept_rows"], found["rows"]) == (60, 150, 210)
    assert [row["name"] for row in found["drift"]] == ["lr", "nb", "knn", "ensemble"]
    refused(call(capsys, *asked, "--json"), 4, "rows-differ")
    refused(call(capsys, *asked[:-2], "--json"), 4, "rows-differ")  # nor are they new because nobody names the ids
    fresh = write_csv(copy.parent / "fresh.csv", trees(60, seed=8, start=4000))
    text = call(capsys, "ensemble", "update", copy, "--data", fresh, "--window", 60)
    assert text.code == 0, text
    assert "60 new rows" in text.out


def test_the_folder_remembers_its_columns(home: Path, copy: Path, capsys: Capsys) -> None:
    asked = ["ensemble", "leaderboard", copy, "--data", "test.csv", "--metrics", "accuracy", "--combiners", "soft"]
    assert told(call(capsys, *asked, "--json"), "leaderboard")["rows"][0]["rows"] == 60
    found = told(call(capsys, "ensemble", "add", copy, "svm.yml", "--data", "train.csv", "--json"), "add")
    assert found["rows"] == 150
    asked = ["ensemble", "update", copy, "--data", "test.csv", "--json"]
    assert told(call(capsys, *asked), "update")["new_rows"] == 60
    refused(call(capsys, *asked), 4, "rows-differ")
    assert told(call(capsys, "ensemble", "predict", copy, "--data", "new.csv", "--json"), "predict")["predictions"][0][
        "id"
    ].startswith("t20")
    refused(call(capsys, *asked[:-1], "--label", "kid", "--json"), 4, "bad-data", "did you mean `kind`?")


def test_rows_without_names_are_taken_though_the_fit_had_names(home: Path, tmp_path: Path) -> None:
    found = api.predict_ensemble("ens", write_csv(tmp_path / "n.csv", trees(5, seed=9), ["tree", "kind"]))
    assert len(set(found.ids)) == 5
    assert not any(name.startswith("t") for name in found.ids)


@pytest.fixture(scope="module")
def parted(made: Path) -> Path:
    """An ensemble of rows with parts and a column of numbers that is no feature."""
    rows = [{**row, "part": ("train", "dev", "test")[i % 9 // 3], "plot": i} for i, row in enumerate(trees(180))]
    write_csv(made / "parts.csv", rows)
    (made / "parts.yml").write_text(CHEAP.replace("cv: 2", "split: part\ngroup: plot"), "utf-8")
    api.fit_ensemble(made / "parts.yml", made / "parts.csv", made / "parted")
    return made / "parted"


def test_parts_are_remembered(home: Path, parted: Path, capsys: Capsys, tmp_path: Path) -> None:
    found = told(call(capsys, "ensemble", "leaderboard", "parted", "--data", "parts.csv", "--json"), "leaderboard")
    assert {row["rows"] for row in found["rows"]} == {60}
    assert "the 60 rows of test are looked at, 120 others are not" in found["notes"]
    shutil.copytree(parted, tmp_path / "e")
    more = told(call(capsys, "ensemble", "add", tmp_path / "e", "svm.yml", "--data", "parts.csv", "--json"), "add")
    assert (more["rows"], more["members"][-1]["provenance"]) == (60, "hold-out")
    assert Ensemble.load(tmp_path / "e").members[-1].reads == ("height", "girth")  # not the group, a number too
    train = write_csv(tmp_path / "t.csv", [{**row, "part": "train", "plot": 1} for row in trees(30, seed=3)])
    refused(call(capsys, "ensemble", "update", tmp_path / "e", "--data", train, "--json"), 4, "empty-split")


def test_dynamic_selection_compares_rows_by_their_numbers(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text(f"{CHEAP}combiner: knora-e\n", "utf-8")
    asked = ["ensemble", "fit", tmp_path / "e.yml", "--data", "train.csv", "-o"]
    assert "rows are compared by height, girth" in told(call(capsys, *asked, tmp_path / "e", "--json"), "fit")["notes"]
    made = Ensemble.load(tmp_path / "e")
    assert by_what(made) == "features"
    rows = api.ensembling.unlabelled_table(made, "train.csv").rows
    assert made.features == ColumnNumbers.of(("height", "girth"), rows)
    assert call(capsys, "ensemble", "predict", tmp_path / "e", "--data", "new.csv").code == 0
    (tmp_path / "m.yml").write_text("{name: line, kind: sklearn, estimator: logistic-regression}\n", "utf-8")
    assert call(capsys, "ensemble", "add", tmp_path / "e", tmp_path / "m.yml", "--data", "train.csv").code == 0
    assert by_what(Ensemble.load(tmp_path / "e")) == "features"
    lacking = write_csv(tmp_path / "n.csv", trees(5, seed=9), ["girth"])
    refused(call(capsys, "ensemble", "predict", tmp_path / "e", "--data", lacking, "--json"), 4, "bad-data", "girth")


def by_what(ensemble: Ensemble) -> str:
    """What a fitted dynamic selection compares rows by."""
    fitted = ensemble.state.fitted
    assert isinstance(fitted, Selected)
    return str(fitted.about["by"])


@pytest.mark.slow
def test_columns_that_rows_are_compared_by_can_be_named_or_left_out(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    asked = ["ensemble", "fit", tmp_path / "e.yml", "--data", "train.csv", "--json", "-o", tmp_path / "e"]
    (tmp_path / "e.yml").write_text(f"{CHEAP}combiner: ola\nfeatures: [note]\n", "utf-8")
    refused(call(capsys, *asked), 4, "bad-data", "`features` reads numbers; 'note'")
    (tmp_path / "e.yml").write_text(f"{CHEAP}combiner: ola\nfeatures: none\n", "utf-8")
    assert told(call(capsys, *asked), "fit")["notes"] == []
    assert by_what(Ensemble.load(tmp_path / "e")) == "profiles"


@pytest.mark.slow
def test_few_rows_are_taken_where_the_file_says_so(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "few.csv", trees(45))
    (tmp_path / "e.yml").write_text(CHEAP, "utf-8")
    asked = ["ensemble", "fit", tmp_path / "e.yml", "--data", data, "-o", tmp_path / "e", "--json"]
    refused(call(capsys, *asked), 4, "too-few-rows", "`fewest=`")
    (tmp_path / "e.yml").write_text(CHEAP + "fewest: 10\n", "utf-8")
    assert told(call(capsys, *asked), "fit")["rows"] == 45


def test_a_place_that_cannot_be_taken_is_refused_before_anything_is_trained(
    home: Path, capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cuvee.predict.config.building.built", lambda *_: pytest.fail("it was trained"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine", "utf-8")
    asked = ["ensemble", "fit", "ensemble.yml", "--data", "train.csv", "--overwrite", "--json", "-o"]
    refused(call(capsys, *asked, tmp_path / "other"), 7, "unsafe-overwrite")
    refused(call(capsys, *asked, tmp_path / "other" / "file"), 7, "unsafe-overwrite", "name another folder")


def test_parts_of_the_data(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    rows = [{**row, "part": ("train", "dev", "test")[i // 60]} for i, row in enumerate(trees(180))]
    write_csv(tmp_path / "t.csv", rows)
    (tmp_path / "e.yml").write_text(CONFIG + "split: part\ncalibrate: temperature\n", "utf-8")
    asked = ["ensemble", "fit", tmp_path / "e.yml", "--data", tmp_path / "t.csv", "-o", tmp_path / "e", "--json"]
    found = told(call(capsys, *asked), "fit")
    assert {one["provenance"] for one in found["members"]} == {"hold-out"}
    assert found["rows"] == 60
    assert found["temperature"] > 0
    assert 0 < found["scores"]["accuracy"]["value"] <= 1
    write_csv(tmp_path / "t.csv", [row for row in rows if row["part"] != "dev"])
    refused(call(capsys, *asked[:-2], tmp_path / "f", "--json"), 4, "empty-split", "none of validation")


def test_a_regression_of_a_text_and_numbers(capsys: Capsys, tmp_path: Path) -> None:
    rows = [{"height": i % 7, "note": "tall oak" if i % 2 else "low yew", "y": i % 7 + 3 * (i % 2)} for i in range(60)]
    write_csv(tmp_path / "t.csv", rows)
    text = "task: regression\nlabel: y\ncv: 3\nmembers:\n"
    text += (
        "  - {name: words, kind: sklearn, estimator: tfidf-ridge}\n  - {name: line, kind: sklearn, estimator: ridge}\n"
    )
    (tmp_path / "e.yml").write_text(text + "combiner: {name: stack, settings: {meta: ridge}}\n", "utf-8")
    asked = ["--data", tmp_path / "t.csv"]
    assert call(capsys, "ensemble", "fit", tmp_path / "e.yml", *asked, "-o", tmp_path / "e").code == 0
    found = told(call(capsys, "ensemble", "predict", tmp_path / "e", *asked, "--json"), "predict")
    said = np.array([row["prediction"] for row in found["predictions"]])
    assert np.abs(said - [row["y"] for row in rows]).mean() < 1.0
    assert set(found["predictions"][0]) == {"id", "prediction"}


def test_faults_of_members_are_told_together(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    text = "label: kind\nmembers:\n  - {name: a, kind: sklearn, estimator: svm, reads: [hight]}\n"
    text += "  - {name: b, kind: sklearn, estimator: svm, reads: [note]}\n"
    text += "  - {name: c, kind: sklearn, estimator: tfidf-logistic, reads: [note, tree]}\n"
    (tmp_path / "e.yml").write_text(text, "utf-8")
    ran = call(capsys, "ensemble", "fit", tmp_path / "e.yml", "--data", "train.csv", "-o", tmp_path / "e", "--json")
    refused(ran, 4, "bad-data", "did you mean `height`?", "'note' holds something else", "one column of texts")
    assert len(ran.json["error"]["faults"]) == 3
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["fit", "bad.yml", "--data", "train.csv", "-o", "x"], 3, "unknown-key"),
        (["fit", "none.yml", "--data", "train.csv", "-o", "x"], 3, "recipe-missing"),
        (["fit", "ensemble.yml", "--data", "none.csv", "-o", "x"], 4, "data-missing"),
        (["fit", "ensemble.yml", "--data", "new.csv", "-o", "x"], 4, "bad-data"),
        (["predict", "none", "--data", "new.csv"], 4, "model-missing"),
        (["predict", "ens", "--data", "none.csv"], 4, "data-missing"),
        (["leaderboard", "ens", "--data", "test.csv", "--label", "label"], 4, "bad-data"),
        (["leaderboard", "ens", "--metrics", "accurcy"], 2, "bad-argument"),
        (["leaderboard", "ens", "--combiners", "gredy"], 3, "bad-argument"),
        (["add", "ens", "bad.yml", "--data", "train.csv", "--label", "kind"], 3, "missing-key"),
        (["update", "ens", "--data", "test.csv", "--label", "kind", "--decay", "2"], 2, "bad-argument"),
        (["fitt"], 2, "bad-argument"),
    ],
)
def test_what_is_wrong_ends_with_its_code(home: Path, capsys: Capsys, words: list[str], code: int, reason: str) -> None:
    (home / "bad.yml").write_text("lable: kind\nmembers: [{name: a, kind: sklearn, estimator: svm}]\n", "utf-8")
    ran = call(capsys, "ensemble", *words, "--json")
    refused(ran, code, reason)
    assert ran.json["command"] == ("ensemble" if words[0] == "fitt" else f"ensemble {words[0]}")
    assert not (home / "x").exists()


def test_validate_and_schema(home: Path, capsys: Capsys) -> None:
    found = told(call(capsys, "ensemble", "validate", "ensemble.yml", "--json"), "validate")
    assert (found["ok"], found["combiner"], len(found["members"])) == (True, "greedy", 3)
    assert "ok: greedy of 3 members" in call(capsys, "ensemble", "validate", "ensemble.yml").out
    schema = told(call(capsys, "ensemble", "schema", "--json"), "schema")["json_schema"]
    assert json.loads(call(capsys, "ensemble", "schema").out) == schema


@pytest.mark.parametrize(
    "word", ["fit", "validate", "predict", "leaderboard", "explain", "add", "remove", "update", "schema"]
)
def test_every_word_has_help_with_an_example(word: str, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = call(capsys, "ensemble", word, "--help")
    assert ran.code == 0
    assert f"cuvee ensemble {word}" in ran.out
    assert max(map(len, ran.out.splitlines())) == 80


@pytest.mark.slow
def test_an_ensemble_is_replaced_and_the_last_member_stays(home: Path, capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text(f"{CHEAP}combiner: soft\n", "utf-8")
    asked = ["ensemble", "fit", tmp_path / "e.yml", "--data", "train.csv", "-o", tmp_path / "e", "--overwrite"]
    assert call(capsys, *asked).code == 0
    assert "weight" in call(capsys, *asked).out
    assert call(capsys, "ensemble", "remove", tmp_path / "e", "low").code == 0
    refused(call(capsys, "ensemble", "remove", tmp_path / "e", "nb", "--json"), 2, "no-member")
