"""`explain`: merges on disk, made again without some of their models and layers; worked out by hand where it can be."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import cuvee
from cuvee.api import explain_run
from cuvee.api.evidence import gather
from cuvee.cli import explain as command
from cuvee.errors import InputError, RecipeError, UsageError
from cuvee.types import PredictionAverage
from tests.support.calibration import load, make_model, make_tokenizer, weights
from tests.support.checkpoints import write_model
from tests.support.command_line import call
from tests.support.judging import WORDS, write_task
from tests.support.searches import Near, build, write_units

WEIGHTS = (0.9, 0.5, 0.2)
TARGET = (0.8, 0.1, 0.4)


def recipe_of(folder: Path, method: str = "task_arithmetic", **more: Any) -> dict[str, Any]:
    entries = [{"model": f"{folder}/m{i}", "parameters": {"weight": weight}} for i, weight in enumerate(WEIGHTS)]
    data = {"merge_method": method, "base_model": f"{folder}/base", "models": entries, **more}
    return {key: value for key, value in data.items() if value is not None}


def changed(folder: Path, values: torch.Tensor) -> None:
    """Another model in the place of one."""
    shutil.rmtree(folder)
    write_model(folder, {"w": values})


def explained(folder: Path, scorer: Any = None, **how: Any) -> Any:
    tasks = Near(TARGET) if scorer is None else scorer
    return cuvee.explain(folder, tasks, **{"build": build, "ensemble": False, **how})


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    write_units(tmp_path)
    cuvee.merge(recipe_of(tmp_path), tmp_path / "merged")
    return tmp_path / "merged"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One merge for all tests that change nothing in it."""
    home = tmp_path_factory.mktemp("untouched")
    write_units(home)
    cuvee.merge(recipe_of(home), home / "merged")
    return home / "merged"


def test_a_sum_of_models_by_hand(untouched: Path) -> None:
    """The score is −|w − t|²: a model that is there makes −(w − t)² of −t² in its own entry, whoever else is."""
    scorer = Near(TARGET)
    found = explained(untouched, scorer).of("near")
    for part, weight, target in zip(found.parts, WEIGHTS, TARGET, strict=True):
        assert part.shapley.value == pytest.approx(target**2 - (weight - target) ** 2, abs=1e-6)
        assert part.leave_one_out.value == pytest.approx(part.shapley.value, abs=1e-6)
        assert part.shapley.stderr == pytest.approx(0, abs=1e-7)  # the noise of a row is the same for every model
    assert math.fsum(part.shapley.value for part in found.parts) == pytest.approx(
        found.whole.value - found.nothing.value, abs=1e-12
    )
    assert found.nothing_is == f"the base, {untouched.parent}/base"
    assert (found.exact, found.coalitions, found.permutations) == (True, 8, None)
    assert len(scorer.rows_asked) == 8


def test_a_model_that_is_the_base_contributes_nothing(merged: Path, tmp_path: Path) -> None:
    changed(tmp_path / "m1", torch.zeros(6))
    cuvee.merge(recipe_of(tmp_path), tmp_path / "again")
    part = explained(tmp_path / "again").of("near")[f"{tmp_path}/m1"]
    assert (part.shapley.value, part.leave_one_out.value) == (0, 0)
    assert part.shapley.stderr == pytest.approx(0, abs=1e-12)


def test_drawn_orders_within_the_budget(tmp_path: Path) -> None:
    write_units(tmp_path, 6)
    entries = [{"model": f"{tmp_path}/m{i}", "parameters": {"weight": 0.5}} for i in range(6)]
    cuvee.merge(
        {**recipe_of(tmp_path, "ties", parameters={"density": 1.0, "normalize": True}), "models": entries},
        tmp_path / "out",
    )
    target = (0.8, 0.1, 0.4, 0.0, 0.3, 0.9)
    scorer = Near(target)
    sampled = explained(tmp_path / "out", scorer, budget=40, seed=3).of("near")
    exact = explained(tmp_path / "out", Near(target)).of("near")
    assert not sampled.exact
    assert sampled.permutations == 8
    assert sampled.coalitions == len(scorer.rows_asked) <= 40
    for drawn, known in zip(sampled.parts, exact.parts, strict=True):
        assert drawn.shapley.value == pytest.approx(known.shapley.value, abs=0.1)
        assert drawn.leave_one_out == known.leave_one_out
    total = math.fsum(part.shapley.value for part in sampled.parts)
    assert total == pytest.approx(sampled.whole.value - sampled.nothing.value, abs=1e-12)


