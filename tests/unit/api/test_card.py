"""`cuvee card`: what a merge's README.md says, read by the hub's own library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

import cuvee
from cuvee.errors import Fault, InputError, OutputExists, ResourceError, UsageError
from cuvee.execute.record_form import read_record
from cuvee.types import ModelRef
from tests.support.command_line import call
from tests.support.fake_hub import FakeModel, running
from tests.support.merging import decoder, linear, recipe, write
from tests.support.reporting import search_folder

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 8}
NO_CLASS = {"model_type": "llama", "num_hidden_layers": 2}


def stated(folder: Path, **front: Any) -> None:
    """The card of an input."""
    (folder / "README.md").write_text(f"---\n{json.dumps(front)}\n---\n# It\n", "utf-8")


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    for seed, name in enumerate(("base", "a", "b")):
        write(tmp_path / "models" / name, decoder(seed), CONFIG)
    stated(tmp_path / "models" / "base", license="apache-2.0", language=["en"])
    stated(tmp_path / "models" / "a", license="mit", language="no", base_model="org/origin")
    stated(tmp_path / "models" / "b", license="cc-by-nc-4.0", base_model=["org/origin", "not an id", "./x"])
    return tmp_path


@pytest.fixture
def merged(yard: Path) -> Path:
    names = [yard / "models" / name for name in ("base", "a", "b")]
    cuvee.merge(recipe("ties", *names), yard / "out", seed=7, sha256=True)
    return yard / "out"


def compared(model: str, parents: tuple[str, ...] = ("models/a",)) -> dict[str, Any]:
    """What `cuvee compare --json` prints, in small."""

    def row(name: str, value: float) -> dict[str, Any]:
        gained = {"value": 0.042, "low": 0.01, "high": 0.075, "verdict": "better", "rows": 120, "differing": 30}
        cell = {"metric": "accuracy", "value": value, "stderr": 0.02, "n": 120, "direction": "higher"}
        tasks = {"sums": {**cell, "normalised": 0.9, "against": gained}}
        against = {"model": "models/a", "among": 2, "difference": gained}
        return {
            "model": name,
            "parent": name in parents,
            "tasks": tasks,
            "mean": 0.9,
            "minimum": 0.8,
            "hardest": "sums",
            "against": against,
            "cost": {"parameters": None, "seconds_per_row": None},
        }

    rows = [row("models/a", 0.75), row(model, 0.8125), row("ensemble", 0.875)]
    answer = {"tasks": {"sums": "accuracy"}, "experts": {"sums": "models/a"}, "raw": False, "notes": ["few | rows"]}
    answer |= {"groups": [], "forms": []}
    return {"schema": 1, "command": "compare", **answer, "models": rows}


def explained() -> dict[str, Any]:
    """What `cuvee explain --json` prints, in small."""
    figure = {"value": 0.5, "stderr": 0.02}
    share = {**figure, "low": 0.46, "high": 0.54}
    parts = [
        {"name": "models/a", "shapley": share, "leave_one_out": {**share, "value": 0.25}, "alone": figure},
        {"name": "models/<b>", "shapley": share, "leave_one_out": share, "alone": None},
    ]
    told = {"subject": "merge", "task": "sums", "metric": "accuracy", "direction": "higher", "n": 120, "of": "models"}
    how = {"exact": False, "coalitions": 8, "permutations": 64, "nothing": {"what": "the base", **figure}}
    return {
        "schema": 1,
        "command": "explain",
        "explanations": [{**told, **how, "whole": figure, "parts": parts}],
        "citations": [],
    }


def put(folder: Path, name: str, data: Mapping[str, Any]) -> Path:
    path = folder / name
    path.write_text(json.dumps(data), "utf-8")
    return path


def front(path: Path) -> dict[str, Any]:
    """The front matter, with every check that the hub's library makes."""
    return ModelCard.load(path, ignore_metadata_errors=False).data.to_dict()


# --- what it says


def test_the_front_matter_of_a_merge_of_local_models(merged: Path) -> None:
    made = cuvee.card(merged)
    assert made.path == merged / "README.md"
    assert front(made.path) == {
        "language": ["en", "no"],
        "license": "cc-by-nc-4.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": ["org/origin"],
        "base_model_relation": "merge",
        "tags": ["merge", "cuvee", "ties"],
    }
    assert made.licence.decided_by == (str(merged.parent / "models" / "b"),)
    assert made.base_models == ("org/origin",)
    assert made.notes == ()


