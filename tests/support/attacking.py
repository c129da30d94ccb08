"""What tests of attacks share: refusals that come quickly and are short, and hand-made pickles in both formats."""

import io
import pickle
import time
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cuvee.checkpoint import open_checkpoint
from cuvee.errors import InputError
from cuvee.types import ModelRef
from tests.support.checkpoints import read_whole

SECONDS = 20
"""Far more than any refusal takes, on the slowest machine that runs the tests."""


def refused(path: Path, *codes: str) -> str:
    """Opening and reading it raises one of the codes, quickly, in a message that fits a screen."""
    begin = time.monotonic()
    with pytest.raises(InputError) as caught:
        read_whole(open_checkpoint(ModelRef(str(path))))
    assert time.monotonic() - begin < SECONDS
    assert set(caught.value.codes) <= set(codes)
    assert len(str(caught.value)) < 20_000
    return str(caught.value)


def model_folder(root: Path, name: str = "model", **tensors: torch.Tensor) -> Path:
    """A folder with one small weight file."""
    folder = root / name
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(tensors or {"a": torch.zeros(2)}, folder / "model.safetensors")
    return folder


class Storage:
    """Stands for the storage in a hand-made torch file."""


class Rebuilt:
    """Is unpickled as a tensor over the storage, of whatever size, stride and offset it says."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, ...]:
        return torch._utils._rebuild_tensor_v2, (Storage(), *self.arguments, False, OrderedDict())


def pickled(content: object, stored_as: object) -> bytes:
    """A pickle in which every `Storage` is the given persistent id."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            return stored_as if isinstance(obj, Storage) else None

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue()


def archive(path: Path, pickle_bytes: bytes, more: Mapping[str, bytes | str] | None = None) -> Path:
    """A torch file of a pickle and of 16 bytes of data, and further records, which may replace those."""
    records = {"archive/data.pkl": pickle_bytes, "archive/byteorder": "little", "archive/data/0": bytes(16)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        for name, content in {**records, "archive/version": "3\n", **(more or {})}.items():
            made.writestr(name, content)
    return path


def hand_made(path: Path, tensor: object, claimed: int) -> Path:
    """A torch file of 16 bytes of data whose pickle claims so many floats."""
    return archive(path, pickled({"a": tensor}, ("storage", torch.FloatStorage, "0", "cpu", claimed)))
