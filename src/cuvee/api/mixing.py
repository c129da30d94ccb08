"""Mixtures of experts made of dense models.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cuvee.api.arguments import as_model, as_path, callback_faults, far_faults, refuse, switch_faults, unfit
from cuvee.api.files import opened
from cuvee.api.merging import files_elsewhere
from cuvee.errors import Fault, InputError, UsageError, nearest, number_faults
from cuvee.types import DTYPES

if TYPE_CHECKING:
    from cuvee.execute import Progress
    from cuvee.mixtures.model import Mixture
    from cuvee.mixtures.outline import Outline
    from cuvee.mixtures.routing import Routing
    from cuvee.mixtures.writing import MixtureResult

AnyMixture: TypeAlias = "Mixture | Mapping[str, Any] | str | os.PathLike[str]"
"""A mixture, a mapping with the keys of its YAML, or the path of that file."""


def build_mixture(
    mixture: AnyMixture,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    threads: int | None = None,
    max_memory: str | int | None = None,
    shard_size: str | int = "5GB",
    allow_nonfinite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> MixtureResult:
    """Make a mixture of experts of dense models (docs/mixtures.md).

    Args:
        mixture: what to make: a YAML file as mergekit-moe reads it, a mapping with its keys, or what `upcycled` gives.
        out: the folder to make, which appears complete or not at all.
        overwrite: replace a model folder that is there.
        resume: go on from where a run of the same mixture was interrupted, if one was.
        threads: workers, 1 or more; one per core by default.
        max_memory: most memory besides file cache, in bytes or as `"8GiB"`.
        shard_size: largest weight file, in bytes or as `"5GB"`.
        allow_nonfinite: take members that hold NaN or infinity.
        progress: called as the work goes on, from any thread.

    Raises:
        UsageError: an argument is wrong.
        RecipeError: every fault of the description.
        InputError: members that cannot be read or do not fit (`expert-mismatch`, `no-layout`, `tokenizer-missing` …).
        OutputExists, ResourceError: as for `merge`.
    """
    from cuvee.checkpoint import parse_size
    from cuvee.mixtures.fitting import fit
    from cuvee.mixtures.planning import plan_mixture as planned
    from cuvee.mixtures.prompts import check_prompts
    from cuvee.mixtures.writing import write_mixture

    refuse(
        [
            *number_faults(seed=0, threads=threads),
            *switch_faults(overwrite=overwrite, resume=resume, allow_nonfinite=allow_nonfinite),
            *callback_faults(progress),
            *far_faults(out),
        ]
    )
    target = as_path(out, "out", "the output must be a folder's name")
    limit = None if max_memory is None else parse_size(max_memory)
    size = parse_size(shard_size)
    asked = _asked(mixture)
    own = [Path(mixture)] if isinstance(mixture, str | os.PathLike) else []
    with _members(asked) as readers:
        made = planned(asked, readers, fit(asked, readers))
        check_prompts(asked, readers[asked.base])
        return write_mixture(
            asked,
            made,
            readers,
            target,
            shard_bytes=size,
            limit=limit,
            threads=threads,
            overwrite=overwrite,
            resume=resume,
            allow_nonfinite=allow_nonfinite,
            protected=[*files_elsewhere(list(readers.values())), *own],
            progress=progress,
        )


def plan_mixture(mixture: AnyMixture) -> Outline:
    """Say what a mixture would be; only headers, and the tokenizer where there are prompts, are read.

    Args:
        mixture: as for `build_mixture`.

    Raises:
        UsageError, RecipeError, InputError: as for `build_mixture`.
    """
    from cuvee.mixtures.fitting import fit
    from cuvee.mixtures.outline import outline_of
    from cuvee.mixtures.planning import plan_mixture as planned
    from cuvee.mixtures.prompts import check_prompts

    asked = _asked(mixture)
    with _members(asked, weights=False) as readers:
        made = planned(asked, readers, fit(asked, readers))
        check_prompts(asked, readers[asked.base])
        return outline_of(asked, made)


def upcycled(
    model: str | os.PathLike[str],
    experts: int,
    *,
    experts_per_token: int = 2,
    noise_scale: float = 0.0,
    gate_scale: float = 0.02,
    seed: int = 0,
    dtype: str | None = None,
    architecture: str | None = None,
) -> Mixture:
    """Describe a mixture whose experts are copies of one model's MLPs: sparse upcycling.

    Without noise it computes what the model computes, whatever the routers say, until it is trained.

    Args:
        model: a folder, a hub id with `@revision`, or `base+adapter`.
        experts: how many copies, 1 or more.
        experts_per_token: experts that a token is sent to, at most as many.
        noise_scale: standard deviation of what is added to every entry of every copy, 0 or more.
        gate_scale: standard deviation of the routers' entries, 0 or more.
        seed: of routers and noise.
        dtype: float dtype of the output.
        architecture: its layout; chosen by the model without it.

    Raises:
        UsageError: an argument is wrong.
    """
    from cuvee.layers.mixtures import ALIASES, LAYOUTS
    from cuvee.mixtures.planning import upcycled as made

    refuse(
        [
            *number_faults(seed=seed, experts=experts, experts_per_token=experts_per_token),
            *([unfit("experts", "an integer, 1 or more", experts)] if experts is None else []),
            *_seed_faults(seed),
            *_scale_faults(noise_scale=noise_scale, gate_scale=gate_scale),
            *_choice_faults("dtype", dtype, [name for name, one in DTYPES.items() if one.kind == "float"]),
            *_choice_faults("architecture", architecture, [*LAYOUTS, *ALIASES]),
        ]
    )
    if experts_per_token > experts:
        message = f"`experts_per_token` should be at most the number of experts, {experts}; found {experts_per_token}"
        raise UsageError(Fault("bad-argument", message, subject="experts_per_token"))
    scales = {"noise_scale": float(noise_scale), "gate_scale": float(gate_scale)}
    rest: dict[str, Any] = {"seed": seed, "dtype": dtype, "architecture": architecture}
    return made(as_model(model), experts, per_token=experts_per_token, **scales, **rest)


def _asked(given: AnyMixture) -> Mixture:
    """The mixture that a caller means.

    Raises:
        UsageError: it is none of the forms that a mixture has.
        RecipeError: its faults.
    """
    from cuvee.mixtures.model import Mixture
    from cuvee.mixtures.reading import read_mixture

    if isinstance(given, Mixture):
        return given
    if isinstance(given, Mapping):
        return read_mixture(given)
    wanted = "a mixture, a mapping with its keys, or the path of its file"
    if not isinstance(given, str | os.PathLike):
        raise UsageError(unfit("mixture", wanted, given))
    return read_mixture(as_path(given, "mixture", f"`mixture` must be {wanted}"))


@contextmanager
def _members(mixture: Mixture, *, weights: bool = True) -> Iterator[dict[Any, Any]]:
    """The members, open, by reference."""
    with opened(mixture.members, mixture.root, weights=weights) as readers:
        yield dict(zip(mixture.members, readers, strict=True))


def _seed_faults(seed: object) -> list[Fault]:
    """What is wrong with a seed that stands in a mixture's YAML, whose integers have 64 bits."""
    if not isinstance(seed, int) or -(2**63) <= seed < 2**63:
        return []
    return [unfit("seed", "an integer that 64 bits hold", seed)]


