"""The demo's folder: where everything stands in it, and what may be written over."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cuvee.checkpoint.os_errors import told
from cuvee.errors import Fault, OutputExists

README: Final = "README.md"
TITLE: Final = "# A demo of Cuvee"
"""First line of the folder's README, by which a folder is known to be a demo's own."""

RESULTS: Final = "results.json"
PICTURES: Final = ("results.png", "results.svg")

_TEXT: Final = f"""{TITLE}

Small language models, each a specialist in one skill, and merges of them. Everything here was made on this machine by
`cuvee demo`.

- `models/`: the base that all specialists started from, and the specialists; ordinary checkpoint folders
- `recipes/`: how each merge was made. Edit one and make it again, in this folder:

      cuvee validate recipes/ties.yml
      cuvee merge recipes/ties.yml -o merges/mine
      cuvee diff models/reverse models/sort --base models/base

- `merges/`: the merged models, ordinary checkpoint folders with a record (`cuvee.json`) of how they were made
- `report.html`: the best merge on one page: what it was made of, what it gained, who contributed; open it in a browser
- `tasks/`, `searches/`, `compare.json`, `explain.json`: what that page was made from.
  `cuvee explain merges/ties --tasks tasks/test/sort.yml` asks the same of another merge
- `results.json`, `results.png`, `results.svg`: every model on every skill

Every folder in `models/` and `merges/` opens in transformers:

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained("merges/ties")
    words = AutoTokenizer.from_pretrained("merges/ties")
    asked = words("Q ? reverse c a b d > A", return_tensors="pt")
    print(words.decode(model.generate(**asked, max_new_tokens=8)[0]))
"""


def prepare(folder: Path, overwrite: bool, names: Sequence[str], text: str = _TEXT) -> None:
    """Make the folder ready: empty but for its README, or cleared of an earlier demo's files and of nothing else.

    Args:
        folder: the demo's folder.
        overwrite: clear an earlier demo's files away.
        names: what a demo writes, relative to the folder.
        text: of its README; it begins with `TITLE`.

    Raises:
        OutputExists: something is there, and `overwrite` is off or it was not put there by a demo.
        ResourceError: the folder cannot be written.
    """
    with told("write the demo to", folder):
        if folder.exists():
            _check(folder, overwrite)
        for name in names:
            _remove(folder / name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / README).write_text(text, encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a file and the folder it is in.

    Raises:
        ResourceError: the system refuses.
    """
    with told("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _check(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, unless it is an earlier demo's and may be written over."""
    subject = str(folder)
    if not folder.is_dir():
        raise OutputExists(Fault("output-exists", f"the demo needs a folder; {folder} is a file", None, subject))
    if not any(folder.iterdir()):
        return
    if not overwrite:
        message = f"the demo's folder should be new or empty; {folder} is neither"
        raise OutputExists(Fault("output-exists", message, None, subject, "name another, or add --overwrite"))
    if not _is_demo(folder):
        message = f"only the folder of an earlier demo is written over; {folder} is not one"
        raise OutputExists(Fault("unsafe-overwrite", message, None, subject, "name another folder"))


def _is_demo(folder: Path) -> bool:
    """Whether a demo wrote this folder's README."""
    readme = folder / README
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith(TITLE + "\n")


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