def test_what_is_left_is_what_a_merge_without_the_model_is(tmp_path: Path) -> None:
    """TIES with weights normalised: the merge of two, made on disk, is what the set of two is worth."""
    write_units(tmp_path)
    whole = recipe_of(tmp_path, "ties", parameters={"density": 0.7, "normalize": True})
    less = {**whole, "models": whole["models"][1:]}
    for name, data in (("whole", whole), ("less", less)):
        cuvee.merge(data, tmp_path / name)
    found = explained(tmp_path / "whole").of("near")
    rest = Near(TARGET).score(weights(tmp_path / "less")["w"]).value
    assert found.parts[0].leave_one_out.value == pytest.approx(found.whole.value - rest, abs=1e-6)


def test_without_a_base_nothing_is_the_mean_of_the_single_models(tmp_path: Path) -> None:
    write_units(tmp_path)
    cuvee.merge(recipe_of(tmp_path, "linear", base_model=None), tmp_path / "out")
    scorer = Near(TARGET)
    found = explained(tmp_path / "out", scorer).of("near")
    assert found.nothing_is == "the mean of the single models"
    assert found.nothing.value == pytest.approx(math.fsum(part.alone.value for part in found.parts) / 3)
    assert found.parts[0].alone.value == pytest.approx(Near(TARGET).score(torch.eye(6)[0]).value)
    assert len(scorer.rows_asked) == 7


def test_a_score_without_rows_has_no_error_bar(untouched: Path) -> None:
    class Bare(Near):
        def score(self, model: Any, rows: Any = None) -> Any:
            from dataclasses import replace

            return replace(super().score(model, rows), rows=None)

    found = explained(untouched, Bare(TARGET))
    assert math.isnan(found.of("near").parts[0].shapley.stderr)
    assert any("no error bar" in note for note in found.notes)


def test_models_are_found_from_where_the_output_stands(tmp_path: Path) -> None:
    write_units(tmp_path / "models")
    (tmp_path / "recipes").mkdir()
    data = recipe_of(Path("../models"))
    (tmp_path / "recipes" / "r.yml").write_text(yaml.safe_dump(data), "utf-8")
    for out in (tmp_path / "merges" / "out", tmp_path / "merges" / "deeper" / "out"):
        cuvee.merge(tmp_path / "recipes" / "r.yml", out)
        assert [part.name for part in explained(out).of("near").parts] == [f"../models/m{i}" for i in range(3)]
    far = tmp_path / "far" / "away" / "from" / "here" / "out"
    cuvee.merge(tmp_path / "recipes" / "r.yml", far)
    with pytest.raises(InputError, match="m0") as caught:
        explained(far)
    assert "--root names" in caught.value.faults[0].hint
    assert explained(far, root=tmp_path / "recipes").of("near").exact