def _scale_faults(**scales: object) -> Iterator[Fault]:
    for name, value in scales.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= float(value) < float("inf"):  # type: ignore[arg-type]
            yield unfit(name, "a finite number, 0 or more", value)


def _choice_faults(name: str, given: object, known: list[str]) -> list[Fault]:
    if given is None or given in known:
        return []
    return [unfit(name, f"one of {', '.join(known)}", given, nearest(given, known) if isinstance(given, str) else None)]


def route_prompts(
    model: str | os.PathLike[str],
    prompts: Mapping[str, Sequence[str] | str | os.PathLike[str]],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Routing:
    """See where a mixture of experts sends prompts.

    Args:
        model: a folder with a mixture that transformers loads, and its tokenizer.
        prompts: groups of prompts by name: texts, or a file with a prompt on each line.
        progress: called with prompts done and their number.

    Returns:
        For every group, layer and expert the share of tokens whose strongest expert it is, and its mean weight.

    Raises:
        UsageError: an argument is wrong, or transformers is not installed.
        InputError: `model-missing`, `data-missing`, `bad-data`, `tokenizer-missing`, `no-layout`.
    """
    from cuvee.mixtures.routing import route_prompts as route

    refuse(callback_faults(progress))
    folder = as_path(model, "model", "a folder with a mixture of experts is needed")
    if not folder.is_dir():
        raise InputError(Fault("model-missing", f"{folder}: there is no such folder", subject=str(folder)))
    if not prompts:
        raise UsageError(Fault("bad-argument", "`prompts` should name one group or more", subject="prompts"))
    groups = {name: _lines(given) for name, given in prompts.items()}
    empty = [name for name, lines in groups.items() if not lines]
    refuse(Fault("bad-argument", f"group `{name}` should have one prompt or more", subject=name) for name in empty)
    return route(folder, groups, progress)


def _lines(given: Sequence[str] | str | os.PathLike[str]) -> list[str]:
    """Prompts as they are given, or the lines of a file that are not blank."""
    if not isinstance(given, str | os.PathLike):
        return list(given)
    from cuvee.mixtures.reading import read_prompts

    path = Path(given)
    try:
        found = list(read_prompts(path))
    except (OSError, ValueError) as error:
        of_text = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        reason = getattr(error, "strerror", None) or of_text
        raise InputError(Fault("data-missing", f"{path}: {reason}", subject=str(path))) from error
    if not found:
        raise InputError(Fault("bad-data", f"{path} should hold a prompt on each line; it is empty", subject=str(path)))
    return found
