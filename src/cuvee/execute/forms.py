"""Which form of a method's arithmetic a run uses, made ready while other things are done."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from cuvee import fused
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, UsageError
from cuvee.execute.fast import is_served, out_dtype, row_dtype
from cuvee.execute.hands import ROW_DTYPES, Room
from cuvee.execute.proof import same
from cuvee.execute.work import job_of
from cuvee.fused.model import Fused, FusedRound
from cuvee.methods import Job, Method, Round
from cuvee.methods.tiles import combine_tile, findings, stack_of
from cuvee.planning.model import Plan, Step

Kernels = Literal["auto", "fused", "plain"]
_TRIED: Final = (1 << 17) + (1 << 11)
"""Elements of the made-up tensor on which a form is tried: enough for every pass to be made."""


@dataclass(frozen=True)
class Kind:
    """What a form is tried for: dtypes read and written, tensors read, and whether the first of them is a base."""

    source: str
    target: str
    count: int
    based: bool

    @staticmethod
    def of(readers: Sequence[Reader], step: Step) -> Kind:
        """The kind of a step."""
        return Kind(row_dtype(readers, step), out_dtype(step), len(step.pieces), step.base is not None)


class FormSoon:
    """The form of a run, made ready by a thread of its own.

    Importing numba and finding compiled kernels takes about half a second of the interpreter, during which the system
    can make room for the output. Compiling takes seconds.

    Args:
        plan: what will be done.
        readers: the input models.
        method: the method.
        seed: seed of random masks.
        kernels: what was asked for.
        allow_nonfinite: let NaN and infinity pass.

    Raises:
        UsageError: `kernels` is `fused` and numba is not installed.
    """

    def __init__(
        self,
        plan: Plan,
        readers: Sequence[Reader],
        method: Method,
        *,
        seed: int = 0,
        kernels: Kernels = "auto",
        allow_nonfinite: bool = False,
    ) -> None:
        self._form: Fused | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._trouble = ""
        self._is_wanted = True
        self._must = kernels == "fused"
        self._method = method
        if kernels == "fused" and not fused.available():
            hint = "install `cuvee[fast]`, or leave the choice to Cuvee"
            raise UsageError(Fault("bad-argument", "fused kernels need numba, which is not installed", hint=hint))
        # What is not finite takes other ways through the two forms, so a run that lets it pass has the plain one.
        if kernels == "plain" or allow_nonfinite or method.name not in fused.SAVES or not fused.available():
            return
        served = [step for step in plan.steps if is_served(readers, step)]
        kinds = {Kind.of(readers, step): step for step in served}
        entries = sum(step.out.numel * len(step.pieces) for step in served)
        if served and (kernels == "fused" or fused.is_worth_it(method.name, named(kinds), entries)):
            tries = [(job_of(plan, seed, step, numel=_TRIED), kind) for kind, step in kinds.items()]
            self._thread = threading.Thread(target=self._prepare, args=(tries,), daemon=True)
            self._thread.start()

    def _prepare(self, tries: Sequence[tuple[Job, Kind]]) -> None:
        name = self._method.name
        try:
            with torch.no_grad(), fused.one_at_a_time():
                form = fused.form_of(name)
                wrong = any(not gives_the_same(form, self._method, *one) for one in tries if self._is_wanted)
                if not wrong:
                    fused.note_used(name, named(kind for _, kind in tries))
                    self._form = form
        except Exception as error:
            if self._must:
                self._error = error
            else:
                self._trouble = f"the fused form of {name} cannot be used ({type(error).__name__}: {error})"
            return
        if wrong:
            self._trouble = f"the fused form of {name} is wrong on this machine; please report it"

    @property
    def notes(self) -> tuple[str, ...]:
        """Why the fused form was not used after all, if it was to be."""
        return (f"{self._trouble}; the plain form was used",) if self._trouble else ()

    def get(self) -> Fused | None:
        """The form, once it is ready; `None` where the plain one is used.

        Raises:
            Exception: what numba says, where the fused form was asked for.
        """
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        if self._trouble:
            warnings.warn(f"{self._trouble}; the plain form is used", RuntimeWarning, stacklevel=2)
        return self._form

    def let_go(self) -> None:
        """Wait until nothing is being made ready any more: a process must not end in the middle of a compiler."""
        self._is_wanted = False
        if self._thread is not None:
            self._thread.join()


def named(kinds: Iterable[Kind]) -> str:
    """The dtypes that are read and written, as a name: a form is compiled for each pair by itself."""
    return "+".join(sorted({f"{kind.source}-{kind.target}" for kind in kinds}))


def gives_the_same(form: Fused, method: Method, job: Job, kind: Kind) -> bool:
    """Whether a form gives the bytes of the plain one for a made-up tensor, passes and all.

    It also makes the kernels ready. A compiler may be wrong on a processor that nobody has tried.
    """
    chance = torch.Generator().manual_seed(_TRIED)
    first = torch.randn(_TRIED, generator=chance) * 0.02
    others = [first + torch.randn(_TRIED, generator=chance) * 0.002 for _ in range(kind.count - 1)]
    room = Room.over(torch.stack([first, *others]).to(ROW_DTYPES[kind.source]))
    base, values = (room.each[0], room.each[1:]) if kind.based else (None, room.each)
    stack = stack_of(method, values, base, job.dtype)
    out = Room.over(torch.empty(1, _TRIED, dtype=ROW_DTYPES[kind.target]))

    def show(following: FusedRound | Round, known: Any) -> Any:
        return _observed(following, known, job, room, stack)

    form.combiner(job, findings(form.measure, job, show))(room.bits, 0, out.bits[0])
    expected = combine_tile(method, stack, base, 0, job, findings(method.measure, job, show))
    return same(expected.to(out.rows.dtype), out.each[0])


def _observed(following: FusedRound | Round, known: Any, job: Job, room: Room, stack: Tensor) -> Any:
    """What a pass of either form finds."""
    if isinstance(following, Round):
        return following.observe(stack, 0, job, known)
    import numpy as np

    shown = [room.bits[:, start:stop] for start, stop in following.sample or [(0, _TRIED)]]
    return following.observe(np.concatenate(shown, axis=1), 0)[0]
