"""The tuned model as an ordinary folder: tensors that changed, everything else byte for byte, and the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint import FolderWriter, content_hash, plan_layout
from cuvee.checkpoint.contents import RECORD_NAME
from cuvee.checkpoint.fingerprint import digest_bytes, sha256_file
from cuvee.checkpoint.protocol import Layout, Reader
from cuvee.execute.origin import Origin
from cuvee.execute.publish import RECIPE_NAME
from cuvee.execute.record import as_text

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.families.running import Home

SHARD: Final = 5_000_000_000
"""Bytes of tensors in a weight file, as a merge has them unless told otherwise."""
_PIECE: Final = 1 << 22


def on_disk(values: Mapping[str, Tensor], homes: Mapping[str, Home], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Weights by their names on disk, flat.

    Args:
        values: by first name in memory.
        homes: what each tensor on disk has become.
        names: every name in memory → its first one.
    """
    import torch

    found: dict[str, Tensor] = {}
    for name, home in homes.items():
        parts = [names[part] for part in home.memory]
        if not all(part in values for part in parts):
            continue
        flat = torch.cat([values[part].reshape(-1) for part in parts]) if len(parts) > 1 else values[parts[0]].flatten()
        if isinstance(home.order, range):
            flat = flat[home.order.start : home.order.stop]
        elif home.order is not None:
            flat = flat[home.order]
        found[name] = flat.contiguous()
    return found


def check_writable(origin: Origin, out: Path, *, overwrite: bool, protected: Sequence[Path]) -> None:
    """Refuse an output that cannot be written, before any work: its place is taken once, in full size, and left.

    Raises:
        OutputExists, ResourceError: as `FolderWriter`.
    """
    with FolderWriter(_layout(origin), out, overwrite=overwrite, protected=protected):
        pass


def _layout(origin: Origin) -> Layout:
    return plan_layout(list(origin.specs.values()), SHARD)


def write(
    reader: Reader,
    changed: Mapping[str, Tensor],
    origin: Origin,
    entry: Mapping[str, Any],
    out: Path,
    *,
    overwrite: bool,
    protected: Sequence[Path],
) -> Mapping[str, Any]:
    """Write the model, and give its record.

    Args:
        reader: the model as it was.
        changed: tensors that are new, by name on disk, flat and in their dtypes there.
        origin: how the model was made, and which of its tensors are written.
        entry: what the record says of the tuning.
        out: the folder to make.
        overwrite: replace a model folder that is there.
        protected: what is read, and must not be replaced.

    Raises:
        OutputExists, ResourceError: as `FolderWriter`.
        InputError: a file of the model changed meanwhile.
    """
    layout = _layout(origin)
    with FolderWriter(layout, out, overwrite=overwrite, protected=protected) as writer:
        for name, spec in origin.specs.items():
            for start in range(0, spec.numel, _PIECE):
                stop = min(start + _PIECE, spec.numel)
                flat = changed[name][start:stop] if name in changed else reader.read(name, start, stop)
                writer.write(name, start, flat)
        texts = {
            RECIPE_NAME: origin.recipe_text,
            **({} if reader.config_text is None else {"config.json": reader.config_text}),
        }
        for name, text in texts.items():
            writer.add_text(name, text)
        files = {name: digest_bytes(text.encode("utf-8")) for name, text in texts.items()}
        files |= {file.name: writer.add_file(file) for file in reader.side_files}
        reader.check_unchanged()
        made = _record(origin, entry, writer, layout, files)
        writer.add_text(RECORD_NAME, as_text(made))
        writer.publish()
    return made


def _record(
    origin: Origin,
    entry: Mapping[str, Any],
    writer: FolderWriter,
    layout: Layout,
    files: Mapping[str, str],
) -> dict[str, Any]:
    """The model's record with what it is now, and one more entry under `tuned`."""
    outputs = {name: (spec, writer.digest(name)) for name, spec in origin.specs.items()}
    output: dict[str, Any] = {
        "content": content_hash(outputs),
        "tensors": {
            name: {"dtype": spec.dtype, "shape": list(spec.shape), "xxh3_128": digest}
            for name, (spec, digest) in outputs.items()
        },
        "files": dict(sorted(files.items())),
    }
    record = origin.record
    if "sha256" in record["output"]:
        output["sha256"] = {shard.name: sha256_file(writer.staging / shard.name) for shard in layout.shards}
    return {**record, "output": output, "tuned": [*record.get("tuned", ()), dict(entry)]}
