"""Taking what a method knows from one device to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor


def moved(value: Any, device: torch.device) -> Any:
    """The same value with every tensor in it on a device.

    Args:
        value: a tensor; a dataclass, mapping, tuple or list, looked into; anything else stays what it is.
        device: where to.

    Example:
        >>> import torch
        >>> moved((torch.zeros(2), 0.5), torch.device("meta"))[0].device
        device(type='meta')
    """
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: moved(getattr(value, f.name), device) for f in fields(value) if f.init})
    if isinstance(value, Mapping):
        return {key: moved(one, device) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)([moved(one, device) for one in value])
    return value
