"""What a model in memory predicts, by its class; and what turns pictures into its inputs.

The library itself is imported in `pretrained`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from cuvee.errors import Fault, InputError
from cuvee.families.pretrained import library, quiet

Head = Literal["causal-lm", "masked-lm", "classification", "image-classification", "none"]

_TABLES: Final[Mapping[Head, str]] = {
    "causal-lm": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked-lm": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "classification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "image-classification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "none": "MODEL_MAPPING_NAMES",
}


def heads_of(model: Any) -> tuple[Head, ...]:
    """What a model may be asked, by the name of its class; nothing of a class that transformers does not list."""
    return heads_named(type(model).__name__)


def heads_named(name: str) -> tuple[Head, ...]:
    """The heads of a class of transformers by its name, in the order of the tables."""
    tables = library().models.auto.modeling_auto
    return tuple(head for head, table in _TABLES.items() if name in _flat(getattr(tables, table).values()))


def load_image_processor(folder: Path) -> Any:
    """What turns pictures into the inputs of a folder's model; see `load_preprocessor`."""
    return load_preprocessor(folder, "AutoImageProcessor")


def load_preprocessor(folder: Path, kind: str) -> Any:
    """What turns pictures or sounds into the inputs of a folder's model; `None` where the folder says nothing of it.

    Args:
        folder: the model's folder.
        kind: transformers' name of the class that finds it, such as `AutoImageProcessor`.

    Raises:
        UsageError: transformers is not installed.
        InputError: `bad-config`: it cannot be used.
    """
    if not (folder / "preprocessor_config.json").is_file():
        return None
    transformers = library()
    try:
        with quiet(transformers):
            return getattr(transformers, kind).from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # whatever a processor's class makes of settings it was not written for
        message = f"{folder}: its preprocessor_config.json cannot be used: {' '.join(str(error).split())[:500]}"
        raise InputError(Fault("bad-config", message, subject=str(folder))) from error


def write_on(
    model: Any, ids: Any, mask: Any, *, most: int, ends: Sequence[int], padding: int, is_over: Callable[[Any], Any]
) -> Any:
    """What a causal language model goes on with, the likeliest token each time.

    What a folder's generation_config.json asks for, temperatures or penalties, is left aside: models are compared
    under the same rules.

    Args:
        model: the model.
        ids: prompts `[B, T]`, padded on the left.
        mask: 1 for tokens, 0 for padding.
        most: most new tokens.
        ends: tokens that end an answer.
        padding: token that fills up answers that are over.
        is_over: asked after each token, with `[B, t]` new tokens: `[B]` booleans.

    Returns:
        The new tokens, `[B, t]`.
    """
    transformers = library()
    own = transformers.GenerationConfig(eos_token_id=list(ends) or None, pad_token_id=padding, do_sample=False)
    start = ids.shape[1]
    stops = transformers.StoppingCriteriaList([lambda found, _scores: is_over(found[:, start:])])
    before = model.generation_config
    model.generation_config = own
    try:
        with quiet(transformers):
            made = model.generate(ids, attention_mask=mask, max_new_tokens=most, stopping_criteria=stops)
    finally:
        model.generation_config = before
    return made[:, start:]


def _flat(values: Any) -> Iterator[str]:
    for value in values:
        yield from (value,) if isinstance(value, str) else value
