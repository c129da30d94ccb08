"""Which files beside a model's weights belong to its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LIMITS: Final[Mapping[str, int]] = {
    "tokenizer.json": 256 * 2**20,
    "tokenizer_config.json": 32 * 2**20,
    "special_tokens_map.json": 32 * 2**20,
    "added_tokens.json": 32 * 2**20,
    "chat_template.json": 8 * 2**20,
    "chat_template.jinja": 8 * 2**20,
    "vocab.json": 64 * 2**20,
    "merges.txt": 64 * 2**20,
    "vocab.txt": 64 * 2**20,
}
"""The files of tokenizers that are text, and how many bytes each may have; the largest real one has 35 million."""
BINARIES: Final = (
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
)
"""Models of SentencePiece."""
_FURTHER: Final = ("normalizer.json", "tekken.json", "source.spm", "target.spm")
"""Those that only the tokenizer's own class reads."""


def is_of_tokenizer(name: str) -> bool:
    """Whether a file of a model's folder belongs to its tokenizer.

    Args:
        name: its path there.
    """
    in_folder = name.startswith("additional_chat_templates/")
    return name in (*LIMITS, *BINARIES, *_FURTHER) or name.endswith(".tiktoken") or in_folder
