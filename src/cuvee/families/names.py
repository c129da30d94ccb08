"""What a tensor is, read off its name: which layer of which stack, embedding, head or norm.

No architecture is named here. A stack of layers is what the names show: the same prefix, then 0, 1, 2, …
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

Role = Literal["embedding", "head", "norm", "layer", "other"]

_HEAD: Final = re.compile(
    r"(^|\.)(lm_head|embed_out|output|score|classifier|qa_outputs|cls|pooler|head|heads|proj_out|fc|"
    r"(text|visual)_projection|logit_scale|vocab_(projector|transform|layer_norm))(\.|$)"
)
_EMBEDDING: Final = re.compile(r"(^|\.)(w[tp]e|shared)(\.|$)|embed|(^|\.)(cls|mask|class)_token", re.IGNORECASE)
_ENTRANCE: Final = re.compile(
    r"(^|\.)(conv\d*|stem|patchifier|pre_\w*norm|norm_pre|project_in|feature_(extractor|projection))(\.|$)"
)
_NOT_WORDS: Final = re.compile(
    r"(^|[._])(pos|type|segment|patch|wpe|time)|_token$|norm|projection|mapping", re.IGNORECASE
)
_NO_TABLE: Final = re.compile(r"patch|norm|proj|mapping|dense|linear|_token$", re.IGNORECASE)
_HEADS: Final = r"\w*lm_head(\.decoder)?|embed_out|vocab_projector|predictions\.decoder|pred_layer\.proj|proj_out"
_VOCABULARY_HEAD: Final = re.compile(rf"(^|\.)({_HEADS})\.weight$")
_VOCABULARY_BIAS: Final = re.compile(rf"(^|\.)(({_HEADS}|predictions)\.bias|final_logits_bias)$")
_NORM: Final = re.compile(r"(^|[._])(norm|ln|layer_?norm|rms_?norm)\w*(\.|$)", re.IGNORECASE)
_OPTIONAL: Final = re.compile(
    r"(rotary_emb\.inv_freq|rotary_pos_emb\.inv_freq|\.rope\.freqs|position_ids|token_type_ids|"
    r"num_batches_tracked|attn\.masked_bias|attention\.masked_bias)$"
)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a tensor sits in a stack: `prefix . index . rest`."""

    prefix: str
    index: int
    rest: str

    @property
    def name(self) -> str:
        """The tensor's name."""
        return ".".join(part for part in (self.prefix, str(self.index), self.rest) if part)

    def moved(self, index: int) -> str:
        """The same tensor's name in another layer."""
        return Spot(self.prefix, index, self.rest).name


def is_number(part: str) -> bool:
    """Whether a part of a name is a number as a module list writes it: no leading zeros, no more than nine digits."""
    return part.isascii() and part.isdigit() and len(part) <= 9 and (part == "0" or part[0] != "0")


@lru_cache(maxsize=1 << 16)
def spot_of(name: str) -> Spot | None:
    """The first number in a dotted name, with what stands before and behind it; `None` without a number.

    Example:
        >>> spot_of("model.layers.3.mlp.experts.0.w1.weight")
        Spot(prefix='model.layers', index=3, rest='mlp.experts.0.w1.weight')
    """
    parts = name.split(".")
    for i, part in enumerate(parts):
        if is_number(part):
            return Spot(".".join(parts[:i]), int(part), ".".join(parts[i + 1 :]))
    return None


def stack_sizes(names: Iterable[str]) -> Mapping[str, int]:
    """Every prefix that is followed by 0 … n−1 without a gap, and its n."""
    found: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if spot := spot_of(name):
            found[spot.prefix].add(spot.index)
    return {prefix: len(seen) for prefix, seen in found.items() if seen == set(range(len(seen)))}


def role_of(name: str) -> Role:
    """What a tensor outside the layers is for, as far as its name tells; `layer` inside them."""
    if spot_of(name):
        return "layer"
    if _HEAD.search(name):
        return "head"
    if _EMBEDDING.search(name):
        return "embedding"
    return "norm" if _NORM.search(name) else "other"


def is_before_layers(name: str) -> bool:
    """Whether a tensor outside the main stack works before it (embeddings) rather than after it (final norm, head)."""
    if _HEAD.search(name):
        return False
    return bool(_EMBEDDING.search(name) or _ENTRANCE.search(name))


def is_vocabulary(name: str) -> bool:
    """Whether a tensor has one row per token: word embeddings and language-model heads."""
    if _VOCABULARY_HEAD.search(name):
        return True
    return role_of(name) == "embedding" and not _NOT_WORDS.search(name)


def is_table(name: str) -> bool:
    """Whether a tensor outside the layers has rows that are looked up: of tokens, positions, kinds of text."""
    looks_up = _EMBEDDING.search(name) and not _NO_TABLE.search(name)
    return bool(looks_up) and role_of(name) == "embedding" and name.endswith(".weight")


def is_vocabulary_bias(name: str) -> bool:
    """Whether a tensor has one number per token: the biases of language-model heads."""
    return bool(_VOCABULARY_BIAS.search(name))


def is_optional(name: str) -> bool:
    """Whether a tensor is a derived buffer that some versions of a library write and others do not."""
    return bool(_OPTIONAL.search(name))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that counts: layer 2 before layer 10."""
    return tuple((0, int(p), "") if is_number(p) else (1, 0, p) for p in name.split("."))
