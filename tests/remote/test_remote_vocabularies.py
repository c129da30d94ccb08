"""Merged vocabularies, templates and adapters of models in a bucket: the bytes of local ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cuvee
from cuvee.errors import InputError
from tests.end_to_end.test_merged_vocabularies import model
from tests.remote.test_remote_merging import without_records
from tests.support.adapters import write_adapter
from tests.support.stores import Bucket
from tests.support.tokenizers import CODE, ENGLISH, byte_level


def test_a_union_of_models_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    parts = [model(tmp_path / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE)))]
    asked = {"merge_method": "linear", "parameters": {"weight": 1}, "tokenizer": {"source": "union"}}
    asked["chat_template"] = "chatml"
    for number, found in enumerate((parts, [bucket.put_folder(one, f"vocabulary/{one.name}") for one in parts])):
        cuvee.merge({**asked, "models": [{"model": str(one)} for one in found]}, tmp_path / f"out{number}")
    assert without_records(tmp_path / "out0") == without_records(tmp_path / "out1")
    assert cuvee.verify(tmp_path / "out1").ok


def test_an_adapter_in_a_bucket_stands_on_its_base_there(bucket: Bucket, tmp_path: Path) -> None:
    base, adapter = write_adapter("saved", tmp_path)
    far = [bucket.put_folder(one, f"adapted/{one.name}") for one in (base, adapter)]
    for number, (below, above) in enumerate(((str(base), str(adapter)), far)):
        models = [{"model": {"model": below, "lora": above}}, {"model": below}]
        recipe = {"merge_method": "linear", "parameters": {"weight": 0.5}, "models": models}
        cuvee.merge(recipe, tmp_path / f"out{number}")
    assert without_records(tmp_path / "out0") == without_records(tmp_path / "out1")
    record = json.loads((tmp_path / "out1/cuvee.json").read_text("utf-8"))
    assert record["inputs"][0]["adapters"][0]["model"] == far[1]
    assert cuvee.merge(recipe, tmp_path / "out1", resume=True).was_complete


def test_an_adapter_that_is_not_in_the_bucket_is_told(bucket: Bucket, tmp_path: Path) -> None:
    base, adapter = write_adapter("saved", tmp_path)
    (adapter / "adapter_model.safetensors").unlink()
    far = bucket.put_folder(adapter, "halved/adapter")
    recipe = {"merge_method": "passthrough", "models": [{"model": {"model": str(base), "lora": far}}]}
    with pytest.raises(InputError, match=r"there is no adapter_model\.safetensors or adapter_model\.bin") as caught:
        cuvee.merge(recipe, tmp_path / "out")
    assert caught.value.code == "bad-adapter"
