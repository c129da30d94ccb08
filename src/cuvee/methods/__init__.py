"""Merge methods, one per file: `get` one by name, `specs` to read what they declare without loading torch."""

from __future__ import annotations

from collections.abc import Mapping

from cuvee.methods import actmat as _actmat
from cuvee.methods import arcee_fusion as _arcee_fusion
from cuvee.methods import breadcrumbs as _breadcrumbs
from cuvee.methods import breadcrumbs_ties as _breadcrumbs_ties
from cuvee.methods import compose as _compose
from cuvee.methods import consensus_ta as _consensus_ta
from cuvee.methods import dare_linear as _dare_linear
from cuvee.methods import dare_ties as _dare_ties
from cuvee.methods import della as _della
from cuvee.methods import della_linear as _della_linear
from cuvee.methods import emr as _emr
from cuvee.methods import expo as _expo
from cuvee.methods import fisher as _fisher
from cuvee.methods import geometric_median as _geometric_median
from cuvee.methods import iso_c as _iso_c
from cuvee.methods import iso_cts as _iso_cts
from cuvee.methods import karcher as _karcher
from cuvee.methods import knots as _knots
from cuvee.methods import krum as _krum
from cuvee.methods import linear as _linear
from cuvee.methods import magmax as _magmax
from cuvee.methods import median as _median
from cuvee.methods import model_stock as _model_stock
from cuvee.methods import multi_krum as _multi_krum
from cuvee.methods import multislerp as _multislerp
from cuvee.methods import nearswap as _nearswap
from cuvee.methods import nuslerp as _nuslerp
from cuvee.methods import opcm as _opcm
from cuvee.methods import passthrough as _passthrough
from cuvee.methods import pcb as _pcb
from cuvee.methods import ram as _ram
from cuvee.methods import ramplus_tl as _ramplus_tl
from cuvee.methods import regmean as _regmean
from cuvee.methods import sce as _sce
from cuvee.methods import slerp as _slerp
from cuvee.methods import task_analogy as _task_analogy
from cuvee.methods import task_arithmetic as _task_arithmetic
from cuvee.methods import task_negation as _task_negation
from cuvee.methods import ties as _ties
from cuvee.methods import ties_global as _ties_global
from cuvee.methods import trimmed_mean as _trimmed_mean
from cuvee.methods import tsv_m as _tsv_m
from cuvee.methods import wise_ft as _wise_ft
from cuvee.methods import wudi as _wudi
from cuvee.methods.declare import METHODS, Method, merge_method
from cuvee.methods.job import Job, Round
from cuvee.types import MethodSpec

__all__ = ["METHODS", "Job", "Method", "Round", "get", "merge_method", "names", "specs"]

_BUILT_IN = (
    *(_linear, _slerp, _task_arithmetic, _ties, _dare_linear, _dare_ties, _passthrough),
    *(_della, _della_linear),
    *(_emr,),
    *(_nuslerp, _multislerp, _karcher, _model_stock),
    *(_sce, _ram, _ramplus_tl, _nearswap, _arcee_fusion),
    *(_breadcrumbs, _breadcrumbs_ties, _ties_global, _compose),
    *(_magmax, _pcb, _consensus_ta, _wise_ft, _expo, _task_negation, _task_analogy),
    *(_median, _trimmed_mean, _geometric_median, _krum, _multi_krum),
    *(_fisher, _regmean, _wudi, _actmat),
    *(_tsv_m, _iso_c, _iso_cts, _knots, _opcm),
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
