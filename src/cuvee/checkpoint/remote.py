"""Weights of which only the headers are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from cuvee.checkpoint.identity import InputFile
from cuvee.errors import Fault, InputError
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class RemoteHeaders:
    """Weights of which only the headers have been fetched: enough to plan with, not to merge."""

    def __init__(self, label: str, specs: Mapping[str, TensorSpec]) -> None:
        self._label = label
        self._specs = specs

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, file by file."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """None: only safetensors files have headers to fetch, and they hold every tensor once."""
        return {}

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """None: nothing but headers is here."""
        return ()

    @property
    def held(self) -> int:
        """What reading will hold, once the files are here: nothing."""
        return 0

    def read(self, name: str, start: int, stop: int) -> Tensor:  # noqa: ARG002 - the protocol's arguments
        """Refuse: nothing but headers is here.

        Raises:
            InputError: `offline`, always.
        """
        self._refuse(name)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:  # noqa: ARG002 - as above
        """Refuse: nothing but headers is here.

        Raises:
            InputError: `offline`, always.
        """
        self._refuse(name)

    def digest(self, name: str) -> str:
        """Refuse: nothing but headers is here.

        Raises:
            InputError: `offline`, always.
        """
        self._refuse(name)

    def check_unchanged(self) -> None:
        """Do nothing: a commit does not change."""

    def close(self) -> None:
        """Do nothing: no file is held."""

    def _refuse(self, name: str) -> NoReturn:
        message = f"{self._label}: tensor `{name}` has not been downloaded, only the headers were fetched"
        hint = "open the model with downloading allowed"
        raise InputError(Fault("offline", message, subject=self._label, hint=hint))
