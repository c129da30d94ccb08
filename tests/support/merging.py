"""Small models, recipes for every method, and pictures of folders, for tests of whole merges."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import cuvee

Tensors = Mapping[str, Tensor]
Data = dict[str, Any]

CONFIG: Mapping[str, Any] = {"model_type": "small", "num_hidden_layers": 2, "hidden_size": 8, "dtype": "float32"}
SIDE_FILES: Mapping[str, str] = {"tokenizer.json": '{"version": "1.0"}', "generation_config.json": '{"top_k": 3}'}
METHODS = ("linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "passthrough")
"""Methods of every kind, for tests of what all have in common."""
EVERY = (
    *(*METHODS, "nuslerp", "multislerp", "karcher", "sce", "ram", "ramplus_tl", "model_stock", "nearswap"),
    *("breadcrumbs", "breadcrumbs_ties", "compose", "magmax", "pcb", "consensus_ta", "emr"),
    *("wise_ft", "expo", "task_negation", "median", "trimmed_mean", "geometric_median"),
)

OF_ONE = ("slerp", "nearswap", "passthrough", "wise_ft", "expo", "task_negation")
WITHOUT_BASE = ("linear", "karcher", "passthrough", "median", "trimmed_mean", "geometric_median")


def decoder(seed: int, *, layers: int = 2, width: int = 8, vocabulary: int = 20) -> dict[str, Tensor]:
    """A state dict with the names of a decoder: embedding, layers, final norm, head."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    found = {"model.embed_tokens.weight": draw(vocabulary, width)}
    for i in range(layers):
        found[f"model.layers.{i}.self_attn.q_proj.weight"] = draw(width, width)
        found[f"model.layers.{i}.mlp.up_proj.weight"] = draw(2 * width, width)
        found[f"model.layers.{i}.input_layernorm.weight"] = draw(width)
    return found | {"model.norm.weight": draw(width), "lm_head.weight": draw(vocabulary, width)}


def cast(tensors: Tensors, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors in another dtype."""
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def write(folder: Path, tensors: Tensors, config: Mapping[str, Any] | str | None = CONFIG, *, shards: int = 1) -> Path:
    """A model folder, written by safetensors itself: one file, or several and their index."""
    folder.mkdir(parents=True)
    if isinstance(config, Mapping):
        config = json.dumps(config, indent=2)
    if config is not None:
        (folder / "config.json").write_text(config, "utf-8")
    for name, text in SIDE_FILES.items():
        (folder / name).write_text(text, "utf-8")
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", {"format": "pt"})
        return folder
    files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    where = {name: files[i % shards] for i, name in enumerate(tensors)}
    for file in files:
        save_file({n: t for n, t in tensors.items() if where[n] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}), "utf-8")
    return folder


def read(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder of safetensors files, read by safetensors itself."""
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def linear(*models: object, weights: Sequence[Any] | None = None, **more: Any) -> Data:
    """A linear recipe."""
    given = weights or [0.25 + 0.5 * i for i in range(len(models))]
    entries = [{"model": str(m), "parameters": {"weight": w}} for m, w in zip(models, given, strict=True)]
    return {"merge_method": "linear", "models": entries, **more}


def recipe(method: str, base: object, a: object, b: object, **more: Any) -> Data:
    """A recipe of any method for a base and two models; some take the first of them only, and some no base."""
    names = [a] if method in OF_ONE else [a, b]
    own = {
        "linear": ({"weight": 0.7}, {"weight": 0.4}),
        "nuslerp": ({"weight": 0.7}, {"weight": 0.4}),
        "multislerp": ({"weight": 0.7}, {"weight": 0.4}),
        "karcher": ({"weight": 0.7}, {"weight": 0.4}),
        "task_arithmetic": ({"weight": 0.6}, {"weight": -0.3}),
        "ties": ({"weight": 0.6, "density": 0.4}, {"weight": 0.5, "density": 0.7}),
        "dare_linear": ({"weight": 0.6, "density": 0.4}, {"weight": 0.5, "density": 0.7}),
        "dare_ties": ({"weight": 0.6, "density": 0.4}, {"weight": 0.5, "density": 0.7}),
        "breadcrumbs": ({"weight": 0.6, "density": 0.4}, {"weight": 0.5, "density": 0.7, "gamma": 0.2}),
        "breadcrumbs_ties": ({"weight": 0.6, "density": 0.4}, {"weight": 0.5, "density": 0.7, "gamma": 0.2}),
        "compose": ({"weight": 0.6, "density": 0.4}, {"weight": 0.5, "density": 0.7}),
    }.get(method, ({}, {}))
    shared = {
        "slerp": {"t": 0.35},
        "passthrough": {"scale": 0.5},
        "ties": {"lambda": 0.9},
        "nearswap": {"t": 0.2},
        "sce": {"select_topk": 0.4},
    }.get(method, {})
    data: Data = {
        "merge_method": method,
        "models": [{"model": str(n), "parameters": dict(p)} for n, p in zip(names, own, strict=False)],
        "parameters": dict(shared),
    }
    return {**data, **({} if method in WITHOUT_BASE else {"base_model": str(base)}), **more}


def merge_all(recipes: str | Path, out: str | Path) -> None:
    """Carry out every recipe file of a folder."""
    for path in sorted(Path(recipes).glob("*.yml")):
        cuvee.merge(path, Path(out) / path.stem, seed=5, threads=2, sha256=True)


def picture(root: Path) -> dict[str, object]:
    """Everything under a folder, hidden or not: bytes and time of every file, target of every link, every folder."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else "folder"
    return found


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of every file under a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def hidden(folder: Path) -> list[str]:
    """Names in a folder that begin with a dot: what a merge that did not end well would leave."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
