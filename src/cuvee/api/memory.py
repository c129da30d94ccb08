"""Merge state dicts in memory: for trainers and libraries that hold their models already.

Torch is the only large import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from cuvee import methods
from cuvee.api.arguments import found, refuse, switch_faults, unfit
from cuvee.errors import Fault, InputError, RecipeError, UsageError, number_faults
from cuvee.recipe import Recipe
from cuvee.recipe.model import Branch, Conditions, ModelEntry, Parameters
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.checkpoint.protocol import Reader


def merge_state_dicts(
    models: Mapping[str, Mapping[str, Tensor]] | Sequence[Mapping[str, Tensor]],
    method: str = "linear",
    *,
    base: Mapping[str, Tensor] | None = None,
    statistics: Sequence[Mapping[str, Tensor]] | None = None,
    seed: int = 0,
    threads: int = 1,
    dtype: str | None = None,
    allow_nonfinite: bool = False,
    missing: Literal["refuse", "copy"] = "refuse",
    **parameters: Any,
) -> dict[str, Tensor]:
    """Merge state dicts in memory; every tensor of their union is merged, copied or refused by name.

    Args:
        models: state dicts by name, or in order (then named `0`, `1`, …); random masks depend on the names.
        method: name of the merge method.
        base: state dict of the base model, for methods that have one; to the others it is one more model, the last, by
            the name of `base`.
        statistics: what was collected of each model, in their order, for methods that read it: by the tensors' names.
        seed: seed of random masks.
        threads: workers.
        dtype: dtype of the result's float tensors; the inputs' own by default.
        allow_nonfinite: merge inputs that hold NaN or infinity.
        missing: what becomes of a tensor that only some state dicts have: an error, or a copy.
        parameters: the method's parameters; per-model ones as one value, one per model (a list, an array or a tensor),
            or a mapping by name. `lambda` is a Python keyword: pass `lambda_=1.0`.

    Returns:
        A new state dict; no tensor shares memory with an input.

    Raises:
        UsageError: an argument of the wrong type, such as a module in the place of its state dict.
        RecipeError: parameters that the method does not have or that are out of range.
        InputError: state dicts that do not fit each other.

    Example:
        >>> import torch, cuvee
        >>> a, b = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
        >>> cuvee.merge_state_dicts([a, b], weight=[0.25, 0.75])
        {'w': tensor([0.7500, 0.7500])}
    """
    from cuvee.checkpoint import MemoryWriter, plan_layout
    from cuvee.execute import execute
    from cuvee.planning import bind, referenced

    named = _named(models)
    refuse(
        [
            *_model_faults(models, named, base),
            *_statistics_faults(statistics, len(named)),
            *_text_faults(method=method, dtype="" if dtype is None else dtype, missing=missing),
            *number_faults(seed=seed, threads=threads),
            *switch_faults(allow_nonfinite=allow_nonfinite),
        ]
    )
    recipe = _recipe_in_memory(list(named), method, base is not None, dtype, missing, parameters)
    chosen = methods.get(method)
    state_dicts = {**named, **({} if base is None else {_BASE: base})}
    beside = {f"{_STATISTICS}{name}": one for name, one in zip(named, statistics or ())}
    recipe = _with_statistics(recipe, list(beside))
    readers = _readers({ref.path: {**state_dicts, **beside}[ref.path] for ref in referenced(recipe)})
    bound = bind(recipe, readers, chosen.spec)
    writer = MemoryWriter(plan_layout([step.out for step in bound.steps], 1 << 62))
    execute(bound, readers, writer, chosen, seed=seed, threads=threads, allow_nonfinite=allow_nonfinite, hashes=False)
    writer.publish()
    order = dict.fromkeys(name for state_dict in state_dicts.values() for name in state_dict)
    return {name: writer.tensors[name] for name in order if name in writer.tensors}


_BASE: Final = "base"
_STATISTICS: Final = "statistics of "
_SHOWN: Final = 5
_NO_TEXT: Final = re.compile("[\ud800-\udfff]")
_TEXTS: Final = {
    "method": "a text such as `linear`",
    "dtype": "a text such as `float16`",
    "missing": "`refuse` or `copy`",
}


def _named(models: Any) -> dict[str, Any]:
    """The models by name, or by number if they stand in a row; names key the random masks, so they must be text.

    Raises:
        UsageError: they are neither, or one state dict is given instead of several.
    """
    if not isinstance(models, Mapping):
        if not isinstance(models, Iterable) or isinstance(models, str | bytes) or _is_tensor(models):
            raise UsageError(unfit("models", "state dicts, by name or in a list", models, _advice(models)))
        return {str(i): model for i, model in enumerate(models)}
    if any(map(_is_tensor, models.values())) and not any(isinstance(value, Mapping) for value in models.values()):
        message = "`models` must be several state dicts, by name or in a list; found one state dict"
        raise UsageError(Fault("bad-argument", message, subject="models", hint="put it in a list: `[one, other]`"))
    odd = [name for name in models if not isinstance(name, str) or _NO_TEXT.search(name)]
    if odd:
        message = f"models must be named by text; found {', '.join(map(found, odd[:_SHOWN]))}"
        raise UsageError(Fault("bad-argument", message, subject="models"))
    return dict(models)


def _readers(state_dicts: Mapping[str, Mapping[str, Tensor]]) -> list[Reader]:
    """The state dicts opened, FP8 with scales as the floats that it stands for.

    Raises:
        InputError: the faults of all that cannot be.
    """
    from cuvee.checkpoint import MemoryReader, as_floats

    opened: list[Reader] = []
    faults: list[Fault] = []
    for name, state_dict in state_dicts.items():
        try:
            opened.append(as_floats(MemoryReader(name, dict(state_dict))))
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    return opened


def _statistics_faults(statistics: object, models: int) -> Iterator[Fault]:
    if statistics is None:
        return
    if not isinstance(statistics, Sequence) or len(statistics) != models:
        count = len(statistics) if isinstance(statistics, Sequence) else type(statistics).__name__
        message = f"`statistics` must be a list of {models}, one for each model; found {count}"
        yield Fault("bad-argument", message, subject="statistics")
        return
    for i, one in enumerate(statistics):
        yield from _state_dict_faults(f"statistics[{i}]", one)


def _with_statistics(recipe: Recipe, names: Sequence[str]) -> Recipe:
    if not names:
        return recipe
    pairs = zip(recipe.models, names)
    return replace(recipe, models=tuple(replace(entry, statistics=ModelRef(name)) for entry, name in pairs))


def _is_tensor(value: object) -> bool:
    """Whether it is a tensor or an array; models of transformers have a dtype too, and no shape."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _model_faults(given: object, named: Mapping[str, Any], base: object) -> Iterator[Fault]:
    """What is wrong with the models one by one, each called as the caller would reach it."""
    for name, model in named.items():
        yield from _state_dict_faults(f"models[{name!r}]" if isinstance(given, Mapping) else f"models[{name}]", model)
    if base is not None:
        yield from _state_dict_faults("base", base)


