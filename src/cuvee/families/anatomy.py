"""The anatomy of one model: its stacks of layers, where its configuration counts them, what is tied to what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cuvee.families.names import is_vocabulary, role_of, stack_sizes
from cuvee.types import TensorSpec

LAYER_KEYS: Final = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "encoder_layers",
    "decoder_layers",
    "num_decoder_layers",
    "num_encoder_layers",
    "num_blocks",
    "depth",
)
"""Keys under which configurations count layers."""

Section = tuple[str, ...]
"""Path of a part of the configuration, e.g. `("text_config",)`; empty for the whole."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of layers that the configuration counts, or the only one there is.

    Attributes:
        prefix: what stands before the layer number in tensor names.
        count: number of layers in the checkpoint.
        section: part of the configuration that describes it.
        keys: the keys of that section that count its layers.
        extra: layers beyond the counted ones (multi-token prediction), at the end.
    """

    prefix: str
    count: int
    section: Section = ()
    keys: tuple[str, ...] = ()
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What is known of a model from names and configuration.

    Attributes:
        sizes: every numbered run of modules, by prefix.
        stacks: those of them that are the model's layers.
        heads: output heads → the input embedding of their shape, which they may be tied to.
        said_tied: whether the configuration says that they are; `None` where it says nothing.
    """

    sizes: Mapping[str, int]
    stacks: tuple[Stack, ...]
    heads: Mapping[str, str]
    said_tied: bool | None

    @property
    def tied(self) -> Mapping[str, str]:
        """Output head → embedding it shares its values with, where the configuration says so."""
        return self.heads if self.said_tied else {}

    def stack(self, prefix: str) -> Stack | None:
        """The stack with that prefix."""
        return next((s for s in self.stacks if s.prefix == prefix), None)


def study(specs: Mapping[str, TensorSpec], config: Mapping[str, Any] | None) -> Anatomy:
    """Read a model's anatomy off its tensor specs and configuration (`None` for a bare state dict)."""
    sizes = stack_sizes(specs)
    stacks = tuple(_with_own_keys(tuple(_counted(sizes, config or {}))))
    if not stacks and config is None:
        stacks = _longest(sizes)
    return Anatomy(sizes, stacks, stored_heads(specs), said_tied(config or {}))


def sections(config: Mapping[str, Any], path: Section = ()) -> Iterator[tuple[Section, Mapping[str, Any]]]:
    """The configuration and every configuration nested in it, outermost first."""
    yield path, config
    for key, value in config.items():
        if isinstance(value, Mapping) and len(path) < 4:
            yield from sections(value, (*path, key))


def _counted(sizes: Mapping[str, int], config: Mapping[str, Any]) -> Iterator[Stack]:
    """The runs whose length the configuration gives under one of `LAYER_KEYS`."""
    for prefix, count in sizes.items():
        fits = []
        for path, section in sections(config):
            extra = _extra_layers(section)
            keys = [k for k in LAYER_KEYS if _is_count(section.get(k)) and section[k] in (count, count - extra)]
            fits += [(affinity(prefix, path, k), path, k, count - section[k]) for k in keys]
        if fits and (best := max(fit[0] for fit in fits)) > 0:
            _, path, _, extra = next(fit for fit in fits if fit[0] == best)
            same = tuple(k for a, p, k, _ in fits if p == path and (a == best or _also_counts(prefix, k)))
            yield Stack(prefix, count, path, same, extra)


def _also_counts(prefix: str, key: str) -> bool:
    """Encoders are counted a second time under the plain key, which then wins on loading (BART, Whisper)."""
    return key == "num_hidden_layers" and bool(_SIDES["encoder"].search(prefix.lower()))


