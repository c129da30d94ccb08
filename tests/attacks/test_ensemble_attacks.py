"""Saved ensembles from somebody who wishes ill, and who makes the hashes fit."""

from __future__ import annotations

import io
import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer

from cuvee.errors import InputError
from cuvee.predict import Ensemble
from tests.support.attacking import SECONDS
from tests.support.ensembles import SOME, Doubler, function, of, own_types, reform, small, thirds

TRUSTED = ["logistic", "bayes", "rule", "own"]


def refused(folder: Path, *codes: str, trust: list[str] | None = None) -> str:
    begin = time.monotonic()
    with pytest.raises(InputError) as caught:
        Ensemble.load(folder, trust=trust or [])
    assert time.monotonic() - begin < SECONDS
    assert set(caught.value.codes) <= set(codes)
    assert len(str(caught.value)) < 20_000
    return str(caught.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    small().save(tmp_path / "e")
    return tmp_path / "e"


def rewritten(data: bytes, change: Callable[[Any], None], **options: Any) -> bytes:
    """A .skops file whose schema was changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(entries["schema.json"])
    change(schema)
    entries["schema.json"] = json.dumps(schema).encode()
    return archived(entries, **options)


def archived(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_model(folder: Path, data: bytes) -> Path:
    """The ensemble with another estimator, and hashes that fit."""
    (folder / "members/own/model.skops").write_bytes(data)
    reform(folder, lambda said: None)
    return folder


def runs_system(command: str) -> Callable[[Any], None]:
    def change(schema: Any) -> None:
        step = schema["content"]["content"]["steps"]["content"][0]["content"][1]["content"]["content"]
        step["func"].update(__module__="os", __class__="system")

    assert command
    return change


def test_an_estimator_that_runs_a_command(tmp_path: Path) -> None:
    of(own_types(FunctionTransformer(np.log1p))).save(tmp_path / "e", rows=SOME)
    data = (tmp_path / "e/members/own/model.skops").read_bytes()
    folder = with_model(tmp_path / "e", rewritten(data, runs_system("true")))
    text = refused(folder, "untrusted-type")
    assert "os.system" in text
    assert "os.system" in refused(folder, "untrusted-type", trust=["logistic", "sklearn.tree._tree.Tree"])


def test_a_member_named_like_a_type_that_is_trusted(tmp_path: Path) -> None:
    of(own_types(Doubler(), name="mylib.Model")).save(tmp_path / "e", rows=SOME)
    assert "Doubler" in refused(tmp_path / "e", "untrusted-type", trust=["mylib.Model"])


@pytest.mark.parametrize("path", ["os:system", "builtins:eval", "subprocess:run", "numpy:load"])
def test_functions_that_nobody_trusts(tmp_path: Path, path: str) -> None:
    of(function(thirds)).save(tmp_path / "e", rows=SOME)
    reform(tmp_path / "e", lambda said: said["members"][0].update(kept={"function": path}))
    assert path in refused(tmp_path / "e", "untrusted-type")
    reform(tmp_path / "e", lambda said: said["members"][0].update(kind="sklearn", inverse=path, kept={}))
    assert path in refused(tmp_path / "e", "untrusted-type", "bad-ensemble")


@pytest.mark.parametrize("path", ["", ":", "os", "os.system", "../x:y", "os:system()", "a b:c", "é:f", "os:system\n"])
def test_paths_of_functions_that_are_none(tmp_path: Path, path: str) -> None:
    of(function(thirds)).save(tmp_path / "e", rows=SOME)
    reform(tmp_path / "e", lambda said: said["members"][0].update(kept={"function": path}))
    refused(tmp_path / "e", "bad-ensemble", trust=TRUSTED)


def test_a_pickle_in_place_of_an_estimator(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    of(own_types(Doubler())).save(tmp_path / "e", rows=SOME)
    folder = with_model(tmp_path / "e", pickle.dumps(Evil()))
    refused(folder, "bad-ensemble", trust=TRUSTED)
    (folder / "members/own/model.skops").rename(folder / "members/own/model.pkl")

    def to_pickle(said: Any) -> None:
        said["files"]["members/own/model.pkl"] = said["files"].pop("members/own/model.skops")
        said["members"][0]["kept"] = {"format": "pickle"}

    reform(folder, to_pickle)
    assert "is a pickle, which runs code" in refused(folder, "untrusted-type", trust=TRUSTED)
    assert not (tmp_path / "ran").exists()


def test_an_estimator_that_unpacks_to_far_more(tmp_path: Path) -> None:
    of(own_types(Doubler())).save(tmp_path / "e", rows=SOME)
    data = (tmp_path / "e/members/own/model.skops").read_bytes()
    bomb = rewritten(data, lambda schema: schema.update(more=" " * 20_000_000), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1_000_000
    assert "compressed" in refused(with_model(tmp_path / "e", bomb), "bad-ensemble", trust=TRUSTED)


@pytest.mark.parametrize(
    "data", [b"", b"PK", archived({}), archived({"schema.json": b"{}"}), archived({"schema.json": b"["})]
)
def test_an_estimator_that_is_damaged(tmp_path: Path, data: bytes) -> None:
    of(own_types(Doubler())).save(tmp_path / "e", rows=SOME)
    refused(with_model(tmp_path / "e", data), "bad-ensemble", trust=TRUSTED)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "members/../../x", "a\\b", "./x", "a//b", "", "a\nb"])
def test_files_outside_the_folder(saved: Path, name: str) -> None:
    entry = {"bytes": 1, "sha256": "0" * 64}
    reform(saved, lambda said: said["files"].update({name: entry}))
    assert "`files` cannot list" in refused(saved, "bad-ensemble")


@pytest.mark.parametrize(
    "name", ["..", "members/..", "members/../../x", "/etc", "members/", "", "members/a/b", "members/A"]
)
def test_members_outside_the_folder(saved: Path, name: str) -> None:
    reform(saved, lambda said: said["members"][0].update(folder=name))
    assert "`folder` cannot be" in refused(saved, "bad-ensemble")


def test_links_in_place_of_files_and_folders(saved: Path, tmp_path: Path) -> None:
    model = saved / "members/bayes/model.skops"
    model.rename(tmp_path / "model.skops")
    model.symlink_to(tmp_path / "model.skops")
    assert "it is a link" in refused(saved, "unsafe-link")
    model.unlink()
    (tmp_path / "model.skops").rename(model)
    Ensemble.load(saved)
    (saved / "members/logistic").rename(tmp_path / "logistic")
    (saved / "members/logistic").symlink_to(tmp_path / "logistic")
    assert "it is a link" in refused(saved, "unsafe-link", "bad-ensemble")


def test_a_folder_in_itself(tmp_path: Path) -> None:
    inner = small()
    blend = function(inner.predict_proba, "blend")
    from dataclasses import replace

    of(replace(blend, kind="ensemble", thing=inner)).save(tmp_path / "e", rows=SOME)
    nested = tmp_path / "e/members/blend"
    for path in sorted(nested.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    nested.rmdir()
    nested.symlink_to(tmp_path / "e")
    refused(tmp_path / "e", "unsafe-link", "bad-ensemble")


def test_pipes_and_devices_in_place_of_files(saved: Path) -> None:
    for name in ("members/bayes/model.skops", "ensemble.json"):
        (saved / name).unlink()
        os.mkfifo(saved / name)
        refused(saved, "bad-ensemble")


def test_a_form_that_is_huge_deep_or_says_things_twice(saved: Path) -> None:
    text = (saved / "ensemble.json").read_text("utf-8")
    with (saved / "ensemble.json").open("wb") as file:
        file.truncate(1 << 40)
    assert "larger than" in refused(saved, "bad-ensemble")
    (saved / "ensemble.json").write_text("[" * 1_000_000)
    refused(saved, "bad-ensemble")
    (saved / "ensemble.json").write_text(text.replace('"task"', '"task": "regression", "task"', 1))
    assert "the key `task` stands twice" in refused(saved, "bad-ensemble")
    (saved / "ensemble.json").write_text(text.replace('"number": 1', '"number": ' + "9" * 10_000, 1))
    refused(saved, "bad-ensemble")


def test_folders_and_files_without_end(saved: Path) -> None:
    deep = saved
    for _ in range(40):
        deep = deep / "x"
    deep.mkdir(parents=True)
    assert "deep in one another" in refused(saved, "bad-ensemble")


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["golden"].update(rows={"form": "array", "ids": [], "data": {"texts": [1], "dtype": "V8"}}),
        lambda said: said["golden"].update(
            rows={"form": "frame", "ids": [], "names": ["a"], "data": [{"list": [1]}], "dtypes": ["object()"]}
        ),
        lambda said: said["golden"].pop("rows"),
        lambda said: said["golden"].update(members=["a", "b", "c"]),
        lambda said: said.update(fitted={"kind": "linear", "said": {"members": [["logistic"]]}}),
        lambda said: said.update(bank={"task": "classification"}),
        lambda said: said["members"][0].update(cost={"us_per_row": 1, "evil": 2}),
        lambda said: said["members"][0].update(label_map=[[{"str": "a"}, {"str": float("nan")}]]),
    ],
)
def test_parts_that_are_not_what_they_should_be(saved: Path, change: Callable[[Any], object]) -> None:
    reform(saved, change)
    refused(saved, "bad-ensemble")


def test_arrays_that_claim_more_than_is_there(saved: Path) -> None:
    header = json.dumps({"fitted/share": {"dtype": "F64", "shape": [1 << 40], "data_offsets": [0, 8 << 40]}}).encode()
    (saved / "arrays.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    reform(saved, lambda said: None)
    refused(saved, "bad-ensemble")
