"""Where commands write: a URL is sent to, or refused; as a path it would lose a slash and become a folder here."""

from __future__ import annotations

from pathlib import Path

import pytest

import cuvee
from cuvee.api import merge_adapters
from cuvee.errors import UsageError
from tests.support.command_line import call

URL = "s3://bucket/out"
HERE = [
    ("moe", "--upcycle", "4", "model"),
    ("tune", "model", "--data", "rows.jsonl"),
    ("lora", "extract", "model", "base"),
    ("lora", "merge", "adapter"),
    ("pack", "recipe.yml"),
    ("plan", "recipe.yml"),
    ("search", "recipe.yml", "--objective", "task.yml"),
    ("collect", "model", "--data", "rows.jsonl"),
    ("learn", "recipe.yml", "--data", "rows.jsonl"),
    ("tokens", "transplant", "model", "donor"),
    ("ensemble", "fit", "ensemble.yml", "--data", "rows.csv"),
    ("ensemble", "predict", "ensemble", "--data", "rows.csv"),
    ("demo",),
    ("card", "merged"),
    ("report", "recipe.yml"),
    ("ladder", "recipe.yml", "--tasks", "task.yml"),
]
"""Commands that write on this machine alone."""
FAR = [("merge", "recipe.yml"), ("stack", "model", "--expand", "1"), ("lora", "apply", "model", "adapter")]
FAR += [("unpack", "pack", "--task", "cars")]


@pytest.mark.parametrize("words", HERE, ids=" ".join)
def test_a_url_is_no_folder_of_this_machine(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = call(capsys, *words, "-o", URL)
    assert ran.code == 2
    assert "it must be a path of this machine, and is a URL" in ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", FAR, ids=" ".join)
def test_merges_are_sent_to_a_url_as_it_is(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[object] = []
    for name in ("merge", "stack", "lora_apply", "unpack"):
        monkeypatch.setattr(f"cuvee.api.{name}", lambda *given, **_: found.extend(given))
    call(capsys, *words, "-o", URL)
    assert URL in found


def test_calls_refuse_it_too() -> None:
    for ask in (
        lambda: cuvee.build_mixture({}, URL),
        lambda: cuvee.pack("recipe.yml", URL),
        lambda: cuvee.learn("recipe.yml", data="rows.jsonl", out=URL),
        lambda: merge_adapters(["adapter"], URL),
        lambda: cuvee.transplant("model", "donor", URL),
        lambda: cuvee.tune("model", URL, data="rows.jsonl"),
    ):
        with pytest.raises(UsageError, match=r"must be a path of this machine; found a URL \(s3://\)"):
            ask()
