"""A causal language model as a classifier: the class is the continuation of a prompt that it finds likeliest.

    z_c = Σ_t log p(x_t | prompt, x_<t) over the tokens of what class c is called, divided by nothing, their number or
          its bytes;  the classes' probabilities are softmax(z)

The prompt is a template with the columns of the row put in. What classes are called is compared behind the same tokens
of the prompt, as multiple-choice tasks do it (`judging.asking.choices`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, refuse
from cuvee.predict.costs import resident
from cuvee.predict.labels import Label, label_faults, named
from cuvee.predict.members.running import Parts, at_work, is_several
from cuvee.predict.members.texts import check_tokens, limit_of, subject_of
from cuvee.predict.noting import note
from cuvee.predict.rows import Reads
from cuvee.predict.trained import Missing, Trained

Length = Literal["none", "tokens", "bytes"]
"""What the log-likelihood of a class is divided by: a long name has a small one whatever the text."""

_FIELD: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Wording:
    """How rows and classes are put into words.

    Attributes:
        template: the prompt, with `{column}` where a column of the row belongs, `{text}` for the only one.
        words: what each class is called behind it.
        join: what stands between the two.
        length: what log-likelihoods are divided by.
    """

    template: str
    words: tuple[str, ...]
    join: str = " "
    length: Length = "tokens"


def trained_of(
    model: Any,
    tokenizer: Any = None,
    *,
    classes: Sequence[Label] | Mapping[Label, str],
    template: str,
    join: str = " ",
    length: Length = "tokens",
    name: str | None = None,
    reads: Reads = None,
    label_map: Mapping[Label, Label] | None = None,
    missing: Missing = "error",
    max_length: int | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    device: str = "cpu",
) -> Trained:
    """A causal language model as a member; see `Member.causal`."""
    words = classes if isinstance(classes, Mapping) else {label: str(label) for label in classes}
    wording = Wording(template, tuple(words.values()), join, length)
    before = resident()
    folder = Path(model) if isinstance(model, str | Path) else None
    called = name or (folder.name if folder is not None else type(model).__name__.lower())
    refuse([*label_faults(list(classes), f"classes of {called!r}"), *_wording_faults(called, wording)])
    loaded, reader = _opened(called, model if folder is None else folder, tokenizer, dtype, device)
    parts = Parts(called, loaded.eval(), reader, max_length, batch_size)
    said = {"template": template, "words": list(wording.words), "join": join, "length": length}
    return Trained(
        name=called,
        kind="causal",
        ask=partial(ask_likelihoods, parts, wording),
        output="logits",
        classes=tuple(named(label) for label in words),
        label_map=label_map or {},
        missing=missing,
        reads=reads,
        thing=parts if folder is None else folder,
        settings={**said, "max_length": max_length, "batch_size": batch_size, "dtype": dtype, "device": device},
        whole=True,
        loaded=None if folder is None or before is None else max(0, (resident() or 0) - before),
    )


def _opened(name: str, model: Any, tokenizer: Any, dtype: str | None, device: str) -> tuple[Any, Any]:
    """The model and its tokenizer.

    Raises:
        InputError: `model-missing`; `wrong-member`: it is no causal language model; `no-tokenizer`.
    """
    from cuvee.execute.adapting import adapted_recipe, load_adapted
    from cuvee.families.inputs import load_tokenizer
    from cuvee.families.loading import load_folder

    if (adapted := adapted_recipe(model)) is not None:
        with tempfile.TemporaryDirectory(prefix="cuvee-member-") as room:
            loaded = load_adapted(adapted, Path(room), dtype=dtype, device=device)
            tokenizer = tokenizer or load_tokenizer(Path(room))
        return _checked(name, loaded, tokenizer)
    if isinstance(model, Path) and not model.is_dir():
        raise InputError(Fault("model-missing", f"there is no folder {model}", subject=name))
    loaded = load_folder(model, dtype=dtype, device=device) if isinstance(model, Path) else model
    return _checked(name, loaded, load_tokenizer(model) if tokenizer is None and isinstance(model, Path) else tokenizer)


def _checked(name: str, loaded: Any, reader: Any) -> tuple[Any, Any]:
    """A model and its tokenizer, if they can be a member."""
    from cuvee.families.heads import heads_of

    if "causal-lm" not in heads_of(loaded):
        message = f"the member {name!r}: {type(loaded).__name__} is no causal language model"
        hint = "`Member.transformers` takes classifiers"
        raise InputError(Fault("wrong-member", message, subject=name, hint=hint))
    if reader is None:
        hint = "give it behind the model, or copy its files into the model's folder"
        raise InputError(Fault("no-tokenizer", f"the member {name!r} needs a tokenizer", subject=name, hint=hint))
    return loaded, reader


def _wording_faults(name: str, wording: Wording) -> Iterator[Fault]:
    if not _FIELD.search(wording.template):
        message = f"`template` of {name!r} should say where a column of the row belongs, as {{text}}; found none"
        yield Fault("bad-argument", message, subject="template")
    if wording.length not in get_args(Length):
        message = f"`length` should be one of {', '.join(get_args(Length))}; found {wording.length!r}"
        yield Fault("bad-argument", message, subject="length")
    if any(not word for word in wording.words) or len(set(wording.words)) < len(wording.words):
        message = f"what the classes of {name!r} are called should differ, and be something; found {wording.words}"
        yield Fault("bad-argument", message, subject="classes")


def ask_likelihoods(parts: Parts, wording: Wording, X: Any) -> Array:
    """Log-likelihoods of the classes, float64 `[N, K]`."""
    from cuvee.judging.asking.batching import run_batched, tokens_for
    from cuvee.judging.asking.encoding import padding_of, vocabulary_of
    from cuvee.judging.asking.likelihood import span_nats

    spans = [span for prompt in prompts(wording, X, parts.name) for span in _spans(parts, wording, prompt)]
    check_tokens(parts, [span.ids for span in spans])
    fill = padding_of(subject_of(parts)) or 0
    with at_work(parts):
        nats = run_batched(
            spans,
            lambda span: len(span.ids),
            lambda batch: span_nats(parts.model, batch, fill=fill),
            tokens=tokens_for(parts.device.type, vocabulary_of(parts.model)),
            rows=parts.batch_size,
        )
    sizes = [_size(wording, span, place % len(wording.words)) for place, span in enumerate(spans)]
    return np.reshape(-np.array(nats) / np.array(sizes), (-1, len(wording.words)))


def prompts(wording: Wording, X: Any, name: str) -> list[str]:
    """The template with each row put in; only its own fields are looked at, so that a text may hold braces.

    Raises:
        InputError: `bad-data`: there is no column that the template asks for.
    """
    columns = {str(column): list(X[column]) for column in X} if is_several(X) else None
    fields = list(dict.fromkeys(_FIELD.findall(wording.template)))
    if columns is None:
        if len(fields) > 1:
            message = f"the template of {name!r} asks for {', '.join(fields)}; the rows have one column"
            raise InputError(Fault("bad-data", message, subject=name, hint="give `reads`, the names of the columns"))
        columns = {fields[0]: list(X)}
    if lacking := [field for field in fields if field not in columns]:
        message = f"the template of {name!r} asks for {lacking[0]!r}; the rows have {', '.join(columns)}"
        raise InputError(Fault("bad-data", message, subject=name))
    rows = zip(*(columns[field] for field in fields))
    return [_put(wording.template, dict(zip(fields, map(str, row)))) for row in rows]


def _put(template: str, values: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: values[found[1]], template)


def _spans(parts: Parts, wording: Wording, prompt: str) -> list[Any]:
    """Every class behind the prompt, cut at the start where that is too long."""
    from cuvee.judging.asking.choices import choice_spans, cut_span

    with parts.lock:
        whole = choice_spans({"prompt": prompt, "choices": wording.words}, parts.reader, wording.join)
    limit = limit_of(parts)
    if limit is not None and any(len(span.ids) - span.first >= limit for span in whole):
        message = f"what a class of {parts.name!r} is called should come to less than {limit} tokens"
        raise InputError(Fault("bad-data", message, subject=parts.name))
    kept = [cut_span(span, limit) for span in whole]
    if kept != list(whole):
        note(f"{parts.name!r}: prompts were cut at their start to {limit} tokens")
    return kept


def _size(wording: Wording, span: Any, place: int) -> int:
    if wording.length == "tokens":
        return int(len(span.ids) - span.first)
    return len(wording.words[place].encode("utf-8")) if wording.length == "bytes" else 1
