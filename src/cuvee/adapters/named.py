"""The names that an extracted adapter gives: those of the base on disk, and what transformers makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cuvee.checkpoint.adapter_names import Prefix, match_names
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.renamed import Renamed
from cuvee.errors import UsageError, listed
from cuvee.families.names import is_optional, is_table, is_vocabulary
from cuvee.families.pretrained import CannotJudge
from cuvee.families.shown import Shown, shown_as

_CONV1D: Final = ("gpt2", "imagegpt", "openai-gpt", "decision_transformer", "gpt_sw3")
"""Kinds of models whose linear maps stand as inputs by outputs."""


@dataclass(frozen=True)
class Names:
    """A base's tensors as PEFT will meet them.

    Attributes:
        base: the base.
        shown: what transformers makes of them; `None` where it cannot be asked.
        why: why it cannot.
    """

    base: Reader
    shown: Shown | None = None
    why: str = ""

    def of(self, name: str) -> str:
        """The name in the model that transformers builds; that on disk for what is stacked or fused there."""
        return name if self.shown is None else self.shown.names.get(name, name)

    def others(self, name: str) -> tuple[str, ...]:
        """Further names, in the model that transformers builds, of the same tensor."""
        return () if self.shown is None else self.shown.others.get(name, ())

    def is_embedding(self, name: str) -> bool:
        """Whether a tensor is an embedding, which stands as tokens by width."""
        if self.shown is not None and name in self.shown.names:
            return name in self.shown.embeddings
        return is_table(name)

    def is_turned(self, name: str) -> bool:
        """Whether a weight stands as inputs by outputs: those of GPT-2's layers."""
        if self.shown is not None:
            return name in self.shown.transposed
        kind = (self.base.config or {}).get("model_type")
        return kind in _CONV1D and not is_vocabulary(name) and any(part.isdigit() for part in name.split("."))

    def is_needed(self, name: str) -> bool:
        """Whether a model lacks something without this tensor; older checkpoints hold masks and positions besides."""
        return not is_optional(name) and (self.shown is None or name not in self.shown.unplaced)

    def notes(self, factored: Mapping[str, object]) -> Iterator[str]:
        """What there is to know of the names of the tensors that get factors."""
        if self.shown is None:
            yield f"modules have the names on disk, which transformers may change: {self.why}"
        elif reworked := [name for name in factored if name in self.shown.reworked]:
            said = (
                f"{len(reworked)} modules ({listed(reworked)}) are stacked, fused or no linear maps in {self.shown.cls}"
            )
            yield f"{said}: they have their names on disk, and PEFT loads them if it knows how that is done"


def names_of(base: Reader, tuned: Reader) -> Names:
    """Ask transformers for the names of a base and of what was tuned from it."""
    if base.config is None:
        return Names(base, why=f"{base.label} has no config.json")
    try:
        return Names(base, shown_as(base.label, base.config, {**base.specs, **tuned.specs}))
    except (CannotJudge, UsageError) as error:
        return Names(base, why=error.faults[0].message)


def aligned(tuned: Reader, names: Names) -> Reader:
    """The fine-tuned model under the base's names, where they differ by what stands before them."""
    base = names.base
    wanted = {name: (spec.shape,) for name, spec in tuned.specs.items() if names.is_needed(name)}
    named = match_names(wanted, base.specs)
    if not named.prefixes:
        return tuned
    ours = {name: named.found.get(name, name) for name in tuned.specs}
    for name in ours.keys() - named.found.keys():  # of another shape, which is told by the base's name
        led = [other for one in named.prefixes if (other := one.apply(name)) in base.specs]
        ours[name] = led[0] if led and led[0] is not None else name
    if len(set(ours.values())) != len(ours):
        return tuned
    notes = [f"{tuned.label}: {_told(one)} in {base.label}" for one in named.prefixes]
    return Renamed(tuned, ours, tuned.config, tuned.side_files, notes)


def _told(prefix: Prefix) -> str:
    if prefix.taken and prefix.put:
        return f"`{prefix.taken}` of its names is `{prefix.put}`"
    return f"its names stand {'without' if prefix.taken else 'behind'} `{prefix.taken or prefix.put}`"
