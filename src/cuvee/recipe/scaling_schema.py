"""The base of every mapping in a recipe, and what scales the layers of a merge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Item(BaseModel):
    """Base of every mapping in a recipe."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LayerScalingItem(Item):
    """The merged delta of every layer times a factor that grows with the layer's depth."""

    policy: Annotated[Literal["lines"], Field(description="`lines`: α + β l / (L − 1) for layer l of L.")]
    alpha: Annotated[
        float | None,
        Field(description="Factor of the first layer and outside the layers; found from the models' norms without it."),
    ] = None
    beta: Annotated[float, Field(description="What the last layer's factor is larger by.")]
