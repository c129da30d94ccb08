"""Models of the Hugging Face hub: the one place that imports huggingface_hub and asks the hub.

A hub id is looked up first (commit and file names). The files that matter are chosen from the names by the same rules
as in a local folder, so that nothing else is downloaded. Where the hub is out of reach, the cache is used as it stands.
"""

from __future__ import annotations

import errno
import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.hub_listing import Listing, choose, missing_weights, other_names
from cuvee.checkpoint.os_errors import CODES, resource_error
from cuvee.checkpoint.sharded import read_index
from cuvee.checkpoint.standing import Standing
from cuvee.errors import Fault, InputError, ResourceError
from cuvee.types import ModelRef

_TIMEOUT: Final = 30.0

_TRIES: Final = 3
"""Downloads of a branch that keeps moving before giving up."""


def resolve_hub(ref: ModelRef) -> Path:
    """The snapshot folder of a hub model, after downloading what is missing of it.

    `HF_HUB_OFFLINE`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` and `HF_ENDPOINT` mean what they mean to huggingface_hub.

    Raises:
        InputError: `model-missing`, `offline`, or what the listing says the model is not.
        ResourceError: no space for the download, or no right to write it.
    """
    for _ in range(_TRIES):
        listing = look_up(ref)
        if isinstance(listing, Fault):
            return _cached_or(ref, listing)
        folder = _download(ref, listing)
        if folder.name == listing.commit:  # a branch may move on between the listing and the download
            return folder
    message = f"{ref} changes faster than it can be downloaded"
    raise InputError(Fault("io-error", message, subject=str(ref), hint="name a commit or a tag: `org/name@revision`"))


def _download(ref: ModelRef, listing: Listing) -> Path:
    return download(ref, [*_weight_names(ref, listing), *other_names(listing)])


def download(ref: ModelRef, wanted: Iterable[str]) -> Path:
    """Fetch what is missing; by the revision as named, so that the cache remembers what that stands for."""
    from huggingface_hub import snapshot_download

    try:
        patterns = [glob.escape(name) for name in wanted]
        return Path(snapshot_download(ref.path, revision=ref.revision, allow_patterns=patterns))
    except _failures() as error:
        raise InputError(_hub_fault(ref, error)) from error


def find_cached(ref: ModelRef) -> Path | None:
    """The snapshot folder if all that would be downloaded is in the cache; `None` if some of it must be fetched.

    Raises:
        InputError: as `resolve_hub`.
    """
    listing = look_up(ref)
    if isinstance(listing, Fault):
        return _cached_or(ref, listing)
    folder = snapshot_folder(ref, listing.commit)
    complete = all((folder / name).is_file() for name in (*_weight_names(ref, listing), *other_names(listing)))
    return folder if complete else None


def look_up(ref: ModelRef) -> Listing | Fault:
    """Ask the hub which commit and files a reference means; a fault where it cannot or will not say."""
    from huggingface_hub import HfApi

    if ref.revision is not None and (".." in ref.revision or ref.revision.startswith("/")):
        raise InputError(Fault("model-missing", f"{ref}: `{ref.revision}` cannot be a revision", subject=str(ref)))
    try:
        info = HfApi().model_info(ref.path, revision=ref.revision)
    except _failures() as error:
        return _hub_fault(ref, error)
    names = tuple(sibling.rfilename for sibling in info.siblings or ())
    return Listing(str(info.sha), names)


def _weight_names(ref: ModelRef, listing: Listing) -> list[str]:
    """The weight files to download; for shards, the index is fetched to know them."""
    choice = choose(ref, listing)
    if not choice.is_index:
        return [choice.file]
    return [choice.file, *sorted(set(read_index(fetch(ref, listing, choice.file)).values()))]


