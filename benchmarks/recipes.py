"""A recipe for every merge method: the usual settings for those known here, its declaration's for one added later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuvee.methods import specs

TUNES = ("a", "b", "c")
WEIGHTS = (0.5, 0.3, 0.4)
PEER = frozenset(
    (
        *("linear", "slerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", "passthrough"),
        *("nuslerp", "multislerp", "karcher", "della", "della_linear", "breadcrumbs", "breadcrumbs_ties"),
        *("model_stock", "sce", "ram", "ramplus_tl", "nearswap", "arcee_fusion"),
    )
)
"""Methods that are compared with mergekit's of the same name."""


@dataclass(frozen=True)
class Setting:
    """What a method is given here instead of what its declaration says.

    Attributes:
        tunes: how many fine-tunes it merges.
        shared: parameters given once.
        each: parameters given for every model.
        base_is_a: whether the first fine-tune stands as the base, and not the base model.
    """

    tunes: int | None = None
    shared: Mapping[str, float] | None = None
    each: Mapping[str, Sequence[float]] | None = None
    base_is_a: bool = False


SETTINGS: Mapping[str, Setting] = {
    "linear": Setting(each={"weight": (0.5, 0.3, 0.2)}),
    "slerp": Setting(tunes=2, shared={"t": 0.35}, base_is_a=True),
    "passthrough": Setting(each={"scale": (0.9,)}),
    "nearswap": Setting(shared={"t": 0.001}),
    "sce": Setting(shared={"select_topk": 0.5}),
    "multi_krum": Setting(shared={"m": 2}),
}


def methods() -> tuple[str, ...]:
    """Every method that Cuvee knows."""
    return tuple(specs())


def tunes_of(method: str) -> int:
    """How many fine-tunes a method is given: three, or the most that it takes."""
    fewest, most = specs()[method].models
    most = most if most is not None else max(fewest, len(TUNES))
    return SETTINGS.get(method, Setting()).tunes or min(most, len(TUNES))


def has_base(method: str) -> bool:
    """Whether the base model is read too."""
    return specs()[method].base == "required" and not SETTINGS.get(method, Setting()).base_is_a


def models_read(method: str) -> int:
    """Fine-tunes and base; what was collected of them is not counted."""
    return tunes_of(method) + has_base(method)


def settings(method: str, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Parameters given once, and those of every one of `count` models."""
    said = SETTINGS.get(method, Setting())
    each: dict[str, Sequence[float]] = dict(said.each or {})
    names = {param.name for param in specs()[method].params if param.per_model and not param.ignored}
    usual = {"weight": WEIGHTS, "density": (0.5,)}
    each |= {name: values for name, values in usual.items() if name in names and name not in each}
    return dict(said.shared or {}), [{k: v[i % len(v)] for k, v in each.items()} for i in range(count)]


def recipe(method: str, folder: Path, *, tunes: Sequence[str] | None = None) -> dict[str, Any]:
    """The recipe of a method over the models of a folder.

    Args:
        method: its name.
        folder: holds `base`, `a`, `b`, `c` …
        tunes: names of the fine-tunes, if not those that the method is usually given.
    """
    names = list(tunes or TUNES[: tunes_of(method)])
    shared, each = settings(method, len(names))
    kind = specs()[method].collected
    listed: list[dict[str, Any]] = [{"model": str(folder / name)} for name in names]
    for entry, name, given in zip(listed, names, each, strict=True):
        entry |= {"parameters": given} if given else {}
        entry |= {"statistics": str(folder / f"{name}.{kind}.safetensors")} if kind else {}
    found: dict[str, Any] = {"merge_method": method, "models": listed, "dtype": "bfloat16"}
    if shared:
        found["parameters"] = shared
    if SETTINGS.get(method, Setting()).base_is_a:
        found["base_model"] = str(folder / names[0])
    elif has_base(method):
        found["base_model"] = str(folder / "base")
    return found
