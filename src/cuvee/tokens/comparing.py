"""Two vocabularies side by side: what they share, what differs, and whether their models can be merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cuvee.checkpoint.protocol import Reader
from cuvee.families import is_vocabulary, role_of
from cuvee.tokens.mismatch import differences
from cuvee.tokens.vocabulary import ROLES, Vocabulary

Verdict = Literal["as-is", "tokenizer", "transplant"]


@dataclass(frozen=True)
class Compared:
    """What two tokenizers have in common.

    Attributes:
        a, b: the vocabularies.
        same: tokens with the same number in both.
        moved: tokens that both have, with other numbers.
        only_a, only_b: tokens that one of them has, by number.
        differences: how their rules differ.
        roles: special role → the tokens of a and b, where one of them has any.
        templates_equal: whether conversations are written alike.
        rows: rows of the embeddings of a and b, `None` where there are no weights.
        verdict: `as-is`: every number means the same; `tokenizer`: the recipe needs `tokenizer:`; `transplant`: their
            rules differ, so one needs the other's tokenizer first (or the recipe takes one of the two).
        lengths: tokens that a sample text becomes.
    """

    a: Vocabulary = field(repr=False)
    b: Vocabulary = field(repr=False)
    same: int
    moved: tuple[str, ...] = field(repr=False)
    only_a: tuple[str, ...] = field(repr=False)
    only_b: tuple[str, ...] = field(repr=False)
    differences: tuple[str, ...]
    roles: Mapping[str, tuple[str | None, str | None]]
    templates_equal: bool
    rows: tuple[int | None, int | None]
    verdict: Verdict
    lengths: tuple[int, int] | None = None


def compare_vocabularies(
    a: Vocabulary,
    b: Vocabulary,
    rows: tuple[int | None, int | None] = (None, None),
    lengths: tuple[int, int] | None = None,
) -> Compared:
    """Lay two vocabularies side by side.

    Args:
        a: the one.
        b: the other.
        rows: rows of their models' embeddings.
        lengths: tokens that a sample text becomes.
    """
    shared = [token for token in a.ids if token in b.ids]
    moved = tuple(token for token in shared if a.ids[token] != b.ids[token])
    only_a, only_b = (_only(one, other) for one, other in ((a, b), (b, a)))
    rules = tuple(differences(a, b))
    roles = {role: (a.specials.get(role), b.specials.get(role)) for role in ROLES}
    changed = bool(moved or only_a or only_b)
    verdict: Verdict = "transplant" if rules else "tokenizer" if changed or _sizes_differ(rows) else "as-is"
    return Compared(
        a,
        b,
        len(shared) - len(moved),
        moved,
        only_a,
        only_b,
        rules,
        {role: pair for role, pair in roles.items() if pair != (None, None)},
        a.chat_template == b.chat_template,
        rows,
        verdict,
        lengths,
    )


def _only(one: Vocabulary, other: Vocabulary) -> tuple[str, ...]:
    return tuple(sorted((token for token in one.ids if token not in other.ids), key=lambda token: one.ids[token]))


def _sizes_differ(rows: tuple[int | None, int | None]) -> bool:
    return None not in rows and rows[0] != rows[1]


def embedding_rows(reader: Reader) -> int | None:
    """Rows of a model's word embeddings; `None` if none are named as such."""
    found = [
        spec.shape[0]
        for name, spec in reader.specs.items()
        if len(spec.shape) == 2 and role_of(name) == "embedding" and is_vocabulary(name)
    ]
    return max(found, default=None)