def test_the_page_tells_recipe_settings_inputs_hashes_and_sources(merged: Path) -> None:
    text = cuvee.card(merged).text
    record = json.loads((merged / "cuvee.json").read_text("utf-8"))
    for found in record["inputs"]:
        assert f"`{found['content']}`" in text
        assert f"`{found['model']}`" in text
    for digest in (record["recipe_sha256"], record["output"]["content"], *record["output"]["sha256"].values()):
        assert f"`{digest}`" in text
    assert "| seed | 7 |" in text
    assert "merge_method: ties" in text
    assert "cuvee merge cuvee_recipe.yml -o merged --seed 7" in text
    assert "AutoModelForCausalLM.from_pretrained(path)" in text
    assert "It was not judged" in text
    assert "no legal advice" in text
    assert text.count("arxiv.org/abs/") == 1
    assert "https://arxiv.org/abs/2306.01708" in text


def test_the_recipe_in_the_card_is_the_recipe(merged: Path, yard: Path) -> None:
    fences = [token for token in MarkdownIt().parse(cuvee.card(merged).text) if token.info == "yaml"]
    (yard / "again.yml").write_text(fences[0].content, "utf-8")
    record = json.loads((merged / "cuvee.json").read_text("utf-8"))
    cuvee.merge(yard / "again.yml", yard / "again", seed=7)
    again = json.loads((yard / "again" / "cuvee.json").read_text("utf-8"))
    assert again["recipe_sha256"] == record["recipe_sha256"]
    assert again["output"]["content"] == record["output"]["content"]


def test_scores_become_results_and_the_verdict_a_sentence(merged: Path, yard: Path) -> None:
    files = [put(yard, "c.json", compared(str(merged))), put(yard, "e.json", explained())]
    made = cuvee.card(merged, files)
    (result,) = ModelCard.load(made.path, ignore_metadata_errors=False).data.eval_results
    assert (result.task_type, result.dataset_name, result.metric_type) == ("text-generation", "sums", "accuracy")
    assert (result.metric_value, result.verified) == (0.8125, None)
    assert "**better than** `models/a`, the best of 2: +0.042 [+0.010, +0.075] of the experts' scores." in made.text
    assert f"| **`{merged}`** (this model) | 0.812 ± 0.020 | 0.900 | +0.042 [+0.010, +0.075] | better |" in made.text
    assert "| `models/a` (parent) | 0.750 ± 0.020 |" in made.text
    assert "| `ensemble` | 0.875 ± 0.020 |" in made.text
    assert "- few \\| rows" in made.text
    assert "| `models/<b>` | +0.500 [+0.460, +0.540] | +0.500 [+0.460, +0.540] | – |" in made.text
    assert "from 64 random orders" in made.text


def test_a_comparison_without_this_model_gives_no_results(merged: Path, yard: Path) -> None:
    made = cuvee.card(merged, [put(yard, "c.json", compared("another"))])
    assert "model-index" not in front(made.path)
    assert "not among the models of the comparison" in made.text


def test_conflicting_and_missing_licences_are_named_and_none_is_chosen(yard: Path, merged: Path) -> None:
    stated(yard / "models" / "a", license="gpl-3.0")
    made = cuvee.card(merged)
    found = front(made.path)
    assert (found["license"], found["license_name"]) == ("other", "apache-2.0-and-gpl-3.0-and-cc-by-nc-4.0")
    assert "**To be looked at:** no licence of the inputs meets all the others" in made.text
    (yard / "models" / "a" / "README.md").unlink()
    made = cuvee.card(merged, overwrite=True)
    assert front(made.path)["license_name"] == "apache-2.0-and-cc-by-nc-4.0-and-unknown"
    assert f"{yard / 'models' / 'a'} states no licence" in made.text


