"""Models of transformers as things to run: loaded with a known head, and with the way back to the names on disk.

What transformers holds in memory is not always what lies on disk: names have other prefixes, experts are stacked,
projections fused. `homes` says, for every tensor on disk, which entries of which tensors in memory it has become; it
asks transformers' own loading code, with tensors of positions instead of weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cuvee.errors import Fault, InputError, listed
from cuvee.families.heads import heads_named
from cuvee.families.pretrained import CannotJudge, class_of, config_of, library, quiet

if TYPE_CHECKING:
    from torch import Tensor

Head = Literal["causal-lm", "masked-lm", "classification", "none"]

LOADING_AS_KNOWN: Final = (5, 16)
"""The first version whose loading code takes the arguments that `homes` gives."""


@dataclass(frozen=True, slots=True)
class Running:
    """A model ready to be run.

    Attributes:
        model: the torch module, in float32 and evaluation mode.
        head: what it predicts; `none` for a bare encoder or decoder.
        config: its configuration, an object of transformers'.
    """

    model: Any
    head: Head
    config: Any

    @property
    def vocabulary(self) -> int:
        """Number of tokens that it has embeddings for."""
        return int(self.model.get_input_embeddings().weight.shape[0])


@dataclass(frozen=True, slots=True)
class Home:
    """What a tensor on disk has become.

    Attributes:
        memory: names of the tensors in memory whose entries, one tensor after the other, hold its own.
        order: positions of its entries among those, flat, int64 where they are no range; `None` where it is the one
            tensor as it stands.
    """

    memory: tuple[str, ...]
    order: Tensor | range | None = None


def load(folder: Path) -> Running:
    """Load a checkpoint folder with the class its configuration names.

    Raises:
        UsageError: transformers 5.16 or newer is not installed.
        InputError: the class cannot be had or built, is of a kind that is not run, or would be made up in part.
    """
    transformers = library(LOADING_AS_KNOWN)
    with quiet(transformers):
        config = config_of(transformers, folder)
        cls = class_of(transformers, config, folder)
        head = _head(cls.__name__, folder)
        try:
            model, info = cls.from_pretrained(
                str(folder),
                dtype="float32",
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, by name
            )
        except (RuntimeError, ValueError, ImportError, OSError) as error:
            message = f"{folder}: transformers cannot load it as {cls.__name__}: {str(error).strip()[:500]}"
            raise InputError(Fault("bad-config", message, subject=str(folder))) from error
    if faults := [*_made_up(folder, cls.__name__, info)]:
        raise InputError(faults)
    return Running(model.eval(), head, config)


def on_meta(transformers: Any, settings: Mapping[str, Any], folder: Path) -> Any:
    """The model of a configuration, with shapes and no weights.

    Raises:
        CannotJudge: transformers does not know its class, or cannot build it.
    """
    import torch

    kind = transformers.models.auto.configuration_auto.CONFIG_MAPPING[settings["model_type"]]
    try:
        config = kind.from_dict({**settings, "quantization_config": None})
        cls = class_of(transformers, config, folder)
        with transformers.modeling_utils.ContextManagers(cls.get_init_context(torch.float32, False, False, None)):
            return cls(config)
    except CannotJudge:
        raise
    except Exception as error:  # whatever a class makes of settings it was not written for
        message = f"transformers cannot build the model of {folder}: {str(error).strip()[:200]}"
        raise CannotJudge(Fault("bad-config", message, subject=str(folder))) from error


def is_map(module: Any) -> bool:
    """Whether a module is a linear map or an embedding, which LoRA is applied to."""
    import torch

    return isinstance(module, torch.nn.Linear) or is_embedding(module) or is_transposed(module)


def is_embedding(module: Any) -> bool:
    """Whether a module looks rows up, so that its weight stands as tokens by width."""
    import torch

    return isinstance(module, torch.nn.Embedding)


def is_transposed(module: Any) -> bool:
    """Whether a module applies a weight that stands as inputs by outputs: transformers' `Conv1D` of GPT-2."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def homes(running: Running, shapes: Mapping[str, Sequence[int]]) -> tuple[dict[str, Home], dict[str, str]]:
    """What every tensor on disk has become in memory.

    Args:
        running: the model.
        shapes: the tensors on disk.

    Returns:
        Name on disk → its home; and name on disk → why it has none.
    """
    found: dict[str, Home] = {}
    without: dict[str, str] = {}
    held = running.model.state_dict()
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    renamings, converters = transforms(running.model)
    for name in sorted(shapes, key=_natural):
        memory, pattern = renamed(running.model, name, renamings, converters, held)
        if memory not in held:
            without[name] = f"{type(running.model).__name__} has no place for it"
        elif pattern is not None:
            groups[memory, _owner(converters, pattern)].append(name)
        elif tuple(held[memory].shape) == tuple(shapes[name]):
            found[name] = Home((memory,))
        else:
            without[name] = f"it has another shape in memory, {list(held[memory].shape)}"
    for (memory, number), names in groups.items():
        made, why = _converted(running, memory, converters[int(number)], {n: shapes[n] for n in names}, renamings)
        found |= made
        without |= dict.fromkeys((name for name in names if name not in made), why)
    return found, without


