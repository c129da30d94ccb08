"""What a place on the hub or in a store holds before something is sent there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """What a target holds already.

    Attributes:
        exists: whether the repository, or anything in the folder, is there.
        names: its files; those of sub-folders only for the hub.
        private: whether a repository is; `None` where that means nothing.
    """

    exists: bool
    names: tuple[str, ...] = ()
    private: bool | None = None
