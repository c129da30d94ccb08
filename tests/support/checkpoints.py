"""Small model files for tests: tensors of every dtype, hand-made headers, folders, and equality of bytes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cuvee.checkpoint import FolderWriter, Reader, plan_layout
from cuvee.types import DTYPES, TensorSpec


def random_tensor(dtype: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """A tensor of random bytes (of zeros and ones for booleans): NaNs, infinities and denormals among them."""
    size = DTYPES[dtype].size
    generator = torch.Generator().manual_seed(seed)
    count = torch.Size(shape).numel()
    raw = torch.randint(0, 2 if dtype == "bool" else 256, (count * size,), dtype=torch.uint8, generator=generator)
    return raw.view(getattr(torch, dtype)).reshape(tuple(shape))


def of_every_dtype() -> dict[str, Tensor]:
    """One tensor of every dtype that a checkpoint may hold, a scalar and two empty ones."""
    tensors = {f"t.{name}": random_tensor(name, (3, 5), seed) for seed, name in enumerate(DTYPES)}
    tensors["scalar"] = torch.tensor(1.5)
    tensors["empty"] = torch.empty(0, 4)
    tensors["empty.half"] = torch.empty(2, 0, dtype=torch.float16)
    return tensors


def small_model(seed: int = 0) -> dict[str, Tensor]:
    """A few float tensors under names like those of a decoder."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "model.embed_tokens.weight": torch.randn(16, 8, generator=generator),
        "model.layers.0.mlp.weight": torch.randn(8, 8, generator=generator).bfloat16(),
        "model.layers.1.mlp.weight": torch.randn(8, 8, generator=generator).bfloat16(),
        "model.norm.weight": torch.ones(8),
    }


def raw_bytes(tensor: Tensor) -> bytes:
    """The row-major bytes of a tensor."""
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Names, dtypes, shapes and bytes are equal; NaNs are compared by their bits."""
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert raw_bytes(found[name]) == raw_bytes(tensor), name


def read_whole(reader: Reader) -> dict[str, Tensor]:
    """Every tensor of a checkpoint in its shape."""
    return {name: reader.read(name, 0, spec.numel).reshape(spec.shape).clone() for name, spec in reader.specs.items()}


def read_in_tiles(reader: Reader, tile: int) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, read a few elements at a time."""
    found = {}
    for name, spec in reader.specs.items():
        starts = range(0, spec.numel, tile)
        tiles = [reader.read(name, start, min(start + tile, spec.numel)) for start in starts]
        found[name] = torch.cat(tiles).reshape(spec.shape) if tiles else reader.read(name, 0, 0).reshape(spec.shape)
    return found


def specs_of(tensors: Mapping[str, Tensor]) -> list[TensorSpec]:
    """The specs of a state dict."""
    return [TensorSpec(name, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in tensors.items()]


def write_model(
    out: Path,
    tensors: Mapping[str, Tensor],
    *,
    shard_bytes: int = 10**9,
    config: Mapping[str, object] | None = None,
    overwrite: bool = False,
    protected: Sequence[Path] = (),
) -> None:
    """Write a model folder through `FolderWriter`."""
    layout = plan_layout(specs_of(tensors), shard_bytes)
    with FolderWriter(layout, out, overwrite=overwrite, protected=protected) as writer:
        for name, tensor in tensors.items():
            writer.write(name, 0, tensor.reshape(-1))
        writer.add_text("config.json", json.dumps(config or {"model_type": "llama"}))
        writer.publish()


def header_bytes(header: object) -> bytes:
    """The length and JSON of a header, written as given, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def write_raw(path: Path, header: object, data: bytes = b"") -> Path:
    """A safetensors file with a header as given."""
    path.write_bytes(header_bytes(header) + data)
    return path


def entry(dtype: str, shape: object, begin: object, end: object) -> dict[str, object]:
    """One entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
