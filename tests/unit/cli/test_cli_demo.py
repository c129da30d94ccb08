"""The demo's command, with a demo that takes no time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.command_line import call

SCORE = {"value": 0.5, "stderr": 0.1, "n": 25}


def model(name: str, kind: str, mean: float) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "scores": {"sort": SCORE},
        "mean": mean,
        "mean_stderr": 0.1,
        "validation_mean": mean,
        "path": name,
    }


RESULTS = {
    "models": [
        model("base", "base", 0.1),
        model("sort", "expert", 0.5),
        model("ties", "merge", 0.9),
        model("layer_stack", "merge", 0.2),
    ],
    "skills": {"sort": "put in order"},
    "best": {"merge": "ties", "rival": "sort", "difference": 0.4, "stderr": 0.1},
    "margins": {"sort": {"difference": 0.4, "stderr": 0.1}},
    "told": {"merge": "ties", "verdict": "better", "ensemble": 0.7, "over": "the base", "contributions": {"sort": 0.4}},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the demo was asked for, once it was."""
    found: dict[str, object] = {}

    def run(out: Path, *, progress, **more: object) -> SimpleNamespace:
        found.update(out=out, **more)
        for stage, steps in (("training", 2), ("judging", 1)):
            for done in range(steps + 1):
                progress(stage, done, steps)
        return SimpleNamespace(out=out, results=RESULTS)

    monkeypatch.setattr("cuvee.demo.run", run, raising=False)
    return found


def test_the_table_and_what_it_means(asked: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "demo", "-o", "there", "--seed", 3, "--quick")
    assert asked == {"out": Path("there"), "seed": 3, "overwrite": False, "quick": True}
    assert ran.code == 0
    rows = [line.split()[0] for line in ran.out.splitlines() if "±" in line and "  " in line]
    assert rows == ["base", "sort", "ties", "layer_stack"]
    assert "Everything is in there" in ran.out
    assert [line.split(" in ")[0] for line in ran.err.splitlines()] == [
        "training: done, 2 steps",
        "judging: done, 1 step",
    ]


def test_as_json(asked: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    found = call(capsys, "demo", "--json", "--overwrite").json
    assert asked["overwrite"] is True
    assert (found["command"], found["path"], found["results"]) == ("demo", "cuvee-demo", RESULTS)


def test_an_interrupted_demo_does_not_claim_that_nothing_was_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cuvee.demo.run", run, raising=False)
    ran = call(capsys, "demo", "--out", "there")
    assert (ran.code, ran.out, ran.err) == (130, "", "interrupted; what is in there is incomplete\n")


def board(log_loss: float, name: str = "ensemble", kind: str = "ensemble") -> dict[str, object]:
    scores = {"log_loss": log_loss, "accuracy": 0.9}
    return {"name": name, "kind": kind, **scores, "us_per_row": 20.0, "estimate": "direct", "verdict": "better"}


ENSEMBLES = {"digits": {"leaderboard": [board(0.1), board(0.2, "svm", "member"), board(0.4, "mlp", "member")]}}


def test_the_demo_of_ensembles(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, object] = {}

    def run(out: Path, **more: object) -> SimpleNamespace:
        found.update(out=out, **more)
        return SimpleNamespace(out=out, results={"ensembles": ENSEMBLES})

    monkeypatch.setattr("cuvee.demo.predictions.perform.run", run)
    ran = call(capsys, "demo", "ensemble", "-o", "there", "--quick")
    assert ran.code == 0
    assert (found["out"], found["seed"], found["quick"]) == (Path("there"), 0, True)
    assert "0.50 times that of the best member, svm (0.200)" in " ".join(ran.out.split())
    assert call(capsys, "demo", "ensemble", "--json").json["results"] == {"ensembles": ENSEMBLES}
    assert call(capsys, "demo", "ensembles").code == 2
