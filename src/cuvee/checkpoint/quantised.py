"""Which quantised format a model is in, from its configuration and from the names and dtypes of its tensors.

FP8 with scales is read. Everything else is refused by name: packed integers are no weights until they are unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cuvee.errors import Fault
from cuvee.families import sections
from cuvee.types import DTYPES, TensorSpec

SECTIONS: Final = ("quantization_config", "compression_config")
"""Keys of a configuration that say how weights are quantised; the second is an older name of one library."""

BLOCK: Final = (128, 128)
"""Rows and columns that share a scale where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How FP8 weights may be scaled.

    Attributes:
        blocks: sizes of the blocks that may share a scale, rows and columns.
        whole: whether a scale may be of a whole tensor, or of whole rows or columns.
    """

    blocks: tuple[tuple[int, int], ...] = (BLOCK,)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Format:
    """A quantised format, how it shows, and its FP8 scheme; without one it is refused, as `hint` says."""

    name: str
    evidence: str
    scheme: Scheme | None = None
    hint: str = ""


_FLOATS: Final = "merge the float model that it was quantised from"
_LIBRARY: Final = f"{_FLOATS}; or make a float copy with the library that quantised it, and name the copy"
_DEQUANTIZE: Final = (
    f"{_FLOATS}; or load it with transformers, call `model.dequantize()` and `model.save_pretrained(folder)`, "
    "and name that folder"
)
_AS_LOADED: Final = (
    f"{_FLOATS}; or load it with transformers under `quantization_config={{0}}(dequantize=True)`, call "
    "`model.save_pretrained(folder)`, and name that folder"
)
GGUF_HINT: Final = (
    f"{_FLOATS}; or load it with transformers (`from_pretrained(folder, gguf_file=name)`), which dequantises, call "
    "`model.save_pretrained(other)`, and name that folder"
)
_COMPRESSED: Final = _AS_LOADED.format("CompressedTensorsConfig")

# By the configuration's `quant_method`: what it is called, and what to do.
_METHODS: Final = {
    "aqlm": ("AQLM", _LIBRARY),
    "auto-round": ("AutoRound", _LIBRARY),
    "awq": ("AWQ", _LIBRARY),
    "bitnet": ("BitNet", _LIBRARY),
    "bitsandbytes": ("bitsandbytes", _DEQUANTIZE),
    "compressed-tensors": ("compressed-tensors", _COMPRESSED),
    "eetq": ("EETQ", _LIBRARY),
    "fp_quant": ("FP-Quant", _LIBRARY),
    "gguf": ("GGUF", GGUF_HINT),
    "gptq": ("GPTQ", _LIBRARY),
    "higgs": ("HIGGS", _DEQUANTIZE),
    "hqq": ("HQQ", _LIBRARY),
    "modelopt": ("ModelOpt", _LIBRARY),
    "mxfp4": ("MXFP4", _AS_LOADED.format("Mxfp4Config")),
    "mxfp8": ("MXFP8", _AS_LOADED.format("FineGrainedFP8Config")),
    "nvfp4": ("NVFP4", _LIBRARY),
    "quanto": ("quanto", _LIBRARY),
    "quark": ("Quark", _LIBRARY),
    "spqr": ("SpQR", _LIBRARY),
    "torchao": ("torchao", _LIBRARY),
    "vptq": ("VPTQ", _LIBRARY),
}

# Endings of names that no plain model has, and the format they are of.
_ENDINGS: Final = {
    ".SCB": ("bitsandbytes 8-bit", _DEQUANTIZE),
    ".quant_map": ("bitsandbytes 4-bit", _DEQUANTIZE),
    ".W_q": ("HQQ", _LIBRARY),
    ".codes": ("AQLM", _LIBRARY),
    ".weight_scales": ("EETQ", _LIBRARY),
    ".weight._data": ("quanto", _LIBRARY),
    ".weight_qdata": ("torchao", _LIBRARY),
    "._weight_qdata": ("torchao", _LIBRARY),
    ".weight_packed": ("compressed-tensors, packed", _COMPRESSED),
    ".weight_scale_2": ("NVFP4", _LIBRARY),
    ".weight_global_scale": ("NVFP4", _LIBRARY),
    ".dense_weights": ("SpQR", _LIBRARY),
    ".g_idx": ("GPTQ", _LIBRARY),
    ".qzeros": ("AWQ", _LIBRARY),
    ".qweight": ("AWQ or GPTQ", _LIBRARY),
}
_STATE: Final = ".quant_state.bitsandbytes__"
# Scales beside a weight of integers: endings that take the place of the weight's own.
_SCALES: Final = ("_scale", "_scale_inv")


def recognise(config: Mapping[str, Any] | None, specs: Mapping[str, TensorSpec]) -> Format | None:
    """The quantised format of a model; `None` for floats, and for FP8 of which no configuration speaks.

    Args:
        config: the parsed `config.json`.
        specs: every tensor by name.
    """
    said = next(_said(config or {}), None)
    if said is None or said.scheme is not None:
        return _packed(specs) or said
    if all(DTYPES[spec.dtype].kind != "int" for spec in specs.values()):
        aside = "if its weights are plain floats all the same, remove that entry from its config.json"
        return Format(said.name, said.evidence, None, f"{said.hint}; {aside}")
    return said


def refusal(label: str, found: Format) -> Fault:
    """Why a model in a format that is not read is refused, and what to do."""
    message = f"{label}: weights must be floats, or FP8 with scales; these are quantised as {found.name} "
    return Fault("quantised-input", f"{message}({found.evidence})", subject=label, hint=found.hint)


def quantised_sections(config: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Paths of all entries of a configuration that say how weights are quantised."""
    return tuple(
        (*path, key)
        for path, section in sections(config)
        for key in SECTIONS
        if key in section and not set(path) & set(SECTIONS)
    )


