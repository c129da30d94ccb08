"""The calls on files: what they take, what they give back, and that they leave nothing open."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.api import opened
from cuvee.checkpoint.opened import Checkpoint
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.errors import InputError, RecipeError, UsageError
from cuvee.types import ModelRef
from tests.support.merging import cast, decoder, files, linear, read, recipe, write
from tests.support.yard import EMBEDDING, HEAD, Q, Yard, new_yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return new_yard(tmp_path)


# --- names and imports


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(cuvee.__all__) == cuvee.__all__ == dir(cuvee)
    assert [name for name in cuvee.__all__ if not getattr(cuvee, name).__doc__] == []


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'merg'"):
        _ = cuvee.merg  # type: ignore[attr-defined]


def test_recipes_and_methods_are_read_without_torch(yard: Yard) -> None:
    path = yard.file(recipe("ties", "base", "a", "b"))
    code = f"""
import sys, cuvee
assert "torch" not in sys.modules and "pydantic" not in sys.modules
cuvee.load_recipe({str(path)!r}); cuvee.methods.get("ties").spec; cuvee.InputError
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "module",
    ["cuvee.api.files", "cuvee.api.memory", "cuvee.api.recalibrating", "cuvee.api.trajectory", "cuvee.methods.call"],
)
def test_examples(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("name", ["diff", "inspect", "load_recipe", "merge", "plan", "push", "recipe_from", "verify"])
def test_every_argument_is_explained(name: str) -> None:
    call = getattr(cuvee, name)
    explained = inspect.getdoc(call).partition("Args:")[2].partition("\nR")[0]
    missing = [word for word in inspect.signature(call).parameters if f"\n    {word}: " not in explained]
    assert missing == []


# --- recipes


def test_a_recipe_file_knows_its_folder(yard: Yard) -> None:
    found = cuvee.load_recipe(yard.file(linear("a", "b")))
    assert (found.root, found.method) == (yard.root, "linear")
    assert [str(entry.model) for entry in found.models] == ["a", "b"]
    assert cuvee.load_recipe(str(yard.root / "recipe.yml")) == found


def test_a_recipe_from_data_is_the_same(yard: Yard) -> None:
    data = linear("a", "b")
    found = cuvee.recipe_from(data, root=yard.root)
    assert found == cuvee.load_recipe(yard.file(data))
    assert data == linear("a", "b")


def test_data_without_a_folder_starts_from_the_working_folder(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError):
        cuvee.plan(linear("./a", "./b"))
    monkeypatch.chdir(yard.root)
    assert cuvee.plan(linear("./a", "./b")).merged == len(decoder(0))


def test_a_recipe_keeps_its_folder_when_the_working_folder_changes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(yard.root)
    yard.file(linear("a", "b"))
    found = cuvee.load_recipe("recipe.yml")
    monkeypatch.chdir("/")
    assert cuvee.plan(found).merged == len(decoder(0))


def test_faults_of_data_name_the_key() -> None:
    with pytest.raises(RecipeError, match=r"models\[0\].parameters.wieght: linear has no parameter"):
        cuvee.recipe_from({"merge_method": "linear", "models": [{"model": "a", "parameters": {"wieght": 1}}]})


@pytest.mark.parametrize("form", ["path", "text", "recipe", "data"])
def test_a_recipe_in_every_form_gives_the_same_files(yard: Yard, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(yard.root)
    data = recipe("ties", "./base", "./a", "./b")
    path = yard.file(data)
    asked: Any = {"path": path, "text": str(path), "recipe": cuvee.load_recipe(path), "data": data}[form]
    cuvee.merge(asked, "out")
    cuvee.merge(path, str(yard.root / "expected"))
    assert files(yard.out) == files(yard.root / "expected")


# --- plan


def test_a_plan_reads_no_tensor_but_has_a_look_at_stored_heads(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    path = yard.file(recipe("ties", "base", "a", "b"))

    seen = []
    read = SafetensorsFile.read

    def look(file: SafetensorsFile, name: str, start: int, stop: int) -> Any:
        seen.append((name in (HEAD, EMBEDDING), stop - start <= 4096))
        return read(file, name, start, stop)

    monkeypatch.setattr(SafetensorsFile, "read", look)
    plan = cuvee.plan(path)
    assert (plan.merged, plan.copied, plan.lost) == (len(decoder(0)), 0, 0)
    assert set(seen) == {(True, True)}


def test_a_plan_needs_no_data_behind_the_headers(yard: Yard) -> None:
    """A file of the right size with a header and nothing but a hole behind it."""
    for name in ("a", "b"):
        path = yard.root / name / "model.safetensors"
        raw = path.read_bytes()
        length = 8 + int.from_bytes(raw[:8], "little")
        path.write_bytes(raw[:length])
        os.truncate(path, len(raw))
    assert cuvee.plan(yard.file(linear("a", "b"))).merged == len(decoder(0))


def test_what_a_plan_holds(yard: Yard) -> None:
    plan = cuvee.plan(yard.file(recipe("ties", "base", "a", "b", out_dtype="bfloat16")))
    assert [(str(m.ref), m.is_base) for m in plan.models] == [("base", True), ("a", False), ("b", False)]
    assert {s.out.name: s.out.shape for s in plan.steps} == {n: tuple(t.shape) for n, t in decoder(0).items()}
    step = next(step for step in plan.steps if step.out.name == Q)
    assert (step.layer, step.action, step.out.dtype) == (("model.layers", 1), "merge", "bfloat16")
    assert step.settings["weight"] == (0.6, 0.5)
    assert step.settings["density"] == (0.4, 0.7)
    assert plan.config_changes == {"dtype": "bfloat16"}
    assert [file.name for file in plan.side_files] == ["generation_config.json", "tokenizer.json"]


def test_gradients_in_a_plan(yard: Yard) -> None:
    plan = cuvee.plan(yard.file(linear("a", "b", weights=[[0, 1], 0.5])))
    found = {step.out.name: step.settings["weight"] for step in plan.steps}
    assert found[Q] == (1.0, 0.5)
    assert found[Q.replace("1", "0")] == (0.0, 0.5)
    assert found[HEAD] == (0.0, 0.5)


# --- merge


def test_what_a_merge_gives_back(yard: Yard) -> None:
    result = cuvee.merge(yard.file(linear("a", "b")), yard.out)
    assert (result.path, result.merged, result.copied, result.tied, result.lost) == (yard.out, 9, 0, 0, 0)
    assert result.nbytes == (yard.out / "model.safetensors").stat().st_size
    assert result.notes == ()


def test_files_of_an_output(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    beside = {"config.json", "generation_config.json", "tokenizer.json"}
    assert set(files(yard.out)) == {"model.safetensors", "cuvee.json", "cuvee_recipe.yml", *beside}
    assert all(files(yard.out)[name] == files(yard.root / "a")[name] for name in beside)


def test_side_files_come_from_the_base(yard: Yard) -> None:
    (yard.root / "base" / "tokenizer.json").write_text("of the base")
    cuvee.merge(yard.file(recipe("ties", "base", "a", "b")), yard.out)
    assert (yard.out / "tokenizer.json").read_text() == "of the base"


def test_merging_what_was_merged(yard: Yard) -> None:
    """The record of an input is not carried over into what is made of it."""
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    cuvee.merge(yard.file(linear("out", "base"), "second.yml"), yard.root / "second")
    assert cuvee.verify(yard.root / "second").ok
    record = json.loads((yard.root / "second" / "cuvee.json").read_text())
    first = json.loads((yard.out / "cuvee.json").read_text())
    assert record["inputs"][0]["content"] == first["output"]["content"]


def test_an_output_inside_an_input_does_not_grow_into_the_next(yard: Yard) -> None:
    path = yard.file(linear("a", "b"))
    cuvee.merge(path, yard.root / "a" / "merged")
    cuvee.merge(path, yard.out)
    assert "merged/model.safetensors" not in files(yard.out)


# --- opened


def test_opened_closes_what_it_opened(yard: Yard) -> None:
    refs = [ModelRef("a"), ModelRef("b")]
    with opened(refs, yard.root) as readers:
        assert [reader.label for reader in readers] == ["a", "b"]
        assert readers[0].read(Q, 0, 3).shape == (3,)
    with pytest.raises(ValueError, match="is closed"):
        readers[0].read(Q, 0, 3)


def test_opened_closes_what_it_opened_before_a_fault(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Checkpoint, "close", lambda self: closed.append(self.label))
    with pytest.raises(InputError) as caught, opened([ModelRef("a"), ModelRef("./x"), ModelRef("./y")], yard.root):
        pass
    assert closed == ["a"]
    assert caught.value.codes == ("model-missing", "model-missing")


# --- inspect


def test_inspect(yard: Yard) -> None:
    found = cuvee.inspect(yard.root / "a")
    assert (found.architecture, found.model_type, found.tensors) == (None, "small", 9)
    assert found.parameters == sum(t.numel() for t in decoder(0).values())
    assert (found.nbytes, found.dtypes) == (4 * found.parameters, {"float32": found.parameters})
    assert (found.layers, found.vocabulary, found.tied) == ({"model.layers": 2}, 20, False)
    assert sum(found.roles.values()) == found.parameters
    assert found.roles["embedding"] == found.roles["head"] == 160
    assert found.roles["layer"] == sum(t.numel() for n, t in decoder(0).items() if ".layers." in n)
    assert found.side_files == ("generation_config.json", "tokenizer.json")


def test_inspect_says_mixtures(yard: Yard) -> None:
    yard.model("x", cast(decoder(1), torch.bfloat16) | {"n": torch.tensor([1, 2])})
    entries = sum(t.numel() for t in decoder(0).values())
    assert cuvee.inspect(str(yard.root / "x")).dtypes == {"bfloat16": entries, "int64": 2}


def test_inspect_of_nothing(yard: Yard) -> None:
    with pytest.raises(InputError, match="did you mean `base`"):
        cuvee.inspect(yard.root / "bse")


def test_a_path_with_an_at_sign(yard: Yard) -> None:
    write(yard.root / "me@home", decoder(1))
    assert cuvee.inspect(yard.root / "me@home").tensors == 9


# --- models named on their own


@pytest.mark.parametrize("text", ["", "@", "@main", "./a@"])
def test_a_model_needs_a_name_and_an_at_sign_a_revision(yard: Yard, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path would be the working folder, which nobody asked for."""
    monkeypatch.chdir(yard.root / "a")
    for look in (cuvee.inspect, lambda text: cuvee.diff(".", text), lambda text: cuvee.diff(".", ".", base=text)):
        with pytest.raises(UsageError, match=re.escape(f"`path` or `path@revision`, found {text!r}")) as caught:
            look(text)
        assert caught.value.code == "bad-argument"


def test_the_working_folder_is_looked_at_where_it_is_named(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(yard.root / "a")
    assert cuvee.inspect(".").tensors == cuvee.inspect(Path()).tensors == 9
    assert cuvee.verify(".").ok


def test_verify_and_merge_need_a_folder(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(yard.root / "a")
    with pytest.raises(UsageError, match="a model must be a folder or weight file; '' is empty"):
        cuvee.verify("")
    with pytest.raises(UsageError, match="the output must be a folder's name; '' is empty"):
        cuvee.merge(yard.root / "recipe.yml", "")


@pytest.mark.parametrize("text", ["x" * 300, "~nobody-of-this-name/x"])
def test_a_name_that_no_system_takes_is_a_missing_model(yard: Yard, text: str) -> None:
    for look in (cuvee.inspect, cuvee.verify):
        with pytest.raises(InputError):
            look(text)


def test_verify_knows_the_home_folder(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(yard.root))
    assert cuvee.verify("~/a").ok


# --- diff


def test_a_model_and_itself(yard: Yard) -> None:
    found = cuvee.diff(yard.root / "a", yard.root / "a").total
    assert found.cosine == pytest.approx(1.0, abs=1e-15)
    assert (found.norm_ratio, found.relative_difference, found.sign_conflict) == (1.0, 0.0, 0.0)


def test_diff_layer_by_layer(yard: Yard) -> None:
    a, b = read(yard.root / "a"), read(yard.root / "b")
    found = cuvee.diff(yard.root / "a", yard.root / "b")
    row = next(row for row in found.rows if (row.layer, row.group) == (1, "self_attn"))
    x, y = a[Q].double().flatten(), b[Q].double().flatten()
    assert row.sums.cosine == pytest.approx(float(x @ y / (x.norm() * y.norm())), rel=1e-12)
    assert row.sums.norm_ratio == pytest.approx(float(y.norm() / x.norm()), rel=1e-12)
    assert row.sums.relative_difference == pytest.approx(float((x - y).norm() / x.norm()), rel=1e-12)
    assert row.sums.sign_conflict == float((x.sign() * y.sign() < 0).sum()) / 64
    assert {(r.stack, r.layer) for r in found.rows} == {("", None), ("model.layers", 0), ("model.layers", 1)}


def test_diff_of_deltas(yard: Yard) -> None:
    base, a, b = (read(yard.root / name) for name in ("base", "a", "b"))
    found = cuvee.diff(yard.root / "a", yard.root / "b", base=yard.root / "base").total
    x, y, z = (torch.cat([m[n].double().flatten() for n in sorted(m)]) for m in (a, b, base))
    assert found.cosine == pytest.approx(float((x - z) @ (y - z) / ((x - z).norm() * (y - z).norm())), rel=1e-9)
    assert found.relative_difference == pytest.approx(float((x - y).norm() / z.norm()), rel=1e-9)
    assert found.entries == x.numel()


def test_diff_names_what_it_cannot_compare(yard: Yard) -> None:
    yard.model("odd", decoder(3) | {Q: torch.ones(2, 2), "more": torch.ones(1)})
    found = cuvee.diff(yard.root / "a", yard.root / "odd")
    assert (found.only_a, found.only_b, found.other_shape) == ((), ("more",), (Q,))
    assert found.total.tensors == 8


def test_diff_speaks_of_every_tensor(yard: Yard) -> None:
    yard.model("x", decoder(1) | {"steps": torch.tensor([1])})
    yard.model("y", decoder(1) | {"steps": torch.tensor([2])})
    assert "steps" in repr(cuvee.diff(yard.root / "x", yard.root / "y"))


def test_progress_of_diff(yard: Yard) -> None:
    told: list[tuple[int, int]] = []
    cuvee.diff(yard.root / "a", yard.root / "b", progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 9) for i in range(9)]
