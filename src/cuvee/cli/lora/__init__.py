"""`cuvee lora`: LoRA adapters, from the command line. One file per word that follows."""

from __future__ import annotations

from cuvee.cli.options import COMMON, Common
from cuvee.errors import Fault, UsageError, nearest


def lora(*word: str, common: Common = COMMON) -> int:
    """Look at LoRA adapters, apply, merge and extract them.

    An adapter is a folder as PEFT writes one. Wherever a model is named,
    `base+adapter` names the base with the adapter applied, and an adapter's
    folder alone stands on the base that its configuration names.

    For example:

        cuvee lora info my-adapter
        cuvee lora apply base my-adapter -o model
        cuvee lora merge math code -o both --weights 0.7,0.3
        cuvee lora extract tuned base -o adapter --rank 16

    Args:
        word: What to do, and with what; without it this text is printed.
        common: How to print.

    Raises:
        UsageError: there is no such word.
    """
    from cuvee.cli.app import VERBS, run

    if word:
        known = next(verb.words for verb in VERBS if verb.name == "lora")
        message = f"`cuvee lora` has no command {word[0][:60]!r}"
        raise UsageError(Fault("bad-argument", message, subject=word[0], hint=nearest(word[0], known)))
    del common
    return run(["lora", "--help"])
