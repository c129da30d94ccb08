"""Write a merge's model card."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_output, as_path, refuse, switch_faults, unfit

if TYPE_CHECKING:
    from cuvee.errors import Fault
    from cuvee.reporting.card_parts import Inputs, Picture
    from cuvee.reporting.evidence import Data, Evidence
    from cuvee.reporting.licences import Decision

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class CardResult:
    """A card that was written.

    Attributes:
        path: the file.
        text: what stands in it.
        licence: the licence in its front matter, and why.
        base_models: hub ids in its front matter.
        notes: what could not be found out.
        charts: files of charts, in the order of the card.
    """

    path: Path
    text: str
    licence: Decision
    base_models: tuple[str, ...]
    notes: tuple[str, ...]
    charts: tuple[Path, ...] = ()


def card(
    folder: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]] = (),
    *,
    searches: Sequence[str | os.PathLike[str]] = (),
    charts: bool = False,
    out: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> CardResult:
    """Write the model card of a merge: front matter for the hub, and what there is to tell of it.

    Args:
        folder: the folder of a merge, with its record.
        files: what `cuvee compare --json` and `cuvee explain --json` printed.
        searches: folders that `cuvee search` wrote.
        charts: draw what the files and searches tell as `chart-….png` beside the card, which shows them.
        out: the file to write; `README.md` in the folder by default.
        root: the folder that the model paths of the recipe start from; if not given, it is looked for beside the
            merge, in the working folder and in the merge.
        overwrite: replace a file that is there already.

    Raises:
        UsageError: an argument is wrong; Altair or vl-convert is not installed, which charts need.
        InputError: the folder has no record, or files are not what they should be.
        OutputExists: the file, or one of a chart, is there already.
        ResourceError: it cannot be written.
    """
    refuse([*switch_faults(overwrite=overwrite, charts=charts), *_list_faults(files, searches)])
    place = as_path(folder, "folder", "the model must be a folder")
    path = place / CARD if out is None else as_output(out, "the card must be a file's name")
    start = None if root is None else as_path(root, "root", "model paths must start from a folder")
    from cuvee.api.evidence import gather
    from cuvee.checkpoint.single_file import exists
    from cuvee.recipe.write import data_as_yaml
    from cuvee.reporting.card import card as told

    evidence = gather(place, files, searches)
    if not overwrite and os.path.lexists(path):
        raise exists(path)
    pictures = _pictures(evidence) if charts else ()
    beside = [path.with_name(one.file) for one in pictures]
    if not overwrite and (taken := [file for file in beside if os.path.lexists(file)]):
        raise exists(taken[0])
    inputs = _inputs(evidence.record, place, start)
    text = told(evidence, inputs, data_as_yaml(evidence.record["recipe"]), pictures)
    raws = [*(one.png for one in pictures), text.encode("utf-8")]
    _write(dict(zip([*beside, path], raws, strict=True)), overwrite)
    notes = (*inputs.notes, _NOTHING_DRAWN) if charts and not pictures else inputs.notes
    return CardResult(path, text, inputs.licence, inputs.base_models, notes, tuple(beside))


def _write(files: Mapping[Path, bytes], overwrite: bool) -> None:
    """Write files, the card last; where one cannot be written, those that were not there before are taken away."""
    from cuvee.checkpoint.single_file import write_single

    fresh = [file for file in files if not os.path.lexists(file)]
    done: list[Path] = []
    try:
        for file, raw in files.items():
            write_single(file, [raw], overwrite=overwrite)
            done.append(file)
    except BaseException:
        for file in done:
            if file in fresh:
                file.unlink(missing_ok=True)
        raise


_NOTHING_DRAWN = "there are no charts: they are of comparisons, explanations and searches, and none were given"


def _pictures(evidence: Evidence) -> tuple[Picture, ...]:
    """Every chart of the evidence, drawn on a light ground."""
    from cuvee.reporting.card_parts import Picture
    from cuvee.reporting.drawing import draw_png
    from cuvee.reporting.figures import charts_of
    from cuvee.reporting.page import require

    require()
    return tuple(
        Picture(f"chart-{name}.png", title, description, draw_png(spec), name == "mean" or name.startswith("task-"))
        for name, title, description, spec in charts_of(evidence)
    )


def _list_faults(files: object, searches: object) -> list[Fault]:
    def good(given: object) -> bool:
        return isinstance(given, Sequence) and not isinstance(given, str | bytes)

    wanted = {"files": ("a list of files", files), "searches": ("a list of folders", searches)}
    return [unfit(name, what, given) for name, (what, given) in wanted.items() if not good(given)]


def _inputs(record: Data, place: Path, root: Path | None) -> Inputs:
    from cuvee.api.card_inputs import find_inputs

    return find_inputs(record, [root] if root is not None else [place.absolute().parent, Path(), place])
