"""The structure of a task's YAML: pydantic models, strict, one for each kind, with no key they do not know."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, create_model

from cuvee.errors import nearest
from cuvee.recipe.findings import described
from cuvee.recipe.item import Item, fault

NORMALISATIONS: Final = ("strip", "lower", "spaces", "punctuation", "articles")
"""What may be taken out of answers before they are compared."""

COLUMNS: Final[dict[str, dict[str, str | None]]] = {
    "classification": {"text": "text", "pair": None, "label": "label"},
    "regression": {"text": "text", "pair": None, "label": "label"},
    "exact-match": {"prompt": "prompt", "answer": "answer"},
    "multiple-choice": {"prompt": "prompt", "choices": "choices", "answer": "answer"},
    "perplexity": {"text": "text"},
    "image-classification": {"image": "image", "label": "label"},
    "embedding-retrieval": {"query": "query", "relevant": "relevant"},
    "function": {},
}
"""What the columns of a kind are for → the column that it is by default; `None` where it need not be there."""

DOCUMENT_COLUMNS: Final = {"document": "id", "content": "text"}
"""The same of documents."""


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise fault("wrong-value", f"should be a regular expression, found {described(value)}: {error}") from None
    return value


def _function(value: str) -> str:
    home, _, name = value.rpartition(":")
    if not (home and name.isidentifier()):
        message = f"should be `module:function` or `file.py:function`, found {described(value)}"
        raise fault("wrong-value", message)
    return value


def _normalisation(value: str) -> str:
    if value not in NORMALISATIONS:
        message = f"should be {', '.join(NORMALISATIONS)}, found {described(value)}"
        raise fault("wrong-value", message, nearest(value, NORMALISATIONS))
    return value


def _said_first(value: str, info: ValidationInfo) -> str:
    if not info.data.get("chat"):
        raise fault("wrong-value", "goes with `chat: true`, found it without", "add `chat: true`, or leave it out")
    return value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1), BeforeValidator(_list)]
Words = Annotated[list[Name], BeforeValidator(_list)]
Count = Annotated[int, Field(ge=1)]


class AnyTask(Item):
    """What the tasks of every kind may say."""

    kind: str
    name: Name | None = None
    metric: Names | None = None


class DataTask(AnyTask):
    """What a task with rows of its own may say."""

    data: Name
    split: Name | None = None
    limit: Count | None = None
    seed: int = 0
    group: Names | None = None


def _columns(kind: str) -> Any:
    """The mapping of columns of a kind."""
    roles = [*COLUMNS[kind], *(DOCUMENT_COLUMNS if kind == "embedding-retrieval" else ()), "id", "split"]
    fields: dict[str, Any] = dict.fromkeys(roles, (Name | None, None))
    return Annotated[create_model(f"{kind} columns", __base__=Item, **fields) | None, Field(default=None)]


class ClassificationTask(DataTask):
    """Texts to be put into classes."""

    columns: _columns("classification") = None  # type: ignore[valid-type]
    max_length: Count | None = None
    labels: Names | None = None


class RegressionTask(DataTask):
    """Texts to be given a number."""

    columns: _columns("regression") = None  # type: ignore[valid-type]
    max_length: Count | None = None


class MatchTask(DataTask):
    """Prompts to be answered in words."""

    columns: _columns("exact-match") = None  # type: ignore[valid-type]
    max_new_tokens: Count = 16
    until: Words = []  # noqa: RUF012 - pydantic copies it
    normalise: Annotated[list[Annotated[str, AfterValidator(_normalisation)]], BeforeValidator(_list)] = ["strip"]  # noqa: RUF012
    parse: Annotated[str, AfterValidator(_pattern)] | None = None
    max_length: Count | None = None
    chat: bool = False
    system: Annotated[Name, AfterValidator(_said_first)] | None = None


class ChoiceTask(DataTask):
    """Prompts with choices."""

    columns: _columns("multiple-choice") = None  # type: ignore[valid-type]
    join: str = " "
    length: Literal["none", "tokens", "bytes"] = "none"
    max_length: Annotated[int, Field(ge=2)] | None = None


class LikelihoodTask(DataTask):
    """Texts to be predicted."""

    columns: _columns("perplexity") = None  # type: ignore[valid-type]
    max_length: Annotated[int, Field(ge=2)] | None = None
    stride: Count | None = None


class ImageTask(DataTask):
    """Pictures to be put into classes."""

    columns: _columns("image-classification") = None  # type: ignore[valid-type]
    labels: Names | None = None


class RetrievalTask(DataTask):
    """Queries whose documents are to be found."""

    columns: _columns("embedding-retrieval") = None  # type: ignore[valid-type]
    documents: Name
    pooling: Literal["mean", "cls"] = "mean"
    similarity: Literal["cosine", "dot"] = "cosine"
    query_prefix: str = ""
    document_prefix: str = ""
    max_length: Count | None = None


class FunctionTask(AnyTask):
    """A function of the user's own."""

    function: Annotated[str, AfterValidator(_function)]
    gets: Literal["model", "folder"] = "model"
    direction: Literal["higher", "lower"] = "higher"
    data: Name | None = None
    split: Name | None = None
    limit: Count | None = None
    seed: int = 0
    group: Names | None = None
    columns: _columns("function") = None  # type: ignore[valid-type]


class LmEvalTask(AnyTask):
    """Tasks of lm-eval."""

    tasks: Names
    include: Name = "."
    shots: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None


ITEMS: Final[dict[str, type[AnyTask]]] = {
    "classification": ClassificationTask,
    "regression": RegressionTask,
    "exact-match": MatchTask,
    "multiple-choice": ChoiceTask,
    "perplexity": LikelihoodTask,
    "image-classification": ImageTask,
    "embedding-retrieval": RetrievalTask,
    "function": FunctionTask,
    "lm-eval": LmEvalTask,
}
"""The structure by kind."""


def known_keys(kind: type[AnyTask], path: tuple[str | int, ...]) -> list[str]:
    """The keys that a task, or its mapping of columns, may have."""
    if not path:
        return sorted(kind.model_fields)
    columns = kind.model_fields.get("columns")
    inner = (
        next((one for one in get_args(columns.annotation) if hasattr(one, "model_fields")), None) if columns else None
    )
    return sorted(inner.model_fields) if inner is not None else []
