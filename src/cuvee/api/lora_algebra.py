"""LoRA algebra: adapters merged into one, and an adapter extracted from a fine-tuned model.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_model, as_output, callback_faults, refuse, switch_faults
from cuvee.api.files import opened
from cuvee.api.lora_arguments import (
    adapters_of,
    as_adapter,
    pattern_faults,
    patterns_of,
    size_faults,
    weight_faults,
    word_faults,
)
from cuvee.errors import Fault, InputError, UsageError, number_faults

if TYPE_CHECKING:
    from cuvee.adapters.written import Result
    from cuvee.checkpoint.adapter import Adapter
    from cuvee.checkpoint.protocol import Reader

AnyPath = str | os.PathLike[str]
Follow = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ModuleError:
    """How well one module's change is held.

    Attributes:
        module: its name.
        rank: of the factors.
        error: ‖wanted − held‖ / ‖wanted‖, Frobenius.
        norm: ‖wanted‖.
    """

    module: str
    rank: int
    error: float
    norm: float


@dataclass(frozen=True, slots=True)
class AdapterResult:
    """An adapter that was written.

    Attributes:
        path: its folder.
        modules: every module's rank and error.
        whole: tensors that are stored as they are.
        parameters: numbers in all its tensors.
        record: the content of `cuvee.json`.
        notes: what the user should know.
    """

    path: Path
    modules: tuple[ModuleError, ...]
    whole: tuple[str, ...]
    parameters: int
    record: Mapping[str, Any]
    notes: tuple[str, ...]


def merge_adapters(
    adapters: Sequence[AnyPath],
    out: AnyPath,
    *,
    method: str = "cat",
    weights: Sequence[float] | None = None,
    rank: int | None = None,
    energy: float | None = None,
    inner: str = "ties",
    base: AnyPath | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Follow | None = None,
    **settings: Any,
) -> AdapterResult:
    """Merge LoRA adapters of one base into one adapter; no base is needed.

    Args:
        adapters: folders as PEFT writes them, or hub ids.
        out: the folder to make.
        method: `cat` (the exact weighted sum), `svd` (its best approximation), `knots`, `core-space`, a method of
            recipes on the changes ΔW (`ties`, `dare_ties`, `linear` …), or PEFT's own arithmetic (`peft-linear` …).
        weights: one per adapter; 1 each without.
        rank: most singular values per module; without it the largest rank among the adapters, for methods whose result
            has to be cut.
        energy: instead of a rank, the share of Σ σ² that is kept, (0, 1].
        inner: the method inside `knots` and `core-space`.
        base: the model that they were trained on: only DoRA needs it, whose change depends on it.
        seed: of random masks.
        overwrite: replace an adapter that is there already; never one that is read.
        progress: called with modules done and their number.
        **settings: of the method: `density`, `lambda_`, `normalize` …

    Raises:
        UsageError: settings that make no sense.
        InputError: adapters that are damaged, do not fit each other, or are no plain LoRA.
        OutputExists: `out` is there, or may not be replaced.
    """
    from cuvee.adapters.asked import Asked, check_asked
    from cuvee.adapters.merging import merge_adapters as merge

    target, named = _target(out, overwrite), adapters_of(adapters)
    wrong = [*callback_faults(progress), *word_faults(method=method, inner=inner), *size_faults(rank, energy)]
    refuse([*wrong, *number_faults(seed=seed), *weight_faults(weights)])
    shares = tuple(float(one) for one in (weights if weights is not None else [1.0] * len(named)))
    asked = Asked(method, shares, inner, settings, rank, energy, seed)
    check_asked(asked, len(named))
    with _adapters(named) as opened_adapters, opened([] if base is None else [as_model(base)], None) as bases:
        result = merge(opened_adapters, asked, progress, next(iter(bases), None))
        sources = [_source(one) for one in opened_adapters]
        said = {"method": method, "weights": list(shares), "rank": rank, "energy": energy, "seed": seed, **settings}
        if method in ("knots", "core-space"):
            said["inner"] = inner
        made: dict[str, Any] = {"made_by": "lora merge", "adapters": sources, "settings": said}
        if bases:
            made["base"] = {"model": bases[0].label, "content": _content(bases[0])}
        read: list[Reader | Adapter] = [*opened_adapters, *bases]
        return _written(result, target, made, overwrite, read)


def extract_adapter(
    tuned: AnyPath,
    base: AnyPath,
    out: AnyPath,
    *,
    rank: int | None = None,
    energy: float | None = None,
    embed_lora: bool = False,
    save: str | Sequence[str] = (),
    only: str | Sequence[str] = (),
    leave: str | Sequence[str] = (),
    save_bias: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    progress: Follow | None = None,
) -> AdapterResult:
    """Write the difference of a fine-tuned model and its base as a LoRA adapter.

    Args:
        tuned: the fine-tuned model.
        base: what it was tuned from.
        out: the folder to make.
        rank: singular values kept per matrix.
        energy: instead of a rank, the share of ‖ΔW‖² that is kept of each matrix, (0, 1].
        embed_lora: give embeddings and output heads factors, too.
        save: a regular expression or several: modules of such names are stored whole. Names are the base's on disk.
        only: likewise: tensors to look at.
        leave: likewise: tensors to leave out.
        save_bias: store changed biases.
        seed: of the random projection.
        overwrite: replace an adapter that is there already.
        progress: called with matrices done and their number.

    Raises:
        UsageError: settings that make no sense.
        InputError: models that do not fit each other, or changes that an adapter cannot hold.
        OutputExists: `out` is there, or may not be replaced.
    """
    from cuvee.adapters.extracting import Wanted, extract

    target = _target(out, overwrite)
    wrong = [*callback_faults(progress), *size_faults(rank, energy), *number_faults(seed=seed)]
    wrong += switch_faults(embed_lora=embed_lora, save_bias=save_bias)
    refuse([*wrong, *pattern_faults(save=save, only=only, leave=leave)])
    patterns = {"save": patterns_of(save), "only": patterns_of(only), "leave": patterns_of(leave)}
    wanted = Wanted(rank, energy, embed_lora, save_bias=save_bias, seed=seed, **patterns)
    with opened([as_model(tuned), as_model(base)], None) as readers:
        result = extract(readers[0], readers[1], wanted, progress)
        sources = {
            "tuned": {"model": readers[0].label, "content": _content(readers[0])},
            "base": {"model": readers[1].label, "content": _content(readers[1])},
        }
        said = {key: list(one) if isinstance(one, tuple) else one for key, one in asdict(wanted).items()}
        made = {"made_by": "lora extract", **sources, "settings": said}
        return _written(result, target, made, overwrite, readers)


def _target(out: AnyPath, overwrite: bool) -> Path:
    """The folder to make, refused at once where something stands that may not be replaced."""
    from cuvee.checkpoint.staging import check_output, find_places

    refuse(switch_faults(overwrite=overwrite))
    target = as_output(out, "the adapter must be a folder's name")
    check_output(find_places(target).out, overwrite, ())
    return target


@contextmanager
def _adapters(named: Sequence[AnyPath]) -> Iterator[list[Adapter]]:
    """All adapters open; the faults of all that cannot be opened at once."""
    from cuvee.checkpoint.adapter import open_adapter

    with ExitStack() as stack:
        found: list[Adapter] = []
        faults: list[Fault] = []
        for one in named:
            try:
                found.append(stack.enter_context(closing(open_adapter(as_adapter(one)))))
            except InputError as error:
                faults += error.faults
        if faults:
            raise InputError(faults)
        yield found


def _source(adapter: Adapter) -> dict[str, Any]:
    return {"adapter": adapter.label, "base": adapter.base, "files": _hashes(adapter.input_files)}


def _hashes(files: Sequence[Any]) -> dict[str, str]:
    """SHA-256 of the files that were read."""
    found = {}
    for file in files:
        with Path(file.name).open("rb") as stream:
            found[Path(file.name).name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _content(reader: Reader) -> str:
    """SHA-256 of the names and fingerprints of all tensors of a model."""
    lines = (f"{name} {reader.digest(name)}\n" for name in sorted(reader.specs))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _written(
    result: Result, target: Path, made: Mapping[str, Any], overwrite: bool, read: Sequence[Reader | Adapter]
) -> AdapterResult:
    """Write a result, with its record."""
    from cuvee.adapters.written import write_adapter

    modules = tuple(ModuleError(one.module, one.rank, one.error, one.norm) for one in result.changes)
    told = {one.module: {"rank": one.rank, "error": one.error, "norm": one.norm} for one in modules}
    record = {"format": "cuvee-adapter-1", **made, "modules": told, "notes": list(result.notes)}
    protected = [Path(file.name) for one in read for file in one.input_files]
    write_adapter(result, target, record, overwrite=overwrite, protected=protected)
    numbers = sum(value.numel() for value in result.tensors().values())
    return AdapterResult(target, modules, tuple(result.whole), numbers, record, result.notes)


def number_list(text: str | None, name: str) -> list[float] | None:
    """Numbers with commas between them.

    Raises:
        UsageError: one of them is none.

    Example:
        >>> number_list("0.5, 2", "weights")
        [0.5, 2.0]
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        message = f"`{name}` must be numbers with commas between them; found {text[:60]!r}"
        raise UsageError(Fault("bad-argument", message, subject=name, hint="for example 0.7,0.3")) from None
