"""Members that are ONNX files, run by onnxruntime.

What an ONNX file says of its classes is little: skl2onnx writes none into the file's metadata. Cuvee writes them there
itself (`stamp`), as JSON under a key of its own, and reads them back; other files need `classes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.predict.costs import resident
from cuvee.predict.labels import Label, named, shown
from cuvee.predict.members.feeding import Slot, fed
from cuvee.predict.rows import Reads
from cuvee.predict.trained import Missing, Output, Trained

KEY: Final = "cuvee.member"
"""Key of what Cuvee writes into an ONNX file's metadata: JSON with `classes` and `output`."""

_PREFERRED: Final = ("probabilities", "output_probability", "probability", "logits", "scores", "variable")
"""Names that outputs have where there are several: those of skl2onnx, of exports of torch."""


_LOOKED_AT: Final = 64
"""Rows of each call in which the order of classes is looked at."""


@dataclass(frozen=True)
class Answer:
    """The output that a file answers by.

    Attributes:
        name: of the output.
        columns: its columns, where the file says.
        is_map: whether it is a list of mappings from label to number, as skl2onnx's ZipMap gives.
        is_text: whether it holds texts.
    """

    name: str
    columns: int | None
    is_map: bool
    is_text: bool


def trained_of(
    file: str | Path,
    *,
    name: str | None = None,
    classes: Sequence[Label] | None = None,
    output: Output | None = None,
    output_name: str | None = None,
    reads: Reads = None,
    label_map: Mapping[Label, Label] | None = None,
    missing: Missing = "error",
    inverse: Callable[[Any], Any] | None = None,
    threads: int | None = None,
) -> Trained:
    """An ONNX file as a member; see `Member.onnx`."""
    path, before = Path(file), resident()
    called = name or path.stem
    session = _session(path, called, threads)
    stamped = stamp_of(session)
    slots = tuple(Slot(one.name, one.type, tuple(one.shape)) for one in session.get_inputs())
    answer = _answer(session, output_name, called)
    given = stamped.get("classes") if classes is None else classes
    gives = output or stamped.get("output") or _usual(answer, given)
    labels = () if given is None or gives in ("values", "embeddings") else tuple(named(label) for label in given)
    _check_classes(called, gives, labels, answer)
    return Trained(
        name=called,
        kind="onnx",
        ask=partial(_asked, session, slots, answer, _label_output(session, answer, gives), labels, gives),
        output=gives,
        classes=labels,
        label_map=label_map or {},
        missing=missing,
        reads=reads,
        inverse=inverse,
        thing=path,
        settings={"output_name": answer.name, **({} if threads is None else {"threads": threads})},
        notes=tuple(_rounding(called, slots)),
        loaded=None if before is None else max(0, (resident() or 0) - before),
    )


