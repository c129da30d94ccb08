"""`cuvee demo`: small specialists, merged and judged before your eyes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import plain
from cuvee.cli.failures import Interrupted
from cuvee.cli.options import COMMON, Common, Out, Seed, Switch
from cuvee.cli.progress import Meter, metered
from cuvee.cli.tables import Column, FirstThatFits, paragraph, table

if TYPE_CHECKING:
    from cuvee.demo import Row


def demo(
    what: Literal["merges", "ensemble"] = "merges",
    /,
    *,
    out: Out = Path("cuvee-demo"),
    seed: Seed = 0,
    overwrite: Switch = False,
    quick: Switch = False,
    common: Common = COMMON,
) -> int:
    """Train small specialists, merge them, and show what was gained.

    A small language model is fine-tuned on several skills, one specialist each;
    the specialists are merged in several ways, and every model is judged on
    every skill. It takes a few minutes on two cores, needs the extra
    `cuvee[demo]`, and leaves models, recipes and merges in a folder to play with.
    `cuvee demo ensemble` combines predictions instead: a soup of six families of
    models on digits, and on reviews a count of words and a transformer that is
    trained on the spot, stacked and in a cascade.

    For example:

        cuvee demo
        cuvee demo ensemble --out my-ensembles
        cuvee demo --out my-demo --seed 7
        cuvee demo --overwrite --quick

    Args:
        what: What is shown: merges of weights, or predictions combined.
        out: The folder to make.
        seed: Seed of the lessons, the questions and the random masks.
        overwrite: Write over an earlier demo in that folder.
        quick: Hardly any training: see that it works; the figures mean nothing.
        common: How to print.
    """
    from cuvee import demo as show

    if what == "ensemble":
        return _ensemble(out, seed, overwrite=overwrite, quick=quick, common=common)
    try:
        with _Stages() as stages:
            done = show.run(out, seed=seed, overwrite=overwrite, quick=quick, progress=stages)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; what is in {out} is incomplete") from None
    data = {"path": done.out, "results": done.results}
    return deliver(Answer("demo", data, _text(out, done.results)), common)


def _ensemble(out: Path, seed: int, *, overwrite: bool, quick: bool, common: Common) -> int:
    """The demo of predictions combined."""
    from cuvee.demo.predictions.perform import run

    try:
        with _Stages() as stages:
            done = run(out, seed=seed, overwrite=overwrite, quick=quick, progress=stages)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; what is in {out} is incomplete") from None
    data = {"path": done.out, "results": done.results}
    return deliver(Answer("demo", data, _ensemble_text(out, done.results)), common)


def _ensemble_text(out: Path, results: Mapping[str, Any]) -> Iterator[RenderableType]:
    from cuvee.demo.predictions.told import COLUMNS, closing_lines, rows_of

    name, kind, *numbers, estimate = COLUMNS
    for ensemble, found in results["ensembles"].items():
        headings = [Column(f"{ensemble}: {name}"), Column(kind), *(Column(one, True) for one in numbers)]
        yield table([*headings, Column(estimate)], rows_of(found))
        yield ""
    yield from (paragraph(line) for line in closing_lines(results))
    yield ""
    yield f"Everything is in {out}: data, configurations to edit, ensembles, results.json, and a page to open in"
    yield f"a browser: {out / 'report.html'}"


class _Stages:
    """One meter after another, as the demo goes from stage to stage."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._meter: Meter | None = None
        self._open = ExitStack()

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Told by the demo, from any thread, one call at a time."""
        if self._meter is None or stage != self._name:
            self._open.close()
            self._name, self._meter = stage, self._open.enter_context(metered(stage, "step"))
        self._meter(done, total)


def _text(out: Path, results: Mapping[str, Any]) -> Iterator[RenderableType]:
    from cuvee.demo import closing_lines

    yield FirstThatFits([_scores(results, between="_"), _scores(results, between="_\n")])
    yield ""
    yield from (paragraph(line) for line in closing_lines(results))
    yield ""
    yield f"Everything is in {out}: models, recipes to edit, merges, results.json, results.png, and a page to open"
    yield f"in a browser: {out / 'report.html'}"


def _scores(results: Mapping[str, Any], between: str) -> Table:
    """The table; `between` stands between the words of a model's name, to break long ones at."""
    from cuvee.demo import columns, summary

    first, *others = columns(results)
    headings = [Column(first), *(Column(word, numbers=True) for word in others)]
    rows = summary(results)
    gaps = [number for number in range(1, len(rows)) if rows[number].kind != rows[number - 1].kind]
    return table(headings, [_cells(row, between) for row in rows], gaps)


def _cells(row: Row, between: str) -> list[Text]:
    """One line of the table; the best merge stands out."""
    name, *scores = row.cells
    return [plain(cell, "bold" if row.best else "") for cell in (name.replace("_", between), *scores)]
