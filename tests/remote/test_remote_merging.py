"""Merges of models behind URLs: the same bytes as of folders, whatever the store does, or a clear refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cuvee
from cuvee.errors import InputError
from tests.support.merging import files, linear, recipe
from tests.support.stores import Bucket, Site

RECORDS = ("cuvee.json", "cuvee_recipe.yml")  # these name the models, by path or by URL


def in_bucket(bucket: Bucket, models: Path) -> dict[str, str]:
    return {name: bucket.put_folder(models / name, f"models/{name}") for name in ("base", "a", "b")}


def without_records(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if name not in RECORDS}


def contents(folder: Path) -> list[str]:
    """What the record says the inputs and the output hash to."""
    record = json.loads((folder / "cuvee.json").read_text())
    return [*(entry["content"] for entry in record["inputs"]), record["output"]["content"]]


def merged_alike(models: Path, urls: dict[str, str], method: str = "ties", **options: Any) -> None:
    near, far = models / f"near-{method}", models / f"far-{method}"
    cuvee.merge(recipe(method, *(models / name for name in ("base", "a", "b"))), near)
    cuvee.merge(recipe(method, *(urls[name] for name in ("base", "a", "b"))), far, **options)
    assert without_records(far) == without_records(near)
    assert contents(far) == contents(near)


@pytest.mark.parametrize("method", ["linear", "slerp", "ties"])
def test_inputs_in_a_bucket_give_the_bytes_of_local_ones(bucket: Bucket, models: Path, method: str) -> None:
    merged_alike(models, in_bucket(bucket, models), method)


def test_threads_and_tiles_change_nothing(bucket: Bucket, models: Path) -> None:
    merged_alike(models, in_bucket(bucket, models), threads=5, tile=128)


def test_every_third_request_may_fail(bucket: Bucket, models: Path, impatient: int) -> None:
    urls = in_bucket(bucket, models)
    bucket.trouble.calm()
    bucket.trouble.every = 3
    merged_alike(models, urls)
    assert bucket.trouble.seen > 20


def test_models_on_a_web_server(site: Site, models: Path, impatient: int) -> None:
    site.trouble.every, site.cut = 3, 2  # and two answers break off half way
    merged_alike(models, {name: f"{site.url}/{name}" for name in ("base", "a", "b")})
    assert site.cut == 0


def test_stores_may_be_mixed(bucket: Bucket, site: Site, models: Path) -> None:
    urls = in_bucket(bucket, models)
    merged_alike(models, {"base": urls["base"], "a": f"{site.url}/a/", "b": str(models / "b")})


def test_side_files_come_from_the_bucket(bucket: Bucket, models: Path) -> None:
    (models / "a" / "extra").mkdir()
    (models / "a" / "extra" / "code.py").write_text("# mine\n")
    urls = in_bucket(bucket, models)
    bucket.trouble.calm()
    plan = cuvee.plan(linear(urls["a"], urls["b"]))
    assert [file.name for file in plan.side_files] == ["extra/code.py", "generation_config.json", "tokenizer.json"]
    assert [file.nbytes for file in plan.side_files] == [7, 12, 18]
    assert not [line for line in bucket.trouble.lines if line[1].endswith("tokenizer.json")]  # a plan fetches none
    cuvee.merge(linear(urls["a"], urls["b"]), models / "out")
    assert (models / "out" / "extra" / "code.py").read_text() == "# mine\n"


def changing(bucket: Bucket, key: str, content: bytes) -> Any:
    """Something that puts another object in the place of one, once its tensors have been asked for."""
    state = {"gets": 0}

    def before(method: str, path: str) -> None:
        state["gets"] += method == "GET" and path.endswith(key)
        if state["gets"] == 2:  # the first brought the header
            state["gets"] += 1
            bucket.put(key, content)

    return before


@pytest.mark.parametrize("longer", [0, 8])
def test_an_object_that_changes_meanwhile_is_refused(bucket: Bucket, models: Path, longer: int) -> None:
    urls = in_bucket(bucket, models)
    key = "models/a/model.safetensors"
    content = (models / "a" / "model.safetensors").read_bytes()
    bucket.trouble.before = changing(bucket, key, content[: -1 - longer] + b"\1")
    with pytest.raises(InputError, match=r"has changed|is not there|bytes came") as caught:
        cuvee.merge(linear(urls["a"], urls["b"]), models / "out")
    assert caught.value.code == "io-error"
    assert "s3://cellar/models/a/model.safetensors" in str(caught.value)
    assert not (models / "out").exists()


def test_a_file_of_a_web_server_that_changes_is_refused_at_once(site: Site, models: Path) -> None:
    state = {"gets": 0}

    def before(method: str, path: str) -> None:
        state["gets"] += method == "GET" and path == "/a/model.safetensors"
        if state["gets"] == 2:
            content = (models / "b" / "model-00001-of-00003.safetensors").read_bytes()
            (models / "a" / "model.safetensors").write_bytes(content)

    site.trouble.before = before
    with pytest.raises(InputError, match="has changed since it was opened") as caught:
        cuvee.merge(linear(f"{site.url}/a", f"{site.url}/b"), models / "out")
    assert "bytes" in str(caught.value)  # If-Match: told with the range, not at the end
    assert not (models / "out").exists()
