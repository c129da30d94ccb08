"""Models of transformers to be trained: what they predict, and their class built from a configuration.

The library itself is imported in `pretrained`, the one place that speaks to it.
"""

from __future__ import annotations

import json
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
