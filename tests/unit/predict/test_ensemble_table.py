"""Data files as columns, right answers, ids and parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from cuvee.errors import InputError
from cuvee.predict.config.table import Roles, column_of, table_of
from tests.support.ensemble_files import trees, write_csv


def test_columns_are_numbers_where_all_cells_are() -> None:
    assert column_of(["1", "", "2.5"]).dtype == np.float64
    assert np.isnan(column_of(["1", "", "2.5"])[1])
    assert column_of(["1", "x"]) == ["1", "x"]
    assert column_of([True, 2, None]).tolist()[:2] == [1.0, 2.0]
    assert np.isnan(column_of(["", None])).all()


def test_the_same_rows_from_every_kind_of_file(tmp_path: Path) -> None:
    rows = trees(12)
    write_csv(tmp_path / "t.csv", rows)
    plain = [{**row, "girth": None if row["girth"] == "" else row["girth"]} for row in rows]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain), "utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(plain), tmp_path / "t.parquet")
    roles = Roles(label="kind", id="tree")
    first, *others = (table_of(tmp_path / f"t.{ending}", roles) for ending in ("csv", "jsonl", "parquet"))
    assert first.features == ("height", "girth", "note")
    assert (first.numbers, first.texts) == (("height", "girth"), ("note",))
    for other in others:
        assert other.y == first.y
        assert other.rows.ids == first.rows.ids
        np.testing.assert_array_equal(other.rows.data["girth"], first.rows.data["girth"])


def test_a_row_without_a_name_is_known_by_what_it_holds(tmp_path: Path) -> None:
    rows = trees(12)
    rows[5] = dict(rows[2])
    whole = table_of(write_csv(tmp_path / "a.csv", rows, ["tree"]), Roles("kind"))
    turned = table_of(write_csv(tmp_path / "b.csv", rows[::-1], ["tree"]), Roles("kind"))
    assert set(whole.rows.ids) == set(turned.rows.ids)
    assert len(set(whole.rows.ids)) == 12
    assert whole.rows.ids[5] == f"{whole.rows.ids[2]}-2"
    relabelled = write_csv(tmp_path / "c.csv", [{**row, "kind": "oak"} for row in rows], ["tree"])
    assert table_of(relabelled, Roles("kind")).rows.ids == whole.rows.ids


def test_rows_in_time_and_parts(tmp_path: Path) -> None:
    rows = [{"x": i, "y": i % 2, "when": f"2026-01-{20 - i:02}", "part": "dev" if i < 2 else "train"} for i in range(6)]
    table = table_of(write_csv(tmp_path / "t.csv", rows), Roles("y", time="when", split="part"))
    assert table.rows.data["x"].tolist() == [5, 4, 3, 2, 1, 0]
    assert table.part("validation").rows.data["x"].tolist() == [1, 0]
    assert table.part("train").y == [1, 0, 1, 0]
    assert table.features == ("x",)


def test_labels_are_numbers_or_texts_as_the_classes_are(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [{"x": 1, "y": n} for n in (0, 1, 2)])
    assert table_of(path, Roles("y")).y == [0, 1, 2]
    assert table_of(path, Roles("y"), classes=["0", "1", "2"]).y == ["0", "1", "2"]
    assert table_of(path, Roles("y"), task="regression").y == [0.0, 1.0, 2.0]


def test_everything_wrong_with_right_answers_at_once(tmp_path: Path) -> None:
    rows = [{"x": 1, "y": "1"}, {"x": 2, "y": ""}, {"x": 3, "y": "tall"}, {"x": 4, "y": "inf"}]
    path = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(InputError) as caught:
        table_of(path, Roles("y"), task="regression")
    assert caught.value.codes == ("missing-label", "bad-data", "bad-data")
    assert [fault.place.line for fault in caught.value.faults] == [3, 4, 5]


def test_columns_and_parts_that_there_are_not(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [{"x": 1, "kind": "a", "part": "trian"}])
    with pytest.raises(InputError, match="did you mean `kind`") as caught:
        table_of(path, Roles("kin", id="nme"))
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="should be train, validation, test; found 'trian'"):
        table_of(path, Roles("kind", split="part"))
