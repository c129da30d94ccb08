"""A LoRA adapter as PEFT stores one, opened for reading: small changes of a model, and no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint.adapter_config import ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterSettings, read_adapter_config
from cuvee.checkpoint.adapter_tensors import LowRank, Sorted, TokenRows, sort_tensors
from cuvee.checkpoint.identity import InputFile, input_file
from cuvee.checkpoint.places import is_hub_id, local_path, missing
from cuvee.checkpoint.side_files import allowed_roots, link_fault
from cuvee.checkpoint.weights import Weights, open_weights
from cuvee.errors import Fault, InputError, attempt, listed
from cuvee.types import ModelRef, TensorSpec, scheme_of

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.checkpoint.remote_adapter import FetchedAdapter


class Adapter:
    """An adapter opened for reading: headers are read, its factors when they are asked for.

    Attributes:
        label: its name in messages.
        folder: where it lies.
        settings: its configuration, as far as weights depend on it.
        changes: module → its change of low rank.
        whole: name of a tensor in the base → spec, in the adapter, of the tensor that takes its place.
        rows: module → rows of an embedding that take the place of the base's.
        notes: what was passed over.
    """

    def __init__(
        self,
        label: str,
        folder: Path | None,
        settings: AdapterSettings,
        weights: Weights,
        found: Sorted,
        fetched: FetchedAdapter | None = None,
    ) -> None:
        self._fetched = fetched
        self.label: Final = label
        self.folder: Final = folder
        self.settings: Final = settings
        self.changes: Final[Mapping[str, LowRank]] = found.changes
        self.whole: Final[Mapping[str, TensorSpec]] = found.whole
        self.rows: Final[Mapping[str, TokenRows]] = found.rows
        self.notes: Final = tuple(found.notes)
        self._weights = weights
        path = None if folder is None else folder / ADAPTER_CONFIG
        every = frozenset(weights.specs)
        self._config_files = () if path is None else (input_file(path, path.stat(), every),)

    @property
    def config(self) -> Mapping[str, Any]:
        """`adapter_config.json`, parsed."""
        return self.settings.value

    @property
    def base(self) -> str | None:
        """The model that it was trained on, as PEFT wrote it down."""
        return self.settings.base

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """All its tensors by name."""
        return self._weights.specs

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The file that its tensors are read from, and its configuration, which says what they are multiplied by."""
        found = (*self._weights.input_files, *self._config_files)
        return found if self._fetched is None else self._fetched.input_files(found)

    @property
    def held(self) -> int:
        """Bytes of memory that it keeps while it is open."""
        return self._weights.held

    def read(self, name: str) -> Tensor:
        """A whole tensor in its shape and its own dtype; it must not be written to."""
        spec = self.specs[name]
        return self._weights.read(name, 0, spec.numel).reshape(spec.shape)

    def read_range(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor, in row-major order."""
        return self._weights.read(name, start, stop)

    def digest(self, name: str) -> str:
        """The fingerprint (hex) of a tensor's bytes."""
        return self._weights.digest(name)

    def check_finite(self) -> None:
        """Refuse factors that hold NaN or infinity.

        Raises:
            InputError: `bad-adapter`, for every tensor that does.
        """
        specs = [spec for change in self.changes.values() for spec in change.specs]
        wrong = [spec.name for spec in specs if not bool(self.read(spec.name).isfinite().all())]
        if wrong:
            hint = "the training diverged, or the file is damaged: use an earlier checkpoint of it"
            said = f"{self.label}: an adapter's factors must be finite; {{}} holds NaN or infinity"
            raise InputError(Fault("bad-adapter", said.format(name), subject=name, hint=hint) for name in wrong)

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed since they were opened."""
        self._weights.check_unchanged()

    def close(self) -> None:
        """Let go of the files; copies of fetched ones go."""
        self._weights.close()
        if self._fetched is not None:
            self._fetched.sides.close()


def is_adapter(folder: Path) -> bool:
    """Whether a folder has an adapter's configuration."""
    return (folder / ADAPTER_CONFIG).is_file()


def open_adapter(ref: ModelRef, root: Path | None = None) -> Adapter:
    """Open the adapter that a recipe names: a PEFT folder, here, on the hub or behind a URL.

    Args:
        ref: the adapter as the recipe names it.
        root: folder that relative paths start from; `None` is the working folder.

    Returns:
        The adapter; its label is the name that the recipe wrote.

    Raises:
        InputError: `model-missing`; `bad-adapter`, `unknown-adapter-key`: it is damaged, or not a LoRA that is read.
            All its faults at once.
    """
    if scheme_of(ref.path) not in (None, "hf"):
        return _open_behind(ref.path, str(ref))
    name = ref.path.partition("://")[2].strip("/") if scheme_of(ref.path) else ref.path
    path = local_path(name, root)
    if scheme_of(ref.path) is None and (path.exists() or path.is_symlink() or not is_hub_id(name)):
        if not path.exists():
            raise InputError(missing(ref, path))
        return open_adapter_folder(path, str(ref))
    from cuvee.checkpoint.hub_adapter import find_adapter

    return open_adapter_folder(find_adapter(ModelRef(name, ref.revision)), str(ref))


def _open_behind(url: str, label: str) -> Adapter:
    from cuvee.checkpoint.remote_adapter import FetchedAdapter

    fetched = FetchedAdapter(url, label)
    try:
        with fetched.sides.told():
            return open_adapter_folder(fetched.folder, label, fetched)
    except BaseException:
        fetched.sides.close()
        raise


def open_adapter_folder(folder: Path, label: str, fetched: FetchedAdapter | None = None) -> Adapter:
    """Open a folder as PEFT writes one; see `open_adapter`. `fetched` is what the folder is a copy of."""
    faults: list[Fault] = []
    config = attempt(lambda: _within(folder, (ADAPTER_CONFIG,), label), faults)
    file = attempt(lambda: _within(folder, ADAPTER_WEIGHTS, label), faults)
    settings = None if config is None else attempt(lambda: read_adapter_config(config), faults)
    opened = None if file is None else attempt(lambda: open_weights(file), faults)
    if settings is None or opened is None:
        if opened is not None:
            opened[0].close()
        raise InputError(faults)
    weights, _ = opened
    found = sort_tensors(label, weights.specs, settings)
    if found.faults:
        weights.close()
        raise InputError(_some(label, found.faults))
    return Adapter(label, folder, settings, weights, found, fetched)


def _within(folder: Path, names: tuple[str, ...], label: str) -> Path:
    """The first of these files that is there, and lies in the folder."""
    if not folder.is_dir():
        message = f"{label}: an adapter is a folder as PEFT writes one, found the file {folder.name}"
        raise InputError(Fault("bad-adapter", message, subject=label, hint="name the folder"))
    for name in names:
        path = folder / name
        if fault := link_fault(path, name, allowed_roots(folder)):
            raise InputError(fault)
        if path.is_file():
            return path
    have = listed(sorted(entry.name for entry in folder.iterdir()), most=8) or "nothing"
    message = f"{label}: an adapter's folder must hold {' or '.join(names)}; found {have}"
    hint = "name a folder that PEFT's `save_pretrained` wrote"
    raise InputError(Fault("bad-adapter", message, subject=label, hint=hint))


def _some(label: str, faults: list[Fault], most: int = 20) -> list[Fault]:
    """The first of many faults, and how many more there are."""
    more = len(faults) - most
    if more <= 0:
        return faults
    return [*faults[:most], Fault("bad-adapter", f"{label}: and {more:,} more faults of this kind", subject=label)]
