"""The card of a partial merge: what models say of themselves counts, whichever part of them was merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cuvee
from tests.support.zoo import Cellar


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and a text model, each under a licence of its own."""
    root = tmp_path_factory.mktemp("yard")
    cellar = Cellar(root / "cellar")
    names = {"vlm": ("llava", 1, "apache-2.0"), "other": ("llava", 2, "mit"), "text": ("llama", 3, "cc-by-nc-4.0")}
    for name, (kind, seed, licence) in names.items():
        (root / name).symlink_to(cellar.model(kind, seed))
        (root / name / "README.md").write_text(f"---\n{json.dumps({'license': licence})}\n---\n# It\n", "utf-8")
    return root


def half(small: dict[str, Any]) -> dict[str, Any]:
    return {"merge_method": "linear", "models": [{"model": "vlm"}, {"model": small}], "parameters": {"weight": 0.5}}


TEXT = {"model": "text", "as": "language_model"}
TIES = {
    "merge_method": "linear",
    "models": [{"model": "text"}, {"model": {"model": "other", "part": "language_model"}}],
    "parameters": {"weight": 0.5},
}
ASKED = {
    "as": (TEXT, ["apache-2.0", "cc-by-nc-4.0"]),
    "without": ({**TEXT, "without": "vocabulary"}, ["apache-2.0", "cc-by-nc-4.0"]),
    "rename": ({"model": "text", "rename": {"": "language_model."}}, ["apache-2.0", "cc-by-nc-4.0"]),
    "part": ({"model": "other", "part": "vision_tower", "as": "vision_tower"}, ["apache-2.0", "mit"]),
    "inside": ({"model": TIES, "as": "language_model"}, ["apache-2.0", "cc-by-nc-4.0", "mit"]),
}


@pytest.mark.parametrize("case", ASKED)
def test_the_licence_of_a_partial_model_counts(
    case: str, yard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(yard)
    small, licences = ASKED[case]
    cuvee.merge(half(small), tmp_path / "out")
    told = cuvee.card(tmp_path / "out", out=tmp_path / "card.md")
    assert not [note for note in told.notes if "was not found" in note]
    assert all(licence in told.text for licence in licences)
    assert "unknown" not in f"{told.licence.id} {told.licence.name}"
