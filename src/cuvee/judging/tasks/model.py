"""A task as frozen data: what is asked, of which rows, and how the answers are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cuvee.types.scores import Direction

TaskKind = Literal[
    "classification",
    "regression",
    "exact-match",
    "multiple-choice",
    "perplexity",
    "image-classification",
    "embedding-retrieval",
    "function",
    "lm-eval",
]


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How texts are read: `max_length` tokens at most; the model's own limit without it."""

    max_length: int | None = None
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Names of the model's classes in their order, where its configuration has none of use."""

    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """How an answer is written and compared.

    Attributes:
        max_new_tokens: most tokens of an answer, 1 or more.
        until: texts before which an answer ends.
        normalise: what is taken out of both answers before they are compared, in this order.
        parse: a regular expression that an answer of the right form matches somewhere; its first group, if it has
            one, is what is compared.
        max_length: most tokens of prompt and answer together.
        chat: whether prompts are told by the tokenizer's chat template, each as what a user says.
        system: what the system says before it.
    """

    max_new_tokens: int = 16
    until: tuple[str, ...] = ()
    normalise: tuple[str, ...] = ("strip",)
    parse: str | None = None
    max_length: int | None = None
    chat: bool = False
    system: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceOptions:
    """How choices are compared.

    Attributes:
        join: text between prompt and choice.
        length: what a choice's log-likelihood is divided by: nothing, its tokens or its bytes.
        max_length: most tokens of prompt and choice together.
    """

    join: str = " "
    length: Literal["none", "tokens", "bytes"] = "none"
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class LikelihoodOptions:
    """How long texts are cut into windows.

    Attributes:
        max_length: most tokens of a window; the model's own limit without it.
        stride: tokens that the next window begins later; half a window without it.
    """

    max_length: int | None = None
    stride: int | None = None


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How texts become vectors: `pooling`, texts put before queries and documents, `cosine` or `dot` product."""

    pooling: Literal["mean", "cls"] = "mean"
    similarity: Literal["cosine", "dot"] = "cosine"
    query_prefix: str = ""
    document_prefix: str = ""
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """A function of the user's own.

    Attributes:
        function: `module:function` or `file.py:function`.
        gets: what it is called with: the model in memory, or its folder.
        direction: which of two of its values is the better one.
        start: folder that modules are looked for in.
    """

    function: str
    gets: Literal["model", "folder"] = "model"
    direction: Direction = "higher"
    start: Path | None = None


@dataclass(frozen=True, slots=True)
class LmEvalOptions:
    """Tasks of lm-eval: names, the folder of their files, examples before each question, and most rows of each."""

    tasks: tuple[str, ...]
    include: Path
    shots: int = 0
    limit: int | None = None


Options = (
    TextOptions
    | ImageOptions
    | MatchOptions
    | ChoiceOptions
    | LikelihoodOptions
    | RetrievalOptions
    | FunctionOptions
    | LmEvalOptions
)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One row of a task: its name, its place in the data, and its values by what they are for."""

    id: str
    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """A task, its data read and checked.

    Attributes:
        name: what it is called.
        kind: what is asked.
        options: how it is asked.
        rows: its rows, those left out by `split` and `limit` aside; none of a task that reads its own data.
        metrics: names of metrics; the kind's default without any.
        groups: column → the group of each row.
        documents: what is retrieved.
        data: the file or folder that the rows come from.
    """

    name: str
    kind: TaskKind
    options: Options
    rows: tuple[TaskRow, ...] = ()
    metrics: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    documents: tuple[TaskRow, ...] = ()
    data: Path | None = None
