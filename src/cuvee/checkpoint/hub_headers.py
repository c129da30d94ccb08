"""The headers of a model on the hub, without its weights."""

from __future__ import annotations

from typing import Final

from cuvee.checkpoint.config import read_config
from cuvee.checkpoint.format import LENGTH_BYTES, header_length, parse_header
from cuvee.checkpoint.hub import fetch, look_up, read_range
from cuvee.checkpoint.hub_listing import Listing, choose
from cuvee.checkpoint.opened import Checkpoint
from cuvee.checkpoint.protocol import Placed
from cuvee.checkpoint.remote import RemoteHeaders
from cuvee.checkpoint.sharded import check_agreement, read_index
from cuvee.errors import Fault, InputError
from cuvee.types import ModelRef, TensorSpec

FIRST_READ: Final = 100_000
"""Bytes of a weight file asked for first: nearly every header is shorter, so one request does."""


def read_headers(ref: ModelRef, label: str | None = None) -> Checkpoint:
    """A hub model of which the headers and config.json are fetched, and no weights; `label` is its name in messages.

    Raises:
        InputError: as `resolve_hub`; `not-yet` for legacy weights, whose headers cannot be fetched alone.
    """
    listing = look_up(ref)
    if isinstance(listing, Fault):
        raise InputError(listing)
    choice = choose(ref, listing)
    if not choice.file.endswith((".safetensors", ".safetensors.index.json")):
        message = f"{ref}: what {choice.file} holds cannot be told without downloading it"
        hint = f"download it first: `hf download {ref.path}`"
        raise InputError(Fault("not-yet", message, subject=str(ref), hint=hint))
    specs = _sharded_specs(ref, listing, choice.file) if choice.is_index else _file_specs(ref, listing, choice.file)
    config = read_config(fetch(ref, listing, "config.json")) if "config.json" in listing.names else None
    note = "only headers and config.json were fetched; side files will be known after the download"
    return Checkpoint(label or str(ref), RemoteHeaders(str(ref), specs), config, notes=(*choice.notes, note))


def _file_specs(ref: ModelRef, listing: Listing, name: str) -> dict[str, TensorSpec]:
    return {placed.spec.name: placed.spec for placed in _remote_tensors(ref, listing, name)}


def _sharded_specs(ref: ModelRef, listing: Listing, index_name: str) -> dict[str, TensorSpec]:
    """The tensors of all shards, which must agree with the index as those of a local folder must."""
    index = fetch(ref, listing, index_name)
    where = read_index(index)
    held = {name: _file_specs(ref, listing, name) for name in sorted(set(where.values()))}
    if faults := check_agreement(index, where, held):
        raise InputError(faults)
    return {tensor: spec for specs in held.values() for tensor, spec in specs.items()}


def _remote_tensors(ref: ModelRef, listing: Listing, name: str) -> tuple[Placed, ...]:
    """The checked header of a weight file on the hub, by one range request or two."""
    where = f"{ref}/{name}"
    start, size = read_range(ref, listing, name, 0, FIRST_READ)
    end = LENGTH_BYTES + header_length(start, size, where)
    text = start if end <= len(start) else read_range(ref, listing, name, 0, end)[0]
    return parse_header(text[LENGTH_BYTES:end], size, where).tensors
