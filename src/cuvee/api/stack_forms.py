"""The ways to say a stack, from a call's arguments to runs of layers, with everything that may be wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cuvee.api.arguments import unfit
from cuvee.errors import Fault, UsageError
from cuvee.layers.order import Run, depth_upscaled, dropped, expanded, repeated, reversed_in
from cuvee.recipe.layer_list import read_layers, read_runs

_HINT: Final = "layers count from 0 and both ends of a range are taken, as in `0-7, 4-11, 15-12, 20`"


@dataclass(frozen=True, slots=True)
class Form:
    """One way to say a stack: its name, what was given, and what it makes of so many layers.

    Attributes:
        name: the argument.
        given: its value.
        named: the layers that it names, which must be there.
        make: from the number of layers to the stack; raises `ValueError` with what should have been.
    """

    name: str
    given: object
    named: tuple[int, ...]
    make: Callable[[int], Sequence[Run]]

    def runs(self, count: int, label: str) -> tuple[Run, ...]:
        """The stack made of a model.

        Args:
            count: layers that it has.
            label: its name in messages.

        Raises:
            UsageError: it has not the layers that are named, or the stack is none.
        """
        if beyond := [layer for layer in self.named if layer >= count]:
            message = f"{label} has {count} layers, 0 to {count - 1}; `{self.name}` asks for {max(beyond)}"
            raise UsageError(Fault("layers-out-of-range", message, subject=self.name, hint=_HINT))
        try:
            return tuple(self.make(count))
        except ValueError as error:
            message = f"`{self.name}` should be {error}"
            raise UsageError(Fault("bad-layer-range", message, subject=self.name)) from None


def form_of(given: Mapping[str, object]) -> Form:
    """The one form that a call gives.

    Args:
        given: the arguments that say a stack, `None` for those not given.

    Raises:
        UsageError: none is given, or several; or the one is of the wrong type or reads wrongly.
    """
    there = [name for name, value in given.items() if value is not None]
    if len(there) != 1:
        listed = ", ".join(f"`{name}`" for name in given)
        message = f"exactly one of {listed} should be given; found {' and '.join(there) or 'none'}"
        hint = "`layers` can say any stack, several changes at once"
        raise UsageError(Fault("bad-argument", message, subject=(there or list(given))[0], hint=hint))
    return _of_number(there[0], given[there[0]]) if there[0] in _NUMBERS else _of_text(there[0], given[there[0]])


_NUMBERS: Final[Mapping[str, Callable[[int, int], Sequence[Run]]]] = {
    "depth_upscale": depth_upscaled,
    "expand": expanded,
    "drop_least": lambda count, block: _block_of(count, block),
}


def _block_of(count: int, block: int) -> tuple[Run, ...]:
    """The stack is known only when the text was read; here it is checked that there is one."""
    if not 1 <= block < count:
        raise ValueError(f"from 1 to {count - 1}, since the last layer stays, found {block}")
    return (Run(tuple(range(count - block))),)


def _of_number(name: str, value: object) -> Form:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(unfit(name, "an integer", value))
    number: int = value
    return Form(name, value, (), lambda count: _NUMBERS[name](count, number))


def _of_text(name: str, value: object) -> Form:
    if not isinstance(value, str):
        raise UsageError(unfit(name, "a list of layers", value, _HINT))
    try:
        items = read_runs(value)
        layers = read_layers(value)
    except ValueError as error:
        raise UsageError(Fault("bad-layer-range", f"`{name}` should be {error}", subject=name, hint=_HINT)) from None
    if name in ("drop", "reverse") and any(times is not None for _, times in items):
        message = f"`{name}` should be layers and ranges without a number of times, found {value!r}"
        raise UsageError(Fault("bad-layer-range", message, subject=name, hint=_HINT))
    return Form(name, value, tuple(dict.fromkeys(layers)), _TEXTS[name](items, layers))


_Items = Sequence[tuple[tuple[int, ...], int | None]]
_TEXTS: Final[Mapping[str, Callable[[_Items, tuple[int, ...]], Callable[[int], Sequence[Run]]]]] = {
    "layers": lambda _items, layers: lambda _count: (Run(layers),),
    "drop": lambda _items, layers: lambda count: dropped(count, set(layers)),
    "repeat": lambda items, _layers: lambda count: repeated(count, [(run, times or 2) for run, times in items]),
    "reverse": lambda items, _layers: lambda count: reversed_in(count, [run for run, _ in items]),
}


def arguments(**given: Any) -> dict[str, object]:
    """The arguments that say a stack, in the order in which they are told."""
    names = ("depth_upscale", "layers", "drop", "repeat", "reverse", "expand", "drop_least")
    return {name: given[name] for name in names}
