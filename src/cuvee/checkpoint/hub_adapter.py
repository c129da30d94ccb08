"""Adapters of the Hugging Face hub: which of a repository's files are fetched."""

from __future__ import annotations

from pathlib import Path

from cuvee.checkpoint import hub
from cuvee.checkpoint.adapter_config import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from cuvee.errors import Fault, InputError, listed
from cuvee.types import ModelRef


def find_adapter(ref: ModelRef) -> Path:
    """The snapshot folder of an adapter on the hub, after fetching its configuration and its weights.

    An adapter is small beside its model, and nothing can be said of it without its header; so its weights are fetched
    for planning too.

    Args:
        ref: hub id and revision.

    Raises:
        InputError: `model-missing`, `offline`; `bad-adapter`: the repository holds none.
    """
    listing = hub.look_up(ref)
    if isinstance(listing, Fault):
        folder = hub.snapshot_folder(ref, None)
        if not (folder / ADAPTER_CONFIG).is_file():
            raise InputError(listing)
        return folder
    names = set(listing.names)
    weights = next((name for name in ADAPTER_WEIGHTS if name in names), None)
    if ADAPTER_CONFIG not in names or weights is None:
        message = f"{ref}: an adapter has {ADAPTER_CONFIG} and {' or '.join(ADAPTER_WEIGHTS)}; "
        message += f"found {listed(sorted(names), most=8) or 'nothing'}"
        raise InputError(Fault("bad-adapter", message, subject=str(ref), hint="name a repository that holds one"))
    return hub.download(ref, [ADAPTER_CONFIG, weights])
