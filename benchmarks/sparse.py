"""Checkpoints of giants: every header and configuration is true, and the numbers are holes that take no disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models import Shape

SHARD = 5 * 10**9
"""Bytes of weights per file, as hubs cut them."""
BYTES = 2
"""Of a bfloat16."""


@dataclass(frozen=True)
class Experts(Shape):
    """The sizes of a Qwen 3 mixture of experts; `inner` is that of one expert."""

    experts: int = 64

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor."""
        for name, shape in super().tensors():
            before, found, rest = name.partition(".mlp.")
            if not found:
                yield name, shape
                continue
            for expert in range(self.experts):
                yield f"{before}.mlp.experts.{expert}.{rest}", shape
            if rest.startswith("down"):
                yield f"{before}.mlp.gate.weight", (self.experts, self.hidden)

    def config(self) -> dict[str, object]:
        """What `config.json` says."""
        return super().config() | {
            "architectures": ["Qwen3MoeForCausalLM"],
            "model_type": "qwen3_moe",
            "moe_intermediate_size": self.inner,
            "num_experts": self.experts,
            "num_experts_per_tok": 8,
        }


GIANTS: Mapping[str, Shape] = {
    "dense": Shape(8192, 25600, 80, 64, 8, 128256),
    "experts": Experts(4096, 1216, 64, 32, 4, 151936),
}
"""Two of 64 billion parameters: one of 723 large tensors, one of 12,739 small ones."""


def parameters(shape: Shape) -> int:
    """How many numbers a model has."""
    return sum(math.prod(size) for _, size in shape.tensors())


def write_sparse(folder: Path, shape: Shape, shard: int = SHARD) -> None:
    """A sharded checkpoint folder with holes for numbers; it looks as large as it says, and takes some kilobytes.

    Args:
        folder: where it goes; made if it is not there.
        shape: the model.
        shard: bytes of weights per file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = list(_cut(shape, shard))
    names = [f"model-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)]
    for name, tensors in zip(names, files, strict=True):
        _write_holes(folder / name, tensors)
    where = {tensor: name for name, tensors in zip(names, files, strict=True) for tensor in tensors}
    index = {"metadata": {"total_size": parameters(shape) * BYTES}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    (folder / "config.json").write_text(json.dumps(shape.config(), indent=2) + "\n", "utf-8")


def _cut(shape: Shape, shard: int) -> Iterator[dict[str, tuple[int, ...]]]:
    """The tensors of one file after the other."""
    held: dict[str, tuple[int, ...]] = {}
    size = 0
    for name, dimensions in shape.tensors():
        nbytes = math.prod(dimensions) * BYTES
        if held and size + nbytes > shard:
            yield held
            held, size = {}, 0
        held[name] = dimensions
        size += nbytes
    yield held


def _write_holes(path: Path, tensors: Mapping[str, tuple[int, ...]]) -> None:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, dimensions in tensors.items():
        end = at + math.prod(dimensions) * BYTES
        entries[name] = {"dtype": "BF16", "shape": list(dimensions), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
