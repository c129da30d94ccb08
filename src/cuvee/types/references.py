"""How a model is named: a path, a hub id or a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Placing:
    """Which part of a model is meant, and which part of the other models it stands for.

    Attributes:
        part: only this part of the model is taken, as a model of its own.
        stands_for: the part of the other models whose place it takes; the names are found.
        rename: prefix of its names → prefix of the other models' names, instead of finding them.
        without: what of it is left out; `vocabulary` are its word embeddings and its head.
    """

    part: str | None = None
    stands_for: str | None = None
    rename: tuple[tuple[str, str], ...] = ()
    without: str | None = None

    @property
    def is_partial(self) -> bool:
        """Whether the model covers a part of the others only."""
        return bool(self.stands_for or self.rename)

    def __str__(self) -> str:
        said = [f"part {self.part}" if self.part else "", f"as {self.stands_for}" if self.stands_for else ""]
        said += [f"{old or 'all'} → {new or 'nothing'}" for old, new in self.rename]
        return ", ".join([one for one in said if one] + ([f"without {self.without}"] if self.without else []))


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as the recipe names it: local path or hub id, revision, adapter, and what part of it is meant.

    `path` is kept as written: it is the model's name in every message and the key of its random masks, so that a
    recipe gives the same bytes wherever its folder stands.
    """

    path: str
    revision: str | None = None
    adapter: ModelRef | None = None
    override_architecture: str | None = None
    placing: Placing | None = None

    @property
    def whole(self) -> ModelRef:
        """The same model with nothing said of parts."""
        return self if self.placing is None else replace(self, placing=None)

    @property
    def is_partial(self) -> bool:
        """Whether the model stands for a part of the others only."""
        return self.placing is not None and self.placing.is_partial

    def __str__(self) -> str:
        text = self.path if self.revision is None else f"{self.path}@{self.revision}"
        text = text if self.adapter is None else f"{text}+{self.adapter}"
        return text if self.placing is None else f"{text} ({self.placing})"


STORES: Final = ("s3", "gs", "gcs", "https", "http")
"""Schemes of URLs that are read by ranges; `hf` is the hub under another name."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9.-]*)://")


def scheme_of(text: str) -> str | None:
    """The scheme of a URL in small letters, `None` for anything else.

    Example:
        >>> scheme_of("s3://bucket/model"), scheme_of("models/a"), scheme_of("org/name@main")
        ('s3', None, None)
    """
    found = _URL.match(text)
    return found[1].lower() if found else None


def url_fault(text: str) -> str | None:
    """What is wrong with a URL, without a word of it that could be a secret; `None` for a good one.

    Example:
        >>> url_fault("ftp://host/model")
        'begin with s3://, gs://, gcs://, https://, http:// or hf://; found ftp://'
    """
    scheme = scheme_of(text)
    if scheme not in (*STORES, "hf"):
        return f"begin with {', '.join(f'{name}://' for name in STORES)} or hf://; found {scheme}://"
    rest = text.partition("://")[2]
    if ":" in rest.partition("/")[0].rpartition("@")[0]:
        return "hold no password: it would stand in the record; give it through the environment"
    if set("?#") & set(rest):
        return "hold no `?` or `#`: a signed address would stand in the record; give keys through the environment"
    if not rest.strip("/") or not text.isprintable() or ".." in rest.split("/"):
        return f"name a folder or file, plainly and without `..`; found {text[:200]!r}"
    return None