def _said(config: Mapping[str, Any]) -> Iterator[Format]:
    """The formats that a configuration names."""
    for path in quantised_sections(config):
        section: Any = config
        for key in path:
            section = section[key]
        if isinstance(section, Mapping):
            yield _named(section, f"`{'.'.join(path)}` of its config.json")
    if isinstance(mlx := config.get("quantization"), Mapping) and "bits" in mlx:
        yield Format("MLX", "`quantization` of its config.json", None, _LIBRARY)


def _named(section: Mapping[str, Any], where: str) -> Format:
    """The format that one section names."""
    method = section.get("quant_method")
    if method is None and any(section.get(f"load_in_{bits}bit") for bits in (4, 8)):
        method = "bitsandbytes"
    key = str(method).lower().replace("_", "-") if str(method).lower().startswith("compressed") else str(method).lower()
    evidence = f"{where} says `quant_method` {method!r}" if "quant_method" in section else where
    scheme = _SCHEMES[key](section) if key in _SCHEMES else None
    if scheme:
        return Format("FP8", evidence, scheme)
    name, hint = _METHODS.get(key, (f"`{method}`" if method else "an unnamed format", _LIBRARY))
    return Format(" ".join((name, *_detail(key, section))), evidence, None, hint)


def _detail(method: str, section: Mapping[str, Any]) -> Iterator[str]:
    """What else tells the variant of a format."""
    if method == "fp8" and section.get("expert_dtype") == "fp4":
        yield "with FP4 experts"
    elif method == "bitsandbytes":
        yield from (f"{bits}-bit" for bits in (4, 8) if section.get(f"load_in_{bits}bit"))
    elif isinstance(kind := section.get("format") or section.get("quant_algo"), str):
        yield f"({kind})"


def _fp8(section: Mapping[str, Any]) -> Scheme | None:
    """Blocks as stated, else of the usual size; `null` stands for one scale per tensor."""
    if section.get("expert_dtype") == "fp4":
        return None
    if "weight_block_size" not in section:
        return Scheme()
    stated = section["weight_block_size"]
    if stated is None:
        return Scheme(())
    return Scheme((block,), whole=False) if (block := _pair(stated)) else None


def _modelopt(section: Mapping[str, Any]) -> Scheme | None:
    return Scheme(()) if section.get("quant_algo") == "FP8" else None


