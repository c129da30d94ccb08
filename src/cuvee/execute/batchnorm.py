"""BatchNorm statistics of a model whose weights are new, estimated again from data.

A running mean or variance describes what a layer is given, and that follows from the weights before it. What is right
for the models that were merged is therefore wrong for the merged one, and no average of it is right either (Izmailov et
al. 2018, arXiv:1803.05407).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint import FolderWriter
from cuvee.errors import CuveeError, Fault, InputError, UsageError, listed
from cuvee.execute.ledger import Digests, Progress
from cuvee.execute.work import all_finite
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cuvee.checkpoint.protocol import Reader
    from cuvee.planning.model import Plan

_COUNT: Final = "num_batches_tracked"
_STATISTICS: Final = ("running_mean", "running_var", _COUNT)


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """What was done to a model.

    Attributes:
        layers: names of the BatchNorm layers with new statistics.
        unused: those that no batch came to; they have what they had.
        batches: how many batches the model was run on.
    """

    layers: tuple[str, ...]
    unused: tuple[str, ...]
    batches: int


@dataclass(frozen=True, slots=True)
class Batches:
    """Data to run a model on.

    Attributes:
        label: what it is called, for messages and the record.
        make: gives the batches: tensors, tuples that begin with one, or mappings of the model's arguments.
        content: fingerprint of the data, where it has one.
        size: rows of a batch, where that is chosen.
    """

    label: str
    make: Callable[[], Iterable[Any]]
    content: str | None = None
    size: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says of it."""
        more = {"content": self.content, "batch_size": self.size}
        return {"data": self.label, **{key: value for key, value in more.items() if value is not None}}


def statistics_in(names: Iterable[str]) -> list[str]:
    """Those of the names of tensors that are running means and variances."""
    return [name for name in names if name.rpartition(".")[2] in _STATISTICS[:2]]


def recalibrate(model: nn.Module, batches: Iterable[Any], told: Callable[[int], None] | None = None) -> Recalibrated:
    """Estimate the statistics of a model's BatchNorm layers anew: the mean over batches of each batch's own.

    The layers are reset and work as in training, without forgetting (momentum `None`: batch t counts 1/t). All else
    works as in evaluation, so that nothing is dropped out: a deployed model drops nothing either. What the model was
    set to is put back afterwards, and where anything fails, its statistics too.

    Args:
        model: any torch module.
        batches: as in `Batches`; all weigh the same, whatever their sizes.
        told: called with the number of batches done.

    Raises:
        UsageError: the model has no layer with running statistics, or there is no batch.
        InputError: `non-finite`: the data make a statistic NaN or infinite.
    """
    import torch

    layers = _layers(model)
    if not layers:
        message = "the model should have BatchNorm layers with running statistics, and has none"
        raise UsageError(Fault("bad-argument", message, subject="model", hint="there is nothing to recalibrate"))
    with _only_these_learn(model, layers), torch.no_grad():
        done = 0
        for done, batch in enumerate(batches, start=1):
            _run(model, batch)
            if told is not None:
                told(done)
        if done == 0:
            hint = "an iterator that was used up gives none"
            raise UsageError(Fault("bad-argument", "there should be one batch or more, found none", hint=hint))
        _check_finite(layers)
        unused = tuple(name for name, layer in layers.items() if int(layer.num_batches_tracked) == 0)
    return Recalibrated(tuple(name for name in layers if name not in unused), unused, done)


def _layers(model: nn.Module) -> dict[str, Any]:
    """The BatchNorm layers that keep running statistics, by name."""
    from torch.nn.modules.batchnorm import _BatchNorm

    found = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    return {name: module for name, module in found.items() if module.running_mean is not None}


