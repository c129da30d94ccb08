"""Answers that are kept: found again by what they depend on, and by nothing else; damage counts as absence."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cuvee.judging import caching
from cuvee.judging.answers import Answers
from cuvee.types.scores import Score
from tests.support.checkpoints import tree
from tests.support.judging import WORDS, task, write_task

TEXTS = [{"text": text, "part": "a"} for text in WORDS]
FOUND = Answers(
    "likelihood",
    {"nats": np.array([1.5, math.pi]), "tokens": np.array([3, 4]), "bytes": np.array([7, 9])},
    ("1", "x"),
    (),
    {"part": ("a", "ž")},
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cuvee" / "answers"


def test_answers_come_back_as_they_were(cache: Path) -> None:
    caching.store("name", FOUND, ["a note"])
    found, notes = caching.load("name")
    assert isinstance(found, Answers)
    assert (found.kind, found.ids, found.classes, found.groups) == (FOUND.kind, FOUND.ids, (), FOUND.groups)
    for name, column in FOUND.columns.items():
        assert np.array_equal(found.columns[name], column)
        assert found.columns[name].dtype == column.dtype
    assert notes == ("a note",)
    assert [path.name for path in cache.iterdir()] == ["name.npz"]
    assert caching.load("other") is None


def test_scores_come_back_as_they_were() -> None:
    scores = (Score("acc", 0.5, 0.1, 2, "higher", (0.0, 1.0)), Score("ppl", 3.0, math.nan, 2, "lower"))
    caching.store("name", scores)
    (first, second), _ = caching.load("name")
    assert first == scores[0]
    assert replace(second, stderr=0) == replace(scores[1], stderr=0)
    assert math.isnan(second.stderr)


def test_damage_anywhere_counts_as_absence(cache: Path) -> None:
    caching.store("name", FOUND)
    path = cache / "name.npz"
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert caching.load("name") is None, size
    at = whole.index(FOUND.columns["nats"].tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert caching.load("name") is None
    np.savez(path, about=np.frombuffer(b'{"form": "answers", "notes": []}', dtype=np.uint8))
    assert caching.load("name") is None
    np.savez(path, about=np.array([object()]))
    assert caching.load("name") is None
    path.write_bytes(whole)
    assert caching.load("name") is not None


def test_columns_of_several_lengths_are_damage() -> None:
    caching.store("name", Answers("match", {"correct": np.ones(3)}, ("1", "2")))
    assert caching.load("name") is None


def test_a_cache_that_cannot_be_written_loses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "file"))
    caching.store("name", FOUND)
    assert caching.load("name") is None
    monkeypatch.delenv("CUVEE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda text: text)  # nobody has no home
    caching.store("name", FOUND)
    assert caching.load("name") is None


def test_nothing_is_left_of_an_entry_that_could_not_be_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching, "_write", full)
    caching.store("name", FOUND)
    assert tree(cache) == {}


def test_a_task_is_known_by_what_it_asks(tmp_path: Path) -> None:
    def digest(folder: str, rows: list = TEXTS, **settings: object) -> str:
        return caching.digest_of_task(task(tmp_path / folder, rows, **{"kind": "perplexity", **settings}))

    first = digest("a")
    assert digest("b") == first
    assert digest("c", name="other", metric="bits_per_byte") == first
    assert digest("d", max_length=8) != first
    assert digest("e", rows=[*TEXTS[:-1], {"text": "elm"}]) != first
    assert digest("f", group="part") != first
    assert digest("g", limit=3) != first


def test_pictures_are_known_by_their_bytes(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "oak").mkdir(parents=True)
        (tmp_path / name / "oak" / "x.png").write_bytes(b"1" if name == "c" else b"0")
    digests = [
        caching.digest_of_task(task(tmp_path, kind="image-classification", data=name, name=name)) for name in "abc"
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_folder_is_known_by_what_is_read_of_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0")
    (tmp_path / "tokenizer.json").write_bytes(b"0")
    first = caching.digest_of_folder(tmp_path)
    (tmp_path / "README.md").write_bytes(b"a card")
    (tmp_path / "cuvee.json").write_bytes(b"a record")
    (tmp_path / ".lock").touch()
    assert caching.digest_of_folder(tmp_path) == first
    for name in ("model.safetensors", "tokenizer.json", "new.json"):
        (tmp_path / name).write_bytes(b"1")
        assert caching.digest_of_folder(tmp_path) != first
        first = caching.digest_of_folder(tmp_path)


def test_a_model_in_memory_is_known_by_its_weights_and_what_stands_beside_it() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    first = caching.digest_of_model(model)
    assert caching.digest_of_model(model) == first
    assert caching.digest_of_model(model, "a tokenizer") != first
    with torch.no_grad():
        model.bias[0] += 1
    assert caching.digest_of_model(model) != first


def test_an_entry_is_named_after_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        caching.entry_name("m", "t", {"dtype": "float32"}),
        caching.entry_name("n", "t", {"dtype": "float32"}),
        caching.entry_name("m", "u", {"dtype": "float32"}),
        caching.entry_name("m", "t", {"dtype": "bfloat16"}),
    }
    monkeypatch.setattr(caching, "ARITHMETIC", caching.ARITHMETIC + 1)
    assert len({*names, caching.entry_name("m", "t", {"dtype": "float32"})}) == 5


def test_functions_are_asked_each_time(tmp_path: Path) -> None:
    assert not caching.is_cached(task(tmp_path, kind="function", function="json:dumps"))
    assert caching.is_cached(task(tmp_path, TEXTS, kind="perplexity"))


def test_files_of_lm_eval_are_part_of_its_task(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    path = write_task(tmp_path, kind="lm-eval", tasks=["a"], include="tasks")
    from cuvee.judging import read_task

    first = caching.digest_of_task(read_task(path))
    (tmp_path / "tasks" / "a.yaml").write_text("task: a", "utf-8")
    assert caching.digest_of_task(read_task(path)) != first
