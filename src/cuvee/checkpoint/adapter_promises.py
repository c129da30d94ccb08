"""What an adapter's configuration asks for, held against what its file holds: neither may differ in silence.

A configuration without the tensors leaves weights as the base has them; tensors without the configuration are applied
here, and PEFT passes over most of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from cuvee.checkpoint.adapter_config import AdapterSettings, pattern_fault
from cuvee.errors import listed
from cuvee.families.names import is_vocabulary, spot_of


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
    lacking = [key for key in settings.tokens if key and not any(_ends(module, key) for module in rows)]
    if rows and lacking:
        yield f"its configuration trains rows of {listed(lacking)} (`trainable_token_indices`), and the file has none"


def unasked_by_settings(settings: AdapterSettings, changes: Iterable[str], whole: Iterable[str]) -> Iterator[str]:
    """Modules and whole tensors in the file that the configuration does not ask for."""
    tied = settings.tied  # PEFT gives a tied head its change without a word of it in `target_modules`
    asked = (module for module in changes if not (tied and is_vocabulary(f"{module}.weight")))
    if modules := [module for module in asked if is_target(settings, module) is False]:
        yield f"it changes {listed(modules)}, which its configuration leaves out (`target_modules`): they are changed"
    biased = settings.value.get("bias", "none") != "none"
    saved = [f".{one}." for one in settings.saved_modules]
    stray = [
        name
        for name in whole
        if not is_vocabulary(name)
        and not (biased and name.endswith(".bias"))
        and not any(one in f".{name}." for one in saved)
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
    if alone := [name for name in targets if is_target(settings, name.removesuffix(".weight"))]:
        yield f"its configuration asks for changes of {listed(alone)} (`target_modules`), and the file has none"
    for one in settings.saved_modules:
        inside = [name for name in base if f".{one}." in f".{name}"]
        if inside and not any(name in held for name in inside):
            yield f"its configuration asks for `{one}` whole (`modules_to_save`), and the file does not hold it"
    kind = settings.value.get("bias", "none")
    own = {f"{name.removesuffix('.weight')}.bias" for name in changed}
    biases = [name for name in base if name.endswith(".bias") and (kind == "all" or name in own)]
    if kind != "none" and biases and not any(name in held for name in biases):
        yield f"its configuration trains biases (`bias: {kind}`), and the file holds none of {listed(biases)}"


def is_target(settings: AdapterSettings, module: str) -> bool | None:
    """Whether PEFT would change a module; `None` where the configuration does not tell.

    Reference:
        PEFT 0.21.2, `peft.tuners.tuners_utils.check_target_module_exists`.
    """
    targets, leave = settings.value.get("target_modules"), settings.value.get("exclude_modules") or ()
    if not (targets and targets != "all-linear" and _is_choice(targets) and (not leave or _is_choice(leave))):
        return None
    if leave and _chosen(leave, module):
        return False
    if isinstance(targets, str) or module in targets:
        return _chosen(targets, module)  # layers are asked about of ends of names only
    return _chosen(targets, module) and _is_in_layers(settings, module)


def _is_choice(given: Any) -> bool:
    """Names, or one pattern that is matched in no time."""
    if isinstance(given, str):
        return pattern_fault(given) is None
    return isinstance(given, list) and all(isinstance(one, str) for one in given)


def _chosen(given: str | list[str], module: str) -> bool:
    if isinstance(given, str):
        return re.fullmatch(given, module) is not None
    return any(_ends(module, one) for one in given)


def _ends(module: str, end: str) -> bool:
    return module == end or module.endswith(f".{end}")


def _is_in_layers(settings: AdapterSettings, module: str) -> bool:
    """Whether `layers_to_transform` has the module's layer; without one, and without that key, every layer counts."""
    layers = settings.value.get("layers_to_transform")
    spot = spot_of(module)
    if layers is None or layers == [] or spot is None:
        return layers is None or layers == []
    return spot.index in (layers if isinstance(layers, list) else [layers])
