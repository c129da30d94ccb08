"""The demo: small specialists trained on the spot, merged through the public command, and judged.

`run` does everything; `columns`, `summary` and `closing_lines` turn its results into a table and a few sentences.
Importing this package loads neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.demo.perform import DemoResult as DemoResult
    from cuvee.demo.perform import run as run
    from cuvee.demo.tell import Row as Row
    from cuvee.demo.tell import closing_lines as closing_lines
    from cuvee.demo.tell import columns as columns
    from cuvee.demo.tell import summary as summary

_HOMES = {
    "run": "perform",
    "DemoResult": "perform",
    "columns": "tell",
    "summary": "tell",
    "closing_lines": "tell",
    "Row": "tell",
}
__all__ = ["DemoResult", "Row", "closing_lines", "columns", "run", "summary"]


def __getattr__(name: str) -> Any:
    """A public name, its module imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
