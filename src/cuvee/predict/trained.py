"""A trained thing: how to ask it, what its answers mean, what it reads and what it costs. What adapters give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from cuvee.errors import Fault, UsageError
from cuvee.predict.labels import Label, label_faults, map_faults, named
from cuvee.predict.rows import Reads

__all__ = ["NOTHING", "Cost", "Label", "Missing", "Output", "Task", "Trained"]

Task = Literal["classification", "regression"]

Output = Literal["probabilities", "logits", "scores", "labels", "values", "embeddings"]
"""What a member says of a row: `probabilities` [K] sum to one; `logits` [K] become them by softmax (two classes may
come as one column: softmax of (0, z)); `scores` [K] of any scale are ranked or stacked, never averaged as
probabilities; a `label`; the `value` of a regression; `embeddings` [D], which only a stack can use."""

Missing = Literal["error", "zero", "uniform", "mask"]
"""What is done where a member knows only k of the K classes of the ensemble. `error`: it is refused. `zero`: the others
get 0. `uniform`: they get 1/K each, and what it says is scaled by k/K. `mask`: they get what the members that know them
say on average, and what it says is scaled to the rest (`combine.fill_unknown`)."""

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
        classes: its own labels in the order of its columns; none for values and embeddings, nor for what is yet to be
            trained (`refit`).
        label_map: its own label → the ensemble's; labels that are not there mean themselves.
        missing: what is done about classes of the ensemble that it does not know.
        reads: the column or columns it reads; all without.
        inverse: for a regression on another scale: its value → the ensemble's.
        thing: the trained object, or the folder or file that it is.
        settings: what the adapter needs besides to make it again, as JSON can say it.
        refit: rows it reads, their labels → a fresh member trained on them; `None` for one that cannot be trained anew.
        embed: what it reads of n rows → embeddings `[n, D]`; `None` where there are none.
        cost: what it costs, once measured.
        notes: what a user should know, such as that its numbers are rounded to float32.
        whole: whether it can say nothing of a row that lacks any of the columns it reads: a text, a picture.
        loaded: bytes that the process grew by while it was loaded; `None` where it was in memory already.

    Raises:
        UsageError: the parts do not fit together; all faults.
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
    whole: bool = False
    loaded: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(named(label) for label in self.classes))
        mapped = {named(own): named(theirs) for own, theirs in self.label_map.items()}
        object.__setattr__(self, "label_map", mapped)
        if faults := list(_faults(self)):
            raise UsageError(faults)

    @property
    def task(self) -> Task:
        """What it can be a member of."""
        return "regression" if self.output == "values" else "classification"

    @property
    def known(self) -> tuple[Label, ...]:
        """Its classes by the names that the ensemble uses, in the order of its columns."""
        return tuple(self.label_map.get(label, label) for label in self.classes)


def _faults(trained: Trained) -> Iterator[Fault]:
    """What is wrong with how a member is described."""
    name, output = trained.name, trained.output
    if not isinstance(name, str) or not name.strip():
        yield Fault("bad-argument", f"a member needs a name; found {name!r}", subject="name")
    for given, known, what in ((output, Output, "output"), (trained.missing, Missing, "missing")):
        if given not in get_args(known):
            message = f"`{what}` of {name!r} should be one of {', '.join(get_args(known))}; found {given!r}"
            yield Fault("bad-argument", message, subject=what)
    yield from label_faults(trained.classes, f"classes of {name!r}")
    if output in ("values", "embeddings") and trained.classes:
        yield Fault("bad-argument", f"{name!r} gives {output}, which have no classes", subject="classes")
    if output not in ("values", "embeddings") and not trained.classes and trained.refit is None:
        hint = 'give `classes`, in the order of its columns; of a regression, `output="values"`'
        yield Fault("bad-argument", f"the classes of {name!r} must be known", subject="classes", hint=hint)
    if trained.classes or trained.refit is None:
        yield from map_faults(trained.label_map, trained.classes, name)
    if trained.missing != "error" and output not in ("probabilities", "logits", "labels"):
        message = f"`missing` of {name!r} should be `error`: {output} cannot be filled up as probabilities are"
        yield Fault("bad-argument", message, subject="missing")
    if trained.inverse is not None and output != "values":
        yield Fault("bad-argument", f"`inverse` is for values; {name!r} gives {output}", subject="inverse")
