"""What is fuzzed: parsers of what strangers wrote, each with what must hold of an input that it accepts."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import safetensors
from safetensors import SafetensorError

from cuvee.checkpoint import open_checkpoint
from cuvee.checkpoint.config import read_config
from cuvee.checkpoint.format import LENGTH_BYTES, header_length, parse_header
from cuvee.checkpoint.layout import format_size, parse_size
from cuvee.checkpoint.opcodes import Unsafe, check_pickle
from cuvee.checkpoint.sharded import read_index
from cuvee.errors import CuveeError
from cuvee.execute.record_form import read_record
from cuvee.execute.recorded import recorded
from cuvee.methods import specs
from cuvee.recipe import (
    Recipe,
    from_data,
    parse_file,
    parse_text,
    read_reference,
    recipe_hash,
    to_data,
    to_yaml,
    written_reference,
)
from cuvee.types import ModelRef
from tests.fuzz.seeds import RECORD, seed_model

Target = Callable[[bytes], bool]
"""Takes an input; whether it was accepted. Raises anything for a bug, refusals of our own being no bugs."""

LIBRARY_LIMIT: Final = 1 << 16
"""Bytes of a file up to which the safetensors library is asked too."""


def header(raw: bytes) -> bool:
    """A whole safetensors file."""
    length = header_length(raw[:64], len(raw), "x")
    parsed = parse_header(raw[LENGTH_BYTES : LENGTH_BYTES + length], len(raw), "x")
    at = LENGTH_BYTES + length
    for placed in parsed.tensors:
        assert placed.begin == at, "a hole or an overlap"
        assert placed.end - placed.begin == placed.spec.nbytes, "another size than shape and dtype say"
        at = placed.end
    assert at == len(raw), "the data is not covered"
    assert len({placed.spec.name for placed in parsed.tensors}) == len(parsed.tensors), "a name twice"
    if len(raw) < LIBRARY_LIMIT:
        assert_library_agrees(raw, {placed.spec.name for placed in parsed.tensors})
    return True


def assert_library_agrees(raw: bytes, names: set[str]) -> None:
    """What we accept is accepted by the library, which no stricter reader stands behind."""
    try:
        found = safetensors.deserialize(raw)
    except SafetensorError as error:
        raise AssertionError(f"the safetensors library refuses it: {error}") from None
    assert {name for name, _ in found} == names


@functools.cache
def scratch() -> Path:
    """A folder for inputs that are read from files."""
    return Path(tempfile.mkdtemp(prefix="cuvee-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def index(raw: bytes) -> bool:
    """A shard index."""
    path = scratch() / "model.safetensors.index.json"
    path.write_bytes(raw)
    where = read_index(path)
    for name, file in where.items():
        assert isinstance(name, str)
        assert (path.parent / file).parent == path.parent, "leads out of the folder"
        assert Path(file).name == file
        assert file.lower().endswith(".safetensors")
    assert json.loads(raw)["weight_map"] == where
    return True


def config(raw: bytes) -> bool:
    """A `config.json`."""
    path = scratch() / "config.json"
    path.write_bytes(raw)
    found = read_config(path)
    assert found.text.encode("utf-8") == raw
    assert json.dumps(json.loads(raw)) == json.dumps(found.value)  # as text, because NaN differs from itself
    return True


def recipe_text(raw: bytes) -> bool:
    """A recipe as YAML."""
    path = scratch() / "recipe.yml"
    path.write_bytes(raw)
    return stays_itself(parse_file(path, specs()))


def recipe_data(raw: bytes) -> bool:
    """A recipe as Python data; the input is JSON only so that it can be kept."""
    return stays_itself(from_data(json.loads(raw), specs()))


def stays_itself(recipe: Recipe) -> bool:
    assert from_data(to_data(recipe), specs(), recipe.root) == recipe
    assert recipe_hash(parse_text(to_yaml(recipe), specs(), root=recipe.root)) == recipe_hash(recipe)
    return True


def size(raw: bytes) -> bool:
    """A size as text."""
    found = parse_size(raw.decode("utf-8", "replace"))
    assert type(found) is int
    assert found > 0
    assert parse_size(found) == parse_size(str(found)) == found or found >= 10**18
    assert math.isclose(parse_size(format_size(found)), found, rel_tol=0.06) or found < 1000 or found > 10**29
    return True


def reference(raw: bytes) -> bool:
    """A model reference."""
    try:
        found = read_reference(raw.decode("utf-8", "replace"))
    except ValueError:  # its message completes a sentence about what it should be
        return False
    assert read_reference(written_reference(found)) == found
    return True


def record(raw: bytes) -> bool:
    """A `cuvee.json` beside the model that it is of."""
    folder = seed_model(scratch() / "model")
    (folder / RECORD).write_bytes(raw)
    try:
        if read_record(folder) is None:
            return False
    except ValueError:
        return False
    reader = open_checkpoint(ModelRef(str(folder)))
    try:
        checks = list(recorded(folder, reader))
    finally:
        reader.close()
    assert all(len(check.found) < 5000 for check in checks)
    return all(check.outcome == "ok" for check in checks)


def instructions(raw: bytes) -> bool:
    """A pickle, followed."""
    import io

    try:
        check_pickle(io.BytesIO(raw))
    except (ValueError, Unsafe):
        return False
    return True


TARGETS: Final[Mapping[str, Target]] = {
    target.__name__: target
    for target in (header, index, config, recipe_text, recipe_data, size, reference, record, instructions)
}


def outcome(name: str, raw: bytes) -> str:
    """`accepted` or `refused`; anything else that happens is raised."""
    try:
        return "accepted" if TARGETS[name](raw) else "refused"
    except CuveeError as error:
        said = error
    if not said.faults or len(str(said)) > 50_000:
        raise AssertionError("an error that says nothing, or says it without end")
    return "refused"
