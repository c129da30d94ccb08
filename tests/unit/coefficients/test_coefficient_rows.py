"""Data files: what is read, what is refused with its line, and the order of batches."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from cuvee.coefficients.rows import Example, Task, batches, examples, read_tasks
from cuvee.data.rows import MOST_FAULTS, Row
from cuvee.errors import InputError

CLASSES = {"no": 0, "yes": 1}


def read(path: Path) -> Task:
    (task,) = read_tasks([("all", path, (0,))])
    return task


def file(folder: Path, *lines: object) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_rows_are_read_and_empty_lines_passed_over(tmp_path: Path) -> None:
    path = file(tmp_path, {"text": "hé", "label": "yes", "idx": 7}, "", {"input_ids": [1, 2], "label": 0})
    assert read(path).rows == (Row(1, text="hé", label="yes"), Row(3, ids=(1, 2), label=0))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("[1]", "found list"),
        ({"txt": "a"}, "found txt"),
        ({"text": "a", "input_ids": [1]}, "found both"),
        ({"text": ""}, "not empty"),
        ({"text": 3}, "not empty"),
        ({"input_ids": []}, "one or more"),
        ({"input_ids": [1, -2]}, "from 0 up"),
        ({"input_ids": [1.5]}, "integers"),
        ({"input_ids": [True]}, "integers"),
        ({"text": "a", "label": 1.5}, "found 1.5"),
        ({"text": "a", "label": True}, "found True"),
    ],
)
def test_a_bad_row_is_told_with_its_line(line: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(file(tmp_path, {"text": "good"}, line))
    (fault,) = caught.value.faults
    assert fault.code == "bad-data"
    assert said in fault.message
    assert fault.place is not None
    assert fault.place.line == 2


def test_all_files_are_looked_at_and_not_every_line_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    files = [tmp_path / "gone.jsonl", empty, file(tmp_path, *["x"] * 50), tmp_path]
    with pytest.raises(InputError) as caught:
        read_tasks([(str(i), path, (i,)) for i, path in enumerate(files)])
    expected = {"data-missing": 2, "bad-data": 1 + MOST_FAULTS}
    assert Counter(caught.value.codes) == expected


def ready(*rows: Row, classes: dict[str, int] | None = None, least: int = 1, most: int = 4) -> tuple:
    task = Task("all", Path("data.jsonl"), (0,), rows)
    return examples(
        task, lambda texts: [[len(t)] * 3 for t in texts], vocabulary=9, classes=classes, least=least, most=most
    )


def test_texts_and_ids_keep_their_order_and_long_rows_are_cut() -> None:
    found = ready(Row(1, text="ab"), Row(2, ids=(8, 7, 6, 5, 4)), Row(3, text="abc"))
    assert found == ([Example((2, 2, 2)), Example((8, 7, 6, 5)), Example((3, 3, 3))], 1)


def test_labels_are_numbers_or_names_and_unused_without_classes() -> None:
    rows = Row(1, ids=(1,), label="yes"), Row(2, ids=(1,), label=0)
    assert [e.label for e in ready(*rows, classes=CLASSES)[0]] == [1, 0]
    assert [e.label for e in ready(*rows)[0]] == [None, None]


def test_what_does_not_fit_the_model_is_told_at_once() -> None:
    rows = Row(4, ids=(9,)), Row(5, ids=(1, 1), label="maybe"), Row(6, ids=(1, 1), label=2)
    with pytest.raises(InputError) as caught:
        ready(*rows, classes=CLASSES, least=2)
    said = [(fault.place.line, fault.message) for fault in caught.value.faults]
    assert [line for line, _ in said] == [4, 4, 4, 5, 6]
    assert "below 9" in said[0][1]
    assert "2 tokens or more" in said[1][1]
    assert "no, yes" in said[3][1]


def test_batches_are_rounds_through_all_rows_in_an_order_of_the_seed() -> None:
    rows = [Example((i,)) for i in range(7)]
    first = list(islice(batches(rows, 3, "0/a"), 6))
    assert [len(b) for b in first] == [3, 3, 1, 3, 3, 1]
    for half in (first[:3], first[3:]):
        assert sorted(e.ids[0] for b in half for e in b) == list(range(7))
    assert first[:3] != first[3:]
    assert first == list(islice(batches(rows, 3, "0/a"), 6))
    assert first != list(islice(batches(rows, 3, "1/a"), 6))
    assert [len(b) for b in islice(batches(rows, 100, "0"), 2)] == [7, 7]
