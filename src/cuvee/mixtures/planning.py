"""A mixture as a plan: what every tensor of the output is copied or put together from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import listed
from cuvee.families import is_optional, spot_of
from cuvee.layers import patch_json
from cuvee.layers.mixture_config import MixtureSizes, mixture_config
from cuvee.layers.mixtures import PARTS
from cuvee.mixtures.fitting import STACK, Fit
from cuvee.mixtures.made import LABEL, Source, noise, zeros
from cuvee.mixtures.model import Expert, Mixture
from cuvee.planning import ModelFacts, Piece, Plan, Step
from cuvee.recipe import ModelEntry, Recipe
from cuvee.types import ModelRef, TensorSpec

SILENT: Final = 64
"""Inner width of a shared expert that stands for none, where it is free."""


@dataclass
class _Bench:
    """A plan being made: numbers of models, steps so far, and what is made besides them."""

    mixture: Mixture
    fit: Fit
    readers: Mapping[ModelRef, Reader]
    number: Mapping[ModelRef, int]
    steps: list[Step] = field(default_factory=list)
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def base(self) -> Reader:
        """The base model."""
        return self.readers[self.mixture.base]

    def dtype(self, name: str) -> str:
        """The output's dtype of what stands where a tensor of the base stood."""
        return self.mixture.dtype or self.base.specs[name].usual_dtype

    def made(self, name: str, shape: tuple[int, ...], source: Source) -> Piece:
        """A tensor that comes from no member."""
        self.specs[name] = TensorSpec(name, "float32", shape)
        self.sources[name] = source
        return Piece(len(self.number), name)

    @property
    def silent(self) -> int:
        """Inner width of the shared expert."""
        if self.mixture.shared or self.fit.layout.shared_gate is None:
            return self.fit.intermediate
        return min(SILENT, self.fit.intermediate)


@dataclass(frozen=True, slots=True)
class MixturePlan:
    """A plan, and what it reads besides the members: tensors, and what gives them; those of routers are given later."""

    plan: Plan
    fit: Fit
    specs: Mapping[str, TensorSpec]
    sources: Mapping[str, Source]


def plan_mixture(mixture: Mixture, readers: Mapping[ModelRef, Reader], fit: Fit) -> MixturePlan:
    """Decide what becomes of everything.

    Args:
        mixture: what is asked.
        readers: its members.
        fit: what they come to.
    """
    bench = _Bench(mixture, fit, readers, {ref: i for i, ref in enumerate(mixture.members)})
    done: set[int] = set()
    left: list[str] = []
    for name in bench.base.specs:
        spot = spot_of(name)
        if is_optional(name):
            left.append(name)
        elif spot is not None and spot.rest.startswith("mlp."):
            if spot.index not in done:
                _layer(bench, spot.index)
            done.add(spot.index)
        else:
            bench.steps.append(_other(bench, name))
    text, changes = _config(bench)
    return MixturePlan(_plan(bench, text, changes, left), fit, bench.specs, bench.sources)


def _other(bench: _Bench, name: str) -> Step:
    """What is no expert: the base's, or the mean over the experts."""
    out = TensorSpec(name, bench.dtype(name), bench.base.specs[name].shape)
    spot = spot_of(name)
    layer = None if spot is None else (spot.prefix, spot.index)
    refs = [expert.model for expert in bench.mixture.experts]
    if bench.mixture.others == "base" or len(set(refs)) == 1:
        ref = bench.mixture.base if bench.mixture.others == "base" else refs[0]
        return Step(out, "copy", (Piece(bench.number[ref], name),), layer=layer, reason="no expert: the base's")
    inputs = tuple(Piece(bench.number[ref], name) for ref in refs)
    return _combined(out, inputs, (1.0,) * len(inputs), layer, normalize=True)


def _combined(
    out: TensorSpec, inputs: Sequence[Piece], weights: Sequence[float], layer: Any, *, normalize: bool = False
) -> Step:
    """A weighted sum, or mean, of tensors."""
    settings: dict[str, Any] = {"weight": tuple(weights), "normalize": normalize}
    work = "float64" if out.dtype == "float64" else "float32"
    return Step(out, "merge", tuple(inputs), None, settings, work, layer)  # type: ignore[arg-type]


