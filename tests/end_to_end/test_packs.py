"""Packs from the command line: made, listed, looked at, checked, written out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import call
from tests.support.merging import files, read
from tests.support.packing import family


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    data = family(tmp_path)
    file = tmp_path / "emr.yml"
    file.write_text(json.dumps(data))
    return file


def test_a_pack_is_made_listed_checked_and_written_out(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack, out = tmp_path / "pack", tmp_path / "out"
    made = call(capsys, "pack", recipe, "-o", pack)
    assert made.code == 0, made.err
    assert "9 tensors packed, 0 left to the base" in made.out
    listed = call(capsys, "unpack", pack, "--list")
    assert listed.code == 0
    rows = [line.split()[0] for line in listed.out.splitlines()[2:]]
    assert [row for row in rows if row in ("cars", "pets")] == ["cars", "pets"]
    looked = call(capsys, "inspect", pack)
    assert looked.code == 0
    assert "../base" in looked.out
    assert "emr, masks: agree" in looked.out
    assert call(capsys, "verify", pack).code == 0
    assert call(capsys, "inspect", f"{pack}#cars").code == 0
    unpacked = call(capsys, "unpack", pack, "--task", "cars", "-o", out)
    assert unpacked.code == 0, unpacked.err
    assert call(capsys, "verify", out).code == 0
    assert read(out).keys() == read(tmp_path / "base").keys()


def test_json_says_the_same(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "pack"
    made = call(capsys, "pack", recipe, "-o", pack, "--masks", "tall", "--tall-lambda", "0.2", "--json").json
    assert made["command"] == "pack"
    assert [task["name"] for task in made["pack"]["tasks"]] == ["cars", "pets"]
    assert {cite["arxiv"] for cite in made["citations"]} == {"2405.17461", "2405.07813"}
    assert made["pack"]["bytes"] == made["pack"]["delta_bytes"] + made["pack"]["mask_bytes"]
    assert call(capsys, "inspect", pack, "--json").json["pack"] == made["pack"]
    assert call(capsys, "unpack", pack, "--list", "--json").json["pack"] == made["pack"]
    assert json.loads((pack / "pack.json").read_text())["masks"] == {"kind": "tall", "lambda": 0.2}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("unpack", "PACK"), 2),
        (("unpack", "PACK", "--task", "cars"), 2),
        (("unpack", "PACK", "--list", "-o", "OUT"), 2),
        (("unpack", "PACK", "--task", "car", "-o", "OUT"), 4),
        (("unpack", "BASE", "--list"), 4),
        (("pack", "RECIPE", "-o", "PACK"), 7),
        (("pack", "RECIPE", "-o", "OUT", "--tall-lambda", "-1"), 2),
        (("merge", "RECIPE", "-o", "PACK"), 7),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int
) -> None:
    places = {"PACK": tmp_path / "pack", "OUT": tmp_path / "out", "RECIPE": recipe, "BASE": tmp_path / "base"}
    assert call(capsys, "pack", recipe, "-o", places["PACK"]).code == 0
    before = files(tmp_path)
    ran = call(capsys, *(places.get(word, word) for word in words))
    assert ran.code == code, ran.err
    assert ran.err
    assert files(tmp_path) == before
