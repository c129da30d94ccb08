"""Files of answers: what is written is read again, and nothing that is damaged or hostile passes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cuvee.errors import CuveeError, OutputExists, UsageError
from cuvee.judging.answers import Answers
from cuvee.judging.saved import Saved, read_answers, save_answers
from cuvee.judging.standings import Cost
from tests.support.answering import KINDS, drawn, matches
from tests.support.checkpoints import write_model

ENDINGS = (".safetensors", ".json")


def same(a: Answers, b: Answers) -> bool:
    columns = a.columns.keys() == b.columns.keys() and all((a.columns[n] == b.columns[n]).all() for n in a.columns)
    return columns and (a.kind, a.ids, a.classes, a.groups) == (b.kind, b.ids, b.classes, b.groups)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_again(kind, ending: str, tmp_path: Path) -> None:
    found = drawn(kind, 17, seed=1)
    save_answers(tmp_path / f"a{ending}", Saved("mé\n", "t", found, Cost(7, 0.5)))
    read = read_answers(tmp_path / f"a{ending}")
    assert (read.model, read.task, read.cost) == ("mé\n", "t", Cost(7, 0.5))
    assert same(read.answers, found)


@pytest.mark.parametrize("ending", ENDINGS)
def test_classes_and_groups_are_kept(ending: str, tmp_path: Path) -> None:
    plain = drawn("classification", 4, seed=1, classes=2)
    found = Answers(plain.kind, plain.columns, plain.ids, ("cat", "dog"), {"age": ("old", "new", "old", "old")})
    save_answers(tmp_path / f"a{ending}", Saved("m", "t", found, Cost()))
    assert same(read_answers(tmp_path / f"a{ending}").answers, found)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_there_is_kept(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    save_answers(path, Saved("m", "t", matches([1]), Cost()))
    with pytest.raises(OutputExists):
        save_answers(path, Saved("n", "t", matches([1]), Cost()))
    assert read_answers(path).model == "m"
    save_answers(path, Saved("n", "t", matches([1]), Cost()), overwrite=True)
    assert read_answers(path).model == "n"


def test_no_file_is_made_of_damaged_answers(tmp_path: Path) -> None:
    with pytest.raises(CuveeError, match="should be 0 or 1"):
        save_answers(tmp_path / "a.json", Saved("m", "t", matches([2]), Cost()))
    assert not list(tmp_path.iterdir())


GOOD = {"cuvee_answers": 1, "model": "m", "task": "t", "kind": "match", "ids": ["r"], "columns": {"correct": [1]}}


def refused(path: Path, code: str, said: str) -> None:
    with pytest.raises(CuveeError) as caught:
        read_answers(path)
    assert caught.value.code == code
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_by_hand(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    assert read_answers(tmp_path / "a.json").answers.columns["correct"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cuvee_answers": 2}, "answers of version 1"),
        ({"model": ""}, "`model` should be a text"),
        ({"task": 3}, "`task` should be a text; found '3'"),
        ({"kind": "matches"}, "`kind` should be one of"),
        ({"kind": ["match"]}, "`kind` should be one of"),
        ({"ids": "r"}, "`ids` should be a list of texts"),
        ({"ids": [1]}, "`ids` should be a list of texts"),
        ({"classes": {"a": 1}}, "`classes` should be a list of texts"),
        ({"groups": {"age": "old"}}, "`groups` should give each column a list of texts"),
        ({"groups": {"age": ["old", "new"]}}, "groups by 'age' should be 1"),
        ({"parameters": 1.5}, "`parameters` should be a number"),
        ({"seconds_per_row": -1}, "`seconds_per_row` should be a number"),
        ({"columns": {"correct": ["yes"]}}, "the column 'correct' should hold numbers"),
        ({"columns": {"correct": [[1], [1, 2]]}}, "the column 'correct' should hold numbers"),
        ({"columns": {"correct": {"a": 1}}}, "the column 'correct' should hold numbers"),
        ({"columns": {"correct": [10**30]}}, "the column 'correct' should hold numbers"),
        ({"columns": {"correct": 1}}, "the shape [n]"),
        ({"columns": {"correct": [1], "other": [1]}}, "have no column 'other'"),
        ({"columns": [1]}, "no object `columns`"),
        ({"columns": {"correct": [1, 0]}}, "with n = 1; found [2]"),
        ({"columns": {"correct": [float("nan")]}}, "should be finite"),
    ],
)
def test_json_that_says_something_else(change: dict, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**GOOD, **change}))
    refused(path, "bad-answers", said)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"cuvee_answers": 1, "cuvee_answers": 1}', "[" * 200_000, '{"a": ' * 300 + "1" + "}" * 300],
)
def test_json_that_is_none_or_hostile(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    refused(tmp_path / "a.json", "bad-answers", "answers")


def test_a_pickle_under_any_name_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    for ending in ENDINGS:
        (tmp_path / f"a{ending}").write_bytes(pickle.dumps(Trap()))
        with pytest.raises(CuveeError):
            read_answers(tmp_path / f"a{ending}")
    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"should end in \.safetensors or \.json"):
        read_answers(tmp_path / "a.npy")
    assert not (tmp_path / "sprung").exists()


def test_weights_are_no_answers(tmp_path: Path) -> None:
    write_model(tmp_path / "m", {"w": torch.ones(2)})
    refused(tmp_path / "m" / "model.safetensors", "bad-answers", "'w' is not float64, int64 or uint8")
    write_model(tmp_path / "n", {"w": torch.ones(2, dtype=torch.float64)})
    refused(tmp_path / "n" / "model.safetensors", "bad-answers", "`about` is not in it")


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_answers(path, Saved("m", "t", matches([1, 0]), Cost()))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CuveeError) as caught:
        read_answers(path)
    assert caught.value.code in ("truncated", "bad-header")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_not_there(ending: str, tmp_path: Path) -> None:
    refused(tmp_path / f"none{ending}", "data-missing", "should be at")
