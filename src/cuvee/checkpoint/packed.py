"""One task of a task pack, shown as the model that it stands for.

    tensor = base + rescaler · mask ⊙ delta

worked out for the entries that are asked for, in float32 (float64 where one of the three is), and rounded once. Where
the mask is 0 the entry is the base's own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.checkpoint.digest import CHUNK, content_hash, digest_chunks
from cuvee.checkpoint.flat import check_range, copy_bytes, tensor_bytes
from cuvee.checkpoint.identity import InputFile, check_unchanged, identity_of, input_file
from cuvee.checkpoint.pack_fit import other_base
from cuvee.checkpoint.pack_form import PACK_NAME, PackedTask, PackedTensor, PackForm, mask_file, mask_name, pack_fault
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.stored import torch_dtype
from cuvee.checkpoint.strict_json import parse_json
from cuvee.checkpoint.weights import Weights
from cuvee.errors import InputError
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class PackedModel:
    """A `Reader` of one task; see the protocol for what each member promises.

    Base, delta and masks are compared with their fingerprints before anything of a tensor is given: the tensor's base
    and delta are read once more for that, and all masks of the task with the first tensor.

    Args:
        label: the model's name in messages.
        folder: the pack.
        form: what the pack holds.
        task: the task.
        parts: the base, the deltas and the task's masks, opened.
    """

    def __init__(
        self, label: str, folder: Path, form: PackForm, task: PackedTask, parts: tuple[Reader, Weights, Weights]
    ) -> None:
        self._label = label
        self._folder = folder
        self._tensors = form.tensors
        self._task = task
        self._base, self._deltas, self._masks = parts
        self._config_text = form.config
        self._config = None if form.config is None else _parsed(folder, form.config)
        self._status = (folder / PACK_NAME).stat()
        self._specs = {name: _spec(name, one, self._base.specs) for name, one in form.tensors.items()}
        self._locks = {name: threading.Lock() for name in form.tensors}
        self._known: set[str] = set()
        self._mask_lock = threading.Lock()
        self._masks_known = False

    @property
    def task(self) -> PackedTask:
        """The task."""
        return self._task

    @property
    def base(self) -> Reader:
        """The base, opened; it is closed with this."""
        return self._base

    def source(self, name: str) -> str:
        """The base's tensor that a tensor starts from."""
        return self._tensors[name].source

    def changes(self, name: str) -> bool:
        """Whether a tensor can be another one than the base's."""
        return self._tensors[name].delta is not None

    @property
    def label(self) -> str:
        """The model's name in messages."""
        return self._label

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in the order of the pack."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """None: what the base says of its tensors need not be true of a task's."""
        return {}

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The parsed `config.json`: the base's, or the pack's own where the recipe changed it."""
        return self._base.config if self._config_text is None else self._config

    @property
    def config_text(self) -> str | None:
        """The text of it."""
        return self._base.config_text if self._config_text is None else self._config_text

    @property
    def folder(self) -> Path | None:
        """The pack."""
        return self._folder

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """Those of the base."""
        return self._base.side_files

    @property
    def notes(self) -> tuple[str, ...]:
        """How the base was read."""
        return self._base.notes

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files of base and pack, with the tensors that depend on them."""
        sources = {name: one.source for name, one in self._tensors.items()}
        masks = {name: self._mask(name) for name in self._tensors}
        own = {name: name for name in self._tensors}
        of_parts = (
            (self._base.input_files, sources),
            (self._deltas.input_files, own),
            (self._masks.input_files, masks),
        )
        found = [
            replace(file, tensors=frozenset(name for name, inside in names.items() if inside in file.tensors))
            for files, names in of_parts
            for file in files
        ]
        return (*found, input_file(self._folder / PACK_NAME, self._status, frozenset(self._tensors)))

    @property
    def held(self) -> int:
        """What base, delta and masks hold."""
        return self._base.held + self._deltas.held + self._masks.held

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor, worked out."""
        import torch

        from cuvee.tensors import round_to, unpack_bits

        one = self._tensors[name]
        check_range(name, start, stop, self._specs[name].numel)
        self._check(name)
        base = self._base.read(one.source, start, stop)
        dtype = torch_dtype(one.dtype)
        if one.delta is None:
            return base if base.dtype == dtype else round_to(base, dtype)
        delta = self._deltas.read(name, start, stop)
        work = torch.float64 if torch.float64 in (base.dtype, delta.dtype, dtype) else torch.float32
        marks = unpack_bits(self._masks.read(self._mask(name), start // 8, -(-stop // 8)), start, stop)
        before = base.to(work)
        after = before + delta.to(work) * self._task.rescaler
        return round_to(torch.where(marks, after, before), dtype)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """Fill writable bytes with elements `start` to `stop` (not included) of a tensor."""
        copy_bytes(self.read(name, start, stop), into)

    def digest(self, name: str) -> str:
        """The fingerprint of what reading brings."""
        spec = self._specs[name]
        return digest_chunks(spec.numel, DTYPES[spec.dtype].size, self._chunks(name))

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed since they were opened."""
        for part in (self._base, self._deltas, self._masks):
            part.check_unchanged()
        check_unchanged(self._folder / PACK_NAME, identity_of(self._status))

    def close(self) -> None:
        """Let go of base and pack."""
        for part in (self._base, self._deltas, self._masks):
            with suppress(OSError):
                part.close()

    def _mask(self, name: str) -> str:
        return mask_name(name, self._task.name)

    def _chunks(self, name: str) -> Iterator[memoryview]:
        numel = self._specs[name].numel
        for start in range(0, numel, CHUNK):
            values = self.read(name, start, min(start + CHUNK, numel))
            yield tensor_bytes(values)  # a view of `values`, which lives until the next one is asked for

    def _check(self, name: str) -> None:
        """Compare what a tensor is made from with its fingerprints, once.

        Raises:
            InputError: `pack-base` or `bad-pack`.
        """
        if name in self._known:
            return
        one = self._tensors[name]
        with self._locks[name]:
            if name in self._known:
                return
            if self._base.digest(one.source) != one.base:
                raise InputError(other_base(self._folder, self._base, one.source, "holds other values"))
            if one.delta is not None:
                if self._deltas.digest(name) != one.delta:
                    raise InputError(pack_fault(self._folder, f"the delta of {name:.200} is damaged", name))
                self._check_masks()
            self._known.add(name)

    def _check_masks(self) -> None:
        with self._mask_lock:
            if not self._masks_known and masks_content(self._masks) != self._task.masks:
                path = self._folder / mask_file(self._task.name)
                raise InputError(pack_fault(path, "the masks are damaged", self._task.name))
            self._masks_known = True


def masks_content(masks: Weights) -> str:
    """One fingerprint of all masks of a task."""
    return content_hash({name: (spec, masks.digest(name)) for name, spec in masks.specs.items()})


def _spec(name: str, one: PackedTensor, base: Mapping[str, TensorSpec]) -> TensorSpec:
    """A tensor as it is read; its shape is the base's."""
    return TensorSpec(name, one.dtype, base[one.source].shape)


def _parsed(folder: Path, text: str) -> Mapping[str, Any]:
    try:
        value, repeated = parse_json(text.encode("utf-8"))
    except (ValueError, UnicodeError) as error:
        raise InputError(pack_fault(folder / PACK_NAME, f"`config` should be JSON: {error}")) from None
    if not isinstance(value, dict) or repeated:
        raise InputError(pack_fault(folder / PACK_NAME, "`config` should be one JSON object"))
    return value
