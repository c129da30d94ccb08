"""What one worker does and refuses to do, carried out in this process; `tests/end_to_end/test_ray.py` has real ones."""

from __future__ import annotations

import errno
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee import methods
from cuvee.checkpoint import FolderWriter, open_checkpoint, plan_layout, syncing
from cuvee.checkpoint.syncing import SyncAhead
from cuvee.errors import CuveeError, InputError, ResourceError
from cuvee.execute.errand import Delivered, Errand, deliver, portable
from cuvee.execute.lots import Lot
from cuvee.execute.resume import describe
from cuvee.planning import bind, referenced
from tests.support.merging import files, recipe
from tests.support.yard import HEAD, Yard, new_yard, spoilt


@dataclass(frozen=True)
class Begun:
    """An output that is being built, and what its workers are told."""

    yard: Yard
    writer: FolderWriter
    errand: Errand
    whole: Lot

    def journals(self) -> list[str]:
        return sorted(path.name.split("-", 2)[2] for path in self.yard.root.glob(".out.cuvee-journal-*"))


@contextmanager
def begun(yard: Yard, method: str = "ties", **job: Any) -> Iterator[Begun]:
    asked = cuvee.load_recipe(yard.file(recipe(method, "base", "a", "b")))
    with ExitStack() as stack:
        readers = [open_checkpoint(ref, asked.root) for ref in referenced(asked)]
        for reader in readers:
            stack.callback(reader.close)
        plan = bind(asked, readers, methods.get(method).spec)
        layout = plan_layout([step.out for step in plan.steps], 1 << 30)
        found = {**describe(plan, readers, layout, seed=3, allow_nonfinite=False), **job}
        writer = stack.enter_context(FolderWriter(layout, yard.out, job=found))
        assert asked.root is not None
        root = asked.root.absolute()
        paths = tuple(root / name for name in ("base", "a", "b"))
        told = portable(plan), layout, yard.out, root, paths, found
        errand = Errand("run", *told, seed=3, allow_nonfinite=False, kernels="auto", threads=1, tile=1024)
        whole = Lot({s.out.name: [(0, s.out.numel)] for s in plan.steps}, layout.nbytes)
        yield Begun(yard, writer, pickle.loads(pickle.dumps(errand)), whole)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Begun]:
    with begun(new_yard(tmp_path)) as made:
        yield made


def refusal(delivered: Delivered) -> CuveeError:
    assert delivered.error is not None
    kind, faults = pickle.loads(pickle.dumps(delivered)).error
    assert all(fault.hint for fault in faults)
    return kind(faults)


def test_a_lot_is_written_and_noted(work: Begun) -> None:
    delivered = deliver(work.errand, 7, work.whole)
    assert (delivered.error, list(delivered.journals)) == (None, work.journals())
    assert delivered.journals[0].startswith("run-7-")
    work.writer.gather(delivered.journals)
    assert {e.tensor: (e.start, e.stop) for e in work.writer.past} == {n: r[0] for n, r in work.whole.ranges.items()}
    assert all(work.writer.holds(entry) for entry in work.writer.past)
    assert all(all(entry.read) for entry in work.writer.past)


def test_what_an_earlier_attempt_finished_is_left_out_if_it_stands_there(work: Begun) -> None:
    deliver(work.errand, 0, Lot({HEAD: work.whole.ranges[HEAD]}, 1))
    deliver(work.errand, 0, Lot({"model.norm.weight": [(0, 8)]}, 1))
    (died,) = work.journals()
    path = work.yard.root / f".out.cuvee-journal-{died}"
    path.rename(path.with_name(f".out.cuvee-journal-{died}0"))
    work.writer.write(HEAD, 0, torch.zeros(8))  # as if the machine had gone before its bytes were on the disk
    delivered = deliver(work.errand, 0, work.whole)
    assert sorted(delivered.journals) == sorted([died, f"{died}0"]) == work.journals()
    tensors = {entry.tensor for entry in work.writer.noted_by(died)}
    assert tensors == set(work.whole.ranges) - {"model.norm.weight"}


