"""Writing tensors of an output that another process has begun and will publish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cuvee.checkpoint.job import job_faults
from cuvee.checkpoint.journal import Entry, Journal, Tail, read_journal
from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.protocol import Layout
from cuvee.checkpoint.staged import StagedFiles
from cuvee.checkpoint.staging import Places, find_places
from cuvee.errors import Fault, ResourceError

if TYPE_CHECKING:
    from torch import Tensor


class AttachedWriter:
    """Writes ranges into the staging folder of a `FolderWriter` that is open elsewhere; use it in a `with` block.

    It takes no lock and publishes nothing. Each process has a journal of its own beside the folder, which the run that
    publishes reads together with its own.

    Args:
        layout: the layout of the run that publishes.
        out: its output folder.
        job: its job.
        worker: a name that no other process writes under, part of a file's name.

    Raises:
        ResourceError: `resume-mismatch`, on entering: there is no staging folder of that layout, or the worker's
            journal is of another job; `not-writable` and the like, from any call.
    """

    def __init__(self, layout: Layout, out: Path, *, job: Mapping[str, Any], worker: str) -> None:
        with told("look at", out):
            self._places = find_places(out)
        self._job = job
        self._path = self._places.journal(worker)
        self._files = StagedFiles(layout, self._places.staging, self._places.out)
        self._journal: Journal | None = None

    def __enter__(self) -> Self:
        self._check_run()
        try:
            if not self._files.attach():
                raise ResourceError(_nothing_begun(self._places))
            self._journal = self._open_journal()
        except BaseException:
            self._files.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        end = self._files.finish if kind is None else self._files.close
        try:
            end()
        finally:
            if self._journal is not None:
                self._journal.close()

    def attempts(self, stem: str) -> dict[str, tuple[Entry, ...]]:
        """What other processes whose names begin so have noted, by name: an earlier attempt at the same work."""
        own = self._places.journal(stem).name
        names = [path.name for path in self._places.journals() if path.name.startswith(own) and path != self._path]
        pasts = {name: read_journal(self._path.with_name(name)) for name in names}
        found = {f"{stem}{name[len(own) :]}": past.entries for name, past in pasts.items() if past is not None}
        if found:
            self._files.read_from_disk()
        return found

    def holds(self, entry: Entry) -> bool:
        """Whether the bytes of a range that was journalled stand in their place."""
        return self._files.holds(entry.tensor, entry.start, entry.stop, entry.written)

    def write(self, name: str, start: int, values: Tensor) -> None:
        """Put flat `values`, of the tensor's own dtype, at element `start` of a tensor; safe from any thread."""
        self._files.write(name, start, values)

    def note(self, entry: Entry) -> None:
        """Journal a range that has been written."""
        assert self._journal is not None, "the writer is not open"
        self._journal.add(entry)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes, read back from the file."""
        return self._files.digest(name)

    def _check_run(self) -> None:
        """Refuse to write where a run of another job has begun since this one was sent out."""
        own = read_journal(self._places.journal())
        if own is None:
            raise ResourceError(_nothing_begun(self._places))
        if faults := job_faults(own.job, self._job):
            raise ResourceError(faults)

    def _open_journal(self) -> Journal:
        """The worker's journal, begun or gone on with: a worker that died may come again under its name."""
        past = read_journal(self._path)
        if past is None:
            self._path.unlink(missing_ok=True)
            return Journal(self._path, self._job)
        if faults := job_faults(past.job, self._job):
            raise ResourceError(faults)
        return Journal.again(self._path, past.length)


class Following:
    """What attached processes note, as they note it; for telling how far they are.

    Args:
        out: the output.
        stem: what their names begin with.
    """

    def __init__(self, out: Path, stem: str) -> None:
        self._places = find_places(out)
        self._start = self._places.journal(stem).name
        self._tails: dict[Path, Tail] = {}

    def news(self) -> Iterator[Entry]:
        """The ranges that were noted since this was last asked for."""
        for path in self._places.journals():
            if path.name.startswith(self._start):
                yield from self._tails.setdefault(path, Tail(path)).news()


def _nothing_begun(places: Places) -> Fault:
    message = f"no output of this layout has been begun at {places.out}"
    return Fault("resume-mismatch", message, None, str(places.out), "begin it with the run that will publish it")
