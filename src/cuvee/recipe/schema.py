"""The structure of a recipe: pydantic models, strict, with no key they do not know.

They say what a recipe may look like, whatever its method. What the method makes of it — parameters, numbers of models,
base models — is checked against its declaration in `check` and `arity`. The models are used for validation and for the
JSON Schema; the recipe itself is built by `dialect` as plain frozen data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, WithJsonSchema, model_validator

from cuvee.recipe.chat_template import checked_template
from cuvee.recipe.findings import described
from cuvee.recipe.item import Item, fault
from cuvee.recipe.layer_list import MAX_LAYERS
from cuvee.recipe.layers_schema import LayerRange, Layers
from cuvee.recipe.reference import read_reference
from cuvee.recipe.scaling_schema import LayerScalingItem
from cuvee.recipe.tags import (
    BRANCHES,
    GRADIENT,
    LIST,
    MAPPING,
    MODEL_TOKEN,
    SCALAR,
    TEXT,
    ZERO,
    kind_of_model,
    kind_of_plain,
    kind_of_setting,
    kind_of_token_source,
)


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise fault("wrong-type", f"should be a number, a switch or text, found {described(value)}")
    return value


def _reference(value: str, info: ValidationInfo) -> str:
    root: Path | None = (info.context or {}).get("root")
    try:
        read_reference(value, root)
    except ValueError as error:
        hint = "write `{model: {path: …, revision: …}}` if the path itself has `@` or `+` in it"
        raise fault("wrong-value", f"should be {error}", hint) from None
    return value


def _part(value: str, info: ValidationInfo) -> str:
    """A reference without adapter, as the parts of a mapping are."""
    if _reference(value, info) and read_reference(value, (info.context or {}).get("root")).adapter is not None:
        raise fault("wrong-value", f"should be one model without adapter, found '{value}'", "write it under `lora:`")
    return value


class PathItem(Item):
    """A path or hub id with its revision."""

    path: Annotated[str, Field(min_length=1, description="Folder, file or hub id.")]
    revision: Annotated[str | None, Field(description="Branch, tag or commit of a hub id.")] = None


Part = Annotated[
    Annotated[str, AfterValidator(_part), Tag(TEXT)] | Annotated[PathItem, Tag(MAPPING)],
    Discriminator(
        kind_of_model,
        custom_error_type="wrong-type",
        custom_error_message="should be a path or a mapping with `path`",
    ),
]


Lora = Annotated[
    Annotated[str, AfterValidator(_part), Tag(TEXT)]
    | Annotated[PathItem, Tag(MAPPING)]
    | Annotated[list[Part], Field(min_length=1), Tag(LIST)],
    Discriminator(
        kind_of_model,
        custom_error_type="wrong-type",
        custom_error_message="should be a path, a mapping with `path`, or a list of them",
    ),
]


class ReferenceItem(Item):
    """A model written as a mapping."""

    model: Part
    lora: Annotated[Lora | None, Field(description="An adapter to apply to the model first, or a list of them.")] = None
    override_architecture: Annotated[str | None, Field(description="Accepted for mergekit; changes nothing.")] = None
    part: Annotated[str | None, Field(min_length=1, description="Take only this part, as a model of its own.")] = None
    as_: Annotated[str | None, Field(alias="as", min_length=1, description="The part of the others it stands for.")] = (
        None
    )
    rename: Annotated[dict[str, str] | None, Field(description="Its prefix: that of the other models' names.")] = None
    without: Annotated[Literal["vocabulary"] | None, Field(description="Leave out word embeddings and head.")] = None

    @model_validator(mode="after")
    def _one_way(self) -> ReferenceItem:
        if self.as_ and self.rename:
            raise fault("wrong-value", "should have `as` or `rename`, found both", "`as` finds the names itself")
        return self


Model = Annotated[
    Annotated[str, AfterValidator(_reference), Tag(TEXT)] | Annotated[ReferenceItem, Tag(MAPPING)],
    Discriminator(
        kind_of_model,
        custom_error_type="wrong-type",
        custom_error_message="should be a model: `path[@revision][+adapter]`, or a mapping with `model`",
    ),
]
Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema({"type": ["boolean", "number", "string"]})]
Gradient = Annotated[list[Scalar], Field(min_length=1)]


class BranchItem(Item):
    """A value for the tensors whose name contains a text."""

    filter: Annotated[str | None, Field(description="Part of a tensor's name; left out or `*`: every tensor.")] = None
    value: Annotated[
        Annotated[Scalar, Tag(SCALAR)] | Annotated[Gradient, Tag(GRADIENT)],
        Discriminator(
            kind_of_plain,
            custom_error_type="wrong-type",
            custom_error_message="should be a value or a list of values",
        ),
    ]


Setting = Annotated[
    Annotated[Scalar, Tag(SCALAR)]
    | Annotated[Gradient, Tag(GRADIENT)]
    | Annotated[list[BranchItem], Tag(BRANCHES)]
    | Annotated[BranchItem, Tag(MAPPING)],
    Discriminator(
        kind_of_setting,
        custom_error_type="wrong-type",
        custom_error_message="should be a value, a list of values, or `{filter, value}` mappings",
    ),
]
Parameters = Annotated[
    dict[str, Setting] | None,
    Field(description="Settings of the method: a value, a list spread over the layers, or values by tensor name."),
]
BaseModelField = Annotated[Model | None, Field(description="The model that the others are compared with.")]
DTypeField = Annotated[
    Literal["bfloat16", "float16", "float32", "float64"] | None,
    Field(description="`dtype`: what is written; inputs are read as they are. `out_dtype` wins."),
]


class ModelItem(Item):
    """One model to merge, with settings of its own."""

    model: Model
    parameters: Parameters = None
    statistics: Annotated[
        Annotated[str, AfterValidator(_part)] | None,
        Field(description="What `cuvee collect` found out about this model, for methods that read it."),
    ] = None


class SourceItem(Item):
    """Some layers of one model."""

    model: Model
    layer_range: LayerRange = None
    layers: Layers = None
    parameters: Parameters = None


class SliceItem(Item):
    """A run of output layers, merged from equally long runs of input layers."""

    sources: Annotated[list[SourceItem], Field(min_length=1)]
    merge_method: Annotated[
        str | None, Field(min_length=1, description="How these sources are merged, where it is not as the recipe says.")
    ] = None
    base_model: BaseModelField = None
    parameters: Parameters = None
    repeat: Annotated[
        int | None,
        Field(ge=1, le=MAX_LAYERS, description="How often the slice comes, one after the other; once without it."),
    ] = None


class ModuleItem(Item):
    """One named part of a model that has several."""

    models: Annotated[list[ModelItem] | None, Field(min_length=1)] = None
    slices: Annotated[list[SliceItem] | None, Field(min_length=1)] = None
    parameters: Parameters = None


class ModelTokenItem(Item):
    """A token's embedding taken from a token of a model."""

    kind: Literal["model_token"]
    model: Model
    token: str | None = None
    token_id: Annotated[int | None, Field(ge=0)] = None

    @model_validator(mode="after")
    def _one_token(self) -> ModelTokenItem:
        if self.token is not None and self.token_id is not None:
            raise fault("wrong-value", "should have `token` or `token_id`, found both", "leave one of them out")
        return self


