"""Which form of a method's arithmetic a run uses, made ready while other things are done."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import torch

from cuvee import fused
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, UsageError
from cuvee.execute.fast import Fast, is_served, out_dtype, row_dtype
from cuvee.execute.hands import Hands
from cuvee.execute.work import job_of
from cuvee.fused.model import Fused, FusedRound
from cuvee.methods import Job, Method
from cuvee.planning.model import Plan

Kernels = Literal["auto", "fused", "plain"]
Kind = tuple[str, str, int]
"""Dtype read, dtype written, and tensors read."""
_TRIED: Final = 2048
"""Elements of the made-up tensor on which a form is tried."""


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
        self._form: Fast | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        if kernels == "fused" and not fused.available():
            hint = "install `cuvee[fast]`, or leave the choice to Cuvee"
            raise UsageError(Fault("bad-argument", "fused kernels need numba, which is not installed", hint=hint))
        # What is not finite takes other ways through the two forms, so a run that lets it pass has the plain one.
        if kernels == "plain" or allow_nonfinite or method.name not in fused.SAVES or not fused.available():
            return
        served = [step for step in plan.steps if is_served(readers, step)]
        kinds = {(row_dtype(readers, step), out_dtype(step), len(step.pieces)): step for step in served}
        entries = sum(step.out.numel * len(step.pieces) for step in served)
        if served and (kernels == "fused" or fused.is_worth_it(method.name, named(kinds), entries)):
            tries = [(job_of(plan, seed, step, numel=_TRIED), kind) for kind, step in kinds.items()]
            self._thread = threading.Thread(target=self._prepare, args=(method.name, tries), daemon=True)
            self._thread.start()

    def _prepare(self, name: str, tries: Sequence[tuple[Job, Kind]]) -> None:
        try:
            with torch.no_grad():
                form = fused.form_of(name)
                for job, kind in tries:
                    _try(form, job, kind)
            fused.note_used(name, named(kind for _, kind in tries))
            self._form = Fast(form)
        except BaseException as error:
            self._error = error

    def get(self) -> Fast | None:
        """The form, once it is ready; `None` where the plain one is used."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._form


def named(kinds: Iterable[Kind]) -> str:
    """The dtypes that are read and written, as a name: a form is compiled for each pair by itself."""
    return "+".join(sorted({f"{source}-{target}" for source, target, _ in kinds}))


def _try(form: Fused, job: Job, kind: Kind) -> None:
    """Run a form on a tensor of zeros, so that its kernels are there when the tiles come."""
    source, target, count = kind
    hands = Hands()
    room = hands.rows(count, _TRIED, source)
    room.rows.zero_()
    known: Any = None
    done = 0
    while isinstance(following := form.measure(job, done, known), FusedRound):
        known = following.conclude(following.observe(room.bits, 0)[0], job, known)
        done += 1
    if following is None:
        form.combiner(job, known)(room.bits, 0, hands.out(_TRIED, target).bits[0])
