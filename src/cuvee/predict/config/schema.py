"""What may stand in the file of an ensemble; a member's keys depend on its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from cuvee.predict.trained import Missing
from cuvee.recipe.findings import described
from cuvee.recipe.item import Item, fault

Kind = Literal["sklearn", "lightgbm", "transformers", "onnx", "recipe", "ensemble", "causal"]

Name = Annotated[str, Field(min_length=1)]


def _class(value: Any) -> Any:
    if type(value) not in (str, int) or value == "":
        hint = "put it in quotes" if isinstance(value, bool | float) else None
        raise fault("wrong-type", f"should be a class's name or number, found {described(value)}", hint)
    return value


def _plain(value: Any) -> Any:
    several = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
    if not all(one is None or isinstance(one, str | int | float) for one in several):
        wanted = "a number, a text, true or false, or a list or mapping of these"
        raise fault("wrong-type", f"should be {wanted}, found {described(value)}")
    return value


_WORD = {"type": ["string", "number", "boolean", "null"]}
Class = Annotated[Any, AfterValidator(_class), WithJsonSchema({"type": ["string", "integer"]})]
_WORDS = [{"type": "array", "items": _WORD}, {"type": "object", "additionalProperties": _WORD}]
Setting = Annotated[Any, AfterValidator(_plain), WithJsonSchema({"anyOf": [_WORD, *_WORDS]})]


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _unique(values: list[Any]) -> list[Any]:
    twice = next((one for number, one in enumerate(values) if one in values[:number]), None)
    if twice is not None:
        raise fault("wrong-value", f"should not hold anything twice, found {twice!r} again")
    return values


Columns = Annotated[list[Name], Field(min_length=1), BeforeValidator(_one_or_several), AfterValidator(_unique)]
Classes = Annotated[list[Class], Field(min_length=2), AfterValidator(_unique)]
Settings = dict[str, Setting]


class AnyMember(Item):
    """What members of every kind may say.

    Attributes:
        name: what it is called, unlike the others.
        kind: what it is.
        reads: the column or columns that it reads.
        label_map: its own label → the ensemble's.
        missing: what is done about classes that it does not know.
    """

    name: Name
    kind: Kind
    reads: Columns | None = None
    label_map: dict[str, Class] | None = None
    missing: Missing = "error"


class EstimatorMember(AnyMember):
    """An estimator: one that is declared and trained here, or one from a file.

    Attributes:
        estimator: a name of `estimators.ESTIMATORS`.
        settings: of it.
        file: a `.skops` file of one that is trained; it must not have seen the rows.
        trust: types that the file may hold besides those that are known.
    """

    estimator: Name | None = None
    settings: Settings = {}  # noqa: RUF012 - pydantic copies it
    file: Name | None = None
    trust: Columns | None = None


class FolderMember(AnyMember):
    """A model folder.

    Attributes:
        folder: where it lies.
        classes: its labels in order, where it does not say them.
    """

    folder: Name
    classes: Classes | None = None


class NestedMember(AnyMember):
    """The folder of a saved ensemble.

    Attributes:
        folder: where it lies.
        trust: types, functions or members of it that may run besides those that are known.
    """

    folder: Name
    trust: Columns | None = None


class CausalMember(FolderMember):
    """A language model that is asked which class's word comes next.

    Attributes:
        prompt: the text that is asked, with `{text}` where the row stands.
        words: class → the word that stands for it; the class itself without it.
    """

    prompt: Name = "{text}"
    words: dict[str, Name] | None = None


class FileMember(AnyMember):
    """A file: of ONNX, or a recipe whose merge is never written.

    Attributes:
        file: where it lies.
        classes: its labels in order, where it does not say them.
        output: what it gives.
    """

    file: Name
    classes: Classes | None = None
    output: Literal["probabilities", "logits", "labels", "values"] | None = None


MEMBERS: Final[Mapping[str, type[AnyMember]]] = {
    "sklearn": EstimatorMember,
    "lightgbm": EstimatorMember,
    "transformers": FolderMember,
    "onnx": FileMember,
    "recipe": FileMember,
    "ensemble": NestedMember,
    "causal": CausalMember,
}
"""The structure of a member by its kind."""


class CombinerItem(Item):
    """How members are combined.

    Attributes:
        name: of a combiner.
        settings: of it.
    """

    name: Name
    settings: Settings = {}  # noqa: RUF012


def _above_nought(value: float) -> float:
    if not 0 < value < float("inf"):
        raise fault("out-of-range", f"should be above 0, found {described(value)}")
    return value


class BudgetItem(Item):
    """What the members that are asked may cost together."""

    us_per_row: Annotated[float, AfterValidator(_above_nought)] | None = None
    nbytes: Annotated[int, Field(ge=1)] | None = None
    memory: Annotated[int, Field(ge=1)] | None = None


def _combiner(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _budget(value: Any) -> Any:
    """Integers where numbers may have a point."""
    if isinstance(value, dict) and type(value.get("us_per_row")) is int:
        return {**value, "us_per_row": float(value["us_per_row"])}
    return value


def _cv(value: Any) -> Any:
    good = (type(value) is int and value >= 2) or value in (None, "group", "time")
    if not good:
        code = "wrong-value" if type(value) in (int, str) else "wrong-type"
        raise fault(code, f"should be a number of folds from 2 up, `group` or `time`, found {described(value)}")
    return value


_FOLDS = {"anyOf": [{"type": "integer", "minimum": 2}, {"enum": ["group", "time"]}]}


class EnsembleConfig(Item):
    """The file of an ensemble.

    Attributes:
        task: classification or regression.
        classes: labels in order; those of the data, sorted, without it.
        label: column of the right answers.
        id: column that names rows.
        split: column that says `train`, `validation` or `test` of every row: then nothing is cross-fitted.
        group: column of groups that no fold may divide.
        time: column that rows are ordered by; folds train on what came before.
        members: as `MEMBERS` has it; read one by one.
        combiner: how members are combined.
        calibrate: `temperature`, after pooling.
        budget: what the members that are asked may cost together.
        cv: folds of cross-fitting.
        fewest: rows that each class (of a regression: all together) must have where members are cross-fitted.
        features: columns of numbers by which combiners compare rows; those that no role is given to without it, and
            `none` for what members say of the rows instead.
        seed: of folds and of members that are trained.
    """

    task: Literal["classification", "regression"] = "classification"
    classes: Classes | None = None
    label: Name
    id: Name | None = None
    split: Name | None = None
    group: Name | None = None
    time: Name | None = None
    members: Annotated[list[Any], Field(min_length=1)]
    combiner: Annotated[CombinerItem, BeforeValidator(_combiner)] = CombinerItem(name="greedy")
    calibrate: Literal["temperature", "none"] = "none"
    budget: Annotated[BudgetItem, BeforeValidator(_budget)] | None = None
    cv: Annotated[Any, AfterValidator(_cv), WithJsonSchema(_FOLDS)] = None
    fewest: Annotated[int, Field(ge=0)] = 30
    features: Columns | None = None
    seed: Annotated[int, Field(ge=0)] = 0


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the file of an ensemble, for editors."""
    from cuvee.predict.combiners import COMBINERS
    from cuvee.predict.config.estimators import ESTIMATORS

    schema = EnsembleConfig.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    several = []
    for kind, item in MEMBERS.items():
        own = item.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= own.pop("$defs", {})
        own["properties"]["kind"] = {"const": kind}
        if item is EstimatorMember:
            own["properties"]["estimator"] = {"enum": sorted(ESTIMATORS)}
        definitions[f"{kind} member"] = own
        several.append({"$ref": f"#/$defs/{kind} member"})
    schema["properties"]["members"] = {"type": "array", "minItems": 1, "items": {"oneOf": several}}
    names = {"enum": list(COMBINERS)}
    definitions["CombinerItem"]["properties"]["name"] = names
    schema["properties"]["combiner"] = {"anyOf": [names, {"$ref": "#/$defs/CombinerItem"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Cuvee ensemble"}


KINDS: Final[tuple[str, ...]] = get_args(Kind)
