"""Legacy weight files (`.bin`, `.pth`, `.pt`): pickles, read by torch's unpickler for tensors and nothing else."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from cuvee.checkpoint.digest import digest_tensor
from cuvee.checkpoint.flat import check_range, copy_bytes, flat_slice, shared_memory
from cuvee.checkpoint.identity import InputFile, check_unchanged, identity_of, input_file
from cuvee.checkpoint.opcodes import PICKLE_LIMIT, Unsafe, check_pickle
from cuvee.checkpoint.regular import open_regular
from cuvee.errors import Fault, InputError, listed
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

NESTING_KEYS: Final = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training programs keep the state dict beside the optimizer, the epoch and the like."""

_OLD_PICKLES: Final = 5  # magic number, protocol, about the system, state dict, keys of the storages
_ZIP_MAGIC: Final = b"PK\x03\x04"
_REFUSED: Final = re.compile(
    r"GLOBAL (\S+) was not an allowed|unsupported GLOBAL (\S+) whose module|unrecognized function (.+?)(?: which|$)"
    r"|allowlisted via `add_safe_globals`,? but got (.+?)$|(\S+) must be imported to load",
    re.MULTILINE,
)
_SAFE_HINT: Final = (
    "a weight file needs nothing but tensors; ask its author for a safetensors file, or convert it yourself "
    "in a place where code that it may run can do no harm"
)
_DAMAGED_HINT: Final = "download or save the file again"
_SHOWN: Final = 5


