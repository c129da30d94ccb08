"""Which files beside a model's weights belong to its tokenizer."""

from __future__ import annotations

from typing import Final

TEXTS: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)
"""Those that are read as text."""
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
    return name in (*TEXTS, *BINARIES, *_FURTHER) or name.endswith(".tiktoken") or in_folder
