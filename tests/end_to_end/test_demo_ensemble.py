"""The demo of ensembles: what it leaves behind is fitted, judged on rows kept apart, and can be asked again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cuvee import api
from cuvee.demo.predictions.digits import digits
from cuvee.demo.predictions.perform import CONFIGS, DATA, run
from cuvee.demo.predictions.reviews import LABELS, reviews
from cuvee.errors import OutputExists


def test_digits_are_dealt_once_and_never_twice() -> None:
    rows = digits(3)
    assert len(rows) == len({row["id"] for row in rows}) == 1797
    assert {row["part"] for row in rows} == {"train", "validation", "test"}
    assert rows[:50] == digits(3, 50)
    assert [row["id"] for row in rows] != [row["id"] for row in digits(4)]


def test_reviews_of_several_parts_share_no_text() -> None:
    found = reviews(300, 0)
    assert len({one.text for one in found}) == 300
    assert {one.label for one in found} == set(LABELS)


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_are_good(name: str, tmp_path: Path) -> None:
    (tmp_path / "models" / "reader").mkdir(parents=True)
    (tmp_path / "c.yml").write_text(CONFIGS[name], "utf-8")
    assert api.ensemble_config(tmp_path / "c.yml").split == "part"


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path) -> None:
    made = run(tmp_path / "out", seed=1, quick=True)
    assert json.loads((made.out / "results.json").read_text("utf-8")) == json.loads(json.dumps(made.results))
    assert set(made.results["ensembles"]) == set(CONFIGS)
    for name, found in made.results["ensembles"].items():
        rows = {row["name"]: row for row in found["leaderboard"]}
        assert rows["ensemble"]["estimate"] == "direct"
        assert all(row["estimate"] in ("direct", "nested") for row in rows.values())
        asked = api.predict_ensemble(made.out / "ensembles" / name, made.out / DATA[name], id="id")
        lines = (made.out / DATA[name]).read_text("utf-8").splitlines()
        assert len(asked.ids) == len(lines) - DATA[name].endswith("csv")
    digits_found = {row["name"]: row for row in made.results["ensembles"]["digits"]["leaderboard"]}
    best = min(row["log_loss"] for row in digits_found.values() if row["kind"] == "member")
    assert digits_found["ensemble"]["log_loss"] < best
    page = (made.out / "report.html").read_text("utf-8")
    for name in CONFIGS:
        assert name in page
    with pytest.raises(OutputExists):
        run(made.out, quick=True)
