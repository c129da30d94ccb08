"""What the demo says of its best merge beyond a table: compared, explained, on one page and on a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.demo.folder import write_text
from cuvee.demo.merges import FOUND, GREEDY_SOUP, LINEAR, SEARCHED
from cuvee.demo.searches import search_folder
from cuvee.demo.stages import Clock
from cuvee.demo.tasks import task_path
from cuvee.types.plain import answer_text

COMPARED: Final = "compare.json"
EXPLAINED: Final = "explain.json"
PAGE: Final = "report.html"
WRITTEN: Final = (COMPARED, EXPLAINED, PAGE)


@dataclass(frozen=True, slots=True)
class Told:
    """What was found out: plain data of a comparison and of an explanation."""

    comparison: Mapping[str, Any]
    explanations: Mapping[str, Any]


def tell_of(place: Path, words: Sequence[str], best: str, rows: int, seed: int, clock: Clock) -> Told:
    """Compare the best merge with what it was made of, explain it, and write its page and card.

    Args:
        place: the demo's folder, with everything in it but these.
        words: the specialists, by skill.
        best: the merge.
        rows: rows of every skill that sets of specialists are scored on.
        seed: of the draw of these rows.
        clock: told of every stage.
    """
    import cuvee

    tasks = [place / task_path(word, "test") for word in words]
    merge = place / "merges" / best
    with clock.follow("comparing") as told:
        compared = cuvee.compare(
            _models(place, words, best),
            tasks,
            parents=list(words),
            experts={word: word for word in words},
            ensemble=True,
            seed=seed,
            progress=told,
            asking={"cache": False},
        ).as_data()
    write_text(place / COMPARED, answer_text("compare", compared))
    with clock.follow("explaining") as told:
        explained = cuvee.explain(merge, tasks, limit=rows, seed=seed, progress=told).as_data()
    write_text(place / EXPLAINED, answer_text("explain", explained))
    evidence = [place / COMPARED, place / EXPLAINED]
    with clock.follow("writing the page") as told:
        found = [place / search_folder(blend) for blend in (SEARCHED, GREEDY_SOUP)]
        cuvee.report(merge, place / PAGE, files=evidence, searches=found, progress=told)
    cuvee.card(merge, files=evidence, searches=found)
    return Told(compared, explained)


def _models(place: Path, words: Sequence[str], best: str) -> dict[str, Path]:
    """The base, the specialists and the merges worth comparing, by name."""
    merges = dict.fromkeys([LINEAR.name, *(blend.name for blend in FOUND), best])
    return {name: place / "models" / name for name in ("base", *words)} | {
        name: place / "merges" / name for name in merges
    }
