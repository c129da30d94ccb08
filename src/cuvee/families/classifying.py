"""What a classifier of transformers reads: texts, words of texts, pictures or sounds; and what makes inputs of sounds.

The library itself is imported in `pretrained`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from cuvee.errors import Fault, InputError
from cuvee.families.pretrained import library, quiet

Modality = Literal["text", "words", "image", "audio"]

_TABLES: Final[tuple[tuple[Modality, str], ...]] = (
    ("text", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"),
    ("words", "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES"),
    ("image", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"),
    ("audio", "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES"),
)


def modality_of(model: Any) -> Modality | None:
    """What a classifier reads, by the name of its class; `None` of what transformers lists as no classifier."""
    tables, name = library().models.auto.modeling_auto, type(model).__name__
    for modality, table in _TABLES:
        values = getattr(tables, table).values()
        if any(name == value or (not isinstance(value, str) and name in value) for value in values):
            return modality
    return None


def load_feature_extractor(folder: Path) -> Any:
    """What turns sounds into the inputs of a folder's model; `None` where the folder says nothing of it.

    Raises:
        UsageError: transformers is not installed.
        InputError: `bad-config`: it cannot be used.
    """
    if not (folder / "preprocessor_config.json").is_file():
        return None
    transformers = library()
    try:
        with quiet(transformers):
            return transformers.AutoFeatureExtractor.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # whatever an extractor's class makes of settings it was not written for
        message = f"{folder}: its preprocessor_config.json cannot be used: {' '.join(str(error).split())[:500]}"
        raise InputError(Fault("bad-config", message, subject=str(folder))) from error
