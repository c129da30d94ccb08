"""What is said of the place where an output would go."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuvee.cli.outlook import look_ahead
from cuvee.errors import ResourceError
from tests.support.command_line import call, write_models, write_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(write_models(tmp_path))


def occupied(recipe: Path, out: Path | None) -> bool:
    return look_ahead(recipe, out, overwrite=False, threads=1, tile=None).occupied


def test_what_is_there_occupies_unless_it_is_an_empty_folder(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    places = {"a": True, "recipe.yml": True, "empty": False, "new": False, "deep/er": False}
    assert {name: occupied(recipe, tmp_path / name) for name in places} == places
    assert not occupied(recipe, None)


def test_the_disk_is_that_of_the_nearest_folder(recipe: Path, tmp_path: Path) -> None:
    found = look_ahead(recipe, tmp_path / "deep" / "er", overwrite=False, threads=1, tile=None)
    assert (found.disk.path, found.disk.enough) == (tmp_path, True)
    assert found.workers.threads == 1


def test_a_name_that_no_file_system_takes_is_told(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"could not look at .*File name too long"):
        occupied(recipe, tmp_path / ("x" * 300))


@pytest.mark.parametrize("words", [("inspect", ""), ("inspect", "@main"), ("verify", ""), ("diff", "", ".")])
def test_an_empty_name_is_a_fault_of_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, *words).code == 2


@pytest.mark.parametrize("verb", ["plan", "merge", "demo"])
def test_an_empty_place_is_not_the_working_folder(
    verb: str, recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (recipe.parent / "empty").mkdir()
    monkeypatch.chdir(recipe.parent / "empty")
    words = [verb, *([] if verb == "demo" else [recipe]), "-o", ""]
    ran = call(capsys, *words, *([] if verb == "plan" else ["--overwrite"]))
    assert (ran.code, ran.out) == (2, "")
    assert "must be a folder's name, and is empty" in ran.err
    assert list(Path().iterdir()) == []
