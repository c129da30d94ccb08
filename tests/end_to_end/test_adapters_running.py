"""Models with adapters where models are run: generated with, judged, made members; and the page on adapters."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

import cuvee
from cuvee.api.candidates import candidates
from cuvee.errors import InputError
from cuvee.generate.members import language_models
from cuvee.predict import Member
from tests.support.adapters import load_base, logits, merged_by_peft, train_adapter, write_adapter, write_base
from tests.support.command_line import call
from tests.support.writing import byte_level

pytest.importorskip("peft")

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
SETTINGS = {"r": 2, "target_modules": ["q_proj", "up_proj"]}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that reads bytes, with the adapters of the page."""
    folder = tmp_path_factory.mktemp("running")
    tokenizer = byte_level()
    base = write_base("llama", folder / "models/base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(str(base))
    for seed, name in enumerate(("math", "code", "style")):
        train_adapter(base, folder / "adapters" / name, seed=seed, **SETTINGS)
    return folder


@pytest.fixture
def wanted(room: Path) -> torch.Tensor:
    return logits(merged_by_peft(room / "models/base", room / "adapters/math"))


@pytest.mark.parametrize("alone", [False, True])
def test_it_writes(room: Path, wanted: torch.Tensor, alone: bool) -> None:
    text = str(room / "adapters/math") if alone else f"{room / 'models/base'}+{room / 'adapters/math'}"
    (found,) = language_models([text])
    torch.testing.assert_close(logits(found.model), wanted, rtol=1e-5, atol=1e-6)
    assert found.tokenizer("x")["input_ids"]


@pytest.mark.parametrize("alone", [False, True])
def test_it_is_judged(room: Path, wanted: torch.Tensor, alone: bool) -> None:
    text = str(room / "adapters/math") if alone else f"{room / 'models/base'}+{room / 'adapters/math'}"
    beside = {"tokenizer": None, "image_processor": None}
    (one,) = candidates({"it": text}, "float32", "cpu", beside)
    (base,) = candidates({"base": str(room / "models/base")}, "float32", "cpu", beside)
    with one.ready() as ready, base.ready() as other:
        torch.testing.assert_close(logits(ready.subject().model), wanted, rtol=1e-5, atol=1e-6)
        assert ready.subject().tokenizer is not None
        assert ready.digest() != other.digest()


def test_it_is_a_member(room: Path) -> None:
    text = f"{room / 'models/base'}+{room / 'adapters/math'}"
    member = Member.causal(text, classes=["a", "b"], template="{text}:")
    rows = ["x", "yy"]
    base = Member.causal(room / "models/base", classes=["a", "b"], template="{text}:")
    assert member.ask(rows).shape == (2, 2)
    assert (member.ask(rows) != base.ask(rows)).any()


def test_what_does_not_fit_is_not_run(room: Path) -> None:
    with pytest.raises(InputError) as caught:
        language_models([f"{room / 'models/base'}+{room / 'models/base'}"])
    assert caught.value.code == "bad-adapter"


def test_the_commands_of_the_page(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(room)
    text = PAGE.read_text("utf-8")
    (recipe,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    Path("merge.yml").write_text(recipe, "utf-8")
    assert cuvee.merge("merge.yml", "merged").lost == 0
    cuvee.merge({"merge_method": "passthrough", "models": [{"model": "models/base+adapters/style"}]}, "models/tuned")
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            ran = call(capsys, *shlex.split(line, comments=True)[1:])
            assert ran.code == 0, ran.err
    torch.testing.assert_close(
        logits(load_base(Path("models/math"))),
        logits(merged_by_peft(Path("models/base"), Path("adapters/math"))),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_merge_with_adapters_is_resumed_and_verified(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    recipe = {"merge_method": "passthrough", "models": [{"model": "models/base+adapters/code"}]}
    cuvee.merge(recipe, "resumed", resume=True)
    assert cuvee.merge(recipe, "resumed", resume=True).was_complete
    assert cuvee.verify("resumed").ok
    config = room / "adapters/code/adapter_config.json"
    config.write_text(config.read_text("utf-8").replace('"lora_alpha": 8', '"lora_alpha": 16'), "utf-8")
    with pytest.raises(cuvee.CuveeError) as caught:  # another scale is another model
        cuvee.merge(recipe, "resumed", resume=True)
    assert caught.value.code == "output-exists"


def test_the_output_never_takes_the_place_of_an_adapter(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    recipe = {"merge_method": "passthrough", "models": [{"model": "models/base+adapters/math"}]}
    for taken in ("adapters/math", "models/base"):
        with pytest.raises(cuvee.CuveeError):
            cuvee.merge(recipe, taken, overwrite=True)
    assert (room / "adapters/math/adapter_config.json").is_file()


@pytest.mark.parametrize("doing", ["tuning", "collecting", "`drop_least`"])
def test_what_runs_a_whole_folder_says_how_to_get_one(tmp_path: Path, doing: str) -> None:
    base, adapter = write_adapter("lora", tmp_path)
    model, data = f"{base}+{adapter}", tmp_path / "rows.jsonl"
    data.write_text('{"input_ids": [3, 4, 5, 6, 7, 8]}\n' * 8, "utf-8")
    ways = {
        "tuning": lambda: cuvee.tune(model, tmp_path / "out", data=data, steps=1),
        "collecting": lambda: cuvee.collect(model, data=data, out=tmp_path / "out.safetensors"),
        "`drop_least`": lambda: cuvee.stack(model, tmp_path / "out", drop_least=1, text=data),
    }
    with pytest.raises(InputError, match=f"{doing} takes a whole model's folder") as caught:
        ways[doing]()
    assert caught.value.code == "adapter-input"
    assert "cuvee lora apply" in str(caught.value.faults[0].hint)
    assert not (tmp_path / "out").exists()
