"""The one place that speaks to transformers: build, load and save models, and ask what it would make of a checkpoint.

transformers is optional, slow to import and talkative; every import stands inside a function, and nothing here lets it
draw bars or print advice. Remote code is never run and nothing is fetched from a hub.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.families.anatomy import sections
from cuvee.families.report import LoadReport, Mismatch


class CannotJudge(InputError):
    """Whether a checkpoint loads cannot be told here, which says nothing against it."""


_LOADING_AS_KNOWN: Final = (5, 16)
"""The first version whose loading code takes the arguments that `_load_on_meta` gives."""


def build_causal_lm(config: Mapping[str, Any]) -> Any:
    """A freshly initialised causal language model; the weights come from torch's global generator.

    Args:
        config: the contents of a `config.json`, `model_type` included.
    """
    transformers = library()
    settings = dict(config)
    with quiet(transformers):
        made = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        return transformers.AutoModelForCausalLM.from_config(made)


def load_causal_lm(folder: Path) -> Any:
    """The causal language model of a checkpoint folder, in float32 and evaluation mode."""
    transformers = library()
    with quiet(transformers):
        return transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype="float32", local_files_only=True)


def check_known(folder: Path) -> None:
    """Refuse a folder whose configuration names no class of transformers.

    Raises:
        UsageError: transformers is not installed.
        InputError: it does not know the class, or the configuration is not one that it can use.
    """
    transformers = library()
    with quiet(transformers):
        class_of(transformers, config_of(transformers, folder), folder)


def load_whole(folder: Path) -> Any:
    """The model of the class that a checkpoint folder's configuration names, in float32 and evaluation mode.

    Raises:
        InputError: as for `check_known`; or the folder lacks tensors, which would be made up at random.
    """
    transformers = library()
    with quiet(transformers):
        config = config_of(transformers, folder)
        cls = class_of(transformers, config, folder)
        given = {"dtype": "float32", "local_files_only": True, "output_loading_info": True}
        model, info = cls.from_pretrained(str(folder), config=config, **given)
    if missing := sorted(info["missing_keys"]):
        message = f"{folder}: {cls.__name__} has tensors that the checkpoint lacks: {listed(missing)}"
        raise InputError(Fault("missing-tensor", message, subject=str(folder)))
    return model


def save(model: Any, folder: Path) -> None:
    """Write a model as an ordinary checkpoint folder, in the dtype it has."""
    with quiet(library()):
        model.save_pretrained(str(folder))


def load_report(folder: Path) -> LoadReport:
    """What transformers would make of a checkpoint, found out from shapes alone: no weight is read.

    The architecture class is built on torch's meta device and fed tensors that have shapes and no data, through
    transformers' own loading, so that its renamed prefixes, fused experts and tied weights are taken into account.

    Args:
        folder: a checkpoint folder with a `config.json` that names a class of transformers.

    Raises:
        UsageError: transformers 5.16 or newer is not installed.
        CannotJudge: transformers does not know the model type or the class, the class needs a library that is not
            installed, or the weights are quantised.
        InputError: there are no weights, or the configuration is not one that transformers can build.
    """
    transformers = library(_LOADING_AS_KNOWN)
    with quiet(transformers):
        config = config_of(transformers, folder)
        cls = class_of(transformers, config, folder)
        tensors = _shapes(folder)
        try:
            return _report(cls.__name__, _load_on_meta(cls, config, tensors))
        except ImportError as error:
            message = f"{folder}: {cls.__name__} needs a library that is not installed: {error}"
            raise CannotJudge(Fault("missing-extra", message, subject=str(folder))) from error


def fit_report(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> LoadReport | None:
    """What transformers would make of tensors of these names and shapes under this configuration; nothing is read.

    Returns:
        `None` where transformers does not know the architecture; where the class refuses the configuration, why.

    Raises:
        UsageError: transformers 5.16 or newer is not installed.
    """
    import torch

    transformers = library(_LOADING_AS_KNOWN)
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    try:
        cls, kind = getattr(transformers, config["architectures"][0]), known[config["model_type"]]
    except (AttributeError, LookupError, TypeError):
        return None
    try:
        with quiet(transformers):
            tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
            return _report(cls.__name__, _load_on_meta(cls, kind.from_dict(dict(config)), tensors))
    except Exception as error:  # whatever a class makes of settings it was not written for
        said = _last_line(str(error)) if str(error).strip() else "no reason given"
        return LoadReport(cls.__name__, failed=(f"{type(error).__name__}: {' '.join(said.split())}",))


def implied_lists(config: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, list[Any]]:
    """Lists with one entry per layer that transformers works out for itself where a configuration does not give them.

    Args:
        config: the contents of a `config.json`, `model_type` included.
        path: keys that lead to the part of it that describes the layers, e.g. `("text_config",)`.

    Returns:
        Only lists that are not in `config`; none for a model type that transformers does not know.

    Raises:
        UsageError: transformers is not installed.
    """
    transformers = library()
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in known:
        return {}
    section: Any = config
    try:
        with quiet(transformers):
            made: Any = known[kind].from_dict(dict(config))
        for key in path:
            made, section = getattr(made, key), section[key]
        worked_out = made.to_dict()
    except Exception:  # whatever a configuration class makes of odd values, it has worked nothing out
        return {}
    return {k: v for k, v in worked_out.items() if isinstance(v, list) and k not in section}


def _load_on_meta(cls: Any, config: Any, tensors: Mapping[str, Any]) -> Any:
    """Transformers' loading information for tensors without data."""
    import torch
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import convert_and_load_state_dict_in_model
    from transformers.modeling_utils import ContextManagers, LoadStateDictConfig

    with ContextManagers(cls.get_init_context(torch.float32, False, False, None)):
        model = cls(config)
    settings = LoadStateDictConfig(
        ignore_mismatched_sizes=True,
        device_map={"": torch.device("meta")},
        dtype=torch.float32,
        weight_mapping=get_model_conversion_mapping(model, None, None),
    )
    info, _ = convert_and_load_state_dict_in_model(model=model, state_dict=dict(tensors), load_config=settings)
    model.tie_weights(missing_keys=info.missing_keys, recompute_mapping=False)
    model._adjust_missing_and_unexpected_keys(info)
    return info


