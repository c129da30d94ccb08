"""Files of tokenizers that come from strangers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cuvee.errors import InputError
from cuvee.tokens import reading
from cuvee.tokens.reading import read_folder


def bpe(**more: Any) -> dict[str, Any]:
    """A sound BPE tokenizer of three tokens, with parts of it replaced."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]} | more.pop("model", {})
    return {"added_tokens": [], "model": model, **more}


def refused(folder: Path, data: object, reason: str) -> None:
    (folder / "tokenizer.json").write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    with pytest.raises(InputError, match=reason) as raised:
        read_folder(folder, "model")
    assert set(raised.value.codes) == {"bad-tokenizer"}
    assert "tokenizer.json" in str(raised.value)


def token(number: object, content: object = "<x>", **flags: object) -> Mapping[str, object]:
    return {"id": number, "content": content, **flags}


def test_the_sound_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(bpe()))
    assert read_folder(tmp_path, "model").size == 3


@pytest.mark.parametrize("number", [-1, 2**40, 1.5, True, "0", None])
def test_numbers_of_tokens_that_are_none(tmp_path: Path, number: object) -> None:
    refused(tmp_path, bpe(model={"vocab": {"a": number, "b": 1, "ab": 2}}), "a number from 0")
    refused(tmp_path, bpe(added_tokens=[token(number)]), "`id` from 0")


def test_numbers_that_clash(tmp_path: Path) -> None:
    refused(tmp_path, bpe(model={"vocab": {"a": 0, "b": 1, "ab": 1}}), "'b' and 'ab' have the same number, 1")
    refused(tmp_path, bpe(added_tokens=[token(2)]), "'ab' and '<x>' have the same number, 2")
    refused(tmp_path, bpe(added_tokens=[token(7, "a")]), "'a' has number 7, and 0 as token")


def test_merges_of_tokens_that_are_not_there(tmp_path: Path) -> None:
    refused(tmp_path, bpe(model={"merges": ["a z"]}), "names 'z', which is no token")
    refused(tmp_path, bpe(model={"merges": [["b", "a"]]}), "names 'ba', which is no token")
    for merges in (["ab"], [["a", "b", "a"]], [[1, 2]], [None], "a b", {"a": "b"}):
        refused(tmp_path, bpe(model={"merges": merges}), "merges` must")


def test_parts_of_another_form(tmp_path: Path) -> None:
    for data in ({}, {"model": []}, {"model": {"type": "BPE"}}, bpe(model={"type": ["BPE"]}), bpe(model={"type": "X"})):
        refused(tmp_path, data, "tokenizer.json: ")
    for vocab in ([], [["a"]], [["a", "b"]], [["a", True]], "abc", {"a": {}}):
        refused(tmp_path, bpe(model={"vocab": vocab}), "vocab` must")
    for scores in ([["a"]], [["a", "b"]], [[1, 0.5]], [["a", float("nan")]], [["a", float("inf")]], {"a": 0}):
        refused(tmp_path, {"model": {"type": "Unigram", "vocab": scores}}, "pairs of a piece and its score")
    for added in ({"a": 1}, [1], [token(3, 4)], [token(3, special="yes")]):
        refused(tmp_path, bpe(added_tokens=added), "tokenizer.json: ")


def test_text_that_is_no_json_or_says_things_twice(tmp_path: Path) -> None:
    for text in ("", "{", "[" * 200_000, '{"a":' * 5_000 + "1" + "}" * 5_000, "[1]"):
        refused(tmp_path, text, "tokenizer.json: ")
    refused(tmp_path, '{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}}}', "'a' stands twice")


def test_a_tokenizer_of_a_terabyte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(2**30)  # takes no room: nothing is written into it
    monkeypatch.setattr(reading, "LIMITS", {**reading.LIMITS, "tokenizer.json": 2**20})
    with pytest.raises(InputError, match="larger than"):
        read_folder(tmp_path, "model")


def test_tokenizers_that_are_links_or_pipes(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "model"
    secret.write_text(json.dumps(bpe()))
    folder.mkdir()
    (folder / "tokenizer.json").symlink_to(secret)
    with pytest.raises(InputError) as raised:
        read_folder(folder, "model")
    assert raised.value.codes == ("unsafe-link",)
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(InputError) as raised:
        read_folder(folder, "model")
    assert raised.value.codes == ("tokenizer-missing",)


def test_code_beside_a_tokenizer_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "vocab.txt").write_text("[UNK]\na")
    (tmp_path / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass T: pass\n")
    config = {"tokenizer_class": "T", "auto_map": {"AutoTokenizer": ["own.T", "own.T"]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as raised:
        read_folder(tmp_path, "model")
    assert raised.value.codes == ("bad-tokenizer",)
    assert not mark.exists()
