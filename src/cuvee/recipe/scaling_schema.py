"""What scales the layers of a merge."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from cuvee.recipe.item import Item, fault

LINES: Final = "<lines>"
LARV: Final = "<larv>"
"""Tags of the policies, as in `schema`."""


class LinesItem(Item):
    """The merged delta of every layer times a factor that grows with the layer's depth."""

    policy: Annotated[
        Literal["lines", "larv"],  # both, because a word that is neither is refused here
        Field(description="`lines`: α + β l / (L − 1) for layer l of L.", json_schema_extra={"enum": ["lines"]}),
    ]
    alpha: Annotated[
        float | None,
        Field(description="Factor of the first layer and outside the layers; found from the models' norms without it."),
    ] = None
    beta: Annotated[float, Field(description="What the last layer's factor is larger by.")]


class LarvItem(Item):
    """The merged delta of every layer times a factor found from the weights: concentrated and harmless changes more."""

    policy: Annotated[
        Literal["lines", "larv"],  # both, as above
        Field(description="`larv`: by the score of the layer.", json_schema_extra={"enum": ["larv"]}),
    ]
    mapping: Annotated[
        Literal["tiers", "continuous"] | None,
        Field(description="`tiers` (default): the layers in order of score, in as many equal parts as `scales`."),
    ] = None
    scales: Annotated[
        list[float] | None, Field(min_length=2, description="Factor of each tier, lowest score first; 0.5, 1, 1.5.")
    ] = None
    eta: Annotated[float | None, Field(description="Exponent of the effective-rank contrast; 1.")] = None
    rho: Annotated[float | None, Field(description="Exponent of the depth; 0.5.")] = None
    gamma: Annotated[float | None, Field(description="Steepness of the continuous mapping; 3.")] = None

    @model_validator(mode="after")
    def _goes_together(self) -> LarvItem:
        """Every key has an effect."""
        idle = "gamma" if (self.mapping or "tiers") == "tiers" else "scales"
        if getattr(self, idle) is not None:
            message = f"should have no `{idle}` with `mapping: {self.mapping or 'tiers'}`, which does not use it"
            raise fault("ill-placed-parameter", message, f"take `{idle}` out, or choose the other mapping")
        return self


def _policy(value: Any) -> str:
    """Which of the two is meant; where the policy is none of them, its keys say more."""
    given = value if isinstance(value, dict) else {}
    if given.get("policy") in ("lines", "larv"):
        return LARV if given["policy"] == "larv" else LINES
    return LARV if given.keys() & (LarvItem.model_fields.keys() - LinesItem.model_fields.keys()) else LINES


LayerScalingItem = Annotated[Annotated[LinesItem, Tag(LINES)] | Annotated[LarvItem, Tag(LARV)], Discriminator(_policy)]
