"""Where a mixture sends prompts: the share of every expert, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.errors import Fault, InputError

if TYPE_CHECKING:
    from torch import Tensor

NAMES: Final = ("gate", "router")
"""What routers are called in transformers."""
ROUTED: Final = "Mixtral, Qwen-MoE, DeepSeek, GLM, OLMoE, gpt-oss, Granite-MoE, Phi-MoE and what routes as they do"
"""The mixtures whose routers give logits, weights and numbers."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Where a group of prompts goes.

    Attributes:
        group: what the group is called.
        prompts, tokens: how many.
        first: for every layer, the share of tokens whose strongest expert is each of them, `[layers][experts]`.
        weight: the mean weight that each expert's output has; 0 where it is not chosen.
    """

    group: str
    prompts: int
    tokens: int
    first: tuple[tuple[float, ...], ...]
    weight: tuple[tuple[float, ...], ...]

    @property
    def overall(self) -> tuple[float, ...]:
        """`first`, the mean over the layers."""
        return tuple(sum(column) / len(self.first) for column in zip(*self.first, strict=True))


@dataclass(frozen=True, slots=True)
class Routing:
    """Where groups of prompts go in a mixture: names of its layers' routers, of its experts, and the shares."""

    layers: tuple[str, ...]
    experts: tuple[str, ...]
    groups: tuple[Shares, ...]


@dataclass
class _Count:
    """What one router did so far."""

    first: Tensor
    weight: Tensor
    tokens: int = 0


def route_prompts(
    folder: Path, groups: Mapping[str, Sequence[str]], told: Callable[[int, int], None] | None = None
) -> Routing:
    """Run prompts through a mixture, one at a time, and see what its routers choose.

    Args:
        folder: a mixture of experts that transformers can load, with its tokenizer.
        groups: prompts by what they should be called.
        told: called with prompts done and their number.

    Raises:
        InputError: it has no routers, no tokenizer; or prompts that have no tokens, too many, or some without an
            embedding: all there are.
        UsageError: transformers is not installed.
    """
    from cuvee.families.inputs import load_tokenizer
    from cuvee.families.loading import load_folder
    from cuvee.mixtures.hidden import beginning_of, tokens_of

    tokenizer = load_tokenizer(folder)
    if tokenizer is None:
        raise InputError(Fault("tokenizer-missing", f"{folder}: prompts are read, and it has no tokenizer"))
    model = load_folder(folder, dtype=None, device="cpu")
    routers = routers_of(model)
    if not routers:
        message = f"{folder}: a mixture has routers called `gate` or `router` beside its `experts`; found none"
        raise InputError(Fault("no-layout", message, subject=str(folder), hint=f"{ROUTED} can be looked at"))
    _check(model, tokenizer, groups)
    total, done = sum(map(len, groups.values())), 0
    found, passed = [], len(beginning_of(tokenizer))
    for name, prompts in groups.items():
        counts: dict[str, _Count] = {}
        with _counting(routers, counts, passed):
            for prompt in prompts:
                _run(model, tokens_of(tokenizer, prompt))
                done += 1
                if told is not None:
                    told(done, total)
        found.append(_shares(name, len(prompts), [counts[layer] for layer in routers]))
    count = len(found[0].first[0])
    return Routing(tuple(routers), _names(folder, count), tuple(found))


def _check(model: Any, tokenizer: Any, groups: Mapping[str, Sequence[str]]) -> None:
    """Look at every prompt before any is run."""
    from cuvee.mixtures.prompts import prompt_fault

    longest = getattr(model.config, "max_position_embeddings", 2048)
    rows = model.get_input_embeddings().weight.shape[0]
    told = [
        prompt_fault(f"{name}[{index}]", prompt, tokenizer, longest, rows)
        for name, prompts in groups.items()
        for index, prompt in enumerate(prompts)
    ]
    if faults := [fault for fault in told if fault is not None]:
        raise InputError(faults)


def routers_of(model: Any) -> dict[str, Any]:
    """The routers of a model by name, in order: modules of those `NAMES` with a weight, beside experts."""
    modules = dict(model.named_modules())
    return {
        name: module
        for name, module in modules.items()
        if name.rpartition(".")[2] in NAMES
        and hasattr(module, "weight")
        and f"{name.rpartition('.')[0]}.experts" in modules
    }


def _run(model: Any, tokens: Sequence[int]) -> None:
    import torch

    with torch.inference_mode():
        model(input_ids=torch.tensor([tokens]), use_cache=False)


@contextmanager
def _counting(routers: Mapping[str, Any], counts: dict[str, _Count], passed: int) -> Iterator[None]:
    hooks = [module.register_forward_hook(_counter(name, counts, passed)) for name, module in routers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _counter(name: str, counts: dict[str, _Count], passed: int) -> Any:
    """Note what a router gives: logits `[tokens, experts]`, weights and numbers of the chosen `[tokens, k]`.

    The first `passed` positions are not counted: what begins every text is sent to the same place in all of them.
    """
    import torch

    def count(_: Any, __: Any, given: Any) -> None:
        if not _is_triple(given):
            message = f"{name} should give logits, weights and numbers of the chosen experts; it gives something else"
            raise InputError(Fault("no-layout", message, subject=name, hint=f"{ROUTED} can be looked at"))
        logits, weights, chosen = (values[passed:] for values in given)
        experts = logits.shape[-1]
        strongest = chosen.gather(1, weights.argmax(1, keepdim=True)).flatten()
        spread = torch.zeros(len(chosen), experts, dtype=torch.float64).scatter_(1, chosen, weights.double())
        so_far = counts.setdefault(name, _Count(torch.zeros(experts), torch.zeros(experts, dtype=torch.float64)))
        so_far.first += torch.bincount(strongest, minlength=experts)
        so_far.weight += spread.sum(0)
        so_far.tokens += len(chosen)

    return count


def _is_triple(given: Any) -> bool:
    """Whether a router gives what `_counter` reads; those of some kinds of models, and of old classes, do not."""
    if not isinstance(given, tuple) or len(given) != 3:
        return False
    logits, weights, chosen = given
    is_flat = logits.ndim == chosen.ndim == 2 and len(logits) == len(chosen)
    return is_flat and weights.shape == chosen.shape and not chosen.is_floating_point()


def _shares(group: str, prompts: int, counts: Sequence[_Count]) -> Shares:
    first = tuple(tuple((count.first / count.tokens).tolist()) for count in counts)
    weight = tuple(tuple((count.weight / count.tokens).tolist()) for count in counts)
    return Shares(group, prompts, counts[0].tokens, first, weight)


def _names(folder: Path, count: int) -> tuple[str, ...]:
    """The experts' models, where the folder's record knows them, else their numbers."""
    from cuvee.execute.record_form import read_record

    try:
        record = read_record(folder)
    except (OSError, ValueError):
        record = None
    experts = record["recipe"].get("experts") if record is not None and "mixture" in record else None
    if not isinstance(experts, list) or len(experts) != count:
        return tuple(str(number) for number in range(count))
    return tuple(f"{number}: {_name(expert)}" for number, expert in enumerate(experts))


def _name(expert: Any) -> str:
    model = expert.get("source_model") if isinstance(expert, dict) else expert
    return Path(model).name if isinstance(model, str) else str(model)
