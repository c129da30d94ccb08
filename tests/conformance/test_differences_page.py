"""docs/differences.md says what the methods say of themselves, and what is so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import cuvee
from cuvee import methods
from cuvee.reasons import REASONS
from tests.peers import page
from tests.peers.twists import TWISTS

SHOWN = {"peers", "ours", "reading"}
OURS = {"donor"}
"""Rows that the tests of this file show."""


def words(text: str) -> str:
    return " ".join(text.split())


DIFFERS = {name: " ".join(spec.differs) for name, spec in methods.specs().items() if spec.differs}


def test_a_method_and_the_page_say_the_same_of_its_peers() -> None:
    found = {name: words(text) for name, text in page.methods().items()}
    assert found == {name: words(text) for name, text in DIFFERS.items()}


def test_there_are_sentences() -> None:
    assert DIFFERS.keys() >= {"linear", "slerp", "ties", "dare_linear"}


def test_the_table_is_read_whole() -> None:
    lines = [line for line in page.text().splitlines() if line.startswith("| `")]
    assert len(page.rows()) == len(lines) > 30


def test_every_row_has_its_section_and_every_section_its_row() -> None:
    assert sorted(page.headings()) == sorted(page.rows())


def test_every_row_is_in_the_words_of_the_table() -> None:
    for row in page.rows().values():
        assert row.theirs in {"writes", "fails"}, row
        assert row.ours, row
        assert set(row.ours) <= {"writes", *REASONS}, row
        assert row.shown in SHOWN, row


def test_every_twisted_recipe_has_its_row() -> None:
    assert set(TWISTS) <= {row.id for row in page.rows().values() if row.shown == "peers"}


def test_the_rows_marked_ours_are_those_below() -> None:
    assert {row.id for row in page.rows().values() if row.shown == "ours"} == OURS


def model(folder: Path, note: str) -> Path:
    folder.mkdir()
    save_file({"w": torch.ones(3)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "note": note}), "utf-8")
    (folder / "vocab.txt").write_text(note, "utf-8")
    return folder


@pytest.mark.parametrize(("order", "base", "donor"), [("ab", None, "a"), ("ba", None, "b"), ("ab", "b", "b")])
def test_donor(order: str, base: str | None, donor: str, tmp_path: Path) -> None:
    for name in "ab":
        model(tmp_path / name, name)
    recipe = {
        "merge_method": "linear",
        "models": [{"model": name, "parameters": {"weight": 1}} for name in order],
        **({"base_model": base} if base else {}),
    }
    cuvee.merge(cuvee.recipe_from(recipe, root=tmp_path), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["note"] == donor
    assert (tmp_path / "out" / "vocab.txt").read_text("utf-8") == donor
