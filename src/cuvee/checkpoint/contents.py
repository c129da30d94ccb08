"""What the files of a model are, told from their names alone, so that a folder and a hub listing are read alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from cuvee import errors
from cuvee.checkpoint.quantised import GGUF_HINT, Format, refusal
from cuvee.errors import Fault

READABLE: Final = (".safetensors", ".bin", ".pth", ".pt")
"""Endings of weight files that can be read."""

CONVERTED: Final = (".gguf", ".onnx", ".onnx_data", ".h5", ".msgpack", ".ckpt", ".ot", ".tflite")
"""Endings of other programs' copies of the weights: not read, and wrong beside a merged model."""

PREFERRED: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where weights are looked for first; the order is that of transformers."""

_INDEXES: Final = tuple(f"{suffix}.index.json" for suffix in (*READABLE, *CONVERTED))
_TRAINING: Final = (
    "training_args.bin",
    "optimizer.*",
    "optimizer_[0-9]*",
    "scheduler.pt",
    "scheduler.bin",
    "scaler.pt",
    "rng_state*",
    "random_states_*",
    "custom_checkpoint_*.pkl",
    "latest",
    "trainer_state.json",
    "zero_to_fp32.py",
)
_ADAPTER: Final = ("adapter_config.json", "adapter_model.*")
# What describes or belongs to the input itself and would be untrue of an output.
RECORD_NAME: Final = "cuvee.json"
"""The file in which an output says how it was made."""

_OWN: Final = ("config.json", "README.md", RECORD_NAME, "cuvee_recipe.yml", "mergekit_config.yml")
_SHOWN: Final = 8
_STATES: Final = ("optimizer_[0-9]*", "pytorch_model_fsdp_[0-9]*")
_FOLDERS: Final = ("original", "onnx", "openvino", "checkpoint-*", "global_step*", "runs", "__pycache__", *_STATES)


@dataclass(frozen=True, slots=True)
class Choice:
    """The file through which a model's weights are read, and what to say about it."""

    file: str
    notes: tuple[str, ...] = ()

    @property
    def is_index(self) -> bool:
        """Whether it is an index that names further files."""
        return self.file.endswith(".index.json")


def choose_weights(names: Iterable[str]) -> Choice | None:
    """The file to read of a folder's top-level names, or `None` when there is none or more than one could be meant."""
    known = set(names)
    for preferred in PREFERRED:
        if preferred in known:
            index = f"{preferred}.index.json"
            note = f"both {preferred} and {index} are there; the single file is read, as transformers does"
            return Choice(preferred, (note,) if index in known else ())
    others = [name for name in known if is_weight_file(name)]
    return Choice(others[0]) if len(others) == 1 else None


def is_weight_file(name: str) -> bool:
    """Whether a plain file name is that of weights of a model that can be read."""
    return name.lower().endswith(READABLE) and not _any(name, _TRAINING) and not _any(name, _ADAPTER)


def is_side_file(name: str) -> bool:
    """Whether a file, by its name relative to the model's folder with `/`, is carried over into an output.

    Weights in sub-folders are: a sentence embedder's dense layer belongs to the model as its tokenizer does.
    """
    *folders, file = name.split("/")
    lower = file.lower()
    if any(part.startswith(".") for part in (*folders, file)) or any(_any(part, _FOLDERS) for part in folders):
        return False
    if lower.endswith(CONVERTED) or _any(file, _TRAINING):
        return False
    return bool(folders) or not (lower.endswith((*READABLE, *_INDEXES)) or _any(file, (*_OWN, *_ADAPTER)))


def enters_folder(name: str) -> bool:
    """Whether a sub-folder of that plain name can hold side files."""
    return not name.startswith(".") and not _any(name, _FOLDERS)


def nested_weights(names: Iterable[str]) -> list[str]:
    """The side files among `names` that are weights in sub-folders."""
    return [name for name in names if "/" in name and name.lower().endswith(READABLE)]


def passed_over(names: Iterable[str], used: Iterable[str]) -> list[str]:
    """Top-level weights, adapters and other programs' copies of weights that are neither read nor carried over."""
    endings = (*READABLE, *CONVERTED, *_INDEXES)
    weights = {n for n in names if (n.lower().endswith(endings) and not _any(n, _TRAINING)) or _any(n, _ADAPTER)}
    return sorted(weights - set(used))


def kind_fault(names: Sequence[str], where: str) -> Fault | None:
    """A fault for a folder or repository that holds something other than one whole model."""
    if "model_index.json" in names:
        message = f"{where} is a diffusion pipeline of several models (it has a model_index.json)"
        hint = "name one of its parts, for example its `transformer` or `unet` folder, or a single weight file"
        return Fault("not-a-checkpoint", message, subject=where, hint=hint)
    if "adapter_config.json" in names and choose_weights(names) is None:
        message = f"{where} holds an adapter (adapter_config.json), a whole model is needed"
        hint = "write `base+adapter`, or write the result out: `cuvee lora apply BASE ADAPTER -o FOLDER`"
        return Fault("adapter-input", message, subject=where, hint=hint)
    return None


def no_weights_fault(names: Sequence[str], where: str) -> Fault:
    """A fault for a folder or repository in which no weights, or more than one set of them, were found."""
    weights = [name for name in names if is_weight_file(name)]
    if weights:
        message = f"{where}: no model.safetensors, pytorch_model.bin or index of either; found {listed(weights)}"
        return Fault("not-a-checkpoint", message, subject=where, hint="name the one weight file that is meant")
    if gguf := next((name for name in names if name.lower().endswith(".gguf")), None):
        return refusal(where, Format("GGUF", gguf, None, GGUF_HINT))
    message = f"{where}: no weights ({', '.join(READABLE)}); found {listed(names)}"
    return Fault("not-a-checkpoint", message, subject=where, hint="name a folder that holds a model.safetensors")


def listed(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    return errors.listed(names, _SHOWN) or "nothing"


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
