"""A text while it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cuvee.generate.prompts import Rendered
from cuvee.generate.streaming import Stream
from cuvee.generate.written import Reason, Written


@dataclass(frozen=True, slots=True)
class Taken:
    """A candidate that was accepted.

    Attributes:
        number: its id in the first model's vocabulary, `None` where models have no common ids.
        piece: the bytes that it writes, none of a special token.
        is_end: whether the text ends with it.
    """

    number: int | None
    piece: bytes
    is_end: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of the place of a token.

    Attributes:
        log: log-probability of the accepted one.
        entropy: of the distribution, nats.
        fused: whether models were fused.
        agreed: whether it was the likeliest, for each model.
    """

    log: float
    entropy: float
    fused: bool
    agreed: Sequence[bool]


@dataclass(eq=False)
class Row:
    """One text and its prompt.

    Attributes:
        prompts: as each model reads it.
        key: the prompt and which sample of it this is: what draws depend on.
        stream: its text.
        ids: accepted tokens, where models have common ids.
        sofar: the bytes that were written.
        reason: why it is over, `None` before it is.
    """

    prompts: Sequence[Rendered]
    key: tuple[str, int]
    stream: Stream
    ids: list[int] = field(default_factory=list)
    sofar: bytes = b""
    reason: Reason | None = None
    _text: str = ""
    _pieces: list[bytes] = field(default_factory=list)
    _told: list[Told] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is written."""
        return self.reason is not None

    @property
    def place(self) -> int:
        """Of the next token, from 0."""
        return len(self._told)

    def accept(self, taken: Taken, told: Told, most: int) -> str:
        """One more token; what of the text can be shown for it."""
        self.sofar += taken.piece
        self._pieces.append(taken.piece)
        self._told.append(told)
        if taken.number is not None:
            self.ids.append(taken.number)
        shown = self.stream.add(taken.piece)
        self.reason = (
            "end" if taken.is_end else "stop" if self.stream.stopped else "length" if self.place >= most else None
        )
        if self.is_over:
            shown += self.stream.finish()
        self._text += shown
        return shown

    def cut(self) -> str:
        """End it where it is; what can still be shown."""
        self.reason = "length"
        shown = self.stream.finish()
        self._text += shown
        return shown

    def written(self, names: Sequence[str]) -> Written:
        """What it came to."""
        agreed: Mapping[str, int] = {name: sum(one.agreed[k] for one in self._told) for k, name in enumerate(names)}
        return Written(
            text=self._text,
            ids=tuple(self.ids),
            pieces=tuple(self._pieces),
            logs=tuple(one.log for one in self._told),
            entropies=tuple(one.entropy for one in self._told),
            fused=tuple(one.fused for one in self._told),
            agreed=agreed,
            reason=self.reason or "length",
        )
