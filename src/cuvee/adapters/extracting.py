"""The difference of two models as a LoRA adapter: each changed matrix by its largest singular values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.adapters.named import Names, aligned, names_of
from cuvee.adapters.written import Change, Result
from cuvee.checkpoint.adapter_tensors import PREFIX
from cuvee.checkpoint.adapter_tying import is_tied
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, UsageError, attempt, listed
from cuvee.families.names import is_vocabulary, role_of
from cuvee.tensors.factored import balanced, cut_to, leading
from cuvee.tensors.lowrank import Triplets, triplets
from cuvee.tensors.random import stream_key
from cuvee.tensors.sketched import is_small, sketched_triplets
from cuvee.types import DTYPES

_MEASURED: Final = 1e-6
"""Relative errors below are measured on what is left: as a difference of squares they would be rounding."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is extracted.

    Attributes:
        rank: most singular values per module.
        energy: share of Σ σ² that is kept of each module.
        embed_lora: changes of embeddings and output heads as factors, too.
        save: patterns of modules that are stored whole.
        only, leave: patterns of tensors to look at, and to leave out.
        save_bias: store changed biases.
        seed: of the random projection.
    """

    rank: int | None = None
    energy: float | None = None
    embed_lora: bool = False
    save: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    save_bias: bool = False
    seed: int = 0


@dataclass
class _Sorted:
    """Changed tensors by what becomes of them."""

    factored: list[str] = field(default_factory=list)
    whole: dict[str, list[str]] = field(default_factory=dict)
    biases: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    tied: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Embeddings that are stored whole and are the output head, too, and what that is called."""


def extract(tuned: Reader, base: Reader, wanted: Wanted, progress: Callable[[int, int], None] | None = None) -> Result:
    """The adapter that turns the base into the fine-tuned model, about; one matrix is in memory at a time.

    Raises:
        UsageError: `rank` or `energy` make no sense, or a pattern is none.
        InputError: models that do not fit each other, or changes that an adapter cannot hold; all faults.
    """
    _check(wanted)
    names = names_of(base, tuned)
    tuned = aligned(tuned, names)
    _check_fit(tuned, names)
    found = _sort(tuned, names, wanted)
    if found.faults:
        raise InputError(found.faults)
    changes: list[Change] = []
    faults: list[Fault] = []
    for number, name in enumerate(found.factored, 1):
        if (change := attempt(lambda name=name: _change(tuned, names, name, wanted), faults)) is not None:  # type: ignore[misc]
            changes.append(change)
        if progress is not None:
            progress(number, len(found.factored))
    if faults:
        raise InputError(faults)
    if not changes:
        message = f"{tuned.label} and {base.label} have the same linear maps: there is nothing to extract"
        raise InputError(Fault("no-low-rank", message, subject=tuned.label, hint="name the fine-tuned model first"))
    return _result(tuned, names, found, changes)


def _check(wanted: Wanted) -> None:
    faults = []
    if (wanted.rank is None) == (wanted.energy is None):
        faults.append(Fault("bad-argument", "give either `rank` or `energy`", subject="rank"))
    if wanted.rank is not None and wanted.rank < 1:
        faults.append(Fault("bad-argument", f"`rank` must be 1 or more; found {wanted.rank}", subject="rank"))
    if wanted.energy is not None and not 0 < wanted.energy <= 1:
        message = f"`energy` must be above 0 and at most 1; found {wanted.energy}"
        faults.append(Fault("bad-argument", message, subject="energy"))
    for pattern in (*wanted.save, *wanted.only, *wanted.leave):
        try:
            re.compile(pattern)
        except re.error as error:
            message = f"{pattern!r:.60} is no regular expression: {error}"
            faults.append(Fault("bad-argument", message, subject=pattern[:60]))
    if faults:
        raise UsageError(faults)


