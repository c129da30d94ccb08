"""What a model card is made of: the inputs with what they say of themselves, and words for models and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cuvee.reporting.licences import Decision, Stated


@dataclass(frozen=True, slots=True)
class Source:
    """One input of the merge.

    Attributes:
        name: as the recipe names it.
        role: `base`, `model`, `statistics`, or `result` for that of a recipe inside the recipe.
        depth: how many recipes it is inside of.
        parameters: entries of all its tensors.
        content: fingerprint of what was read of it, xxh3-128.
        sha256: SHA-256 of its weight files by name, where that is known.
        hub: its own id on the hub, if it came from there.
        commit: the commit that was merged.
        ids: hub ids that a local model's own card or configuration names as what it was made from.
        stated: what it says of its licence.
        languages: those that its card names.
    """

    name: str
    role: str
    depth: int
    parameters: int
    content: str
    sha256: Mapping[str, str]
    hub: str | None
    commit: str | None
    ids: tuple[str, ...]
    stated: Stated
    languages: tuple[str, ...]

    @property
    def is_model(self) -> bool:
        """Whether it is weights that somebody made, under a licence."""
        return self.role in ("base", "model")


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart as a file beside the card.

    Attributes:
        file: its name, of letters, digits, hyphens and dots.
        title: a few words.
        description: what is seen, for those who do not see it.
        png: its bytes.
        is_of_scores: whether its marks tell what models are.
    """

    file: str
    title: str
    description: str
    png: bytes
    is_of_scores: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """All inputs, what follows for the licence, and what could not be found."""

    sources: tuple[Source, ...]
    licence: Decision
    notes: tuple[str, ...]

    @property
    def base_models(self) -> tuple[str, ...]:
        """Hub ids of the inputs, or of what local ones were made from, each once."""
        found = [name for one in self.sources if one.is_model for name in ([one.hub] if one.hub else one.ids)]
        return tuple(dict.fromkeys(found))


_AUTO: Final = {
    "ForCausalLM": ("AutoModelForCausalLM", "text-generation"),
    "LMHeadModel": ("AutoModelForCausalLM", "text-generation"),
    "ForMaskedLM": ("AutoModelForMaskedLM", "fill-mask"),
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "ForTokenClassification": ("AutoModelForTokenClassification", "token-classification"),
    "ForQuestionAnswering": ("AutoModelForQuestionAnswering", "question-answering"),
    "ForImageClassification": ("AutoModelForImageClassification", "image-classification"),
    "ForObjectDetection": ("AutoModelForObjectDetection", "object-detection"),
    "ForCTC": ("AutoModelForCTC", "automatic-speech-recognition"),
    "ForSpeechSeq2Seq": ("AutoModelForSpeechSeq2Seq", "automatic-speech-recognition"),
}
"""By the end of an architecture's name: what loads it, and what it is for, where that leaves no doubt."""


def loader_of(config: Mapping[str, Any]) -> tuple[str, str | None]:
    """The class of transformers that loads a model, and its task on the hub if that is sure.

    Example:
        >>> loader_of({"architectures": ["LlamaForCausalLM"]})
        ('AutoModelForCausalLM', 'text-generation')
        >>> loader_of({"architectures": ["T5ForConditionalGeneration"]})
        ('AutoModel', None)
    """
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    return next((found for end, found in _AUTO.items() if first.endswith(end)), ("AutoModel", None))


def row_of(comparison: Mapping[str, Any] | None, names: Sequence[str]) -> Mapping[str, Any] | None:
    """The figures of this model in a comparison.

    Args:
        comparison: what `cuvee compare --json` printed.
        names: what the model may be called there, the surest first.
    """
    rows = list((comparison or {}).get("models") or ())
    for name in names:
        found = [row for row in rows if row["model"].rstrip("/") == name]
        if len(found) == 1:
            return dict(found[0])
    ends = [row for row in rows if names and row["model"].rstrip("/").rpartition("/")[2] == names[-1]]
    return dict(ends[0]) if len(ends) == 1 else None


def figure(value: float | None, stderr: float | None = None) -> str:
    """A number with its error bar.

    Example:
        >>> figure(0.51234, 0.01), figure(None), figure(2.0)
        ('0.512 ± 0.010', '–', '2.000')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if stderr is None or not math.isfinite(stderr) else f"{value:.3f} ± {stderr:.3f}"


def gain(found: Mapping[str, Any] | None) -> str:
    """A gain with its interval.

    Example:
        >>> gain({"value": 0.04, "low": 0.01, "high": 0.075})
        '+0.040 [+0.010, +0.075]'
    """
    if not found or found.get("value") is None:
        return "–"
    low, high = found.get("low"), found.get("high")
    bounds = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
    return f"{found['value']:+.3f}{bounds}"


def walk(inputs: Sequence[Mapping[str, Any]], depth: int = 0) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Every input of a record, those of results after them."""
    for one in inputs:
        yield one, depth
        yield from walk(one.get("inputs", ()), depth + 1)
