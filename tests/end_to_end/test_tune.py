"""Tuning a folder: what comes out is an ordinary folder, never worse on rows held out, and the same on every run."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.data.rows import read_rows
from cuvee.errors import CheckFailed, CuveeError, ResourceError
from cuvee.families.running import load
from cuvee.tuning import room
from cuvee.tuning.rows import Example, examples, split
from tests.support.calibration import make_model
from tests.support.command_line import call
from tests.support.lanes import rarely
from tests.support.tuning import counting, labelled, mean_loss, write_rows

QUICK: dict[str, Any] = {"steps": 8, "batch_size": 8, "learning_rate": 1e-2, "threads": 1}


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models and rows for them."""
    root = tmp_path_factory.mktemp("cellar")
    for case in ("llama", "llama tied", "gpt2", "bert classifier"):
        make_model(root / case.replace(" ", "-"), case)
    made = transformers.AutoModelForCausalLM.from_pretrained(root / "llama-tied", dtype="bfloat16")
    made.save_pretrained(root / "bf16")
    rows, labels = labelled(60, 3)
    write_rows(root / "classes.jsonl", rows, label=labels)
    write_rows(root / "rows.jsonl", counting(60))
    recipe = "merge_method: passthrough\ndtype: bfloat16\nslices:\n"
    for first in (0, 1, 1):
        recipe += f"- sources: [{{model: llama-tied, layer_range: [{first}, {first + 1}]}}]\n"
    (root / "stack.yml").write_text(recipe, "utf-8")
    cuvee.merge(root / "stack.yml", root / "stack", sha256=True)
    return root


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def held_out(model: Path, data: Path, seed: int = 0) -> tuple[Example, ...]:
    """The rows that a run holds out."""
    rows, _ = examples(read_rows(data), load(model), model, data, 512)
    return split(rows, 0.1, seed, data).held


@pytest.mark.parametrize("case", ["stack", *rarely("gpt2", "llama", "llama-tied", "bf16"), "bert-classifier"])
def test_the_output_is_an_ordinary_folder_that_is_better_on_held_out_rows(
    cellar: Path, tmp_path: Path, case: str
) -> None:
    data = cellar / ("classes.jsonl" if "bert" in case else "rows.jsonl")
    result = cuvee.tune(cellar / case, tmp_path / "out", data=data, **QUICK)
    before, after = load_file(cellar / case / "model.safetensors"), load_file(tmp_path / "out/model.safetensors")
    assert {name: (t.dtype, t.shape) for name, t in before.items()} == {
        name: (t.dtype, t.shape) for name, t in after.items()
    }
    assert set(result.tensors) == {name for name in before if not torch.equal(before[name], after[name])} != set()
    assert cuvee.verify(tmp_path / "out").ok
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        if (cellar / case / name).exists():
            assert (cellar / case / name).read_bytes() == (tmp_path / "out" / name).read_bytes()

    rows = held_out(cellar / case, data)
    assert (len(rows), result.training_rows + len(rows)) == (result.held_rows, 60)
    assert result.before is not None
    assert result.after is not None
    assert result.gain is not None
    assert result.before.value == pytest.approx(mean_loss(cellar / case, rows), rel=1e-4)
    assert result.after.value == pytest.approx(mean_loss(tmp_path / "out", rows), rel=1e-4)  # of what was written
    assert result.after.value < result.before.value
    assert result.gain.value == pytest.approx(result.before.value - result.after.value)
    assert min(result.before.stderr, result.after.stderr, result.gain.stderr) > 0


@pytest.mark.parametrize("rate", [1e3, 1e-12])
@pytest.mark.parametrize("case", ["stack", *rarely("gpt2")])
def test_a_run_that_gains_nothing_gives_the_model_back(cellar: Path, tmp_path: Path, case: str, rate: float) -> None:
    """A rate far too high; and one so low that bfloat16 rounds every change away, which float32 would have seen."""
    given = {**QUICK, "learning_rate": rate, "patience": 2, "check_every": 1}
    result = cuvee.tune(cellar / case, tmp_path / "out", data=cellar / "rows.jsonl", **given)
    assert result.after is not None
    assert result.before is not None
    if case == "stack" or rate > 1:
        assert (result.kept, result.tensors, result.after) == (0, (), result.before)
        assert bytes_of(tmp_path / "out")["model.safetensors"] == bytes_of(cellar / case)["model.safetensors"]
        assert any("weights of the input" in note for note in result.notes)
        assert result.stopped
    assert result.after.value <= result.before.value
    assert cuvee.verify(tmp_path / "out").ok


