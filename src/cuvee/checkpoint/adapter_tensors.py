"""The tensors of a PEFT folder sorted by what they do: factors of a change, whole tensors, rows of an embedding."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from cuvee.checkpoint.adapter_config import AdapterSettings
from cuvee.checkpoint.adapter_promises import unasked_by_settings, unheld_by_file
from cuvee.errors import Fault, listed
from cuvee.types import DTYPES, TensorSpec

PREFIX: Final = "base_model.model."
"""What PEFT writes before every name; what follows is the name in the model that transformers builds."""

# Ends of names, and the part of a change that a tensor of such a name is.
_PARTS: Final[Mapping[str, str]] = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "embedding_a",
    ".lora_embedding_B": "embedding_b",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_B.bias": "bias",
    ".token_adapter.trainable_tokens_delta": "rows",
}
_NAMED: Final = re.compile(r"lora_(A|B|embedding_A|embedding_B)\.\w+(\.weight)?$")
"""A factor with the name that an adapter has in a running model, where it may be one of several."""
_STRAY: Final = ("lora_", "token_adapter", "original_module", "modules_to_save", "base_model.")


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change of one module: ΔW = s · B · A, with DoRA's magnitudes where there are some.

    Attributes:
        module: the module's name in the model as transformers builds it.
        a: spec of A, `[r, in]`, under its name in the adapter; of an embedding, `in` is the number of tokens.
        b: spec of B, `[out, r]`.
        rank: r.
        alpha: α.
        scale: s: α/r, or α/√r for rsLoRA.
        magnitude: spec of DoRA's m, `[out]`: the length that every output's weights are given.
        transposed: whether the configuration says that the weight stands as `[in, out]` (GPT-2's `Conv1D`).
        is_embedding: whether it is an embedding, whose weight stands as `[in, out]` as well.
        bias: spec of a bias of B, `[out]`; s times it is added to the module's own.
    """

    module: str
    a: TensorSpec
    b: TensorSpec
    rank: int
    alpha: float
    scale: float
    magnitude: TensorSpec | None = None
    transposed: bool = False
    is_embedding: bool = False
    bias: TensorSpec | None = None

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All its tensors."""
        return tuple(spec for spec in (self.a, self.b, self.magnitude, self.bias) if spec is not None)


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Rows of an embedding that stand in place of the base's: `spec` is `[tokens, width]`, in the order of `tokens`."""

    module: str
    spec: TensorSpec
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sorted:
    """The tensors of an adapter by what they do.

    Attributes:
        changes: module → its change.
        whole: name of a tensor in the base → spec of the one that takes its place.
        rows: module → rows of it.
        notes: what was passed over.
        faults: what is wrong.
    """

    changes: dict[str, LowRank] = field(default_factory=dict)
    whole: dict[str, TensorSpec] = field(default_factory=dict)
    rows: dict[str, TokenRows] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def sort_tensors(label: str, specs: Mapping[str, TensorSpec], settings: AdapterSettings) -> Sorted:
    """Say of every tensor of an adapter what it does.

    Args:
        label: the adapter's name in messages.
        specs: its tensors by name.
        settings: its configuration.

    Returns:
        What was found, with a fault for every tensor whose meaning is not known, that does not go with the others, or
        that has another rank or shape than it should.
    """
    found = Sorted()
    parts: dict[str, dict[str, TensorSpec]] = {}
    for name, spec in specs.items():
        if fault := _name_fault(label, name, spec):
            found.faults.append(fault)
            continue
        module, part = _split(name.removeprefix(PREFIX))
        if part is not None:
            _put(label, spec, parts.setdefault(module, {}), part, found)
        elif (target := _target(module, specs)) is None:
            found.notes.append(f"passed over: {name}, a copy that PEFT leaves behind and does not read")
        else:
            _put(label, spec, found.whole, target, found)
    for module, given in parts.items():
        _add(label, module, given, settings, found)
    notes = (
        *unheld_by_file(settings, found.changes.values(), found.rows),
        *unasked_by_settings(settings, found.changes, found.whole),
    )
    found.notes.extend(notes)
    if any(settings.tokens.values()) and not any("rows" in given for given in parts.values()):
        found.faults.append(
            _bad(label, "`trainable_token_indices` names tokens, and the file has no rows of them", label)
        )
    if not specs:
        found.faults.append(_bad(label, "an adapter must hold tensors, this one holds none", label))
    return found


def _put(label: str, spec: TensorSpec, among: dict[str, TensorSpec], key: str, found: Sorted) -> None:
    """Put a tensor where it belongs; a second one there is a fault, as one of them would be lost."""
    if (first := among.setdefault(key, spec)) is not spec:
        found.faults.append(_bad(label, f"`{first.name}` and `{spec.name}` are two tensors for one place", spec.name))