def _state_dict_faults(subject: str, model: object) -> Iterator[Fault]:
    if not isinstance(model, Mapping):
        yield unfit(subject, "a state dict", model, _advice(model))
    elif odd := [name for name in model if not isinstance(name, str)]:
        message = f"`{subject}` must name its tensors by text; found {', '.join(map(found, odd[:_SHOWN]))}"
        yield Fault("bad-argument", message, subject=subject)


def _advice(model: object) -> str | None:
    """What to give instead of a module or a path."""
    if hasattr(model, "state_dict"):
        return "give its state dict: `model.state_dict()`"
    return "models on disk are merged by `cuvee.merge`" if isinstance(model, str | os.PathLike) else None


def _text_faults(**texts: object) -> list[Fault]:
    return [unfit(name, _TEXTS[name], text) for name, text in texts.items() if not isinstance(text, str)]


def _recipe_in_memory(
    names: Sequence[str],
    method: str,
    has_base: bool,
    dtype: str | None,
    missing: Literal["refuse", "copy"],
    parameters: Mapping[str, Any],
) -> Recipe:
    """The recipe that a call in memory stands for, checked like any other."""
    from cuvee.recipe import faults

    if has_base and _BASE in names:
        raise RecipeError(
            Fault("duplicate-model", f"the name `{_BASE}` is taken by the base; name that model otherwise")
        )
    spec = methods.get(method).spec
    if has_base and spec.base == "input":
        names, has_base = [*names, _BASE], False
    if "lambda" in parameters and "lambda_" in parameters:
        raise RecipeError(Fault("bad-argument", "`lambda` and `lambda_` are one parameter; found both"))
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, given in parameters.items():
        key, value = "lambda" if key == "lambda_" else key, _setting(given)
        param = spec.param(key)
        if param is None or not param.per_model:
            shared[key] = value
            continue
        for name, one in _spread(key, value, names).items():
            own[name][key] = one
    recipe = Recipe(
        method=method,
        models=tuple(ModelEntry(ModelRef(n), own[n], at=("models", i)) for i, n in enumerate(names)),
        base_model=ModelRef(_BASE) if has_base else None,
        parameters=shared,
        dtype=dtype,
        missing=missing,
    )
    if found := faults(recipe, methods.specs()):
        raise RecipeError(found)
    return recipe


def _setting(value: Any) -> Any:
    """A value as recipes hold it: a list of numbers is a gradient, one of mappings is filtered; an array is a list."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple) and value and all(isinstance(v, Mapping) and "value" in v for v in value):
        branches = (Branch(v.get("filter"), _setting(v["value"])) for v in value)
        return Conditions(tuple(branches))
    return tuple(_setting(v) for v in value) if isinstance(value, list | tuple) else value


def _spread(key: str, value: Any, names: Sequence[str]) -> Parameters:
    """A per-model parameter as one value for each model it is given for."""
    if isinstance(value, Mapping):
        if strangers := [n for n in value if n not in names]:
            raise RecipeError(Fault("bad-argument", f"`{key}` is given for {strangers}, which are no models"))
        return {name: _setting(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(names):
            raise RecipeError(Fault("bad-argument", f"`{key}` must have {len(names)} values; found {len(value)}"))
        return dict(zip(names, value, strict=True))
    return dict.fromkeys(names, value)
