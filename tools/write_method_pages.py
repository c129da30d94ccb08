"""Write what the methods declare into the docs: `python tools/write_method_pages.py`.

docs/methods/ has a page for each; the section "Methods" of docs/differences.md says of each where it differs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from cuvee import methods
from cuvee.methods.pages import index, page
from cuvee.types import MethodSpec

DOCS = Path(__file__).parents[1] / "docs"
_HEAD, _NEXT = "## Methods\n", "\n## Reading a recipe"
_INTRODUCTION = "Under a method's name stands what `cuvee methods NAME` prints of it, word for word."


def main() -> None:
    specs = methods.specs()
    _write_pages(DOCS / "methods", specs)
    differences = DOCS / "differences.md"
    text = differences.read_text("utf-8")
    before, rest = text.split(_HEAD)
    after = rest[rest.index(_NEXT) :]
    differences.write_text(f"{before}{_HEAD}\n{_differing(specs)}{after}", "utf-8")


def _write_pages(folder: Path, specs: Mapping[str, MethodSpec]) -> None:
    folder.mkdir(exist_ok=True)
    wanted = {f"{name}.md": page(spec) for name, spec in specs.items()} | {"README.md": index(specs)}
    for stale in {path.name for path in folder.glob("*.md")} - wanted.keys():
        (folder / stale).unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")


def _differing(specs: Mapping[str, MethodSpec]) -> str:
    paragraphs = [f"**{name}.** {' '.join(spec.differs)}" for name, spec in sorted(specs.items()) if spec.differs]
    filled = (textwrap.fill(one, 120, break_long_words=False, break_on_hyphens=False) for one in paragraphs)
    return "\n\n".join((_INTRODUCTION, *filled)) + "\n"


if __name__ == "__main__":
    main()
