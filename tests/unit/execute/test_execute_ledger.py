"""What a run keeps account of, where several workers bring it at once."""

from __future__ import annotations

import pytest
import torch

from cuvee.checkpoint import MemoryReader, digest_tensor
from cuvee.checkpoint.digest import TensorHash
from cuvee.execute.ledger import Ledger
from tests.support.benches import table
from tests.support.merging import linear


def test_an_input_that_two_steps_share_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second step is completed while the first is about to take the fingerprint of what both have read."""

    class Unread(MemoryReader):
        def digest(self, name: str) -> str:
            raise AssertionError(f"{name} was read again")

    bench = table(linear("a", "b"), {name: {"w": torch.arange(9.0)} for name in "ab"}, reader=Unread).bench
    (step,) = bench.plan.steps
    ledger = Ledger(bench.plan, hashes=True, progress=None)
    for piece in step.pieces:
        ledger.read(piece, 9, 0, torch.arange(9.0))
    bench.writer.write("w", 0, torch.arange(9.0))
    hexdigest, begun = TensorHash.hexdigest, []

    def meanwhile(passed: TensorHash) -> str | None:
        if not begun:
            begun.append(passed)
            ledger.complete(step, bench.readers, bench.writer)
        return hexdigest(passed)

    monkeypatch.setattr(TensorHash, "hexdigest", meanwhile)
    ledger.complete(step, bench.readers, bench.writer)
    assert ledger.digests.inputs == dict.fromkeys(step.pieces, digest_tensor(torch.arange(9.0)))
