"""One command line for each exit code, each in a process of its own, with what it says on which stream."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import LINEAR, command, environment, spawn, write_models, write_recipe
from tests.support.lanes import rarely

FAULTY = """\
merge_method: linear
models:
- model: a
  parameters:
    wieght: 0.25
- modle: b
dtype: float33
"""

LATER = """\
merge_method: karcher
models:
  - model: {name: inner, merge_method: karcher, models: [{model: a}, {model: b}]}
  - model: {model: inner, lora: c}
"""
"""An adapter on the result of a recipe."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models `a` and `b`, and recipes that are right, faulty, and right but for a model that is missing."""
    made = write_models(tmp_path_factory.mktemp("exit"))
    write_recipe(made)
    write_recipe(made, FAULTY, "faulty.yml")
    write_recipe(made, LINEAR.replace("model: b", "model: ./nowhere"), "missing.yml")
    write_recipe(made, LATER, "later.yml")
    return made


def test_0_a_merge(folder: Path) -> None:
    ran = spawn("merge", "recipe.yml", "-o", "made", cwd=folder)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "4 merged, 0 copied, 0 lost"
    assert ran.out.splitlines()[1].startswith("written to made — ")
    assert ran.err.startswith("merging: done, ")
    assert sorted(p.name for p in (folder / "made").iterdir()) == [
        "config.json",
        "cuvee.json",
        "cuvee_recipe.yml",
        "model.safetensors",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("merge", "recipe.yml", "-o", "x", "--sed", "3"), "--seed"),
        (("merg", "recipe.yml"), 'Did you mean "merge"?'),
        (("merge", "recipe.yml"), "--out"),
        (("merge", "recipe.yml", "-o", "x", "--threads", "0"), "--threads"),
        (("merge", "recipe.yml", "-o", "x", "--shard-size", "5XB"), "5XB"),
        (("methods", "tis"), "did you mean `ties`?"),
        (("plan", "recipe.yml", "more"), "more"),
    ],
)
def test_2_usage(folder: Path, words: tuple[str, ...], said: str) -> None:
    ran = spawn(*words, cwd=folder)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert len(ran.err.splitlines()) <= 2
    assert not (folder / "x").exists()


def test_3_every_fault_of_a_recipe_with_its_place(folder: Path) -> None:
    ran = spawn("validate", "faulty.yml", cwd=folder)
    assert (ran.code, ran.out) == (3, "")
    lines = ran.err.splitlines()
    for start in ("faulty.yml:5:5: ", "faulty.yml:6:3: ", "faulty.yml:7:8: "):
        assert any(line.startswith(start) for line in lines), (start, ran.err)
    assert "    did you mean `weight`?" in lines
    assert "    did you mean `model`?" in lines


def test_3_what_cannot_be_done_yet(folder: Path) -> None:
    ran = spawn("validate", "later.yml", cwd=folder)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("later.yml:4:12: ")
    assert "not carried out yet" in ran.err


@pytest.mark.parametrize(
    "words", [("merge", "missing.yml", "-o", "x"), *rarely(("plan", "missing.yml"), ("inspect", "./no"))]
)
def test_4_a_model_that_is_not_there(folder: Path, words: tuple[str, ...]) -> None:
    ran = spawn(*words, cwd=folder)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("error: ./no")
    assert not (folder / "x").exists()


def test_5_a_result_that_cannot_be_written(folder: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    for more in ((), ("--json",)):
        with full.open("w") as stream:
            done = subprocess.run(
                command("methods", *more),
                cwd=folder,
                stdout=stream,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
            )
        assert done.returncode == 5
        assert done.stderr.startswith("error: could not write the result to standard output: ")


def test_6_a_check_that_fails(folder: Path, tmp_path: Path) -> None:
    spawn("merge", "recipe.yml", "-o", tmp_path / "m", cwd=folder)
    (tmp_path / "m" / "config.json").write_text('{"model_type": "llama", "changed": true}')
    ran = spawn("verify", tmp_path / "m")
    assert ran.code == 6
    assert "✗ files" in ran.out
    assert "✓ readable" in ran.out
    assert ran.out.splitlines()[-1] == f"{tmp_path / 'm'}: 1 check failed"


def test_7_an_output_that_is_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    ran = spawn("merge", "recipe.yml", "-o", tmp_path / "out", cwd=folder)
    assert (ran.code, ran.out) == (7, "")
    assert "--overwrite" in ran.err
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "mine.txt"]