def _report(architecture: str, info: Any) -> LoadReport:
    """Transformers' loading information as frozen data, in the order of names."""
    wrong = (Mismatch(name, tuple(found), tuple(expected)) for name, found, expected in info.mismatched_keys)
    return LoadReport(
        architecture=architecture,
        missing=tuple(sorted(info.missing_keys)),
        unexpected=tuple(sorted(info.unexpected_keys)),
        mismatched=tuple(sorted(wrong, key=lambda m: m.name)),
        failed=tuple(f"{name}: {_last_line(why)}" for name, why in sorted(info.conversion_errors.items())),
    )


def _last_line(text: str) -> str:
    """What a traceback comes to."""
    return text.strip().splitlines()[-1].removeprefix("Error: ")


def _shapes(folder: Path) -> dict[str, Any]:
    """Every tensor of the folder's weight files on the meta device, read by transformers from the headers."""
    from transformers.modeling_utils import load_state_dict

    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        files = [name] if (folder / name).is_file() else _shards(index) if index.is_file() else []
        if files:
            found = (load_state_dict(folder / file, map_location="meta", weights_only=True) for file in files)
            return {tensor: value for part in found for tensor, value in part.items()}
    message = f"{folder} should hold model.safetensors or pytorch_model.bin, whole or in shards; none was found"
    raise InputError(Fault("not-a-checkpoint", message, subject=str(folder)))


def _shards(index: Path) -> list[str]:
    """Names of the shards an index lists, all of them plain names beside it."""
    names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        message = f"an index should name files beside it; {index} names {outside[0]}"
        raise InputError(Fault("bad-index", message, subject=str(index)))
    return names


def config_of(transformers: Any, folder: Path) -> Any:
    """The folder's configuration as transformers reads it."""
    try:
        refuse_unknown(transformers, json.loads((folder / "config.json").read_text(encoding="utf-8")), folder)
        return transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"transformers {transformers.__version__} cannot use {folder / 'config.json'}: {error}"
        raise InputError(Fault("bad-config", message, subject=str(folder))) from error


def refuse_unknown(transformers: Any, settings: Mapping[str, Any], folder: Path) -> None:
    """Refuse what transformers does not know, and weights whose shapes say nothing of what they stand for."""
    if any(section.get("quantization_config") for _, section in sections(settings)):
        message = f"{folder} holds quantised weights; whether they load cannot be told from their shapes"
        raise CannotJudge(Fault("not-yet", message, subject=str(folder)))
    kind = settings.get("model_type")
    if kind not in list(transformers.models.auto.configuration_auto.CONFIG_MAPPING.keys()):
        raise CannotJudge(_unknown(transformers, folder, f"the model type `{kind}`" if kind else "no `model_type`"))


def class_of(transformers: Any, config: Any, folder: Path) -> Any:
    """The model class that `config.json` names first, or the plain one of its model type."""
    named = (config.architectures or [None])[0]
    if named is None:
        return transformers.models.auto.modeling_auto.MODEL_MAPPING[type(config)]
    cls = getattr(transformers, named, None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        raise CannotJudge(_unknown(transformers, folder, f"`{named}`"))
    return cls


def _unknown(transformers: Any, folder: Path, named: str) -> Fault:
    message = f"{folder}: config.json names {named}; transformers {transformers.__version__} knows no such model"
    hint = "remote code is never run; a newer transformers may know it"
    return Fault("bad-config", message, subject=str(folder), hint=hint)


def library(least: tuple[int, int] = (4, 0)) -> Any:
    """The transformers package.

    Raises:
        UsageError: it is not installed, or older than `least`.
    """
    hint = 'pip install "cuvee[demo]"'
    try:
        import transformers
    except ImportError as error:
        message = "transformers is needed to build and load models, and is not installed"
        raise UsageError(Fault("missing-extra", message, subject="transformers", hint=hint)) from error
    major, minor = transformers.__version__.split(".")[:2]
    if (int(major), int(minor)) < least:
        wanted = ".".join(map(str, least))
        message = f"transformers should be version {wanted} or newer here; {transformers.__version__} is installed"
        raise UsageError(Fault("missing-extra", message, subject="transformers", hint=hint))
    return transformers


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Errors only and no progress bars, put back as they were afterwards."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
