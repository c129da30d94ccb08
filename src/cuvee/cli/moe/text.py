"""What `cuvee moe` says of a mixture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.cli.words import counted, duration, in_millions

if TYPE_CHECKING:
    from cuvee.mixtures.outline import Outline
    from cuvee.mixtures.writing import MixtureResult


def data_of(outline: Outline, out: Path | None) -> dict[str, Any]:
    """A mixture, ready for JSON."""
    told = asdict(outline)
    return {"path": out, **{key: list(v) if isinstance(v, tuple) else v for key, v in told.items()}}


def outline_text(outline: Outline) -> Iterator[str]:
    """A mixture in lines."""
    from cuvee.checkpoint.layout import format_size

    head = f"{outline.architecture}: {counted(outline.layers, 'layer')}, {counted(len(outline.experts), 'expert')} each"
    yield f"{head}; a token is sent to {outline.per_token}; routers: {outline.gate_mode}"
    copies = Counter(outline.experts)
    if len(copies) == 1:
        yield f"  every expert: {outline.experts[0]}"
    else:
        yield from (f"  expert {number}: {name}" for number, name in enumerate(outline.experts))
    if outline.shared is not None:
        yield f"  shared expert: {outline.shared}"
    yield f"{in_millions(outline.parameters)} parameters, of which a token meets {in_millions(outline.active)}"
    yield f"{counted(outline.tensors, 'tensor')}, {format_size(outline.nbytes)}; {format_size(outline.read)} are read"


def written_text(result: MixtureResult, seconds: float) -> Iterator[str]:
    """A mixture that was written, in lines."""
    from cuvee.checkpoint.layout import format_size

    if result.was_complete:
        yield f"nothing to do: {result.path} was made by the same mixture"
        return
    yield from outline_text(result.outline)
    if result.resumed_bytes:
        yield f"{format_size(result.resumed_bytes)} taken over from the run that was interrupted"
    yield f"written to {result.path} in {duration(seconds)}"
