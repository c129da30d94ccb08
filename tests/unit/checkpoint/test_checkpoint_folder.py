"""From what a recipe names to an opened checkpoint: which file is read, what is carried over, what is refused."""

import json
import os

import pytest
import safetensors.torch
import torch

from cuvee.checkpoint import open_checkpoint
from cuvee.checkpoint import side_files as side_files_module
from cuvee.checkpoint.contents import is_side_file
from cuvee.checkpoint.folder import is_hub_id
from cuvee.errors import InputError
from cuvee.types import ModelRef


def put(folder, **values):
    """Weight files that hold one tensor each, told apart by its value."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        name = name.replace("__", ".")
        tensors = {"a": torch.full((2,), float(value))}
        if name.endswith(".safetensors"):
            safetensors.torch.save_file(tensors, folder / name)
        else:
            torch.save(tensors, folder / name)
    return folder


def value_of(reader):
    return reader.read("a", 0, 1).item()


def opened(path, **settings):
    return open_checkpoint(ModelRef(str(path)), **settings)


def refusal(ref, root=None):
    with pytest.raises(InputError) as caught:
        open_checkpoint(ref if isinstance(ref, ModelRef) else ModelRef(str(ref)), root)
    return caught.value


INDEX = {"weight_map": {"a": "model-1.safetensors"}}


def test_weights_are_looked_for_in_the_order_of_transformers(tmp_path):
    put(tmp_path, **{"pytorch_model__bin": 4, "model-1__safetensors": 2, "model__safetensors": 1})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(INDEX))
    reader = opened(tmp_path)
    assert value_of(reader) == 1
    assert "the single file is read, as transformers does" in reader.notes[0]
    assert reader.notes[1] == "passed over: model-1.safetensors, model.safetensors.index.json, pytorch_model.bin"
    (tmp_path / "model.safetensors").unlink()
    assert value_of(opened(tmp_path)) == 2
    (tmp_path / "model.safetensors.index.json").unlink()
    assert value_of(opened(tmp_path)) == 4


@pytest.mark.parametrize("name", ["weights.safetensors", "consolidated.00.pth", "x.pt", "dump.bin"])
def test_the_only_weight_file_of_a_folder_is_read(tmp_path, name):
    put(tmp_path, **{name.replace(".", "__"): 7, "training_args__bin": 1, "optimizer__pt": 1, "rng_state_0__pth": 1})
    reader = opened(tmp_path)
    assert value_of(reader) == 7
    assert reader.config is None
    assert reader.side_files == ()


def test_two_weight_files_of_other_names_are_refused_by_name(tmp_path):
    put(tmp_path, one__safetensors=1, two__pt=2)
    error = refusal(tmp_path)
    assert error.codes == ("not-a-checkpoint",)
    assert "one.safetensors" in str(error)
    assert "two.pt" in str(error)


def test_a_folder_without_weights_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    error = refusal(tmp_path)
    assert error.codes == ("not-a-checkpoint",)
    assert "notes.txt" in str(error)


def test_an_empty_folder_is_refused(tmp_path):
    assert refusal(tmp_path).codes == ("not-a-checkpoint",)


def test_a_diffusion_pipeline_is_called_by_its_name(tmp_path):
    put(tmp_path, model__safetensors=1)
    (tmp_path / "model_index.json").write_text("{}")
    error = refusal(tmp_path)
    assert error.codes == ("not-a-checkpoint",)
    assert "diffusion pipeline" in str(error)


def test_an_adapter_without_a_base_is_called_by_its_name(tmp_path):
    safetensors.torch.save_file(
        {"base_model.model.x.lora_A.weight": torch.zeros(1, 2)}, tmp_path / "adapter_model.safetensors"
    )
    error = refusal(tmp_path)
    assert error.codes == ("not-a-checkpoint",)  # without its configuration it is a file of unknown tensors
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1}')
    assert refusal(tmp_path).codes == ("bad-adapter",)
    both = {"lora_A": torch.zeros(1, 2), "lora_B": torch.zeros(3, 1)}
    tensors = {f"base_model.model.x.{part}.weight": values for part, values in both.items()}
    safetensors.torch.save_file(tensors, tmp_path / "adapter_model.safetensors")
    error = refusal(tmp_path)
    assert error.codes == ("adapter-input",)
    assert "names no base" in str(error)
    assert "write `base+adapter`" in str(error)


def test_a_model_with_an_adapter_beside_it_is_the_model(tmp_path):
    put(tmp_path, model__safetensors=1, adapter_model__safetensors=2)
    (tmp_path / "adapter_config.json").write_text("{}")
    reader = opened(tmp_path)
    assert value_of(reader) == 1
    assert reader.side_files == ()  # carried over, the output would be loaded as an adapter
    assert "passed over: adapter_config.json, adapter_model.safetensors" in reader.notes


def test_base_and_adapter_are_missed_together(tmp_path):
    error = refusal(ModelRef("./base", adapter=ModelRef("./lora")))
    assert error.codes == ("model-missing", "model-missing")
    assert "./base" in str(error)
    assert "./lora" in str(error)


def test_a_single_file_is_a_bare_state_dict(tmp_path):
    put(tmp_path, model__safetensors=3)
    (tmp_path / "config.json").write_text("{}")
    reader = opened(tmp_path / "model.safetensors")
    assert value_of(reader) == 3
    assert (reader.folder, reader.config, reader.config_text, reader.side_files) == (None, None, None, ())


@pytest.mark.parametrize("name", ["model.onnx", "model.h5", "config.json", "weights"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert refusal(tmp_path / name).codes == ("not-a-checkpoint",)


def test_paths_start_from_the_root(tmp_path, monkeypatch):
    put(tmp_path / "models" / "a", model__safetensors=5)
    reader = open_checkpoint(ModelRef("models/a"), tmp_path)
    assert reader.label == "models/a"
    assert reader.folder == tmp_path / "models" / "a"
    monkeypatch.chdir(tmp_path / "models")
    assert value_of(open_checkpoint(ModelRef("./a"))) == 5
    assert value_of(open_checkpoint(ModelRef(str(tmp_path / "models" / "a")), tmp_path / "elsewhere")) == 5


def test_a_model_stays_readable_when_the_working_folder_changes(tmp_path, monkeypatch):
    put(tmp_path / "a", model__safetensors=5)
    monkeypatch.chdir(tmp_path)
    reader = open_checkpoint(ModelRef("a"))
    monkeypatch.chdir("/")
    assert value_of(reader) == 5


def test_the_home_folder_is_understood(tmp_path, monkeypatch):
    put(tmp_path / "a", model__safetensors=6)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert value_of(open_checkpoint(ModelRef("~/a"), tmp_path / "elsewhere")) == 6


def test_a_revision_of_a_local_folder_is_noted(tmp_path):
    put(tmp_path / "a", model__safetensors=6)
    reader = open_checkpoint(ModelRef("a", revision="v2"), tmp_path)
    assert reader.label == "a@v2"
    assert "revision `v2` means nothing" in reader.notes[0]


@pytest.mark.parametrize("path", ["./exprt", "/nowhere/at/all", "~/exprt", "a/b/c", "exp rt", "x\0y", "~nobody/x"])
def test_a_missing_path_that_is_no_hub_id_is_refused(tmp_path, path):
    assert refusal(path, tmp_path).codes == ("model-missing",)


def test_a_missing_path_gets_the_nearest_name_as_a_hint(tmp_path):
    put(tmp_path / "models" / "expert-math", model__safetensors=1)
    error = refusal("./models/expert-mth", tmp_path)
    assert error.faults[0].hint == "did you mean `expert-math`?"


@pytest.mark.parametrize("target", ["loop", "gone"])
@pytest.mark.parametrize("text", ["loop", "./loop"])
def test_a_link_that_leads_nowhere_is_neither_its_own_nearest_name_nor_a_hub_id(tmp_path, text, target):
    (tmp_path / "loop").symlink_to(target)
    error = refusal(text, tmp_path)
    assert error.codes == ("model-missing",)
    assert error.faults[0].message == f"{text}: a link that leads nowhere ({tmp_path / 'loop'})"
    assert error.faults[0].hint == "mend the link, or name the model itself"


@pytest.mark.parametrize("text", ["gpt2", "org/name", "Org-1/na.me_2", "a", "0/1"])
def test_texts_that_can_be_hub_ids(text):
    assert is_hub_id(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "./a", "/a", "~/a", "a/b/c", "a//b", "a b", "-a/b", "a/b-", "a/.b", "a--b", "a..b", "ä/b"]
)
def test_texts_that_cannot_be_hub_ids(text):
    assert not is_hub_id(text)


def test_config_is_kept_to_the_letter(tmp_path):
    put(tmp_path, model__safetensors=1)
    text = '{\r\n  "limit": [0.0, Infinity],\t"größe": 1e-05}\n'
    (tmp_path / "config.json").write_bytes(text.encode())
    reader = opened(tmp_path)
    assert reader.config_text == text
    assert reader.config == {"limit": [0.0, float("inf")], "größe": 1e-05}


def test_faults_of_weights_config_and_links_are_told_together(tmp_path):
    put(tmp_path / "m", model__safetensors=1)
    (tmp_path / "m" / "model.safetensors").write_bytes(b"short")
    (tmp_path / "m" / "config.json").write_text("[1]")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "m" / "tokenizer.json").symlink_to(tmp_path / "secret")
    assert refusal(tmp_path / "m").codes == ("truncated", "bad-config", "unsafe-link")


SIDE = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "chat_template.jinja",
    "modeling_custom.py",
    "LICENSE",
    "1_Pooling/config.json",
    "2_Dense/model.safetensors",
    "2_Dense/README.md",
    "modules.json",
]
NOT_SIDE = [
    "config.json",
    "README.md",
    ".gitattributes",
    ".hidden/tokenizer.json",
    "sub/.hidden",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "model.gguf",
    "model.onnx",
    "model.ckpt",
    "sub/model.gguf",
    "training_args.bin",
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "rng_state.pth",
    "rng_state_3.pth",
    "trainer_state.json",
    "sub/trainer_state.json",
    "original/consolidated.00.pth",
    "original/params.json",
    "onnx/config.json",
    "openvino/x.xml",
    "checkpoint-500/config.json",
    "runs/events",
    ".cache/x",
    "cuvee.json",
    "cuvee_recipe.yml",
    "mergekit_config.yml",
    "adapter_config.json",
]


def test_every_side_file_is_carried_over_and_nothing_else(tmp_path):
    put(tmp_path, model__safetensors=1)
    for name in SIDE + [n for n in NOT_SIDE if n not in ("config.json", "model.safetensors")]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    reader = opened(tmp_path)
    assert {side.name: side.path.read_text() for side in reader.side_files} == {name: name for name in SIDE}
    assert "weights in sub-folders are carried over unmerged: 2_Dense/model.safetensors" in reader.notes
    assert [name for name in SIDE + NOT_SIDE if is_side_file(name)] == SIDE


def test_a_side_file_linked_inside_the_folder_is_carried_over(tmp_path):
    put(tmp_path / "m", model__safetensors=1)
    (tmp_path / "m" / "real.txt").write_text("x")
    (tmp_path / "m" / "sub").mkdir()
    (tmp_path / "m" / "sub" / "link.txt").symlink_to("../real.txt")
    (tmp_path / "other").symlink_to(tmp_path / "m")  # nor does it matter how the folder itself was reached
    names = ["real.txt", "sub/link.txt"]
    assert [side.name for side in opened(tmp_path / "m").side_files] == names
    assert [side.name for side in opened(tmp_path / "other").side_files] == names


def test_links_between_folders_of_the_model_do_not_go_round_for_ever(tmp_path):
    put(tmp_path / "m", model__safetensors=1)
    (tmp_path / "m" / "sub").mkdir()
    (tmp_path / "m" / "sub" / "up").symlink_to("..")
    assert opened(tmp_path / "m").side_files == ()


def test_a_pipe_is_not_waited_for(tmp_path):
    put(tmp_path, model__safetensors=1)
    os.mkfifo(tmp_path / "tokenizer.json")
    os.mkfifo(tmp_path / "config.json")
    reader = opened(tmp_path)
    assert reader.side_files == ()
    assert reader.config is None


def test_a_weight_file_that_is_a_pipe_is_no_weight_file(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    assert refusal(tmp_path).codes == ("not-a-checkpoint",)
    assert refusal(tmp_path / "model.safetensors").codes == ("not-a-checkpoint",)


def test_a_folder_of_thousands_of_files_is_no_model(tmp_path, monkeypatch):
    put(tmp_path, model__safetensors=1)
    monkeypatch.setattr(side_files_module, "SIDE_FILE_LIMIT", 3)
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("x")
    error = refusal(tmp_path)
    assert error.codes == ("not-a-checkpoint",)
    assert "folder of its own" in str(error)


def test_a_file_that_cannot_be_read_is_an_input_fault(tmp_path, monkeypatch):
    put(tmp_path, model__safetensors=1)

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "model.safetensors"))

    monkeypatch.setattr("cuvee.checkpoint.stored.read_header", refuse)
    error = refusal(tmp_path)
    assert error.codes == ("io-error",)
    assert "Permission denied" in str(error)
