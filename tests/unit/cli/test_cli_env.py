"""What `cuvee env` tells, and the time that `cuvee plan` tells with and without a calibration."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from cuvee.api.calibration import Calibration, save
from cuvee.cli import env
from cuvee.planning import DEFAULT
from tests.support.command_line import call, write_models, write_recipe

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measured(folder: Path) -> Calibration:
    found = Calibration(DEFAULT, "/big/disk", folder.stat().st_dev, "2030-01-02T03:04:05+00:00", "9")
    save(found)
    return found


def test_env(folder: Path, capsys: Capsys) -> None:
    found = call(capsys, "env", "--json").json
    assert (found["schema"], found["command"]) == (1, "env")
    assert found["versions"]["torch"] == version("torch")
    assert found["cores"] >= 1
    assert found["memory"]["total"] > found["memory"]["free"] > 0
    assert found["cache"] == str(folder / "cache" / "cuvee")
    assert found["calibration"] is None
    out = call(capsys, "env").out
    assert "not measured" in out
    assert version("cuvee") in out


def test_env_tells_what_was_measured(folder: Path, capsys: Capsys) -> None:
    measured(folder)
    found = call(capsys, "env", "--json").json["calibration"]
    assert found["machine"]["plain"]["ties"] == {"one": 13.0, "all": 7.0}
    out = call(capsys, "env").out
    assert "2030-01-02T03:04:05+00:00 in /big/disk" in out
    row = next(line for line in out.splitlines() if line.startswith("ties"))
    assert row.split() == ["ties", "13.00", "7.00", "3.20", "1.80"]


def test_extras_are_told_with_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=2",
        "numpy>=1; extra == 'fast'",
        "no_such_library_1>=1; extra == 'large'",
        "cuvee[large,fast]; extra == 'test'",
        'no-such-library-2[deep]>=1 ; python_version > "3" and extra == "test"',
    ]
    monkeypatch.setattr(env, "requires", lambda _name: lines)
    assert env.extras() == {
        "fast": [],
        "large": ["no_such_library_1"],
        "test": ["no-such-library-2", "no_such_library_1"],
    }


def test_a_folder_without_calibration_is_refused(capsys: Capsys) -> None:
    ran = call(capsys, "env", "--folder", ".")
    assert (ran.code, ran.out) == (2, "")
    assert "--folder is for --calibrate" in ran.err


def test_a_plan_tells_time(folder: Path, capsys: Capsys) -> None:
    write_recipe(write_models(folder))
    found = call(capsys, "plan", "recipe.yml", "--json").json["time"]
    assert found["basis"] == "assumed"
    assert found["form"] == "plain"
    assert found["seconds"] == pytest.approx(found["start"] + found["merging"] + found["durable"])
    said = " ".join(call(capsys, "plan", "recipe.yml").out.split())
    assert "time about 1.5 s, 1.5 s of it to start" in said
    assert "`cuvee env --calibrate` measures this machine" in said


def test_a_plan_tells_on_which_disk_was_measured(folder: Path, capsys: Capsys) -> None:
    write_recipe(write_models(folder))
    found = measured(folder)
    assert "as measured here)" in " ".join(call(capsys, "plan", "recipe.yml").out.split())
    save(replace(found, device=found.device + 1))
    assert "as measured here, on another disk)" in " ".join(call(capsys, "plan", "recipe.yml").out.split())


@pytest.mark.slow  # whole processes are started, and a method is merged many times
def test_calibrating_is_told_and_kept_for_plans(folder: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cuvee.fused.SAVES", {})
    monkeypatch.setattr("cuvee.methods.names", lambda: ("linear",))
    ran = call(capsys, "env", "--calibrate", "--folder", folder)
    assert ran.code == 0, ran.err
    assert "ns per entry and model, from file to file" in ran.out
    assert ran.err.splitlines()[-1].startswith("measuring: done")
    write_recipe(write_models(folder))
    assert call(capsys, "plan", "recipe.yml", "--json").json["time"]["basis"] == "measured"
    kept = call(capsys, "env", "--json").json["calibration"]
    assert (kept["folder"], kept["machine"]["plain"].keys()) == (str(folder), {"linear"})
