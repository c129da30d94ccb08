"""Rewrite the per-layer facts of a configuration when layers are stacked, dropped, repeated or reordered.

Three kinds of facts are told apart: lists with one entry per layer (they follow the layers), lists of layer numbers
(they are renumbered), and rules that give a property by position — the first k layers, every n-th layer — which must
still hold in the new order, or be said in another way, or be refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cuvee.errors import Fault


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """One output layer's origin: model label, its section of the configuration, layer number, layers in that model."""

    model: str
    section: Mapping[str, Any]
    layer: int
    count: int


@dataclass(frozen=True, slots=True)
class Changes:
    """New values by key of the section, what could not be expressed, and what was left alone on purpose.

    `followed` are all keys that were worked out from the layers, those among them whose value is what it was.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    followed: frozenset[str] = field(default=frozenset(), compare=False)


_PER_LAYER: Final = re.compile(
    r"(^|_)(layers?|blocks?|attn|attention|rope|window|pattern|n?heads?|intermediate|ffn|mlp|sparse|sparsity|moe|indexer)(_|$)"
)
_NEVER_PER_LAYER: Final = re.compile(r"token|architectures|conv|feature_layers?|out_(features|indices)|mrope|section")
_INDEX_LIST: Final = re.compile(
    r"^(mlp_only_layers|moe_layers|cross_attention_layers|global_attention_layers|full_attn_idxs|fullatt_block_indexes)$"
    r"|_layer_(indices|ids|idxs?|indexes)$|(visual|attn|block)_ind(ex|ic)es$"
)
_FIRST_K: Final = {"first_k_dense_replace": (), "max_window_layers": ("layer_types",)}
"""Rules "the first k layers are different", and the lists that overrule each."""
_EVERY_N: Final = {
    "sliding_window_pattern": ("layer_types",),
    "global_attn_every_n_layers": ("layer_types",),
    "full_attention_interval": ("layer_types",),
    "no_rope_layer_interval": ("no_rope_layers",),
    "attn_layer_period": ("layer_types", "layers_block_type"),
    "expert_layer_period": (),
    "interleave_moe_layer_step": ("moe_layers",),
    "moe_layer_freq": (),
    "moe_every_n_layers": (),
}
"""Rules "every n-th layer is different", and the lists that overrule each."""


_UNEXPLAINED: Final = frozenset(
    {
        "num_kv_shared_layers",
        "moe_layer_interval",
        "moe_layer_start_index",
        "moe_layer_end_index",
        "num_dense_layers",
        "cross_attention_frequency",
        "scale_attn_by_inverse_layer_idx",
    }
)
"""Rules by position that are only noted: what they come to depends on the class."""


def restack(
    section: Mapping[str, Any], count: int, count_keys: Sequence[str], layers: Sequence[SourceLayer]
) -> Changes:
    """Say what changes in one section of the configuration.

    Args:
        section: the section of the model whose configuration is carried over.
        count: layers that model has.
        count_keys: keys of the section that give the number of layers.
        layers: where each output layer comes from, in order.

    Returns:
        Only what changes; the same order of the same layers changes nothing.
    """
    if _nothing_moved(section, count, layers):
        return Changes()
    values: dict[str, Any] = {key: len(layers) for key in count_keys}
    faults: list[Fault] = []
    notes: list[str] = []
    for key, (old, of_count) in _keys(section, count, layers).items():
        try:
            values.update(_rewritten(key, old, of_count, layers, notes, count_keys))
        except _UnsayableError as reason:
            faults.append(_unsayable(key, old, str(reason)))
    changed = {k: v for k, v in values.items() if section.get(k) != v}
    return Changes(changed, tuple(faults), tuple(notes), frozenset(values))


def _nothing_moved(section: Mapping[str, Any], count: int, layers: Sequence[SourceLayer]) -> bool:
    same_order = [source.layer for source in layers] == list(range(count))
    return same_order and all(source.section == section for source in layers)


def may_differ_by_position(section: Mapping[str, Any]) -> bool:
    """Whether a model class may treat its layers differently without a list in the configuration that says so."""
    if isinstance(section.get("layer_types"), list):
        return False
    return any(section.get(key) for key in ("sliding_window", "attention_chunk_size", *_EVERY_N))


def _keys(section: Mapping[str, Any], count: int, layers: Sequence[SourceLayer]) -> Mapping[str, tuple[Any, int]]:
    """Every key that any of the models has, with the first value found for it and the layers of that model."""
    found = {key: (value, count) for key, value in section.items()}
    for source in layers:
        for key in source.section.keys() - found.keys():
            found[key] = (source.section[key], source.count)
    return found


class _UnsayableError(Exception):
    """The configuration format has no way to say this."""


def _unsayable(key: str, old: Any, reason: str) -> Fault:
    message = f"`{key}` ({old!r}) cannot describe the stacked layers: {reason}"
    hint = "choose layer ranges that keep the pattern, or a model whose configuration lists `layer_types` explicitly"
    return Fault("layers-unrepresentable", message, subject=key, hint=hint)


def _rewritten(
    key: str, old: Any, count: int, layers: Sequence[SourceLayer], notes: list[str], count_keys: Sequence[str]
) -> Mapping[str, Any]:
    """New values for one key of the section; `notes` gains a line where a list is left alone.

    Args:
        key: the key.
        old: a value that one of the models has for it.
        count: layers of that model.
        layers: where each output layer comes from.
        notes: what the user should know.
        count_keys: keys that give the number of layers, which tell a decoder from an encoder.
    """
    if key in ("encoder_sparse_step", "decoder_sparse_step", "mlp_only_layers"):
        return _experts(key, old, layers, count_keys)
    if key == "attention_types" and isinstance(old, list):
        return {key: [[list(_attention_kinds(layers)), 1]]}
    if isinstance(old, list) and _INDEX_LIST.search(key):
        return {key: [o for o, source in enumerate(layers) if source.layer in (source.section.get(key) or ())]}
    if isinstance(old, list) and len(old) == count and not _NEVER_PER_LAYER.search(key):
        if _PER_LAYER.search(key):
            return {key: list(_per_layer(key, layers))}
        notes.append(f"config: `{key}` has as many entries as the model has layers; it was left as it is")
    if isinstance(old, str) and len(old) == count and "pattern" in key:
        return {key: "".join(_per_layer(key, layers))}
    if key in _FIRST_K and _is_number(old) and _applies(key, layers, _FIRST_K[key]):
        return {key: _first_k(key, layers)}
    if key in _EVERY_N and _is_number(old) and old > 0 and _applies(key, layers, _EVERY_N[key]):
        _check_period(key, old, layers)
    if key in _UNEXPLAINED and old:
        notes.append(f"config: `{key}` ({old!r}) speaks of layers by position; it was left as it is")
    return {}


def _applies(key: str, layers: Sequence[SourceLayer], lists: Sequence[str]) -> bool:
    """Whether a rule by position says anything: not where a list overrules it, nor where it is switched off."""
    if all(any(isinstance(s.section.get(name), list) for name in lists) for s in layers):
        return False
    return key != "max_window_layers" or any(s.section.get("use_sliding_window") for s in layers)


def _experts(key: str, old: Any, layers: Sequence[SourceLayer], count_keys: Sequence[str]) -> Mapping[str, Any]:
    """Which layers have experts.

    Models of two sides have a step for each, which the layers must keep. Decoders have a step and the numbers of the
    layers that have none all the same.
    """
    if any("encoder_sparse_step" in source.section for source in layers):
        side = "decoder" if any("decoder" in counted for counted in count_keys) else "encoder"
        if key == f"{side}_sparse_step" and _is_number(old) and old > 1:
            _check_period(key, old, layers)
        return {}
    dense = [o for o, source in enumerate(layers) if not _is_sparse(source)]
    stepwise = any(_number(s, "decoder_sparse_step", default=1) > 1 for s in layers)
    said = any("mlp_only_layers" in s.section for s in layers)
    step = {"decoder_sparse_step": 1} if stepwise else {}
    return {**step, "mlp_only_layers": dense} if stepwise or said else {}


def _per_layer(key: str, layers: Sequence[SourceLayer]) -> Iterator[Any]:
    for source in layers:
        values = source.section.get(key)
        if not isinstance(values, list | str) or len(values) != source.count:
            raise _UnsayableError(f"{source.model} has no such entry for each of its {source.count} layers")
        yield values[source.layer]


def _attention_kinds(layers: Sequence[SourceLayer]) -> Iterator[Any]:
    """GPT-Neo's run-length code: `[[["global", "local"], 2]]` stands for global, local, global, local."""
    for source in layers:
        kinds: list[Any] = []
        for pattern, times in source.section.get("attention_types") or ():
            kinds += list(pattern) * times
        if len(kinds) != source.count:
            raise _UnsayableError(f"{source.model} names {len(kinds)} kinds for its {source.count} layers")
        yield kinds[source.layer]


