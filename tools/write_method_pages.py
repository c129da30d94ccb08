"""Write docs/methods/ anew from what the methods declare: `python tools/write_method_pages.py`."""

from __future__ import annotations

from pathlib import Path

from cuvee import methods
from cuvee.methods.pages import index, page

FOLDER = Path(__file__).parents[1] / "docs" / "methods"


def main() -> None:
    specs = methods.specs()
    FOLDER.mkdir(exist_ok=True)
    wanted = {f"{name}.md": page(spec) for name, spec in specs.items()} | {"README.md": index(specs)}
    for stale in {path.name for path in FOLDER.glob("*.md")} - wanted.keys():
        (FOLDER / stale).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
