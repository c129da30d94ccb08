"""The checkpoints that a training run left: found by their names, ordered by their numbers, chosen, and weighted."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, get_args

from cuvee.api.arguments import as_path, switch_faults, unfit
from cuvee.errors import Fault, InputError, UsageError, integer_faults, listed
from cuvee.types import ModelRef, scheme_of

Kind = Literal["uniform", "ema", "linear"]
DECAY: Final = 0.9

_FOLDER: Final = re.compile(
    r"(checkpoint|ckpt|global_?step|step|epoch|iteration|iter)s?[-_=.]?(\d{1,18})", re.IGNORECASE
)
_LAST_NUMBER: Final = re.compile(r"\d{1,18}(?=\D*$)")
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.")
_UNFINISHED: Final = frozenset({"not-a-checkpoint", "truncated", "bad-header", "bad-index", "bad-pickle", "bad-config"})
"""What is wrong with a checkpoint whose writing was cut short."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint: where it is, and the number in its name, if it has one."""

    path: Path
    step: int | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which checkpoints are meant; see `average`."""

    last: int | None = None
    from_step: int | None = None
    to_step: int | None = None
    every: int | None = None
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return self == Selection()


def selection_faults(asked: Selection) -> list[Fault]:
    """What is wrong with a selection, whatever checkpoints there are."""
    faults = switch_faults(everything=asked.everything)
    for name, least in (("last", 1), ("every", 1), ("from_step", 0), ("to_step", 0)):
        value = getattr(asked, name)
        faults += [] if value is None else integer_faults(name, value, least=least)
    if faults:
        return faults
    if asked.everything and asked != Selection(everything=True):
        message = "all checkpoints are asked for, and some of them"
        faults.append(Fault("bad-argument", message, subject="everything", hint="leave out one of the two"))
    if asked.from_step is not None and asked.to_step is not None and asked.from_step > asked.to_step:
        message = f"the first step should not come after the last; found {asked.from_step} to {asked.to_step}"
        faults.append(Fault("bad-argument", message, subject="from_step"))
    return faults


def find_saved(given: object) -> tuple[list[Saved], bool]:
    """The checkpoints that a caller names, oldest first.

    Args:
        given: the folder of a run, or several checkpoints: folders or weight files.

    Returns:
        The checkpoints, and whether they were found in the folder of a run.

    Raises:
        UsageError: it is neither.
        InputError: a path is not there, or the folder holds no checkpoints, or several series of them.
    """
    many = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(many, Sequence) or not many:
        hint = "for example `average('run', 'averaged', last=5)`"
        raise UsageError(unfit("models", "the folder of a run, or a list of checkpoints", given, hint))
    paths = [_local(one) for one in many]
    missing = [path for path in paths if not path.exists()]
    if missing:
        hint = "name the folder of a training run, or its checkpoints"
        raise InputError(Fault("model-missing", f"{p}: no such file or folder", None, str(p), hint) for p in missing)
    if len(paths) == 1:
        return _in_run(paths[0]), True
    return _in_order(paths), False


def _local(given: object) -> Path:
    if isinstance(given, str) and scheme_of(given) is not None:
        message = f"checkpoints are looked for on this machine; found {given[:200]!r}"
        hint = "write a `linear` recipe, which may name URLs, and give it to `cuvee merge`"
        raise UsageError(Fault("bad-argument", message, subject="models", hint=hint))
    return as_path(given, "models", "a checkpoint must be a folder or a weight file")


def _in_order(paths: list[Path]) -> list[Saved]:
    """Checkpoints in the order of the numbers in their names; as they were given, where that says nothing.

    A shell lists checkpoint-1000 before checkpoint-200.
    """
    saved = [Saved(path, step_of(path)) for path in paths]
    steps = [one.step for one in saved if one.step is not None]
    is_numbered = len(set(steps)) == len(saved)
    return sorted(saved, key=lambda one: one.step or 0) if is_numbered else [Saved(path, None) for path in paths]


def step_of(path: Path) -> int | None:
    """The number in the name of a checkpoint.

    Example:
        >>> step_of(Path("run/checkpoint-200")), step_of(Path("run/swa_0007.pt")), step_of(Path("llama"))
        (200, 7, None)
    """
    if (match := _FOLDER.fullmatch(path.name)) is not None:
        return int(match[2])
    if path.is_dir():
        return None
    match = _LAST_NUMBER.search(path.stem)
    return None if match is None else int(match[0])


def _in_run(run: Path) -> list[Saved]:
    """The checkpoints of one run: its folders with a number, or else its weight files with one."""
    if not run.is_dir():
        message = f"{run}: one weight file has nothing to be averaged with"
        raise InputError(Fault("not-a-checkpoint", message, None, str(run), "name the folder of the run"))
    entries = sorted(run.iterdir())
    folders = [entry for entry in entries if entry.is_dir() and _FOLDER.fullmatch(entry.name)]
    series: dict[str, list[Saved]] = {}
    for path in folders or [entry for entry in entries if _is_numbered_file(entry)]:
        series.setdefault(_series(path), []).append(Saved(path, step_of(path)))
    if not series:
        raise InputError(_none_found(run, entries))
    if len(series) > 1:
        told = ", ".join(f"{len(of)} of {name}" for name, of in sorted(series.items()))
        message = f"{run}: the checkpoints should be one series; found {told}"
        hint = "name those that are meant: `cuvee average A B C -o OUT`"
        raise InputError(Fault("not-a-checkpoint", message, None, str(run), hint))
    return _without_doubles(sorted(next(iter(series.values())), key=lambda one: one.step or 0))


def _is_numbered_file(path: Path) -> bool:
    from cuvee.checkpoint.contents import is_weight_file

    is_part = _SHARD.search(path.name) is not None
    return path.is_file() and is_weight_file(path.name) and not is_part and step_of(path) is not None


def _series(path: Path) -> str:
    """A name with `N` for its number."""
    if (match := _FOLDER.fullmatch(path.name)) is not None:
        return f"{path.name[: match.start(2)]}N"
    return f"{_LAST_NUMBER.sub('N', path.stem)}{path.suffix}"


def _without_doubles(saved: list[Saved]) -> list[Saved]:
    for one, other in pairwise(saved):
        if one.step == other.step:
            message = f"{one.path.name} and {other.path.name} have the same number"
            raise InputError(Fault("not-a-checkpoint", message, None, str(one.path), "remove or rename one of them"))
    return saved


def _none_found(run: Path, entries: Sequence[Path]) -> Fault:
    names = listed((entry.name for entry in entries), 8) or "nothing"
    message = f"{run}: no checkpoints (checkpoint-100, step_100, epoch_1, model_100.pt …); found {names}"
    hint = "name the folder that a trainer wrote to, or two or more checkpoints"
    return Fault("not-a-checkpoint", message, None, str(run), hint)


def choose(saved: Sequence[Saved], asked: Selection, *, in_run: bool) -> list[Saved]:
    """The checkpoints that a selection means: first those between its steps, then every n-th, then the last k.

    Raises:
        UsageError: nothing is said of a run, steps are asked for that names do not tell, or too few are there.
    """
    if in_run and asked.is_empty:
        message = f"of the {len(saved)} checkpoints, those to be averaged should be named"
        hint = "for example the last 5 (--last 5), from a step on (--from STEP), or --all"
        raise UsageError(Fault("bad-argument", message, subject="last", hint=hint))
    if (asked.from_step, asked.to_step) != (None, None) and any(one.step is None for one in saved):
        message = "steps can only be chosen where every checkpoint's name has a number, and no two the same"
        raise UsageError(Fault("bad-argument", message, subject="from_step", hint="name the checkpoints themselves"))
    first = asked.from_step or 0
    within = [one for one in saved if one.step is None or first <= one.step <= _or_endless(asked.to_step)]
    if not within:
        steps = f"{saved[0].step} to {saved[-1].step}" if saved else "none"
        message = f"no checkpoint stands between the steps asked for; there are {steps}"
        raise UsageError(Fault("bad-argument", message, subject="from_step"))
    kept = within[:: -(asked.every or 1)][::-1]  # counted from the newest, so that it is always among them
    if asked.last is not None and asked.last > len(kept):
        message = f"the last {asked.last} are asked for, and there are {len(kept)}: {_names(kept)}"
        raise UsageError(Fault("bad-argument", message, subject="last", hint="ask for fewer, or --all"))
    return kept[-asked.last :] if asked.last is not None else kept


def _or_endless(step: int | None) -> float:
    return float("inf") if step is None else step


def _names(saved: Sequence[Saved]) -> str:
    return listed((one.path.name for one in saved), 8)


def whole(saved: Sequence[Saved]) -> tuple[list[Saved], dict[Path, InputError]]:
    """Those checkpoints that can be opened, headers read, and why the others cannot."""
    from cuvee.checkpoint.folder import open_stored

    good, bad = [], {}
    for one in saved:
        try:
            with closing(open_stored(ModelRef(str(one.path)))):
                good.append(one)
        except InputError as error:
            bad[one.path] = error
    return good, bad


def is_unfinished(error: InputError) -> bool:
    """Whether a checkpoint that cannot be opened looks as if its writing was cut short."""
    return set(error.codes) <= _UNFINISHED


def weights_for(kind: Kind, count: int, decay: float = DECAY) -> list[float]:
    """The weights of checkpoints as a recipe has them, oldest first; each one's share is its part of their sum.

        uniform   wᵢ = 1
        ema       w₀ = d^(n−1),  wᵢ = (1−d) d^(n−1−i)     the recurrence m₀ = x₀, mᵢ = d mᵢ₋₁ + (1−d) xᵢ, written out
        linear    wᵢ = i + 1

    Whole numbers stay whole: the sum is then all but exact, and what is divided by it is rounded once.

    Args:
        kind: the form.
        count: n, 1 or more.
        decay: d, in (0, 1): what is kept of the average from one checkpoint to the next, not from step to step.

    Example:
        >>> weights_for("ema", 3, 0.5), weights_for("linear", 3)
        ([0.25, 0.25, 0.5], [1.0, 2.0, 3.0])
    """
    if kind == "ema":
        return [decay ** (count - 1), *((1 - decay) * decay ** (count - 1 - i) for i in range(1, count))]
    return [1.0] * count if kind == "uniform" else [float(i) for i in range(1, count + 1)]


def kind_faults(kind: object, decay: object) -> list[Fault]:
    """What is wrong with the form of the weights."""
    faults = []
    if kind not in get_args(Kind):
        message = f"`kind` must be one of {', '.join(get_args(Kind))}; found {kind!r:.60}"
        faults.append(Fault("bad-argument", message, subject="kind"))
    if decay is None:
        return faults
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay < 1:
        faults.append(unfit("decay", "a number above 0 and below 1", decay, "a usual one for checkpoints is 0.9"))
    elif kind != "ema":
        faults.append(Fault("bad-argument", f"`decay` is of `ema`; found kind {kind!r:.60}", subject="decay"))
    return faults
