"""The parts of a model: all of it, or the modules a recipe names, found in the tensor names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cuvee.errors import Fault
from cuvee.families import natural_key
from cuvee.planning.slots import Ground, Part, unknown_module

REST = ("rest", "default", "text_decoder")
"""Module names that stand for every tensor no other module claims (`text_decoder` where no prefix has that name)."""
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "vision_tower": ("visual", "vision_model", "vision_encoder"),
    "text_decoder": ("language_model", "text_model"),
    "multi_modal_projector": ("connector", "mm_projector"),
}


def parts_of(ground: Ground) -> tuple[list[Part], list[Fault]]:
    """The recipe's parts, and faults for modules that are not there and tensors that no module claims."""
    recipe = ground.recipe
    if not recipe.modules:
        return [Part(lambda _: True, recipe.models, recipe.slices, (recipe.parameters,))], []
    names = {name for model in ground.opened for name in model.reader.specs}
    prefixes = sorted(_prefixes(names), key=natural_key)
    homes: dict[str, str | None] = {}
    faults: list[Fault] = []
    for module in recipe.modules:
        home = _home(module, prefixes)
        if home is None and module not in REST:
            faults.append(unknown_module(ground, module, [*_tops(prefixes), "rest"], ("modules", module)))
        homes[module] = home
    faults += _doubled_faults(ground, homes)
    owner = {name: _owner(name, homes) for name in names}
    faults += _unclaimed_faults(ground, [n for n, o in owner.items() if o is None])
    return [
        Part(
            lambda name, module=key: _owner(name, homes) == module,  # type: ignore[misc]
            module.models,
            module.slices,
            (module.parameters, recipe.parameters),
            ("modules", key),
        )
        for key, module in recipe.modules.items()
    ], faults


def _prefixes(names: Iterable[str]) -> set[str]:
    """Every dotted prefix of the names, up to the first number."""
    found: set[str] = set()
    for name in names:
        parts = name.split(".")
        numbered = next((i for i, p in enumerate(parts) if p.isdigit()), len(parts) - 1)
        found |= {".".join(parts[:i]) for i in range(1, numbered + 1)}
    return found


def _tops(prefixes: Iterable[str]) -> list[str]:
    """Prefixes short enough to be worth naming in a hint."""
    return [p for p in prefixes if p.count(".") <= 1]


def _home(module: str, prefixes: list[str]) -> str | None:
    """The prefix a module name means: itself, the one prefix that ends with it, or a usual synonym."""
    for word in (module, *_ALIASES.get(module, ())):
        if word in prefixes:
            return word
        ending = [p for p in prefixes if p.endswith(f".{word}")]
        shortest = [p for p in ending if p.count(".") == min(q.count(".") for q in ending)]
        if len(shortest) == 1:
            return shortest[0]
    return None


def _owner(name: str, homes: Mapping[str, str | None]) -> str | None:
    """The module with the longest prefix that a tensor's name starts with, else the one that takes the rest."""
    claiming = {m: h for m, h in homes.items() if h is not None and (name == h or name.startswith(f"{h}."))}
    if claiming:
        return max(claiming, key=lambda m: len(claiming[m] or ""))
    return next((m for m, h in homes.items() if h is None and m in REST), None)


def _doubled_faults(ground: Ground, homes: Mapping[str, str | None]) -> list[Fault]:
    """Two module names that mean the same part."""
    meant: dict[str | None, str] = {}
    faults = []
    for module, home in homes.items():
        if home is None and module not in REST:
            continue
        if home in meant:
            message = f"modules `{meant[home]}` and `{module}` mean the same part of the models"
            faults.append(ground.fault("unknown-module", message, ("modules", module), "keep one of them"))
        meant.setdefault(home, module)
    return faults


def _unclaimed_faults(ground: Ground, names: list[str]) -> list[Fault]:
    if not names:
        return []
    some = ", ".join(sorted(names, key=natural_key)[:5])
    message = f"{len(names)} tensors belong to no module of the recipe: {some}{' …' if len(names) > 5 else ''}"
    hint = "add a module `rest:` with the models to take them from"
    return [ground.fault("unknown-module", message, ("modules",), hint)]
