"""Stacking as renaming: which source layer becomes which output layer, and what the configuration must then say."""

from __future__ import annotations

from cuvee.layers.patch import patch_json, remove_json
from cuvee.layers.restack import Changes, SourceLayer, may_differ_by_position, restack

__all__ = ["Changes", "SourceLayer", "may_differ_by_position", "patch_json", "remove_json", "restack"]
