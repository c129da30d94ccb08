"""Write a merge's model card."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_path, refuse, switch_faults, unfit

if TYPE_CHECKING:
    from cuvee.errors import Fault
    from cuvee.reporting.card_parts import Inputs
    from cuvee.reporting.evidence import Data
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
    """

    path: Path
    text: str
    licence: Decision
    base_models: tuple[str, ...]
    notes: tuple[str, ...]


def card(
    folder: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]] = (),
    *,
    out: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> CardResult:
    """Write the model card of a merge: front matter for the hub, and what there is to tell of it.

    Args:
        folder: the folder of a merge, with its record.
        files: what `cuvee compare --json` and `cuvee explain --json` printed.
        out: the file to write; `README.md` in the folder by default.
        root: the folder that the model paths of the recipe start from; if not given, it is looked for beside the
            merge, in the working folder and in the merge.
        overwrite: replace a file that is there already.

    Raises:
        UsageError: an argument is wrong.
        InputError: the folder has no record, or files are not what they should be.
        OutputExists: the file is there already.
        ResourceError: it cannot be written.
    """
    refuse([*switch_faults(overwrite=overwrite), *_list_faults(files)])
    place = as_path(folder, "folder", "the model must be a folder")
    path = place / CARD if out is None else as_path(out, "out", "the card must be a file's name")
    start = None if root is None else as_path(root, "root", "model paths must start from a folder")
    from cuvee.api.evidence import gather
    from cuvee.checkpoint.single_file import exists, write_single
    from cuvee.recipe.write import data_as_yaml
    from cuvee.reporting.card import card as told

    evidence = gather(place, files)
    if not overwrite and os.path.lexists(path):
        raise exists(path)
    inputs = _inputs(evidence.record, place, start)
    text = told(evidence, inputs, data_as_yaml(evidence.record["recipe"]))
    write_single(path, [text.encode("utf-8")], overwrite=overwrite)
    return CardResult(path, text, inputs.licence, inputs.base_models, inputs.notes)


def _list_faults(files: object) -> list[Fault]:
    good = isinstance(files, Sequence) and not isinstance(files, str | bytes)
    return [] if good else [unfit("files", "a list of files", files)]


def _inputs(record: Data, place: Path, root: Path | None) -> Inputs:
    from cuvee.api.card_inputs import find_inputs

    return find_inputs(record, [root] if root is not None else [place.absolute().parent, Path(), place])
