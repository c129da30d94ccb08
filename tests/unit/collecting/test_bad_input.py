"""What is wrong with models, data and settings of `cuvee collect` is said with its reason, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import cuvee
from cuvee.errors import CuveeError, InputError, OutputExists, UsageError
from tests.support.calibration import make_model, texts, weights, write_lines
from tests.support.command_line import call


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each kind, which no test changes."""
    folder = tmp_path_factory.mktemp("models")
    for case in ("llama", "bert classifier", "bert bare", "bert masked"):
        make_model(folder / case, case, tokenizer=case != "bert masked")
    return folder


def refused(tmp_path: Path, model: Path, data: Path, **settings: Any) -> CuveeError:
    """The error that a call ends with; nothing may be left of it."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CuveeError) as caught:
        cuvee.collect(model, data=data, out=tmp_path / "out.safetensors", **settings)
    assert sorted(tmp_path.rglob("*")) == before
    return caught.value


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("data.jsonl", None, "data-missing", "data.jsonl"),
        ("data.jsonl", "", "bad-data", "there is none"),
        ("data.jsonl", "\n \n", "bad-data", "there is none"),
        ("data.jsonl", "{", "bad-data", "data.jsonl:1:1"),
        ("data.jsonl", "[" * 200_000, "bad-data", "data.jsonl:1:1"),
        ("data.jsonl", '{"text": "a"}\n{"txt": "b"}\n{"text": 3}\n', "bad-data", "data.jsonl:2:1"),
        ("data.jsonl", '{"text": "a", "input_ids": [1]}', "bad-data", "either `text` or `input_ids`"),
        ("data.jsonl", '{"input_ids": [1, true]}', "bad-data", "token numbers"),
        ("data.jsonl", '{"input_ids": [1, 96]}', "bad-data", "vocabulary of 96"),
        ("data.jsonl", '{"input_ids": [5]}', "bad-data", "no token to predict|no sample"),
        ("data.jsonl", '{"text": "a", "label": [1]}', "bad-data", "`label`"),
        ("data.csv", "a,b\n1,2\n", "bad-data", "column `text`"),
        ("data.csv", "text,b\n,2\n", "bad-data", "not empty"),
        ("data.parquet", "PAR1", "bad-data", "should end in"),
        ("data.txt", b"\xff\xfe\x00", "bad-data", "UTF-8"),
    ],
)
def test_data(name: str, content: str | bytes | None, code: str, said: str, models: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    error = refused(tmp_path, models / "llama", path)
    assert error.code == code
    assert any(part in str(error) for part in said.split("|"))
    assert error.exit_code == InputError.exit_code


def test_all_bad_lines_are_told_at_once(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a"}\n{"txt": "b"}\n{"text": 3}\n', "utf-8")
    error = refused(tmp_path, models / "llama", path)
    assert [fault.place.line for fault in error.faults if fault.place] == [2, 3]


def test_only_the_samples_that_are_run_are_looked_at(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a wine"}\nnonsense\n', "utf-8")
    (made,) = cuvee.collect(models / "llama", data=path, out=tmp_path / "out.safetensors", max_samples=1)
    assert made.samples == 1


def test_a_label_that_the_model_does_not_have_and_one_that_is_missing(models: Path, tmp_path: Path) -> None:
    folder = models / "bert classifier"
    unknown = write_lines(tmp_path / "a.jsonl", [{"text": "a", "label": 3}, {"text": "b", "label": "LABEL_7"}])
    assert refused(tmp_path, folder, unknown, kind="fisher").codes == ("bad-data", "bad-data")
    without = write_lines(tmp_path / "b.jsonl", [{"text": "a", "label": 1}, {"text": "b"}])
    error = refused(tmp_path, folder, without, kind="fisher")
    assert (error.code, "--labels model" in str(error)) == ("bad-data", True)
    cuvee.collect(folder, data=without, out=tmp_path / "gram.safetensors")  # needs none


def test_texts_without_a_tokenizer_and_masks_without_one(models: Path, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "bare", "llama", tokenizer=False)
    assert refused(tmp_path, folder, texts(tmp_path / "data.jsonl")).code == "no-tokenizer"
    numbers = write_lines(tmp_path / "numbers.jsonl", [{"input_ids": [1, 2, 3]}])
    assert refused(tmp_path, models / "bert masked", numbers).code == "no-tokenizer"


def test_a_model_without_a_likelihood_has_no_fisher(models: Path, tmp_path: Path) -> None:
    error = refused(tmp_path, models / "bert bare", texts(tmp_path / "data.jsonl"), kind="fisher")
    assert error.code == "no-statistic"


def test_a_model_without_a_linear_map_has_no_gram(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text model of transformers is without one: here none of its modules counts as such."""
    for user in ("collect", "found"):
        monkeypatch.setattr(f"cuvee.collecting.{user}.linears", lambda _model: {})
    error = refused(tmp_path, models / "llama", texts(tmp_path / "data.jsonl"))
    assert error.code == "no-statistic"


