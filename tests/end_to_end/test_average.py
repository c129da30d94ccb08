"""Averages along real training runs: checkpoints that transformers' Trainer wrote, with BatchNorm and without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import update_bn

import cuvee
from cuvee.errors import CuveeError
from tests.support.command_line import call
from tests.support.merging import CONFIG, cast, decoder, files, hidden, picture, read, write

RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 3}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 + 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five saves of a ResNet, by the trainer itself."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    torch.manual_seed(0)
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(**RESNET))
    rows = [{"pixel_values": image, "labels": i % 3} for i, image in enumerate(pictures(20))]
    settings = {"max_steps": 10, "save_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 0.02}
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False}
    arguments = transformers.TrainingArguments(output_dir=str(folder), **settings, **quiet)
    transformers.Trainer(model=model, args=arguments, train_dataset=rows).train()
    save_file({"pixel_values": pictures(20)}, folder / "images.safetensors")
    return folder


@pytest.fixture
def decoders(tmp_path: Path) -> Path:
    """A run of decoders, whose order by alphabet is not that of their numbers."""
    for seed, step in enumerate((90, 200, 1000)):
        write(tmp_path / f"run/checkpoint-{step}", decoder(seed), {**CONFIG, "step": step})
    return tmp_path / "run"


def weighted(folders: Sequence[Path], weights: Sequence[float]) -> dict[str, np.ndarray]:
    """Σ wᵢ xᵢ in float64, float tensors only."""
    models = [read(folder) for folder in folders]
    floats = [name for name, value in models[0].items() if value.is_floating_point()]
    pairs = list(zip(weights, models, strict=True))
    return {name: sum(w * m[name].double().numpy() for w, m in pairs) for name in floats}  # type: ignore[misc]


def assert_close(found: dict[str, Tensor], expected: dict[str, np.ndarray]) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].double().numpy(), value, rtol=2e-6, atol=2e-7, err_msg=name)


def steps(run: Path, *numbers: int) -> list[Path]:
    return [run / f"checkpoint-{number}" for number in numbers]


def test_the_last_checkpoints_of_a_trainer_become_their_mean(run: Path, tmp_path: Path) -> None:
    assert (run / "checkpoint-10/optimizer.pt").exists()  # the trainer wrote what must not be carried over
    made = cuvee.average(run, tmp_path / "out", last=3)
    found = read(tmp_path / "out")
    assert [(one.step, one.weight) for one in made.checkpoints] == [(step, 1 / 3) for step in (6, 8, 10)]
    assert_close(found, weighted(steps(run, 6, 8, 10), [1 / 3] * 3))
    newest = read(run / "checkpoint-10")
    counts = {name: value for name, value in found.items() if name.endswith("num_batches_tracked")}
    assert len(counts) == 6
    assert all(int(value) == int(newest[name]) == 10 for name, value in counts.items())
    assert sorted(files(tmp_path / "out")) == ["config.json", "cuvee.json", "cuvee_recipe.yml", "model.safetensors"]
    assert any("12 running means and variances" in note for note in made.notes)
    assert cuvee.verify(tmp_path / "out").ok


def test_ema_is_the_recurrence(run: Path, tmp_path: Path) -> None:
    cuvee.average(run, tmp_path / "out", everything=True, kind="ema", decay=0.7)
    folders = steps(run, 2, 4, 6, 8, 10)
    mean = weighted(folders[:1], [1.0])
    for folder in folders[1:]:
        mean = {name: 0.7 * mean[name] + 0.3 * value for name, value in weighted([folder], [1.0]).items()}
    assert_close(read(tmp_path / "out"), mean)


def test_order_and_files_are_those_of_the_numbers(decoders: Path, tmp_path: Path) -> None:
    made = cuvee.average(decoders, tmp_path / "out", last=2, kind="linear", dtype="bfloat16")
    assert [one.step for one in made.checkpoints] == [200, 1000]
    assert json.loads((tmp_path / "out/config.json").read_text())["step"] == 1000
    assert (tmp_path / "out/tokenizer.json").exists()
    expected = weighted(steps(decoders, 200, 1000), [1 / 3, 2 / 3])
    for name, value in read(tmp_path / "out").items():
        assert torch.equal(value, torch.from_numpy(expected[name]).float().bfloat16()), name
    assert not any("running means" in note for note in made.notes)


def test_no_state_of_a_trainer_is_carried_over(decoders: Path, tmp_path: Path) -> None:
    """What Trainer, accelerate, DeepSpeed and FSDP leave beside the weights."""
    newest = decoders / "checkpoint-1000"
    states = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_0.pth", "trainer_state.json")
    own = ("training_args.bin", "optimizer.bin", "sampler.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl")
    sharded = ("zero_to_fp32.py", "latest", "global_step1000/mp_rank_00_model_states.pt", "optimizer_0/__0_0.distcp")
    for name in (*states, *own, *sharded, "pytorch_model_fsdp_0/__0_0.distcp", "1_Dense/model.safetensors"):
        (newest / name).parent.mkdir(exist_ok=True)
        (newest / name).write_bytes(b"not weights")
    cuvee.average(decoders, tmp_path / "out", last=2)
    kept = {"1_Dense/model.safetensors", "tokenizer.json", "generation_config.json"}  # a part of the model, and text
    made = {"config.json", "cuvee.json", "cuvee_recipe.yml", "model.safetensors"}
    assert files(tmp_path / "out").keys() == kept | made


def test_state_dicts_in_a_folder_and_listed_ones(tmp_path: Path) -> None:
    states = [decoder(seed) for seed in range(3)]
    for step, tensors in zip((900, 1000, 20), states, strict=True):
        torch.save(tensors, tmp_path / f"model_{step}.pt")
    cuvee.average(tmp_path, tmp_path / "found", last=2)
    cuvee.average([tmp_path / "model_1000.pt", tmp_path / "model_900.pt"], tmp_path / "listed")
    mean = {name: (states[0][name].double() + states[1][name].double()).numpy() / 2 for name in states[0]}
    assert_close(read(tmp_path / "found"), mean)
    assert files(tmp_path / "found") == files(tmp_path / "listed")


def by_hand(average: Path, batches: list[Tensor]) -> transformers.PreTrainedModel:
    model = transformers.ResNetForImageClassification.from_pretrained(average)
    update_bn(batches, model)
    return model.eval()


def test_recalibrated_statistics_are_those_of_torch(run: Path, tmp_path: Path) -> None:
    cuvee.average(run, tmp_path / "plain", last=3)
    images = run / "images.safetensors"
    made = cuvee.average(run, tmp_path / "out", last=3, recalibrate=images, batch_size=8, sha256=True)
    expected = by_hand(tmp_path / "plain", [pictures(20)[a:b] for a, b in ((0, 6), (6, 13), (13, 20))])
    found, plain = read(tmp_path / "out"), read(tmp_path / "plain")
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    changed = {name for name, value in plain.items() if not torch.equal(found[name], value)}
    assert changed == set(made.record["recalibrated"]["tensors"])
    assert {name.rpartition(".")[2] for name in changed} == set(STATISTICS)
    loaded = transformers.ResNetForImageClassification.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        logits = [model(pictures(4)).logits for model in (loaded, expected)]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    assert made.notes == ()
    assert cuvee.verify(tmp_path / "out").ok
    facts = {key: made.record["recalibrated"][key] for key in ("data", "batch_size", "batches", "kept")}
    assert facts == {"data": str(images), "batch_size": 8, "batches": 3, "kept": []}


def failed(folder: Path) -> list[str]:
    return [check.name for check in cuvee.verify(folder).checks if check.outcome == "failed"]


def test_what_verify_and_resume_know_of_recalibration(run: Path, tmp_path: Path) -> None:
    out, images = tmp_path / "out", run / "images.safetensors"
    cuvee.average(run, out, last=2, recalibrate=images)
    assert cuvee.average(run, out, last=2, recalibrate=images, resume=True).merge.was_complete
    for other in ({}, {"recalibrate": images, "batch_size": 5}, {"recalibrate": [pictures(4)]}):
        with pytest.raises(CuveeError) as caught:
            cuvee.average(run, out, last=2, resume=True, **other)  # type: ignore[arg-type]
        assert caught.value.code == "output-exists"
    damaged = read(out)
    name = next(name for name in damaged if name.endswith("running_var"))
    save_file({**damaged, name: damaged[name] * 2}, out / "model.safetensors", {"format": "pt"})
    assert failed(out) == ["hashes"]
    save_file(damaged, out / "model.safetensors", {"format": "pt"})
    assert failed(out) == []
    record = json.loads((out / "cuvee.json").read_text())
    record["recalibrated"]["tensors"].append("stranger")
    (out / "cuvee.json").write_text(json.dumps(record))
    assert failed(out) == ["record"]


def test_a_run_that_ended_while_recalibrating_goes_on_to_the_same_bytes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [pictures(6)]
    cuvee.average(run, tmp_path / "straight", last=3, recalibrate=data)

    def full(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:  # the new statistics stand in the place of the averaged ones by then
        patch.setattr("cuvee.execute.publish.record_of", full)
        with pytest.raises(OSError, match="the disk is full"):
            cuvee.average(run, tmp_path / "out", last=3, recalibrate=data, resume=True)
    assert not (tmp_path / "out").exists()
    made = cuvee.average(run, tmp_path / "out", last=3, recalibrate=data, resume=True)
    assert made.merge.resumed_bytes > 0
    assert files(tmp_path / "out") == files(tmp_path / "straight")
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("form", ["module", "file"])
def test_batches_from_a_function(form: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import torch\ndef batches():\n    yield {'pixel_values': torch.ones(2, 3, 16, 16)}\nnothing = 3\n"
    (tmp_path / f"my_{form}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    home = "my_module" if form == "module" else str(tmp_path / "my_file.py")
    made = cuvee.average(run, tmp_path / "out", last=2, recalibrate=f"{home}:batches")
    assert made.record["recalibrated"]["batches"] == 1
    for wrong in (f"{home}:nothing", f"{home}:missing", "no_such_module:batches", "words"):
        with pytest.raises(CuveeError) as caught:
            cuvee.average(run, tmp_path / "other", last=2, recalibrate=wrong)
        assert caught.value.code == "bad-argument"


def bad_data(kind: str, folder: Path) -> object:
    file = folder / "data.safetensors"
    if kind == "missing":
        return file
    rows = {"unequal": {"a": torch.ones(2, 3), "b": torch.ones(3)}, "scalar": {"a": torch.tensor(1.0)}}
    nan = {"pixel_values": torch.full((2, 3, 16, 16), float("nan"))}
    save_file({**rows, "strange": {"a": torch.ones(2, 3, 16, 16)}, "nan": nan}[kind], file)
    return file


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("missing", "model-missing"),
        ("unequal", "shape-mismatch"),
        ("scalar", "shape-mismatch"),
        ("strange", "bad-argument"),
        ("nan", "non-finite"),
    ],
)
def test_data_that_do_not_fit_leave_nothing(kind: str, code: str, run: Path, tmp_path: Path) -> None:
    data = bad_data(kind, tmp_path)
    before = picture(tmp_path)
    with pytest.raises(CuveeError) as caught:
        cuvee.average(run, tmp_path / "out", last=2, recalibrate=data)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert picture(tmp_path) == before


def test_a_model_without_statistics_cannot_be_recalibrated(decoders: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(CuveeError, match="no BatchNorm statistics") as caught:
        cuvee.average(decoders, tmp_path / "out", last=2, recalibrate=run / "images.safetensors")
    assert caught.value.code == "bad-argument"


def cut_short(run: Path, tmp_path: Path) -> Path:
    """A run of which one checkpoint has half its weights, and one none."""
    copy = shutil.copytree(run, tmp_path / "cut")
    file = copy / "checkpoint-8/model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    (copy / "checkpoint-10/model.safetensors").unlink()
    return copy


def test_unfinished_checkpoints_are_faults_or_passed_over(run: Path, tmp_path: Path) -> None:
    broken = cut_short(run, tmp_path)
    with pytest.raises(CuveeError) as caught:
        cuvee.average(broken, tmp_path / "out", last=3)
    assert set(caught.value.codes) == {"truncated", "not-a-checkpoint"}
    assert all(number in str(caught.value) for number in ("checkpoint-8", "checkpoint-10", "--skip-incomplete"))
    made = cuvee.average(broken, tmp_path / "out", last=3, skip_incomplete=True)
    assert [one.step for one in made.checkpoints] == [2, 4, 6]
    assert made.skipped == ("checkpoint-8", "checkpoint-10")
    assert "passed over, because they are not whole: checkpoint-8, checkpoint-10" in made.notes
    assert hidden(tmp_path) == []


def test_adapters_are_refused_and_never_passed_over(decoders: Path, tmp_path: Path) -> None:
    adapter = decoders / "checkpoint-1000"
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text("{}")
    for skip in (False, True):
        with pytest.raises(CuveeError, match="peft_type: LORA") as caught:
            cuvee.average(decoders, tmp_path / "out", last=2, skip_incomplete=skip)
        assert caught.value.code == "bad-adapter"


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        ({"last": 0}, ["bad-argument"]),
        ({"last": 4}, ["bad-argument"]),
        ({"last": 2, "kind": "ema", "decay": 1.0}, ["bad-argument"]),
        ({"last": 2, "kind": "ema", "decay": 0}, ["bad-argument"]),
        ({"last": 2, "decay": 0.5}, ["bad-argument"]),
        ({"last": 0, "kind": "median", "decay": "x", "skip_incomplete": 1}, ["bad-argument"] * 4),
        ({"last": 2, "dtype": "int8"}, ["wrong-value"]),
        ({"last": 2, "batch_size": 0}, ["bad-argument"]),
    ],
)
def test_bad_settings_are_told_at_once(asked: dict[str, object], codes: list[str], decoders: Path) -> None:
    before = picture(decoders)
    with pytest.raises(CuveeError) as caught:
        cuvee.average(decoders, decoders / "out", **asked)  # type: ignore[arg-type]
    assert list(caught.value.codes) == codes
    assert picture(decoders) == before


def test_bad_runs(decoders: Path, tmp_path: Path) -> None:
    def code(models: object, out: str = "out") -> str:
        with pytest.raises(CuveeError) as caught:
            cuvee.average(models, tmp_path / out, everything=True)  # type: ignore[arg-type]
        return caught.value.code

    assert code(decoders / "checkpoint-90") == "not-a-checkpoint"
    assert code(tmp_path / "nowhere") == "model-missing"
    assert code([decoders / "checkpoint-90"] * 2) == "duplicate-model"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note").write_text("mine")
    assert code(decoders, "full") == "output-exists"
    write(decoders / "checkpoint-3000", decoder(7, width=12), CONFIG)
    assert code(decoders) == "shape-mismatch"


def test_one_checkpoint_is_its_own_average_and_that_is_said(decoders: Path, tmp_path: Path) -> None:
    made = cuvee.average(decoders, tmp_path / "out", last=1)
    assert read(tmp_path / "out").keys() == decoder(2).keys()
    assert all(torch.equal(read(tmp_path / "out")[name], value) for name, value in decoder(2).items())
    assert "one checkpoint was chosen" in made.notes[0]


def test_half_precision_is_rounded_once(tmp_path: Path) -> None:
    models = [cast(decoder(seed), torch.bfloat16) for seed in range(5)]
    for step, tensors in enumerate(models):
        write(tmp_path / f"run/epoch_{step}", tensors)
    cuvee.average(tmp_path / "run", tmp_path / "out", everything=True)
    for name, value in read(tmp_path / "out").items():
        mean = torch.stack([model[name].double() for model in models]).mean(0)
        assert torch.equal(value, mean.float().bfloat16()), name


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = run / "images.safetensors"
    ran = call(capsys, "average", run, "--last", 2, "-o", tmp_path / "a", "--recalibrate", images, "--json")
    assert ran.code == 0
    assert [one["weight"] for one in ran.json["checkpoints"]] == [0.5, 0.5]
    assert ran.json["recalibrated"]["batches"] == 1
    ran = call(capsys, "average", run, "--from", 4, "--to", 8, "--every", 2, "-o", tmp_path / "b")
    assert ran.code == 0
    assert ran.out.startswith(f"2 checkpoints, oldest first:\n  0.5000  {run}/checkpoint-4\n")
    assert "--recalibrate DATA" in ran.err
    assert call(capsys, "verify", tmp_path / "b").code == 0


def test_the_command_writes_a_recipe(decoders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run/average.yml"
    words = ("average", decoders, "--all", "--kind", "ema", "--decay", 0.5)
    assert call(capsys, *words, "--recipe-only", file).code == 0
    assert call(capsys, *words, "--recipe-only", file).code == 7
    assert call(capsys, "merge", file, "-o", tmp_path / "merged").code == 0
    assert call(capsys, *words, "-o", tmp_path / "averaged").code == 0
    assert read(tmp_path / "merged").keys() == read(tmp_path / "averaged").keys()
    for name, value in load_file(tmp_path / "merged/model.safetensors").items():
        assert torch.equal(value, read(tmp_path / "averaged")[name])
    assert call(capsys, *words, "-o", tmp_path / "x", "--recipe-only", file).code == 2
    assert call(capsys, *words).code == 2


def test_a_recipe_with_relative_paths_is_seen_from_its_own_folder(
    decoders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    assert call(capsys, "average", decoders.name, "--last", 2, "--recipe-only", "recipes/r.yml").code == 0
    assert "../run/checkpoint-1000" in (tmp_path / "recipes/r.yml").read_text()
    assert call(capsys, "merge", "recipes/r.yml", "-o", "out").code == 0
