"""Compare the tokenizers of two models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvee.api.arguments import as_model, refuse, unfit
from cuvee.api.files import opened

if TYPE_CHECKING:
    from cuvee.tokens.comparing import Compared
    from cuvee.tokens.vocabulary import Vocabulary

_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def token_diff(a: str | os.PathLike[str], b: str | os.PathLike[str], *, text: str | None = None) -> Compared:
    """Say what the tokenizers of two models share, and what a merge of the models needs.

    Args:
        a: a model: a folder, or a hub id.
        b: the other.
        text: a sample, of which the lengths in tokens are told.

    Raises:
        UsageError: `text` is none; `missing-extra`.
        InputError: `tokenizer-missing`, `bad-tokenizer`, `model-missing` …
    """
    from cuvee.tokens.comparing import compare_vocabularies
    from cuvee.tokens.counting import count_tokens

    refuse([] if text is None or isinstance(text, str) else [unfit("text", "a text", text)])
    sides = [_side(model) for model in (a, b)]
    one, other = (vocabulary for vocabulary, _ in sides)
    lengths = None if text is None else (count_tokens(one, text), count_tokens(other, text))
    return compare_vocabularies(one, other, (sides[0][1], sides[1][1]), lengths)


def _side(model: str | os.PathLike[str]) -> tuple[Vocabulary, int | None]:
    """A model's vocabulary and the rows of its embeddings; a folder may hold a tokenizer alone."""
    from cuvee.tokens.comparing import embedding_rows
    from cuvee.tokens.reading import read_folder, read_vocabulary

    ref = as_model(model)
    folder = Path(ref.path)
    if folder.is_dir() and not any(path.suffix in _WEIGHTS for path in folder.iterdir()):
        return read_folder(folder, ref.path), None
    with opened([ref], None) as readers:
        return read_vocabulary(readers[0]), embedding_rows(readers[0])
