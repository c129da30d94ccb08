"""Names that would steer a terminal, forge a line of ours or break a document: told, and spelled out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from cuvee.checkpoint import open_checkpoint
from cuvee.types import ModelRef
from tests.support.checkpoints import write_model
from tests.support.command_line import LINEAR, call, write_models, write_recipe

EVIL = "w\x1b[2J\x1b]0;title\x07\x9b31m\r\b\x00\n✗ forged\nerror: forged\u202egnp.exe\u2066\u2028x"
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models, one with a tensor of the evil name, in all places where a name can stand."""
    write_models(tmp_path)
    write_model(tmp_path / "evil", {EVIL: torch.full((2,), torch.nan), "b": torch.zeros(2)})
    (tmp_path / "evil" / "config.json").write_text(json.dumps({"model_type": EVIL, "architectures": [EVIL]}))
    (tmp_path / "evil" / EVIL.replace("\0", "").replace("/", "")).write_text("x")
    return tmp_path


def assert_clean(*texts: str) -> None:
    for text in texts:
        assert FORBIDDEN.search(text) is None, ascii(text)
        assert not [line for line in text.splitlines() if line.startswith(("✗ forged", "error: forged"))], text


@pytest.mark.parametrize("json_too", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("verb", ["inspect", "verify", "diff", "plan", "merge", "validate"])
def test_a_tensor_name_that_steers_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], verb: str, json_too: bool
) -> None:
    evil, recipe = folder / "evil", write_recipe(folder, LINEAR.replace("model: a", "model: evil"))
    words = {
        "inspect": [evil],
        "verify": [evil],
        "diff": [evil, folder / "a"],
        "plan": [recipe],
        "merge": [recipe, "-o", folder / "out"],
        "validate": [recipe],
    }[verb]
    ran = call(capsys, verb, *words, *(["--json"] if json_too else []))
    assert ran.code in (0, 4, 6)
    if json_too:
        assert ran.json
        assert "\x1b" not in ran.out
    else:
        assert_clean(ran.out, ran.err)
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_a_recipe_that_steers_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    quoted = json.dumps(EVIL)
    for text in (
        f"merge_method: {quoted}\nmodels: [{{model: a}}]\n",
        f"merge_method: linear\nmodels: [{{model: {quoted}, parameters: {{weight: 1}}}}]\n",
        f"merge_method: linear\n{quoted}: 1\nmodels: [{{model: a, parameters: {{weight: {quoted}}}}}]\n",
        f"merge_method: !{quoted[1:5]} x\n",
        f"a: *{quoted[1:3]}\n",
    ):
        ran = call(capsys, verb, write_recipe(folder, text))
        if verb == "plan" or ran.code:
            assert ran.code in (3, 4)
        assert_clean(ran.out, ran.err)


def test_paths_that_steer_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = EVIL.replace("\0", "")
    for verb in ("inspect", "verify", "plan", "validate"):
        ran = call(capsys, verb, folder / odd)
        assert ran.code in (3, 4)
        assert_clean(ran.out, ran.err)


def test_an_unsafe_pickle_that_steers_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names in a pickle are told too."""
    name = b"os\x1b[2J\nsystem\xe2\x80\xae"
    (tmp_path / "model.bin").write_bytes(b"\x80\x02c" + name + b"\n)R.")
    ran = call(capsys, "inspect", tmp_path / "model.bin")
    assert ran.code == 4
    assert "os" in ran.err
    assert_clean(ran.out, ran.err)


def test_a_record_keeps_evil_names_as_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written is JSON and YAML that read back as what they are, on no more lines than they should have."""
    write_model(folder / "evil", {EVIL: torch.ones(2)}, overwrite=True)
    recipe = write_recipe(
        folder, f"merge_method: linear\nname: {json.dumps(EVIL)}\nmodels:\n- model: evil\n  parameters: {{weight: 1}}\n"
    )
    ran = call(capsys, "merge", recipe, "-o", folder / "out")
    assert ran.code == 0
    assert_clean(ran.out, ran.err)
    assert list(json.loads((folder / "out" / "cuvee.json").read_text())["output"]["tensors"]) == [EVIL]
    assert list(open_checkpoint(ModelRef(str(folder / "out"))).specs) == [EVIL]
    written = (folder / "out" / "cuvee_recipe.yml").read_text()
    assert not set(written) & set("\x1b\x07\x9b\r\b\0")
    assert [line.split(":")[0] for line in written.splitlines()[1:4]] == ["merge_method", "name", "models"]
    assert call(capsys, "verify", folder / "out").code == 0
