"""The structure of a mixture's YAML: that of mergekit-moe and a few keys of our own; no other key is let pass."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cuvee.errors import nearest
from cuvee.layers.mixtures import ALIASES, LAYOUTS
from cuvee.recipe.findings import described
from cuvee.recipe.item import Item, fault
from cuvee.recipe.schema import Model
from cuvee.types import DTYPES


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _finite(value: float) -> float:
    if not abs(value) < float("inf"):
        raise fault("wrong-value", f"should be a finite number, found {described(value)}")
    return value


def _seed(value: Any) -> Any:
    if isinstance(value, float) and abs(value) >= 2**63:  # as which an integer is read that 64 bits do not hold
        raise fault("wrong-value", f"should be an integer that 64 bits hold, found {described(value)}")
    return value


def _dtype(value: str) -> str:
    floats = [name for name, dtype in DTYPES.items() if dtype.kind == "float"]
    if value not in floats:
        raise fault("wrong-value", f"should be a float dtype, found {described(value)}", nearest(value, floats))
    return value


def _layout(value: str) -> str:
    known = (*LAYOUTS, *ALIASES)
    if value not in known:
        raise fault("no-layout", f"should be the name of a layout, found {described(value)}", nearest(value, known))
    return value


Prompts = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_texts)]
Scale = Annotated[float, AfterValidator(_finite)]


class ExpertItem(Item):
    """A dense model whose MLPs become an expert."""

    source_model: Annotated[Model, Field(description="The model: `path[@revision][+adapter]`.")]
    positive_prompts: Annotated[Prompts, Field(description="Texts that should be sent to this expert.")] = []  # noqa: RUF012
    negative_prompts: Annotated[Prompts, Field(description="Texts that should not.")] = []  # noqa: RUF012
    positive_prompts_file: Annotated[str | None, Field(min_length=1, description="More of them, a line each.")] = None
    negative_prompts_file: Annotated[str | None, Field(min_length=1, description="More of them, a line each.")] = None
    noise_scale: Annotated[Scale, Field(ge=0, description="Spread of noise added to every entry.")] = 0.0
    residual_scale: Annotated[Scale, Field(description="What the expert's output is multiplied by.")] = 1.0


class MixtureItem(Item):
    """A mixture of experts."""

    base_model: Annotated[Model, Field(description="What everything but the experts is taken from.")]
    experts: Annotated[list[ExpertItem], Field(min_length=1)]
    shared_experts: Annotated[list[ExpertItem] | None, Field(description="At most one: every token passes it.")] = None
    gate_mode: Annotated[
        Literal["hidden", "hidden_avg", "hidden_last", "cheap_embed", "least_squares", "random", "uniform_random"],
        Field(description="Where the routers come from."),
    ] = "hidden"
    dtype: Annotated[Annotated[str, AfterValidator(_dtype)] | None, Field(description="Float dtype of the output.")] = (
        None
    )
    experts_per_token: Annotated[int, Field(ge=1, description="Experts that a token is sent to.")] = 2
    architecture: Annotated[
        Annotated[str, AfterValidator(_layout)] | None,
        Field(description="Layout of the output; chosen by the members without it."),
    ] = None
    others: Annotated[
        Literal["base", "average"], Field(description="Everything else: the base's, or the experts' mean.")
    ] = "base"
    seed: Annotated[int, BeforeValidator(_seed), Field(description="Seed of random routers and of noise.")] = 0
    gate_scale: Annotated[Scale, Field(ge=0, description="What random routers are multiplied by.")] = 1.0


ITEMS: Final[dict[str, type[Item]]] = {"experts": ExpertItem, "shared_experts": ExpertItem}
"""The structure of the mappings in lists, by the list's key."""
