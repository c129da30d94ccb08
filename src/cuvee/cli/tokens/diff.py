"""`cuvee tokens diff`: the tokenizers of two models side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import printable
from cuvee.cli.options import COMMON, Common
from cuvee.cli.tables import Column, paragraph, table
from cuvee.errors import Fault, UsageError

if TYPE_CHECKING:
    from cuvee.tokens.comparing import Compared
    from cuvee.tokens.vocabulary import Vocabulary

_SHOWN: Final = 8
_LARGEST: Final = 64 * 2**20
_VERDICTS: Final = {
    "as-is": "Every token has the same number in both: the models can be merged as they are.",
    "tokenizer": "The models need `tokenizer:` in the recipe: `source: union`, `base`, or one of the models.",
    "transplant": "These tokenizers cannot be united. Put one onto the other model with `cuvee tokens transplant`, or "
    "take one of them with `tokenizer: {source: MODEL}`.",
}


def diff(a: str, b: str, /, *, text: Path | None = None, common: Common = COMMON) -> int:
    """Compare the tokenizers of two models.

    Told are the tokens that both have, with the same number or another, those
    that only one has, special tokens, rules that differ, rows of embeddings,
    and what a merge of the models needs.

    For example:

        cuvee tokens diff ./math ./code
        cuvee tokens diff ./math ./code --text sample.txt

    Args:
        a: A model folder or hub id.
        b: The model to compare it with.
        text: A file of text; its length in tokens is told.
        common: How to print.
    """
    from cuvee import api

    found = api.token_diff(a, b, text=None if text is None else _sample(text))
    return deliver(Answer("tokens diff", _data(a, b, found), _text(found)), common)


def _sample(path: Path) -> str:
    from cuvee.checkpoint.strict_json import read_capped

    try:
        return read_capped(path, _LARGEST).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "it cannot be read"
        message = f"--text must be a file of text in UTF-8; {path}: {reason}"
        raise UsageError(Fault("bad-argument", message, subject=str(path))) from None


def _data(a: str, b: str, found: Compared) -> dict[str, Any]:
    return {
        "a": {"model": a, **_side(found.a, found.rows[0])},
        "b": {"model": b, **_side(found.b, found.rows[1])},
        "shared": {"same_id": found.same, "other_id": len(found.moved)},
        "only_a": len(found.only_a),
        "only_b": len(found.only_b),
        "examples": {
            "other_id": list(found.moved[:_SHOWN]),
            "only_a": list(found.only_a[:_SHOWN]),
            "only_b": list(found.only_b[:_SHOWN]),
        },
        "differences": list(found.differences),
        "special_tokens": {role: list(pair) for role, pair in found.roles.items()},
        "same_chat_template": found.templates_equal,
        "text_tokens": None if found.lengths is None else list(found.lengths),
        "verdict": found.verdict,
    }


def _side(one: Vocabulary, rows: int | None) -> dict[str, Any]:
    kinds = {"kind": one.kind, "tokens": len(one.ids), "size": one.size, "added": len(one.added)}
    return {**kinds, "embedding_rows": rows, "has_chat_template": one.chat_template is not None}


def _text(found: Compared) -> Iterator[RenderableType]:
    columns = [Column(""), Column("a", numbers=True), Column("b", numbers=True)]
    yield table(columns, [*_rows(found), *_roles(found)])
    yield ""
    yield f"same token, same number   {found.same:,}"
    for name, tokens in (("another number", found.moved), ("only in a", found.only_a), ("only in b", found.only_b)):
        yield f"{name:<25} {len(tokens):,}{_examples(tokens)}"
    if found.a.chat_template is not None or found.b.chat_template is not None:
        yield f"chat templates            {'the same' if found.templates_equal else 'different'}"
    yield ""
    for difference in found.differences:
        yield paragraph(printable(difference))
    yield paragraph(_VERDICTS[found.verdict])


def _rows(found: Compared) -> Iterator[list[str]]:
    a, b = found.a, found.b
    yield ["kind", a.kind, b.kind]
    yield ["tokens", f"{len(a.ids):,}", f"{len(b.ids):,}"]
    yield ["added tokens", f"{len(a.added):,}", f"{len(b.added):,}"]
    yield ["rows of embeddings", *("–" if rows is None else f"{rows:,}" for rows in found.rows)]
    yield ["rows for padding", *(_padding(one, rows) for one, rows in zip((a, b), found.rows, strict=True))]
    if found.lengths is not None:
        yield ["tokens of the text", *(f"{length:,}" for length in found.lengths)]


def _padding(one: Vocabulary, rows: int | None) -> str:
    """Rows that no token has; fewer rows than tokens are told as such."""
    if rows is None:
        return "–"
    return f"{rows - one.size:,}" if rows >= one.size else f"{one.size - rows:,} too few"


def _roles(found: Compared) -> Iterator[list[str]]:
    for role, pair in found.roles.items():
        yield [f"{role} token", *("–" if token is None else printable(token) for token in pair)]


def _examples(tokens: Sequence[str]) -> str:
    shown = ", ".join(printable(repr(token[:24])) for token in tokens[:4])
    return f"  ({shown}{', …' if len(tokens) > 4 else ''})" if tokens else ""