def _with_own_keys(stacks: Sequence[Stack]) -> Iterator[Stack]:
    """A decoder that only the encoder's key counts has a key of its own, which may go unsaid (T5)."""
    encoders = {(s.section, key) for s in stacks if not _SIDES["decoder"].search(s.prefix.lower()) for key in s.keys}
    for stack in stacks:
        shared = any((stack.section, key) in encoders for key in stack.keys)
        if not (shared and _SIDES["decoder"].search(stack.prefix.lower())):
            yield stack
            continue
        own = "num_decoder_layers" if "num_layers" in stack.keys else "decoder_layers"
        yield replace(stack, keys=(own,))


def _extra_layers(section: Mapping[str, Any]) -> int:
    """Layers behind the counted ones, for the prediction of further tokens."""
    extra = section.get("num_nextn_predict_layers")
    return extra if _is_count(extra) and isinstance(extra, int) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_SIDES: Final = {
    "vision": re.compile(r"vis|image|patch"),
    "audio": re.compile(r"audio|speech"),
    "encoder": re.compile(r"(?<!de)encoder"),
    "decoder": re.compile(r"decoder"),
    "text": re.compile(r"text|language|llm|lm_"),
}
_OTHER_SENSES: Final = re.compile(r"vis|image|audio|speech")
_NOT_LAYERS: Final = re.compile(r"conv|feature_extractor|expert|adapter_layers|deepstack|merger")


def affinity(prefix: str, section: Section, key: str) -> int:
    """How well a key of the configuration fits a stack's prefix; 0 means that it cannot be meant.

    A side (`vision`, `audio`, `decoder`, …) named by the configuration must be named by the prefix as well; one named
    only by the prefix is a weaker sign.
    """
    if _NOT_LAYERS.search(prefix.rsplit(".", 1)[-1]):
        return 0
    score = 2
    said = ".".join((*section, key)).lower()
    for side, pattern in _SIDES.items():
        config_says, prefix_says = bool(pattern.search(said)), bool(pattern.search(prefix.lower()))
        if config_says and prefix_says:
            score += 3 if side == _first_side(prefix.lower()) else 2
        elif side in ("vision", "audio") and (config_says or (prefix_says and section)):
            return 0
        elif config_says and not prefix_says and side != "text":
            score -= 1
    return max(score, 0 if section else 1)


def _first_side(prefix: str) -> str | None:
    """The side that a prefix names first: `decoder` of `decoder.bert.encoder.layer`."""
    found = [(match.start(), side) for side, pattern in _SIDES.items() if (match := pattern.search(prefix))]
    return min(found)[1] if found else None


def _longest(sizes: Mapping[str, int]) -> tuple[Stack, ...]:
    """Without a configuration: the one run longer than all others."""
    ranked = sorted(sizes.items(), key=lambda item: -item[1])
    alone = len(ranked) == 1 or (len(ranked) > 1 and ranked[0][1] > ranked[1][1])
    return (Stack(*ranked[0]),) if ranked and alone and ranked[0][1] > 1 else ()


def stored_heads(specs: Mapping[str, TensorSpec]) -> Mapping[str, str]:
    """Heads with a row for every token → the input embedding of the same shape."""
    embeddings = input_embeddings(specs)
    return {
        name: embeddings[spec.shape]
        for name, spec in specs.items()
        if role_of(name) == "head" and is_vocabulary(name) and spec.shape in embeddings
    }


def said_tied(config: Mapping[str, Any]) -> bool | None:
    """Whether the configuration, or its part that describes the text model, says that head and embedding are one."""
    said = [
        bool(section["tie_word_embeddings"])
        for path, section in sections(config)
        if section.get("tie_word_embeddings") is not None and not any(_OTHER_SENSES.search(part) for part in path)
    ]
    return said[0] if said else None


def input_embeddings(specs: Mapping[str, TensorSpec]) -> Mapping[tuple[int, ...], str]:
    """Two-dimensional embeddings by shape; of several with one shape, the first."""
    found: dict[tuple[int, ...], str] = {}
    for name, spec in specs.items():
        if role_of(name) == "embedding" and len(spec.shape) == 2 and is_vocabulary(name):
            found.setdefault(spec.shape, name)
    return found
