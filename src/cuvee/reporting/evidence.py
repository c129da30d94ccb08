"""What there is to tell of a merge: its record, and what the judge, the search and the explanation said of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Plain data about a model folder, each in the form in which a command printed or wrote it.

    Attributes:
        folder: the model.
        record: its `cuvee.json`.
        config: its `config.json`; empty where there is none.
        comparison: what `cuvee compare --json` printed.
        searches: `result.json` of searches, with their trials under `tried`.
        explanations: each entry of `explanations` in what `cuvee explain --json` printed, with its `citations`.
    """

    folder: Path
    record: Data
    config: Data
    comparison: Data | None = None
    searches: tuple[Data, ...] = ()
    explanations: tuple[Data, ...] = ()


_FIGURE: Final = {"value": float, "stderr?": float}
_GAIN: Final = {"value": float, "low?": float, "high?": float}
_VERDICT: Final = ("better", "worse", "within noise")
_DIFFERENCE: Final = {**_GAIN, "verdict": _VERDICT, "rows": int, "differing": int}
_AGAINST: Final = {"model": str, "among": int, "difference": _DIFFERENCE}
_CELL: Final = {
    **_FIGURE,
    "metric": str,
    "n": int,
    "direction": ("higher", "lower"),
    "normalised?": float,
    "against?": _DIFFERENCE,
}
_GROUPS: Final = {
    "model": str,
    "task": str,
    "metric": str,
    "column": str,
    "figures": [{"name": str, "value?": float, "small": bool}],
    "gap?": float,
    "gap_low?": float,
    "gap_high?": float,
}
COMPARISON: Final = {
    "tasks": {str: str},
    "raw": bool,
    "models": [
        {
            "model": str,
            "parent": bool,
            "tasks": {str: _CELL},
            "mean": float,
            "minimum": float,
            "hardest": str,
            "against?": _AGAINST,
            "cost": {"parameters?": int, "seconds_per_row?": float},
        }
    ],
    "groups": [_GROUPS],
    "forms": [{"model": str, "task": str, "share": float, "against?": _AGAINST, "collapsed": bool}],
    "notes": [str],
}
"""What is needed of a comparison: types, words of which it is one, lists of one form, names with forms.

A `?` stands after what may be missing or null.
"""
_CITES: Final = [{"text": str, "arxiv?": str, "url?": str}]
EXPLANATION: Final = {
    "explanations": [
        {
            "subject": str,
            "task": str,
            "metric": str,
            "n": int,
            "of": str,
            "whole": _FIGURE,
            "nothing": {"what": str, **_FIGURE},
            "exact": bool,
            "coalitions": int,
            "permutations?": int,
            "parts": [{"name": str, "shapley": _GAIN, "leave_one_out": _GAIN, "alone?": _FIGURE}],
        }
    ],
    "citations": _CITES,
}
_WORTH: Final = {"search": _FIGURE, "held_out": _FIGURE}
_RIVAL: Final = {"model": str, **_WORTH, "best_is_more_by": _FIGURE, "best_is": _VERDICT}
SEARCH: Final = {
    "strategy": str,
    "objectives": [{"task": str}],
    "best": {"trial": int, "values": dict, **_WORTH},
    "optimism": _FIGURE,
    "best_parent?": _RIVAL,
    "uniform?": _RIVAL,
    "pareto": [{"trial": int}],
    "notes": [str],
    "citations": _CITES,
    "tried": [{"number": int, "state": str, "gains?": [float], "seconds": float}],
}
_WORDS: Final = {str: "a text", int: "an integer", float: "a number", bool: "true or false", dict: "a mapping"}


def fit(found: object, form: object, most: int = 3) -> list[str]:
    """Where evidence has not the form that its command gives it: the first few places.

    Args:
        found: the JSON.
        form: such as `COMPARISON`.
        most: places that are told.
    """
    return list(islice(_misfits(found, form, ""), most))


def _misfits(found: object, form: object, at: str) -> Iterator[str]:
    if isinstance(form, list):
        if not isinstance(found, list | tuple):
            yield f"{at or 'it'} should be a list"
            return
        for number, entry in enumerate(found):
            yield from _misfits(entry, form[0], f"{at}[{number}]")
    elif isinstance(form, dict):
        yield from _of_names(found, form, at)
    elif isinstance(form, tuple):
        if found not in form:
            yield f"{at or 'it'} should be one of {', '.join(form)}; found {found!r:.40}"
    elif not _is(found, form):
        yield f"{at or 'it'} should be {_WORDS[form]}; found {found!r:.40}"  # type: ignore[index]


def _of_names(found: object, form: Mapping[Any, Any], at: str) -> Iterator[str]:
    if not isinstance(found, dict):
        yield f"{at or 'it'} should be a mapping; found {found!r:.40}"
        return
    if str in form:
        for name, entry in found.items():
            yield from _misfits(entry, form[str], f"{at}.{name:.40}".lstrip("."))
        return
    for name, inner in form.items():
        key = name.removesuffix("?")
        if found.get(key) is None:
            if key == name:
                yield f"{f'{at}.{key}'.lstrip('.')} is missing"
        else:
            yield from _misfits(found[key], inner, f"{at}.{key}".lstrip("."))


def _is(found: object, kind: object) -> bool:
    """Whether a value is of a type; integers are numbers too, `true` and NaN are none."""
    if kind is float:
        return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return type(found) is kind
