"""A short run of the fuzz lane, the inputs that were found or thought of before, and proof that the lane can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import lane, targets
from tests.fuzz.targets import TARGETS, outcome

CORPUS = Path(__file__).parent / "corpus"
COUNTS = {"recipe_text": 150, "recipe_data": 250, "record": 150}
GOOD = {"header/empty", "header/scalar_and_nothing", "index/good", "config/nan", "config/half_letter"}
GOOD |= {"recipe_text/mark", "recipe_text/odd_name", "reference/all", "reference/nul"}
GOOD |= {"instructions/tuple_before_mark"}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_short_run(target: str, tmp_path: Path) -> None:
    found = lane.run(target, 1, COUNTS.get(target, 700), tmp_path)
    assert found["failed"] == 0, list(tmp_path.iterdir())
    assert found["accepted"] > 5
    assert found["refused"] > 5


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_inputs_kept(path: Path) -> None:
    expected = "accepted" if f"{path.parent.name}/{path.name}" in GOOD else "refused"
    assert outcome(path.parent.name, path.read_bytes()) == expected


def test_every_target_has_inputs_kept() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_an_input_depends_on_seed_target_and_number_alone() -> None:
    for target in TARGETS:
        assert lane.made(target, 3, 5) == lane.made(target, 3, 5)
    assert len({lane.made("header", seed, number) for seed in range(4) for number in range(4)}) > 10


@pytest.mark.parametrize("trouble", [ValueError("a bug"), RecursionError(), AssertionError("not itself")], ids=repr)
def test_the_lane_can_fail(
    trouble: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(raw: bytes) -> bool:
        raise trouble

    monkeypatch.setattr(targets, "TARGETS", {**TARGETS, "size": fails})
    assert lane.run("size", 7, 30, tmp_path)["failed"] == 10  # and no more are looked for
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 10
    assert kept[0].read_bytes() == lane.made("size", 7, 0)
    assert f"--replay {kept[0]}" in capsys.readouterr().err


def test_what_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lane, "SLOW", 0.0)
    assert lane.run("size", 1, 3, tmp_path)["failed"] == 3


def test_the_oracle_sees_a_parser_that_accepts_too_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cuvee.checkpoint.format._check_cover", lambda *_: [])
    assert lane.run("header", 1, 700, tmp_path)["failed"] > 0