def _compressed(section: Mapping[str, Any]) -> Scheme | None:
    """Eight-bit floats with a scale per tensor, channel or block; nothing packed, sparse or rotated."""
    groups = section.get("config_groups")
    sparse = section.get("sparsity_config") or {}
    if not isinstance(groups, Mapping) or not groups or section.get("transform_config"):
        return None
    if not isinstance(sparse, Mapping) or sparse.get("format", "dense") != "dense":
        return None
    found = [_group(group) for group in groups.values()]
    known = [scheme for scheme in found if scheme is not None]
    blocks = {block for scheme in known for block in scheme.blocks}
    if len(known) < len(found) or len(blocks) > 1:  # of two sizes, a scale's shape does not always tell which
        return None
    return Scheme(tuple(blocks), any(scheme.whole for scheme in known))


def _group(group: object) -> Scheme | None:
    """The scheme of one group of layers."""
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping) or (weights.get("num_bits"), weights.get("type")) != (8, "float"):
        return None
    if weights.get("symmetric", True) is not True:
        return None
    if weights.get("strategy") in ("tensor", "channel"):
        return Scheme(())
    block = _pair(weights.get("block_structure")) if weights.get("strategy") == "block" else None
    return Scheme((block,), whole=False) if block else None


def _pair(value: object) -> tuple[int, int] | None:
    """Two sizes, also where they are written `128x128`."""
    if isinstance(value, str) and all(part.isdecimal() for part in value.split("x")):
        value = [int(part) for part in value.split("x")]
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    rows, columns = value
    return (rows, columns) if all(type(n) is int and n > 0 for n in (rows, columns)) else None


_SCHEMES: Final = {
    "fp8": _fp8,
    "fbgemm_fp8": lambda _section: Scheme(()),
    "modelopt": _modelopt,
    "compressed-tensors": _compressed,
}


def _packed(specs: Mapping[str, TensorSpec]) -> Format | None:
    """The format that names and dtypes of tensors give away."""
    endings = tuple(_ENDINGS)
    told: dict[str, str] = {}
    beside: Format | None = None  # the least telling
    for name, spec in specs.items():
        if _STATE in name:
            return Format("bitsandbytes 4-bit", f"tensor {name}", None, _DEQUANTIZE)
        if name.endswith(endings) and _is_packed(name, specs):
            told.setdefault(next(ending for ending in endings if name.endswith(ending)), name)
        elif beside is None and DTYPES[spec.dtype].kind == "int":
            beside = _beside(name, spec, specs)
    ending = next((ending for ending in _ENDINGS if ending in told), None)
    return Format(_ENDINGS[ending][0], f"tensor {told[ending]}", None, _ENDINGS[ending][1]) if ending else beside


def _is_packed(name: str, specs: Mapping[str, TensorSpec]) -> bool:
    """Whether a tensor, or the weight it belongs to, holds no floats; a plain model may use the same words."""
    stem = name.rpartition(".")[0]
    near = (specs.get(other) for other in (name, stem, f"{stem}.weight", f"{stem}.weight_packed"))
    return any(spec is not None and DTYPES[spec.dtype].kind in ("int", "float8") for spec in near)


def _beside(name: str, spec: TensorSpec, specs: Mapping[str, TensorSpec]) -> Format | None:
    """The format of integers that stand beside their scales."""
    stem = name.removesuffix(".weight")
    if len(spec.shape) < 2:  # a counter, whatever stands beside it
        return None
    if name.endswith("_blocks") and f"{name.removesuffix('_blocks')}_scales" in specs:
        return Format("MXFP4", f"tensors {name} and _scales", None, _METHODS["mxfp4"][1])
    if stem != name and f"{stem}.scales" in specs:
        return Format("MLX", f"{spec.dtype} tensor {name} beside {stem}.scales", None, _LIBRARY)
    scale = next((f"{name}{end}" for end in _SCALES if f"{name}{end}" in specs), None)
    if scale is None and stem != name and spec.dtype in ("int8", "uint8") and f"{stem}.scale" in specs:
        scale = f"{stem}.scale"
    if scale is None:
        return None
    return Format("integers with scales", f"{spec.dtype} tensor {name} beside {scale}", None, _LIBRARY)
