"""Tokenizers read as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cuvee.errors import InputError
from cuvee.tokens.reading import read_folder
from tests.support.tokenizers import ENGLISH, byte_fallback, byte_level, save, unigram, wordpiece


@pytest.mark.parametrize(
    ("make", "kind"),
    [(byte_level, "bpe"), (byte_fallback, "bpe"), (unigram, "unigram"), (wordpiece, "wordpiece")],
)
def test_tokens_are_what_the_library_says(tmp_path: Path, make: object, kind: str) -> None:
    assert callable(make)
    tokenizer = make(ENGLISH)
    tokenizer.add_tokens(["more"])
    found = read_folder(save(tmp_path / "a", tokenizer), "a")
    assert found.kind == kind
    assert found.ids == tokenizer.get_vocab(with_added_tokens=True)
    assert found.size == tokenizer.get_vocab_size(with_added_tokens=True)
    assert found.added[-1].content == "more"
    assert not found.added[-1].special


def test_roles_and_template(tmp_path: Path) -> None:
    found = read_folder(save(tmp_path / "a", byte_level(ENGLISH), eos_token="<|end|>", template="{{ x }}"), "a")
    assert found.specials == {"eos": "<|end|>"}
    assert found.chat_template == "{{ x }}"


def test_a_template_in_the_configuration(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", byte_level(ENGLISH))
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named, "eos_token": {"content": "he"}}))
    found = read_folder(folder, "a")
    assert (found.chat_template, found.specials) == ("D", {"eos": "he"})


def test_an_older_form_is_converted(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "the", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    found = read_folder(tmp_path, "a")
    assert found.kind == "wordpiece"
    assert [found.ids[word] for word in words] == list(range(len(words)))


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no tokenizer\.json") as raised:
        read_folder(tmp_path, "a")
    assert raised.value.codes == ("tokenizer-missing",)


def test_all_damaged_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text("[]")
    (tmp_path / "special_tokens_map.json").write_bytes(b"\xff")
    with pytest.raises(InputError) as raised:
        read_folder(tmp_path, "a")
    assert raised.value.codes == ("bad-tokenizer",)  # not UTF-8 is told before anything is parsed
    (tmp_path / "special_tokens_map.json").unlink()
    with pytest.raises(InputError) as raised:
        read_folder(tmp_path, "a")
    assert raised.value.codes == ("bad-tokenizer", "bad-tokenizer")
