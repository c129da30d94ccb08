"""How many tokens a text becomes; a tokenizer at work, which is a library's."""

from __future__ import annotations

from cuvee.errors import Fault, InputError, UsageError
from cuvee.tokens.vocabulary import Vocabulary


def count_tokens(vocabulary: Vocabulary, text: str) -> int:
    """The length of a text in tokens, without special ones around it.

    Raises:
        InputError: `bad-tokenizer`: the library does not load it.
        UsageError: `missing-extra`.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        message = "texts are made into tokens by the library `tokenizers`, which is not there"
        raise UsageError(Fault("missing-extra", message, hint='pip install "cuvee[hf]"')) from None
    try:
        tokenizer = Tokenizer.from_str(vocabulary.text)
    except Exception as error:  # the library raises plain exceptions
        message = f"{vocabulary.label}: tokenizer.json: the library `tokenizers` must load it; {str(error)[:200]}"
        raise InputError(Fault("bad-tokenizer", message, subject=vocabulary.label)) from None
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
