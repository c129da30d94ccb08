"""The models of a benchmark: a base and three fine-tunes, bfloat16, as ordinary checkpoint folders."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAMES = ("base", "a", "b", "c")
BYTES = 2
"""Of a bfloat16."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    tied: bool = False

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor."""
        keys = self.hidden // self.heads * self.key_heads
        yield "model.embed_tokens.weight", (self.vocabulary, self.hidden)
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}"
            yield f"{prefix}.input_layernorm.weight", (self.hidden,)
            yield f"{prefix}.mlp.down_proj.weight", (self.hidden, self.inner)
            yield f"{prefix}.mlp.gate_proj.weight", (self.inner, self.hidden)
            yield f"{prefix}.mlp.up_proj.weight", (self.inner, self.hidden)
            yield f"{prefix}.post_attention_layernorm.weight", (self.hidden,)
            yield f"{prefix}.self_attn.k_proj.weight", (keys, self.hidden)
            yield f"{prefix}.self_attn.o_proj.weight", (self.hidden, self.hidden)
            yield f"{prefix}.self_attn.q_proj.weight", (self.hidden, self.hidden)
            yield f"{prefix}.self_attn.v_proj.weight", (keys, self.hidden)
        yield "model.norm.weight", (self.hidden,)
        if not self.tied:
            yield "lm_head.weight", (self.vocabulary, self.hidden)

    def config(self) -> dict[str, object]:
        """What `config.json` says."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "dtype": "bfloat16",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "max_position_embeddings": 2048,
            "model_type": "llama",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.key_heads,
            "rms_norm_eps": 1e-05,
            "tie_word_embeddings": self.tied,
            "vocab_size": self.vocabulary,
        }


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 4, 256),
    "0.1": Shape(512, 2048, 16, 8, 8, 32000),
    "0.5": Shape(1024, 4096, 26, 16, 16, 32000),
    "1.24": Shape(2048, 8192, 16, 32, 8, 128256, tied=True),  # the shapes of Llama 3.2 1B
}
"""By size in billions of parameters."""


def parameters(size: str) -> int:
    """How many numbers a model of that size has."""
    return sum(math.prod(shape) for _, shape in SHAPES[size].tensors())


def build(size: str, cache: Path) -> Path:
    """The folder of the four models, built the first time."""
    folder = cache / size
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for number, name in enumerate(NAMES):
            _write(folder / name, SHAPES[size], number)
        (folder / "complete").touch()
    return folder


def _write(folder: Path, shape: Shape, number: int) -> None:
    """The base is random; a fine-tune is the base and noise of a tenth of its size."""
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for i, (name, size) in enumerate(shape.tensors()):
        values = torch.randn(size, generator=torch.Generator().manual_seed(i)) * 0.02 + ("norm" in name)
        if number:
            noise = torch.Generator().manual_seed(1000 * number + i)
            values += torch.randn(size, generator=noise) * 0.002
        tensors[name] = values.bfloat16()
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(shape.config(), indent=2) + "\n", "utf-8")


def collect(folder: Path, size: str, kinds: set[str]) -> None:
    """Statistics of the fine-tunes beside them, made up: what a merge costs does not depend on their values."""
    import torch
    from safetensors.torch import save_file

    for number, name in enumerate(NAMES[1:]):
        for kind in sorted(kinds):
            path = folder / f"{name}.{kind}.safetensors"
            if path.exists():
                continue
            chance = torch.Generator().manual_seed(number)
            found = {}
            for tensor, shape in SHAPES[size].tensors():
                if kind == "fisher":
                    found[tensor] = torch.rand(shape, generator=chance)
                elif "proj" in tensor:
                    seen = torch.randn((64, shape[1]), generator=chance)
                    found[tensor] = seen.T @ seen / 64 + torch.eye(shape[1])
            save_file(found, path)


def nbytes(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def place(built: Path, folder: Path) -> Path:
    """The models where the merges are to read them: copied, unless they lie on the same file system already."""
    there = folder / built.name
    if built.stat().st_dev == folder.stat().st_dev:
        return built
    if there.resolve() != built.resolve() and not (there / "complete").exists():
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(built, there)
    return there
