"""A trained thing: how to ask it, what its answers mean, what it reads and what it costs. What adapters give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from cuvee.predict.rows import Reads

Task = Literal["classification", "regression"]
Label = str | int | bool | float
"""A class by the name that users know it by."""

Output = Literal["probabilities", "logits", "scores", "labels", "values", "embeddings"]
"""What a member says of a row: `probabilities` [K] sum to one; `logits` [K] become them by softmax (two classes may
come as one column: softmax of (0, z)); `scores` [K] of any scale are ranked or stacked, never averaged as
probabilities; a `label`; the `value` of a regression; `embeddings` [D], which only a stack can use."""

Missing = Literal["error", "zero", "uniform", "mask"]
"""What is done where a member knows only k of the K classes of the ensemble. `error`: it is refused. `zero`: the others
get 0. `uniform`: they get 1/K each, and what it says is scaled by k/K. `mask`: they get what the members that know them
say on average, and what it says is scaled to the rest."""

NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cost:
    """What a member costs, measured.

    Attributes:
        us_per_row: median time of warm calls per row, microseconds.
        batch: rows in a call.
        nbytes: size on disk, bytes; `None` where it lies nowhere.
        memory: what it adds to the memory of the process, bytes; `None` where it was not measured.
        threads: threads that it may have used.
        processor: the processor it was measured on.
    """

    us_per_row: float
    batch: int
    nbytes: int | None = None
    memory: int | None = None
    threads: int = 1
    processor: str = ""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained thing that can be a member; `cuvee.predict.Member` is this with the ways to make one.

    Attributes:
        name: what it is called, unlike all others of the ensemble.
        kind: which adapter made it: `sklearn`, `transformers`, `onnx`, `callable`, `recipe`, `ensemble` …
        ask: what it reads of n rows → its raw answers, `[n]` or `[n, …]`; nothing is checked yet (`answers.ask` does).
        output: what the raw answers mean.
        classes: its own labels in the order of its columns; none for values and embeddings.
        label_map: its own label → the ensemble's; labels that are not there mean themselves.
        missing: what is done about classes of the ensemble that it does not know.
        reads: the column or columns it reads; all without.
        inverse: for a regression on another scale: its value → the ensemble's.
        thing: the trained object, or the folder or file that it is.
        settings: what the adapter needs besides to make it again, as JSON can say it.
        refit: rows it reads, their labels → a fresh member trained on them; `None` for one that cannot be trained anew.
        embed: what it reads of n rows → embeddings `[n, D]`; `None` where there are none.
        cost: what it costs, once measured.
    """

    name: str
    kind: str
    ask: Callable[[Any], Any]
    output: Output
    classes: tuple[Label, ...] = ()
    label_map: Mapping[Label, Label] = field(default_factory=dict)
    missing: Missing = "error"
    reads: Reads = None
    inverse: Callable[[Any], Any] | None = None
    thing: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    refit: Callable[[Any, Any], Trained] | None = None
    embed: Callable[[Any], Any] | None = None
    cost: Cost | None = None
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """What it can be a member of."""
        return "regression" if self.output == "values" else "classification"

    @property
    def known(self) -> tuple[Label, ...]:
        """Its classes by the names that the ensemble uses, in the order of its columns."""
        return tuple(self.label_map.get(label, label) for label in self.classes)
