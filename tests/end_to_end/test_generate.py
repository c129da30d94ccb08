"""`cuvee generate`, from folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuvee.cli.console import printable
from cuvee.generate import TokenEnsemble
from tests.support.command_line import call
from tests.support.writing import byte_level, causal

PROMPT = "one two three"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("writers")
    for number, name in enumerate(("math", "code")):
        causal("llama", len(byte_level()), number).save_pretrained(root / name)
        byte_level().save_pretrained(root / name)
    return root / "math", root / "code"


def test_one_prompt_is_written_as_it_comes(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "generate", *folders, "--prompt", PROMPT, "--max-new-tokens", 8, "--weight", 2, "--weight", 1)
    text = TokenEnsemble(folders, weights=[2, 1]).generate([PROMPT], max_new_tokens=8).texts[0]
    assert ran.code == 0
    assert ran.out == printable(text) + "\n"
    assert "identical vocabularies; 100% of tokens fused; likeliest of its own: math" in ran.err
    assert "8 tokens" in ran.err


def test_json_has_every_text(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--prompt", PROMPT, "--prompt", "the cat", "--max-new-tokens", 4, "--gate", "disagree", "--json")
    found = call(capsys, "generate", *folders, *words).json
    expected = TokenEnsemble(folders, gate="disagree").generate([PROMPT, "the cat"], max_new_tokens=4)
    assert [one["text"] for one in found["texts"]] == list(expected.texts)
    assert [one["prompt"] for one in found["texts"]] == [PROMPT, "the cat"]
    assert (found["command"], found["align"], found["tokens"]) == ("generate", "identical", 8)
    assert found["fused_share"] == expected.fused_share
    assert found["agreement"] == expected.agreement


def test_several_prompts_stand_above_their_texts(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--prompt", PROMPT, "--prompt", "the cat", "--max-new-tokens", 4, "--temperature", 0.7, "--top-k", 5)
    lines = call(capsys, "generate", folders[0], *words).out.splitlines()
    assert lines[0] == PROMPT
    assert "the cat" in lines


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--weight", 1), 2, "`weights` must be 2 numbers"),
        (("--gate", "always"), 2, "`gate`"),
        (("--chat",), 4, "chat template"),
        (("--space", "contrastive", "--weight", 1, "--weight", 1), 2, "alpha"),
        (("--max-new-tokens", 4000), 4, "max_new_tokens"),
        (("--dtype", "float33"), 2, "`dtype` must be one of"),
        (("--device", "cuda:99"), 2, "`device`"),
        (("--alpha", 2), 2, "contrastive arithmetic alone"),
    ],
)
def test_what_cannot_be_is_told(
    words: tuple[object, ...], code: int, told: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = call(capsys, "generate", *folders, "--prompt", PROMPT, *words)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
