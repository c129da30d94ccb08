"""How a model is named: a path, a hub id or a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as the recipe names it: local path or hub id, revision, adapter.

    `path` is kept as written: it is the model's name in every message and the key of its random masks, so that a
    recipe gives the same bytes wherever its folder stands.
    """

    path: str
    revision: str | None = None
    adapter: ModelRef | None = None
    override_architecture: str | None = None

    def __str__(self) -> str:
        text = self.path if self.revision is None else f"{self.path}@{self.revision}"
        return text if self.adapter is None else f"{text}+{self.adapter}"


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
