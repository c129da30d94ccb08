"""`cuvee.compare` and `cuvee compare`: where answers come from, who the parents are, text and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import cuvee
from cuvee.errors import CuveeError
from cuvee.judging.answers import Answers
from cuvee.judging.metrics import METRICS
from cuvee.judging.saved import Saved, read_answers, save_answers
from cuvee.judging.standings import Cost
from tests.support.answering import answers, matches, regressed
from tests.support.command_line import call

DOCS = Path(__file__).parents[3] / "docs" / "compare.md"
RIGHT = {"math": (160, 60), "code": (60, 150), "merged": (159, 140)}


def answered(n: int = 200) -> dict[tuple[str, str], Answers]:
    """Two experts and their merge, which loses the form of its answers on `sums`."""
    groups = {"language": ["en", "de"] * (n // 2 - 5) + ["fr"] * 10}
    return {
        (model, task): answers(
            "match",
            correct=np.arange(n) < right,
            parsed=np.arange(n) < (170 if (model, task) == ("merged", "sums") else n),
            groups=groups,
        )
        for model, several in RIGHT.items()
        for task, right in zip(("sums", "python"), several)
    }


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for (model, task), found in answered().items():
        cost = Cost(1_240_000, 0.5 if task == "sums" else 1.5)
        save_answers(tmp_path / f"{model}-{task}.safetensors", Saved(model, task, found, cost))
    return sorted(tmp_path.iterdir())


def test_files_give_what_answers_in_memory_give(files: list[Path]) -> None:
    names = ["math", "code", "merged"]
    stored = cuvee.compare(names, answers=files, parents=names[:2], draws=200)
    given = cuvee.compare(
        names, answers=answered(), parents=names[:2], draws=200, costs={n: Cost(1_240_000, 1.0) for n in names}
    )
    assert [stored[name].against for name in names] == [given[name].against for name in names]
    assert stored["merged"].cost == given["merged"].cost == Cost(1_240_000, 1.0)


def test_whoever_asks_models_can_be_given() -> None:
    seen = []

    def asks(models, tasks):
        seen.append((models, tasks))
        return answered()

    found = cuvee.compare(["math", "code", Path("merged")], ["sums.yml"], answers_of=asks, draws=200)
    assert seen == [(["math", "code", "merged"], ["sums.yml"])]
    assert found["merged"].against.difference.verdict == "better"


def test_models_that_no_merge_has_made_are_the_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not any(s.parent for s in cuvee.compare(list(RIGHT), answers=answered(), draws=200).standings)
    Path("merged").mkdir()
    Path("merged/cuvee.json").write_text("{}")
    found = cuvee.compare(list(RIGHT), answers=answered(), draws=200)
    assert [s.model for s in found.standings if s.parent] == ["math", "code"]


def test_some_of_the_models_in_files(files: list[Path]) -> None:
    found = cuvee.compare(["merged", "code"], answers=files, draws=200)
    assert [s.model for s in found.standings] == ["merged", "code"]


def test_one_metric_for_all_tasks_or_one_for_each() -> None:
    assert dict(cuvee.compare(answers=answered(), metrics="parsed", draws=200).tasks) == {
        "sums": "parsed",
        "python": "parsed",
    }
    found = cuvee.compare(answers=answered(), metrics={"sums": "parsed"}, draws=200)
    assert dict(found.tasks) == {"sums": "parsed", "python": "correct"}


def refused(said: str, code: str = "bad-argument", *args, **more) -> None:
    with pytest.raises(CuveeError) as caught:
        cuvee.compare(*args, **more)
    assert caught.value.code == code
    assert said in str(caught.value)


def test_wrong_calls(files: list[Path], tmp_path: Path) -> None:
    refused("there should be models and tasks, or answers")
    refused("there should be models and tasks, or answers", "bad-argument", ["a"])
    refused("leave either `answers` or `tasks` out", "bad-argument", ["a"], ["t.yml"], answers=files)
    refused("`models` must be a list of names", "bad-argument", "math", ["t.yml"])
    refused("`answers` names no file", answers=[])
    refused("`models` names 'mth'", "bad-argument", ["mth"], answers=files)
    refused("did you mean `math`?", "bad-argument", ["mth"], answers=files)
    refused("`raw` must be True or False", answers=files, raw="no")
    refused("`draws` must be an integer of at least 100", answers=files, draws=1)
    refused("`level` must be between 0 and 1", answers=files, level=1)
    refused("`interval` must be percentile or basic", answers=files, interval="bca")
    refused("are in another file too", "bad-answers", answers=[files[0], files[0]])
    refused("should be at", "data-missing", answers=[tmp_path / "none.json", *files])
    refused(
        "lacking: code on sums", "bad-answers", answers=[file for file in files if file.name != "code-sums.safetensors"]
    )


def test_the_command_tells_scores_verdicts_groups_and_forms(files: list[Path], capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    words = ("compare", "--answers", *files, "--parents", "math", "code", "--groups", "language")
    ran = call(capsys, *words)
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert any(line.startswith("sums correct math * 0.800 ± 0.028 1.000") for line in lines)
    assert any(line.startswith("merged 0.964 0.933 python 1.24 M 1") for line in lines)
    (verdict,) = (line for line in lines if line.startswith("merged: better than"))
    assert re.fullmatch(
        r"merged: better than \w+, the best of 2: \+0\.\d{3} \[\+0\.\d{3}, \+0\.\d{3}\] of the experts' scores", verdict
    )
    form = "merged: on sums the format has collapsed: 85.0 % of the answers have the form asked for, 100.0 % of "
    assert any(line.startswith(form) for line in lines)
    assert "merged on sums: correct by language" in lines
    assert any(line.startswith("fr 10 0.000") and line.endswith("few rows") for line in lines)
    assert any(line.startswith("gap between groups: ") for line in lines)
    assert "note: the best parent is chosen on these same rows" in ran.err


def test_the_commands_json(files: list[Path], capsys) -> None:
    ran = call(capsys, "compare", "--answers", *files, "--parents", "math", "code", "--draws", 200, "--json")
    merged = next(m for m in ran.json["models"] if m["model"] == "merged")
    assert merged["against"]["difference"]["verdict"] == "better"
    assert merged["minimum"] == pytest.approx(140 / 150)
    assert merged["hardest"] == "python"
    assert ran.json["experts"] == {"sums": "math", "python": "code"}
    assert [(f["model"], f["task"]) for f in ran.json["forms"] if f["collapsed"]] == [("merged", "sums")]
    assert ran.json["notes"]


def test_the_commands_settings(files: list[Path], capsys) -> None:
    words = ("compare", "merged", "math", "--json", "--draws", 200, "--answers", *files)
    ran = call(capsys, *words, "--experts", "sums=merged", "--metrics", "sums=parsed", "python=correct")
    assert ran.json["tasks"] == {"python": "correct", "sums": "parsed"}
    assert ran.json["experts"]["sums"] == "merged"
    raw = call(capsys, *words, "--metrics", "parsed", "--raw", "--level", 0.9, "--interval", "basic", "--seed", 3)
    assert raw.json["raw"] is True
    assert raw.json["draws"] == {"draws": 200, "seed": 3, "level": 0.9, "interval": "basic"}
    wrong = call(capsys, *words, "--experts", "sums", "=x")
    assert [fault["message"] for fault in wrong.json["error"]["faults"]] == [
        "--experts should be TASK=NAME; found 'sums'",
        "--experts should be TASK=NAME; found '=x'",
    ]


def test_names_in_files_do_not_steer_the_terminal(tmp_path: Path, capsys) -> None:
    for model in ("a\x1b[31m", "b\nerror: c"):
        found = regressed([1, 2], [2, 4])
        save_answers(tmp_path / f"{len(model)}.json", Saved(model, "t\x1b", found, Cost()))
    out = call(capsys, "compare", "--answers", *sorted(tmp_path.iterdir())).out
    assert "\x1b" not in out
    assert "\nerror" not in out


def test_the_page_has_every_metric_and_its_example_is_a_file_of_answers(tmp_path: Path) -> None:
    page = DOCS.read_text("utf-8")
    assert [name for name in METRICS if f"`{name}`" not in page] == []
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "a.json").write_text(example)
    saved = read_answers(tmp_path / "a.json")
    assert (saved.model, len(saved.answers), saved.cost) == ("math", 3, Cost(124_000_000, 0.01))
    assert json.loads(example)["cuvee_answers"] == 1


def test_matches_alone_have_no_verdict(capsys, tmp_path: Path) -> None:
    save_answers(tmp_path / "a.json", Saved("a", "t", matches([1, 0, 1]), Cost()))
    assert (
        "a: there is no other model to compare it with" in call(capsys, "compare", "--answers", tmp_path / "a.json").out
    )
