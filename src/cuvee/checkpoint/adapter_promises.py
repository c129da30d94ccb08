"""What an adapter's configuration asks for, held against what its file holds: neither may differ in silence.

A configuration without the tensors leaves weights as the base has them; tensors without the configuration are applied
here, and PEFT passes over most of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

from cuvee.checkpoint.adapter_config import AdapterSettings, pattern_fault
from cuvee.errors import listed
from cuvee.families.names import is_vocabulary, spot_of

_DEPTH: Final = 64
"""Parts of a dotted name that are looked at: no model has as many, and a stranger's name may have millions."""


def unheld_by_file(settings: AdapterSettings, changes: Collection[Any], rows: Collection[str]) -> Iterator[str]:
    """Parts of changes that the configuration promises, of an adapter by itself.

    Args:
        settings: the configuration.
        changes: changes of low rank.
        rows: modules that have rows of tokens.
    """
    bare = [one.module for one in changes if one.bias is None and not one.is_embedding]
    if settings.value.get("lora_bias") and bare:
        yield f"its configuration gives B a bias (`lora_bias`), and {listed(bare)} has none: taken as 0"
    lacking = [key for key in settings.tokens if key and all(key not in _ends(module) for module in rows)]
    if rows and lacking:
        yield f"its configuration trains rows of {listed(lacking)} (`trainable_token_indices`), and the file has none"


def unasked_by_settings(settings: AdapterSettings, changes: Iterable[str], whole: Iterable[str]) -> Iterator[str]:
    """Modules and whole tensors in the file that the configuration does not ask for."""
    tied = settings.tied  # PEFT gives a tied head its change without a word of it in `target_modules`
    asked = (module for module in changes if not (tied and is_vocabulary(f"{module}.weight")))
    is_target = target_of(settings)
    if modules := [module for module in asked if is_target(module) is False]:
        yield f"it changes {listed(modules)}, which its configuration leaves out (`target_modules`): they are changed"
    biased = settings.value.get("bias", "none") != "none"
    saved = frozenset(settings.saved_modules)
    stray = [
        name
        for name in whole
        if not is_vocabulary(name) and not (biased and name.endswith(".bias")) and saved.isdisjoint(_parts(name))
    ]
    if stray:
        yield f"it holds {listed(stray)} whole, which its configuration does not name: they are put in place"


def unheld_of_base(
    settings: AdapterSettings,
    held: Collection[str],
    changed: Collection[str],
    matrices: Iterable[str],
    base: Collection[str],
) -> Iterator[str]:
    """Tensors of a base that the configuration asks for, and that stay as they are.

    Args:
        settings: the configuration.
        held: tensors of the base that the adapter changes or replaces.
        changed: those of them that it changes by low rank.
        matrices: tensors of the base that a change of low rank could change.
        base: all of its tensors.
    """
    stacks = {spot.prefix for name in changed if (spot := spot_of(name))}
    targets = [
        name
        for name in matrices
        if name not in held and (spot := spot_of(name)) and spot.prefix in stacks and name.endswith(".weight")
    ]
    is_target = target_of(settings)
    if alone := [name for name in targets if is_target(name.removesuffix(".weight"))]:
        yield f"its configuration asks for changes of {listed(alone)} (`target_modules`), and the file has none"
    saved = frozenset(settings.saved_modules)
    there = {one for name in base for one in saved.intersection(_parts(name))}
    there -= {one for name in held for one in saved.intersection(_parts(name))}
    if there:
        yield f"its configuration asks for {listed(sorted(there))} whole (`modules_to_save`), and the file has none"
    kind = settings.value.get("bias", "none")
    own = {f"{name.removesuffix('.weight')}.bias" for name in changed}
    biases = [name for name in base if name.endswith(".bias") and (kind == "all" or name in own)]
    if kind != "none" and biases and not any(name in held for name in biases):
        yield f"its configuration trains biases (`bias: {kind}`), and the file holds none of {listed(biases)}"


def target_of(settings: AdapterSettings) -> Callable[[str], bool | None]:
    """Whether PEFT would change a module, by its name; `None` where the configuration does not tell.

    Reference:
        PEFT 0.21.2, `peft.tuners.tuners_utils.check_target_module_exists`.
    """
    targets, leave = settings.value.get("target_modules"), settings.value.get("exclude_modules") or []
    if not (targets and targets != "all-linear" and _is_choice(targets) and _is_choice(leave)):
        return lambda _: None
    chosen, left, in_layers = _choice(targets), _choice(leave), _layers(settings.value.get("layers_to_transform"))
    # layers are asked about of names that end as they should, and not of patterns or of whole names
    exact = None if isinstance(targets, str) else frozenset(targets)
    return lambda module: (
        not left(module) and chosen(module) and (exact is None or module in exact or in_layers(module))
    )


def _is_choice(given: Any) -> bool:
    """Names, or one pattern that is matched in no time."""
    if isinstance(given, str):
        return pattern_fault(given) is None
    return isinstance(given, list) and all(isinstance(one, str) for one in given)


def _choice(given: str | list[str]) -> Callable[[str], bool]:
    """Whether a pattern matches a name, or a list holds an end of it; strangers write lists, which may be long."""
    if isinstance(given, str):
        return lambda module: re.fullmatch(given, module) is not None
    ends = frozenset(given)
    return lambda module: not ends.isdisjoint(_ends(module))


def _layers(given: Any) -> Callable[[str], bool]:
    """Whether `layers_to_transform` has the layer of a name; without that key every one counts."""
    if given is None or given == []:
        return lambda _: True
    layers = frozenset(one for one in (given if isinstance(given, list) else [given]) if isinstance(one, int))
    return lambda module: (spot := spot_of(module)) is not None and spot.index in layers


def _ends(name: str) -> list[str]:
    """A dotted name from each of its parts on."""
    parts = name.split(".")[-_DEPTH:]
    return [name, *(".".join(parts[i:]) for i in range(len(parts)))]


def _parts(name: str) -> list[str]:
    """Every run of a tensor's dotted name that may be a module's: the tensor's own word is left off."""
    parts = name.split(".")[:-1][:_DEPTH]
    return [".".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)]