def _first_k(key: str, layers: Sequence[SourceLayer]) -> int:
    """How many of the first output layers come from the first k of their models."""
    different = [source.layer < _number(source, key) for source in layers]
    k = next((o for o, is_different in enumerate(different) if not is_different), len(different))
    if k == len(different):
        return max(k, min(_number(source, key) for source in layers))
    if any(different[k:]):
        at = different.index(True, k)
        raise _UnsayableError(f"output layer {at} is one of the special first layers of {layers[at].model}")
    return k


def _check_period(key: str, period: int, layers: Sequence[SourceLayer]) -> None:
    """Every layer must stand at the same step of the pattern as before; a period of 1 says the same of all."""
    offset = key.replace("_period", "_offset")
    for o, source in enumerate(layers):
        if offset != key and source.section.get(offset) != layers[0].section.get(offset):
            raise _UnsayableError(f"{source.model} says `{offset}` {source.section.get(offset)!r}")
        if _number(source, key) != period:
            raise _UnsayableError(f"{source.model} says {source.section.get(key)!r}")
        if (o - source.layer) % period:
            raise _UnsayableError(
                f"output layer {o} is layer {source.layer} of {source.model}, another step of the pattern"
            )


def _is_sparse(source: SourceLayer) -> bool:
    step = _number(source, "decoder_sparse_step", default=1)
    return (source.layer + 1) % max(step, 1) == 0 and source.layer not in (source.section.get("mlp_only_layers") or ())


def _number(source: SourceLayer, key: str, default: int | None = None) -> int:
    value = source.section.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _UnsayableError(f"{source.model} does not say `{key}`")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
