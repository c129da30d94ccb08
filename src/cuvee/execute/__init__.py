"""Carry out plans: stream tiles through a method, from readers to a writer."""

from __future__ import annotations

from cuvee.execute.forms import FormSoon, Kernels
from cuvee.execute.ledger import Digests, Progress
from cuvee.execute.run import Runner, execute

__all__ = ["Digests", "FormSoon", "Kernels", "Progress", "Runner", "execute"]
