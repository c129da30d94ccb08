"""BatchNorm statistics after weights were averaged: estimated again, on data that is named or given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.api.arguments import as_path, unfit
from cuvee.data.functions import function_named
from cuvee.errors import Fault, InputError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from cuvee.checkpoint.weights import Weights
    from cuvee.execute.batchnorm import Batches, Recalibrated

Data = str | os.PathLike[str] | Callable[[], Iterable[Any]] | Iterable[Any]
"""A safetensors file, `module:function` or `file.py:function`, a function that gives batches, or the batches."""

BATCH_SIZE: Final = 32
_WANTED: Final = "a safetensors file, `module:function`, a function that gives batches, or batches"


def recalibrate_batchnorm(model: nn.Module, batches: Iterable[Any]) -> Recalibrated:
    """Estimate the running statistics of a model's BatchNorm layers anew, in place, after its weights were averaged.

    Every layer is reset; its mean and variance become the means, over batches, of those of each batch (variance with
    n − 1), as `torch.optim.swa_utils.update_bn` has them. BatchNorm layers work as in training meanwhile and all others
    as in evaluation: dropout, which `update_bn` turns on, would add a variance that the model does not have when it is
    used. What the model was set to is put back, and where anything fails, its statistics too.

    Args:
        model: any torch module, on any device.
        batches: tensors; tuples or lists, of which the first entry counts; or mappings of the model's arguments. They
            must be on the model's device. A batch counts the same whatever its size.

    Returns:
        The names of the layers, of those that no batch came to, and the number of batches.

    Raises:
        UsageError: `model` is no module or has no BatchNorm layer with running statistics; there is no batch.
        InputError: `non-finite`: the data make a statistic NaN or infinite.

    Example:
        >>> import torch
        >>> model = torch.nn.BatchNorm1d(1)
        >>> recalibrate_batchnorm(model, [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])]).batches
        2
        >>> model.running_mean.tolist(), model.running_var.tolist()
        ([4.0], [2.0])

    Reference: Izmailov et al. 2018, arXiv:1803.05407.
    """
    from torch import nn

    from cuvee.execute.batchnorm import recalibrate

    if not isinstance(model, nn.Module):
        hint = "a model folder is recalibrated as it is made: `cuvee.average(…, recalibrate=…)`"
        raise UsageError(unfit("model", "a torch module", model, hint))
    return recalibrate(model, batches)


def batches_from(given: Data, size: int) -> Batches:
    """What a caller names as data, looked at as far as can be without reading it.

    Args:
        given: as `Data`.
        size: rows of a file that make a batch.

    Raises:
        UsageError: it is none of the forms that data have, or there is no such module or function.
        InputError: the file is missing, damaged, or no table of rows.
    """
    from cuvee.execute.batchnorm import Batches

    if isinstance(given, str | os.PathLike):
        text = str(as_path(given, "recalibrate", f"data should be {_WANTED}"))
        if text.lower().endswith(".safetensors"):
            return _from_file(Path(text), size)
        if ":" in text:
            return Batches(text, function_named(text, "recalibrate", "gives batches"))
    elif callable(given):
        return Batches(getattr(given, "__qualname__", "a function"), given)
    elif isinstance(given, Iterable):
        return Batches("batches from Python", lambda: given)
    raise UsageError(unfit("recalibrate", _WANTED, given))


def _from_file(path: Path, size: int) -> Batches:
    from cuvee.checkpoint.fingerprint import digest_file
    from cuvee.checkpoint.weights import open_weights
    from cuvee.execute.batchnorm import Batches

    if not path.is_file():
        raise InputError(Fault("model-missing", f"{path}: no such file", subject="recalibrate"))
    weights, _ = open_weights(path)
    with closing(weights):
        shapes = {name: spec.shape for name, spec in weights.specs.items()}
    firsts = {shape[:1] for shape in shapes.values()}
    if len(firsts) != 1 or firsts & {(), (0,)}:
        told = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"
        message = f"{path}: tensors should have a row for each example, all the same number of them; found {told}"
        hint = "save the model's arguments, for example {'pixel_values': images} of shape [N, 3, 224, 224]"
        raise InputError(Fault("shape-mismatch", message, subject="recalibrate", hint=hint))
    return Batches(str(path), partial(_rows, path, size), digest_file(path), size)


def _rows(path: Path, size: int) -> Iterator[dict[str, Any]]:
    """The rows of a file in batches as even as can be: a last one of one row may have no variance."""
    from cuvee.checkpoint.weights import open_weights

    weights, _ = open_weights(path)
    with closing(weights):
        rows = next(iter(weights.specs.values())).shape[0]
        count = ceil(rows / size)
        cuts = [rows * i // count for i in range(count + 1)]
        for start, stop in pairwise(cuts):
            yield {name: _slice(weights, name, start, stop) for name in weights.specs}
        weights.check_unchanged()


def _slice(weights: Weights, name: str, start: int, stop: int) -> Any:
    """Some rows of a tensor; floats as float32, which is what the model is run in."""
    spec = weights.specs[name]
    row = spec.numel // spec.shape[0]
    values = weights.read(name, start * row, stop * row).reshape(stop - start, *spec.shape[1:])
    return values.float() if values.is_floating_point() else values
