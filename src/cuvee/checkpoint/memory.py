"""Checkpoints in memory: twins of the readers and writers of files, for state dicts and for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cuvee.checkpoint.digest import digest_tensor
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.checkpoint.flat import check_range, copy_bytes, flat_slice, shared_memory
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import Layout, SideFile
from cuvee.checkpoint.stored import torch_dtype
from cuvee.checkpoint.written import Written, check_values
from cuvee.errors import Fault, InputError
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class MemoryReader:
    """A `Reader` over a state dict; the tensors are neither copied nor changed, and may be strided or on a device.

    Args:
        label: the model's name in messages and for its random masks.
        tensors: name → tensor.
        config: what would stand in `config.json`.

    Raises:
        InputError: `not-a-checkpoint`: an entry that is not a plain tensor of a known dtype.
    """

    def __init__(self, label: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> None:
        self._label = label
        self._specs = _specs(label, tensors)
        self._tensors = dict(tensors)
        self._shared = shared_memory(self._tensors)
        self._config = config

    @property
    def label(self) -> str:
        """The model's name in messages."""
        return self._label

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in the order of the state dict."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """Tied tensors: each name that shows the memory of an earlier one."""
        return self._shared

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The config as given."""
        return self._config

    @property
    def config_text(self) -> str | None:
        """The config as JSON, or `None`."""
        return None if self._config is None else json.dumps(self._config, indent=2) + "\n"

    @property
    def folder(self) -> Path | None:
        """`None`: it lies in no folder."""
        return None

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """None."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """None."""
        return ()

    @property
    def held(self) -> int:
        """Nothing but what its caller holds."""
        return 0

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) in row-major order: a view where that is possible."""
        check_range(name, start, stop, self._specs[name].numel)
        return flat_slice(self._tensors[name], start, stop)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        copy_bytes(self.read(name, start, stop), into)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes."""
        return digest_tensor(self._tensors[name])

    def check_unchanged(self) -> None:
        """Do nothing: what is in memory is the caller's to keep as it is."""

    def close(self) -> None:
        """Let go of the tensors."""
        self._tensors = {}


def _specs(label: str, tensors: Mapping[str, Tensor]) -> dict[str, TensorSpec]:
    """The spec of every tensor; all entries that have none are told at once."""
    import torch

    specs: dict[str, TensorSpec] = {}
    faults: list[Fault] = []
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            faults.append(_refused(label, name, f"must be a tensor, found `{type(tensor).__name__}`"))
            continue
        dtype = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or dtype not in DTYPES:
            what = f"{'meta ' if tensor.is_meta else ''}{dtype}, {str(tensor.layout).removeprefix('torch.')}"
            faults.append(_refused(label, name, f"must be a plain tensor of a known dtype, found {what}"))
            continue
        specs[name] = TensorSpec(name, dtype, tuple(tensor.shape))
    if faults:
        raise InputError(faults)
    return specs


def _refused(label: str, name: object, what: str) -> Fault:
    hint = "give a state dict: names and plain tensors"
    return Fault("not-a-checkpoint", f"{label}: `{name}` {what}", subject=str(name), hint=hint)


class MemoryWriter:
    """A `Writer` into memory.

    Attributes:
        tensors: name → tensor in the layout's order; empty until `publish`.
        texts: the text files added.
        files: the side files added, not copied.
    """

    def __init__(self, layout: Layout) -> None:
        import torch

        self.tensors: dict[str, Tensor] = {}
        self.texts: dict[str, str] = {}
        self.files: dict[str, SideFile] = {}
        self._specs = {spec.name: spec for spec in layout.specs}
        with torch.inference_mode(False):  # what is made here is filled by other threads
            self._filling = {
                s.name: torch.empty(s.shape, dtype=torch_dtype(s.dtype), device="cpu") for s in self._specs.values()
            }
        self._written = Written(self._specs.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._filling = {}

    def write(self, name: str, start: int, values: Tensor) -> None:
        """Put flat `values` at element `start` of a tensor; safe from any thread."""
        check_values(self._specs[name], start, values)
        self._filling[name].view(-1)[start : start + values.numel()].copy_(values)
        self._written.add(name, values.numel())

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes as written."""
        return digest_tensor(self._filling[name])

    def add_text(self, name: str, text: str) -> None:
        """Keep a text file."""
        self.texts[name] = text

    def add_file(self, file: SideFile) -> str:
        """Keep a side file; gives xxh3-128 (hex) of its bytes."""
        self.files[file.name] = file
        return digest_file(file.fetched())

    def publish(self) -> None:
        """Make the tensors visible.

        Raises:
            RuntimeError: a tensor has not been written in full.
        """
        self._written.check_complete()
        self.tensors = dict(self._filling)
