"""Make mixtures of experts from dense models.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_model, as_path, callback_faults, refuse, switch_faults, unfit
from cuvee.api.files import opened
from cuvee.api.merging import files_elsewhere
from cuvee.errors import Fault, number_faults
from cuvee.types import scheme_of

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.execute import Progress
    from cuvee.mixtures.model import Mixture
    from cuvee.mixtures.planning import MixturePlan
    from cuvee.mixtures.writing import MixtureResult


def moe(
    mixture: Mixture | Mapping[str, Any] | str | os.PathLike[str],
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
    """Make a mixture of experts from dense models of one form, into a new folder (docs/mixtures.md).

    Args:
        mixture: a mixture, the path of a YAML file as mergekit-moe reads it, or a mapping with its keys.
        out: the folder to make.
        overwrite: as for `merge`.
        resume: as for `merge`.
        threads: as for `merge`.
        max_memory: as for `merge`.
        shard_size: as for `merge`.
        allow_nonfinite: as for `merge`.
        progress: as for `merge`.

    Raises:
        UsageError: an argument is wrong.
        RecipeError: all faults of the description.
        InputError: all that stands against it in the models: `no-layout`, `expert-mismatch`, `tokenizer-missing` …
        OutputExists, ResourceError: as for `merge`.
    """
    from cuvee.checkpoint import parse_size
    from cuvee.mixtures.writing import write_mixture

    refuse(
        [
            *number_faults(seed=0, threads=threads),
            *switch_faults(overwrite=overwrite, resume=resume, allow_nonfinite=allow_nonfinite),
            *callback_faults(progress),
            *_far_faults(out),
        ]
    )
    target = as_path(out, "out", "the output must be a folder's name")
    size, limit = parse_size(shard_size), None if max_memory is None else parse_size(max_memory)
    with _members(mixture) as (asked, readers, own):
        return write_mixture(
            asked,
            readers,
            target,
            shard_bytes=size,
            protected=[*own, *files_elsewhere(readers)],
            overwrite=overwrite,
            resume=resume,
            threads=threads,
            limit=limit,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
        )


def plan_moe(mixture: Mixture | Mapping[str, Any] | str | os.PathLike[str]) -> MixturePlan:
    """What `moe` would do, from headers only; no prompt is run.

    Args:
        mixture: as for `moe`.

    Raises:
        RecipeError, InputError: as for `moe`.
    """
    from cuvee.mixtures.writing import planned

    with _members(mixture, weights=False) as (asked, readers, _):
        return planned(asked, readers)


def upcycle(
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
    """A mixture of copies of one model's MLPs with random routers, for `moe` to write: sparse upcycling.

    Without noise the mixture computes what the model does, until it is trained.

    Args:
        model: the dense model.
        experts: how many copies, 1 or more.
        experts_per_token: experts that a token is sent to, at most all.
        noise_scale: standard deviation of what is added to every entry of every copy, 0 or more.
        gate_scale: standard deviation of the routers' entries, above 0.
        seed: seed of routers and noise.
        dtype: float dtype of the result; that of the model without it.
        architecture: the layout; chosen by the model without it.

    Raises:
        UsageError: an argument is wrong.
        RecipeError: `dtype` or `architecture` is none.
    """
    from cuvee.mixtures.reading import read_mixture
    from cuvee.recipe.reference import written_reference

    wrong = number_faults(seed=seed, experts=experts, experts_per_token=experts_per_token)
    wrong += [] if experts is not None else [unfit("experts", "an integer of at least 1", experts)]
    wrong += _scale_faults("noise_scale", noise_scale, least=0.0)
    wrong += _scale_faults("gate_scale", gate_scale, least=1e-12)
    refuse(wrong)
    ref = written_reference(as_model(model))
    one = {"source_model": ref, **({"noise_scale": float(noise_scale)} if noise_scale else {})}
    data: dict[str, Any] = {"base_model": ref, "experts": [one] * experts, "gate_mode": "random", "seed": seed}
    data |= {"experts_per_token": experts_per_token, "gate_scale": float(gate_scale)}
    return read_mixture({**data, "dtype": dtype, "architecture": architecture})


@contextmanager
def _members(given: Any, *, weights: bool = True) -> Iterator[tuple[Mixture, list[Reader], list[Path]]]:
    """The mixture, its members opened, and the file it was read from."""
    from cuvee.mixtures.model import Mixture
    from cuvee.mixtures.reading import read_mixture

    if not isinstance(given, Mixture | Mapping | str | os.PathLike):
        refuse([unfit("mixture", "the path of a YAML file, or a mapping with its keys", given)])
    asked = given if isinstance(given, Mixture) else read_mixture(given)
    own = [Path(given)] if isinstance(given, str | os.PathLike) else []
    with opened(asked.members, asked.root, weights=weights) as readers:
        yield asked, readers, own


def _scale_faults(name: str, value: object, *, least: float) -> list[Fault]:
    good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value < float("inf")
    return [] if good else [unfit(name, f"a number of at least {least:g}", value)]


def _far_faults(out: object) -> list[Fault]:
    if not isinstance(out, str) or scheme_of(out) is None:
        return []
    message = f"`out` must be a folder of this machine; found {out:.60}"
    return [Fault("bad-argument", message, subject="out", hint="send it from there with `cuvee push`")]
