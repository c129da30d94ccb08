"""Whether dense models can become one mixture: the layout, its numbers, and everything that stands against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, Place, listed
from cuvee.families import is_optional, spot_of
from cuvee.layers.mixture_config import window_of
from cuvee.layers.mixtures import LAYOUTS, OUTSIDE, PARTS, MixtureLayout, layouts_of, named_layouts
from cuvee.mixtures.model import Mixture
from cuvee.types import DTYPES, ModelRef

STACK: Final = "model.layers"
"""What stands before the layer number in all of these models."""

HEAD: Final = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class Fit:
    """What the members come to.

    Attributes:
        layout: the layout.
        layers: how many.
        width: entries of a hidden state.
        intermediate: inner width of an expert.
        has_biases: whether attention has biases.
    """

    layout: MixtureLayout
    layers: int
    width: int
    intermediate: int
    has_biases: bool


def fit(mixture: Mixture, readers: Mapping[ModelRef, Reader]) -> Fit:
    """Find the layout and look at all members.

    Args:
        mixture: what is asked.
        readers: its members, opened.

    Raises:
        InputError: `no-layout`, `expert-mismatch`, `missing-tensor`, `bad-config`, `tokenizer-missing`: all there are.
    """
    base = readers[mixture.base]
    layout, faults = _layout(mixture, base)
    if layout is None:
        raise InputError(faults)
    faults += _base_faults(mixture, layout, base)
    told = {expert.model: path for path, expert in _named(mixture)}
    for ref, path in reversed(told.items()):
        if ref != mixture.base:
            faults += _expert_faults(mixture, layout, base, readers[ref], mixture.locate and mixture.locate(path))
    if len(mixture.experts) < layout.least:
        message = f"{layout.name} should have at least {layout.least} experts; found {len(mixture.experts)}"
        faults.append(Fault("bad-mixture", message, mixture.locate and mixture.locate(("experts",)), layout.name))
    if mixture.is_prompted:
        faults += _tokenizer_faults(mixture, base)
    if faults:
        raise InputError(dict.fromkeys(faults))
    intermediate, width = base.specs[f"{STACK}.0.mlp.gate_proj.weight"].shape
    biases = any(name.endswith("_proj.bias") for name in base.specs)
    return Fit(layout, layers_of(base), width, intermediate, biases)


def layers_of(reader: Reader) -> int:
    """How many layers a model has."""
    spots = (spot_of(name) for name in reader.specs)
    return len({spot.index for spot in spots if spot is not None and spot.prefix == STACK})


def _named(mixture: Mixture) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    for key, experts in (("experts", mixture.experts), ("shared_experts", mixture.shared)):
        yield from (((key, number, "source_model"), expert) for number, expert in enumerate(experts))


def _layout(mixture: Mixture, base: Reader) -> tuple[MixtureLayout | None, list[Fault]]:
    """The layout that is asked for, or the usual one of such members."""
    place = mixture.locate and mixture.locate(("architecture",) if mixture.architecture else ("base_model",))
    if base.config is None:
        message = f"{base.label}: the kind of a model stands in its config.json, and there is none"
        return None, [Fault("bad-config", message, place, base.label, "name a model folder")]
    kind = str(base.config.get("model_type"))
    asked = named_layouts(mixture.architecture) if mixture.architecture else layouts_of(kind)
    fitting = [layout for layout in asked if kind in layout.members]
    if not fitting:
        return None, [_no_layout(mixture, base.label, kind, place)]
    roomy = [layout for layout in fitting if layout.shared or not mixture.shared]
    if not roomy:
        message = f"`shared_experts` should be left out: {fitting[0].name} has no place for one"
        hint = f"layouts that have one: {', '.join(one.name for one in LAYOUTS.values() if one.shared)}"
        return None, [Fault("no-layout", message, mixture.locate and mixture.locate(("shared_experts",)), kind, hint)]
    return roomy[0], []


def _no_layout(mixture: Mixture, label: str, kind: str, place: Place | None) -> Fault:
    known = ", ".join(dict.fromkeys(one for layout in LAYOUTS.values() for one in layout.members))
    if not layouts_of(kind):
        message = f"{label}: mixtures can be made of {known}; found {kind}"
        return Fault("no-layout", message, place, label, "take members of one of these kinds")
    asked = named_layouts(mixture.architecture or "")
    members = ", ".join(dict.fromkeys(one for layout in asked for one in layout.members))
    message = f"`architecture` {mixture.architecture} is made of {members}; {label} is {kind}"
    hint = f"{kind} becomes {' or '.join(layout.name for layout in layouts_of(kind))}"
    if mixture.architecture == "deepseek":
        hint += "; the first DeepSeek-MoE has no class in transformers, so nothing could load it"
    return Fault("no-layout", message, place, label, hint)


def _base_faults(mixture: Mixture, layout: MixtureLayout, base: Reader) -> Iterator[Fault]:
    """What the base has that the layout has no place for, and what it lacks."""
    place = mixture.locate and mixture.locate(("base_model",))
    count, config = layers_of(base), base.config or {}
    if count != config.get("num_hidden_layers"):
        message = f"{base.label}: config.json counts {config.get('num_hidden_layers')} layers; the tensors have {count}"
        yield Fault("layer-count-mismatch", message, place, base.label)
    needed = layout.needs | {f"mlp.{part}.weight" for part in PARTS}
    lacking = [f"{STACK}.{i}.{rest}" for i in range(max(count, 1)) for rest in sorted(needed)]
    lacking = [name for name in [*lacking, "model.embed_tokens.weight", "model.norm.weight"] if name not in base.specs]
    if lacking:
        yield Fault("missing-tensor", f"{base.label}: {layout.name} needs {listed(lacking)}", place, lacking[0])
    strange = [name for name in base.specs if not _has_place(layout, name)]
    if strange:
        message = f"{base.label}: {layout.name} has no place for {listed(strange)}"
        yield Fault("no-layout", message, place, strange[0], _remedy(strange))
    biases = {spot.rest for name in base.specs if (spot := spot_of(name)) and spot.rest.endswith(".bias")}
    if not strange and biases and layout.name.endswith("_moe") and (missing := _unpaired(layout, biases)):
        message = f"{base.label}: attention should have all biases or none for {layout.name}; found none in {missing}"
        yield Fault("no-layout", message, place, base.label)
    windows = window_of(config, count)
    if layout.name in ("qwen3_moe", "mixtral") and len(set(windows)) > 1:
        message = f"{base.label}: {layout.name} has one kind of attention in all layers; found windows in some of them"
        yield Fault("no-layout", message, place, base.label)


def _has_place(layout: MixtureLayout, name: str) -> bool:
    spot = spot_of(name)
    if spot is None or spot.prefix != STACK:
        return name in OUTSIDE or is_optional(name)
    return spot.rest in layout.keeps or spot.rest in {f"mlp.{p}.weight" for p in PARTS} or is_optional(name)


def _remedy(names: Sequence[str]) -> str:
    if any(".experts." in name for name in names):
        return "members must be dense models: these layers have experts already"
    if any(name.endswith(".bias") for name in names):
        return "biases cannot be left out without changing the model; take another layout, or other members"
    return "members must be plain language models"


def _unpaired(layout: MixtureLayout, biases: set[str]) -> str:
    wanted = {rest for rest in layout.keeps if rest.endswith(".bias")}
    return ", ".join(sorted(wanted - biases))


def _expert_faults(
    mixture: Mixture, layout: MixtureLayout, base: Reader, expert: Reader, place: Place | None
) -> Iterator[Fault]:
    """How an expert differs from the base where it must not."""
    config, of_base = expert.config or {}, base.config or {}
    if (kind := config.get("model_type")) not in layout.members:
        message = f"{expert.label}: an expert of {layout.name} should be {' or '.join(layout.members)}; found {kind}"
        yield Fault("expert-mismatch", message, place, expert.label)
        return
    if layers_of(expert) != layers_of(base):
        message = f"{expert.label} has {layers_of(expert)} layers; {base.label} has {layers_of(base)}"
        yield Fault("expert-mismatch", message, place, expert.label, "experts must be as deep as the base")
        return
    acts = [one.get("hidden_act", "silu") for one in (config, of_base)]
    if acts[0] != acts[1]:
        message = f"{expert.label}: all experts have one activation, the base's {acts[1]!r}; found {acts[0]!r}"
        yield Fault("expert-mismatch", message, place, expert.label)
    strange = [name for name in expert.specs if ".mlp." in name and not _has_place(layout, name)]
    if strange:
        message = f"{expert.label}: {layout.name} has no place for {listed(strange)}"
        yield Fault("expert-mismatch", message, place, strange[0], _remedy(strange))
    yield from _shape_faults(mixture, base, expert, place)


def _shape_faults(mixture: Mixture, base: Reader, expert: Reader, place: Place | None) -> Iterator[Fault]:
    """Tensors that an expert lacks or has in another shape, a line for all of a kind."""
    compared = [name for name in base.specs if _is_compared(mixture, name)]
    lacking = [name for name in compared if name not in expert.specs]
    if lacking:
        yield Fault("expert-mismatch", f"{expert.label} lacks {listed(lacking)}", place, lacking[0])
    pairs = [(base.specs[name], expert.specs[name]) for name in compared if name in expert.specs]
    bad = [(one, other) for one, other in pairs if one.shape != other.shape]
    if bad:
        own, other = bad[0]
        told = f"{own.name} is {list(other.shape)} instead of {list(own.shape)}"
        more = f", and {len(bad) - 1} more differ" if len(bad) > 1 else ""
        rows = own.name == "model.embed_tokens.weight" and own.shape[1:] == other.shape[1:]
        hint = "give it the base's tokenizer first: `cuvee tokens transplant EXPERT BASE -o OUT`" if rows else None
        yield Fault("expert-mismatch", f"{expert.label}: {told}{more}", place, own.name, hint)
    if mixture.others == "average" and (lost := _kept(expert) - _kept(base)):
        message = (
            f"{expert.label} has {listed(sorted(lost))}, for which {base.label} has no place: a mean would lose it"
        )
        hint = "take a base that has it, such as this expert, or leave `others: average` out"
        yield Fault("expert-mismatch", message, place, min(lost), hint)
    if packed := [other.name for _, other in pairs if DTYPES[other.dtype].kind != "float"]:
        yield Fault("expert-mismatch", f"{expert.label}: weights should be floats; not so {listed(packed)}", place)


def _kept(reader: Reader) -> set[str]:
    """What a model answers with besides its MLPs: of tied ones a head that is stored says nothing."""
    tied = (reader.config or {}).get("tie_word_embeddings")
    silent = {HEAD} if tied else set()
    return {name for name in reader.specs if ".mlp." not in name and not is_optional(name)} - silent


def _is_compared(mixture: Mixture, name: str) -> bool:
    """Whether an expert must have a tensor of the base's in the same shape: MLPs, the vocabulary, what is averaged."""
    return ".mlp." in name or name == "model.embed_tokens.weight" or mixture.others == "average"


def _tokenizer_faults(mixture: Mixture, base: Reader) -> Iterator[Fault]:
    """Prompts need a tokenizer and a folder that transformers can load the base from."""
    from cuvee.families.inputs import VOCABULARIES

    place = mixture.locate and mixture.locate(("base_model",))
    if base.folder is None or not any(any(base.folder.glob(pattern)) for pattern in VOCABULARIES):
        message = f"{base.label}: `{mixture.gate_mode}` reads prompts, and the base model has no tokenizer"
        yield Fault("tokenizer-missing", message, place, base.label, "put its files there, or set `gate_mode: random`")
