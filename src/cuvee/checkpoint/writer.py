"""Writing a model into a folder that is not there until it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cuvee.checkpoint.copying import copy_hashed
from cuvee.checkpoint.job import job_faults, touched_files
from cuvee.checkpoint.journal import Entry, Journal, Past, read_journal
from cuvee.checkpoint.layout import INDEX
from cuvee.checkpoint.os_errors import HINTS, told
from cuvee.checkpoint.protocol import Layout, SideFile
from cuvee.checkpoint.staged import StagedFiles, check_space
from cuvee.checkpoint.staging import (
    check_output,
    clear,
    find_places,
    make_folders,
    put_back,
    release_lock,
    remove,
    swap_in,
    sync_folder,
    sync_tree,
    take_lock,
)
from cuvee.checkpoint.written import Written, check_name
from cuvee.errors import Fault, InputError, ResourceError

if TYPE_CHECKING:
    from torch import Tensor


class FolderWriter:
    """A `Writer` into a folder; use it in a `with` block.

    Everything is built in a hidden neighbour of the output, at its final size from the start, and takes the output's
    place when `publish` is called. Leaving the block without it leaves no trace, unless `resume` is given: then what is
    finished is kept for a run that goes on from there, `kept` says so.

    Args:
        layout: where every byte will stand.
        out: the output folder; it must not be there, or be empty.
        overwrite: replace a folder that holds a model; the old one stays until the new one is durable.
        protected: files and folders the merge reads; an output that touches one of them is never replaced.
        job: what is done (`job.job_of`), to be journalled; without it nothing is.
        resume: go on from what a run of the same job left, if one did, and leave what is finished to the next.

    Raises:
        OutputExists: `output-exists` or `unsafe-overwrite`, on entering or publishing.
        ResourceError: `disk-full`, `file-too-large`, `not-writable`, `output-busy` or `io-error`, from any call;
            `resume-mismatch`, on entering: what was left is of another job.
    """

    def __init__(
        self,
        layout: Layout,
        out: Path,
        *,
        overwrite: bool = False,
        protected: Sequence[Path] = (),
        job: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self._layout = layout
        with told("look at", out):
            self._places = find_places(out)
        self._overwrite = overwrite
        self._protected = tuple(protected)
        self._job = job
        self._resume = resume and job is not None
        self._journal: Journal | None = None
        self._past: tuple[Entry, ...] = ()
        self._touched: frozenset[str] = frozenset()
        self._files = StagedFiles(layout, self._places.staging, self._places.out)
        self._written = Written(layout.specs)
        self._added: set[str] = set()
        self._lock: int | None = None
        self._published = False
        self._kept = False
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        out = self._places.out
        self._check()
        with told("make the folder", out.parent):
            self._made = make_folders(out.parent)
        try:
            with told("lock", self._places.lock):
                self._lock = take_lock(self._places)
        except BaseException:
            self._remove_made()
            raise
        keep = self._resume  # until it is known that there is nothing worth keeping
        try:
            keep = self._resume and self._go_on()
            if not keep:
                self._stage()
        except BaseException:
            self._leave(keep=keep)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        hopeless = isinstance(error, InputError) and error.code == "non-finite"  # the next run would end so too
        keep = self._resume and not hopeless
        try:
            self._leave(keep=keep)
        except KeyboardInterrupt:
            self._leave(keep=keep)  # on from where the interrupt cut it short
            raise

    @property
    def past(self) -> tuple[Entry, ...]:
        """What a run before this one noted as finished; whether it stands there is for `holds` to say."""
        return self._past

    @property
    def touched(self) -> frozenset[str]:
        """Names of input files of which only a look at the content can tell whether they are what they were."""
        return self._touched

    @property
    def kept(self) -> bool:
        """Whether what is finished was left for the next run."""
        return self._kept

    @property
    def out(self) -> Path:
        """The real place of the output."""
        return self._places.out

    @property
    def staging(self) -> Path:
        """The hidden folder in which the output is being built."""
        return self._places.staging

    def write(self, name: str, start: int, values: Tensor) -> None:
        """Put flat `values`, of the tensor's own dtype, at element `start` of a tensor; safe from any thread."""
        self._files.write(name, start, values)
        self._written.add(name, values.numel())

    def note(self, entry: Entry) -> None:
        """Journal a range that has been written, for a run that may have to go on from there."""
        if self._journal is not None:
            self._journal.add(entry)

    def gather(self, workers: Iterable[str]) -> None:
        """Make what other processes wrote and noted (`attached.AttachedWriter`) part of the past."""
        if not self._files.attach_again():
            message = f"{self._places.staging} is not as it was begun"
            raise ResourceError(Fault("io-error", message, None, str(self._places.staging), HINTS["io-error"]))
        self._past += tuple(entry for worker in workers for entry in self.noted_by(worker))

    def noted_by(self, worker: str) -> tuple[Entry, ...]:
        """What another process that writes into the staging folder has noted so far (`attached.AttachedWriter`)."""
        past = read_journal(self._places.journal(worker))
        return () if past is None else past.entries

    def holds(self, entry: Entry) -> bool:
        """Whether the bytes of a range that was journalled stand in their place."""
        return self._files.holds(entry.tensor, entry.start, entry.stop, entry.written)

    def take_over(self, entry: Entry) -> None:
        """Count a range that stands there, and overlaps no other, as written."""
        self._written.add(entry.tensor, entry.stop - entry.start)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes, read back from the file."""
        return self._files.digest(name)

    def add_text(self, name: str, text: str) -> None:
        """Add a small text file, in UTF-8 and with its line ends as they are."""
        with self._adding(name) as path, told("write", self._places.out / name):
            path.write_bytes(text.encode("utf-8"))

    def add_file(self, file: SideFile) -> str:
        """Copy a side file, byte for byte; a link is copied as the file it leads to. Gives xxh3-128 of the bytes."""
        with self._adding(file.name) as path:
            return copy_hashed(file.fetched(), path, self._places.out / file.name, file.node)

    def publish(self) -> None:
        """Make everything durable, then visible with one rename.

        Raises:
            RuntimeError: a tensor has not been written in full.
        """
        self._written.check_complete()
        self._files.finish()
        with told("make durable", self._places.staging):
            sync_tree(self._places.staging)
        self._check()
        with told("publish", self._places.out):
            swap_in(self._places, overwrite=self._overwrite)
            self._published = True  # from the rename on it stands, durable or not
            for folder in (self._places.out, *self._made):
                sync_folder(folder.parent)

    def _go_on(self) -> bool:
        """Take up what a run of the same job left; `False` where there is nothing to go on from.

        Raises:
            ResourceError: `resume-mismatch`: it was another job.
        """
        assert self._job is not None
        if not self._places.staging.is_dir():
            return False
        pasts = [(path, past) for path in self._places.journals() if (past := read_journal(path)) is not None]
        faults = [fault for _, past in pasts for fault in job_faults(past.job, self._job)]
        if faults:
            raise ResourceError(dict.fromkeys(faults))
        own = dict(pasts).get(self._places.journal())
        if own is None or not self._files.attach():
            return False
        self._take_up(own, [past for _, past in pasts])
        return True

    def _take_up(self, own: Past, pasts: Sequence[Past]) -> None:
        assert self._job is not None
        put_back(self._places)
        self._check()
        for path in self._places.staging.iterdir():
            if path.name not in self._files.names:  # what is no tensor is made anew
                remove(path)
        self._files.read_from_disk()
        self._journal = Journal.again(self._places.journal(), own.length)
        self._past = tuple(entry for past in pasts for entry in past.entries)
        self._touched = frozenset().union(*(touched_files(past.job, self._job) for past in pasts))
        self._add_index()

    def _check(self) -> None:
        with told("look at", self._places.out):
            check_output(self._places.out, self._overwrite, self._protected)

    def _stage(self) -> None:
        """Make the staging folder with every weight file at its final size and its header in place."""
        staging = self._places.staging
        with told("clear away what a run that was killed left of", self._places.out):
            clear(self._places)
        self._check()
        check_space(self._layout, staging.parent)
        with told("make the folder", staging):
            staging.mkdir()
        self._files.create()
        self._add_index()
        if self._job is not None:  # last, so that a journal stands for files that are all there
            self._journal = Journal(self._places.journal(), self._job)

    def _add_index(self) -> None:
        if self._layout.index is not None:
            self.add_text(INDEX, self._layout.index)

    @contextmanager
    def _adding(self, name: str) -> Iterator[Path]:
        """The path of a file to be added, its folder made; the name is taken once it stands there."""
        check_name(name, {*self._added, *self._files.names})
        if self._lock is None or self._published:
            raise RuntimeError("the writer is not open")
        path = self._places.staging / name
        with told("make the folder", (self._places.out / name).parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        self._added.add(name)

    def _remove_made(self) -> None:
        """Folders that were made for an output that never came, as long as nobody else uses them."""
        with suppress(OSError):
            for path in [] if self._published else self._made:
                path.rmdir()

    def _leave(self, *, keep: bool) -> None:
        """Let go of everything; unless published or to be kept, remove every trace."""
        if self._lock is None:
            return
        with suppress(ResourceError):
            self._files.close()
        if self._journal is not None:
            journal, self._journal = self._journal, None
            with suppress(OSError):
                journal.close()
        with suppress(OSError):
            try:
                self._kept = keep and not self._published
                if not self._kept:
                    clear(self._places)
            finally:
                release_lock(self._places, self._lock)
                self._lock = None
                self._remove_made()
