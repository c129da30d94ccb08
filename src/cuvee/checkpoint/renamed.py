"""A model that stands for a part of another one, or a part of a model as a model of its own.

reading `new name` = reading the old name      nothing is computed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.view import View
from cuvee.errors import Fault, InputError, Place, nearest
from cuvee.families.misfit import misfit
from cuvee.families.names import is_vocabulary
from cuvee.families.towers import (
    TEXT,
    Fit,
    fit_by_name,
    fit_by_prefix,
    parts_in,
    tensors_of_part,
    uncovered,
    words_for,
)
from cuvee.types import ModelRef, Placing, TensorSpec
from cuvee.types.words import counted

if TYPE_CHECKING:
    from torch import Tensor

Where = Callable[[ModelRef, str], Place | None]
_MOST: Final = 12
_PREPROCESSING: Final = (
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "chat_template.jinja",
    "chat_template.json",
)  # fmt: skip
_OF_TEXT: Final = ("generation_config.json",)
_AS_A_MODEL: Final = {
    "clip_text_model": ("clip_text_model", "CLIPTextModel"),
    "clip_vision_model": ("clip_vision_model", "CLIPVisionModel"),
    "gemma": ("gemma", "GemmaForCausalLM"),
    "gemma2": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3_text": ("gemma3_text", "Gemma3ForCausalLM"),
    "llama": ("llama", "LlamaForCausalLM"),
    "mistral": ("mistral", "MistralForCausalLM"),
    "phi3": ("phi3", "Phi3ForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen2_5_vl_text": ("qwen2", "Qwen2ForCausalLM"),
    "qwen2_vl_text": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "siglip_vision_model": ("siglip_vision_model", "SiglipVisionModel"),
}
"""`model_type` of a nested configuration → that of the model alone, and its class."""


class Renamed(View):
    """A `Reader` that shows some tensors of another one under other names.

    Args:
        reader: the model.
        names: names of the model → names shown; what is not among them is not shown.
        config: the configuration shown; `None` for none.
        side_files: the files shown.
        notes: what there is to know.
    """

    def __init__(
        self,
        reader: Reader,
        names: Mapping[str, str],
        config: Mapping[str, Any] | None,
        side_files: Sequence[SideFile],
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(reader)
        self._old = {new: old for old, new in names.items()}
        self._specs = {names[o]: replace(s, name=names[o]) for o, s in reader.specs.items() if o in names}
        self._names, self._shown, self._files = names, config, tuple(side_files)
        self._told = (*reader.notes, *notes)

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The tensors under their new names."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """Tensors that are another one, both under their new names."""
        known = self._names
        return {known[name]: known[first] for name, first in self._reader.shared.items() if {name, first} <= {*known}}

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The configuration shown."""
        return self._shown

    @property
    def config_text(self) -> str | None:
        """Its text; that of the file where nothing is changed."""
        if self._shown is self._reader.config:
            return self._reader.config_text
        return json.dumps(self._shown, indent=2, ensure_ascii=False) + "\n"

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The files to carry over."""
        return self._files

    @property
    def notes(self) -> tuple[str, ...]:
        """How the checkpoint was read."""
        return self._told

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files, with the tensors that are shown of each."""
        names = self._names
        shown = [(file, frozenset(names[t] for t in file.tensors if t in names)) for file in self._reader.input_files]
        return tuple(replace(file, tensors=tensors) for file, tensors in shown)

    def original(self, name: str) -> str:
        """The name of a tensor in the model below."""
        return self._old[name]

    def computes(self, name: str) -> bool:  # noqa: ARG002 - of no tensor
        """Nothing is computed."""
        return False

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor."""
        return self._reader.read(self._old[name], start, stop)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        self._reader.read_into(self._old[name], start, stop, into)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor under its old name."""
        return self._reader.digest(self._old[name])


class RenamedResult(Renamed):
    """The same for the result of a recipe, which is evaluated while it is read."""

    @property
    def plan(self) -> Any:
        """What is evaluated."""
        return getattr(self._reader, "plan")  # noqa: B009 - no reader promises one


def _renamed(reader: Reader, *told: Any) -> Renamed:
    return (RenamedResult if hasattr(reader, "plan") else Renamed)(reader, *told)


def placed(refs: Sequence[ModelRef], readers: Sequence[Reader], where: Where = lambda _ref, _key: None) -> list[Reader]:
    """Models as their references ask for them: parts taken out, and partial models laid over the first whole one.

    Args:
        refs: the references, whole models before partial ones.
        readers: each reference's model, as it lies on the disk.
        where: from a reference and a key of it to the place in the recipe, for messages.

    Raises:
        InputError: `part-mismatch`, for every model that has no such part or no such place.
    """
    shown: list[Reader] = []
    faults: list[Fault] = []
    target: Reader | None = None
    for ref, reader in zip(refs, readers, strict=True):
        try:
            shown.append(reader if ref.placing is None else _placed(ref, ref.placing, reader, target, where))
        except InputError as error:
            faults += error.faults
            shown.append(reader)
        if target is None and not ref.is_partial:
            target = shown[-1]
    if faults:
        raise InputError(faults)
    return shown