def test_models_that_changed_are_refused(merged: Path, tmp_path: Path) -> None:
    changed(tmp_path / "m1", torch.full((6,), 0.1))
    scorer = Near(TARGET)
    with pytest.raises(InputError, match="m1 should be the model that was merged") as caught:
        explained(merged, scorer)
    assert [fault.code for fault in caught.value.faults] == ["model-changed"]
    assert scorer.rows_asked == []


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    write_units(tmp_path)
    for folder in (tmp_path / "m0", tmp_path / "gone"):
        with pytest.raises(InputError) as caught:
            explained(folder)
        assert caught.value.faults[0].code == "no-record"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"budget": 1}, "`budget` must be"),
        ({"budget": 7}, "3 parts need a budget of 8"),
        ({"layers": 0}, "`layers` must be"),
        ({"layers": 2}, "no stack of layers"),
        ({"scorer": []}, "one task or more"),
        ({"scorer": [Near(TARGET), Near(TARGET)]}, "several are called `near`"),
        ({"scorer": 3}, "`tasks` must be task files"),
        ({"ensemble": True}, "should be of torch modules"),
        ({"ensemble": "no"}, "`ensemble` must be"),
    ],
)
def test_bad_arguments(untouched: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explained(untouched, **how)


def test_a_set_without_a_merge_is_told_before_anything_is_scored(tmp_path: Path) -> None:
    write_units(tmp_path)
    data = recipe_of(tmp_path, "linear", base_model=None)
    for entry, weight in zip(data["models"], (1.0, -1.0, 1.0), strict=True):
        entry["parameters"]["weight"] = weight
    cuvee.merge(data, tmp_path / "out")
    scorer = Near(TARGET)
    with pytest.raises(RecipeError, match=f"without {tmp_path}/m2: ") as caught:
        explained(tmp_path / "out", scorer)
    assert {fault.code for fault in caught.value.faults} == {"zero-weight-sum"}
    assert scorer.rows_asked == []


def test_a_layer_without_weight_is_told_of_with_the_models_that_are_left_out(tmp_path: Path) -> None:
    for seed, name in enumerate(("m0", "m1")):
        make_model(tmp_path / name, "llama", seed)
    entries = [{"model": f"{tmp_path}/m{i}", "parameters": {"weight": [i, 1.0]}} for i in range(2)]
    cuvee.merge({"merge_method": "linear", "models": entries}, tmp_path / "out")
    with pytest.raises(InputError, match=f"^without {tmp_path}/m1: the weights of ") as caught:
        explained(tmp_path / "out")
    assert {fault.code for fault in caught.value.faults} == {"zero-weight-sum"}
    assert all(f"without {tmp_path}/m1: " in fault.message for fault in caught.value.faults)


def test_one_model_and_a_base(tmp_path: Path) -> None:
    write_units(tmp_path)
    data = {"merge_method": "slerp", "base_model": "base", "models": [{"model": "m0"}], "parameters": {"t": 0.5}}
    (tmp_path / "r.yml").write_text(yaml.safe_dump(data), "utf-8")
    cuvee.merge(tmp_path / "r.yml", tmp_path / "out")
    found = explained(tmp_path / "out").of("near")
    assert [part.name for part in found.parts] == ["m0"]
    assert found.parts[0].shapley == found.parts[0].leave_one_out
    assert found.parts[0].shapley.value == pytest.approx(found.whole.value - found.nothing.value)
    with pytest.raises(UsageError, match="two models or more"):
        explained(tmp_path / "out", ensemble=True)


def test_a_task_that_is_asked_of_folders_alone(untouched: Path, tmp_path: Path) -> None:
    path = write_task(tmp_path, kind="lm-eval", tasks=["x"], include=".")
    with pytest.raises(UsageError, match="asked of whole models"):
        explained(untouched, path)


def test_stacks_have_no_models_to_leave_out(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        make_model(tmp_path / name, "llama", seed)
    slices = [{"sources": [{"model": f"{tmp_path}/{one}", "layer_range": [i, i + 1]}]} for i, one in enumerate("ab")]
    cuvee.merge({"merge_method": "passthrough", "slices": slices}, tmp_path / "stack")
    task = write_task(tmp_path, [{"text": text} for text in WORDS], kind="perplexity")
    with pytest.raises(RecipeError, match="stacked cannot be left out"):
        cuvee.explain(tmp_path / "stack", task)
    with pytest.raises(RecipeError, match="names no base"):
        cuvee.explain(tmp_path / "stack", task, layers=1)


@pytest.fixture(scope="module")
def llamas(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("llamas")
    for seed, name in enumerate(("base", "a", "b")):
        make_model(home / name, "llama", seed)
    entries = "".join(f"  - {{model: {one}, parameters: {{weight: 0.4}}}}\n" for one in "ab")
    text = f"merge_method: task_arithmetic\nbase_model: base\nmodels:\n{entries}"
    (home / "r.yml").write_text(text, "utf-8")
    cuvee.merge(home / "r.yml", home / "merged")
    write_task(home, [{"text": text} for text in WORDS], kind="perplexity")
    return home


@pytest.fixture
def there(llamas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(llamas)
    return llamas


def test_a_merge_and_an_ensemble_of_real_models(there: Path) -> None:
    """Whole, nothing and alone are what `evaluate` says of the same models; lower is better, and gains are positive."""
    found = cuvee.explain("merged", "perplexity.yml")
    models = {"merged": "merged", "base": "base", "a": "a", "both": PredictionAverage(("a", "b"))}
    scores = cuvee.evaluate(models, "perplexity.yml")
    merge, both = found.of("perplexity"), found.of("perplexity", "ensemble")
    for figure, model in (
        (merge.whole, "merged"),
        (merge.nothing, "base"),
        (both.whole, "both"),
        (both.nothing, "base"),
        (both["a"].alone, "a"),
    ):
        assert figure.value == pytest.approx(scores.score(model, "perplexity").value, rel=1e-5)
    assert merge.direction == "lower"
    for one in (merge, both):
        gains = math.fsum(part.shapley.value for part in one.parts)
        assert gains == pytest.approx(one.nothing.value - one.whole.value, abs=1e-9)
        assert all(0 < part.shapley.stderr < math.inf for part in one.parts)  # no mean of rows: from draws
    assert both["b"].leave_one_out.value == pytest.approx(both["a"].alone.value - both.whole.value, abs=1e-9)


def test_a_recipe_inside_is_one_part_of_both(there: Path, tmp_path: Path) -> None:
    pair = {"merge_method": "linear", "name": "pair", "models": [{"model": f"{there}/{one}"} for one in ("base", "a")]}
    for entry in pair["models"]:
        entry["parameters"] = {"weight": 1.0}
    models = [{"model": one, "parameters": {"weight": 0.5}} for one in (pair, f"{there}/b")]
    cuvee.merge({"merge_method": "linear", "models": models}, tmp_path / "out")
    found = cuvee.explain(tmp_path / "out", "perplexity.yml", ensemble=True)
    for subject in ("merge", "ensemble"):
        assert [part.name for part in found.of("perplexity", subject).parts] == ["pair", f"{there}/b"]
    alone = cuvee.evaluate({"pair": pair}, "perplexity.yml").score("pair", "perplexity").value
    assert found.of("perplexity", "ensemble")["pair"].alone.value == pytest.approx(alone, rel=1e-5)


def test_layers_that_are_left_out_have_the_weights_of_the_base(there: Path) -> None:
    found = cuvee.explain("merged", "perplexity.yml", layers=2, ensemble=False).of("perplexity", of="layers")
    assert [part.name for part in found.parts] == ["embeddings", "layers 0", "layers 1", "head and rest"]
    model, base = load(there / "merged"), load(there / "base").state_dict()
    mixed = {n: base[n] if ".layers.1." in n else values for n, values in model.state_dict().items()}
    model.load_state_dict(mixed)
    without = cuvee.evaluate({"mixed": model}, "perplexity.yml", tokenizer=make_tokenizer()).judged[0].scores[0].value
    part = found["layers 1"]
    assert part.leave_one_out.value == pytest.approx(without - found.whole.value, rel=1e-4, abs=1e-4)
    assert math.fsum(one.shapley.value for one in found.parts) == pytest.approx(
        found.nothing.value - found.whole.value, abs=1e-9
    )


def test_nothing_and_all_are_scored_once(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four sets of models and eight of layers, of which two are the same."""
    seen, score = [], explain_run.outcome_of

    def noted(*given: Any) -> Any:
        seen.append(given)
        return score(*given)

    monkeypatch.setattr(explain_run, "outcome_of", noted)
    found = cuvee.explain("merged", "perplexity.yml", layers=1, ensemble=False)
    assert [one.coalitions for one in found.explanations] == [4, 8]
    assert len(seen) == 10


def test_tasks_that_an_ensemble_cannot_be_asked_cost_the_ensemble_alone(there: Path, tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "oak"}\n{"id": "b", "text": "wine"}\n', "utf-8")
    rows = [{"query": text, "relevant": ["a"]} for text in WORDS]
    task = write_task(tmp_path, rows, kind="embedding-retrieval", documents="documents.jsonl")
    found = cuvee.explain("merged", [task, "perplexity.yml"])
    told = [(one.subject, one.task) for one in found.explanations]
    assert told == [("merge", "embedding-retrieval"), ("merge", "perplexity"), ("ensemble", "perplexity")]
    assert any("an ensemble, which averages predictions" in note for note in found.notes)
    with pytest.raises(InputError, match="averages predictions"):
        cuvee.explain("merged", task, ensemble=True)


def test_of_a_merge_that_was_tuned_the_merge_is_explained_and_a_note_says_so(there: Path) -> None:
    (there / "rows.txt").write_text("\n".join(WORDS), "utf-8")
    cuvee.tune("merged", there / "tuned", data=there / "rows.txt", steps=1, holdout=0, learning_rate=1e-2)
    tuned, merged = (cuvee.explain(there / one, "perplexity.yml", ensemble=False) for one in ("tuned", "merged"))
    assert tuned.explanations == merged.explanations
    assert any("it was tuned afterwards" in note for note in tuned.notes)


def test_the_command(there: Path, capsys) -> None:
    ran = call(capsys, "explain", "merged", "--tasks", "perplexity.yml", "--layers", 1, "--limit", 5, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["command"], ran.json["path"]) == ("explain", "merged")
    assert [(one["subject"], one["of"], one["n"]) for one in ran.json["explanations"]] == [
        ("merge", "models", 5),
        ("merge", "layers", 5),
        ("ensemble", "models", 5),
    ]
    assert {"text", "arxiv"} == set(ran.json["citations"][0])
    assert ran.json["notes"] == []
    told = there / "explained.json"
    told.write_text(ran.out, "utf-8")
    cited = {"citations": ran.json["citations"]}
    assert gather("merged", [told]).explanations == tuple({**one, **cited} for one in ran.json["explanations"])


def test_the_command_tells_a_table(there: Path, capsys) -> None:
    ran = call(capsys, "explain", "merged", "--tasks", "perplexity.yml", "--limit", 5)
    assert ran.code == 0
    for text in ("lower is better", "the base, base", "Shapley", "left out", "ensemble  b", "all 4 sets scored"):
        assert text in ran.out
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_the_command_says_what_is_wrong(there: Path, capsys) -> None:
    ran = call(capsys, "explain", "base", "--tasks", "perplexity.yml")
    assert ran.code == 4
    assert "it has no cuvee.json" in ran.err
    assert call(capsys, "explain", "merged", "--tasks", "gone.yml").code == 4


def test_the_budget_is_the_same_in_both_places() -> None:
    assert command._BUDGET == cuvee.api.BUDGET
