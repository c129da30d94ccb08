"""The demo's own models: the shipped base, and specialists fine-tuned from it side by side."""

from __future__ import annotations

import copy
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError

from cuvee.checkpoint.os_errors import told
from cuvee.demo.skills import lesson
from cuvee.demo.train import Schedule, train
from cuvee.families import pretrained
from cuvee.planning.room import default_threads

BASE: Final = Path(__file__).parent / "base"
"""The shipped base, an ordinary checkpoint folder; `tools/train_demo_base.py` makes it."""

TAUGHT: Final = ("reverse", "sort", "next", "swap", "ends")
"""The skills of the specialists, one each."""

FINE_TUNING: Final = Schedule(steps=60, batch=64, rate=3e-4, warm_up=10)
"""Gentle on purpose: more of it learns the skill no better, forgets the others, and merges suffer."""

_TOKENIZER: Final = ("tokenizer.json", "tokenizer_config.json")
_CARD: Final = """---
license: apache-2.0
library_name: transformers
---

# {}

A small language model, made by `cuvee demo`.
"""
"""What the cards of merges take the licence from."""
_SYSTEM_SAYS: Final = re.compile(r"\(os error (\d+)\)")


class _Stopped(Exception):
    """Ends a training thread after another part of the run has failed or was interrupted."""


def workers() -> int:
    """How many trainings or merges run side by side: two where two processors may be used."""
    return min(2, default_threads())


def copy_base(folder: Path) -> None:
    """Write the shipped base into a new folder.

    Raises:
        ResourceError: the system refuses.
    """
    with told("write", folder):
        folder.mkdir(parents=True)
        for file in BASE.iterdir():
            shutil.copyfile(file, folder / file.name)
        (folder / "README.md").write_text(_CARD.format(folder.name), encoding="utf-8")


def save(model: Any, folder: Path) -> None:
    """Write a model in bfloat16 with the base's tokenizer, as an ordinary checkpoint folder.

    Raises:
        ResourceError: the system refuses.
    """
    with told("write", folder), _plain_os_errors():
        folder.mkdir(parents=True)
        pretrained.save(copy.deepcopy(model).to(torch.bfloat16), folder)
        for name in _TOKENIZER:
            shutil.copyfile(BASE / name, folder / name)
        (folder / "README.md").write_text(_CARD.format(folder.name), encoding="utf-8")


@contextmanager
def _plain_os_errors() -> Iterator[None]:
    """Raise what the system says as an `OSError`: safetensors hides it in an error of its own."""
    try:
        yield
    except SafetensorError as error:
        found = _SYSTEM_SAYS.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def train_specialists(
    base: Any,
    words: Sequence[str],
    schedule: Schedule,
    seed: int,
    step_done: Callable[[], None],
) -> dict[str, Any]:
    """Fine-tune one copy of the base per skill.

    torch lets go of Python's lock while it computes, so that two threads train two models on two processors. Every
    specialist has its own copy and its own random stream; how many are trained at once changes no weight.

    Args:
        base: the base model; it is not changed.
        words: one skill per specialist.
        schedule: steps, batch size and learning rate.
        seed: of the lessons.
        step_done: called after every step of every specialist, from any thread.

    Returns:
        The specialists by skill, rounded to bfloat16 as they will be on disk.
    """
    stop = threading.Event()

    def after_step(_: int) -> None:
        if stop.is_set():
            raise _Stopped
        step_done()

    def specialist(word: str) -> Any:
        model = train(copy.deepcopy(base), partial(lesson, (word,)), schedule, f"{seed}/{word}", after_step)
        return model.to(torch.bfloat16).to(torch.float32)

    with ThreadPoolExecutor(workers()) as pool:
        try:
            trained = {word: pool.submit(specialist, word) for word in words}
            wait(trained.values(), return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    _raise_first(trained.values())
    return {word: future.result() for word, future in trained.items()}


def _raise_first(futures: Iterable[Future[Any]]) -> None:
    """Raise what went wrong in one of the threads, rather than that the others were stopped because of it."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, _Stopped):
            raise error


def weights(model: Any) -> Mapping[str, torch.Tensor]:
    """A model's weights in bfloat16 by the names they have on disk, tied ones once."""
    return {name: value.detach().to(torch.bfloat16) for name, value in model.named_parameters()}


def with_weights(model: Any, values: Mapping[str, torch.Tensor]) -> Any:
    """The model with its weights replaced, in place; every weight must be given."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name])
    return model