def _layer(bench: _Bench, index: int) -> None:
    """The router and the experts of a layer."""
    layout, start = bench.fit.layout, f"{STACK}.{index}"
    layer = (STACK, index)
    dtype = bench.dtype(f"{start}.mlp.gate_proj.weight")
    count, width = len(bench.mixture.experts), bench.fit.width
    _given(bench, f"{start}.{layout.router}", dtype, (count, width), layer, "a router")
    if layout.correction:
        _given(bench, f"{start}.{layout.correction}", "float32", (count,), layer, "no correction of the routing")
    for number, expert in enumerate(bench.mixture.experts):
        for part in PARTS:
            name = layout.expert.format(expert=number, part=layout.parts[part])
            bench.steps.append(_matrix(bench, expert, index, part, f"{start}.{name}"))
    if layout.shared:
        _shared(bench, index, dtype)


def _given(bench: _Bench, name: str, dtype: str, shape: tuple[int, ...], layer: Any, reason: str) -> None:
    """A tensor that comes from no member: zeros, unless something else is given for it later."""
    piece = bench.made(name, shape, zeros)
    bench.steps.append(Step(TensorSpec(name, dtype, shape), "copy", (piece,), layer=layer, reason=reason))


def _shared(bench: _Bench, index: int, dtype: str) -> None:
    """The expert that every token passes through; without one a silent one, because the class has a place for it."""
    layout, start, layer = bench.fit.layout, f"{STACK}.{index}", (STACK, index)
    assert layout.shared is not None
    for part in PARTS:
        name = f"{start}.{layout.shared.format(part=layout.parts[part])}"
        if bench.mixture.shared:
            bench.steps.append(_matrix(bench, bench.mixture.shared[0], index, part, name))
        else:
            inner, width = bench.silent, bench.fit.width
            shape = (width, inner) if part == "down_proj" else (inner, width)
            _given(bench, name, dtype, shape, layer, "a shared expert that adds nothing")
    if layout.shared_gate:
        _given(
            bench, f"{start}.{layout.shared_gate}", dtype, (1, bench.fit.width), layer, "the gate of the shared expert"
        )


def _matrix(bench: _Bench, expert: Expert, index: int, part: str, name: str) -> Step:
    """One matrix of an expert: (W + noise_scale · z), times residual_scale where the expert writes its output."""
    source = f"{STACK}.{index}.mlp.{part}.weight"
    out = TensorSpec(name, bench.dtype(source), bench.base.specs[source].shape)
    piece = Piece(bench.number[expert.model], source)
    scale = expert.residual_scale if part == "down_proj" else 1.0
    layer = (STACK, index)
    if expert.noise_scale == 0 and scale == 1:
        return Step(out, "copy", (piece,), layer=layer, reason="an expert")
    if expert.noise_scale == 0:
        return _combined(out, (piece,), (scale,), layer)
    drawn = bench.made(f"noise of {name}", out.shape, noise(bench.mixture.seed, name))
    return _combined(out, (piece, drawn), (scale, scale * expert.noise_scale), layer)


def _config(bench: _Bench) -> tuple[str, dict[str, Any]]:
    """The base's configuration with what makes it that of a mixture."""
    text, config = bench.base.config_text, bench.base.config
    assert text is not None
    assert config is not None
    fit, mixture = bench.fit, bench.mixture
    sizes = MixtureSizes(
        len(mixture.experts), mixture.per_token, fit.layers, fit.intermediate, bench.silent, fit.has_biases
    )
    wanted = mixture_config(fit.layout.name, fit.layout.architecture, config, sizes)
    if mixture.dtype:
        wanted["torch_dtype" if "torch_dtype" in config else "dtype"] = mixture.dtype
    changes = {key: value for key, value in wanted.items() if key not in config or config[key] != value}
    return patch_json(text, {(key,): value for key, value in changes.items()}), changes


def _plan(bench: _Bench, text: str, changes: Mapping[str, Any], left: Sequence[str]) -> Plan:
    models = [*(_facts(bench, ref) for ref in bench.mixture.members), _made_facts(bench)]
    used = {piece for step in bench.steps for piece in step.inputs}
    readers = [bench.readers[ref] for ref in bench.mixture.members]
    everything = [(i, name) for i, reader in enumerate(readers) for name in reader.specs]
    read = sum(readers[p.model].specs[p.tensor].stored_nbytes for p in used if p.model < len(readers))
    entries = tuple(ModelEntry(ref) for ref in bench.mixture.members)
    return Plan(
        recipe=Recipe("linear", models=entries, dtype=bench.mixture.dtype, root=bench.mixture.root),
        models=tuple(models),
        donor=0,
        steps=tuple(bench.steps),
        config_text=text,
        config_changes=changes,
        side_files=bench.base.side_files,
        notes=tuple(_notes(bench, left)),
        read=read,
        left_out=len(everything) - sum(p.model < len(readers) for p in used),
    )


