"""Tune a model for a few steps on data: refinement after a merge, healing of a stack.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_model, as_path, callback_faults, far_faults, refuse, switch_faults, unfit
from cuvee.api.files import opened
from cuvee.api.loading import device_faults
from cuvee.errors import number_faults

if TYPE_CHECKING:
    from cuvee.tuning.asked import Arithmetic
    from cuvee.tuning.outcome import TuneResult


def tune(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str],
    column: str | None = None,
    steps: int = 200,
    batch_size: int = 16,
    learning_rate: float | None = None,
    warm_up: int | None = None,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    lora: int | None = None,
    only: Sequence[str] = (),
    holdout: float = 0.1,
    check_every: int | None = None,
    patience: int = 5,
    max_length: int = 512,
    seed: int = 0,
    dtype: Arithmetic = "float32",
    device: str = "cpu",
    threads: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> TuneResult:
    """Fine-tune a causal language model or a text classifier for a few steps, and write it as an ordinary folder.

    Rows are split first: a share is never trained on. The loss on it is measured before, from time to time, and the
    best state is what is written, rounded as it was when it was measured: on the held-out rows the output is never
    worse than the input. See docs/tune.md.

    Args:
        model: the model's folder, or a hub id.
        out: the folder to make.
        data: JSON lines, lines of text or a table: `text` or `input_ids`, and `label` for classifiers.
        column: column of a table, or key of JSON lines, that holds the text; `text` if not given.
        steps: steps of AdamW, 1 or more.
        batch_size: rows of a step.
        learning_rate: the highest, above 0; 5e-5 if not given, and 2e-4 with `lora`.
        warm_up: steps in which the rate rises; a twentieth of them if not given. It falls in the others.
        weight_decay: of weights of two dimensions or more, 0 or more.
        clip: most that the norm of the gradient may be, above 0.
        lora: rank of low-rank changes (peft) that are added to the weights in the end; without it, all chosen weights
            are trained themselves.
        only: filters of which a tensor's name must meet one: `layers:4-7`, a part of the name, a pattern with `*`.
        holdout: share of the different rows that is never trained on, [0, 1). With 0, the last state is written.
        check_every: steps between looks at these rows; a twentieth of all steps if not given.
        patience: looks without a gain after which it stops.
        max_length: most tokens of a row, 2 or more.
        seed: of the split, the order of rows, dropout and low-rank factors.
        dtype: what the model is run in, `float32` or `bfloat16`; weights are float32 while they are trained, and are
            written in the dtypes of the input.
        device: torch's name of the device.
        threads: threads of torch; the same number gives the same bytes.
        overwrite: replace a model folder that is there.
        progress: called with steps done, steps in all and a text.

    Raises:
        UsageError: an argument is wrong; a filter meets no tensor; transformers, or peft for `lora`, is not installed.
        InputError: faults of the model or of the data.
        OutputExists: `out` is there.
        ResourceError: not enough memory or disk, or no right to write.
        CheckFailed: the loss stopped being a number; nothing is written.
    """
    from cuvee.tuning.asked import Asked

    filters = () if isinstance(only, str) else tuple(only)
    asked = Asked(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warm_up=warm_up,
        weight_decay=weight_decay,
        clip=clip,
        lora=lora,
        only=filters,
        holdout=holdout,
        check_every=check_every,
        patience=patience,
        max_length=max_length,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    refuse(
        [
            *asked.faults(),
            *device_faults(device),
            *number_faults(seed=0, threads=threads),
            *switch_faults(overwrite=overwrite),
            *callback_faults(progress),
            *far_faults(out),
            *([unfit("only", "filters, in a list", only)] if isinstance(only, str) else []),
            *([] if column is None or (isinstance(column, str) and column) else [unfit("column", "a name", column)]),
        ]
    )
    ref = as_model(model)
    file = as_path(data, "data", "data must be a file")
    target = as_path(out, "out", "the output must be a folder's name")
    from cuvee.checkpoint.fingerprint import digest_file
    from cuvee.data.rows import read_rows
    from cuvee.tuning.lora import check_installed
    from cuvee.tuning.run import Job, check_free, tune

    if lora is not None:
        check_installed()
    check_free(target, overwrite)
    rows, content = read_rows(file, column=column), digest_file(file)
    with opened([ref], None) as (reader,):
        return tune(Job(ref, file, rows, content, target, overwrite, asked, threads, progress), reader)
