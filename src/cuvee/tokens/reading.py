"""Reading tokenizers: the files of a model's folder as a vocabulary, without a library where they are JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.side_files import find_side_files
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError
from cuvee.tokens.contents import added_tokens, clashes, kind_of, lost_merges, own_ids
from cuvee.tokens.files import BINARIES, LIMITS
from cuvee.tokens.special import further, roles, template_of
from cuvee.tokens.vocabulary import AddedToken, Vocabulary

T = TypeVar("T")

_TOLD: Final = 5  # faults of one kind in one file


def read_vocabulary(reader: Reader) -> Vocabulary:
    """The vocabulary of a model.

    Args:
        reader: the model; what lies in its sub-folders is not its tokenizer.

    Raises:
        InputError: `tokenizer-missing`, `bad-tokenizer`.
        UsageError: `missing-extra`: it must be converted, and transformers is not installed.
    """
    known = {file.name: file for file in reader.side_files if file.name in LIMITS or file.name in BINARIES}
    paths = {name: file.fetched() for name, file in known.items()}
    return _read(paths, reader.label, reader.config_text)


def read_folder(path: Path, label: str) -> Vocabulary:
    """The vocabulary of a folder, of a whole model or of a tokenizer alone.

    Raises:
        InputError: `tokenizer-missing`, `bad-tokenizer`, `unsafe-link`, `model-missing`.
        UsageError: `missing-extra`: it must be converted, and transformers is not installed.
    """
    if not path.is_dir():
        raise InputError(Fault("model-missing", f"{label}: there is no folder {path}", subject=label))
    found, faults = find_side_files(path)
    if faults:
        raise InputError(faults)
    paths = {file.name: file.path for file in found if file.name in LIMITS or file.name in BINARIES}
    config = path / "config.json"
    text = read_capped(config, LIMITS["tokenizer_config.json"]).decode("utf-8", "replace") if config.is_file() else None
    return _read(paths, label, text)


def _read(paths: Mapping[str, Path], label: str, config_text: str | None) -> Vocabulary:
    """What the files hold; a tokenizer without `tokenizer.json` is converted first."""
    texts = _texts({name: path for name, path in paths.items() if name in LIMITS}, label)
    binaries = tuple(name for name in paths if name in BINARIES)
    if "tokenizer.json" not in texts:
        from cuvee.tokens.converting import converted

        if not binaries and "vocab.txt" not in texts and not {"vocab.json", "merges.txt"} <= texts.keys():
            raise InputError(_missing(label))
        texts |= converted(paths, config_text, label)
    return vocabulary_of(texts, label, binaries)


def _missing(label: str) -> Fault:
    message = (
        f"{label}: a tokenizer is needed, and there is no tokenizer.json, tokenizer.model, vocab.json or vocab.txt"
    )
    hint = "put the files of the tokenizer that the model was trained with beside its weights"
    return Fault("tokenizer-missing", message, subject=label, hint=hint)


def _texts(paths: Mapping[str, Path], label: str) -> dict[str, str]:
    checked = _Checked(label)
    read = {name: checked.take(name, partial(_text, path, LIMITS[name])) for name, path in paths.items()}
    checked.refuse()
    return {name: text for name, text in read.items() if text is not None}


def _text(path: Path, limit: int) -> str:
    try:
        return read_capped(path, limit).decode("utf-8")
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None


@dataclass
class _Checked:
    """What is wrong with the files of one tokenizer, gathered so that all of it is told at once."""

    label: str
    faults: list[Fault] = field(default_factory=list)

    def take(self, name: str, make: Callable[[], T]) -> T | None:
        """What `make` gives, or `None` and a fault."""
        try:
            return make()
        except ValueError as error:
            self.add(name, str(error))
            return None

    def add(self, name: str, reason: str) -> None:
        """Something is wrong with a file."""
        hint = "fetch the tokenizer's files again, or save it again with the library that made it"
        self.faults.append(Fault("bad-tokenizer", f"{self.label}: {name}: {reason}", subject=name, hint=hint))

    def refuse(self) -> None:
        """Tell what was gathered."""
        if self.faults:
            raise InputError(self.faults)


def vocabulary_of(files: Mapping[str, str], label: str, binaries: tuple[str, ...] = ()) -> Vocabulary:
    """The vocabulary that the texts of a tokenizer's files hold.

    Args:
        files: name → text; `tokenizer.json` among them.
        label: the model's name in messages.
        binaries: names of files that are no text.

    Raises:
        InputError: `bad-tokenizer`, everything that is wrong with any of the files.
    """
    checked = _Checked(label)
    told = {name: checked.take(name, partial(_object, files[name])) for name in files if name in _OBJECTS}
    data = told.pop("tokenizer.json", None)
    kind = None if data is None else checked.take("tokenizer.json", lambda: kind_of(data))
    if data is None or kind is None:
        checked.refuse()
        raise InputError(_missing(label))
    ids = checked.take("tokenizer.json", lambda: own_ids(data, kind)) or {}
    added = checked.take("tokenizer.json", lambda: added_tokens(data)) or ()
    if not checked.faults:
        _check(checked, data, ids, added, kind == "bpe")
    checked.refuse()
    config, given = told.get("tokenizer_config.json") or {}, told.get("special_tokens_map.json") or {}
    return Vocabulary(
        label,
        kind,
        ids | {token.content: token.id for token in added},
        added,
        _present(roles(config, given, _of_model(data)), ids, added),
        data,
        files["tokenizer.json"],
        further(config, given),
        template_of(files, config, told.get("chat_template.json") or {}),
        dict(files),
        binaries,
    )


_OBJECTS: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.json")


def _object(text: str) -> dict[str, Any]:
    data, repeated = parse_json(text.encode())
    if repeated:
        raise ValueError(f"{repeated[0][:60]!r} stands twice in one object")
    if not isinstance(data, dict):
        raise ValueError("it must hold an object")
    return data


def _check(
    checked: _Checked, data: Mapping[str, Any], ids: Mapping[str, int], added: tuple[AddedToken, ...], bpe: bool
) -> None:
    """Numbers that clash, and merges that name tokens which are not there; the first few of each."""
    wrong = clashes(ids, added)
    merges = (checked.take("tokenizer.json", lambda: lost_merges(data, ids)) or []) if bpe else []
    for told in (wrong, merges):
        for reason in told[:_TOLD]:
            checked.add("tokenizer.json", reason)


def _of_model(data: Mapping[str, Any]) -> dict[str, Any]:
    """The unknown token as the model itself names it."""
    model = data["model"]
    number, vocab = model.get("unk_id"), model.get("vocab")
    if isinstance(number, int) and isinstance(vocab, list) and 0 <= number < len(vocab):
        return {"unk_token": vocab[number][0]}
    return {"unk_token": model.get("unk_token")}


def _present(found: Mapping[str, str], ids: Mapping[str, int], added: tuple[AddedToken, ...]) -> dict[str, str]:
    """The roles whose token there is: configurations name some that the tokenizer never had."""
    there = ids.keys() | {token.content for token in added}
    return {role: token for role, token in found.items() if token in there}