def _placed(ref: ModelRef, placing: Placing, reader: Reader, target: Reader | None, where: Where) -> Reader:
    shown = reader if placing.part is None else part_of(ref, placing.part, reader, where)
    if placing.without == "vocabulary":
        words = [name for name in shown.specs if is_vocabulary(name)]
        names = {name: name for name in shown.specs if name not in words}
        note = f"{', '.join(words) or 'nothing'} left out, as the recipe says"
        shown = _renamed(shown, names, shown.config, shown.side_files, [note])
    return laid_over(ref, placing, shown, target, where) if placing.is_partial else shown


def part_of(ref: ModelRef, part: str, reader: Reader, where: Where) -> Reader:
    """A part of a model as a model of its own: its tensors without their prefix, its section of the configuration.

    Raises:
        InputError: `part-mismatch`: there is no such part.
    """
    names = tensors_of_part(part, reader.specs)
    if not names:
        tops = parts_in(reader.specs)
        message = f"{ref}: there is no part called `{part}`; there are {', '.join(tops) or 'none'}"
        raise InputError(
            Fault("part-mismatch", message, where(ref, "part"), str(ref), nearest(part, tops) if tops else None)
        )
    config, notes = _config_of(part, reader.config)
    others = _PREPROCESSING if part in words_for(TEXT[0]) else (*_PREPROCESSING, *_OF_TEXT)
    files = [file for file in reader.side_files if file.name not in others]
    dropped = [file.name for file in reader.side_files if file.name in others]
    notes += [f"{', '.join(dropped)} not carried over: of the whole model"] if dropped else []
    notes.append(f"{len(names)} of {len(reader.specs)} tensors are of `{part}`")
    return _renamed(reader, names, config, files, notes)


def _config_of(part: str, config: Mapping[str, Any] | None) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The nested configuration of a part, completed by what the whole one says for it."""
    side = "text_config" if part in TEXT else "vision_config" if part in words_for("vision_tower") else f"{part}_config"
    section = (config or {}).get(side)
    if config is None or not isinstance(section, Mapping):
        return None, [f"the configuration has no `{side}`, so the part has none"]
    found = dict(section.items())
    for key in ("dtype", "torch_dtype", *(["tie_word_embeddings"] if part in TEXT else [])):
        if key in config:
            found[key] = config[key]
    kind = _AS_A_MODEL.get(str(section.get("model_type")))
    if kind is None:
        return found, [f"config: the class of a `{section.get('model_type')}` alone is not known; load it by its class"]
    return {**found, "model_type": kind[0], "architectures": [kind[1]]}, []


def laid_over(ref: ModelRef, placing: Placing, reader: Reader, target: Reader | None, where: Where) -> Reader:
    """A model under the names that its tensors have in another one.

    Raises:
        InputError: `part-mismatch`: it fits nowhere, in several places, or not wholly.
    """
    place = where(ref, "rename" if placing.rename else "as")
    if target is None:
        _refuse(ref, place, "there is no whole model whose part it could stand for", [], "name a whole model as well")
    if placing.rename:
        fit = fit_by_prefix(reader.specs, target.specs, placing.rename)
    else:
        fit = _found(ref, placing.stands_for or "", reader, target, place)
    if fit.wrong:
        hint = "`without: vocabulary` leaves out word embeddings and head; `part` takes a part of this model only"
        have = "has" if len(fit.wrong) == 1 else "have"
        what = f"{counted(len(fit.wrong), 'tensor')} {have} no place in {target.label}"
        _refuse(ref, place, what, fit.wrong, hint)
    if missing := uncovered(fit, target.specs):
        are = "is" if len(missing) == 1 else "are"
        what = f"{counted(len(missing), 'tensor')} of the same layers of {target.label} {are} not in it"
        _refuse(ref, place, what, missing, None)
    return _renamed(reader, fit.names, reader.config, reader.side_files, fit.notes)


def _found(ref: ModelRef, part: str, reader: Reader, target: Reader, place: Place | None) -> Fit:
    """The one mapping under which a model stands for a part."""
    fits = fit_by_name(reader.specs, target.specs, part)
    if len(fits) > 1:
        places = [min(one.names.values()) for one in fits]
        _refuse(ref, place, f"it fits {len(fits)} parts of {target.label}", places, "say which with `rename`")
    if not fits:
        why, hint = misfit(reader.specs, target.specs, part)
        _refuse(ref, place, f"it fits no part `{part}` of {target.label}", [why], hint)
    return fits[0]


def _refuse(ref: ModelRef, place: Place | None, what: str, some: Sequence[str], hint: str | None) -> NoReturn:
    more = f" … and {len(some) - _MOST} more" if len(some) > _MOST else ""
    told = f": {'; '.join(some[:_MOST])}{more}" if some else ""
    raise InputError(Fault("part-mismatch", f"{ref}: {what}{told}", place, str(ref), hint))
