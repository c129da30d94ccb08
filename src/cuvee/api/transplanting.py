"""Transplant a tokenizer onto another model.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from cuvee.api.arguments import as_model, as_path, callback_faults, far_faults, refuse, switch_faults, unfit
from cuvee.api.files import held
from cuvee.errors import Fault, nearest, number_faults

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.execute.transplant import Transplant
    from cuvee.tokens.pieces import Split

UNLIMITED: Final = 1 << 62
"""Bytes of memory where none are named."""


def transplant(
    model: str | os.PathLike[str],
    donor: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    method: Literal["omp", "common-interpolation", "subword-mean", "mean", "zero"] = "omp",
    k: int = 64,
    pad_to_multiple_of: int | None = None,
    max_memory: str | int | None = None,
    shard_size: str | int = "5GB",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Transplant:
    """Give a model another model's tokenizer: its body stays, the rows of its embeddings are put together anew.

    The row of a token that both have is copied, and so is that of a special token of the same role. The others are
    found by the method. Everything else of the model is byte for byte as it was, but for the numbers of tokens in
    `config.json` and `generation_config.json`. See docs/transplant.md.

    Args:
        model: the model whose body stays: a folder, or a hub id.
        donor: the one whose tokenizer moves in; its architecture and width may be others.
        out: the folder to make.
        method: `omp`: the donor's row told by at most k rows of shared tokens, and the same sum of the model's rows of
            these; `common-interpolation`: the k nearest of them, by inverse distance; `subword-mean`: the mean of the
            model's rows of the pieces that its own tokenizer splits the token into; `mean`: of all; `zero`.
        k: most shared tokens that make up a row, 1 or more.
        pad_to_multiple_of: rows are added until their number is a multiple of it.
        max_memory: most memory that rows and sums may take, in bytes or as `"8GiB"`.
        shard_size: largest weight file, in bytes or as `"5GB"`.
        overwrite: replace a model folder that is there.
        progress: called with tokens looked at and their number.

    Raises:
        UsageError: an argument is wrong.
        InputError: all that stands against it: `tokenizer-missing`, `embedding-too-small`, `no-shared-tokens`,
            `part-mismatch` (no embeddings were found), `unknown-token`, `non-finite` …
        OutputExists: `out` is there.
        ResourceError: not enough memory or disk, or no right to write.
    """
    from cuvee.checkpoint import open_checkpoint, parse_size
    from cuvee.execute.transplant import write_transplant
    from cuvee.tokens.alone import open_giver
    from cuvee.tokens.transplanting import METHODS, plan_transplant
    from cuvee.tuning.run import check_free

    refuse(
        [
            *_method_faults(method, METHODS),
            *([unfit("k", "an integer, 1 or more", k)] if k is None else []),
            *number_faults(seed=0, k=k, pad_to_multiple_of=pad_to_multiple_of),
            *switch_faults(overwrite=overwrite),
            *callback_faults(progress),
            *far_faults(out),
        ]
    )
    refs = [as_model(model), as_model(donor)]
    target = as_path(out, "out", "the output must be a folder's name")
    sizes = [UNLIMITED if max_memory is None else parse_size(max_memory), parse_size(shard_size)]
    check_free(target, overwrite)
    sides = [
        partial(open_checkpoint, refs[0], None, hub_download=True),
        partial(open_giver, refs[1], None, hub_download=True),
    ]
    with held(sides) as readers:
        split = _splitter(readers[0]) if method == "subword-mean" else None
        plan = plan_transplant(*readers, method=method, k=k, multiple=pad_to_multiple_of, split=split)
        return write_transplant(
            plan, refs, target, memory=sizes[0], shard_bytes=sizes[1], overwrite=overwrite, told=progress
        )


def _method_faults(method: object, known: Sequence[str]) -> list[Fault]:
    if method in known:
        return []
    hint = nearest(method, known) if isinstance(method, str) else None
    return [unfit("method", f"one of {', '.join(known)}", method, hint)]


def _splitter(model: Reader) -> Split | None:
    """The model's own tokenizer at work; `None` for a folder whose tokenizer cannot be run."""
    from cuvee.families.inputs import load_tokenizer

    if model.folder is None or (tokenizer := load_tokenizer(model.folder)) is None:
        return None  # that it is missing is told by whoever reads the vocabulary

    def split(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    return split