class ZeroItem(Item):
    """A token whose embedding is zero."""

    kind: Literal["zero"]


class TokenItem(Item):
    """Where the embedding of one token comes from."""

    source: Annotated[
        Annotated[str, AfterValidator(_reference), Tag(TEXT)]
        | Annotated[ReferenceItem, Tag(MAPPING)]
        | Annotated[ModelTokenItem, Tag(MODEL_TOKEN)]
        | Annotated[ZeroItem, Tag(ZERO)],
        Discriminator(
            kind_of_token_source,
            custom_error_type="wrong-type",
            custom_error_message="should be a model, or a mapping with `kind`: `model_token` or `zero`",
        ),
    ]
    force: bool | None = None


class TokenizerItem(Item):
    """How the vocabularies are merged."""

    source: Annotated[Model | None, Field(description="`union`, `base` or a model.")] = None
    tokens: dict[Annotated[str, Field(min_length=1)], TokenItem] | None = None
    pad_to_multiple_of: Annotated[int | None, Field(gt=0)] = None

    @model_validator(mode="before")
    @classmethod
    def _no_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            hint = f"write `tokenizer: {{source: {value}}}`, or `tokenizer_source: {value}`"
            raise fault("wrong-type", f"should be a mapping, found {described(value)}", hint)
        return value


class RecipeItem(ModuleItem):
    """A whole recipe."""

    merge_method: Annotated[str, Field(min_length=1, description="How the models are merged.")]
    modules: Annotated[dict[str, ModuleItem] | None, Field(min_length=1)] = None
    base_model: BaseModelField = None
    dtype: DTypeField = None
    out_dtype: DTypeField = None
    tokenizer_source: Annotated[
        Model | None, Field(description="`union`, `base` or a model: whose tokenizer the output has.")
    ] = None
    tokenizer: Annotated[
        TokenizerItem | None, Field(description="Which tokenizer the output has, and where its rows come from.")
    ] = None
    chat_template: Annotated[
        Annotated[str, AfterValidator(checked_template)] | None,
        Field(description="`auto` (the models' most common one), the name of a template, or a Jinja text."),
    ] = None
    missing: Annotated[
        Literal["refuse", "copy"] | None,
        Field(description="A tensor that not every model has: `refuse` it (default), or `copy` it from the first."),
    ] = None
    layer_scaling: Annotated[
        LayerScalingItem | None, Field(description="Scale the merged delta layer by layer; for methods with `lambda`.")
    ] = None
    name: Annotated[str | None, Field(min_length=1, description="A name for the result.")] = None
