"""What was made once is kept on disk under a hash of the settings that it was made with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SETTINGS = "settings.json"


def cache_folder() -> Path:
    """Where everything made is kept: `CUVEE_CLAIMS_CACHE`, or a folder here that git ignores."""
    given = os.environ.get("CUVEE_CLAIMS_CACHE")
    return Path(given) if given else Path(__file__).parents[1] / "cache" / "claims"


def key_of(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits for settings; the order of their names does not count."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def cached(kind: str, settings: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills for these settings; made now if it is not there.

    It is filled under another name and renamed when it is whole, so that a run that dies leaves nothing half-made, and
    two that make the same at once do no harm: the second one's is thrown away.

    Args:
        kind: first part of the folder's name.
        settings: everything that decides what is made, the names of folders that it is made from included.
        make: fills the empty folder that it is given.
    """
    target = cache_folder() / f"{kind}-{key_of({'kind': kind, **settings})}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        make(staged)
        (staged / SETTINGS).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
        staged.chmod(0o755)
        _publish(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return target


def _publish(staged: Path, target: Path) -> None:
    try:
        staged.rename(target)
    except OSError:
        if not target.is_dir():
            raise
