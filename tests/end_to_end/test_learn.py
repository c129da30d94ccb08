"""Learned coefficients: the model that is learned is the model that `cuvee merge` writes, and it is worth learning."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import cuvee
from cuvee import methods
from cuvee.api.files import opened
from cuvee.api.learning import _specs
from cuvee.cli import main
from cuvee.coefficients import descent, groups, model
from cuvee.coefficients.asked import Asked
from cuvee.coefficients.rows import Example
from cuvee.errors import CuveeError
from cuvee.families import pretrained, study, training
from cuvee.planning import bind, referenced
from cuvee.recipe import Recipe, resolve, to_yaml
from tests.support import experts
from tests.support.command_line import call

Capsys = pytest.CaptureFixture[str]
QUICK = {"steps": 40, "lr": 1e-2, "threads": 1}


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts of two tasks, their base, a ruined one, and data."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return experts.write_experts(tmp_path_factory.mktemp("cellar"))
    finally:
        torch.set_num_threads(threads)


def recipe(cellar: Path, *names: str, method: str = "task_arithmetic", **more: Any) -> Recipe:
    data = {"merge_method": method, "models": [{"model": name} for name in names or "ab"], **more}
    if method == "task_arithmetic":
        data["base_model"] = "base"
    return replace(methods_of(data), root=cellar)


def methods_of(data: dict[str, Any]) -> Recipe:
    from cuvee.recipe import from_data

    return from_data(data, _specs())


def by_task(cellar: Path) -> dict[str, Path]:
    return {task: cellar / f"{task}.jsonl" for task in "ab"}


def mixed(asked: Recipe, per: str = "layer") -> tuple[model.MergedModel, groups.Grouping, list]:
    """The differentiable model of a recipe, its groups and where it starts."""
    with opened(referenced(asked), asked.root) as readers:
        plan = bind(asked, readers, _specs()[asked.method])
        grouping = groups.grouped(plan, study(readers[0].specs, readers[0].config), per)  # type: ignore[arg-type]
        skeleton = training.skeleton(plan.config_text or "", "base")
        made = model.load(plan, readers, grouping, methods.get(asked.method), skeleton)
        return made, grouping, groups.starting_weights(plan, grouping, positive=False)


def answers(learned: Recipe, rows: experts.Rows, per: str = "layer") -> torch.Tensor:
    """What the differentiable model of a learned recipe answers."""
    made, _, starts = mixed(learned, per)
    ids = torch.tensor([ids for ids, _ in rows])
    with torch.no_grad():
        return made.logits(made.parameters(torch.tensor(starts)), ids, torch.ones_like(ids))


@pytest.fixture(scope="module")
def adamerged(cellar: Path) -> cuvee.LearnResult:
    """What entropy teaches, layer by layer."""
    return cuvee.learn(recipe(cellar), data=by_task(cellar), **QUICK)


@pytest.mark.parametrize(
    ("method", "per", "parameters"),
    [
        ("task_arithmetic", "layer", {}),
        ("task_arithmetic", "model", {"lambda": 0.8, "normalize": True}),
        ("linear", "layer", {}),
    ],
)
def test_the_learned_model_is_the_one_that_merge_writes(
    method: str, per: Any, parameters: dict[str, Any], cellar: Path, tmp_path: Path
) -> None:
    asked = recipe(cellar, method=method, parameters=parameters)
    learned = cuvee.learn(asked, data=cellar / "a.jsonl", per=per, steps=5, lr=0.05, threads=1)
    assert len({x for values in learned.coefficients.values() for x in values.values()}) > 2 - (per == "model")
    cuvee.merge(learned.recipe, tmp_path / "merged")

    rows = experts.rows("a", 8, 5) + experts.rows("b", 8, 5)
    written = experts.logits(experts.load(tmp_path / "merged"), [ids for ids, _ in rows])
    torch.testing.assert_close(answers(learned.recipe, rows, per), written, rtol=0, atol=1e-5)

    made, _, starts = mixed(learned.recipe, per)
    stored = load_file(tmp_path / "merged" / "model.safetensors")
    parameters_now = made.parameters(torch.tensor(starts))
    assert parameters_now.keys() == stored.keys()
    for name, value in parameters_now.items():
        assert torch.equal(value, stored[name]), name  # the method's own arithmetic: not a bit apart


def test_every_tensor_is_planned_with_what_was_learned_for_it(adamerged: cuvee.LearnResult) -> None:
    plan = cuvee.plan(adamerged.recipe)
    for step in plan.steps:
        group = "outside" if step.layer is None else f"{step.layer[0]}.{step.layer[1]}"
        expected = [adamerged.coefficients[name][group] for name in "ab"]
        assert list(step.settings["weight"]) == pytest.approx(expected, rel=1e-9), step.out.name
    found = resolve("weight", [adamerged.recipe.models[0].parameters], "classifier.weight", 0.0)
    assert found == adamerged.coefficients["a"]["outside"]


def doubled(made: model.MergedModel) -> model.MergedModel:
    """The same in float64, so that differences of the loss can be trusted."""
    wide = {
        name: replace(m, stack=m.stack.double(), base=None if m.base is None else m.base.double())
        for name, m in made.mixtures.items()
    }
    return replace(made, skeleton=made.skeleton.double(), mixtures=wide)


@pytest.mark.parametrize("objective", ["entropy", "cross-entropy", "kl"])
@pytest.mark.parametrize("method", ["task_arithmetic", "linear"])
def test_the_gradient_is_that_of_finite_differences(method: str, objective: Any, cellar: Path) -> None:
    made = doubled(mixed(recipe(cellar, method=method))[0])
    raw = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.3
    soup = method == "linear"
    learned = descent.Coefficients(raw.requires_grad_(), soup, torch.tensor(0.2, dtype=torch.float64).requires_grad_())
    asked = Asked(objective=objective)
    rows = [Example(tuple(ids), label) for ids, label in experts.rows("a", 4, 5) + experts.rows("b", 4, 5)]
    pairs = [(descent.padded(rows[:3], 0), (0,)), (descent.padded(rows[3:], 0), (0, 1))]

    def loss() -> float:
        with torch.no_grad():
            merged = made.parameters(learned.weights())
            return sum(float(descent.loss_of(made, merged, learned.beta(), b, e, asked)) for b, e in pairs)

    assert descent._backward(made, learned, pairs, asked) == pytest.approx(loss(), rel=1e-12)
    for leaf in learned.leaves():
        assert leaf.grad is not None
        flat, step = leaf.data.view(-1), 1e-5
        for i in range(flat.numel()):
            here = float(flat[i])
            flat[i] = here + step
            above = loss()
            flat[i] = here - step
            below = loss()
            flat[i] = here
            assert float(leaf.grad.view(-1)[i]) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-8)


def test_entropy_falls_and_the_curve_says_so(adamerged: cuvee.LearnResult) -> None:
    assert adamerged.before.keys() == {"a", "b"}
    for task, before in adamerged.before.items():
        assert adamerged.after[task] < 0.9 * before
    assert len(adamerged.curve) == 40
    assert sum(adamerged.curve[-10:]) < sum(adamerged.curve[:10])
    assert adamerged.temperature is None


def accuracies(learned: Recipe, out: Path) -> list[float]:
    cuvee.merge(learned, out)
    merged = experts.load(out)
    return [experts.accuracy(merged, experts.rows(task, 400, 9)) for task in "ab"]


@pytest.mark.parametrize("per", ["model", "layer"])
def test_what_was_learned_is_no_worse_than_the_usual_weight(
    per: str, adamerged: cuvee.LearnResult, cellar: Path, tmp_path: Path
) -> None:
    usual = methods_of({**cuvee.recipe.to_data(recipe(cellar)), "parameters": {"weight": 0.3}})
    learned = adamerged if per == "layer" else cuvee.learn(recipe(cellar), data=by_task(cellar), per="model", **QUICK)
    before = accuracies(replace(usual, root=cellar), tmp_path / "usual")
    after = accuracies(learned.recipe, tmp_path / "learned")
    assert sum(after) > sum(before)


def test_a_learned_soup_takes_the_good_model(cellar: Path) -> None:
    asked = recipe(cellar, "a", "noise", method="linear")
    found = cuvee.learn(
        asked, data=cellar / "a-labelled.jsonl", objective="cross-entropy", per="model", steps=40, lr=0.1, threads=1
    )
    weights = {name: values["all"] for name, values in found.coefficients.items()}
    assert weights["a"] > 0.9
    assert sum(weights.values()) == pytest.approx(1.0)
    assert found.after["all"] < found.before["all"]
    assert found.temperature is not None
    assert found.temperature != 1.0


def test_kl_comes_near_to_the_experts(cellar: Path) -> None:
    found = cuvee.learn(recipe(cellar), data=by_task(cellar), objective="kl", **{**QUICK, "steps": 20})
    assert all(found.after[task] < found.before[task] for task in "ab")


def test_at_the_expert_itself_nothing_diverges(cellar: Path) -> None:
    alone = recipe(cellar, "a", parameters={"weight": 1.0})
    found = cuvee.learn(alone, data=cellar / "a.jsonl", objective="kl", per="model", steps=0)
    assert found.before["all"] == pytest.approx(0.0, abs=1e-6)
    assert found.coefficients == {"a": {"all": 1.0}}
    assert found.curve == ()


def test_without_weights_learning_starts_where_the_papers_do(cellar: Path) -> None:
    data = cellar / "a.jsonl"
    found = cuvee.learn(recipe(cellar), data=data, steps=0)
    assert {x for values in found.coefficients.values() for x in values.values()} == {0.3}
    found = cuvee.learn(recipe(cellar, "a", "b", "noise", method="linear"), data=data, per="model", steps=0)
    assert [values["all"] for values in found.coefficients.values()] == pytest.approx([1 / 3] * 3)


def test_a_base_among_the_models_is_taken_as_each_method_takes_it(cellar: Path) -> None:
    data = cellar / "a.jsonl"
    found = cuvee.learn(recipe(cellar, "base", "a", parameters={"weight": 0.5}), data=data, per="model", steps=1)
    assert found.coefficients.keys() == {"a"}
    asked = replace(recipe(cellar, "base", "a", method="linear"), base_model=found.recipe.base_model)
    assert cuvee.learn(asked, data=data, per="model", steps=1).coefficients.keys() == {"base", "a"}


def test_a_last_step_to_nowhere_is_told(cellar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def astray(learned: descent.Coefficients) -> None:
        learned.raw.grad = torch.full_like(learned.raw, float("nan"))

    monkeypatch.setattr(descent, "_backward", lambda _model, learned, *_: astray(learned) or 0.5)
    assert refused(recipe(cellar), data=cellar / "a.jsonl", steps=1).code == "non-finite"


LANGUAGE = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 24, "n_positions": 16, "bos_token_id": 0}


@pytest.fixture(scope="module")
def talkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiny language models that tie their heads, and token rows of two lengths."""
    folder = tmp_path_factory.mktemp("talkers")
    config = transformers.GPT2Config(**LANGUAGE, eos_token_id=0)
    for seed, name in enumerate(("base", "a", "b")):
        torch.manual_seed(seed)
        with pretrained.quiet(transformers):
            pretrained.save(transformers.GPT2LMHeadModel(config), folder / name)
    lines = [{"input_ids": [(3 * i + j) % 24 for j in range(4 + i % 3)]} for i in range(12)]
    (folder / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("objective", ["entropy", "cross-entropy"])
def test_language_models_learn_too(objective: Any, talkers: Path, tmp_path: Path) -> None:
    found = cuvee.learn(
        recipe(talkers), data=talkers / "all.jsonl", objective=objective, steps=8, lr=0.05, batch_size=5, threads=1
    )
    assert found.after["all"] < found.before["all"]
    cuvee.merge(found.recipe, tmp_path / "merged")
    ids = torch.arange(8).view(2, 4)
    made, _, starts = mixed(found.recipe)
    with torch.no_grad(), pretrained.quiet(transformers):
        ours = made.logits(made.parameters(torch.tensor(starts)), ids, torch.ones_like(ids))
        written = pretrained.load_causal_lm(tmp_path / "merged")(input_ids=ids).logits
    torch.testing.assert_close(ours, written, rtol=0, atol=1e-5)


RECIPE = """\
merge_method: task_arithmetic
base_model: base
models:
- model: a
- model: b
"""


@pytest.fixture
def yard(cellar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cellar's models and data under a folder of their own, with a recipe."""
    folder = tmp_path / "yard"
    shutil.copytree(cellar, folder)
    (folder / "recipe.yml").write_text(RECIPE)
    monkeypatch.chdir(folder)
    return folder


WORDS = ("learn", "recipe.yml", "--data", "a=a.jsonl", "--data", "b=b.jsonl", "--steps", 3, "--lr", 0.01)


def test_the_command_writes_a_recipe_that_is_valid_and_merges(yard: Path, capsys: Capsys) -> None:
    ran = call(capsys, *WORDS, "-o", "learned.yml", "--json", "--threads", 1)
    assert ran.code == 0, ran.err
    assert (ran.json["command"], ran.json["path"], ran.json["log"]) == ("learn", "learned.yml", "learned.json")
    log = json.loads(Path("learned.json").read_text())
    assert {key: ran.json[key] for key in log if key != "schema"} == {k: v for k, v in log.items() if k != "schema"}
    assert (log["objective"], log["per"], log["steps"], log["lr"], log["seed"]) == ("entropy", "layer", 3, 0.01, 0)
    assert [len(log["losses"]), log["data"][0]] == [3, {"name": "a", "file": "a.jsonl", "rows": 64, "cut": 0}]
    assert [cite["arxiv"] for cite in log["citations"]] == ["2310.02575"]
    assert log["recipe_sha256"] == call(capsys, "validate", "learned.yml", "--json").json["recipe_sha256"]
    assert call(capsys, "merge", "learned.yml", "-o", "merged").code == 0
    for step in call(capsys, "plan", "learned.yml", "--json").json["steps"]:
        group = "outside" if step["layer"] is None else ".".join(map(str, step["layer"]))
        assert step["settings"]["weight"] == pytest.approx([log["coefficients"][m][group] for m in "ab"], rel=1e-9)


def test_the_command_tells_what_it_did(yard: Path, capsys: Capsys) -> None:
    ran = call(capsys, *WORDS, "-o", "learned.yml")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("outside", "bert."))] == [
        "outside",
        *(f"bert.encoder.layer.{i}" for i in range(3)),
    ]
    assert any(line.startswith("entropy on a: ") for line in lines)
    assert lines[-1].startswith("written to learned.yml in ")
    assert "3 of 3 steps" in ran.err or "learning" in ran.err


