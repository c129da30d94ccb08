"""An adapter as a PEFT folder: modules with factors, whole tensors, and the record of how it was made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint import FolderWriter
from cuvee.checkpoint.adapter_config import ADAPTER_CONFIG
from cuvee.checkpoint.adapter_tensors import PREFIX
from cuvee.checkpoint.format import place
from cuvee.checkpoint.protocol import Layout, Shard
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS: Final = "adapter_model.safetensors"
RECORD: Final = "cuvee.json"


@dataclass(frozen=True)
class Change:
    """The change of one module of the result, α/r · B · A.

    Attributes:
        module: its name in the model as transformers builds it.
        a: `[r, in]`.
        b: `[out, r]`.
        alpha: α.
        is_embedding: whether it is an embedding.
        error: ‖what was wanted − this‖ / ‖what was wanted‖, Frobenius; 0 where it is exact.
        norm: ‖what was wanted‖.
    """

    module: str
    a: Tensor
    b: Tensor
    alpha: float
    is_embedding: bool = False
    error: float = 0.0
    norm: float = 0.0

    @property
    def rank(self) -> int:
        """R."""
        return self.a.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        """Its factors under the names that PEFT gives them."""
        ends = ("lora_embedding_A", "lora_embedding_B") if self.is_embedding else ("lora_A.weight", "lora_B.weight")
        return {f"{PREFIX}{self.module}.{end}": value for end, value in zip(ends, (self.a, self.b), strict=True)}


@dataclass(frozen=True)
class Result:
    """An adapter to be written.

    Attributes:
        changes: of its modules.
        whole: tensors that it holds as they are, by their names in the file.
        config: keys of `adapter_config.json` besides those that follow from the changes.
        notes: what the user should know.
    """

    changes: tuple[Change, ...]
    whole: Mapping[str, Tensor] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is stored, by name."""
        found: dict[str, Tensor] = {}
        for change in self.changes:
            found.update(change.tensors())
        return {**found, **self.whole}

    def settings(self) -> dict[str, Any]:
        """`adapter_config.json`; a key that nothing is said of keeps PEFT's default.

        Modules stand by their whole names. A pattern also matches longer names that end in it, and the first that
        matches counts, in an order that PEFT changes when it writes the file anew: `^` lets each match one name only.
        """
        ordered = sorted(self.changes, key=lambda change: change.module)
        rank = max((change.rank for change in ordered), default=1)
        alpha = next((change.alpha for change in ordered if change.rank == rank), 1.0)
        same_rank = all(change.rank == rank for change in ordered)
        same_alpha = all(change.alpha == alpha for change in ordered)
        own = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": _number(alpha),
            "target_modules": [change.module for change in ordered],
            "rank_pattern": {} if same_rank else {_pattern(one): one.rank for one in ordered},
            "alpha_pattern": {} if same_alpha else {_pattern(one): _number(one.alpha) for one in ordered},
            "lora_dropout": 0.0,
            "bias": "none",
            "use_rslora": False,
            "use_dora": False,
            "init_lora_weights": True,
            "inference_mode": True,
        }
        return {**own, **self.config}


def _pattern(change: Change) -> str:
    """The regular expression that matches a module and no other."""
    return f"^{re.escape(change.module)}"


def _number(value: float) -> int | float:
    """As PEFT writes it: whole numbers without a fraction."""
    return int(value) if value == int(value) else value


def write_adapter(
    result: Result, out: Path, record: Mapping[str, Any], *, overwrite: bool = False, protected: Sequence[Path] = ()
) -> None:
    """Write an adapter's folder; nothing is visible before all of it is there.

    Args:
        result: the adapter.
        out: the folder.
        record: the content of `cuvee.json`.
        overwrite: replace a folder that holds an adapter or a model.
        protected: files that are read; a folder that holds one of them is never replaced.

    Raises:
        OutputExists: `out` is there, or may not be replaced.
        ResourceError: not enough disk, or no right to write.
    """
    tensors = {name: value.contiguous() for name, value in result.tensors().items()}
    specs = [
        TensorSpec(name, str(value.dtype).removeprefix("torch."), tuple(value.shape)) for name, value in tensors.items()
    ]
    header, places = place(specs)
    shard = Shard(WEIGHTS, header, places, places[-1].end if places else len(header))
    with FolderWriter(Layout((shard,)), out, overwrite=overwrite, protected=protected) as writer:
        for name, value in tensors.items():
            writer.write(name, 0, value.reshape(-1))
        writer.add_text(ADAPTER_CONFIG, _text(result.settings()))
        writer.add_text(RECORD, _text(record))
        writer.publish()


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
