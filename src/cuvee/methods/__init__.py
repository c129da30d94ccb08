"""Merge methods, one per file: `get` one by name, `specs` to read what they declare without loading torch."""

from __future__ import annotations

from collections.abc import Mapping

from cuvee.methods import actmat as _actmat
from cuvee.methods import dare_linear as _dare_linear
from cuvee.methods import dare_ties as _dare_ties
from cuvee.methods import della as _della
from cuvee.methods import della_linear as _della_linear
from cuvee.methods import emr as _emr
from cuvee.methods import fisher as _fisher
from cuvee.methods import linear as _linear
from cuvee.methods import passthrough as _passthrough
from cuvee.methods import regmean as _regmean
from cuvee.methods import slerp as _slerp
from cuvee.methods import task_arithmetic as _task_arithmetic
from cuvee.methods import ties as _ties
from cuvee.methods import wudi as _wudi
from cuvee.methods.declare import METHODS, Method, merge_method
from cuvee.methods.job import Job, Round
from cuvee.types import MethodSpec

__all__ = ["METHODS", "Job", "Method", "Round", "get", "merge_method", "names", "specs"]

_BUILT_IN = (
    *(_linear, _slerp, _task_arithmetic, _ties, _dare_linear, _dare_ties, _passthrough),
    *(_della, _della_linear),
    *(_emr,),
    *(_fisher, _regmean, _wudi, _actmat),
)


def get(name: str) -> Method:
    """The method of that name.

    Raises:
        RecipeError: there is none; the message gives the nearest name.
    """
    return METHODS.get(name)


def names() -> tuple[str, ...]:
    """All names, sorted."""
    return tuple(METHODS)


def specs() -> Mapping[str, MethodSpec]:
    """What every method declares, by name."""
    return {name: METHODS.get(name).spec for name in METHODS}