class PickleFile:
    """One legacy weight file; tensors lie in a memory map where the format allows it.

    Raises `InputError`: `unsafe-pickle` for anything that is not a tensor, `bad-pickle` for what cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status = path.stat()
        sizes = _check(path)
        loaded, notes = _load(path, zipped=sizes is not None)
        self._held = self._status.st_size if sizes is None else 0
        state, nesting = _find_state_dict(loaded, path)
        _check_tensors(state, path)
        if sizes is not None:
            _check_storages(state, sizes, path)
        self._tensors: dict[str, Tensor] = {name: tensor.detach() for name, tensor in state.items()}
        self.shared: Mapping[str, str] = shared_memory(self._tensors)
        """Tensors that are another one under a second name: tied, when the model was saved."""
        self.notes: tuple[str, ...] = (*notes, *nesting)

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in the order of the state dict."""
        return {name: _spec(name, tensor) for name, tensor in self._tensors.items()}

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The file."""
        return (input_file(self.path, self._status, frozenset(self._tensors)),)

    @property
    def held(self) -> int:
        """The whole file, where it cannot be mapped."""
        return self._held

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) in row-major order, whatever the tensor's strides."""
        tensor = self._tensors[name]
        check_range(name, start, stop, tensor.numel())
        return flat_slice(tensor, start, stop)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        copy_bytes(self.read(name, start, stop), into)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's row-major bytes."""
        return digest_tensor(self._tensors[name])

    def check_unchanged(self) -> None:
        """Refuse what was read if something has written to the file since it was opened."""
        check_unchanged(self.path, identity_of(self._status))

    def close(self) -> None:
        """Let go of the tensors."""
        self._tensors = {}


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    return TensorSpec(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def _load(path: Path, *, zipped: bool) -> tuple[Any, list[str]]:
    """What the file holds, and a note when it had to be taken into memory whole."""
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise InputError(_refusal(str(error), path)) from None
    # torch's readers meet damaged bytes with almost any error there is, and none of them is a fault of ours.
    except Exception as error:
        what = f"torch cannot read it ({type(error).__name__}); it is damaged, cut short or of another kind"
        raise InputError(_bad(path, what)) from None
    return loaded, [] if zipped else [f"{path.name}: old format that cannot be mapped; it is held in memory"]


def _check(path: Path) -> frozenset[int] | None:
    """Refuse what torch would rather carry out than refuse; gives the sizes of an archive's records."""
    if _is_zip(path):
        return _check_archive(path)
    _check_old(path)
    return None


def _is_zip(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC


def _check_old(path: Path) -> None:
    """Refuse an old file, in which several pickles stand before the bytes of the tensors, for what these would do."""
    with open_regular(path) as file:
        for _ in range(_OLD_PICKLES):
            _follow(file, path)


def _follow(pickled: BinaryIO | io.BytesIO, path: Path) -> None:
    try:
        check_pickle(pickled)
    except ValueError:
        raise InputError(_bad(path, "it is not a pickle of tensors, or it is damaged")) from None
    except Unsafe as error:
        raise InputError(_unsafe(path, f"holds more than tensors: it {error}")) from None


def _check_archive(path: Path) -> frozenset[int]:
    """Refuse what torch's reader would answer with a warning, or with all the memory there is.

    Returns:
        The sizes in bytes of all records.
    """
    records = _records(path)
    names = [record.filename.lower() for record in records]
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(_unsafe(path, "is a TorchScript program, not a file of weights"))
    packed = [record.filename for record in records if record.compress_type != zipfile.ZIP_STORED]
    if packed:  # torch writes none, and a small one can unpack to any size
        raise InputError(_bad(path, f"records of a weight file are not compressed, `{packed[0]:.100}` is"))
    # Two readers of such an archive could each find another pickle in it.
    if len(set(names)) < len(names) or records[0].header_offset:
        raise InputError(_bad(path, "the archive holds a record twice, or begins inside another file"))
    if any(record.filename.endswith("/data.pkl") and record.file_size > PICKLE_LIMIT for record in records):
        raise InputError(_unsafe(path, f"has a pickle of more than {PICKLE_LIMIT:,} bytes"))
    _follow(io.BytesIO(_pickle_in(path)), path)
    return frozenset(record.file_size for record in records)


def _records(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            if records := archive.infolist():
                return records
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise InputError(_bad(path, f"the archive is damaged or cut short ({error})")) from None
    raise InputError(_bad(path, "the archive is empty"))


def _pickle_in(path: Path) -> bytes:
    """The pickle that torch will read, found by torch's own reader."""
    import torch

    try:
        return bytes(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"))
    except RuntimeError:
        raise InputError(_bad(path, "the archive holds no pickle that torch can find")) from None


def _check_storages(state: Mapping[str, Tensor], sizes: frozenset[int], path: Path) -> None:
    """Refuse a storage that is not as long as a record: it would show the bytes of its neighbours too."""
    known = sizes | {0}
    for name, tensor in state.items():
        if tensor.untyped_storage().nbytes() not in known:
            what = f"tensor `{name:.200}` has a storage of {tensor.untyped_storage().nbytes():,} bytes, no record has"
            raise InputError(_bad(path, what, name))


def _refusal(text: str, path: Path) -> Fault:
    """What torch's unpickler would not read, in words that do not tell people to switch its safety off."""
    match = _REFUSED.search(text)
    if match is None:
        return _bad(path, "it is not a pickle of tensors, or it is damaged")
    refused = next(group for group in match.groups() if group is not None)
    return _unsafe(path, f"holds more than tensors: torch refused `{refused}`")


def _find_state_dict(loaded: Any, path: Path) -> tuple[Mapping[str, Tensor], list[str]]:
    """The state dict itself, and a note where it was taken out of a training program's record."""
    from torch import Tensor

    if not isinstance(loaded, Mapping):
        raise InputError(_bad(path, f"must hold a dictionary of tensors, found `{type(loaded).__name__}`"))
    nested = [key for key in NESTING_KEYS if isinstance(loaded.get(key), Mapping)]
    if not nested or any(isinstance(value, Tensor) for value in loaded.values()):
        return loaded, []
    if len(nested) > 1:
        raise InputError(_bad(path, f"holds more than one state dict: {', '.join(nested)}"))
    beside = [str(key) for key in loaded if key != nested[0]]
    note = f"{path.name}: the state dict under `{nested[0]}` is read"
    return loaded[nested[0]], [f"{note}, passed over: {_listed(beside)}" if beside else note]


def _check_tensors(state: Mapping[Any, Any], path: Path) -> None:
    """Refuse, by name, every entry that is not a plain tensor of a known dtype."""
    from torch import Tensor

    others = [str(name) for name, value in state.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    faults = [_unsafe(path, f"holds entries that are no named tensors: {_listed(others)}")] if others else []
    for name, tensor in state.items():
        if isinstance(tensor, Tensor) and (reason := _unreadable(tensor)):
            faults.append(_bad(path, f"tensor `{name}` {reason}", str(name)))
    if faults:
        raise InputError(faults)


def _unreadable(tensor: Tensor) -> str | None:
    """Why a tensor has no plain row of elements, or `None`."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        return "is sparse, quantized or empty of data; only plain tensors can be read"
    name = str(tensor.dtype).removeprefix("torch.")
    return None if name in DTYPES else f"has dtype `{name}`, which is not one that can be read"


def _listed(names: list[str]) -> str:
    return listed((f"`{name:.100}`" for name in names), _SHOWN)


def _unsafe(path: Path, what: str) -> Fault:
    return Fault("unsafe-pickle", f"{path}: {what}", subject=str(path), hint=_SAFE_HINT)


def _bad(path: Path, what: str, subject: str | None = None) -> Fault:
    return Fault("bad-pickle", f"{path}: {what}", subject=subject or str(path), hint=_DAMAGED_HINT)
