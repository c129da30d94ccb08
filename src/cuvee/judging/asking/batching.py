"""Questions run in batches as large as memory allows, their results in the order of the questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from cuvee.errors import Fault, ResourceError, is_out_of_memory

Q = TypeVar("Q")
R = TypeVar("R")
Follow = Callable[[int, int], None]
"""Told how many questions are done, and how many there are."""

CPU_TOKENS: Final = 2048
"""Tokens run at once on a CPU: beyond it batches of small models gain nothing, and those of large ones lose caches."""
GPU_TOKENS: Final = 65_536
"""Tokens tried first elsewhere."""
LARGEST_LOGITS: Final = 1 << 27
"""Numbers that the predictions of a batch may have, half a GB in float32: a vocabulary may be large."""


def tokens_for(device: str, vocabulary: int) -> int:
    """Tokens to try first.

    Args:
        device: torch's type of the device.
        vocabulary: predictions for each token, 1 where there are few for each row.
    """
    return max(1, min(CPU_TOKENS if device == "cpu" else GPU_TOKENS, LARGEST_LOGITS // max(1, vocabulary)))


def run_batched(
    questions: Sequence[Q],
    width: Callable[[Q], int],
    forward: Callable[[list[Q]], list[R]],
    *,
    tokens: int,
    rows: int | None = None,
    follow: Follow | None = None,
) -> list[R]:
    """Run all questions, the widest first, so that memory runs out at once if it does.

    Questions of about one width stand together, so that little is padded. Where memory does not suffice, half as many
    tokens are tried, for that batch and all that follow.

    Args:
        questions: what is asked.
        width: tokens of a question, 1 or more.
        forward: runs a batch; one result for each question.
        tokens: most tokens of a batch, padding counted; a wider question runs alone.
        rows: questions of every batch instead.
        follow: told how far it is.

    Raises:
        ResourceError: `memory`: one question alone is too much.
    """
    order = sorted(range(len(questions)), key=lambda i: (-width(questions[i]), i))
    results: dict[int, R] = {}
    most = rows or tokens
    while order:
        widest = 1 if rows else max(1, width(questions[order[0]]))
        batch = order[: max(1, most // widest)]
        found = _attempt(forward, [questions[i] for i in batch])
        if found is None:
            if len(batch) == 1:
                raise ResourceError(_no_memory(width(questions[batch[0]])))
            most = max(1, len(batch) * widest // 2)
            continue
        results.update(zip(batch, found, strict=True))
        order = order[len(batch) :]
        if follow is not None:
            follow(len(results), len(questions))
    return [results[i] for i in range(len(questions))]


def _attempt(forward: Callable[[list[Any]], list[R]], batch: list[Any]) -> list[R] | None:
    """The results of a batch; `None` where memory ran out, with nothing of it left behind."""
    try:
        return forward(batch)
    except (MemoryError, RuntimeError) as error:
        if not (is_out_of_memory(error) or "out of memory" in str(error).lower()):
            raise
    return None


def _no_memory(width: int) -> Fault:
    message = f"not enough memory to run one row of {width:,} tokens"
    return Fault("memory", message, hint="give the task a smaller `max_length`, or use a machine with more memory")
