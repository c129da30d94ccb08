"""Model files and the hub: the only package that opens either. Importing it loads no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint.protocol import Layout, Placed, Reader, Shard, SideFile, Writer

if TYPE_CHECKING:
    from cuvee.checkpoint.dequantised import as_floats, said_quantised
    from cuvee.checkpoint.digest import content_hash, digest_tensor
    from cuvee.checkpoint.folder import open_checkpoint, open_stored
    from cuvee.checkpoint.layout import format_size, parse_size, plan_layout
    from cuvee.checkpoint.memory import MemoryReader, MemoryWriter
    from cuvee.checkpoint.statistics import Statistics, read_statistics
    from cuvee.checkpoint.writer import FolderWriter

_LAZY: Final = {
    "FolderWriter": "writer",
    "MemoryReader": "memory",
    "MemoryWriter": "memory",
    "Statistics": "statistics",
    "as_floats": "dequantised",
    "content_hash": "digest",
    "digest_tensor": "digest",
    "format_size": "layout",
    "open_checkpoint": "folder",
    "open_stored": "folder",
    "parse_size": "layout",
    "plan_layout": "layout",
    "read_statistics": "statistics",
    "said_quantised": "dequantised",
}

__all__ = [
    "FolderWriter",
    "Layout",
    "MemoryReader",
    "MemoryWriter",
    "Placed",
    "Reader",
    "Shard",
    "SideFile",
    "Statistics",
    "Writer",
    "as_floats",
    "content_hash",
    "digest_tensor",
    "format_size",
    "open_checkpoint",
    "open_stored",
    "parse_size",
    "plan_layout",
    "read_statistics",
    "said_quantised",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"cuvee.checkpoint.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
