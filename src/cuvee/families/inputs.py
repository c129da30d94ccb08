"""What a model reads and answers: its tokenizer, how long an input may be, the names of its classes.

The library itself is imported in `pretrained`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, InputError
from cuvee.families.pretrained import library, quiet

VOCABULARIES: Final = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "tekken.json")
"""Files that the words of a tokenizer stand in; without any, transformers makes one up that knows no word."""


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint folder, `None` where there is none.

    Raises:
        UsageError: transformers is not installed.
        InputError: `no-tokenizer`: there is one, and it cannot be used.
    """
    if not any(any(folder.glob(pattern)) for pattern in VOCABULARIES):
        return None
    transformers = library()
    try:
        with quiet(transformers):
            return transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # whatever a tokenizer's class makes of files it was not written for
        message = f"{folder}: its tokenizer cannot be used: {' '.join(str(error).split())[:500]}"
        raise InputError(Fault("no-tokenizer", message, subject=str(folder))) from error


def token_ids(folder: Path, texts: Sequence[str]) -> list[list[int]]:
    """Texts as the tokenizer of a folder writes them, its special tokens included, in full length.

    Raises:
        UsageError: transformers is not installed.
        InputError: `no-tokenizer`: the folder holds none, or one that cannot be used.
    """
    tokenizer = load_tokenizer(folder)
    if tokenizer is None:
        message = f"{folder} should hold a tokenizer for rows with `text`; there is none ({', '.join(VOCABULARIES)})"
        hint = "copy the tokenizer's files there, or give token numbers as `input_ids`"
        raise InputError(Fault("no-tokenizer", message, subject=str(folder), hint=hint))
    # verbose: it would warn of texts longer than the model's, which are cut afterwards
    return [list(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]


def padding_token(config: Any) -> int | None:
    """The token that fills up rows; `None` where none is named, or −1, as old LLaMAs have it.

    Args:
        config: a configuration, an object of transformers'.
    """
    named = getattr(config, "pad_token_id", None)
    return named if isinstance(named, int) and named >= 0 else None


def longest_input(config: Any) -> int | None:
    """Most tokens of one input, where a model has learned positions.

    Args:
        config: its configuration, an object of transformers'.
    """
    places = getattr(config, "max_position_embeddings", None)
    # RoBERTa's positions begin behind the padding's
    start = config.pad_token_id + 1 if "roberta" in str(config.model_type) else 0
    return places - start if isinstance(places, int) and places > start else None


def classes_of(config: Any) -> Mapping[str, int]:
    """Number of every class by name; the numbers themselves where a configuration names none.

    Args:
        config: a classifier's configuration, an object of transformers'.
    """
    names = config.label2id or {str(number): number for number in range(config.num_labels)}
    return {str(name): int(number) for name, number in names.items()}
