"""Words of sentences put into classes by token classifiers of transformers.

A row is one word: a sentence, as a list of words, and the word's number in it. So words are rows like any others: they
have ids, truths and probabilities, and members of other kinds can speak about them. A sentence is run once for all
its words; a word's logits are those of its first token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.members.running import Parts, at_work, is_several
from cuvee.predict.members.texts import check_tokens, limit_of, subject_of
from cuvee.predict.rows import Rows, rows_of

Sentence = tuple[str, ...]


def word_rows(sentences: Sequence[Sequence[str]]) -> Rows:
    """A row for each word of some sentences: the columns `words` and `at`, and ids `sentence:word`.

    Example:
        >>> rows = word_rows([["dry", "wine"], ["oak"]])
        >>> rows.ids, rows.data["at"]
        (('0:0', '0:1', '1:0'), [0, 1, 0])
    """
    each = [(i, at, list(words)) for i, words in enumerate(sentences) for at in range(len(words))]
    columns = {"words": [words for _, _, words in each], "at": [at for _, at, _ in each]}
    return rows_of(columns, [f"{i}:{at}" for i, at, _ in each])


def ask_words(parts: Parts, X: Any) -> Array:
    """Logits of words, float64 `[N, K]`."""
    asked = _asked(X, parts.name)
    sentences = list(dict.fromkeys(sentence for sentence, _ in asked))
    answers = dict(zip(sentences, _run(parts, sentences)))
    return np.stack([answers[sentence][at] for sentence, at in asked])


def _asked(X: Any, name: str) -> list[tuple[Sentence, int]]:
    """The sentence and the number of the word of each row.

    Raises:
        InputError: `bad-data`.
    """
    hint = "`word_rows(sentences)` makes such rows"
    if not is_several(X) or len(list(X)) != 2:
        message = f"the member {name!r} tags words: its rows are a list of words and the number of one of them"
        raise InputError(Fault("bad-data", message, subject=name, hint=hint))
    first, second = list(X)
    asked = []
    for words, at in zip(list(X[first]), list(X[second])):
        if isinstance(words, str) or not all(isinstance(word, str) for word in words) or not 0 <= int(at) < len(words):
            message = (
                f"the member {name!r} wants a list of words, and the number of one; found {words!r:.60} and {at!r}"
            )
            raise InputError(Fault("bad-data", message, subject=name, hint=hint))
        asked.append((tuple(words), int(at)))
    return asked


def _run(parts: Parts, sentences: Sequence[Sentence]) -> list[Array]:
    """For each sentence the logits of its words, `[W, K]`."""
    from cuvee.judging.asking.batching import run_batched, tokens_for
    from cuvee.judging.asking.encoding import padded, padding_of

    questions = [_encoded(parts, sentence) for sentence in sentences]
    check_tokens(parts, [ids for ids, _ in questions])
    fill, device = padding_of(subject_of(parts)) or 0, parts.device

    def forward(batch: list[tuple[list[int], list[int]]]) -> list[Array]:
        ids, mask = padded([one for one, _ in batch], fill, device)
        logits = parts.model(input_ids=ids, attention_mask=mask).logits.double().cpu().numpy()
        return [logits[i, places] for i, (_, places) in enumerate(batch)]

    tokens = tokens_for(device.type, 1)
    with at_work(parts):
        return run_batched(questions, lambda one: len(one[0]), forward, tokens=tokens, rows=parts.batch_size)


def _encoded(parts: Parts, sentence: Sentence) -> tuple[list[int], list[int]]:
    """A sentence as token numbers, and the place of the first token of each word.

    Raises:
        InputError: `bad-data`: it is too long, or a word comes to no token; `no-tokenizer`: the tokenizer cannot say
            which token belongs to which word.
    """
    with parts.lock:
        found = parts.reader(list(sentence), is_split_into_words=True, verbose=False)
    try:
        owners = found.word_ids()
    except ValueError as error:
        message = (
            f"the member {parts.name!r} needs a tokenizer that says which token belongs to which word (a fast one)"
        )
        raise InputError(Fault("no-tokenizer", message, subject=parts.name)) from error
    ids, limit = list(found["input_ids"]), limit_of(parts)
    first = {owner: place for place, owner in reversed(list(enumerate(owners))) if owner is not None}
    if limit is not None and len(ids) > limit:
        message = f"a sentence should come to {limit} tokens at most for {parts.name!r}; one has {len(ids)}"
        raise InputError(
            Fault("bad-data", message, subject=parts.name, hint="split it: words that are cut off have no tag")
        )
    if lost := [word for number, word in enumerate(sentence) if number not in first]:
        message = f"the tokenizer of {parts.name!r} makes no token of the word {lost[0]!r}"
        raise InputError(Fault("bad-data", message, subject=parts.name))
    return ids, [first[number] for number in range(len(sentence))]