def _session(path: Path, name: str, threads: int | None) -> Any:
    """The file, ready to be run.

    Raises:
        UsageError: onnxruntime is not installed.
        InputError: `model-missing`; `not-a-checkpoint`: onnxruntime cannot read it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        hint = 'pip install "cuvee[onnx]"'
        message = "onnxruntime is needed for members that are ONNX files, and is not installed"
        raise UsageError(Fault("missing-extra", message, subject="onnxruntime", hint=hint)) from error
    if not path.is_file():
        raise InputError(Fault("model-missing", f"there is no file {path}", subject=name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no class of their own
        message = f"{path} cannot be read as an ONNX file: {' '.join(str(error).split())[:300]}"
        raise InputError(Fault("not-a-checkpoint", message, subject=name)) from error


def _answer(session: Any, wanted: str | None, name: str) -> Answer:
    """The output that is asked for: the one named, the one that is known by its name, or the only one."""
    outputs = {one.name: one for one in session.get_outputs()}
    if wanted is not None and wanted not in outputs:
        message = f"the ONNX file of {name!r} has the outputs {', '.join(outputs)}; `output_name` is {wanted!r}"
        raise UsageError(Fault("bad-argument", message, subject="output_name"))
    known = [wanted] if wanted else [one for one in _PREFERRED if one in outputs] or list(outputs)
    if len(known) > 1 and not any(one in _PREFERRED for one in known):
        message = f"the ONNX file of {name!r} has several outputs: {', '.join(outputs)}"
        raise UsageError(Fault("bad-argument", message, None, name, "say which answers: give `output_name`"))
    chosen = outputs[known[0]]
    width = chosen.shape[1] if not chosen.type.startswith("seq") and len(chosen.shape) == 2 else None
    columns = width if isinstance(width, int) else None
    return Answer(chosen.name, columns, chosen.type.startswith("seq(map"), chosen.type == "tensor(string)")


def _usual(answer: Answer, classes: Sequence[Label] | None) -> Output:
    """What an output gives where nobody says."""
    if classes is None and not answer.is_map:
        return "labels" if answer.is_text else "values" if answer.columns in (None, 1) else "probabilities"
    if answer.is_text:
        return "labels"
    return "logits" if answer.name == "logits" else "scores" if answer.name == "scores" else "probabilities"


def _check_classes(name: str, gives: Output, classes: Sequence[Label], answer: Answer) -> None:
    if gives not in get_args(Output):
        message = f"`output` of {name!r} should be one of {', '.join(get_args(Output))}; found {gives!r}"
        raise UsageError(Fault("bad-argument", message, subject="output"))
    if gives in ("values", "embeddings"):
        return
    if not classes:
        message = f"the ONNX file of {name!r} does not say its classes"
        hint = "give `classes` in the order of its columns, or write them into the file with `stamp_onnx`"
        raise UsageError(Fault("bad-argument", message, subject="classes", hint=hint))
    if gives != "labels" and answer.columns not in (None, 1, len(classes)):
        message = f"the output {answer.name!r} of {name!r} has {answer.columns} columns; `classes` are {shown(classes)}"
        raise UsageError(Fault("bad-argument", message, subject="classes"))


def _rounding(name: str, slots: Sequence[Slot]) -> list[str]:
    """What to say of inputs that are narrower than the numbers that users have."""
    narrow = [slot for slot in slots if slot.type in ("tensor(float)", "tensor(float16)")]
    if not narrow:
        return []
    names = listed(dict.fromkeys(slot.type[len("tensor(") : -1] for slot in narrow))
    return [f"{name!r} reads {names} numbers: those of rows are rounded to it"]


def _label_output(session: Any, answer: Answer, gives: Output) -> str | None:
    """The output that names the class of each row, beside one of numbers for all classes, as skl2onnx has it."""
    names = [one.name for one in session.get_outputs() if one.name in ("label", "output_label")]
    return names[0] if names and gives != "labels" and not answer.is_map and answer.name not in names else None


def _asked(
    session: Any,
    slots: Sequence[Slot],
    answer: Answer,
    label_output: str | None,
    classes: Sequence[Label],
    gives: Output,
    X: Any,
) -> Any:
    """What the file says of rows."""
    found, *named_as = session.run([answer.name, *([label_output] if label_output else [])], fed(slots, X))
    if named_as:
        _check_order(found[:_LOOKED_AT], named_as[0][:_LOOKED_AT], classes)
    if answer.is_map:
        return _from_maps(found, classes)
    if gives == "labels" and not answer.is_text and list(classes) != list(range(len(classes))):
        return _named(np.asarray(found), classes)
    return found


def _check_order(found: Any, labels: Any, classes: Sequence[Label]) -> None:
    """Refuse classes that are not in the order of the columns, which the labels that the file gives besides show.

    Raises:
        InputError: `class-mismatch`.
    """
    table = np.asarray(found)
    said = np.asarray(labels).ravel().tolist()
    if table.ndim != 2 or table.shape[1] != len(classes) or not set(said) <= set(classes):
        return  # a single column, or a file that only numbers its classes
    top = np.partition(table, -2, axis=1)[:, -2:] if table.shape[1] > 1 else table
    for row in np.flatnonzero(top[:, -1] > top[:, 0]):
        column = int(table[row].argmax())
        if classes[column] != said[row]:
            message = f"`classes` should be in the order of the columns: column {column} is {said[row]!r} by the file's"
            message += f" own labels, and {classes[column]!r} by `classes`"
            raise InputError(Fault("class-mismatch", message, subject="classes"))


def _from_maps(maps: Sequence[Mapping[Any, float]], classes: Sequence[Label]) -> Any:
    """Mappings from label to number as a table; labels by name, or by number where the file only numbers them.

    Raises:
        InputError: `class-mismatch`: the file has other labels than were given.
    """
    own = sorted(maps[0]) if maps else []
    keys: Sequence[Any] = classes
    if set(own) != set(classes):
        if own != list(range(len(classes))):
            message = f"the ONNX file has the classes {shown(own)}; `classes` are {shown(classes)}"
            raise InputError(Fault("class-mismatch", message, subject="classes"))
        keys = own
    return np.array([[one[key] for key in keys] for one in maps], dtype=np.float64)


def _named(found: Any, classes: Sequence[Label]) -> Any:
    """Labels of a file that numbers its classes, by name; numbers that are labels themselves stay."""
    if set(found.ravel().tolist()) <= set(classes):
        return found
    names = dict(enumerate(classes))
    return np.array([names.get(label, label) for label in found.ravel().tolist()], dtype=object)


def stamp_of(session: Any) -> dict[str, Any]:
    """What Cuvee wrote into a file's metadata; nothing of a file without, or with what it would not write."""
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def stamp(file: str | Path, classes: Sequence[Label], *, output: Output | None = None) -> None:
    """Write the classes of an ONNX file into its metadata, where `Member.onnx` finds them.

    The metadata are added behind the file's other bytes, which stay as they are: a list in ONNX's encoding goes on
    wherever its key stands again.

    Args:
        file: the file; replaced at once by one with the classes.
        classes: labels in the order of its columns.
        output: what its answers mean.

    Raises:
        InputError: it is no ONNX file; `bad-argument`: it says its classes already.
    """
    path = Path(file)
    if stamp_of(_session(path, path.stem, None)):
        message = f"{path} says its classes already"
        raise UsageError(Fault("bad-argument", message, subject="file", hint="stamp the file as it was exported"))
    told = {"classes": [named(label) for label in classes], **({} if output is None else {"output": output})}
    entry = _field(1, KEY.encode()) + _field(2, json.dumps(told, ensure_ascii=False).encode())
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(path.read_bytes() + _field(14, entry))  # 14: `metadata_props` of a model
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes in Protocol Buffers' encoding: its key, its length, itself."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