@contextmanager
def _only_these_learn(model: nn.Module, layers: Mapping[str, Any]) -> Iterator[None]:
    """Let some layers gather statistics from nothing, and put everything else back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    before = [(layer, layer.momentum, [getattr(layer, s).clone() for s in _STATISTICS]) for layer in layers.values()]
    failed = True
    try:
        model.eval()
        for layer, *_ in before:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        yield
        failed = False
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, momentum, values in before:
            layer.momentum = momentum
            if failed or int(layer.num_batches_tracked) == 0:
                for name, value in zip(_STATISTICS, values):
                    getattr(layer, name).copy_(value)


def _run(model: nn.Module, batch: Any) -> None:
    if isinstance(batch, Mapping):
        model(**batch)
    else:
        model(batch[0] if isinstance(batch, list | tuple) else batch)


def _check_finite(layers: Mapping[str, Any]) -> None:
    bad = [name for name, layer in layers.items() if not _finite(layer.running_mean, layer.running_var)]
    if bad:
        raise InputError(_not_finite(bad))


def _finite(*tensors: Tensor) -> bool:
    return all(all_finite(tensor.flatten()) for tensor in tensors)


def _not_finite(names: Iterable[str]) -> Fault:
    message = f"statistics must be finite; the data make them NaN or infinite in {listed(names)}"
    return Fault("non-finite", message, hint="look for NaN in the data, and whether it is scaled as for training")


def check_plan(plan: Plan, readers: list[Reader]) -> None:
    """Refuse to recalibrate what has no statistics, or what transformers cannot run, before anything is merged.

    Raises:
        InputError: there are none, or no class that transformers knows; what was found.
        UsageError: transformers is not installed.
    """
    from cuvee.families.pretrained import check_known

    donor = readers[plan.donor]
    if not statistics_in(step.out.name for step in plan.steps):
        message = f"{donor.label}: there are no BatchNorm statistics (running_mean, running_var) to recalibrate"
        raise InputError(Fault("bad-argument", message, subject="recalibrate", hint="leave `recalibrate` out"))
    if donor.config is None:
        message = f"{donor.label}: a model is run by the class that its config.json names, and there is no config.json"
        hint = "load the output yourself, and call `cuvee.recalibrate_batchnorm(model, batches)`"
        raise InputError(Fault("bad-config", message, subject="recalibrate", hint=hint))
    if donor.folder is not None:
        check_known(donor.folder)


def recalibrate_staged(
    plan: Plan, writer: FolderWriter, digests: Digests, data: Batches, progress: Callable[[Progress], None] | None
) -> tuple[Digests, dict[str, Any]]:
    """Put new statistics in the place of those of an output that is complete but for its record.

    Args:
        plan: what was done.
        writer: the output, not yet published.
        digests: those of its tensors.
        data: what to run the model on.
        progress: told of every batch.

    Returns:
        The digests as they are now, and what the record says of it.

    Raises:
        InputError, UsageError: the model cannot be run on the data, or has its statistics under other names.
    """
    from cuvee.families.pretrained import load_whole

    nbytes = sum(step.out.nbytes for step in plan.steps)

    def told(done: int) -> None:
        if progress is not None:
            progress(Progress(nbytes, nbytes, f"recalibrating: batch {done}"))

    model = load_whole(writer.staging)
    with _as_faults(data):
        done = recalibrate(model, data.make(), told)
    specs = {step.out.name: step.out for step in plan.steps}
    values = _new_values(model, done, specs)
    for name, value in values.items():
        writer.write(name, 0, value)
    kept = [name for name in statistics_in(specs) if name not in values]
    facts = {**data.facts, "batches": done.batches, "tensors": sorted(values), "kept": sorted(kept)}
    outputs = {**digests.outputs, **{name: writer.digest(name) for name in values}}
    return replace(digests, outputs=outputs), facts


def _new_values(model: nn.Module, done: Recalibrated, specs: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
    """The new statistics by on-disk name, flat and in the dtype they have there."""
    import torch

    found: dict[str, Tensor] = {}
    strange: list[str] = []
    for layer in done.layers:
        for what in _STATISTICS:
            name = f"{layer}.{what}"
            if name in specs:
                value = getattr(model.get_submodule(layer), what)
                found[name] = value.to(getattr(torch, specs[name].dtype)).flatten().contiguous().clone()
            elif what != _COUNT:  # of old, there was no count
                strange.append(name)
    if strange:
        message = f"statistics should be stored under the names the model has for them; not found: {listed(strange)}"
        raise InputError(Fault("missing-tensor", message, subject="recalibrate"))
    if bad := [name for name, value in found.items() if value.is_floating_point() and not _finite(value)]:
        raise InputError(_not_finite(bad))
    return found


@contextmanager
def _as_faults(data: Batches) -> Iterator[None]:
    """Whatever a model or a function of the user's raises, as a fault of the data."""
    try:
        yield
    except (CuveeError, MemoryError):
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "no reason given")
        message = f"{data.label}: the model could not be run on this data: {type(error).__name__}: {first}"
        hint = "tensors must be named as the model's arguments are, and be shaped and scaled as in training"
        raise InputError(Fault("bad-argument", message, subject="recalibrate", hint=hint)) from error
