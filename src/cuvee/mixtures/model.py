"""A mixture of experts as it is asked for, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from cuvee.recipe.model import Locate
from cuvee.types import ModelRef

GateMode = Literal["hidden", "hidden_avg", "hidden_last", "cheap_embed", "least_squares", "random", "uniform_random"]
"""Where the rows of the routers come from; see `mixtures.gates`."""

Others = Literal["base", "average"]
"""What becomes of everything that is no expert: the base model's, or the mean over the experts."""

PROMPTED: Final = ("hidden", "hidden_avg", "hidden_last", "cheap_embed", "least_squares")
"""The gate modes that are found from prompts."""


@dataclass(frozen=True, slots=True)
class Expert:
    """A dense model whose MLPs become one expert of every layer.

    Attributes:
        model: the model.
        positive: prompts that should be sent to it.
        negative: prompts that should not.
        noise_scale: standard deviation of what is added to every entry of its MLPs, 0 or more.
        residual_scale: what its output is multiplied by, through the down projection.
    """

    model: ModelRef
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    noise_scale: float = 0.0
    residual_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Mixture:
    """A mixture of experts.

    Attributes:
        base: the model whose configuration, tokenizer and other weights are taken.
        experts: those that the routers choose among, in order.
        shared: the expert that every token passes through, none or one.
        gate_mode: where the routers come from.
        dtype: torch name of the output's float dtype, `None` for that of the models.
        per_token: experts that a token is sent to.
        architecture: name of the layout, `None` to choose it by the members.
        others: what becomes of everything that is no expert.
        seed: seed of random routers and noise.
        gate_scale: what random routers are multiplied by.
        root: folder that relative model paths start from (`None` = the working folder).
        locate: from a document path to a place in the file, `None` for mixtures written in Python.
    """

    base: ModelRef
    experts: tuple[Expert, ...]
    shared: tuple[Expert, ...] = ()
    gate_mode: GateMode = "hidden"
    dtype: str | None = None
    per_token: int = 2
    architecture: str | None = None
    others: Others = "base"
    seed: int = 0
    gate_scale: float = 1.0
    root: Path | None = field(default=None, compare=False)
    locate: Locate | None = field(default=None, compare=False, repr=False)

    @property
    def members(self) -> tuple[ModelRef, ...]:
        """All models, each once, the base first."""
        return tuple(dict.fromkeys((self.base, *(expert.model for expert in (*self.experts, *self.shared)))))

    @property
    def gated(self) -> tuple[Expert, ...]:
        """The experts that have a row in `gate_vectors`: all that are chosen among, then a shared one with prompts."""
        return (*self.experts, *(expert for expert in self.shared if expert.positive))

    @property
    def is_prompted(self) -> bool:
        """Whether its routers are found from prompts."""
        return self.gate_mode in PROMPTED

    @property
    def alike(self) -> list[list[str]]:
        """Numbers of the experts whose prompts are the same, those of one group together."""
        groups: dict[object, list[str]] = {}
        for number, expert in enumerate(self.experts):
            prompts = tuple(sorted(expert.positive)), tuple(sorted(expert.negative))
            groups.setdefault(prompts, []).append(str(number))
        return [group for group in groups.values() if len(group) > 1]
