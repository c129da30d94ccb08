"""A model on the hub as its listing tells it: what is to be fetched, and what a part of it lacks. No network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cuvee.checkpoint.contents import Choice, choose_weights, is_side_file, kind_fault, no_weights_fault
from cuvee.checkpoint.sharded import read_index
from cuvee.errors import InputError
from cuvee.types import ModelRef


@dataclass(frozen=True, slots=True)
class Listing:
    """A model on the hub: the commit a revision stands for, and the files of that commit."""

    commit: str
    names: tuple[str, ...]


def choose(ref: ModelRef, listing: Listing) -> Choice:
    """The file through which the weights are read.

    Raises:
        InputError: there are no such weights, or it is no whole model.
    """
    top = sorted(name for name in listing.names if "/" not in name)
    if fault := kind_fault(top, str(ref)):
        raise InputError(fault)
    choice = choose_weights(top)
    if choice is None:
        raise InputError(no_weights_fault(top, str(ref)))
    return choice


def other_names(listing: Listing) -> list[str]:
    """The files that are fetched besides the weights."""
    return [name for name in listing.names if name == "config.json" or is_side_file(name)]


def missing_weights(folder: Path) -> list[str]:
    """What an interrupted or partial download left out; an adapter or pipeline is not incomplete but refused later."""
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    choice = choose_weights(names)
    if choice is None:
        return [] if kind_fault(names, "") else ["weights"]
    shards = set(read_index(folder / choice.file).values()) if choice.is_index else set()
    return sorted(name for name in shards if not (folder / name).is_file())
