"""A worker's way to a device: host memory to copy from and to, and an order of its own for what it asks for.

Everything that CUDA needs and other devices do not is in this file: pinned memory, streams, events. On any other
device, the processor among them, a lane does the same steps one after the other.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from cuvee.errors import Fault, ResourceError


class Lane:
    """One worker's; what it holds is good until the worker's next tile.

    Args:
        device: the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held: dict[str, Tensor] = {}
        is_cuda = device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(device) if is_cuda else None  # type: ignore[no-untyped-call]
        # A blocking event sleeps instead of asking over and over: the core belongs to the workers that read and hash.
        self._event: Any = torch.cuda.Event(blocking=True) if is_cuda else None  # type: ignore[no-untyped-call]

    def open(self) -> AbstractContextManager[Any]:
        """Inside, what the worker asks of the device goes by this lane: tensors made there must not leave it."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def room(self, name: str, n: int, dtype: torch.dtype) -> Tensor:
        """Host memory for `n` elements, pinned where the device copies from that by itself; the same one each time.

        Raises:
            ResourceError: `memory`: the system pins no more.
        """
        size = n * dtype.itemsize
        held = self._held.get(name)
        if held is None or len(held) < size:
            self._held.pop(name, None)
            held = self._held[name] = self._new(size)
        return held[:size].view(dtype)

    def _new(self, size: int) -> Tensor:
        if self._stream is None:
            return torch.empty(size, dtype=torch.uint8, device="cpu")
        try:
            return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)
        except RuntimeError as error:
            message = f"the system pinned no {size / 1024**2:,.0f} MiB of memory for {self.device}: {_first(error)}"
            hint = "take a smaller --tile or fewer --threads, or --device cpu"
            raise ResourceError(Fault("memory", message, hint=hint)) from error

    def send(self, values: Tensor) -> Tensor:
        """Host values on the device, without waiting for them."""
        return values.to(self.device, non_blocking=True)

    def fetch(self, values: Tensor, into: Tensor) -> None:
        """Put values of the device into host memory; they are there after `wait`."""
        into.copy_(values, non_blocking=True)

    def wait(self) -> None:
        """Wait until all that was asked for is done."""
        if self._event is not None:
            self._event.record(self._stream)
            self._event.synchronize()

    def let_go(self) -> None:
        """Give back memory of the device that torch keeps for later."""
        if self._stream is not None:
            torch.cuda.empty_cache()


def _first(error: BaseException) -> str:
    """The first line of a message of torch, which goes on for a page."""
    return (str(error).splitlines() or [type(error).__name__])[0]