def _facts(bench: _Bench, ref: ModelRef) -> ModelFacts:
    reader = bench.readers[ref]
    specs = reader.specs.values()
    return ModelFacts(
        ref=ref,
        label=reader.label,
        tensors=len(specs),
        parameters=sum(spec.numel for spec in specs),
        nbytes=sum(spec.stored_nbytes for spec in specs),
        dtypes=tuple(sorted({spec.stored or spec.dtype for spec in specs})),
        layers={STACK: bench.fit.layers},
        is_base=ref == bench.mixture.base,
        held=reader.held,
    )


def _made_facts(bench: _Bench) -> ModelFacts:
    numel = sum(spec.numel for spec in bench.specs.values())
    return ModelFacts(ModelRef(LABEL), LABEL, len(bench.specs), numel, 4 * numel, ("float32",), {})


def _notes(bench: _Bench, left: Sequence[str]) -> Iterator[str]:
    layout, mixture = bench.fit.layout, bench.mixture
    yield from (f"{reader.label}: {note}" for reader in bench.readers.values() for note in reader.notes)
    if left:
        yield f"{len(left)} buffers that the model derives are left out, such as {left[0]}"
    if mixture.others == "base" and (unused := sum(map(_besides, _experts_apart(bench)))):
        rest = f"{unused} other tensors are not; `others: average` takes their mean"
        yield f"of the experts only the MLPs are taken: {rest}"
    if layout.shared and not mixture.shared:
        yield f"{layout.name} always has a shared expert: one of zeros stands for none and adds nothing"
    if layout.shared_gate and any(not expert.positive for expert in mixture.shared):
        yield "the shared expert has no prompts: its gate is zero, so that half of its output is added"
    if not layout.renormalises and mixture.per_token < len(mixture.experts):
        yield f"transformers' {layout.name} does not make the weights of the chosen experts sum to 1"
    if not mixture.is_prompted:
        yield "the routers are random: which expert a token is sent to means nothing until they are trained"
    for alike in mixture.alike if mixture.is_prompted else ():
        same = f"experts {listed(alike)} have the same prompts and so the same rows in the routers"
        yield f"{same}: nothing tells them apart"
    others = [str(ref) for ref in mixture.members if _other_dtype(bench, ref)]
    if others:
        yield f"cast to the dtype of the output: {', '.join(others)}"


def _experts_apart(bench: _Bench) -> list[Reader]:
    """The members that are not the base."""
    return [reader for ref, reader in bench.readers.items() if ref != bench.mixture.base]


def _besides(reader: Reader) -> int:
    """How many tensors a model has that are no MLP's."""
    return sum(".mlp." not in name and not is_optional(name) for name in reader.specs)


def _other_dtype(bench: _Bench, ref: ModelRef) -> bool:
    name = f"{STACK}.0.mlp.gate_proj.weight"
    return bench.readers[ref].specs[name].usual_dtype != bench.dtype(name)


def with_routers(made: MixturePlan, rows: Mapping[int, Any], mixture: Mixture) -> Mapping[str, Source]:
    """What gives the tensors that come from no member, the routers among them.

    Args:
        made: the plan.
        rows: for every layer, the rows of `mixture.gated`.
        mixture: what was asked.
    """
    from cuvee.mixtures.made import stored

    layout, count = made.fit.layout, len(mixture.experts)
    sources = dict(made.sources)
    for index, values in rows.items():
        sources[f"{STACK}.{index}.{layout.router}"] = stored(values[:count])
        if layout.shared_gate and len(values) > count:
            sources[f"{STACK}.{index}.{layout.shared_gate}"] = stored(values[count:])
    return sources


def upcycled(
    model: ModelRef, count: int, *, per_token: int, noise_scale: float, gate_scale: float, **more: Any
) -> Mixture:
    """A mixture of copies of one model's MLPs, with a random router: sparse upcycling (Komatsuzaki et al. 2023)."""
    expert = Expert(model, noise_scale=noise_scale)
    made = Mixture(model, (expert,) * count, gate_mode="random", per_token=per_token, gate_scale=gate_scale)
    return replace(made, **more)