def _split(name: str) -> tuple[str, str | None]:
    """A module and the part of its change that a name means; the name itself for any other."""
    for end, part in _PARTS.items():
        if name.endswith(end):
            return name.removesuffix(end), part
    return name, None


def _target(name: str, specs: Mapping[str, TensorSpec]) -> str | None:
    """The tensor of the base whose place a whole tensor takes; `None` for copies inside of PEFT's wrappers."""
    for wrapper in (".modules_to_save.", ".original_module."):
        if wrapper in name and PREFIX + name.replace(wrapper, ".") in specs:
            return None
    return name.replace(".base_layer.", ".")


def _name_fault(label: str, name: str, spec: TensorSpec) -> Fault | None:
    """A name that is none of PEFT's, or numbers that are no floats."""
    bare = name.removeprefix(PREFIX)
    module, part = _split(bare)
    inner = module.replace(".modules_to_save.", ".").replace(".original_module.", ".")
    stray = next((mark for mark in _STRAY if mark in inner), None) if part is None else None
    if bare == name or not module or stray is not None:
        message = f"{label}: `{name:.200}` is no tensor of a LoRA adapter whose meaning is known"
        hint = f"names begin with `{PREFIX}`, and changes end in {listed(_PARTS, most=3)}"
        if _NAMED.search(bare):
            hint = "a state dict has the adapter's own name in it; PEFT's `save_pretrained` writes the file without it"
        return Fault("unknown-adapter-key", message, subject=name[:200], hint=hint)
    if DTYPES[spec.dtype].kind != "float":
        return _bad(label, f"`{name:.200}` must hold floats, found {spec.dtype}", name)
    return None


def _add(label: str, module: str, given: Mapping[str, TensorSpec], settings: AdapterSettings, found: Sorted) -> None:
    """Put the parts of one module's change together."""
    rest = dict(given)
    if rows := rest.pop("rows", None):
        _add_rows(label, module, rows, settings, found)
    if not rest:
        return
    is_embedding = "embedding_a" in rest or "embedding_b" in rest
    a, b = (rest.get(f"embedding_{part}" if is_embedding else part) for part in ("a", "b"))
    if a is None or b is None or (is_embedding and ("a" in rest or "b" in rest)):
        have = listed((spec.name for spec in rest.values()), most=4)
        found.faults.append(_bad(label, f"`{module}` must have one A and one B, found {have}", module))
        return
    change = LowRank(
        module, a, b, settings.rank_of(module), settings.alpha_of(module), settings.scale_of(module),
        rest.get("magnitude"), settings.transposed and not is_embedding, is_embedding, rest.get("bias"),
    )  # fmt: skip
    wrong = [_bad(label, f"`{module}`: {what}", module) for what in _wrong(change, settings)]
    found.faults.extend(wrong)
    if not wrong:
        found.changes[module] = change


def _wrong(change: LowRank, settings: AdapterSettings) -> Iterator[str]:
    """What does not go together in a change."""
    a, b, rank = change.a.shape, change.b.shape, change.rank
    if len(a) != 2 or len(b) != 2:
        yield f"A and B must be matrices (convolutions are not read), found {_shape(a)} and {_shape(b)}"
        return
    if a[0] != rank or b[1] != rank:
        yield f"the configuration says rank {rank}; A is {_shape(a)} and B is {_shape(b)}"
    for spec, what in ((change.magnitude, "its magnitudes"), (change.bias, "the bias of B")):
        if spec is not None and spec.shape != (b[0],):
            yield f"{what} must be {b[0]} numbers, one per output, found {_shape(spec.shape)}"
    if bool(settings.value.get("use_dora")) != (change.magnitude is not None):
        there = "there are none" if change.magnitude is None else "there are some"
        yield f"`use_dora` must be true exactly where there are magnitudes, and {there}"
    if change.bias is not None and not settings.value.get("lora_bias"):
        yield "B has a bias, and `lora_bias` is not true"


def _add_rows(label: str, module: str, spec: TensorSpec, settings: AdapterSettings, found: Sorted) -> None:
    """Rows of an embedding, with the tokens that the configuration says they are."""
    by_module = settings.tokens
    near = [key for key in by_module if key and (module == key or module.endswith(f".{key}"))]
    tokens = by_module[max(near, key=len)] if near else by_module.get("", ())
    if len(spec.shape) != 2 or spec.shape[0] != len(tokens):
        what = f"`trainable_token_indices` names {len(tokens)} tokens for `{module}`, its rows are {_shape(spec.shape)}"
        found.faults.append(_bad(label, what, module))
    else:
        found.rows[module] = TokenRows(module, spec, tokens)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _bad(label: str, what: str, subject: str) -> Fault:
    hint = "the adapter is damaged or its configuration is another's: copy it again from where it comes from"
    return Fault("bad-adapter", f"{label}: {what}", subject=subject[:200], hint=hint)
