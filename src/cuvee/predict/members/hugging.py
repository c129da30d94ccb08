"""Members that are models of transformers: classifiers of texts, words, pictures and sounds, and regressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError
from cuvee.predict.costs import resident
from cuvee.predict.labels import Label, named, shown
from cuvee.predict.members.pictures import ask_pictures, embed_pictures
from cuvee.predict.members.running import Parts
from cuvee.predict.members.sounds import ask_sounds, embed_sounds
from cuvee.predict.members.texts import ask_texts, embed_texts
from cuvee.predict.members.words import ask_words
from cuvee.predict.rows import Reads
from cuvee.predict.trained import Missing, Trained

Way = Callable[[Parts, Any], Array]

_WAYS: Final[Mapping[str, tuple[Way, Way | None]]] = {
    "text": (ask_texts, embed_texts),
    "words": (ask_words, None),
    "image": (ask_pictures, embed_pictures),
    "audio": (ask_sounds, embed_sounds),
}
"""For each modality: what gives logits, and what gives embeddings."""


@dataclass(frozen=True)
class Settings:
    """How a model of transformers is run; as `Member.transformers` has them."""

    max_length: int | None = None
    batch_size: int | None = None
    sampling_rate: int | None = None
    dtype: str | None = None
    device: str = "cpu"


def trained_of(
    model: Any,
    reader: Any = None,
    *,
    name: str | None = None,
    classes: Sequence[Label] | None = None,
    reads: Reads = None,
    label_map: Mapping[Label, Label] | None = None,
    missing: Missing = "error",
    inverse: Callable[[Any], Any] | None = None,
    embed: bool = False,
    settings: Settings | None = None,
) -> Trained:
    """A classifier of transformers, a folder or in memory, as a member; see `Member.transformers`."""
    how, before = settings or Settings(), resident()
    folder = Path(model) if isinstance(model, str | Path) else None
    called = name or (folder.name if folder is not None else type(model).__name__.lower())
    loaded, modality = model_of(called, model if folder is None else folder, how)
    grown = max(0, (resident() or 0) - before) if folder is not None and before is not None else None
    found = reader if reader is not None or folder is None else reader_in(folder, modality)
    _check_reader(called, modality, found)
    gives, labels = what_it_says(called, loaded.config, classes)
    notes = ("it was in training mode, and is in evaluation mode now",) if loaded.training else ()
    loaded.eval()
    parts = Parts(called, loaded, found, how.max_length, how.batch_size, how.sampling_rate)
    ask, vectors = _WAYS[modality]
    is_number = gives == "values"
    return Trained(
        name=called,
        kind="transformers",
        ask=partial(_values, ask, parts) if is_number else partial(ask, parts),
        output="values" if is_number else "logits",
        classes=labels,
        label_map=label_map or {},
        missing=missing,
        reads=("words", "at") if modality == "words" and reads is None else reads,
        inverse=inverse,
        thing=parts if folder is None else folder,
        settings={"modality": modality, **{key: value for key, value in vars(how).items() if value is not None}},
        embed=None if vectors is None or not embed else partial(vectors, parts),
        notes=notes,
        whole=True,
        loaded=grown,
    )


def model_of(name: str, model: Any, how: Settings) -> tuple[Any, str]:
    """The model in memory, and what it reads.

    Raises:
        UsageError: transformers is not installed.
        InputError: the folder is not there or holds no such model; it is no classifier.
    """
    from cuvee.families.classifying import modality_of
    from cuvee.families.loading import load_folder

    if isinstance(model, Path):
        if not model.is_dir():
            raise InputError(Fault("model-missing", f"there is no folder {model}", subject=name))
        loaded = load_folder(model, dtype=how.dtype, device=how.device)
    else:
        loaded = model
    modality = modality_of(loaded)
    if modality is None:
        message = f"the member {name!r}: {type(loaded).__name__} is no classifier of texts, words, pictures or sounds"
        hint = "`Member.causal` makes a classifier of a causal language model; `Member.callable` of any function"
        raise InputError(Fault("wrong-member", message, subject=name, hint=hint))
    return loaded, modality


def reader_in(folder: Path, modality: str) -> Any:
    """What makes inputs for the model of a folder; `None` where the folder says nothing of it."""
    from cuvee.families.classifying import load_feature_extractor
    from cuvee.families.heads import load_image_processor
    from cuvee.families.inputs import load_tokenizer

    return {"image": load_image_processor, "audio": load_feature_extractor}.get(modality, load_tokenizer)(folder)


def _check_reader(name: str, modality: str, reader: Any) -> None:
    if reader is not None:
        return
    wanted = {"image": "an image processor", "audio": "a feature extractor"}.get(modality, "a tokenizer")
    code = "wrong-member" if modality in ("image", "audio") else "no-tokenizer"
    hint = "give it behind the model, or copy its files into the model's folder"
    raise InputError(Fault(code, f"the member {name!r} needs {wanted}, and there is none", subject=name, hint=hint))


def what_it_says(name: str, config: Any, classes: Sequence[Label] | None) -> tuple[str, tuple[Label, ...]]:
    """Whether it gives `values` or `logits`, and its classes in the order of its columns.

    Raises:
        UsageError: `classes` are not as many as it has.
        InputError: `wrong-member`: it gives a row several labels, or several values.
    """
    problem, count = getattr(config, "problem_type", None), int(config.num_labels)
    if problem == "multi_label_classification":
        message = f"the member {name!r} gives a row several labels (problem_type is {problem})"
        raise InputError(Fault("wrong-member", message, subject=name, hint="make a member of each label"))
    if count == 1 and classes is None:
        return "values", ()
    if problem == "regression":
        message = f"the member {name!r} gives a row {count} values (problem_type is regression)"
        raise InputError(Fault("wrong-member", message, subject=name, hint="make a member of each value"))
    own = [config.id2label[number] for number in range(count)]
    if classes is not None and len(classes) != count:
        message = f"{name!r} has {count} classes, {shown(own)}; `classes` names {len(classes)}"
        raise UsageError(Fault("bad-argument", message, subject="classes"))
    given = tuple(named(label) for label in classes or own)
    if classes is not None and set(given) == set(own) and list(given) != own:
        message = f"the classes of {name!r} are in the order {shown(own)}; `classes` has them in another"
        hint = "leave `classes` out: its configuration knows them"
        raise UsageError(Fault("bad-argument", message, subject="classes", hint=hint))
    return "logits", given


def _values(ask: Way, parts: Parts, X: Any) -> Array:
    return np.asarray(ask(parts, X))[:, 0]
