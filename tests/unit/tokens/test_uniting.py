"""Vocabularies united, written, and loaded again by transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvee.errors import InputError
from cuvee.tokens.reading import read_folder, vocabulary_of
from cuvee.tokens.uniting import United, unite
from tests.support.tokenizers import CODE, ENGLISH, GERMAN, byte_fallback, byte_level, save, unigram, wordpiece

MAKERS = {"byte-level": byte_level, "byte-fallback": byte_fallback, "unigram": unigram, "wordpiece": wordpiece}


def write(folder: Path, united: United) -> Any:
    from transformers import PreTrainedTokenizerFast

    folder.mkdir()
    for name, text in united.files.items():
        (folder / name).write_text(text, "utf-8")
    return PreTrainedTokenizerFast.from_pretrained(folder)


def pair(tmp_path: Path, make: Callable[..., Any]) -> tuple[Path, Path]:
    """A base of English, and a model of code and German with added tokens, one of them special."""
    other = make([*CODE, *GERMAN, *ENGLISH[:2]])
    other.add_special_tokens(["<|im|>"])
    other.add_tokens(["tool_call"])
    return save(tmp_path / "a", make([*ENGLISH, *CODE[:1]])), save(tmp_path / "b", other)


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folders(tmp_path: Path, kind: str) -> tuple[Path, Path]:
    return pair(tmp_path, MAKERS[kind])


def test_a_union_is_what_transformers_loads(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    from transformers import PreTrainedTokenizerFast

    a, b = (read_folder(folder, folder.name) for folder in folders)
    united = unite([a, b], extra=["<|new|>"])
    loaded = write(tmp_path / "u", united)
    ids = united.vocabulary.ids
    assert loaded.get_vocab() == dict(ids)
    assert sorted(ids.values()) == list(range(united.vocabulary.size))
    assert ids.keys() == a.ids.keys() | b.ids.keys() | {"<|new|>"}
    assert all(ids[token] == number for token, number in a.ids.items())
    assert loaded.convert_ids_to_tokens(loaded("<|im|>", add_special_tokens=False)["input_ids"]) == ["<|im|>"]
    assert "<|im|>" not in loaded.decode([ids["<|im|>"], ids["tool_call"]], skip_special_tokens=True)
    base = PreTrainedTokenizerFast.from_pretrained(folders[0])
    assert loaded.special_tokens_map == base.special_tokens_map


def test_new_tokens_are_in_the_order_of_their_numbers_and_added_ones_come_last(folders: tuple[Path, Path]) -> None:
    a, b = (read_folder(folder, folder.name) for folder in folders)
    united = unite([a, b], extra=["<|new|>"])
    added = {token.content for token in b.added}
    ordinary = [t for t in united.new if t not in added][:-1]
    assert ordinary == sorted(ordinary, key=b.ids.__getitem__)
    assert united.new[-1] == "<|new|>"
    assert set(united.new[len(ordinary) : -1]) <= added


def test_texts_come_back_as_each_tokenizer_alone_gives_them(
    tmp_path: Path, kind: str, folders: tuple[Path, Path]
) -> None:
    from transformers import PreTrainedTokenizerFast

    a, b = (read_folder(folder, folder.name) for folder in folders)
    loaded = write(tmp_path / "u", unite([a, b]))
    for text in dict.fromkeys([*ENGLISH, *CODE, *GERMAN]):
        own = PreTrainedTokenizerFast.from_pretrained(folders[0 if text in ENGLISH else 1])
        there = own.decode(own(text, add_special_tokens=False)["input_ids"])
        assert loaded.decode(loaded(text, add_special_tokens=False)["input_ids"]) == there
        assert there == text or kind == "wordpiece"


def test_texts_become_new_tokens(tmp_path: Path, kind: str, folders: tuple[Path, Path]) -> None:
    a, b = (read_folder(folder, folder.name) for folder in folders)
    united = unite([a, b])
    loaded = write(tmp_path / "u", united)
    made = {token for text in (*CODE, *GERMAN) for token in loaded.tokenize(text)}
    assert len(made & set(united.new)) > 30
    if "byte" in kind:
        assert len(united.unreachable) <= len(united.new) // 20


def test_words_of_the_base_are_divided_as_before(tmp_path: Path, kind: str, folders: tuple[Path, Path]) -> None:
    from transformers import PreTrainedTokenizerFast

    a, b = (read_folder(folder, folder.name) for folder in folders)
    loaded, base = write(tmp_path / "u", unite([a, b])), PreTrainedTokenizerFast.from_pretrained(folders[0])
    words = [f" {word}" for text in dict.fromkeys(ENGLISH) for word in text.split()]
    same = sum(loaded.tokenize(word) == base.tokenize(word) for word in words)
    assert same == len(words) or (kind == "unigram" and same > 0.6 * len(words))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_union_with_nothing_new_is_the_base_byte_for_byte(tmp_path: Path, make: Callable[..., Any]) -> None:
    folder = save(tmp_path / "a", make(ENGLISH))
    a, b = read_folder(folder, "a"), read_folder(folder, "b")
    united = unite([a, b])
    assert united.new == ()
    assert united.files == {path.name: path.read_text("utf-8") for path in folder.iterdir()}


def test_everything_but_what_changed_stays_byte_for_byte(folders: tuple[Path, Path]) -> None:
    a, b = (read_folder(folder, folder.name) for folder in folders)
    after = json.loads(unite([a, b]).files["tokenizer.json"])
    before = json.loads(a.text)
    for data in (before, after):
        data.pop("added_tokens")
        data["model"].pop("vocab")
        data["model"].pop("merges", None)
    assert after == before


def test_files_in_the_older_form_are_dropped(tmp_path: Path) -> None:
    a, b = (save(tmp_path / name, byte_level(texts)) for name, texts in (("a", ENGLISH), ("b", CODE)))
    (a / "vocab.json").write_text("{}")
    united = unite([read_folder(a, "a"), read_folder(b, "b")])
    assert united.dropped == ("vocab.json",)
    assert "vocab.json" not in united.files


def test_roles_stay_the_bases_and_others_are_told(tmp_path: Path) -> None:
    a = save(tmp_path / "a", byte_level(ENGLISH), eos_token="<|end|>")
    b = save(tmp_path / "b", byte_level(CODE, specials=("<|im_end|>",)), eos_token="<|im_end|>", pad_token="<|im_end|>")
    united = unite([read_folder(a, "a"), read_folder(b, "b")])
    assert united.vocabulary.specials == {"eos": "<|end|>"}
    assert "stays '<|end|>', as in a; in b it is '<|im_end|>'" in united.notes[0]
    assert "the pad token stays empty" in united.notes[1]


def test_the_other_base(tmp_path: Path) -> None:
    a, b = pair(tmp_path, wordpiece)
    one, other = read_folder(a, "a"), read_folder(b, "b")
    united = unite([one, other], base=1)
    assert all(united.vocabulary.ids[token] == number for token, number in other.ids.items())


def test_scores_of_new_pieces_are_moved_by_what_shared_ones_differ(tmp_path: Path) -> None:
    def made(scores: dict[str, float]) -> str:
        vocab = [["<unk>", 0.0], *([piece, score] for piece, score in scores.items())]
        unk = {"id": 0, "content": "<unk>", "special": True}
        return json.dumps({"added_tokens": [unk], "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}})

    a = vocabulary_of({"tokenizer.json": made({"x": -1.0, "y": -2.0})}, "a")
    b = vocabulary_of({"tokenizer.json": made({"z": -5.0, "y": -4.0, "x": -2.0})}, "b")
    # shared: x differs by +1, y by +2; so z moves by +1.5
    assert json.loads(unite([a, b]).files["tokenizer.json"])["model"]["vocab"][-1] == ["z", -3.5]


def test_other_kinds_and_other_rules_are_named(tmp_path: Path) -> None:
    made = {name: read_folder(save(tmp_path / name, make(ENGLISH)), name) for name, make in MAKERS.items()}
    with pytest.raises(InputError) as raised:
        unite([made["byte-level"], made["unigram"], made["byte-fallback"]])
    text = str(raised.value)
    assert set(raised.value.codes) == {"tokenizer-mismatch"}
    assert "byte-level has bpe, unigram unigram" in text
    for difference in ("normaliser", "pre-tokenizer", "decoder", "byte fallback"):
        assert f"the same {difference}" in text
    for way in ("source: base", "source: MODEL", "transplant"):
        assert way in text
