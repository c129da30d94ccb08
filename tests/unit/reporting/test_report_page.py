"""The page as text: what it tells, what it must not hold, when it is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import cuvee
from cuvee.api import ReportResult
from cuvee.errors import Fault, InputError, OutputExists, UsageError
from tests.support.command_line import call
from tests.support.reporting import HOSTILE, evidence_files, folder_of, search_folder


class Elements(HTMLParser):
    """Every element with its attributes, and the content of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)
            if re.fullmatch("h[1-6]", self._inside):
                self.headings.append(f"{self._inside} {data}")

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.found if name == tag)


class Made:
    def __init__(self, root: Path, result: ReportResult) -> None:
        self.root, self.result = root, result
        self.text = result.path.read_text("utf-8")
        self.page = Elements(self.text)

    def block(self, name: str) -> Any:
        return json.loads(re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', self.text)[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("report")
    folder = folder_of(root)
    files, searches = evidence_files(root), [search_folder(root / "found")]
    return Made(root, cuvee.report(folder, root / "report.html", files=files, searches=searches))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of tests that ask for words only, without the time that pictures take."""
    monkeypatch.setattr("cuvee.reporting.parts.draw_svg", lambda *_, **__: "<svg></svg>")


def test_everything_is_told_under_its_heading(made: Made) -> None:
    assert all(made.result.sections.values())
    assert made.result.notes == ()
    titles = [head[3:] for head in made.page.headings if head.startswith("h2")]
    assert titles == list(made.result.sections)
    assert [head for head in made.page.headings if head.startswith("h1")] == ["h1 merged"]
    assert made.result.nbytes == made.result.path.stat().st_size < 2_000_000


def test_the_verdict_is_in_words(made: Made) -> None:
    words = " ".join(made.page.words)
    assert "Better than every parent" in words
    assert re.search(
        r"Over all tasks \+0\.\d+ \[\+0\.\d+, \+0\.\d+\] of the experts’ scores against one, the best of 3", words
    )
    assert "On rows that it never saw, the best of 5 trials gains +0.100 ± 0.020 over models/one" in words


def test_headings_never_skip_a_level(made: Made) -> None:
    levels = [int(head[1]) for head in made.page.headings]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_names_of_models_and_tasks_make_no_elements(made: Made) -> None:
    assert HOSTILE in "".join(made.page.words)
    assert not list(made.page.of("img"))
    assert len(made.page.scripts) == 5
    assert not any(one.strip().startswith("alert") for one in made.page.scripts)
    assert not any(key.startswith("on") for _, attributes in made.page.found for key in attributes)
    assert "<!--" not in made.text


def test_nothing_is_asked_from_outside(made: Made) -> None:
    for tag, attributes in made.page.found:
        links = {key: value or "" for key, value in attributes.items() if key in ("src", "href", "xlink:href", "data")}
        if tag == "a":
            assert all(re.match(r"#|https://arxiv\.org/abs/", link) for link in links.values())
        else:
            assert links == {}, (tag, links)
    assert tuple(made.page.of("link")) == ()
    assert "@import" not in made.text
    assert "url(http" not in made.text


def test_the_policy_allows_the_scripts_of_the_page_and_no_others(made: Made) -> None:
    (policy,) = [one["content"] for one in made.page.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    run = re.findall(r"<script>(.*?)</script>", made.text, re.DOTALL)
    assert allowed == [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in run]
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_every_chart_has_words_a_picture_and_a_table(made: Made) -> None:
    specs = made.block("cuvee-charts")
    assert {
        "mean",
        "task-1",
        "task-2",
        "weights",
        "map-cosine",
        "spread",
        "search-1",
        "front-1-0-1",
        "explain-1",
    } <= set(specs)
    drawn = {one["data-chart"]: one for one in made.page.of("div") if "data-chart" in one}
    assert set(drawn) == set(specs)
    assert all(one["role"] == "img" and len(one["aria-label"] or "") > 40 for one in drawn.values())
    for name in specs:
        figure = re.findall(rf'<figure [^>]*id="figure-{name}">.*?</figure>', made.text, re.DOTALL)[0]
        assert "<svg" in figure
        assert "<table>" in figure
        assert "<caption>" in figure


def test_ids_are_unique_in_the_page_its_pictures_among_them(made: Made) -> None:
    ids = [attributes["id"] for _, attributes in made.page.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_same_evidence_gives_the_same_bytes(made: Made) -> None:
    files = [made.root / "compare.json", made.root / "explain.json"]
    again = cuvee.report(made.root / "merged", made.root / "again.html", files=files, searches=[made.root / "found"])
    assert again.path.read_bytes() == made.result.path.read_bytes()


def test_papers_are_those_of_the_record_the_search_and_the_explanation(made: Made) -> None:
    papers = re.findall(r'<ol class="papers">(.*?)</ol>', made.text)[0]
    assert re.findall(r"<li>(\w+)", papers) == ["Yadav", "Deb", "Shapley"]


def test_weights_are_those_of_the_plan(made: Made) -> None:
    rows = made.block("cuvee-charts")["weights"]["data"]["values"]
    found = {(row["x"], row["y"]): row["value"] for row in rows}
    for layer, weight in (("0", 0.2), ("1", 0.6), ("2", 1.0)):
        assert found[layer, "one"] == pytest.approx(0.8 * weight / (weight + 0.5))
        assert found[layer, HOSTILE] == pytest.approx(0.8 * 0.5 / (weight + 0.5))


def test_a_page_that_is_there_is_not_lost(made: Made, tmp_path: Path) -> None:
    target = tmp_path / "kept.html"
    target.write_text("mine")
    with pytest.raises(OutputExists) as caught:
        cuvee.report(made.root / "merged", target)
    assert caught.value.code == "output-exists"
    assert target.read_text() == "mine"


def test_without_models_and_evidence_the_page_says_how_to_get_them(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "cuvee.json").write_bytes((made.root / "merged" / "cuvee.json").read_bytes())
    ran = call(capsys, "report", alone, "--json")
    assert ran.code == 0
    told = ran.json
    assert told["path"] == "report.html"
    assert told["bytes"] == (tmp_path / "report.html").stat().st_size
    there = [title for title, is_told in told["sections"].items() if is_told]
    assert there == ["How it was made", "What was really applied", "The record"]
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Not judged yet" in text
    assert "--root FOLDER" in text
    missing = re.findall(r"No figures: not found: ([^<]*)", text)[0]
    assert "models/base" in missing
    assert "models/one" in missing


def test_all_that_is_wrong_with_the_evidence_is_told_at_once(made: Made, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    wrong = json.loads((made.root / "compare.json").read_text())
    wrong["models"][0]["mean"] = "high"
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    files = [tmp_path / "broken.json", tmp_path / "wrong.json"]
    with pytest.raises(InputError) as caught:
        cuvee.report(made.root / "merged", tmp_path / "r.html", files=files, searches=[tmp_path])
    assert caught.value.codes == ("bad-data",) * 3
    assert "models[0].mean should be a number; found 'high'" in caught.value.faults[1].message
    assert not (tmp_path / "r.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_models_that_cannot_be_asked_together_are_compared_without_their_ensemble(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads((made.root / "compare.json").read_text())

    class Standings:
        def as_data(self) -> dict[str, Any]:
            return told

    def compare(*given: Any, ensemble: bool = False, **more: Any) -> Standings:
        if ensemble:
            raise InputError(Fault("wrong-model", "their vocabularies differ"))
        return Standings()

    monkeypatch.setattr("cuvee.api.comparing.compare", compare)
    cuvee.report(made.root / "merged", tmp_path / "r.html", tasks=["sums.yml"])
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "there is no ensemble of the inputs: their vocabularies differ" in text


@pytest.mark.parametrize(
    ("line", "told"),
    [({"gains": 0.5}, "tried[0].gains should be a list"), ({"gains": ["a"]}, "tried[0].gains[0] should be a number")],
)
def test_trials_of_another_form_are_refused(line: dict[str, Any], told: str, made: Made, tmp_path: Path) -> None:
    found = search_folder(tmp_path / "found")
    trial = {"number": 0, "values": {}, "state": "scored", "seconds": 1.0, **line}
    (found / "journal.jsonl").write_text(f'{{"journal": 1}}\n{json.dumps(trial)}\n')
    with pytest.raises(InputError) as caught:
        cuvee.report(made.root / "merged", tmp_path / "r.html", searches=[found])
    assert caught.value.codes == ("bad-data",)
    assert told in caught.value.faults[0].message


def test_a_damaged_configuration_is_left_to_verify(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    folder.mkdir()
    (folder / "cuvee.json").write_bytes((made.root / "merged" / "cuvee.json").read_bytes())
    (folder / "config.json").write_text("{")
    result = cuvee.report(folder, tmp_path / "r.html", root=tmp_path)
    assert result.sections["How it was made"]


def test_a_comparison_and_tasks_are_one_too_many(made: Made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave either"):
        cuvee.report(made.root / "merged", tmp_path / "r.html", files=[made.root / "compare.json"], tasks=["sums.yml"])


@pytest.mark.usefixtures("undrawn")
def test_tasks_compare_base_inputs_and_merge_now(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads((made.root / "compare.json").read_text())
    asked: dict[str, Any] = {}

    class Standings:
        def as_data(self) -> dict[str, Any]:
            told["models"][0]["cost"]["seconds_per_row"] = float("nan")
            return told

    def compare(models: list[str], tasks: list[str], **more: Any) -> Standings:
        asked.update(models=models, tasks=tasks, **more)
        return Standings()

    monkeypatch.setattr("cuvee.api.comparing.compare", compare)
    result = cuvee.report(made.root / "merged", tmp_path / "r.html", tasks=["sums.yml"], asking={"limit": 3})
    assert asked["parents"] == [str(made.root / "models" / name) for name in ("one", HOSTILE)]
    assert asked["models"] == [str(made.root / "models" / "base"), *asked["parents"], str(made.root / "merged")]
    assert asked["tasks"] == ["sums.yml"]
    assert asked["ensemble"]
    assert asked["asking"] == {"limit": 3}
    assert result.sections["Scores"]


@pytest.mark.usefixtures("undrawn")
def test_a_changed_input_is_noted(made: Made, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    folder = folder_of(root)
    weights = root / "models" / "one" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    result = cuvee.report(folder, tmp_path / "r.html")
    assert result.notes == ("./models/one is not what it was when it was merged: figures are of what is there now",)


@pytest.mark.parametrize("library", ["altair", "vl_convert"])
def test_a_missing_library_is_told_with_its_extra_before_anything_is_read(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError) as caught:
        cuvee.report(tmp_path / "not there", tmp_path / "r.html")
    assert caught.value.code == "missing-extra"
    assert "cuvee[report]" in (caught.value.faults[0].hint or "")
