"""Every command's JSON parses and has the promised keys; the text says the same."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch

from cuvee.methods import names
from tests.support.checkpoints import write_model
from tests.support.command_line import GOLDEN, LINEAR, NOTED, Ran, call, write_models, write_recipe

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = write_models(tmp_path, "abc")
    write_recipe(made)
    monkeypatch.chdir(made)
    monkeypatch.setenv("COLUMNS", "80")
    return made


def answered(ran: Ran, command: str, code: int = 0) -> dict:
    """The JSON object of a command that ended as expected."""
    assert ran.code == code, ran
    assert {key: ran.json[key] for key in ("schema", "command")} == {"schema": 1, "command": command}
    return ran.json


def test_validate(folder: Path, capsys: Capsys) -> None:
    found = answered(call(capsys, "validate", "recipe.yml", "--json"), "validate")
    assert found["ok"] is True
    assert found["models"] == ["a", "b"]
    assert found["method"] == "linear"
    assert found["summary"] == "linear of 2 models"
    assert found["notes"] == []
    assert call(capsys, "validate", "recipe.yml").out == "recipe.yml: ok — linear of 2 models\n"


def test_validate_tells_notes(folder: Path, capsys: Capsys) -> None:
    write_recipe(folder, NOTED)
    text = call(capsys, "validate", "recipe.yml").out.splitlines()
    assert text[1].startswith("note: ")
    assert "int8_mask" in text[1]
    assert answered(call(capsys, "validate", "recipe.yml", "--json"), "validate")["notes"] == [
        line.removeprefix("note: ") for line in text[1:]
    ]


def test_validate_opens_no_model(folder: Path, capsys: Capsys) -> None:
    write_recipe(folder, LINEAR.replace("model: a", "model: ./gone"))
    assert call(capsys, "validate", "recipe.yml").code == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ties_weighted", "ties of 3 models over ../models/base"),
        ("passthrough_stack", "passthrough of 2 slices of 2 models"),
        ("slerp", "slerp of 2 models over ../models/a"),
    ],
)
def test_a_recipe_in_a_few_words(name: str, said: str, capsys: Capsys) -> None:
    assert call(capsys, "validate", GOLDEN / f"{name}.yml").out.splitlines()[0].endswith(f": ok — {said}")


def test_plan(folder: Path, capsys: Capsys) -> None:
    found = answered(call(capsys, "plan", "recipe.yml", "--json", "--threads", 3, "--tile", 4096), "plan")
    assert [m["model"] for m in found["models"]] == ["a", "b"]
    assert [m["donor"] for m in found["models"]] == [True, False]
    assert found["counts"] == {"merged": 4, "copied": 0, "tied": 0, "lost": 0, "left_out": 0}
    assert found["cost"]["threads"] == 3
    assert found["cost"]["tile"] == 4096
    assert found["cost"]["read"] == 2 * found["cost"]["write"] > 0
    assert found["disk"]["enough"] is True
    assert {(a["work"], a["dtype"]): a["tensors"] for a in found["arithmetic"]} == {
        ("float32", "float32"): 2,
        ("float32", "bfloat16"): 2,
    }
    step = next(s for s in found["steps"] if s["name"] == "model.layers.1.mlp.weight")
    assert step == {
        "name": "model.layers.1.mlp.weight",
        "action": "merge",
        "dtype": "bfloat16",
        "shape": [8, 8],
        "inputs": [{"model": m, "tensor": "model.layers.1.mlp.weight"} for m in "ab"],
        "base": None,
        "settings": {"weight": [0.25, 0.75], "normalize": True},
        "work": "float32",
        "layer": ["model.layers", 1],
        "reason": None,
    }


def test_plan_as_text(folder: Path, capsys: Capsys) -> None:
    out = call(capsys, "plan", "recipe.yml").out
    assert "4 merged, 0 copied, 0 lost" in out
    assert "accumulated in float32, rounded once to bfloat16" in out
    assert max(map(len, out.splitlines())) <= 80
    layers = next(line for line in out.splitlines() if line.startswith("0–1"))
    assert layers.split() == ["0–1", "all", "2", "0.25", "0.75"]


def test_plan_shows_gradients_layer_by_layer(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    out = call(capsys, "plan", GOLDEN / "linear_gradient.yml").out
    rows = [line.split() for line in out.splitlines() if line[:1].isdigit() and " all " in line]
    assert rows == [
        ["0", "all", "9", "0", "1", "0.3"],
        ["1", "all", "9", "0.333333", "0.666667", "0.3"],
        ["2", "all", "9", "0.666667", "0.333333", "0.3"],
        ["3", "all", "9", "1", "0", "0.3"],
    ]


def test_plan_of_lambda_uses_the_recipes_word(capsys: Capsys) -> None:
    found = answered(call(capsys, "plan", GOLDEN / "ties_weighted.yml", "--json"), "plan")
    assert found["effects"][0]["settings"]["lambda"] == 0.7
    assert "lambda_" not in json.dumps(found)
    assert "everywhere: lambda 0.7, normalize true" in call(capsys, "plan", GOLDEN / "ties_weighted.yml").out


def test_plan_of_a_stack_tells_copies_and_changes(capsys: Capsys) -> None:
    ran = call(capsys, "plan", GOLDEN / "passthrough_stack.yml")
    assert "num_hidden_layers: 6" in ran.out
    assert "copied from b" in ran.out
    found = answered(call(capsys, "plan", GOLDEN / "passthrough_stack.yml", "--json"), "plan")
    assert found["config_changes"] == {"num_hidden_layers": 6}
    assert sum(found["copied"].values()) == found["counts"]["copied"] == 57


def test_plan_says_when_the_output_is_occupied(folder: Path, capsys: Capsys) -> None:
    assert "--overwrite will be needed" in call(capsys, "plan", "recipe.yml", "-o", "a").out
    assert "--overwrite" not in call(capsys, "plan", "recipe.yml", "-o", "deep/er/new").out


def test_a_dry_run_knows_that_it_may_overwrite(folder: Path, capsys: Capsys) -> None:
    words = ("merge", "recipe.yml", "-o", "b", "--dry-run")
    assert "b is there already: --overwrite will be needed" in call(capsys, *words).out
    assert "b is there already: --overwrite replaces it" in call(capsys, *words, "--overwrite").out
    assert "--overwrite" not in call(capsys, "merge", "recipe.yml", "-o", "new", "--dry-run", "--overwrite").out


def test_a_dry_run_is_a_plan_and_writes_nothing(folder: Path, capsys: Capsys) -> None:
    before = sorted(folder.rglob("*"))
    dry = answered(call(capsys, "merge", "recipe.yml", "-o", "out", "--dry-run", "--json"), "merge")
    plan = answered(call(capsys, "plan", "recipe.yml", "-o", "out", "--json"), "plan")
    assert dry.pop("dry_run") is True
    for found in (dry, plan):
        found.pop("command")
        found["disk"].pop("free")
    assert dry == plan
    assert sorted(folder.rglob("*")) == before


def test_merge(folder: Path, capsys: Capsys) -> None:
    ran = call(capsys, "merge", "recipe.yml", "-o", "out", "--json", "--seed", 5, "--sha256", "--shard-size", "500B")
    found = answered(ran, "merge")
    record = json.loads((folder / "out" / "cuvee.json").read_text())
    assert found["path"] == "out"
    assert found["counts"]["merged"] == 4
    assert found["counts"]["lost"] == 0
    assert found["bytes"] == sum(f.stat().st_size for f in (folder / "out").glob("*.safetensors"))
    assert found["seed"] == record["seed"] == 5
    assert found["content"] == record["output"]["content"]
    assert found["recipe_sha256"] == record["recipe_sha256"]
    assert "sha256" in record["output"]
    assert (folder / "out" / "model.safetensors.index.json").is_file()


def test_every_option_of_merge_that_cannot_change_a_byte_does_not(folder: Path, capsys: Capsys) -> None:
    ways = {"plainly": ["--plain"], "tiles": ["--tile", 1], "threads": ["--threads", 3], "default": []}
    contents = set()
    for name, words in ways.items():
        contents.add(answered(call(capsys, "merge", "recipe.yml", "-o", name, "--json", *words), "merge")["content"])
    assert len(contents) == 1


def test_nonfinite_models_are_merged_when_asked(folder: Path, capsys: Capsys) -> None:
    write_model(folder / "n", {"w": torch.tensor([1.0, float("nan")])})
    write_recipe(folder, LINEAR.replace("model: a", "model: n").replace("model: b", "model: ./n"))
    refused = call(capsys, "merge", "recipe.yml", "-o", "out", "--json")
    assert (refused.code, refused.json["error"]["faults"][0]["code"]) == (4, "non-finite")
    assert call(capsys, "merge", "recipe.yml", "-o", "out", "--allow-nonfinite").code == 0


def test_inspect(folder: Path, capsys: Capsys) -> None:
    model = answered(call(capsys, "inspect", "a", "--json"), "inspect")["model"]
    assert model["tensors"] == 4
    assert model["parameters"] == 16 * 8 + 2 * 64 + 8
    assert model["layers"] == {"model.layers": 2}
    assert model["dtypes"] == {"float32": 136, "bfloat16": 128}
    text = call(capsys, "inspect", "a").out
    assert "2 in model.layers" in text
    assert "48.5 %" in text


def test_diff(folder: Path, capsys: Capsys) -> None:
    found = answered(call(capsys, "diff", "a", "b", "--json"), "diff")
    assert set(found["total"]) >= {"cosine", "norm_ratio", "relative_difference", "sign_conflict"}
    assert [(row["stack"], row["layer"]) for row in found["layers"]] == [("model.layers", 0), ("model.layers", 1)]
    assert len(found["parts"]) == 4
    assert found["not_compared"] == {"only_a": [], "only_b": [], "not_in_base": [], "other_shape": []}
    assert found["not_floats"] == {"different": [], "equal": []}
    assert found["base"] is None


def test_diff_of_a_model_with_itself(folder: Path, capsys: Capsys) -> None:
    total = answered(call(capsys, "diff", "a", "a", "--json"), "diff")["total"]
    assert total["cosine"] == pytest.approx(1.0)
    assert (total["norm_ratio"], total["relative_difference"], total["sign_conflict"]) == (1.0, 0.0, 0.0)


def test_diff_over_a_base_is_about_deltas(folder: Path, capsys: Capsys) -> None:
    found = answered(call(capsys, "diff", "a", "b", "--base", "a", "--json"), "diff")
    assert found["total"]["cosine"] is None  # a's own delta is zero: there is no angle
    assert "–" in call(capsys, "diff", "a", "b", "--base", "a").out


@pytest.mark.parametrize("odd", [float("nan"), float("inf")], ids=str)
def test_diff_has_a_dash_where_it_has_no_figure(folder: Path, capsys: Capsys, odd: float) -> None:
    write_model(folder / "d", {"w": torch.tensor([odd, 1.0])})
    write_model(folder / "e", {"w": torch.tensor([1.0, 1.0])})
    for words in (("d", "e"), ("e", "d"), ("e", "e", "--base", "d")):
        assert answered(call(capsys, "diff", *words, "--json"), "diff")["total"]["norm_ratio"] is None
        assert call(capsys, "diff", *words).out.splitlines()[-2].split()[:5] == ["all", "1", "–", "–", "–"]


def test_diff_of_values_whose_squares_no_float_holds(folder: Path, capsys: Capsys) -> None:
    write_model(folder / "d", {"w": torch.tensor([3e200, 4e200], dtype=torch.float64)})
    write_model(folder / "e", {"w": torch.tensor([4e200, 3e200], dtype=torch.float64)})
    assert call(capsys, "diff", "d", "e").out.splitlines()[-2].split() == [
        "all",
        "1",
        "0.9600",
        "1.0000",
        "0.2828",
        "0.0",
        "%",
    ]
    write_model(folder / "f", {"w": torch.tensor([3.0, 4.0])})
    assert call(capsys, "diff", "f", "d").out.splitlines()[-2].split()[2:5] == ["1.0000", "1e+200", "1e+200"]


def test_diff_names_what_it_could_not_compare(folder: Path, capsys: Capsys) -> None:
    write_model(folder / "d", {"model.norm.weight": torch.ones(9), "extra": torch.ones(2)})
    out = call(capsys, "diff", "a", "d").out
    assert "not compared: 1 tensor only in b (extra)" in out
    assert "not compared: 1 tensor of other shapes (model.norm.weight)" in out
    assert "not compared: 3 tensors only in a" in out


def test_diff_tells_of_integers_that_differ(folder: Path, capsys: Capsys) -> None:
    for name, steps in (("d", 1), ("e", 2)):
        write_model(folder / name, {"w": torch.ones(2), "ids": torch.arange(3), "steps": torch.tensor([steps])})
    found = answered(call(capsys, "diff", "d", "e", "--json"), "diff")
    assert found["not_floats"] == {"different": ["steps"], "equal": ["ids"]}
    assert "no floats, and different: 1 tensor (steps)\n" in call(capsys, "diff", "d", "e").out
    assert "no floats, and equal: 1 tensor (ids)\n" in call(capsys, "diff", "d", "e").out
    assert "different" not in call(capsys, "diff", "d", "d").out


def test_diff_names_what_the_base_lacks_once(folder: Path, capsys: Capsys) -> None:
    write_model(folder / "d", {"model.norm.weight": torch.ones(8)})
    found = answered(call(capsys, "diff", "a", "b", "--base", "d", "--json"), "diff")["not_compared"]
    assert (len(found["not_in_base"]), found["only_a"], found["only_b"]) == (3, [], [])
    out = call(capsys, "diff", "a", "b", "--base", "d").out
    assert "not compared: 3 tensors that the base lacks (" in out
    assert "only in" not in out


def test_diff_by_parts(folder: Path, capsys: Capsys) -> None:
    whole, parts = call(capsys, "diff", "a", "b").out, call(capsys, "diff", "a", "b", "--parts").out
    assert "0 mlp" in parts
    assert "0 mlp" not in whole


def test_methods(capsys: Capsys) -> None:
    found = answered(call(capsys, "methods", "--json"), "methods")
    assert [m["name"] for m in found["methods"]] == list(names())
    text = call(capsys, "methods").out
    for name in names():
        assert f"\n{name} " in text


@pytest.mark.parametrize("name", names())
def test_every_method_explains_itself(name: str, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    method = answered(call(capsys, "methods", name, "--json"), "methods")["method"]
    text = call(capsys, "methods", name).out
    words = " ".join(text.split())
    assert method["summary"] in text
    for line in method["formula"].splitlines():
        assert line.rstrip() in text
    for param in method["params"]:
        assert param["name"] in text
        if not param["ignored"]:
            assert param["range"] in text
            assert " ".join(param["doc"].split()) in words
    for cite in method["cite"]:
        assert cite["text"] in words
        assert cite["arxiv"] is None or f"arXiv:{cite['arxiv']}" in words
    for law in method["laws"]:
        assert law in text


def test_verify(folder: Path, capsys: Capsys) -> None:
    call(capsys, "merge", "recipe.yml", "-o", "out")
    found = answered(call(capsys, "verify", "out", "--json"), "verify")
    assert found["ok"] is True
    assert {check["name"] for check in found["checks"]} >= {"readable", "finite", "tied", "hashes", "files", "loads"}
    assert {check["outcome"] for check in found["checks"]} <= {"ok", "skipped"}
    (folder / "out" / "config.json").unlink()
    failed = answered(call(capsys, "verify", "out", "--json"), "verify", code=6)
    assert failed["ok"] is False


@pytest.mark.slow
def test_schema_is_a_schema_that_knows_a_right_recipe_from_a_wrong_one(capsys: Capsys) -> None:
    bare = json.loads(call(capsys, "schema").out)
    assert answered(call(capsys, "schema", "--json"), "schema")["json_schema"] == bare
    jsonschema.Draft202012Validator.check_schema(bare)
    right = {"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": 1}}]}
    jsonschema.validate(right, bare)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**right, "merge_method": "lineer"}, bare)


@pytest.mark.parametrize("verb", ["validate", "plan", "inspect", "verify", "methods"])
def test_errors_are_json_too(verb: str, folder: Path, capsys: Capsys) -> None:
    ran = call(capsys, verb, "./nowhere", "--json")
    assert ran.code in (2, 3, 4)
    assert ran.json["error"]["exit_code"] == ran.code
    assert ran.json["error"]["faults"][0]["message"]
    assert ran.err == ""


def test_usage_errors_are_json_too(capsys: Capsys) -> None:
    ran = call(capsys, "merge", "--json", "--sed")
    assert (ran.code, ran.json["command"], ran.json["error"]["faults"][0]["code"]) == (2, "merge", "bad-argument")


def test_words_after_two_dashes_are_no_options(capsys: Capsys) -> None:
    ran = call(capsys, "inspect", "--", "--json")
    assert ran.code == 4
    assert ran.out == ""
    assert ran.err.startswith("error: --json: ")


def test_a_bug_is_told_as_one(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: str) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("cuvee.api.inspect", broken)
    ran = call(capsys, "inspect", "a", "--json")
    assert (ran.code, ran.json["error"]["faults"][0]["code"]) == (1, "bug")
    assert "ZeroDivisionError" in ran.json["error"]["faults"][0]["message"]
    text = call(capsys, "inspect", "a", "--debug").err
    assert text.startswith("Traceback")
    assert "this is a bug in Cuvee: ZeroDivisionError: division by zero" in text


def test_an_interrupt_after_publishing_says_that_the_output_is_there(
    folder: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuvee import api

    merge = api.merge

    def interrupted(*args: object, **kwargs: object) -> None:
        merge(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr("cuvee.api.merge", interrupted)
    ran = call(capsys, "merge", "recipe.yml", "-o", "out")
    assert (ran.code, ran.out) == (130, "")
    assert ran.err.splitlines()[-1] == "interrupted, after out was complete"
    assert (folder / "out" / "cuvee.json").is_file()
