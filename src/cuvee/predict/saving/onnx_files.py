"""Members that are ONNX files, kept as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cuvee.checkpoint.copying import copy_hashed
from cuvee.predict.member import Member
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, no_faults

_FILE: Final = "model.onnx"
_BESIDE: Final = ("{0}_data", "{0}.data")
"""What files are called that hold the weights apart; the ONNX file names them, so they keep their names."""


def save(member: Member, folder: Path, _: bool) -> Kept:
    """Copy the file, and that of its weights where it has one."""
    source = Path(member.thing)
    copy_hashed(source, folder / _FILE, folder / _FILE)
    for name in (form.format(source.name) for form in _BESIDE):
        if (source.parent / name).is_file():
            copy_hashed(source.parent / name, folder / name, folder / name)
    return Kept({}, ("onnxruntime",))


def load(stored: Stored) -> Member:
    """Open the file."""
    facts = stored.facts
    return Member.onnx(
        stored.folder / _FILE,
        classes=facts.classes or None,
        output=facts.output,
        output_name=stored.settings.get("output_name"),
        threads=stored.settings.get("threads"),
        **facts.common,
    )


KEEPERS.register("onnx", Keeper(save, no_faults, load))
