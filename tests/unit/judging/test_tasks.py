"""Tasks as they are written: strict, everything that is wrong at once, before any model is loaded."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from cuvee.data.tables import read_table
from cuvee.errors import InputError, Place, UsageError
from cuvee.judging.tasks import read_task
from cuvee.judging.tasks.schema import COLUMNS, ITEMS
from tests.support.judging import QUESTIONS, WORDS, task, write_task

TEXTS = [{"text": text, "label": i % 2, "part": "ab"[i % 2]} for i, text in enumerate(WORDS)]


def refused(path: Path | str, **how: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read_task(path, **how)
    return caught.value


def written(folder: Path, text: str) -> Path:
    (folder / "rows.jsonl").write_text('{"text": "oak", "label": 1}\n', "utf-8")
    path = folder / "task.yml"
    path.write_text(text, "utf-8")
    return path


def told(error: InputError, path: Path) -> list[str]:
    """Where in the file, which code."""
    assert all(fault.place is None or fault.place.file == str(path) for fault in error.faults)
    return [f"{f.place.line}:{f.place.column} {f.code}" if f.place else f.code for f in error.faults]


def test_everything_wrong_with_a_file_is_told_at_once(tmp_path: Path) -> None:
    text = "kind: classification\ndatum: rows.jsonl\nlimit: 0\nmetric: acuracy\ncolumns: {txt: a}\nmax_length: '3'\n"
    path = written(tmp_path, text)
    error = refused(path)
    assert told(error, path) == [
        "2:1 unknown-key",
        "3:8 wrong-value",
        "4:9 wrong-value",
        "5:11 unknown-key",
        "6:13 wrong-type",
    ]  # and no second fault for the `data` that is misspelt
    hints = [fault.hint for fault in error.faults]
    assert hints[0] == "did you mean `data`?"
    assert hints[2] == "did you mean `accuracy`?"
    assert hints[3] == "did you mean `text`?"


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("kind: clasification\n", ["1:7 wrong-value"], "did you mean `classification`?"),
        ("data: rows.jsonl\n", ["1:1 missing-key"], "`kind`"),
        ("kind: perplexity\n", ["1:1 missing-key"], "`data`"),
        ("- a\n", ["1:1 wrong-type"], "a mapping"),
        ("kind: [", ["1:8 task-syntax"], "a task's file should be YAML"),
        ("kind: a\nkind: b\n", ["1:7 wrong-value", "2:1 duplicate-key"], "b"),
        ("kind: exact-match\ndata: rows.jsonl\nparse: '('\n", ["3:8 wrong-value"], "regular expression"),
        ("kind: exact-match\ndata: rows.jsonl\nnormalise: [upper]\n", ["3:13 wrong-value"], "'upper'"),
        ("kind: multiple-choice\ndata: rows.jsonl\nlength: words\n", ["3:9 wrong-value"], "none, tokens or bytes"),
        ("kind: function\nfunction: nothing\n", ["2:11 wrong-value"], "`module:function`"),
        ("kind: embedding-retrieval\ndata: r\ndocuments: d\nmetric: recall@0\n", ["4:9 wrong-value"], "recall@"),
        ("kind: lm-eval\ntasks: []\n", ["2:8 wrong-value"], "should not be empty"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, expected: list[str], said: str) -> None:
    path = written(tmp_path, text)
    error = refused(path)
    assert told(error, path) == expected
    assert said in str(error)


def test_several_documents_are_not_one_task(tmp_path: Path) -> None:
    assert refused(written(tmp_path, "kind: perplexity\n---\nkind: perplexity\n")).codes == ("wrong-value",)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = refused(tmp_path / "gone.yml")
    assert error.codes == ("task-missing",)
    assert "the task's file" in str(error)


def test_every_kind_has_columns_or_reads_its_own_data() -> None:
    assert set(ITEMS) == set(COLUMNS) | {"lm-eval"}


def test_paths_start_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_task(tmp_path / "deep", TEXTS, kind="classification")
    monkeypatch.chdir(tmp_path)
    assert len(read_task("deep/classification.yml").rows) == len(TEXTS)
    assert read_task(path).name == "classification"
    assert task(tmp_path, TEXTS, kind="classification", name="mood").name == "mood"


def test_missing_columns_are_told_with_the_nearest_name(tmp_path: Path) -> None:
    error = refused(write_task(tmp_path, TEXTS, kind="classification", columns={"text": "txt"}, group=["prt"]))
    assert error.codes == ("bad-data", "bad-data")
    assert [fault.hint for fault in error.faults] == ["did you mean `text`?", "did you mean `part`?"]
    assert "'label'" in str(error)


def test_rows_that_are_wrong_are_all_told(tmp_path: Path) -> None:
    rows = [{"text": "oak", "label": 1}, {"text": "", "label": 1}, {"text": 3, "label": None}, {"label": 0}]
    error = refused(write_task(tmp_path, rows, kind="classification"))
    assert [(fault.place.line, fault.subject) for fault in error.faults] == [
        (2, "text"),
        (3, "text"),
        (3, "label"),
        (4, "text"),
    ]


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("multiple-choice", {"choices": ["a"]}, "two or more texts"),
        ("multiple-choice", {"choices": ["a", "a"]}, "no two are the same"),
        ("multiple-choice", {"choices": "a, b"}, "written as JSON"),
        ("exact-match", {"answer": []}, "a text, or a list"),
        ("exact-match", {"answer": True}, "a text, or a list"),
        ("regression", {"label": "much"}, "a number"),
        ("regression", {"label": "inf"}, "finite"),
        ("image-classification", {"image": "gone.png"}, "there is none at"),
        ("classification", {"label": 0.5}, "name or number"),
    ],
)
def test_values_that_a_kind_cannot_take(tmp_path: Path, kind: str, row: Mapping[str, Any], said: str) -> None:
    good = {"text": "a", "prompt": "a", "answer": "a", "choices": ["a", "b"], "label": 1, "image": "task.yml"}
    (tmp_path / "task.yml").touch()
    error = refused(write_task(tmp_path, [{**good, **row}], kind=kind))
    assert error.codes == ("bad-data",)
    assert said in str(error)


def test_an_answer_that_is_no_choice(tmp_path: Path) -> None:
    from cuvee.judging.asking.choices import _right

    rows = [{**QUESTIONS[0], "answer": answer} for answer in ("dry", 2, "2", "3", "pale", ["dry", "cold"])]
    with pytest.raises(InputError) as caught:
        _right(task(tmp_path, rows, kind="multiple-choice"))
    assert [fault.place.line for fault in caught.value.faults] == [4, 5, 6]
    assert _right(task(tmp_path, rows[:3], kind="multiple-choice")) == [0, 2, 2]


def test_a_relevant_document_must_be_there(tmp_path: Path) -> None:
    write_task(tmp_path, [{"id": 1, "text": "oak"}, {"id": "x", "text": "elm"}], kind="perplexity", name="documents")
    settings = {"kind": "embedding-retrieval", "documents": "documents.jsonl"}
    assert len(task(tmp_path, [{"query": "a", "relevant": [1, "x"]}], **settings).documents) == 2
    error = refused(write_task(tmp_path, [{"query": "a", "relevant": ["1", "y"]}], **settings))
    assert "'y'" in str(error)


def test_documents_that_are_called_alike(tmp_path: Path) -> None:
    write_task(tmp_path, [{"id": 1, "text": "oak"}, {"id": "1", "text": "elm"}], kind="perplexity", name="documents")
    path = write_task(
        tmp_path, [{"query": "a", "relevant": 1}], kind="embedding-retrieval", documents="documents.jsonl"
    )
    assert "names of their own" in str(refused(path))


def test_empty_data(tmp_path: Path) -> None:
    assert "there is none" in str(refused(write_task(tmp_path, [], kind="perplexity")))
    assert refused(write_task(tmp_path, kind="perplexity", data="gone.jsonl")).codes == ("data-missing",)
    assert refused(write_task(tmp_path, kind="perplexity", data="rows.doc")).codes == ("bad-data",)


def test_a_split_is_a_column_of_a_file(tmp_path: Path) -> None:
    columns = {"split": "part"}
    found = task(tmp_path, TEXTS, kind="perplexity", split="b", columns=columns)
    assert [row.values["text"] for row in found.rows] == list(WORDS[1::2])
    assert [row.id for row in found.rows] == ["2", "4", "6"]
    error = refused(write_task(tmp_path, TEXTS, kind="perplexity", split="c", columns=columns))
    assert error.codes == ("empty-split",)
    assert "a (3), b (3)" in str(error)
    assert "`split`" in str(refused(write_task(tmp_path, TEXTS, kind="perplexity", split="b")))


def test_a_split_is_a_file_of_a_folder(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_task(tmp_path / "data", [{"text": name}], kind="perplexity", name=name)
    found = task(tmp_path, kind="perplexity", data="data", split="test")
    assert found.rows[0].values["text"] == "test"
    error = refused(write_task(tmp_path, kind="perplexity", data="data", split="tset"))
    assert error.codes == ("empty-split",)
    assert error.faults[0].hint == "did you mean `test`?"
    assert "train.jsonl" in str(refused(write_task(tmp_path, kind="perplexity", data="data")))


def test_folders_of_pictures_have_splits_too(tmp_path: Path) -> None:
    for name in ("test/oak/a.png", "test/elm/b.PNG", "test/elm/notes.txt", "train/oak/c.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    settings = {"kind": "image-classification", "data": "data"}
    found = [row.values for row in task(tmp_path, split="test", **settings).rows]
    assert [(one["image"].name, one["label"]) for one in found] == [("b.PNG", "elm"), ("a.png", "oak")]
    assert refused(write_task(tmp_path, split="dev", **settings)).codes == ("empty-split",)
    (tmp_path / "data" / "none").mkdir()
    assert "found none" in str(refused(write_task(tmp_path, split="none", **settings)))


def test_rows_are_drawn_by_seed_and_keep_their_order(tmp_path: Path) -> None:
    rows = [{"text": f"word {i}"} for i in range(40)]
    path = write_task(tmp_path, rows, kind="perplexity", limit=10)
    drawn = [row.number for row in read_task(path).rows]
    assert len(drawn) == 10
    assert drawn == sorted(drawn)
    assert drawn != list(range(1, 11))
    assert drawn == [row.number for row in read_task(path).rows]
    assert drawn != [row.number for row in read_task(path, seed=1).rows]
    assert len(read_task(path, limit=3).rows) == 3
    assert len(read_task(path, limit=99).rows) == 40


def test_groups_and_names_of_rows_come_from_columns(tmp_path: Path) -> None:
    found = task(tmp_path, TEXTS, kind="classification", group="part", columns={"id": "text"})
    assert found.groups == {"part": ("a", "b") * 3}
    assert found.rows[0].id == WORDS[0]
    error = refused(write_task(tmp_path, TEXTS, kind="classification", columns={"id": "part"}))
    assert len(error.faults) == len(TEXTS)
    assert "called 'a'" in str(error)
    missing = refused(write_task(tmp_path, TEXTS, kind="classification", columns={"id": "prt"}))
    assert missing.faults[0].hint == "did you mean `part`?"


def as_csv(path: Path, rows: list[dict[str, Any]], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)


def test_tables_of_every_form_hold_the_same_rows(tmp_path: Path) -> None:
    rows = [{**row, "choices": json.dumps(row["choices"])} for row in QUESTIONS]
    wanted = task(tmp_path, QUESTIONS, kind="multiple-choice").rows
    as_csv(tmp_path / "rows.csv", rows, ",")
    as_csv(tmp_path / "rows.tsv", rows, "\t")
    table = pyarrow.Table.from_pylist([{**row, "answer": str(row["answer"])} for row in QUESTIONS])
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.tsv", "rows.parquet"):
        found = task(tmp_path, kind="multiple-choice", data=name).rows
        assert [row.values for row in found] == [row.values for row in wanted], name


def test_tables_that_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("text,label\noak\n", "utf-8")
    (tmp_path / "long.csv").write_text("text,label\noak,1,2\n", "utf-8")
    (tmp_path / "twice.csv").write_text("text,text\noak,elm\n", "utf-8")
    (tmp_path / "latin.csv").write_bytes("text\nchâteau\n".encode("latin-1"))
    (tmp_path / "lines.jsonl").write_text('{"text": "oak"}\n[1]\n{"text"\n', "utf-8")
    (tmp_path / "not.parquet").write_bytes(b"PAR1 nothing of the kind")
    expected = {
        "short.csv": "2 cells",
        "long.csv": "2 cells",
        "twice.csv": "names of their own",
        "latin.csv": "UTF-8",
        "lines.jsonl": "an object; found list",
        "not.parquet": "a Parquet file",
    }
    for name, said in expected.items():
        error = refused(write_task(tmp_path, kind="perplexity", data=name))
        assert set(error.codes) == {"bad-data"}, name
        assert said in str(error), name
    assert len(refused(write_task(tmp_path, kind="perplexity", data="lines.jsonl")).faults) == 2


def test_no_more_than_twenty_rows_are_told_of(tmp_path: Path) -> None:
    assert len(refused(write_task(tmp_path, [{"text": ""}] * 50, kind="perplexity")).faults) == 20


def test_a_function_is_a_task_by_its_name() -> None:
    found = read_task("json:dumps")
    assert (found.name, found.kind) == ("dumps", "function")
    with pytest.raises((InputError, UsageError)):
        read_task("no such file")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "first", "label": 0, "text": "second"}', "the key 'text' stands twice"),
        (r'{"text": "half a letter: \ud800", "label": 0}', r"'\\ud800' is half of a letter"),
        (r'{"\udfff": 1, "text": "a", "label": 0}', r"'\\udfff' is half of a letter"),
    ],
)
def test_what_json_lets_pass_and_no_model_takes(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{line}\n")
    with pytest.raises(InputError, match=said) as caught:
        read_table(file)
    assert caught.value.faults[0].place == Place(str(file), 1, 1)
    file.write_text(r'{"text": "whole letters: \ud83c\udf77 \u00e9", "label": 0}')
    assert read_table(file)[0].values["text"] == "whole letters: 🍷 é"