def fetch(ref: ModelRef, listing: Listing, name: str) -> Path:
    """One small file, through the cache."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(ref.path, name, revision=listing.commit))
    except _failures() as error:
        raise InputError(_hub_fault(ref, error)) from error


def read_range(ref: ModelRef, listing: Listing, name: str, begin: int, end: int) -> tuple[bytes, int]:
    """Bytes `begin` to `end` (not included) of a file on the hub, and the size of the whole file."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

    headers = {**build_hf_headers(), "Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
    try:
        url = hf_hub_url(ref.path, name, revision=listing.commit)
        response = get_session().get(url, headers=headers, timeout=_TIMEOUT)
        hf_raise_for_status(response)
    except _failures() as error:
        raise InputError(_hub_fault(ref, error)) from error
    total = str(response.headers.get("Content-Range", "")).rpartition("/")[2]
    if not total.isdecimal():
        message = f"{ref}: the hub did not answer a request for a part of {name}"
        raise InputError(Fault("offline", message, subject=str(ref), hint="download the model first"))
    return response.content, int(total)


def _cached_or(ref: ModelRef, fault: Fault) -> Path:
    """The snapshot folder in the cache.

    Raises:
        InputError: `fault`, if it is not there; `offline`, if a part of its weights is not there.
    """
    folder = snapshot_folder(ref, None)
    if not folder.is_dir():
        raise InputError(fault)
    missing = missing_weights(folder)
    if missing:
        message = f"{ref}: the cache holds only a part of it (missing: {', '.join(missing[:5])}), and {fault.message}"
        raise InputError(Fault("offline", message, subject=str(ref), hint=fault.hint))
    return folder


def snapshot_folder(ref: ModelRef, commit: str | None) -> Path:
    """Where the hub's cache keeps a commit; without one, the commit that the reference last stood for."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=ref.path, repo_type="model")
    revision = ref.revision or constants.DEFAULT_REVISION
    named = storage / "refs" / revision
    if commit is None:
        commit = named.read_text(encoding="utf-8").strip() if named.is_file() else revision
    return storage / "snapshots" / commit


def _failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises when the hub cannot be reached or says no.

    The base of its HTTP errors is that of the client in use (requests, httpx), so connection errors are among them.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    clients = tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    return (*clients, HFValidationError, OSError)


def _hub_fault(ref: ModelRef, error: Any) -> Fault:
    """What the hub's answer means for the user.

    Raises:
        ResourceError: it was not the hub but the disk.
    """
    from huggingface_hub import errors

    if isinstance(error, OSError) and error.errno in (*CODES, errno.EIO):
        raise resource_error(error, "download", ref.path)
    if isinstance(error, errors.GatedRepoError):
        what, hint = "is gated: the hub asks for consent", "accept its terms on its page, then set HF_TOKEN"
        return Fault("model-missing", f"{ref}: {what}", subject=str(ref), hint=hint)
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        what, hint = "neither a local path nor a model on the hub", "check the name; for a private model set HF_TOKEN"
        return Fault("model-missing", f"{ref}: {what}", subject=str(ref), hint=hint)
    if isinstance(error, errors.RevisionNotFoundError):
        what, hint = f"the model has no revision `{ref.revision}`", "check the branch, tag or commit on its page"
        return Fault("model-missing", f"{ref}: {what}", subject=str(ref), hint=hint)
    if isinstance(error, errors.OfflineModeIsEnabled):
        what, hint = "the hub is switched off (HF_HUB_OFFLINE)", f"unset it, or run `hf download {ref.path}` first"
        return Fault("offline", f"{ref}: no such local path, and {what}", subject=str(ref), hint=hint)
    what, hint = f"the hub could not be reached ({_reason(error)})", f"try again, or run `hf download {ref.path}` first"
    return Fault("offline", f"{ref}: no such local path, and {what}", subject=str(ref), hint=hint)


def _reason(error: Any) -> str:
    """The kind of failure without its text, which may hold addresses and names of tokens."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return type(error).__name__ if status is None else f"status {status}"


def look_at(ref: ModelRef) -> Standing | None:
    """What a repository holds at a revision; `None` where there is no such repository or revision.

    Raises:
        ResourceError: the hub refuses or does not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(ref.path, revision=ref.revision)
    except _failures() as error:
        absent = isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)
        if absent and not isinstance(error, GatedRepoError):
            return None
        raise _not_sent(error, f"look at {ref} on the hub", ref.path) from error
    return Standing(True, tuple(sibling.rfilename for sibling in info.siblings or ()), bool(info.private))


class Commit:
    """Files on their way to one commit."""

    def __init__(self, repository: str, revision: str | None) -> None:
        self._repository = repository
        self._revision = revision
        self._operations: list[Any] = []

    def add(self, name: str, path: Path) -> None:
        """Send a file, where the hub keeps large ones; nothing is visible yet."""
        from huggingface_hub import CommitOperationAdd, HfApi

        made = CommitOperationAdd(name, str(path))
        HfApi().preupload_lfs_files(self._repository, [made], revision=self._revision)
        self._operations.append(made)

    def finish(self, removed: Iterable[str], message: str) -> None:
        """Make everything visible at once."""
        from huggingface_hub import CommitOperationDelete, HfApi

        wanted = [*(CommitOperationDelete(name) for name in removed), *self._operations]
        HfApi().create_commit(self._repository, wanted, commit_message=message, revision=self._revision)


@contextmanager
def committing(repository: str, private: bool, revision: str | None) -> Iterator[Commit]:
    """A commit to a repository and branch, both of which are made if they are not there.

    Raises:
        ResourceError: the hub refuses or does not answer, now or inside.
    """
    from huggingface_hub import HfApi

    try:
        with _without_bars():
            HfApi().create_repo(repository, private=private, exist_ok=True)
            if revision is not None:
                HfApi().create_branch(repository, branch=revision, exist_ok=True)
            yield Commit(repository, revision)
    except _failures() as error:
        raise _not_sent(error, f"send to {repository} on the hub", repository) from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without the library's own bars: progress is told by whoever called."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _not_sent(error: Any, what: str, repository: str) -> ResourceError:
    """What it means that the hub did not take something."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    denied = status in (401, 403)
    hint = "set HF_TOKEN to a token that may write there" if denied else "look at the network, and try again"
    code = "remote-denied" if denied else "remote-unreachable"
    return ResourceError(Fault(code, f"could not {what}: {_reason(error)}", subject=repository, hint=hint))