def test_what_a_worker_cannot_make_durable_comes_back(work: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SyncAhead.wrote

    def wrote(ahead: SyncAhead, *what: Any) -> None:
        plain(ahead, *what)
        ends = time.monotonic() + 20
        while ahead.failed is None and time.monotonic() < ends:
            time.sleep(0.001)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(syncing, "STEP", 1)
    monkeypatch.setattr(SyncAhead, "wrote", wrote)
    monkeypatch.setattr(os, "fdatasync", fail)
    error = refusal(deliver(work.errand, 0, work.whole))
    assert error.codes == ("io-error",)
    assert "could not make durable" in str(error)


def test_no_attempt_at_another_lot_is_looked_at(work: Begun) -> None:
    deliver(work.errand, 11, work.whole)
    delivered = deliver(work.errand, 1, work.whole)
    assert len(delivered.journals) == 1
    assert delivered.journals[0].startswith("run-1-")


def test_a_worker_that_does_not_see_what_it_needs(work: Begun) -> None:
    (work.yard.root / "a").rename(work.yard.root / "elsewhere")
    error = refusal(deliver(replace(work.errand, out=work.yard.root / "other" / "out"), 0, work.whole))
    assert (type(error), error.codes) == (ResourceError, ("not-shared",) * 2)
    missing = [str(work.yard.root / "a"), str(work.yard.root / "other" / ".out.cuvee-partial")]
    assert [fault.subject for fault in error.faults] == missing
    assert "file system that all machines of the cluster share" in str(error)


def test_a_worker_that_cannot_open_a_model(work: Begun) -> None:
    (work.yard.root / "a" / "model.safetensors").unlink()
    (work.yard.root / "b" / "model.safetensors").write_bytes(b"")
    error = refusal(deliver(work.errand, 0, work.whole))
    assert (type(error), len(error.faults)) == (InputError, 2)
    assert str(error).count("on the worker") == 2


def touch(begun: Begun) -> None:
    with (begun.yard.root / "a" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\0")


@pytest.mark.parametrize(
    ("job", "change", "words"),
    [
        (
            {"versions": {"cuvee": "0", "torch": "0"}},
            lambda _: None,
            'has other versions than the run: `cuvee` was "0"',
        ),
        ({}, touch, "sees another input than the run"),
        ({"seed": 4}, lambda _: None, "would do something else than the run: `seed` was 4, is 3"),
    ],
)
def test_a_worker_that_is_another_one(
    tmp_path: Path, job: dict[str, Any], change: Callable[[Begun], None], words: str
) -> None:
    with begun(new_yard(tmp_path), **job) as work:
        change(work)
        error = refusal(deliver(work.errand, 0, work.whole))
        assert (type(error), error.code) == (ResourceError, "worker-mismatch")
        assert words in str(error)
        assert work.journals() == []


def test_a_late_worker_does_not_write_for_another_run(work: Begun) -> None:
    with begun_again(work) as other:
        before = (other.writer.staging / "model.safetensors").read_bytes()
        error = refusal(deliver(work.errand, 0, work.whole))
        assert error.code == "resume-mismatch"
        assert (other.writer.staging / "model.safetensors").read_bytes() == before


@contextmanager
def begun_again(work: Begun) -> Iterator[Begun]:
    work.writer.__exit__(None, None, None)
    with begun(work.yard, "linear") as other:
        yield other


def test_what_a_worker_finds_in_an_input_comes_back_whole(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    yard.model("bad", spoilt(2, HEAD, 5, float("nan")))
    (yard.root / "b").rename(yard.root / "good")
    (yard.root / "bad").rename(yard.root / "b")
    with begun(yard) as work:
        error = refusal(deliver(work.errand, 0, work.whole))
    assert (type(error), error.code, error.faults[0].subject) == (InputError, "non-finite", HEAD)
    assert files(yard.root / "good")
