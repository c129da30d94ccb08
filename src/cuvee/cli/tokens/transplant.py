"""`cuvee tokens transplant`: another model's tokenizer for a model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType
from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import printable
from cuvee.cli.options import COMMON, Common, MaxMemory, Out, Switch, Whole
from cuvee.cli.progress import metered
from cuvee.cli.words import counted, duration

if TYPE_CHECKING:
    from cuvee.execute.transplant import Transplant

_Count = Annotated[Whole, Parameter(validator=Number(gte=1))]


def transplant(
    model: str,
    donor: str,
    /,
    *,
    out: Out,
    method: Literal["omp", "common-interpolation", "subword-mean", "mean", "zero"] = "omp",
    k: _Count = 64,
    pad_to_multiple_of: _Count | None = None,
    max_memory: MaxMemory = None,
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Give a model another model's tokenizer; its body stays as it is.

    Rows of embeddings and heads are copied for tokens that both have, and for
    special tokens of the same role. The others are found by the method.

    For example:

        cuvee tokens transplant model donor -o out
        cuvee tokens transplant model donor -o out --k 32 --pad-to-multiple-of 64
        cuvee tokens transplant model donor -o out --method subword-mean

    Args:
        model: Model whose body stays: folder or hub id.
        donor: Model whose tokenizer moves in; its architecture and width may differ.
        out: The folder to make.
        method: `omp` tells the donor's row as a sum of rows of shared tokens and makes
            the same sum of the model's; `common-interpolation` takes the nearest of
            them; `subword-mean` the mean of the pieces that the model's own tokenizer
            makes of the token; `mean` that of all rows; `zero` zeros.
        k: Most shared tokens that make up a row.
        pad_to_multiple_of: Add rows until their number is a multiple of it.
        max_memory: Most memory for rows and sums, such as 8GiB.
        shard_size: Largest weight file, such as 5GB.
        overwrite: Replace a model folder that is there already.
        common: How to print.
    """
    from cuvee import api

    start = time.perf_counter()
    with metered("looking for rows", "row") as meter:
        result = api.transplant(
            model,
            donor,
            out,
            method=method,
            k=k,
            pad_to_multiple_of=pad_to_multiple_of,
            max_memory=max_memory,
            shard_size=shard_size,
            overwrite=overwrite,
            progress=meter,
        )
    seconds = time.perf_counter() - start
    return deliver(Answer("tokens transplant", _data(result, seconds), _text(result, seconds), result.notes), common)


def _data(result: Transplant, seconds: float) -> dict[str, Any]:
    return {
        "path": result.path,
        "method": result.method,
        "k": result.k,
        "tokens": result.tokens,
        "rows": result.rows,
        "exact": result.exact,
        "by_role": dict(result.by_role),
        "approximated": result.approximated,
        "fallback": result.fallback,
        "padding": result.padding,
        "anchors": result.anchors,
        "left": dict(result.left),
        "examples": {token: [list(part) for part in parts] for token, parts in result.examples.items()},
        "tensors": list(result.tensors),
        "notes": list(result.notes),
        "seconds": round(seconds, 3),
    }


def _text(result: Transplant, seconds: float) -> Iterator[RenderableType]:
    yield f"{counted(result.tokens, 'token')}, {counted(result.rows, 'row')}"
    yield f"  {result.exact:,} copied: the model has the token"
    if result.by_role:
        pairs = ", ".join(f"{new} from {old}" for new, old in result.by_role.items())
        yield Text(printable(f"  {len(result.by_role):,} copied by role: {pairs}"))
    yield f"  {result.approximated:,} found by {result.method}{_how(result)}"
    if result.fallback:
        yield f"  {result.fallback:,} for which it found nothing: the mean of all rows"
    if result.padding:
        yield f"  {result.padding:,} without a token: the mean of all rows"
    for token, parts in result.examples.items():
        yield Text(printable(f"  for example {token!r}: {', '.join(f'{w:+.2f} {name!r}' for name, w in parts)}"))
    yield Text(printable(f"written to {result.path} in {duration(seconds)}: {', '.join(result.tensors)}"))


def _how(result: Transplant) -> str:
    if not result.left:
        return ""
    shares = ", ".join(f"{share:.0%} of {kind} rows" for kind, share in result.left.items())
    return f" from {counted(result.anchors, 'shared token')}; not reached: {shares}"
