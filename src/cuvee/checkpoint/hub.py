"""Models of the Hugging Face hub: the one place that imports huggingface_hub, and the only one that uses the network.

A hub id is looked up first (commit and file names). The files that matter are chosen from the names by the same rules
as in a local folder, so that nothing else is downloaded. Where the hub is out of reach, the cache is used as it stands.
"""

from __future__ import annotations

import errno
import glob
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.config import read_config
from cuvee.checkpoint.format import LENGTH_BYTES, header_length, parse_header
from cuvee.checkpoint.hub_listing import Listing, choose, missing_weights, other_names
from cuvee.checkpoint.opened import Checkpoint
from cuvee.checkpoint.os_errors import CODES, resource_error
from cuvee.checkpoint.protocol import Placed
from cuvee.checkpoint.remote import RemoteHeaders
from cuvee.checkpoint.sharded import check_agreement, read_index
from cuvee.errors import Fault, InputError
from cuvee.types import ModelRef, TensorSpec

FIRST_READ: Final = 100_000
"""Bytes of a weight file asked for first: nearly every header is shorter, so one request does."""

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
        listing = _look_up(ref)
        if isinstance(listing, Fault):
            return _cached_or(ref, listing)
        folder = _download(ref, listing)
        if folder.name == listing.commit:  # a branch may move on between the listing and the download
            return folder
    message = f"{ref} changes faster than it can be downloaded"
    raise InputError(Fault("io-error", message, subject=str(ref), hint="name a commit or a tag: `org/name@revision`"))


def _download(ref: ModelRef, listing: Listing) -> Path:
    """Fetch what is missing; by the revision as named, so that the cache remembers what that stands for."""
    from huggingface_hub import snapshot_download

    wanted = [*_weight_names(ref, listing), *other_names(listing)]
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
    listing = _look_up(ref)
    if isinstance(listing, Fault):
        return _cached_or(ref, listing)
    folder = _snapshot_folder(ref, listing.commit)
    complete = all((folder / name).is_file() for name in (*_weight_names(ref, listing), *other_names(listing)))
    return folder if complete else None


def read_headers(ref: ModelRef, label: str | None = None) -> Checkpoint:
    """A hub model of which the headers and config.json are fetched, and no weights; `label` is its name in messages.

    Raises:
        InputError: as `resolve_hub`; `not-yet` for legacy weights, whose headers cannot be fetched alone.
    """
    listing = _look_up(ref)
    if isinstance(listing, Fault):
        raise InputError(listing)
    choice = choose(ref, listing)
    if not choice.file.endswith((".safetensors", ".safetensors.index.json")):
        message = f"{ref}: what {choice.file} holds cannot be told without downloading it"
        hint = f"download it first: `hf download {ref.path}`"
        raise InputError(Fault("not-yet", message, subject=str(ref), hint=hint))
    specs = _sharded_specs(ref, listing, choice.file) if choice.is_index else _file_specs(ref, listing, choice.file)
    config = read_config(_fetch(ref, listing, "config.json")) if "config.json" in listing.names else None
    note = "only headers and config.json were fetched; side files will be known after the download"
    return Checkpoint(label or str(ref), RemoteHeaders(str(ref), specs), config, notes=(*choice.notes, note))


def _look_up(ref: ModelRef) -> Listing | Fault:
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
    return [choice.file, *sorted(set(read_index(_fetch(ref, listing, choice.file)).values()))]


def _fetch(ref: ModelRef, listing: Listing, name: str) -> Path:
    """One small file, through the cache."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(ref.path, name, revision=listing.commit))
    except _failures() as error:
        raise InputError(_hub_fault(ref, error)) from error


def _file_specs(ref: ModelRef, listing: Listing, name: str) -> dict[str, TensorSpec]:
    return {placed.spec.name: placed.spec for placed in _remote_tensors(ref, listing, name)}


def _sharded_specs(ref: ModelRef, listing: Listing, index_name: str) -> dict[str, TensorSpec]:
    """The tensors of all shards, which must agree with the index as those of a local folder must."""
    index = _fetch(ref, listing, index_name)
    where = read_index(index)
    held = {name: _file_specs(ref, listing, name) for name in sorted(set(where.values()))}
    if faults := check_agreement(index, where, held):
        raise InputError(faults)
    return {tensor: spec for specs in held.values() for tensor, spec in specs.items()}


def _remote_tensors(ref: ModelRef, listing: Listing, name: str) -> tuple[Placed, ...]:
    """The checked header of a weight file on the hub, by one range request or two."""
    where = f"{ref}/{name}"
    start, size = _read_range(ref, listing, name, 0, FIRST_READ)
    end = LENGTH_BYTES + header_length(start, size, where)
    text = start if end <= len(start) else _read_range(ref, listing, name, 0, end)[0]
    return parse_header(text[LENGTH_BYTES:end], size, where).tensors


def _read_range(ref: ModelRef, listing: Listing, name: str, begin: int, end: int) -> tuple[bytes, int]:
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
    folder = _snapshot_folder(ref, None)
    if not folder.is_dir():
        raise InputError(fault)
    missing = missing_weights(folder)
    if missing:
        message = f"{ref}: the cache holds only a part of it (missing: {', '.join(missing[:5])}), and {fault.message}"
        raise InputError(Fault("offline", message, subject=str(ref), hint=fault.hint))
    return folder


def _snapshot_folder(ref: ModelRef, commit: str | None) -> Path:
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
