"""`cuvee tokens`: vocabularies, from the command line. One file per word that follows."""

from __future__ import annotations

from cuvee.cli.options import COMMON, Common
from cuvee.errors import Fault, UsageError, nearest


def tokens(*word: str, common: Common = COMMON) -> int:
    """Work with the tokenizers of models.

    For example:

        cuvee tokens diff ./math ./code
        cuvee tokens transplant model donor -o out

    Args:
        word: What to do, and with what; without it this text is printed.
        common: How to print.

    Raises:
        UsageError: there is no such word.
    """
    from cuvee.cli.app import VERBS, run

    if word:
        known = next(verb.words for verb in VERBS if verb.name == "tokens")
        message = f"`cuvee tokens` has no command {word[0][:60]!r}"
        raise UsageError(Fault("bad-argument", message, subject=word[0], hint=nearest(word[0], known)))
    del common
    return run(["tokens", "--help"])
