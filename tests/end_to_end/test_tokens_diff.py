"""`cuvee tokens diff` on models with tokenizers of their own, and the commands of docs/tokens.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.checkpoints import small_model, write_model
from tests.support.command_line import call
from tests.support.tokenizers import CODE, ENGLISH, byte_level, save, unigram

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tokens.md").read_text("utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(tmp_path / "math", byte_level(ENGLISH), eos_token="<|end|>", template="{{ messages }}")
    save(tmp_path / "code", byte_level(CODE, specials=("<|im_end|>",)), eos_token="<|im_end|>")
    save(tmp_path / "other", unigram(ENGLISH))
    (tmp_path / "sample.txt").write_text("the river runs over the stones")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_page_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = re.findall(r"^cuvee (tokens diff .*?)(?: {2,}#.*)?$", PAGE, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        assert call(capsys, *line.split()).code == 0, line


def test_what_is_shared_and_what_is_not(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(call(capsys, "tokens", "diff", "math", "code", "--text", "sample.txt", "--json").out)
    shared, a, b = found["shared"], found["a"], found["b"]
    assert shared["same_id"] + shared["other_id"] + found["only_a"] == a["tokens"]
    assert shared["same_id"] + shared["other_id"] + found["only_b"] == b["tokens"]
    assert found["special_tokens"] == {"eos": ["<|end|>", "<|im_end|>"]}
    assert found["verdict"] == "tokenizer"
    assert found["same_chat_template"] is False
    assert found["text_tokens"][0] < found["text_tokens"][1]


def test_verdicts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = call(capsys, "tokens", "diff", "math", "math")
    assert "can be merged as they are" in same.out
    other = call(capsys, "tokens", "diff", "math", "other")
    assert "bpe, other unigram" in other.out
    assert "cannot be united" in other.out


def test_rows_of_embeddings(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(here / "model", small_model())
    save(here / "model", byte_level(ENGLISH))
    found = json.loads(call(capsys, "tokens", "diff", "model", "code", "--json").out)
    assert isinstance(found["a"]["embedding_rows"], int)
    assert found["b"]["embedding_rows"] is None
    assert "too few" in call(capsys, "tokens", "diff", "model", "code").out


def test_what_is_not_there_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "empty").mkdir()
    ran = call(capsys, "tokens", "diff", "math", "empty")
    assert ran.code == 4
    assert "empty: a tokenizer is needed" in ran.err
    ran = call(capsys, "tokens", "diff", "math", "code", "--text", "nope.txt")
    assert ran.code == 2
    assert "nope.txt" in ran.err
    ran = call(capsys, "tokens", "dif", "math", "code")
    assert ran.code == 2
    assert "did you mean `diff`" in ran.err
