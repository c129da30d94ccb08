"""A tokenizer transplanted onto another model: what is done with every row, and the faults, before any row is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError
from cuvee.tokens.files import is_of_tokenizer
from cuvee.tokens.matrices import TokenRows, find_rows
from cuvee.tokens.pairing import Pairing, pair, specials_of
from cuvee.tokens.pieces import Split
from cuvee.tokens.reading import read_vocabulary
from cuvee.tokens.renumbered import Patched, Path, patched, transplanted_numbers, vocabulary_sizes
from cuvee.tokens.vocabulary import Vocabulary
from cuvee.types import TensorSpec

Method = Literal["omp", "common-interpolation", "subword-mean", "mean", "zero"]
METHODS: Final[tuple[Method, ...]] = ("omp", "common-interpolation", "subword-mean", "mean", "zero")
"""Ways to find the rows of tokens that the model does not have."""
BY_ANCHORS: Final = ("omp", "common-interpolation")
"""Those that look at what the donor has in common with the model."""

GENERATION: Final = "generation_config.json"
_LIMIT: Final = 10_000_000
"""Bytes that it may have."""


@dataclass(frozen=True)
class Side:
    """A model and its tokenizer; `rows` are `None` of a tokenizer alone."""

    reader: Reader
    vocabulary: Vocabulary
    known: TokenRows | None

    @property
    def rows(self) -> TokenRows:
        """Where the rows of its tokens stand.

        Raises:
            LookupError: it is a tokenizer alone, of which none are looked at.
        """
        if self.known is None:
            raise LookupError(f"{self.reader.label} has no weights")
        return self.known

    @property
    def read(self) -> tuple[str, ...]:
        """The tensors whose rows are looked at, of a donor."""
        return () if self.known is None else tuple(filter(None, (self.known.embedding, self.known.head)))


@dataclass(frozen=True)
class Plan:
    """All that is decided of a transplant.

    Attributes:
        model: whose body stays.
        donor: whose tokenizer moves in.
        pairing: which tokens are which: the donor's numbers → the model's.
        method: how the rows of the others are found.
        k: most anchors of a row.
        rows: rows of the output.
        config: the model's configuration with the new numbers.
        texts: other files of the model that hold such numbers, changed.
        files: the files to carry over.
        split: the model's own tokenizer at work, where `subword-mean` needs it.
        notes: what the user should know.
    """

    model: Side
    donor: Side
    pairing: Pairing
    method: Method
    k: int
    rows: int
    config: Patched
    texts: Mapping[str, str]
    files: tuple[SideFile, ...]
    split: Split | None
    notes: tuple[str, ...]

    @property
    def anchors(self) -> tuple[tuple[int, int], ...]:
        """Ordinary tokens that both have: the donor's number and the model's."""
        vocabulary = self.donor.vocabulary
        special = {vocabulary.ids[token] for token in specials_of(vocabulary)}
        return tuple((new, old) for new, old in sorted(self.pairing.same.items()) if new not in special)

    def specs(self, specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
        """Tensors of the model with the rows of the output."""
        return {name: self._resized(spec) for name, spec in specs.items()}

    def _resized(self, spec: TensorSpec) -> TensorSpec:
        table = self.model.rows.tables.get(spec.name)
        return spec if table is None else table.resized(self.rows)


def plan_transplant(
    model: Reader,
    donor: Reader,
    *,
    method: Method = "omp",
    k: int = 64,
    multiple: int | None = None,
    split: Split | None = None,
) -> Plan:
    """Decide a transplant from headers, configurations and the files of both tokenizers.

    Args:
        model: whose body stays.
        donor: whose tokenizer moves in; of its weights only the rows of tokens are looked at, of any width.
        method: how the rows of tokens are found that the model does not have.
        k: most anchors of a row, 1 or more.
        multiple: the number of rows is made a multiple of it.
        split: what the model's own tokenizer makes of a text, for `subword-mean`.

    Raises:
        InputError: all that stands against it.
    """
    sides = [_side(model, None), _side(donor, method)]
    if faults := [fault for side in sides if isinstance(side, list) for fault in side]:
        raise InputError(faults)
    old, new = (side for side in sides if isinstance(side, Side))
    pairing = pair(new.vocabulary, old.vocabulary)
    faults = [*_too_small(old), *_too_small(new)]
    rows = -(-new.vocabulary.size // (multiple or 1)) * (multiple or 1)
    config, others = _configurations(old, new, pairing, rows)
    texts = {name: one.text for name, one in others.items()}
    faults += [fault for one in (config, *others.values()) for fault in one.faults]
    shared = len(Plan(old, new, pairing, method, k, rows, config, texts, (), split, ()).anchors)
    if not shared and method in BY_ANCHORS:
        faults.append(_nothing_shared(old, new, method))
    if faults:
        raise InputError(faults)
    notes = [note for one in (config, *others.values()) for note in one.notes]
    if not pairing.alone:
        notes.append("the model has every token of the donor: nothing is to be found")
    elif shared < k and method in BY_ANCHORS:
        notes.append(f"only {shared} tokens are shared: at most as many anchors make up a row, not {k}")
    elif method == "omp" and 4 * k > (width := min(shared, _width(new))):
        notes.append(
            f"{k} anchors are many for {shared} shared tokens and embeddings {_width(new)} wide: a sum of that many "
            f"follows noise; try --k {max(1, width // 8)}"
        )
    files = _files(model, donor, texts)
    return Plan(old, new, pairing, method, min(k, max(shared, 1)), rows, config, texts, files, split, tuple(notes))


def _side(reader: Reader, method: Method | None) -> Side | list[Fault]:
    """A model with its tokenizer and rows, or all that is missing; a donor, for some methods, is a tokenizer alone."""
    faults: list[Fault] = []
    vocabulary = None
    try:
        vocabulary = read_vocabulary(reader)
    except InputError as error:
        faults += error.faults
    rows = None if method is not None and not reader.specs else find_rows(reader)
    if rows is None and method in BY_ANCHORS:
        message = f"{reader.label} is a tokenizer alone; `{method}` looks at the rows that a model has for its tokens"
        others = " or ".join(f"`{one}`" for one in METHODS if one not in BY_ANCHORS)
        faults.append(Fault("not-a-checkpoint", message, subject=reader.label, hint=f"take {others}"))
    if isinstance(rows, list):
        faults += rows
    if vocabulary is None or isinstance(rows, list) or faults:
        return faults
    return Side(reader, vocabulary, rows)


def _width(side: Side) -> int:
    return side.reader.specs[side.rows.embedding].shape[1]


def _too_small(side: Side) -> Iterator[Fault]:
    if side.known is None:
        return
    size, count = side.vocabulary.size, side.rows.count
    if count < size:
        message = (
            f"{side.reader.label}: {side.rows.embedding} should have a row for each of the {size} tokens of its "
            f"tokenizer; it has {count}"
        )
        hint = "does the tokenizer belong to this model? transformers' `resize_token_embeddings` adds rows"
        yield Fault("embedding-too-small", message, subject=side.rows.embedding, hint=hint)


def _nothing_shared(model: Side, donor: Side, method: Method) -> Fault:
    message = (
        f"{model.reader.label} and {donor.reader.label} should share tokens, from which `{method}` finds the others; "
        "no token of one stands for the same bytes as one of the other"
    )
    return Fault("no-shared-tokens", message, subject=donor.reader.label, hint="subword-mean and mean need none")


def _configurations(old: Side, new: Side, pairing: Pairing, rows: int) -> tuple[Patched, dict[str, Patched]]:
    """`config.json`, and other files of the model with numbers of tokens, changed."""

    def renumbered(text: str, name: str, sizes: Mapping[Path, int]) -> Patched:
        found = transplanted_numbers(json.loads(text), name, new.vocabulary, old.vocabulary, pairing)
        return patched(text, found, sizes)

    config, text = old.reader.config, old.reader.config_text
    if config is None or text is None:
        main = Patched("")
    else:
        main = renumbered(text, "config.json", vocabulary_sizes(config, old.rows.count, rows))
    files = [file for file in old.reader.side_files if file.name == GENERATION]
    return main, {file.name: renumbered(_text(file, old), file.name, {}) for file in files}


def _text(file: SideFile, side: Side) -> str:
    """A JSON object's text.

    Raises:
        InputError: `bad-config`.
    """
    try:
        content = read_capped(file.fetched(), _LIMIT)
        if not isinstance(parse_json(content)[0], dict):
            raise ValueError("it should hold an object")
        return content.decode("utf-8")
    except (OSError, ValueError) as error:
        message = f"{side.reader.label}: {file.name} cannot be read: {error}"
        raise InputError(Fault("bad-config", message, subject=file.name)) from error


def _files(model: Reader, donor: Reader, texts: Mapping[str, str]) -> tuple[SideFile, ...]:
    """The donor's tokenizer, and every other file of the model."""
    own = [file for file in model.side_files if not is_of_tokenizer(file.name) and file.name not in texts]
    return (*own, *(file for file in donor.side_files if is_of_tokenizer(file.name)))


def names_of(vocabulary: Vocabulary) -> Sequence[str | None]:
    """Tokens by their numbers, `None` in gaps."""
    found: list[str | None] = [None] * vocabulary.size
    for token, number in vocabulary.ids.items():
        found[number] = token
    return found
