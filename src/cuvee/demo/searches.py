"""What the demo lets `cuvee search` find: which specialists to average, and in which proportions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cuvee.demo.folder import write_text
from cuvee.demo.merges import GREEDY_SOUP, SEARCHED, Blend
from cuvee.demo.recipes import search_text
from cuvee.demo.tasks import task_path

SEARCHES: Final = "searches"


def search_folder(blend: Blend) -> str:
    """Where a search is written, relative to the demo's folder."""
    return f"{SEARCHES}/{blend.name}"


def search_all(
    place: Path, words: Sequence[str], seed: int, trials: int, told: Callable[[int, int, str], None]
) -> None:
    """Write recipes with holes, and have them filled in on the validation draw.

    Args:
        place: the demo's folder, with the validation tasks in it.
        words: the specialists.
        seed: of strategies and masks.
        trials: candidates of the numeric search; a soup of K models takes 2 K − 1.
        told: called with the trials done, and all there will be.
    """
    import cuvee

    total = 2 * len(words) - 1 + trials
    before = 0
    for blend, strategy in ((GREEDY_SOUP, "greedy-soup"), (SEARCHED, "cma-es")):
        recipe = place / "recipes" / f"{blend.name}.yml"
        write_text(recipe, search_text(blend, words, trials))
        cuvee.search(
            recipe,
            [place / task_path(word, "validation") for word in words],
            strategy=strategy,
            trials=None if blend is GREEDY_SOUP else trials,
            out=place / search_folder(blend),
            seed=seed,
            progress=lambda done, _of, text, before=before: told(before + done, total, text),  # type: ignore[misc]
        )
        before = 2 * len(words) - 1
