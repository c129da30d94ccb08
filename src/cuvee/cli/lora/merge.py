"""`cuvee lora merge`: adapters of one base merged into one adapter."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.lora.result_text import data_of, text_of
from cuvee.cli.options import COMMON, Common, Out, Seed, Switch, Whole
from cuvee.cli.progress import metered


def merge(
    *adapters: str,
    out: Out,
    method: str = "cat",
    weights: str | None = None,
    rank: Whole | None = None,
    energy: float | None = None,
    inner: str = "ties",
    base: str | None = None,
    density: str | None = None,
    lambda_: Annotated[float | None, Parameter(name="--lambda")] = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    overwrite: Switch = False,
    seed: Seed = 0,
    common: Common = COMMON,
) -> int:
    """Merge LoRA adapters of one base into one adapter; the base is not needed.

    `cat` is the exact weighted sum of the changes, whose ranks add up; `svd` its
    best approximation of a rank. `knots` and `core-space` merge in a basis that
    the adapters share. Methods of recipes (`ties`, `dare_ties`, `linear` …) are run
    on the changes ΔW themselves, one module at a time, and brought back to factors;
    the error is told. PEFT's arithmetic on A and B has cross terms, and is there by
    name: `peft-linear`, `peft-ties`, `peft-dare_linear` …

    For example:

        cuvee lora merge math code -o both --weights 0.7,0.3
        cuvee lora merge math code -o both --method svd --rank 16
        cuvee lora merge math code -o both --method ties --density 0.3
        cuvee lora merge math code -o both --method linear --weights 1,-1 --set normalize=false

    Args:
        adapters: Folders as PEFT writes them, or hub ids.
        out: The folder to make.
        method: How to merge.
        weights: Numbers with commas between them, one per adapter; 1 each without it.
        rank: Most singular values per module.
        energy: Instead of a rank, the share of the squared singular values to keep.
        inner: The method inside knots and core-space.
        base: The model they were trained on: DoRA's change depends on it.
        density: Kept share of entries: one number, or one per adapter.
        lambda_: Scale of the merged change.
        set_: Any setting of the method, as NAME=VALUE; may be repeated. `cuvee
            methods METHOD` lists them.
        overwrite: Replace an adapter's folder that is there already.
        seed: Seed of random masks.
        common: How to print.
    """
    from cuvee import api
    from cuvee.api.lora_algebra import number_list
    from cuvee.api.lora_arguments import settings_of

    settings: dict[str, Any] = settings_of(set_)
    settings |= {} if lambda_ is None else {"lambda_": lambda_}
    if (shares := number_list(density, "density")) is not None:
        settings["density"] = shares[0] if len(shares) == 1 else shares
    how: dict[str, Any] = {
        "rank": rank,
        "energy": energy,
        "inner": inner,
        "base": base,
        "seed": seed,
        "overwrite": overwrite,
    }
    with metered("merging", "step") as meter:
        given = number_list(weights, "weights")
        found = api.merge_adapters(adapters, out, method=method, weights=given, progress=meter, **how, **settings)
    return deliver(Answer("lora merge", data_of(found), text_of(found), notes=found.notes), common)
