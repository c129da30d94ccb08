"""Whether two runs are the same job: recipe, settings, layout and inputs, and what differs where they are not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cuvee.checkpoint.fingerprint import digest_bytes
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.journal import AFRESH
from cuvee.checkpoint.protocol import Layout
from cuvee.errors import Fault, listed

INPUTS: Final = "inputs"
_STEPS: Final = "steps"
_WORDS: Final = {
    "recipe": "the recipe was edited",
    "output": "the output would be laid out otherwise",
    "versions": "other versions are installed",
    INPUTS: "an input changed",
}


def job_of(
    settings: Mapping[str, Any], steps: Any, layout: Layout, inputs: Mapping[str, Sequence[InputFile]]
) -> dict[str, Any]:
    """Everything on which an output's bytes depend, as JSON holds it.

    Args:
        settings: recipe, seed, versions and whatever else is told by name where it differs.
        steps: what is done to every tensor, as plain data; only its fingerprint is kept.
        layout: where every byte will stand.
        inputs: the files of every model, by the model's number and name.
    """
    found = {
        **settings,
        "output": {s.name: {"bytes": s.nbytes, "header": digest_bytes(s.header)} for s in layout.shards},
        INPUTS: {model: [_file(file) for file in files] for model, files in inputs.items()},
        _STEPS: digest_bytes(json.dumps(steps, sort_keys=True).encode("ascii")),
    }
    as_stored: dict[str, Any] = json.loads(json.dumps(found))
    return as_stored


def _file(file: InputFile) -> dict[str, Any]:
    return {"name": file.name, "fixed": dict(file.fixed), "loose": dict(file.loose)}


def job_faults(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Fault]:
    """Everything that makes a job another one than it was; the places of its inputs and their rights do not.

    Args:
        was: the job of a journal.
        now: what is asked for.
    """
    return [_fault(part, how) for part, how in job_differences(was, now).items()]


def job_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every part of a job that is another one than it was, and how; places of inputs and their rights aside.

    Args:
        was: a job.
        now: another, or the same.
    """
    before, after = _without_places(was), _without_places(now)
    parts = [part for part in dict.fromkeys([*after, *before]) if before.get(part) != after.get(part)]
    named = [part for part in parts if part != _STEPS]
    return {part: _how(part, before, after) for part in named or parts}


def touched_files(was: Mapping[str, Any], now: Mapping[str, Any]) -> frozenset[str]:
    """Names of input files that may have been written to, although their size and time are what they were."""
    pairs = (
        (before, after) for model, files in now[INPUTS].items() for before, after in zip(was[INPUTS][model], files)
    )
    return frozenset(after["name"] for before, after in pairs if before["loose"] != after["loose"])


def _without_places(job: Mapping[str, Any]) -> dict[str, Any]:
    inputs = {model: [file["fixed"] for file in files] for model, files in job[INPUTS].items()}
    return {**job, INPUTS: inputs}


def _how(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    if part == _STEPS:
        return ["what the models' configurations ask for"]
    wide = isinstance(before.get(part), Mapping)
    return list(differences(before.get(part, _GONE), after.get(part, _GONE), "" if wide else part))


def _fault(part: str, how: Sequence[str]) -> Fault:
    what = _WORDS.get(part, "the run is another one")
    message = f"{what} since the run that was interrupted: {listed(how)}"
    return Fault("resume-mismatch", message, subject=part, hint=f"undo that, or {AFRESH}")


def differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """Every place where two pieces of data differ, and how.

    Example:
        >>> list(differences({"a": [1, 2], "b": 1}, {"a": [1, 3]}))
        ['`a[1]` was 2, is 3', '`b` was 1, is gone']
    """
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in [*was, *(key for key in now if key not in was)]:
            yield from differences(was.get(key, _GONE), now.get(key, _GONE), f"{name}.{key}" if name else str(key))
    elif _is_list(was) and _is_list(now) and len(was) == len(now):
        for i, (before, after) in enumerate(zip(was, now)):
            yield from differences(before, after, f"{name}[{i}]")
    elif was != now:
        yield f"`{name}` {_was(was)}, {_is(now)}"


class _Gone:
    """What is not there."""


_GONE: Final = _Gone()
_SHOWN: Final = 60


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _was(value: Any) -> str:
    return "was not there" if value is _GONE else f"was {_short(value)}"


def _is(value: Any) -> str:
    return "is gone" if value is _GONE else f"is {_short(value)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