def test_a_licence_file_speaks_where_the_card_does_not(yard: Path, merged: Path) -> None:
    stated(yard / "models" / "b", language="de")
    (yard / "models" / "b" / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n", "utf-8")
    made = cuvee.card(merged)
    assert made.licence.id == "apache-2.0"
    assert [one.source for one in made.licence.stated] == ["its card", "its card", "its LICENSE file"]


def test_another_model_in_an_inputs_place_is_not_asked(yard: Path, merged: Path) -> None:
    target = yard / "models" / "a"
    for path in list(target.iterdir()):
        path.unlink()
    target.rmdir()
    write(target, {"w": torch.zeros(2)}, CONFIG)
    stated(target, license="mit")
    made = cuvee.card(merged)
    assert made.licence.id == "other"
    assert made.notes == (f"{target} was not found where it was merged from, so that its own card could not be read",)


def test_a_card_that_is_no_yaml_states_nothing(yard: Path, merged: Path) -> None:
    (yard / "models" / "a" / "README.md").write_text("---\na: [\n---\n", "utf-8")
    made = cuvee.card(merged)
    assert "its card" not in [one.source for one in made.licence.stated if one.model.endswith("/a")]
    assert "the front matter of its card cannot be read" in made.notes[0]


def test_relative_paths_start_from_the_root_that_is_given(yard: Path) -> None:
    (yard / "recipes").mkdir()
    path = yard / "recipes" / "r.yml"
    path.write_text(json.dumps(linear("../models/a", "../models/b")), "utf-8")
    cuvee.merge(path, yard / "deep" / "er" / "out")
    assert cuvee.card(yard / "deep" / "er" / "out").licence.id == "unknown"
    made = cuvee.card(yard / "deep" / "er" / "out", root=yard / "recipes", overwrite=True)
    assert made.licence.id == "cc-by-nc-4.0"
    cuvee.merge(path, yard / "merges" / "out")  # beside the recipes: found without being told
    assert cuvee.card(yard / "merges" / "out").licence.id == "cc-by-nc-4.0"


def test_inputs_of_a_recipe_inside_the_recipe_count_too(yard: Path) -> None:
    inner = linear(yard / "models" / "a", yard / "models" / "b")
    entries = [
        {"model": inner, "parameters": {"weight": 1}},
        {"model": str(yard / "models" / "base"), "parameters": {"weight": 1}},
    ]
    cuvee.merge({"merge_method": "linear", "models": entries}, yard / "nested")
    made = cuvee.card(yard / "nested")
    assert made.licence.id == "cc-by-nc-4.0"
    assert "| result |" in made.text
    assert f"| ↳ `{yard / 'models' / 'b'}` |" in made.text


def test_names_of_strangers_stay_names(tmp_path: Path) -> None:
    bad = "a|<script>alert(1)</script>`` `b"
    write(tmp_path / bad.replace("/", "∕"), decoder(0), CONFIG)
    write(tmp_path / "b", decoder(1), CONFIG)
    folder = tmp_path / "out <img src=x onerror=1>"
    cuvee.merge(linear(tmp_path / bad.replace("/", "∕"), tmp_path / "b"), folder)
    made = cuvee.card(folder, [put(tmp_path, "c.json", compared(str(folder), parents=("x\n---\n",)))])
    assert front(made.path)["model-index"][0]["name"] == folder.name
    body = made.text.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    kinds = {child.type for token in tokens for child in token.children or ()} | {token.type for token in tokens}
    assert not kinds & {"html_inline", "html_block", "image"}
    rows = [token for token in tokens if token.type == "tr_open"]
    cells = [token for token in tokens if token.type in ("td_open", "th_open")]
    assert 0 < len(rows) < len(cells)


def test_a_record_that_somebody_wrote_leads_nowhere(merged: Path) -> None:
    record = json.loads((merged / "cuvee.json").read_text("utf-8"))
    record["inputs"][1]["hub"] = {"model": "a](javascript:alert(1))", "commit": "../../x"}
    record["citations"] = [{"text": "T", "arxiv": "1) <b> ("}, {"text": "U", "url": "javascript:alert(1)"}]
    del record["recipe"]["merge_method"]
    (merged / "cuvee.json").write_text(json.dumps(record), "utf-8")
    made = cuvee.card(merged)
    tokens = MarkdownIt("commonmark").enable("table").parse(made.text.split("\n---\n", 1)[1])
    links = [child for token in tokens for child in token.children or () if child.type == "link_open"]
    assert links == []
    assert made.base_models == ("org/origin",)


# --- hub ids

BOTH = """
import json, sys, cuvee
recipe, out = json.loads(sys.argv[1]), sys.argv[2]
cuvee.merge(recipe, out)
made = cuvee.card(out)
print(json.dumps([made.licence.id, made.licence.link, made.base_models, made.notes]))
"""


def from_hub(folder: Path, **models: str) -> None:
    """Say of inputs, by number, that they came from the hub."""
    record = json.loads((folder / "cuvee.json").read_text("utf-8"))
    for number, (letter, name) in enumerate(models.items()):
        record["inputs"][number] |= {"model": name, "hub": {"model": name, "commit": letter * 40}}
    (folder / "cuvee.json").write_text(json.dumps(record), "utf-8")


def test_cards_and_licences_of_hub_models_are_those_of_their_commits(
    merged: Path, yard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuvee.checkpoint import hub
    from cuvee.checkpoint.hub_listing import Listing

    from_hub(merged, a="org/base", b="org/tuned", c="org/other")
    link = "license: other\nlicense_name: acme\nlicense_link: LICENSE.md"
    texts = {"org/base": "license: mit", "org/tuned": link, "org/other": "license: mit"}

    def fetch(ref: ModelRef, listing: Listing, file: str) -> Path:
        assert (ref.revision, file) == (listing.commit, "README.md")
        path = yard / f"{ref.path.replace('/', '-')}.md"
        path.write_text(f"---\n{texts[ref.path]}\n---\n", "utf-8")
        return path

    monkeypatch.setattr(hub, "look_up", lambda ref: Listing(ref.revision, ("README.md",)))
    monkeypatch.setattr(hub, "fetch", fetch)
    made = cuvee.card(merged)
    assert made.base_models == ("org/base", "org/tuned", "org/other")
    assert (made.licence.id, made.licence.name) == ("other", "acme")
    assert made.licence.link == f"https://huggingface.co/org/tuned/blob/{'b' * 40}/LICENSE.md"
    assert f"| [`org/tuned`](https://huggingface.co/org/tuned) | `{'b' * 40}` |" in made.text


@pytest.mark.slow  # the same through the hub's own library
def test_a_merge_of_hub_models_names_their_ids_and_the_commits_that_were_merged(tmp_path: Path) -> None:
    def files(seed: int, text: str) -> dict[str, bytes]:
        folder = write(tmp_path / f"m{seed}", decoder(seed), CONFIG)
        return {path.name: path.read_bytes() for path in folder.iterdir()} | {"README.md": text.encode()}

    link = "license: other\nlicense_name: acme\nlicense_link: LICENSE.md\n"
    models = {
        "org/base": FakeModel(files(0, "---\nlicense: mit\n---\n"), commit="a" * 40),
        "org/tuned": FakeModel(files(1, f"---\n{link}---\n"), commit="b" * 40, revisions=("v2",)),
        "org/tuned@new": FakeModel(files(2, "---\nlicense: mit\n---\n"), commit="c" * 40),
    }
    asked = linear("org/base", "org/tuned@v2")
    with running(models) as hub:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        own = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}
        quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-c", BOTH, json.dumps(asked), str(tmp_path / "out")]
        done = subprocess.run(command, env={**kept, **own, **quiet}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    licence, where, base_models, notes = json.loads(done.stdout.splitlines()[-1])
    assert (licence, base_models, notes) == ("other", ["org/base", "org/tuned"], [])
    assert where == f"https://huggingface.co/org/tuned/blob/{'b' * 40}/LICENSE.md"
    card = ModelCard.load(tmp_path / "out" / "README.md", ignore_metadata_errors=False)
    assert card.data.base_model == ["org/base", "org/tuned"]
    assert card.data.license_name == "acme"
    assert f"| [`org/tuned`](https://huggingface.co/org/tuned) | `{'b' * 40}` |" in card.text
    record = read_record(tmp_path / "out")
    assert record is not None
    assert [one["hub"] for one in record["inputs"]] == [
        {"model": "org/base", "commit": "a" * 40},
        {"model": "org/tuned", "commit": "b" * 40},
    ]


# --- the file


def test_a_card_that_is_there_is_kept_unless_asked(merged: Path) -> None:
    (merged / "README.md").write_text("mine", "utf-8")
    with pytest.raises(OutputExists):
        cuvee.card(merged)
    assert (merged / "README.md").read_text("utf-8") == "mine"
    first = cuvee.card(merged, overwrite=True).text
    assert (merged / "README.md").read_text("utf-8") == first
    assert cuvee.card(merged, out=merged.parent / "CARD.md").text == first
    assert (merged.parent / "CARD.md").read_text("utf-8") == first


def test_the_folder_verifies_with_its_card_and_the_card_is_pushed(yard: Path) -> None:
    for seed, name in enumerate("cd"):  # without a class, so that transformers is not asked to load it
        write(yard / name, decoder(seed), NO_CLASS)
    merged = yard / "plain"
    cuvee.merge(linear(yard / "c", yard / "d"), merged)
    before = {check.name: check.outcome for check in cuvee.verify(merged).checks}
    cuvee.card(merged)
    assert {check.name: check.outcome for check in cuvee.verify(merged).checks} == before
    from cuvee.checkpoint.targets import pack

    assert "README.md" in [parcel.name for parcel in pack(merged)]


def test_faults_come_before_anything_is_written(yard: Path, merged: Path) -> None:
    with pytest.raises(InputError) as caught:
        cuvee.card(yard / "models" / "a", [yard / "none.json", put(yard, "x.json", {"command": "plan"})])
    assert caught.value.codes == ("no-record", "bad-data", "bad-data")
    with pytest.raises(UsageError):
        cuvee.card(merged, "c.json", overwrite=1)  # type: ignore[arg-type]
    assert not (merged / "README.md").exists()


def test_the_command(merged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "card", merged)
    assert ran.code == 0
    assert "licence: cc-by-nc-4.0: cc-by-nc-4.0 (non-commercial) is that of" in ran.out
    assert call(capsys, "card", merged).code == 7
    found = call(capsys, "card", merged, "--overwrite", "--json").json
    assert found["licence"]["id"] == "cc-by-nc-4.0"
    assert found["base_models"] == ["org/origin"]
    assert [one["licences"] for one in found["licence"]["stated"]] == [["apache-2.0"], ["mit"], ["cc-by-nc-4.0"]]


# --- charts and searches


def test_charts_lie_beside_the_card_and_are_told_in_words(merged: Path, yard: Path) -> None:
    files = [put(yard, "c.json", compared(str(merged))), put(yard, "e.json", explained())]
    made = cuvee.card(merged, files, searches=[search_folder(yard / "found")], charts=True)
    assert [path.name for path in made.charts] == [
        f"chart-{name}.png" for name in ("task-1", "explain-1", "search-1", "front-1-0-1")
    ]
    assert all(path.parent == merged and path.read_bytes()[:4] == b"\x89PNG" for path in made.charts)
    tokens = MarkdownIt("commonmark").enable("table").parse(made.text.split("\n---\n", 1)[1])
    shown = [child for token in tokens for child in token.children or () if child.type == "image"]
    assert [one.attrs["src"] for one in shown] == [path.name for path in made.charts]
    assert all(len(one.content) > 40 for one in shown)
    assert "◆ this merge, ● input, ■ base, ▲ ensemble, ✚ another model." in made.text
    assert "**sums**\n\n![sums" in made.text
    assert "The recipe was found by a search (nsga2)" in made.text
    assert "Deb et al. 2002" in made.text
    before = made.charts[0].read_bytes()
    with pytest.raises(OutputExists):
        cuvee.card(merged, files[:1], charts=True, out=merged / "CARD.md")
    assert not (merged / "CARD.md").exists()
    again = cuvee.card(merged, files[:1], charts=True, overwrite=True)
    assert again.charts[0].read_bytes() == before


def test_without_evidence_there_is_nothing_to_draw(merged: Path) -> None:
    made = cuvee.card(merged, charts=True)
    assert made.charts == ()
    assert "## Charts" not in made.text
    assert made.notes[-1].startswith("there are no charts")


def test_what_may_be_missing_in_evidence_may_be_missing(merged: Path, yard: Path) -> None:
    told, explanation = compared(str(merged)), explained()
    for key in ("stderr", "normalised", "against"):
        del told["models"][0]["tasks"]["sums"][key]
    told["models"][2]["tasks"] = {}
    told["tasks"]["nobody's"] = "accuracy"
    one = explanation["explanations"][0]
    del one["permutations"], one["whole"]["stderr"], one["parts"][1]["alone"]
    explanation["citations"] = [{"text": "Shapley 1953", "arxiv": None}]
    made = cuvee.card(merged, [put(yard, "c.json", told), put(yard, "e.json", explanation)])
    assert "| `models/a` (parent) | 0.750 | – | – | – |" in made.text
    assert "**nobody's**, accuracy: no model was asked." in made.text
    assert "- Shapley 1953" in made.text


def test_charts_do_not_stay_where_the_card_could_not_be_written(
    merged: Path, yard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuvee.checkpoint import single_file

    file, written = put(yard, "c.json", compared(str(merged))), single_file.write_single

    def refuse(path: Path, pieces: Iterable[bytes], *, overwrite: bool) -> None:
        if path.suffix == ".md":
            raise ResourceError(Fault("disk-full", "no space"))
        written(path, pieces, overwrite=overwrite)

    monkeypatch.setattr(single_file, "write_single", refuse)
    before = sorted(merged.iterdir())
    with pytest.raises(ResourceError):
        cuvee.card(merged, [file], charts=True)
    assert sorted(merged.iterdir()) == before
