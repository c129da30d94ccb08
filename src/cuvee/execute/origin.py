"""Where a model comes from that is written anew: its folder's record, or one that says that it was taken as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cuvee import methods
from cuvee.checkpoint import content_hash
from cuvee.checkpoint.contents import RECORD_NAME
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError
from cuvee.execute.ledger import Digests
from cuvee.execute.publish import RECIPE_NAME, texts_of
from cuvee.execute.record import record_of
from cuvee.execute.record_form import read_record
from cuvee.planning import bind
from cuvee.planning.model import Piece
from cuvee.recipe import from_data
from cuvee.types import ModelRef, TensorSpec


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a model, and of what is written of it.

    Attributes:
        record: how it was made.
        recipe_text: the recipe's file that the record speaks of.
        specs: the tensors of the output, by name.
        content: fingerprint of all tensors.
        notes: why a record that is there is not carried along.
    """

    record: Mapping[str, Any]
    recipe_text: str
    specs: Mapping[str, TensorSpec]
    content: str
    notes: tuple[str, ...] = ()


def origin_of(reader: Reader, ref: ModelRef) -> Origin:
    """Look at a model's record; its tensors are read, to see whether the record is of them.

    A model without a record, or with one of other weights, is told of as an input that was passed through. Of two
    names of one tensor that pickles hold, the first is written then, as by a merge.

    Raises:
        InputError: `bad-config`: a record that cannot be read.
    """
    digests = {name: reader.digest(name) for name in reader.specs}
    content = content_hash({name: (spec, digests[name]) for name, spec in reader.specs.items()})
    record, recipe = _own(reader)
    if record is not None and recipe is not None and record["output"]["content"] == content:
        return Origin(record, recipe, reader.specs, content)
    notes = () if record is None else (f"{RECORD_NAME} of {reader.label} is of other weights; it is left behind",)
    return _passed_through(reader, ref, digests, content, notes)


def _own(reader: Reader) -> tuple[Mapping[str, Any] | None, str | None]:
    """The record of a folder, and the text of its recipe where that is as recorded."""
    assert reader.folder is not None
    try:
        record = read_record(reader.folder)
        file = reader.folder / RECIPE_NAME
        if record is None or not file.is_file() or digest_file(file) != record["output"]["files"].get(RECIPE_NAME):
            return record, None
        return record, file.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        message = f"{reader.folder / RECORD_NAME} cannot be read: {error}"
        raise InputError(
            Fault("no-record", message, subject=reader.label, hint="remove it, or make it anew")
        ) from error


def _passed_through(
    reader: Reader, ref: ModelRef, digests: Mapping[str, str], content: str, notes: tuple[str, ...]
) -> Origin:
    spec = methods.get("passthrough").spec
    recipe = from_data({"merge_method": "passthrough", "models": [{"model": str(ref)}]}, methods.specs())
    plan = bind(recipe, [reader], spec)
    specs = {step.out.name: step.out for step in plan.steps}
    read = Digests({Piece(0, name): digests[name] for name in specs}, {name: digests[name] for name in specs})
    record = record_of(plan, [reader], read, spec, seed=0, files={})
    return Origin(record, texts_of(plan)[RECIPE_NAME], specs, content, notes)