def drop_head(folder: Path) -> None:
    tensors = weights(folder)
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def drop_a_row(folder: Path) -> None:
    tensors = weights(folder)
    tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.1.mlp.up_proj.weight"][1:].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def make_infinite(folder: Path) -> None:
    tensors = weights(folder)
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.inf
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def other_class(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(
        json.dumps({**config, "architectures": ["LlamaForTokenClassification"]}), "utf-8"
    )


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (drop_head, "missing-tensor"),
        (drop_a_row, "shape-mismatch"),
        (make_infinite, "non-finite"),
        (other_class, "not-yet"),
    ],
)
def test_models_that_cannot_be_run_soundly(damage: Callable[[Path], None], code: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama")
    damage(folder)
    assert refused(tmp_path, folder, texts(tmp_path / "data.jsonl")).code == code


def test_no_model_and_no_folder(models: Path, tmp_path: Path) -> None:
    data = texts(tmp_path / "data.jsonl")
    assert refused(tmp_path, tmp_path / "nothing", data).code == "model-missing"
    assert refused(tmp_path, models / "llama" / "model.safetensors", data).code == "not-a-checkpoint"


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "hessian"},
        {"labels": "none"},
        {"max_samples": 0},
        {"max_length": "8"},
        {"batch_size": 0},
        {"seed": 0.5},
        {"column": ""},
        {"alpha": 1.5},
        {"alpha": float("nan")},
        {"ridge": -1},
        {"overwrite": "no"},
        {"progress": 3},
        {"through_merged": True},
    ],
    ids=str,
)
def test_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    error = refused(tmp_path, tmp_path / "never opened", tmp_path / "never read", **settings)
    assert isinstance(error, UsageError)
    assert error.code == "bad-argument"


def test_several_models_and_files_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        cuvee.collect(["a", "b", "c"], data=["x", "y"], out=tmp_path / "o.safetensors")
    assert [fault.subject for fault in caught.value.faults] == ["models", "data"]
    with pytest.raises(UsageError):
        cuvee.collect(["a", "b"], data="x", out=tmp_path, through_merged=True, kind="fisher")
    with pytest.raises(UsageError, match="safetensors"):
        cuvee.collect("a", data="x", out=tmp_path / "out.bin")


def test_an_output_that_is_there_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    (tmp_path / "out.safetensors").write_bytes(b"mine")
    for overwrite, code in ((False, "output-exists"), (True, "unsafe-overwrite")):
        with pytest.raises(OutputExists) as caught:
            cuvee.collect("nothing", data="nothing", out=tmp_path / "out.safetensors", overwrite=overwrite)
        assert caught.value.code == code
    assert (tmp_path / "out.safetensors").read_bytes() == b"mine"


def test_the_command(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = texts(tmp_path / "data.jsonl"), tmp_path / "out.safetensors"
    ran = call(capsys, "collect", models / "llama", "--data", data, "-o", out)
    assert ran.code == 0
    assert "15 tensors with a statistic, 6 without" in ran.out
    assert "  5: it is no matrix (model." in ran.out
    assert "  1: it is looked up, not multiplied with inputs (model.embed_tokens.weight)" in ran.out
    again = call(capsys, "collect", models / "llama", "--data", data, "-o", out, "--json")
    assert (again.code, again.json["error"]["faults"][0]["code"]) == (7, "output-exists")
    done = call(capsys, "collect", models / "llama", "--data", data, "-o", out, "--json", "--overwrite")
    (file,) = done.json["files"]
    assert (file["kind"], len(file["tensors"]), len(file["without"])) == ("gram", 15, 6)
    assert call(capsys, "collect", "--data", data, "-o", tmp_path / "b.safetensors").code == 2
    assert call(capsys, "collect", "m", "--data", data, "-o", out, "--batch-size", "many").code == 2
    assert call(capsys, "collect", models / "llama", "--data", "none.txt", "-o", tmp_path / "c.safetensors").code == 4
