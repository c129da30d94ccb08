"""What running a model takes from transformers: its class built from a configuration, and its tokenizer.

The library itself is imported in `pretrained`, the one place that speaks to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from cuvee.errors import Fault, InputError
from cuvee.families.pretrained import class_of, library, quiet

Kind = Literal["classes", "tokens"]
"""What a model's logits are of: one row per text, or one per token."""

KINDS: Final[dict[str, Kind]] = {
    "ForSequenceClassification": "classes",
    "ForCausalLM": "tokens",
    "LMHeadModel": "tokens",
}
"""What the end of a class's name says of its logits."""


VOCABULARIES: Final = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "tekken.json")
"""Files that the words of a tokenizer stand in."""


def kind_of(config: dict[str, Any]) -> Kind | None:
    """What the class that a configuration names first predicts; `None` for any that is not known here."""
    named = config.get("architectures")
    first = str(named[0]) if isinstance(named, list) and named else ""
    return next((kind for end, kind in KINDS.items() if first.endswith(end)), None)


def skeleton(config_text: str, label: str) -> Any:
    """The model of a configuration in float32 and evaluation mode, its parameters made up at random.

    Args:
        config_text: a `config.json`.
        label: the model's name, for messages.

    Raises:
        UsageError: transformers is not installed.
        InputError: `bad-config`: transformers cannot build it.
    """
    transformers = library()
    settings = json.loads(config_text)
    kind = settings.pop("model_type", None)
    try:
        with quiet(transformers):
            config = transformers.AutoConfig.for_model(kind, **settings)
            return class_of(transformers, config, Path(label))(config).float().eval()
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        said = " ".join(str(error).split())[:200]
        message = f"{label}: transformers {transformers.__version__} cannot build a model of this configuration: {said}"
        raise InputError(Fault("bad-config", message, subject=label)) from error


def token_ids(folder: Path, texts: Sequence[str]) -> list[list[int]]:
    """Texts as the tokenizer of a folder writes them, its special tokens included, in full length.

    Raises:
        UsageError: transformers is not installed.
        InputError: `bad-config`: the folder holds no tokenizer that transformers can use.
    """
    transformers = library()
    try:
        # without a file to read, transformers makes a tokenizer that knows no word, and says nothing
        if not any(list(folder.glob(pattern)) for pattern in VOCABULARIES):
            raise OSError(f"no file of it is there ({', '.join(VOCABULARIES)})")
        with quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
            return [list(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        said = " ".join(str(error).split())[:200]
        message = f"{folder} should hold a tokenizer for rows with `text`: {said}"
        raise InputError(Fault("bad-config", message, subject=str(folder), hint="give `input_ids` instead")) from error
