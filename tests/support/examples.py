"""Recipes in the forms that mergekit's users start from, their tiny models, and their arithmetic in float64.

`tests/conformance/examples` holds one recipe for each form: a weighted mean, a SLERP whose `t` is a gradient by filter,
TIES with gradients of density and weight, TIES of two models, a stack of layers, and a fusion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import Tensor

from cuvee import methods
from tests.peers.models import tune

Tensors = Mapping[str, Tensor]
EXAMPLES = Path(__file__).parents[1] / "conformance" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yml"))
SIZES = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
}
FAMILIES = {
    "base": (transformers.LlamaConfig, 10, ("chat", "code", "maths")),
    "mistral": (transformers.MistralConfig, 8, ("instruct", "medical")),
}
"""Base → kind, layers, fine-tunes."""


def content(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load((EXAMPLES / f"{name}.yml").read_text("utf-8"))


def skip_if_unknown(name: str) -> None:
    if content(name)["merge_method"] not in methods.names():
        pytest.skip(f"the method {content(name)['merge_method']} does not exist yet")


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def make_room(root: Path) -> Path:
    """Fill a folder with the recipes and, beside them, the models they name."""
    for base, (kind, layers, tunes) in FAMILIES.items():
        with torch.random.fork_rng():
            torch.manual_seed(layers)
            model = transformers.AutoModelForCausalLM.from_config(kind(**SIZES, num_hidden_layers=layers))
        model.save_pretrained(root / base)
        for seed, name in enumerate(tunes):
            tensors = tune(weights_of(root / base), 100 * layers + seed)
            (root / name).mkdir()
            save_file(tensors, root / name / "model.safetensors", {"format": "pt"})
            (root / name / "config.json").write_bytes((root / base / "config.json").read_bytes())
    for path in EXAMPLES.glob("*.yml"):
        (root / path.name).write_bytes(path.read_bytes())
    return root


def content_with_paths(name: str, room: Path) -> dict[str, Any]:
    """An example with absolute paths."""
    known = {path.name for path in room.iterdir() if path.is_dir()}

    def absolute(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: absolute(v) for k, v in value.items()}
        if isinstance(value, list):
            return [absolute(v) for v in value]
        return str(room / value) if isinstance(value, str) and value in known else value

    return {k: absolute(v) for k, v in content(name).items()}


def place(tensor: str, layers: int) -> float:
    """Where a tensor stands between the first layer, 0, and the last, 1; outside the layers it is 0."""
    found = re.search(r"layers\.(\d+)\.", tensor)
    return int(found[1]) / (layers - 1) if found else 0.0


def along(values: Sequence[float], where: float) -> float:
    """A gradient's value at a place."""
    spot = where * (len(values) - 1)
    left = min(int(spot), len(values) - 2)
    return values[left] + (values[left + 1] - values[left]) * (spot - left)


def slerped(a: Tensor, b: Tensor, t: float) -> Tensor:
    cosine = (a * b).sum() / a.norm() / b.norm()
    if cosine.abs() > 0.9995:
        return (1 - t) * a + t * b
    angle = cosine.arccos()
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def trimmed(delta: Tensor, density: float) -> Tensor:
    keep = max(1, int(density * delta.numel()))
    return torch.where(delta.abs() >= delta.abs().flatten().sort(descending=True).values[keep - 1], delta, 0)


def ties(base: Tensor, models: Sequence[tuple[Tensor, float, float]], normalize: bool) -> Tensor:
    """Of models with their weights and densities."""
    votes = torch.stack([w * trimmed(x - base, d) for x, w, d in models])
    agrees = votes.sign() == torch.where(votes.sum(0) >= 0, 1.0, -1.0)
    total = sum(w * agree for (_, w, _), agree in zip(models, agrees))
    merged = (votes * agrees).sum(0)
    return base + (merged / torch.where(total == 0, 1.0, total) if normalize else merged)


def linear(of: Callable[[str], Tensor], _tensor: str) -> Tensor:
    return (of("chat") + 0.4 * of("code") + 0.6 * of("maths")) / 2.0


def gradient_slerp(of: Callable[[str], Tensor], tensor: str) -> Tensor:
    t = 0.5
    if "self_attn" in tensor:
        t = along([0, 0.4, 0.2, 0.8, 1], place(tensor, 10))
    elif "mlp" in tensor:
        t = along([1, 0.6, 0.8, 0.2, 0], place(tensor, 10))
    return slerped(of("chat"), of("code"), t)


def gradient_ties(of: Callable[[str], Tensor], tensor: str) -> Tensor:
    where = place(tensor, 10)
    chat = (of("chat"), 1.0, along([1, 0.6, 0.2], where))
    code = (of("code"), along([0, 0.4, 0.6, 1], where), 0.5)
    maths = (of("maths"), 0.5 if "mlp" in tensor else 0.0, 0.35)
    return ties(of("base"), [chat, code, maths], normalize=True)


def two_model_ties(of: Callable[[str], Tensor], _tensor: str) -> Tensor:
    return ties(of("mistral"), [(of("instruct"), 0.5, 0.5), (of("medical"), 0.5, 0.5)], normalize=False)


def fusion(of: Callable[[str], Tensor], _tensor: str) -> Tensor:
    x, b = of("chat"), of("base")
    p, q = x.softmax(-1) + 1e-8, b.softmax(-1) + 1e-8
    importance = (x - b).abs() * (p * (p / q).log()).sum(-1, keepdim=True)
    low, middle, high = (importance.flatten().sort().values[int(f * (x.numel() - 1))] for f in (0.25, 0.5, 0.75))
    return torch.where(importance >= middle + 1.5 * (high - low), x, b)


FORMULAS = {
    "linear": linear,
    "gradient-slerp": gradient_slerp,
    "gradient-ties": gradient_ties,
    "two-model-ties": two_model_ties,
    "fusion": fusion,
}


def stacked(room: Path) -> dict[str, Tensor]:
    """Layers 0–5 of one model and 5–9 of another; the input side is the first's, the output side the second's."""
    first, second = weights_of(room / "chat"), weights_of(room / "code")
    found = {k: (first if "embed" in k else second)[k] for k in first if "layers." not in k}
    for number, (source, layer) in enumerate([(first, i) for i in range(6)] + [(second, i) for i in range(5, 10)]):
        mine = {k: t for k, t in source.items() if f"layers.{layer}." in k}
        found |= {k.replace(f"layers.{layer}.", f"layers.{number}."): t for k, t in mine.items()}
    return found


def by_hand(name: str, room: Path) -> dict[str, Tensor]:
    """What the recipe's arithmetic gives, in float64."""
    if name == "stack":
        return stacked(room)
    models = {path.name: weights_of(path) for path in room.iterdir() if path.is_dir() and path.name != "merged"}
    of_family = "mistral" if name == "two-model-ties" else "base"
    return {k: FORMULAS[name](lambda model, k=k: models[model][k].double(), k) for k in models[of_family]}
