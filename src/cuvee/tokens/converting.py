"""Tokenizers without `tokenizer.json` (SentencePiece, `vocab.json` with `merges.txt`, `vocab.txt`), made into one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, InputError, UsageError

_CLASSES: Final = {"vocab.txt": "BertTokenizerFast", "merges.txt": "GPT2TokenizerFast"}
"""The class to read a file with, where the model does not say what it is."""


def converted(paths: Mapping[str, Path], config_text: str | None, label: str) -> dict[str, str]:
    """The files of the same tokenizer as transformers saves it; the code of a model is never run.

    Args:
        paths: the tokenizer's files, name → where it lies.
        config_text: the model's `config.json`.
        label: the model's name in messages.

    Returns:
        `tokenizer.json` and the files beside it: name → text.

    Raises:
        InputError: `bad-tokenizer`: transformers cannot read it either.
        UsageError: `missing-extra`.
    """
    try:
        import transformers
    except ImportError:
        message = f"{label}: a tokenizer without tokenizer.json is converted through transformers, which is not there"
        raise UsageError(Fault("missing-extra", message, subject=label, hint="pip install 'cuvee[hf]'")) from None
    with tempfile.TemporaryDirectory() as folder:
        start, end = Path(folder, "in"), Path(folder, "out")
        start.mkdir()
        for name, path in paths.items():
            shutil.copyfile(path, start / name)
        if config_text is not None:
            (start / "config.json").write_text(config_text, "utf-8")
        _save(transformers, start, end, label)
        return {path.name: path.read_text("utf-8") for path in end.iterdir() if path.suffix in (".json", ".jinja")}


def _save(transformers: Any, start: Path, end: Path, label: str) -> None:
    """Load and save; a library that meets a damaged file raises whatever it likes."""
    named = any((start / name).exists() for name in ("config.json", "tokenizer_config.json"))
    guess = next((cls for name, cls in _CLASSES.items() if (start / name).exists()), "AutoTokenizer")
    try:
        getattr(transformers, "AutoTokenizer" if named else guess).from_pretrained(start).save_pretrained(end)
        found = (end / "tokenizer.json").is_file()
    except Exception as error:
        raise _unread(label, f"{type(error).__name__}: {str(error)[:200]}") from None
    if not found:
        raise _unread(label, "it has no fast form")


def _unread(label: str, reason: str) -> InputError:
    message = f"{label}: the tokenizer must be one that transformers can convert; {reason}"
    hint = "save it once as tokenizer.json with the library that made it"
    return InputError(Fault("bad-tokenizer", message, subject=label, hint=hint))
