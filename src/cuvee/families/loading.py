"""Ready models from transformers: of a folder, or of tensors in memory, through its own loading.

So renamed prefixes, fused experts and tied weights come out as they do from a folder. Remote code is never run and
nothing is fetched from a hub.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuvee.errors import Fault, InputError, listed
from cuvee.families.pretrained import class_of, config_of, library, quiet, refuse_unknown


def load_folder(folder: Path, *, dtype: str | None, device: str) -> Any:
    """The model of a checkpoint folder, in evaluation mode.

    Args:
        folder: a folder with a `config.json` that names a class of transformers.
        dtype: torch name of the dtype to hold it in; its own without it.
        device: torch's name of a device.

    Raises:
        UsageError: transformers 5 or newer is not installed.
        InputError: transformers does not know the model, or its tensors are not those that the class needs.
    """
    transformers = library((5, 0))
    with quiet(transformers):
        cls = class_of(transformers, config_of(transformers, folder), folder)
        model, info = cls.from_pretrained(
            str(folder), dtype=dtype or "auto", local_files_only=True, output_loading_info=True
        )
    return _checked(str(folder), model, info).to(device)


def load_tensors(
    label: str,
    config_text: str,
    tensors: Mapping[str, Any],
    *,
    generation: str | None = None,
    dtype: str | None,
    device: str,
) -> Any:
    """The model of tensors in memory, in evaluation mode; it may share their memory.

    Args:
        label: what the model is called in messages.
        config_text: what would stand in `config.json`.
        tensors: name → tensor, by the names of a folder.
        generation: what would stand in `generation_config.json`.
        dtype: as for `load_folder`.
        device: likewise.

    Raises:
        UsageError, InputError: as `load_folder`.
    """
    transformers = library((5, 0))
    settings = json.loads(config_text)
    with quiet(transformers):
        refuse_unknown(transformers, settings, Path(label))
        known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
        try:
            config = known[settings["model_type"]].from_dict(settings)
        except (ValueError, KeyError, TypeError) as error:
            message = f"transformers {transformers.__version__} cannot use the configuration of {label}: {error}"
            raise InputError(Fault("bad-config", message, subject=label)) from error
        cls = class_of(transformers, config, Path(label))
        given = {"config": config, "state_dict": dict(tensors), "dtype": dtype or "auto"}
        model, info = cls.from_pretrained(None, **given, output_loading_info=True)
        if generation is not None and cls.can_generate():
            model.generation_config = transformers.GenerationConfig.from_dict(json.loads(generation))
    return _checked(label, model, info).to(device)


def _checked(label: str, model: Any, info: Mapping[str, Any]) -> Any:
    """The model, unless transformers had to make some of it up; what it has no place for is warned of."""
    absent = [*sorted(info["missing_keys"]), *sorted(str(key) for key, *_ in info["mismatched_keys"])]
    if absent or info["error_msgs"]:
        what = listed(absent, most=5) or str(info["error_msgs"])
        message = f"{label}: {type(model).__name__} needs tensors that are not there, or of another shape: {what}"
        hint = "`cuvee verify` says more of a folder"
        raise InputError(Fault("missing-tensor", message, subject=label, hint=hint))
    if info["unexpected_keys"]:
        said = listed(sorted(info["unexpected_keys"]), most=5)
        warnings.warn(f"{label}: {type(model).__name__} has no place for {said}", UserWarning, stacklevel=4)
    return model.eval()
