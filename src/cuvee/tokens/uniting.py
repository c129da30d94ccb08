"""One vocabulary of several: the base's tokens as they are, then those of the others that it does not have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Final

from cuvee.errors import Fault, InputError, listed
from cuvee.layers.patch import patch_json
from cuvee.tokens.bpe import Merges, unite_merges
from cuvee.tokens.contents import merge_pairs
from cuvee.tokens.mismatch import check_alike
from cuvee.tokens.reading import vocabulary_of
from cuvee.tokens.spelling import BYTE
from cuvee.tokens.vocabulary import AddedToken, Vocabulary

_SLOW: Final = ("vocab.json", "merges.txt", "vocab.txt")
"""The same tokens in an older form; of a changed vocabulary they would be another tokenizer."""


@dataclass(frozen=True)
class United:
    """A united vocabulary.

    Attributes:
        vocabulary: the whole of it.
        files: the files to write, name → text.
        dropped: files of the base that no longer hold, and are not to be written.
        new: the tokens that the base does not have, by number.
        unreachable: those of them that stand in the vocabulary but that no text becomes.
        notes: what the user should know.
    """

    vocabulary: Vocabulary
    files: Mapping[str, str] = field(repr=False)
    dropped: tuple[str, ...] = ()
    new: tuple[str, ...] = field(default=(), repr=False)
    unreachable: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


def unite(vocabularies: Sequence[Vocabulary], base: int = 0, extra: Iterable[str] = ()) -> United:
    """The union of vocabularies, in mergekit's order.

    Every token of the base keeps its number. Then come the ordinary tokens that it does not have, model by model in
    the order of their numbers there; then the models' added tokens; then `extra`, as added tokens. What a token is,
    ordinary or added, special or not, the first model that has it says. Special roles, the template of conversations
    and the rules around are the base's; where another model fills a role otherwise, a note says so.

    Args:
        vocabularies: at least one.
        base: which of them is the base.
        extra: tokens that are added if none of them has it.

    Raises:
        InputError: `tokenizer-mismatch`: kinds or rules differ, or numbers of a Unigram base have gaps.
    """
    check_alike(vocabularies, base)
    start = vocabularies[base]
    others = [vocabulary for number, vocabulary in enumerate(vocabularies) if number != base]
    ids = dict(start.ids)
    for other in others:
        _append(ids, _ordinary(other))
    added = {token.content: token for token in start.added}
    for token in _all_added(others, extra):
        if token.content not in ids:
            ids[token.content] = max(ids.values(), default=-1) + 1
            added[token.content] = replace(token, id=ids[token.content])
    new = tuple(token for token in ids if token not in start.ids)
    notes = tuple(_notes(start, others))
    if not new:
        return United(start, dict(start.files), notes=notes)
    return _written(start, others, ids, tuple(added.values()), new, notes)


def _ordinary(vocabulary: Vocabulary) -> list[str]:
    """The tokens that are not added ones, by number."""
    added = {token.content for token in vocabulary.added}
    return sorted((token for token in vocabulary.ids if token not in added), key=lambda token: vocabulary.ids[token])


def _append(ids: dict[str, int], tokens: Iterable[str]) -> None:
    size = max(ids.values(), default=-1) + 1
    for token in tokens:
        if token not in ids:
            ids[token], size = size, size + 1


def _all_added(others: Iterable[Vocabulary], extra: Iterable[str]) -> Iterator[AddedToken]:
    for other in others:
        yield from other.added
    for content in extra:
        yield AddedToken(content, 0, normalized=False)


def _notes(base: Vocabulary, others: Iterable[Vocabulary]) -> Iterator[str]:
    """Where another model's special tokens are not what they are in the union."""
    ordinary = base.ids.keys() - {token.content for token in base.added}
    for other in others:
        for role, token in other.specials.items():
            ours = base.specials.get(role)
            if ours != token:
                kept = f"stays {ours!r}, as in {base.label}" if ours else f"stays empty, as in {base.label}"
                yield f"the {role} token {kept}; in {other.label} it is {token!r}, which is a token of the union too"
        if lost := [token.content for token in other.added if token.content in ordinary]:
            yield f"added tokens of {other.label} that are ordinary ones in {base.label}, and stay so: {listed(lost)}"


def _written(
    base: Vocabulary,
    others: Sequence[Vocabulary],
    ids: Mapping[str, int],
    added: tuple[AddedToken, ...],
    new: tuple[str, ...],
    notes: tuple[str, ...],
) -> United:
    """The union with its files."""
    model, unreachable, told = _model(base, others, ids, added, new)
    changes: dict[tuple[str, ...], Any] = {("model", key): value for key, value in model.items()}
    known = {token.content for token in base.added}
    fresh = [token for token in added if token.content not in known]
    if fresh:
        changes[("added_tokens",)] = [*base.data.get("added_tokens", ()), *map(_entry, fresh)]
    files = {name: text for name, text in base.files.items() if name not in _SLOW}
    files["tokenizer.json"] = patch_json(base.text, changes)
    files |= _side(files, fresh)
    dropped = (*(name for name in base.files if name in _SLOW), *base.binaries)
    vocabulary = vocabulary_of(files, base.label)
    return United(vocabulary, files, dropped, new, unreachable, (*notes, *told))


