"""`cuvee lora extract`: the difference of two models as an adapter."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.lora.result_text import data_of, text_of
from cuvee.cli.options import COMMON, Common, Out, Seed, Switch, Whole
from cuvee.cli.progress import metered

Patterns = tuple[str, ...]


def extract(
    tuned: str,
    base: str,
    /,
    *,
    out: Out,
    rank: Whole | None = None,
    energy: float | None = None,
    embed_lora: Switch = False,
    save_module: Annotated[Patterns, Parameter(negative=())] = (),
    only: Annotated[Patterns, Parameter(negative=())] = (),
    leave: Annotated[Patterns, Parameter(negative=())] = (),
    save_bias: Switch = False,
    overwrite: Switch = False,
    seed: Seed = 0,
    common: Common = COMMON,
) -> int:
    """Write the difference of a fine-tuned model and its base as a LoRA adapter.

    Each changed matrix is replaced by its largest singular values, found by random
    projection where it is large. The relative error of every module is told and
    recorded. What changed and is no matrix is stored whole or left out where that
    is asked for, and an error otherwise.

    For example:

        cuvee lora extract tuned base -o adapter --rank 16
        cuvee lora extract tuned base -o adapter --energy 0.99
        cuvee lora extract tuned base -o adapter --rank 16 --save-module norm

    Args:
        tuned: The fine-tuned model: a folder, file or hub id.
        base: What it was tuned from.
        out: The folder to make.
        rank: Singular values kept per matrix.
        energy: Instead of a rank, the share of the squared difference to keep.
        embed_lora: Give embeddings and output heads factors, too.
        save_module: Store modules whole whose names this regular expression finds.
        only: Look only at tensors whose names this regular expression finds.
        leave: Leave out tensors whose names this regular expression finds.
        save_bias: Store changed biases.
        overwrite: Replace an adapter's folder that is there already.
        seed: Seed of the random projection.
        common: How to print.
    """
    from cuvee import api

    with metered("extracting", "step") as meter:
        found = api.extract_adapter(
            tuned,
            base,
            out,
            rank=rank,
            energy=energy,
            embed_lora=embed_lora,
            save=save_module,
            only=only,
            leave=leave,
            save_bias=save_bias,
            overwrite=overwrite,
            seed=seed,
            progress=meter,
        )
    return deliver(Answer("lora extract", data_of(found), text_of(found), notes=found.notes), common)
