"""`adapter_config.json` of a PEFT folder: what it asks for, and refusal of what is not plain LoRA."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.config import CONFIG_LIMIT
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError, nearest

ADAPTER_CONFIG: Final = "adapter_config.json"

ADAPTER_WEIGHTS: Final = ("adapter_model.safetensors", "adapter_model.bin")
"""Files that hold an adapter's tensors; the first that is there is read, as PEFT does."""

_READ: Final = frozenset(
    (
        *("alpha_pattern", "base_model_name_or_path", "bias", "ensure_weight_tying", "fan_in_fan_out"),
        *("init_lora_weights", "lora_alpha", "lora_bias", "modules_to_save", "peft_type", "r", "rank_pattern"),
        *("revision", "trainable_token_indices", "use_dora", "use_rslora"),
    )
)
# What is true of training only, or is the name of something that other keys switch on.
_PASSED_OVER: Final = frozenset(
    (
        *("auto_mapping", "corda_config", "eva_config", "exclude_modules", "inference_mode", "layers_pattern"),
        *("layers_to_transform", "loftq_config", "lora_dropout", "lora_ga_config", "megatron_core", "peft_version"),
        *("qalora_group_size", "runtime_config", "target_modules", "task_type"),
    )
)
_REFUSED: Final[Mapping[str, str]] = {
    "alora_invocation_tokens": "an activated LoRA works from a token on, and no weights do what it does",
    "arrow_config": "Arrow chooses adapters token by token, and no weights do what it does",
    "enable_lora": "it is a fused LoRA of an old version of PEFT",
    "kasa_config": "KaSA changes the base as well",
    "layer_replication": "it repeats layers of the base; repeat them with `slices:`, and name the result",
    "megatron_config": "its layers are split over devices",
    "monteclora_config": "a Monte Carlo LoRA has no fixed factors",
    "target_parameters": "its factors change parameters, not modules",
    "use_bdlora": "its factors are block-diagonal",
    "use_qalora": "its factors belong to a quantised base",
    "velora_config": "it is not known what it does to the weights",
}
_PLAIN_STARTS: Final = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base as it is."""

_PATTERN_LIMIT: Final = 500
_REPEATS: Final = re.compile(r"(?<!\\)(?:\*|\+|\{)")
_REPEATED_GROUP: Final = re.compile(r"(?<!\\)\)[*+{]")
_REPEATS_LIMIT: Final = 2
"""Repeats a pattern may have: matching takes a power of a name's length for each, and strangers write patterns."""


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What `adapter_config.json` says, as far as weights depend on it.

    Attributes:
        value: all of it, as it stands.
        rank: r.
        alpha: α.
        ranks: pattern of a module's name → r of the modules it matches.
        alphas: pattern → α.
        tokens: rows of embeddings that were trained alone: by module, or under "" of the one that has some.
    """

    value: Mapping[str, Any]
    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    tokens: Mapping[str, tuple[int, ...]]

    @property
    def rank_stabilised(self) -> bool:
        """Whether the scale is α/√r."""
        return bool(self.value.get("use_rslora"))

    @property
    def transposed(self) -> bool:
        """Whether the weights that it changes stand as inputs by outputs."""
        return bool(self.value.get("fan_in_fan_out"))

    @property
    def tied(self) -> bool:
        """Whether the input embedding and the output head were trained as one."""
        return bool(self.value.get("ensure_weight_tying"))

    @property
    def saved_modules(self) -> tuple[str, ...]:
        """`modules_to_save`: names, or ends of names, of modules that are there whole."""
        return tuple(self.value.get("modules_to_save") or ())

    @property
    def base(self) -> str | None:
        """The model that it was trained on, as PEFT wrote it down."""
        return self.value.get("base_model_name_or_path") or None

    @property
    def revision(self) -> str | None:
        """The revision of that model."""
        return self.value.get("revision") or None

    def rank_of(self, module: str) -> int:
        """The rank of a module's change."""
        return self.ranks.get(pattern_of(self.ranks, module) or "", self.rank)

    def alpha_of(self, module: str) -> float:
        """The α of a module's change."""
        return self.alphas.get(pattern_of(self.alphas, module) or "", self.alpha)

    def scale_of(self, module: str) -> float:
        """S = α/r, or α/√r: what B·A is multiplied by."""
        rank = self.rank_of(module)
        return self.alpha_of(module) / (math.sqrt(rank) if self.rank_stabilised else rank)


def pattern_of(patterns: Mapping[str, Any], module: str) -> str | None:
    """The first pattern that matches a module's name, or all of the name from one of its dots on.

    Example:
        >>> pattern_of({"v_proj": 2, r"layers.0.q_.*": 8}, "model.layers.0.q_proj")
        'layers.0.q_.*'
    """
    return next((one for one in patterns if re.match(rf"(.*\.)?({one})$", module)), None)


def read_adapter_config(path: Path) -> AdapterSettings:
    """Read an `adapter_config.json`.

    Raises:
        InputError: `bad-adapter`: too large, not JSON, not LoRA, of a kind that is not read, or with values that cannot
            be; `unknown-adapter-key`: a key that asks for something not known. All at once.
    """
    try:
        raw = read_capped(path, CONFIG_LIMIT)
        value, repeated = parse_json(raw)
    except ValueError as error:
        raise InputError(_bad(path, f"must be JSON: {error}")) from None
    if not isinstance(value, dict):
        raise InputError(_bad(path, f"must be a JSON object, found `{type(value).__name__}`"))
    if repeated:
        raise InputError([_bad(path, f"`{key:.200}` stands twice", key) for key in repeated[:20]])
    return read_settings(value, path)