def test_the_same_seed_gives_the_same_texts(yard: Path, capsys: Capsys) -> None:
    texts = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        assert call(capsys, *WORDS, "-o", f"{name}.yml", "--seed", seed, "--threads", 1).code == 0
        texts.append((Path(f"{name}.yml").read_bytes(), Path(f"{name}.json").read_bytes()))
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[2][0]


def test_a_recipe_in_another_folder_finds_its_models(yard: Path, capsys: Capsys) -> None:
    Path("results").mkdir()
    assert call(capsys, *WORDS, "-o", "results/learned.yml").code == 0
    assert "../base" in Path("results/learned.yml").read_text()
    assert call(capsys, "plan", "results/learned.yml").code == 0


def test_one_file_serves_all_models_and_long_rows_are_told(yard: Path, capsys: Capsys) -> None:
    ran = call(capsys, "learn", "recipe.yml", "--data", "a.jsonl", "--steps", 1, "--max-length", 3, "-o", "l.yml")
    assert ran.code == 0
    assert "64 of 64 rows of a.jsonl were cut" in ran.err


def test_texts_go_through_the_tokenizer_of_the_base(yard: Path, capsys: Capsys) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    Path("texts.jsonl").write_text('{"text": "t2 t9 t3"}\n{"text": "t4"}\n')
    ran = call(capsys, "learn", "recipe.yml", "--data", "texts.jsonl", "--steps", 1, "-o", "t.yml")
    assert (ran.code, "tokenizer" in ran.err) == (4, True)
    made = Tokenizer(models.WordLevel({f"t{i}": i for i in range(18)}, unk_token="t1"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="t0").save_pretrained("base")
    Path("ids.jsonl").write_text('{"input_ids": [2, 9, 3]}\n{"input_ids": [4]}\n')
    for name in ("texts", "ids"):
        assert (
            call(capsys, "learn", "recipe.yml", "--data", f"{name}.jsonl", "--steps", 2, "-o", f"{name}.yml").code == 0
        )
    assert Path("texts.yml").read_text() == Path("ids.yml").read_text()


SLICES = """\
merge_method: task_arithmetic
base_model: base
slices:
- sources: [{model: a, layer_range: [0, 2], parameters: {weight: 1}}]
"""
BAD = {
    "no such data": ({}, ["--data", "gone.jsonl"], 4, "data-missing"),
    "empty data": ({"empty.jsonl": ""}, ["--data", "empty.jsonl"], 4, "bad-data"),
    "a bad row": ({"bad.jsonl": "{}\n"}, ["--data", "bad.jsonl"], 4, "bad-data"),
    "a token too many": ({"bad.jsonl": '{"input_ids": [18]}\n'}, ["--data", "bad.jsonl"], 4, "bad-data"),
    "no labels": ({}, ["--data", "a.jsonl", "--objective", "cross-entropy"], 4, "missing-label"),
    "slices": ({"recipe.yml": SLICES}, ["--data", "a.jsonl"], 3, "not-yet"),
    "a factor that is found from the merged model": (
        {"recipe.yml": RECIPE + "layer_scaling: {policy: lines, beta: 0.5}\n"},
        ["--data", "a.jsonl"],
        3,
        "not-yet",
    ),
    "another method": (
        {"recipe.yml": RECIPE.replace("task_arithmetic", "ties") + "parameters: {weight: 1}\n"},
        ["--data", "a.jsonl"],
        3,
        "not-yet",
    ),
    "a base that linear has no weight for": (
        {"recipe.yml": RECIPE.replace("task_arithmetic", "linear")},
        ["--data", "a.jsonl"],
        3,
        "not-yet",
    ),
    "no model of that name": ({}, ["--data", "c=a.jsonl"], 2, "bad-argument"),
    "two files without names": ({}, ["--data", "a.jsonl", "--data", "b.jsonl"], 2, "bad-argument"),
    "no rate": ({}, ["--data", "a.jsonl", "--lr", "0"], 2, "bad-argument"),
    "too little memory": ({}, ["--data", "a.jsonl", "--max-memory", "100KiB"], 5, "memory"),
    "the output is there": ({"learned.yml": "mine"}, ["--data", "a.jsonl"], 7, "output-exists"),
    "the log is there": ({"learned.json": "mine"}, ["--data", "a.jsonl"], 7, "output-exists"),
    "no folder to write to": ({}, ["--data", "a.jsonl", "-o", "no/learned.yml"], 5, "not-writable"),
    "the log's own name": ({}, ["--data", "a.jsonl", "-o", "learned.json"], 2, "bad-argument"),
    "over the recipe itself": ({}, ["--data", "a.jsonl", "-o", "recipe.yml", "--overwrite"], 7, "unsafe-overwrite"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_learned_is_refused_before_anything_is_read(
    case: str, yard: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, words, code, reason = BAD[case]
    for name, text in files.items():
        Path(name).write_text(text)
    monkeypatch.setattr(model, "load", lambda *_: pytest.fail("weights were read"))
    before = {path: path.read_bytes() for path in yard.rglob("*") if path.is_file()}
    out = [] if "-o" in words else ["-o", "learned.yml"]
    ran = call(capsys, "learn", "recipe.yml", "--steps", 1, *words, *out, "--json")
    assert ran.code == code, ran
    assert ran.json["error"]["faults"][0]["code"] == reason, ran.json
    assert {path: path.read_bytes() for path in yard.rglob("*") if path.is_file()} == before


def refused(asked: Any, **more: Any) -> CuveeError:
    with pytest.raises(CuveeError) as caught:
        cuvee.learn(asked, **more)
    return caught.value


def test_arguments_are_told_all_at_once(cellar: Path) -> None:
    error = refused(recipe(cellar), data=cellar / "a.jsonl", objective="mse", per="tensor", steps=-1, lr="x", threads=0)
    assert [fault.subject for fault in error.faults] == ["objective", "per", "steps", "lr", "threads"]
    assert refused(recipe(cellar), data={}).code == "bad-argument"
    assert refused(3, data=cellar / "a.jsonl").code == "bad-argument"


def test_heads_of_different_shapes_are_refused(yard: Path) -> None:
    pretrained.save(experts.classifier(num_labels=3), yard / "b3")
    error = refused(recipe(yard, "a", "b3"), data=yard / "a.jsonl")
    assert set(error.codes) == {"shape-mismatch"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"architectures": ["BertModel"]}, "not-yet"),
        ({"problem_type": "multi_label_classification"}, "not-yet"),
        ({"pad_token_id": None}, "bad-config"),
    ],
)
def test_models_that_cannot_be_run_are_refused(change: dict[str, Any], code: str, yard: Path) -> None:
    for name in ("base", "a", "b"):
        config = json.loads((yard / name / "config.json").read_text())
        (yard / name / "config.json").write_text(json.dumps({**config, **change}))
    assert refused(recipe(yard), data=yard / "a.jsonl").code == code


def test_a_loss_that_is_no_number_ends_it_and_writes_nothing(yard: Path) -> None:
    asked = recipe(yard, parameters={"weight": 1e30})
    error = refused(asked, data=yard / "a.jsonl", steps=3, out=yard / "learned.yml")
    assert error.code == "non-finite"
    assert not list(yard.glob("learned*"))


def test_values_that_are_no_numbers_are_refused(yard: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(yard / "a" / "model.safetensors")
    tensors["classifier.bias"][1] = float("nan")
    save_file(tensors, yard / "a" / "model.safetensors", metadata={"format": "pt"})
    error = refused(recipe(yard), data=yard / "a.jsonl")
    assert (error.code, "classifier.bias" in str(error)) == ("non-finite", True)


def test_a_recipe_made_in_python_is_written_as_one_in_a_file(yard: Path) -> None:
    found = cuvee.learn(yard / "recipe.yml", data=yard / "a.jsonl", steps=1, out=yard / "learned.yml")
    assert found.path == yard / "learned.yml"
    assert (yard / "learned.yml").read_text() == to_yaml(found.recipe)
    assert cuvee.load_recipe(found.path) == found.recipe
    assert main(["validate", str(found.path)]) == 0