def _check_fit(tuned: Reader, names: Names) -> None:
    faults, base = [], names.base
    for name in dict.fromkeys([*base.specs, *tuned.specs]):
        one, other = tuned.specs.get(name), base.specs.get(name)
        if one is None or other is None:
            if name in tuned.shared or name in base.shared or not names.is_needed(name):
                continue
            lacking = base.label if other is None else tuned.label
            message = f"{lacking} has no `{name}`: an adapter is extracted of two models with the same tensors"
            faults.append(Fault("missing-tensor", message, subject=name, hint="name the base that it was tuned from"))
        elif one.shape != other.shape:
            rows = is_vocabulary(name)
            code = "vocabulary-mismatch" if rows else "shape-mismatch"
            hint = "give both one vocabulary first (`tokenizer_source` in a recipe)" if rows else "name its own base"
            message = f"`{name}` is {_shape(one.shape)} in {tuned.label} and {_shape(other.shape)} in {base.label}"
            faults.append(Fault(code, message, subject=name, hint=hint))
    if faults:
        raise InputError(faults[:20])


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _matches(patterns: Sequence[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _sort(tuned: Reader, names: Names, wanted: Wanted) -> _Sorted:
    """Say of every tensor that differs what becomes of it."""
    base = names.base
    found, tied = _Sorted(), is_tied(base)
    for name in base.specs:
        if name not in tuned.specs or tuned.digest(name) == base.digest(name):
            continue
        module = name.rpartition(".")[0]
        if (wanted.only and not _matches(wanted.only, name)) or _matches(wanted.leave, name):
            found.left.append(name)
        elif (tied and is_vocabulary(name)) or names.others(name):
            _sort_tied(tuned, names, name, wanted, found)
        elif _matches(wanted.save, module):
            found.whole.setdefault(module, []).append(name)
        else:
            _sort_one(tuned, names, name, wanted, found)
    for module, held in found.whole.items():  # a module is stored with all that it has
        held[:] = [name for name in tuned.specs if name.rpartition(".")[0] == module]
    return found


def _sort_tied(tuned: Reader, names: Names, name: str, wanted: Wanted, found: _Sorted) -> None:
    """An embedding that is the output head, too, is stored whole for both sides; factors would change one side only."""
    module, head = name.rpartition(".")[0], role_of(name) == "head"
    if head and any(tuned.digest(other) == tuned.digest(name) for other in tuned.specs if _is_input(other)):
        return  # the embedding's own change
    others = names.others(name)
    shared = bool(others) and all(role_of(other) == "head" for other in others)
    if not head and shared and _matches(wanted.save, module):
        found.whole.setdefault(module, []).append(name)
        found.tied[name] = others
        return
    both = "the input embedding and the output head are one tensor" if head or shared else "it is several modules"
    message = f"`{name}` changed, and in {names.base.label} {both}"
    ways = [f"--leave '{re.escape(name)}$' leaves it as it is in the base", "or keep the fine-tuned model whole"]
    if head:
        message += "; in the fine-tuned model they are two"
    elif shared:
        message += ", which cannot go into low-rank factors"
        ways.insert(0, f"--save-module '{re.escape(module)}$' stores it whole, for both")
    else:
        message += f"; PEFT would change `{names.of(name)}` only, and not {listed(others) or 'the head'}"
    found.faults.append(Fault("no-low-rank", message, subject=name, hint="; ".join(ways)))


def _is_input(name: str) -> bool:
    return is_vocabulary(name) and role_of(name) == "embedding"


def _sort_one(tuned: Reader, names: Names, name: str, wanted: Wanted, found: _Sorted) -> None:
    spec = tuned.specs[name]
    matrix = len(spec.shape) == 2 and name.endswith(".weight") and DTYPES[spec.dtype].kind == "float"
    vocabulary = is_vocabulary(name) or names.is_embedding(name)
    if matrix and (wanted.embed_lora or not vocabulary):
        found.factored.append(name)
    elif name.endswith(".bias") and wanted.save_bias:
        found.biases.append(name)
    else:
        module = name.rpartition(".")[0]
        what = "an embedding or output head" if matrix else f"of shape {_shape(spec.shape)}, and no matrix"
        ways = [f"--save-module '{re.escape(module)}$' stores it whole", f"--leave '{re.escape(name)}$' leaves it out"]
        ways += ["--embed-lora gives it factors"] if matrix else []
        ways += ["--save-bias stores changed biases"] if name.endswith(".bias") else []
        message = f"`{name}` changed, and is {what}: it cannot go into low-rank factors unasked"
        found.faults.append(Fault("no-low-rank", message, subject=name, hint="; ".join(ways)))


def _read(reader: Reader, name: str) -> Tensor:
    spec = reader.specs[name]
    return reader.read(name, 0, spec.numel).reshape(spec.shape)


def _change(tuned: Reader, names: Names, name: str, wanted: Wanted) -> Change:
    """One matrix's change as factors, and how far off they are."""
    delta = _read(tuned, name).double() - _read(names.base, name).double()
    if not bool(delta.isfinite().all()):
        message = f"`{name}` holds NaN or infinity"
        raise InputError(Fault("non-finite", message, subject=name, hint="use an earlier checkpoint"))
    embedding = names.is_embedding(name)
    if embedding or names.is_turned(name):
        delta = delta.mT.contiguous()
    norm = float(torch.linalg.vector_norm(delta))
    found = _decomposed(delta, wanted, stream_key(wanted.seed, "extract", name))
    kept, _ = cut_to(found, max(1, leading_of(found, norm, wanted)))
    factors = balanced(kept)
    a, b = factors.a.float(), factors.b.float()
    error = error_of(delta, kept, norm, Change("", a, b, 1.0))
    module = names.of(name).removesuffix(".weight")
    return Change(module, a.contiguous(), b.contiguous(), float(a.shape[0]), embedding, error, norm)


def error_of(delta: Tensor, kept: Triplets, norm: float, change: Change) -> float:
    """‖ΔW − B A‖ / ‖ΔW‖ from ‖ΔW‖² − Σ σᵢ²; below a millionth from what is left, with the rounding of the factors."""
    if norm == 0:
        return 0.0
    found = math.sqrt(max(0.0, norm**2 - float(kept.sigma.square().sum()))) / norm
    if found > _MEASURED:
        return found
    return float(torch.linalg.vector_norm(delta - change.b.double() @ change.a.double())) / norm


def leading_of(found: Triplets, norm: float, wanted: Wanted) -> int:
    """How many triplets are kept: the energy is a share of ‖ΔW‖², whether all its triplets are known or not."""
    if wanted.energy is None:
        return leading(found.sigma, wanted.rank, None)
    held = found.sigma.square().cumsum(0) >= wanted.energy * norm**2 * (1 - 1e-14)
    return int(held.to(torch.int8).argmax()) + 1 if bool(held.any()) else len(found.sigma)


def _decomposed(delta: Tensor, wanted: Wanted, key: int) -> Triplets:
    """The triplets that are needed: by random projection where that is faster, twice as many until they are enough."""
    rank = wanted.rank if wanted.rank is not None else 16
    squares = float(delta.square().sum())
    while not is_small((delta.shape[0], delta.shape[1]), rank):
        found = sketched_triplets(delta, rank, key)
        if wanted.energy is None or float(found.sigma[:rank].square().sum()) >= wanted.energy * squares:
            return found
        rank *= 2
    return triplets(delta)


def _result(tuned: Reader, names: Names, found: _Sorted, changes: Sequence[Change]) -> Result:
    targets = {change.module for change in changes}
    kept = {names.of(name): name for held in found.whole.values() for name in held}
    kept |= {other: name for name, others in found.tied.items() for other in others}
    whole = {f"{PREFIX}{shown}": _read(tuned, name).clone() for shown, name in kept.items()}
    for name in found.biases:
        shown = names.of(name)
        module = shown.removesuffix(".bias")
        inner = f"{module}.base_layer.bias" if module in targets else shown
        whole[f"{PREFIX}{inner}"] = _read(tuned, name).clone()
    turned = any(names.is_turned(name) for name in found.factored)
    config: dict[str, Any] = {"base_model_name_or_path": names.base.label, "fan_in_fan_out": turned}
    if kept:
        config["modules_to_save"] = sorted({shown.rpartition(".")[0] for shown in kept})
    if found.tied:
        config["ensure_weight_tying"] = True
    if found.biases:
        config["bias"] = "all"
    return Result(tuple(changes), whole, config, tuple(_notes(tuned, names, found)))


def _notes(tuned: Reader, names: Names, found: _Sorted) -> Iterator[str]:
    yield from (*tuned.notes, *names.base.notes, *names.notes(dict.fromkeys(found.factored)))
    if found.left:
        yield f"left out as asked: {len(found.left)} changed tensors ({listed(found.left)})"