def read_settings(value: Mapping[str, Any], path: Path) -> AdapterSettings:
    """What a parsed `adapter_config.json` says; see `read_adapter_config`."""
    if value.get("peft_type") != "LORA":
        found = _shown(value.get("peft_type"))
        message = f"{path}: an adapter that is read is LoRA (`peft_type: LORA`), found {found}"
        hint = "merge it into its base with the library that made it, and name the result"
        raise InputError(Fault("bad-adapter", message, subject="peft_type", hint=hint))
    faults = [*_kind_faults(value, path), *_value_faults(value, path)]
    if faults:
        raise InputError(faults)
    return AdapterSettings(
        value,
        value.get("r", 8),
        float(value.get("lora_alpha", 8)),
        value.get("rank_pattern") or {},
        value.get("alpha_pattern") or {},
        _tokens(value.get("trainable_token_indices")),
    )


def _kind_faults(value: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Keys that ask for what is not read."""
    for key, asked in value.items():
        if key in _READ or key in _PASSED_OVER or not asked:
            continue
        if key in _REFUSED:
            message = f"{path}: `{key}` is not read: {_REFUSED[key]}"
            hint = "if PEFT can merge it into its base (`merge_and_unload`), do so and name the result"
            yield Fault("bad-adapter", message, subject=key, hint=hint)
        else:
            message = f"{path}: `{key:.200}` is no key of a LoRA configuration that is known; it is {_shown(asked)}"
            hint = nearest(key, (*_READ, *_PASSED_OVER)) if len(key) < 100 else "see docs/adapters.md"
            yield Fault("unknown-adapter-key", message, subject=key[:200], hint=hint)
    start = value.get("init_lora_weights")
    if not any(start is plain or start == plain for plain in _PLAIN_STARTS):
        message = f"{path}: `init_lora_weights` is {_shown(start)}: its factors belong to a base that was changed when "
        message += "training began"
        hint = "save it for the plain base: `save_pretrained(…, path_initial_model_for_weight_conversion=…)`"
        yield Fault("bad-adapter", message, subject="init_lora_weights", hint=hint)


def _value_faults(value: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Values that cannot be."""
    checks = {
        "r": (_is_rank(value.get("r", 8)), "a whole number from 1 to 65536"),
        "lora_alpha": (_is_number(value.get("lora_alpha", 8)), "a finite number"),
        "bias": (value.get("bias", "none") in ("none", "all", "lora_only"), "`none`, `all` or `lora_only`"),
        "modules_to_save": (_is_texts(value.get("modules_to_save") or []), "a list of names"),
        "base_model_name_or_path": (_is_text(value.get("base_model_name_or_path")), "a text"),
        "revision": (_is_text(value.get("revision")), "a text"),
        "trainable_token_indices": (_is_tokens(value.get("trainable_token_indices")), "token ids, or lists of them"),
    }
    for key in ("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias", "ensure_weight_tying"):
        checks[key] = (isinstance(value.get(key) or False, bool), "true or false")
    for key, (good, wanted) in checks.items():
        if not good:
            yield _bad(path, f"`{key}` must be {wanted}, found {_shown(value.get(key))}", key)
    yield from _pattern_faults("rank_pattern", value, path, _is_rank, "ranks")
    yield from _pattern_faults("alpha_pattern", value, path, _is_number, "numbers")


def _pattern_faults(key: str, value: Mapping[str, Any], path: Path, good: Any, wanted: str) -> Iterator[Fault]:
    patterns = value.get(key) or {}
    if not isinstance(patterns, dict) or not all(good(one) for one in patterns.values()):
        yield _bad(path, f"`{key}` must map names of modules to {wanted}, found {_shown(patterns)}", key)
        return
    for pattern in patterns:
        if wrong := pattern_fault(pattern):
            yield _bad(path, f"`{key}`: {_shown(pattern)} {wrong}", key)


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a pattern, or could take for ever to match; `None` for a good one."""
    if len(pattern) > _PATTERN_LIMIT:
        return f"is longer than {_PATTERN_LIMIT} letters"
    if len(_REPEATS.findall(pattern)) > _REPEATS_LIMIT or _REPEATED_GROUP.search(pattern):
        return f"may repeat something at most {_REPEATS_LIMIT} times, and no group: matching it could take for ever"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    return None


def _tokens(given: Any) -> Mapping[str, tuple[int, ...]]:
    if isinstance(given, Mapping):
        return {module: tuple(ids) for module, ids in given.items()}
    return {"": tuple(given)} if given else {}


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1 << 16


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e30


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_tokens(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_tokens(one) and isinstance(one, Sequence) for one in value.values())
    if value is None:
        return True
    good = isinstance(value, list) and all(type(one) is int and 0 <= one < 1 << 31 for one in value)
    return good and _are_unique(value)


def _are_unique(value: Any) -> bool:
    return len(set(value)) == len(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _bad(path: Path, what: str, subject: str | None = None) -> Fault:
    hint = "copy the adapter again from where it comes from"
    return Fault("bad-adapter", f"{path}: {what}", subject=subject or str(path), hint=hint)