@pytest.mark.parametrize("more", [{"lora": 2}, *rarely({})])
def test_one_seed_gives_the_same_bytes_and_another_seed_others(cellar: Path, tmp_path: Path, more: Any) -> None:
    """GPT-2 has dropout, so that torch's own random numbers matter, and whatever was drawn before must not."""
    made = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(len(made) + 1)
        cuvee.tune(
            cellar / "gpt2", tmp_path / name, data=cellar / "rows.jsonl", seed=seed, **{**QUICK, "steps": 2}, **more
        )
        made.append(bytes_of(tmp_path / name))
    assert made[0] == made[1]
    assert made[0]["model.safetensors"] != made[2]["model.safetensors"]


def test_random_numbers_and_threads_of_the_caller_are_left_alone(cellar: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    cuvee.tune(cellar / "gpt2", tmp_path / "out", data=cellar / "rows.jsonl", **{**QUICK, "steps": 1})
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("more", [{}, {"lora": 2}])
def test_only_what_is_asked_for_changes(cellar: Path, tmp_path: Path, more: Any) -> None:
    given = {**QUICK, **more, "only": ["layers:2", "norm"]}
    result = cuvee.tune(cellar / "stack", tmp_path / "out", data=cellar / "rows.jsonl", **given)
    before, after = load_file(cellar / "stack/model.safetensors"), load_file(tmp_path / "out/model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert changed <= {name for name in before if ".2." in name or "norm" in name}
    assert changed == set(result.tensors)
    if more:
        assert all("proj" in name for name in changed)
        assert not any("adapter" in path.name for path in (tmp_path / "out").iterdir())


def test_the_record_goes_along_and_says_what_was_done(cellar: Path, tmp_path: Path) -> None:
    given = {**QUICK, "only": ["layers:1"]}
    result = cuvee.tune(cellar / "stack", tmp_path / "one", data=cellar / "rows.jsonl", **given)
    cuvee.tune(tmp_path / "one", tmp_path / "two", data=cellar / "rows.jsonl", **QUICK)
    merged, one, two = (
        json.loads((f / "cuvee.json").read_text()) for f in (cellar / "stack", *map(tmp_path.joinpath, ("one", "two")))
    )
    assert one == result.record
    for key in ("recipe", "inputs", "counts", "citations", "seed", "versions"):
        assert merged[key] == one[key] == two[key]
    assert set(one["output"]) == {"content", "tensors", "files", "sha256"}  # the merge was asked for sums
    first, second = two["tuned"]
    assert one["tuned"] == [first]
    assert first["of"] == merged["output"]["content"]
    assert second["of"] == one["output"]["content"]
    assert first["settings"]["only"] == ["layers:1"]
    assert first["settings"]["learning_rate"] == 1e-2
    assert first["rows"] == 60
    assert first["data"] == "rows.jsonl"
    assert first["tensors"] == list(result.tensors)
    assert str(tmp_path) not in (tmp_path / "two/cuvee.json").read_text()
    assert cuvee.verify(tmp_path / "two").ok


def test_a_record_of_other_weights_is_not_carried_along(cellar: Path, tmp_path: Path) -> None:
    cuvee.merge(cellar / "stack.yml", tmp_path / "stack")
    changed = load_file(tmp_path / "stack/model.safetensors")
    save_file({name: t * 2 for name, t in changed.items()}, tmp_path / "stack/model.safetensors", {"format": "pt"})
    result = cuvee.tune(tmp_path / "stack", tmp_path / "out", data=cellar / "rows.jsonl", **QUICK)
    assert any("other weights" in note for note in result.notes)
    assert result.record["recipe"]["merge_method"] == "passthrough"
    assert "slices" not in result.record["recipe"]
    assert cuvee.verify(tmp_path / "out").ok


def test_a_record_that_lies_of_tuning_fails_and_one_that_is_no_record_is_refused(cellar: Path, tmp_path: Path) -> None:
    cuvee.tune(cellar / "stack", tmp_path / "out", data=cellar / "rows.jsonl", **{**QUICK, "steps": 1})
    file = tmp_path / "out/cuvee.json"
    record = json.loads(file.read_text())
    record["tuned"][0]["tensors"] = ["no such tensor"]
    file.write_text(json.dumps(record))
    assert [c.name for c in cuvee.verify(tmp_path / "out").checks if c.outcome == "failed"] == ["record"]
    record["tuned"][0]["before"] = {"loss": "low"}
    file.write_text(json.dumps(record))
    with pytest.raises(CuveeError, match=r"tuned\[0\].before.loss should be a number") as caught:
        cuvee.tune(tmp_path / "out", tmp_path / "again", data=cellar / "rows.jsonl", **QUICK)
    assert caught.value.code == "no-record"


def test_a_tuned_folder_is_not_taken_for_the_merge_that_it_came_from(cellar: Path, tmp_path: Path) -> None:
    cuvee.tune(cellar / "stack", tmp_path / "out", data=cellar / "rows.jsonl", **QUICK)
    again = cuvee.merge(cellar / "stack.yml", tmp_path / "out", sha256=True, resume=True, overwrite=True)
    assert not again.was_complete
    assert bytes_of(tmp_path / "out") == bytes_of(cellar / "stack")


def test_pickles_and_shards_are_read_and_experts_that_are_stacked_in_memory_are_written_apart(tmp_path: Path) -> None:
    make_model(tmp_path / "mixtral", "mixtral", tokenizer=False)
    write_rows(tmp_path / "rows.jsonl", counting(40))
    whole = load_file(tmp_path / "mixtral/model.safetensors")
    (tmp_path / "mixtral/model.safetensors").unlink()
    names = sorted(whole)
    index = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"pytorch_model-{number}.bin"
        torch.save({name: whole[name] for name in part}, tmp_path / "mixtral" / file)
        index |= dict.fromkeys(part, file)
    (tmp_path / "mixtral/pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    given = {**QUICK, "only": ["experts"]}
    result = cuvee.tune(tmp_path / "mixtral", tmp_path / "out", data=tmp_path / "rows.jsonl", **given)
    after = load_file(tmp_path / "out/model.safetensors")
    assert after.keys() == whole.keys()
    assert {name for name in whole if not torch.equal(whole[name], after[name])} == set(result.tensors)
    assert {"experts" in name for name in result.tensors} == {True}
    rows = held_out(tmp_path / "out", tmp_path / "rows.jsonl")
    assert result.after is not None
    assert result.before is not None
    assert result.after.value == pytest.approx(mean_loss(tmp_path / "out", rows), rel=1e-4)
    assert result.after.value < result.before.value
    assert cuvee.verify(tmp_path / "out").ok


def test_texts_tables_labels_and_no_rows_held_out(cellar: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("say,n\n" + "".join(f"the wine of the north is {i},{i}\n" for i in range(20)))
    given = {**QUICK, "steps": 2, "holdout": 0, "column": "say", "max_length": 6}
    result = cuvee.tune(cellar / "llama", tmp_path / "out", data=tmp_path / "t.csv", **given)
    assert (result.before, result.after, result.gain, result.checks, result.kept) == (None, None, None, (), 2)
    assert "20 of 20 rows were cut" in result.notes
    assert any("no rows were held out" in n for n in result.notes)
    answers = [[-100, -100, *row[2:]] for row in counting(60)]
    data = write_rows(tmp_path / "answers.jsonl", counting(60), labels=answers)
    tuned = cuvee.tune(cellar / "llama", tmp_path / "two", data=data, **QUICK)
    rows = held_out(cellar / "llama", data)
    assert tuned.before is not None
    assert tuned.before.value == pytest.approx(mean_loss(cellar / "llama", rows), rel=1e-4)
    assert {row.targets[0] for row in rows} == {-100}


@pytest.mark.parametrize("more", [{"dtype": "bfloat16"}, *rarely({"dtype": "bfloat16", "lora": 2})])
def test_passes_in_bfloat16_train_float32_weights(cellar: Path, tmp_path: Path, more: Any) -> None:
    result = cuvee.tune(cellar / "llama", tmp_path / "out", data=cellar / "rows.jsonl", **QUICK, **more)
    after = load_file(tmp_path / "out/model.safetensors")
    assert {t.dtype for t in after.values()} == {torch.float32}
    assert result.kept > 0
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(after[name], after[name].bfloat16().float())


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"data": "none.jsonl"}, "data-missing", "none.jsonl"),
    ({"data": "empty.jsonl"}, "bad-data", "there is none"),
    ({"data": "textless.jsonl"}, "bad-data", "`text` or `input_ids`"),
    ({"data": "short.jsonl"}, "bad-data", "2 tokens or more; found 1"),
    ({"data": "foreign.jsonl"}, "bad-data", "token 96 is outside"),
    ({"data": "unlabelled.jsonl"}, "bad-data", "a token to predict"),
    ({"data": "mislabelled.jsonl"}, "bad-data", "for each of 3 `input_ids`"),
    ({"data": "few.jsonl"}, "bad-data", "2 differ"),
    ({"model": "bert-classifier"}, "missing-label", "line 1 has none"),
    ({"model": "nowhere/at/all"}, "model-missing", "no such model"),
    ({"model": "rows.jsonl"}, "not-a-checkpoint", "a weight file ends in"),
    ({"model": "adapter"}, "bad-adapter", "peft_type: LORA"),
    ({"model": "bare"}, "not-yet", "BertModel is neither"),
    ({"out": "stack"}, "output-exists", "is there already"),
    ({"out": "stack", "overwrite": True, "model": "stack"}, "unsafe-overwrite", "what the merge reads"),
    ({"only": ["layers:9"]}, "bad-argument", "the model has layers 0 to 2"),
    ({"only": "layers:1"}, "bad-argument", "filters, in a list"),
    ({"learning_rate": math.nan}, "bad-argument", "`learning_rate`"),
    ({"device": "nowhere"}, "bad-argument", "not there"),
    ({"column": ""}, "bad-argument", "a name"),
    ({"lora": 2, "only": ["norm"]}, "bad-argument", "LoRA changes linear maps"),
]


@pytest.fixture(scope="module")
def bad(cellar: Path) -> Path:
    """What tuning refuses."""
    lines = {
        "empty": "\n",
        "textless": '{"words": "a b"}\n',
        "short": '{"input_ids": [1]}\n',
        "foreign": '{"input_ids": [1, 96]}\n',
        "unlabelled": '{"input_ids": [1, 2, 3], "labels": [1, -100, -100]}\n',
        "mislabelled": '{"input_ids": [1, 2, 3], "labels": [1, 2]}\n',
        "few": '{"input_ids": [1, 2, 3]}\n{"input_ids": [1, 2]}\n{"input_ids": [1, 2]}\n',
    }
    for name, text in lines.items():
        (cellar / f"{name}.jsonl").write_text(text, "utf-8")
    (cellar / "adapter").mkdir()
    (cellar / "adapter/adapter_config.json").write_text("{}")
    save_file({"x": torch.zeros(1)}, cellar / "adapter/adapter_model.safetensors")
    make_model(cellar / "bare", "bert bare")
    return cellar


@pytest.mark.parametrize(("change", "code", "said"), BAD, ids=[f"{next(iter(c))}-{code}" for c, code, _ in BAD])
def test_bad_input_is_a_clear_error_and_leaves_nothing(
    bad: Path, tmp_path: Path, change: Any, code: str, said: str
) -> None:
    given: dict[str, Any] = {"model": "stack", "out": "", "data": "rows.jsonl", **QUICK, **change}
    model, data, out = bad / given.pop("model"), bad / given.pop("data"), given.pop("out")
    before = sorted(bad.rglob("*"))
    with pytest.raises(CuveeError) as caught:
        cuvee.tune(model, bad / out if out else tmp_path / "out", data=data, **given)
    assert caught.value.code == code
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert sorted(bad.rglob("*")) == before


def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_loaded(
    cellar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cuvee.tuning.run.load", lambda folder: pytest.fail("it was loaded"))
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="could not make the folder"):
        cuvee.tune(cellar / "llama", tmp_path / "file/out", data=cellar / "rows.jsonl", **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_record_tells_of_the_data_that_was_read_whatever_becomes_of_the_file(cellar: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_bytes((cellar / "rows.jsonl").read_bytes())
    digest = digest_file(data)
    made = cuvee.tune(
        cellar / "llama", tmp_path / "out", data=data, progress=lambda *_: data.unlink(missing_ok=True), **QUICK
    )
    assert made.record["tuned"][-1]["content"] == digest


def test_a_loss_that_is_no_number_leaves_nothing(cellar: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="of step 2 of 8"):
        cuvee.tune(cellar / "llama", tmp_path / "out", data=cellar / "rows.jsonl", **{**QUICK, "learning_rate": 9e29})
    assert not list(tmp_path.iterdir())


def test_an_output_far_away_is_refused(cellar: Path) -> None:
    with pytest.raises(CuveeError, match="must be a path of this machine"):
        cuvee.tune(cellar / "llama", "s3://bucket/out", data=cellar / "rows.jsonl", **QUICK)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_loaded(
    cellar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: 100_000)
    monkeypatch.setattr("cuvee.tuning.run.load", lambda folder: pytest.fail("it was loaded"))
    with pytest.raises(ResourceError, match=r"besides activations .* 100\.0 KB are free"):
        cuvee.tune(cellar / "llama", tmp_path / "out", data=cellar / "rows.jsonl", **QUICK)


def test_the_command_tells_it_as_text_and_as_json(
    cellar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", str(cellar / "stack"), "--data", str(cellar / "rows.jsonl"), "--steps", "4", "--threads", "1"]
    words += ["--learning-rate", "1e-2", "--only", "layers:1", "norm", "-o"]
    text = call(capsys, *words, str(tmp_path / "a"))
    assert text.code == 0, text.err
    assert "4 steps on 54 rows, 6 held out" in text.out
    assert "better by" in text.out
    assert "tensors changed" in text.out
    assert "±" in text.out
    told = call(capsys, *words, str(tmp_path / "b"), "--json")
    assert told.code == 0
    assert told.json["command"] == "tune"
    assert set(told.json) >= {"path", "before", "after", "gain", "kept", "losses", "checks", "tensors", "settings"}
    assert told.json["before"].keys() == {"value", "stderr"}
    assert len(told.json["losses"]) == 4
    assert told.json["settings"]["only"] == ["layers:1", "norm"]
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    again = call(capsys, *words, str(tmp_path / "b"))
    assert again.code == 7
    assert "already" in again.err


def test_progress_is_told_and_an_interrupt_leaves_nothing(cellar: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int, text: str) -> None:
        told.append((done, total))
        assert text.startswith("loss ")
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cuvee.tune(cellar / "llama", tmp_path / "out", data=cellar / "rows.jsonl", progress=stop, **QUICK)
    assert told == [(1, 8), (2, 8), (3, 8)]
    assert not list(tmp_path.iterdir())


def test_a_model_that_changes_meanwhile_is_refused(cellar: Path, tmp_path: Path) -> None:
    cuvee.merge(cellar / "stack.yml", tmp_path / "stack")
    weights = tmp_path / "stack/model.safetensors"

    def touch(done: int, total: int, text: str) -> None:
        if done == 2:
            weights.write_bytes(weights.read_bytes()[:-1] + b"x")

    with pytest.raises(CuveeError, match="changed"):
        cuvee.tune(tmp_path / "stack", tmp_path / "out", data=cellar / "rows.jsonl", progress=touch, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_command_says_that_nothing_was_written(cellar: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "cuvee", "tune", str(cellar / "llama"), "--data", str(cellar / "rows.jsonl")]
    words += ["--steps", "1000000", "--learning-rate", "1e-4", "--patience", "1000000", "-o", str(tmp_path / "out")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    assert "tuning" in process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "nothing was written" in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"lora": 8, "learning_rate": 3e-3}, {"only": ["layers:1-3"]}], ids=str)
def test_a_stack_recovers(tmp_path: Path, more: Any) -> None:
    """The demo's base with its middle layer twice; 120 steps on its lessons make up most of what that broke."""
    from benchmarks.healing import exact_match, lessons, write_stack

    base, stack = write_stack(tmp_path)
    data = lessons(tmp_path / "lessons.jsonl", seed=0, count=3000)
    given = {"steps": 120, "batch_size": 32, "learning_rate": 1e-3, "threads": 1, **more}
    result = cuvee.tune(stack, tmp_path / "out", data=data, **given)
    scores = [exact_match(folder, seed=0)[0] for folder in (base, stack, tmp_path / "out")]
    assert result.gain is not None
    assert result.gain.value > 5 * result.gain.stderr
    assert scores[1] < scores[0] - 0.1
    assert scores[2] > scores[1] + 0.6 * (scores[0] - scores[1])