def _model(
    base: Vocabulary,
    others: Sequence[Vocabulary],
    ids: Mapping[str, int],
    added: tuple[AddedToken, ...],
    new: tuple[str, ...],
) -> tuple[dict[str, Any], tuple[str, ...], list[str]]:
    """The changed keys of `model`, the tokens that no text becomes, and notes.

    Added tokens stand in the model's own vocabulary too: a library that loads the file gives those that do not the
    numbers after it.
    """
    if base.kind == "unigram":
        return {"vocab": _scored(base, others, ids)}, (), []
    changed: dict[str, Any] = {"vocab": dict(sorted(ids.items(), key=lambda item: item[1]))}
    if base.kind != "bpe":
        return changed, (), []
    apart = {token.content for token in added}
    wanted = [token for token in new if token not in apart and not BYTE.fullmatch(token)]
    prefix = str(base.data["model"].get("continuing_subword_prefix") or "")
    given = [list(merge_pairs(vocabulary.data)) for vocabulary in (base, *others)]
    united = unite_merges(given[0], given[1:], ids, wanted, prefix)
    return {**changed, "merges": _as_base(base, united)}, united.unreachable, list(_told(united))


def _told(united: Merges) -> Iterator[str]:
    if united.bridging:
        yield f"{united.bridging:,} merges that no model has were added, so that text becomes the tokens they give"
    if united.unreachable:
        yield f"tokens that stand in the union but that no text becomes: {listed(united.unreachable)}"


def _as_base(base: Vocabulary, united: Merges) -> list[Any]:
    """The merges in the way the base writes them; as pairs if a token has a blank, which the other way cannot tell."""
    given = base.data["model"].get("merges") or [[]]
    blank = any(" " in part for pair in united.pairs for part in pair)
    if isinstance(given[0], str) and not blank:
        return [f"{left} {right}" for left, right in united.pairs]
    return [list(pair) for pair in united.pairs]


def _scored(base: Vocabulary, others: Sequence[Vocabulary], ids: Mapping[str, int]) -> list[list[Any]]:
    """The pieces of a united Unigram: new ones with their score, moved by how much shared pieces differ on average.

    score(t) = score_other(t) + mean over shared pieces s of (score_base(s) − score_other(s)).

    Scores are log-probabilities, each normalised over its own vocabulary, so between two models trained on like texts
    they differ by about a constant. Without shared pieces nothing is moved. Added tokens are found before pieces are,
    and get a score below all others.
    """
    pieces = [list(pair) for pair in base.data["model"]["vocab"]]
    known = dict(base.data["model"]["vocab"])
    lowest = min((score for _, score in pieces), default=0.0) - 10.0
    scores: dict[str, float] = {}
    for other in others:
        theirs = dict(other.data["model"]["vocab"])
        apart = {token.content for token in (*base.added, *other.added)}
        moved = _shift(known, theirs, apart)
        for token, score in theirs.items():
            if token not in apart:
                scores.setdefault(token, score + moved)
    after = sorted((number, token) for token, number in ids.items() if number >= len(pieces))
    if [number for number, _ in after] != list(range(len(pieces), len(pieces) + len(after))):
        message = f"{base.label}: the numbers of a Unigram base must have no gaps before its added tokens"
        raise InputError(Fault("tokenizer-mismatch", message, subject=base.label, hint="take another base"))
    return pieces + [[token, scores.get(token, lowest)] for _, token in after]


def _shift(ours: Mapping[str, float], theirs: Mapping[str, float], apart: set[str]) -> float:
    shared = [token for token in ours if token in theirs and token not in apart]
    return fmean(ours[token] - theirs[token] for token in shared) if shared else 0.0


def _entry(token: AddedToken) -> dict[str, Any]:
    """An added token as `tokenizer.json` has it."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": token.id, "content": token.content, **{flag: getattr(token, flag) for flag in flags}}


def _side(files: Mapping[str, str], fresh: Sequence[AddedToken]) -> dict[str, str]:
    """The other files that list added tokens, with the new ones, if they list any."""
    changed: dict[str, str] = {}
    config = files.get("tokenizer_config.json")
    if fresh and config is not None and isinstance(json.loads(config).get("added_tokens_decoder"), dict):
        entries: dict[tuple[str, ...], Any] = {
            ("added_tokens_decoder", str(token.id)): _without_id(token) for token in fresh
        }
        changed["tokenizer_config.json"] = patch_json(config, entries)
    if fresh and "added_tokens.json" in files:
        changes: dict[tuple[str, ...], Any] = {(token.content,): token.id for token in fresh}
        changed["added_tokens.json"] = patch_json(files["added_tokens.json"], changes)
    return changed


def _without_id(token: AddedToken) -> dict[str, Any]:
    return {key: value for key, value in _entry(token).items() if key != "id"}
