"""A pickle's instructions, followed without carrying them out.

torch's unpickler for weights runs no code of strangers. But what it does call can be made to take all memory
(`bytearray` of a number, bytes encoded again and again), to show memory that nobody has written (`torch.Tensor` of a
size), or to work for ever (the hash of tuples of tuples of the same tuple). No file of tensors needs any of that.
"""

from __future__ import annotations

import pickle as op
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

PICKLE_LIMIT: Final = 100_000_000
"""Bytes a pickle may have, tensors not counted: as many as a safetensors header."""
TUPLE_LIMIT: Final = 1_000_000
"""Values in a tuple, tuples in it written out; the arguments of a tensor are some twenty."""

_CONSTANTS: Final = (op.NONE, op.NEWFALSE, op.NEWTRUE, op.EMPTY_TUPLE, op.EMPTY_LIST, op.EMPTY_DICT, op.EMPTY_SET)
_NUMBERS: Final = {op.BININT: 4, op.BININT1: 1, op.BININT2: 2, op.BINFLOAT: 8}
_TEXTS: Final = {op.BINUNICODE: 4, op.SHORT_BINSTRING: 1, op.LONG1: 1}  # bytes of the length before them
_GETS: Final = {op.BINGET: 1, op.LONG_BINGET: 4}
_PUTS: Final = {op.BINPUT: 1, op.LONG_BINPUT: 4}
_TUPLES: Final = {op.TUPLE1: 1, op.TUPLE2: 2, op.TUPLE3: 3}
_ENTERS: Final = {op.APPEND: 1, op.SETITEM: 2}

_ORDERED: Final = "collections.OrderedDict"
_REBUILD: Final = "torch._utils._rebuild_"
_OF_TYPE: Final = "torch._tensor._rebuild_from_type_v2"
_ENCODE: Final = "_codecs.encode"
_HARMLESS: Final = frozenset({_ORDERED, "collections.Counter", "torch.Size", "torch.device"}) | {
    "torch.serialization._get_layout",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "complex")),
}


class Source(Protocol):
    """As much of a file as is needed."""

    def read(self, count: int, /) -> bytes:
        """The next bytes."""

    def readline(self, most: int, /) -> bytes:
        """The next line, of at most so many bytes."""


class Unsafe(Exception):
    """A pickle would do what no file of tensors needs."""


@dataclass(frozen=True, slots=True)
class _Value:
    """What stands on the stack: a global, what a global made, a text, the entries of a tuple, or nothing that matters.

    `size` counts the values in a tuple, tuples in it written out.
    """

    name: str = ""
    made_by: str = ""
    text: bytes = b""
    entries: tuple[_Value, ...] = ()
    size: int = 1


_PLAIN: Final = _Value()


def check_pickle(file: Source) -> None:
    """Follow one pickle to its end.

    Raises:
        Unsafe: it would do what no file of tensors needs.
        ValueError: it has no end, or instructions that torch's unpickler for weights does not know.
    """
    try:
        _Follower(file).follow()
    except LookupError:
        raise ValueError("takes from an empty stack or memo") from None


class _Follower:
    """The stacks and the memo of an unpickler, with stand-ins for the values."""

    def __init__(self, file: Source) -> None:
        self._file = file
        self._left = PICKLE_LIMIT
        self._stack: list[_Value] = []
        self._below: list[list[_Value]] = []
        self._memo: dict[int, _Value] = {}

    def follow(self) -> None:
        while (code := self._read(1)) != op.STOP:
            if not (self._pushes(code) or self._moves(code) or self._calls(code)):
                raise ValueError(f"has the instruction {code!r}")
        self._last(1)

    def _read(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise Unsafe(f"has a pickle of more than {PICKLE_LIMIT:,} bytes")
        found = self._file.read(count)
        if len(found) < count:
            raise ValueError("cut short")
        return found

    def _number(self, count: int) -> int:
        return int.from_bytes(self._read(count), "little")

    def _pushes(self, code: bytes) -> bool:
        """Instructions that put a value on the stack."""
        if code in _CONSTANTS:
            self._stack.append(_PLAIN)
        elif code in _NUMBERS:
            self._read(_NUMBERS[code])
            self._stack.append(_PLAIN)
        elif code in _TEXTS:
            self._stack.append(_Value(text=self._read(self._number(_TEXTS[code]))[:20]))
        elif code in _GETS:
            self._stack.append(self._memo[self._number(_GETS[code])])
        elif code == op.GLOBAL:
            module, name = (self._file.readline(1000)[:-1].decode("utf-8") for _ in range(2))
            self._stack.append(_Value(name=f"{module}.{name}"))
        else:
            return False
        return True

    def _moves(self, code: bytes) -> bool:
        """Instructions that put together what is on the stack, or keep it."""
        if code == op.MARK:
            self._below.append(self._stack)
            self._stack = []
        elif code in (op.APPENDS, op.SETITEMS):
            self._to_mark()
        elif code in _ENTERS:
            self._last(_ENTERS[code])
        elif code in _PUTS:
            self._memo[self._number(_PUTS[code])] = self._stack[-1]
        elif code == op.TUPLE or code in _TUPLES:
            entries = self._last(_TUPLES[code]) if code in _TUPLES else self._to_mark()
            self._stack.append(_as_tuple(entries))
        elif code == op.PROTO:
            self._read(1)
        else:
            return False
        return True

    def _calls(self, code: bytes) -> bool:
        """Instructions that make something."""
        if code == op.BINPERSID:
            self._stack[-1] = _PLAIN
        elif code == op.REDUCE:
            function, arguments = self._last(2)
            _check_call(function, arguments.entries)
            self._stack.append(_Value(made_by=function.name))
        elif code == op.NEWOBJ:
            raise Unsafe(f"makes an object of `{self._last(2)[0].name:.100}`")
        elif code == op.BUILD:
            inside, _ = self._last(2)
            if inside.made_by != _ORDERED:  # a state dict keeps its `_metadata` in this way
                raise Unsafe(f"changes the inside of what `{inside.made_by:.100}` has made")
            self._stack.append(inside)
        else:
            return False
        return True

    def _last(self, count: int) -> list[_Value]:
        if len(self._stack) < count:
            raise IndexError("nothing left on the stack")
        found = self._stack[-count:]
        del self._stack[-count:]
        return found

    def _to_mark(self) -> list[_Value]:
        found, self._stack = self._stack, self._below.pop()
        return found


def _as_tuple(entries: Sequence[_Value]) -> _Value:
    size = 1 + sum(entry.size for entry in entries)
    if size > TUPLE_LIMIT:
        raise Unsafe(f"holds a tuple of more than {TUPLE_LIMIT:,} values, the tuples in it written out")
    return _Value(entries=tuple(entries), size=size)


def _check_call(function: _Value, arguments: Sequence[_Value]) -> None:
    """Refuse calls that torch would carry out and that make no tensor."""
    name = function.name
    if name in _HARMLESS or name.startswith(_REBUILD):
        return
    if name == _OF_TYPE and arguments and arguments[0].name.startswith(_REBUILD):
        return
    if name == _ENCODE and len(arguments) == 2 and arguments[0].text and arguments[1].text == b"latin1":
        return
    raise Unsafe(f"calls `{name or 'what is no function'}`".replace("\n", " ")[:200])