def _head(cls: str, folder: Path) -> Head:
    for head in heads_named(cls):
        if head != "image-classification":
            return head
    message = f"{folder}: {cls} is no causal or masked language model, sequence classifier or bare text model"
    hint = "statistics of other kinds of models are not collected by this version"
    raise InputError(Fault("not-yet", message, subject=str(folder), hint=hint))


def _made_up(folder: Path, cls: str, info: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault for what the class needs and the folder does not give: it would be filled with random numbers."""
    hint = "name the class that was saved under `architectures` in config.json"
    for name, found, wanted in sorted(info["mismatched_keys"])[:20]:
        message = f"{folder}: `{name}` should have the shape {list(wanted)} for {cls}; it has {list(found)}"
        yield Fault("shape-mismatch", message, subject=name, hint=hint)
    wrong = {name for name, _, _ in info["mismatched_keys"]}
    if missing := sorted(set(info["missing_keys"]) - wrong):
        message = f"{folder}: {cls} needs tensors that are not there, and would make them up: {listed(missing)}"
        yield Fault("missing-tensor", message, subject=missing[0], hint=hint)


def transforms(model: Any) -> tuple[list[Any], list[Any]]:
    """Transformers' renamings and conversions for a model."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming

    all_of_them = get_model_conversion_mapping(model, None, None)
    return (
        [entry for entry in all_of_them if isinstance(entry, WeightRenaming)],
        [entry for entry in all_of_them if isinstance(entry, WeightConverter)],
    )


def _natural(name: str) -> Any:
    from transformers.core_model_loading import dot_natural_key

    return dot_natural_key(name)


def renamed(
    model: Any, name: str, renamings: list[Any], converters: list[Any], held: Mapping[str, Any]
) -> tuple[str, str | None]:
    """The name in memory, and the pattern of the conversion that makes it, as transformers finds both on loading."""
    from transformers.core_model_loading import rename_source_key

    prefix = model.base_model_prefix
    memory, pattern = rename_source_key(name, renamings, converters, prefix, held)
    if memory not in held and name in held:
        memory, pattern = rename_source_key(name, [], [], base_model_prefix=prefix, meta_state_dict=held)
    return memory, pattern


def _owner(converters: list[Any], pattern: str) -> str:
    """The number of the conversion that a pattern belongs to; of two, the last, as on loading."""
    return str(max(i for i, converter in enumerate(converters) if pattern in converter.source_patterns))


def _converted(
    running: Running, memory: str, converter: Any, shapes: Mapping[str, Sequence[int]], renamings: list[Any]
) -> tuple[dict[str, Home], str]:
    """The homes of tensors that are stacked, fused or split on loading, found by loading their positions instead.

    Returns:
        The homes, and what to say of those that are missing.
    """
    import copy

    import torch

    work, at = copy.deepcopy(converter), 0
    for name, shape in shapes.items():
        size = torch.Size(shape).numel()
        _, pattern = renamed(running.model, name, renamings, [converter], running.model.state_dict())
        work.add_tensor(memory, name, pattern, torch.arange(at, at + size).reshape(tuple(shape)))
        at += size
    try:
        made = work.convert(memory, model=running.model, config=running.config)
        targets = {name: value[0] if isinstance(value, list) else value for name, value in made.items()}
        places = torch.cat([value.reshape(-1) for value in targets.values()])
        order = torch.argsort(places)
        rearranged = places.dtype == torch.int64 and torch.equal(places[order], torch.arange(at))
    except Exception as error:  # a conversion that computes may refuse integers in any way
        return {}, f"the loader makes something else of it ({type(error).__name__})"
    if not rearranged:
        return {}, "the loader does more than rearrange its entries"
    parts = torch.split(order, [torch.Size(shape).numel() for shape in shapes.values()])
    return {name: Home(tuple(targets), _range(part)) for name, part in zip(shapes, parts, strict=True)}, ""


def _range(order: Tensor) -> Tensor | range:
    """Positions that follow one another as a range, which takes no memory: an expert's part of a stack is one."""
    start, size = int(order[0]) if len(order) else 0, len(order)
    is_range = size == 0 or (int(order[-1]) == start + size - 1 and bool((order.diff() == 1).all()))
    return range(start, start + size) if is_range else order.clone()
