"""Carry out plans: stream tiles through a method, from readers to a writer."""

from __future__ import annotations

from cuvee.execute.run import DEFAULT_TILE, Digests, Progress, Runner, default_threads, execute

__all__ = ["DEFAULT_TILE", "Digests", "Progress", "Runner", "default_threads", "execute"]
