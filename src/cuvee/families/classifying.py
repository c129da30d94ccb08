"""What a classifier of transformers reads: texts, words of texts, pictures or sounds; and what makes inputs of sounds.

The library itself is imported in `pretrained`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from cuvee.families.heads import load_preprocessor
from cuvee.families.pretrained import library

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
    """What turns sounds into the inputs of a folder's model; see `heads.load_preprocessor`."""
    return load_preprocessor(folder, "AutoFeatureExtractor")
