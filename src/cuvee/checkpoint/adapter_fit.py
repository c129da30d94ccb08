"""Whether an adapter goes with a base, and which of the base's tensors each part of it changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cuvee.checkpoint.adapter import Adapter
from cuvee.checkpoint.adapter_names import Named, Shapes, match_names
from cuvee.checkpoint.adapter_promises import unheld_of_base
from cuvee.checkpoint.adapter_tensors import LowRank, TokenRows
from cuvee.checkpoint.adapter_tying import tie_faults
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, listed, nearest
from cuvee.families.names import is_vocabulary, role_of, spot_of, stack_sizes
from cuvee.types import DTYPES, TensorSpec

_TRANSPOSED_KINDS: Final = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp")
"""Model types of transformers whose layers are `Conv1D`: their weights stand as inputs by outputs."""

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Placed:
    """A change at its tensor; `turned` where the tensor stands as inputs by outputs, so that (B·A)ᵀ is added."""

    change: LowRank
    turned: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """What an adapter changes of a base, by the base's names.

    Attributes:
        changes: tensor → the change of low rank.
        biases: tensor → the change whose bias of B is added to it.
        whole: tensor → spec, in the adapter, of the one that takes its place; or that the base does not have.
        rows: tensor → rows that take the place of its own.
        notes: what the user should know.
        faults: what does not fit.
    """

    changes: dict[str, Placed] = field(default_factory=dict)
    biases: dict[str, LowRank] = field(default_factory=dict)
    whole: dict[str, TensorSpec] = field(default_factory=dict)
    rows: dict[str, TokenRows] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def touched(self) -> frozenset[str]:
        """The tensors that are changed, replaced or added."""
        return frozenset((*self.changes, *self.biases, *self.whole, *self.rows))


def fit_adapter(adapter: Adapter, base: Reader) -> Fit:
    """Lay an adapter over a base; headers are read, and of tied embeddings what must be the same.

    Args:
        adapter: the adapter.
        base: the base, as plain floats.

    Returns:
        What it changes; with an `adapter-mismatch` for everything that the base does not have, or has in another shape.
    """
    fit = Fit()
    wanted = _wanted(adapter)
    tied, dropped = tie_faults(adapter, base)
    fit.faults.extend(tied)
    named = match_names({name: shapes for name, shapes in wanted.items() if name not in dropped}, base.specs)
    sides = _Sides(adapter, base, named)
    fit.faults.extend(_doubled(sides))
    for change in adapter.changes.values():
        if f"{change.module}.weight" not in dropped:
            _place_change(change, sides, fit)
    for name, spec in adapter.whole.items():
        if name not in dropped:
            _place_whole(name, spec, sides, fit)
    for rows in adapter.rows.values():
        _place_rows(rows, sides, fit)
    for prefix in named.prefixes:
        said = f"`{prefix.taken}` of its names is `{prefix.put}` in {base.label}" if prefix.taken else ""
        fit.notes.append(f"{adapter.label}: {said or f'its names stand behind `{prefix.put}` in {base.label}'}")
    matrices = (name for name, spec in base.specs.items() if len(spec.shape) == 2)
    lacking = unheld_of_base(adapter.settings, fit.touched | dropped, fit.changes, matrices, base.specs)
    fit.notes.extend(f"{adapter.label}: {said}" for said in lacking)
    if len(fit.faults) > _SHOWN:
        more = f"{adapter.label}: and {len(fit.faults) - _SHOWN:,} more that do not fit {base.label}"
        fit.faults[_SHOWN:] = [Fault("adapter-mismatch", more, subject=adapter.label)]
    fit.faults[:] = list(_said_once(fit.faults))
    return fit


def _said_once(faults: Sequence[Fault]) -> Iterator[Fault]:
    """Faults whose hints are not those of others before them."""
    said: set[str | None] = set()
    for fault in faults:
        yield replace(fault, hint="") if fault.hint in said else fault
        said.add(fault.hint)


@dataclass(frozen=True, slots=True)
class _Sides:
    """An adapter and a base, with the names that were found."""

    adapter: Adapter
    base: Reader
    named: Named

    def fault(self, subject: str, what: str, hint: str | None = None) -> Fault:
        """An `adapter-mismatch`."""
        trained = (
            f"it was trained on `{self.adapter.base}`" if self.adapter.base else "name the model it was trained on"
        )
        message = f"{self.adapter.label} does not fit {self.base.label}: {what}"
        return Fault("adapter-mismatch", message, subject=subject, hint=hint or trained)

    def lacking(self, name: str) -> Fault:
        """A fault for a tensor that the base does not have, or has more than once."""
        if several := self.named.several.get(name):
            return self.fault(name, f"`{name}` could be {listed(several, between=' or ')}")
        spot = spot_of(name)
        near = [other for other in self.base.specs if spot is None or ((s := spot_of(other)) and s.rest == spot.rest)]
        stacks = {other.prefix for one in near if spot and (other := spot_of(one))}
        count = stack_sizes(self.base.specs).get(next(iter(stacks)), 0) if len(stacks) == 1 else 0
        if spot is not None and 0 < count <= spot.index:
            has = f"`{stacks.pop()}` has {count} {'layer' if count == 1 else 'layers'} there"
            return self.fault(name, f"it changes `{name}`, and {has}")
        hint = nearest(name, near) if near else ""
        example = next((other for other in self.base.specs if spot_of(other)), next(iter(self.base.specs), ""))
        trained = f"it was trained on `{self.adapter.base}`; " if self.adapter.base else ""
        known = hint if hint.startswith("did you mean") else f"{trained}names there are like `{example}`"
        return self.fault(name, f"it changes `{name}`, which the base does not have", known)


def _wanted(adapter: Adapter) -> dict[str, Shapes]:
    """The tensors of the base that an adapter needs, with the shapes that fit."""
    wanted: dict[str, Shapes] = {name: (spec.shape,) for name, spec in adapter.whole.items()}
    for change in adapter.changes.values():
        out, inputs = change.b.shape[0], change.a.shape[1]
        wanted[f"{change.module}.weight"] = ((inputs, out),) if change.is_embedding else ((out, inputs), (inputs, out))
        if change.bias is not None:
            wanted[f"{change.module}.bias"] = ((out,),)
    for rows in adapter.rows.values():
        wanted.setdefault(f"{rows.module}.weight", ())
    return wanted


def _doubled(sides: _Sides) -> Iterator[Fault]:
    """Several names that lead to one tensor, as a module with and without a prefix: all but one would be lost."""
    names: dict[str, list[str]] = {}
    for name, at in sides.named.found.items():
        names.setdefault(at, []).append(name)
    hint = "it holds two adapters whose names differ; apply them one after the other, as they were before"
    for at, several in names.items():
        if len(several) > 1:
            said = listed((f"`{name}`" for name in several), between=" and ")
            yield sides.fault(at, f"{said} are both `{at}` there, and only one change of it can be made", hint)


def _place_change(change: LowRank, sides: _Sides, fit: Fit) -> None:
    name = sides.named.found.get(f"{change.module}.weight")
    if name is None:
        fit.faults.append(sides.lacking(f"{change.module}.weight"))
        return
    spec, out, inputs = sides.base.specs[name], change.b.shape[0], change.a.shape[1]
    fitting = [turned for turned, shape in ((False, (out, inputs)), (True, (inputs, out))) if spec.shape == shape]
    if change.is_embedding:
        fitting = [turned for turned in fitting if turned] if out != inputs else [True]
    if not fitting or DTYPES[spec.dtype].kind != "float":
        what = f"`{name}` is {_sized(spec)} there; B·A is {out}×{inputs}" + (" and transposed" * change.is_embedding)
        fit.faults.append(sides.fault(name, what))
        return
    turned = fitting[0] if len(fitting) == 1 else _is_turned(change, sides)
    fit.changes[name] = Placed(change, turned)
    if change.bias is not None:
        _place_bias(change, sides, fit)


def _place_bias(change: LowRank, sides: _Sides, fit: Fit) -> None:
    name = sides.named.found.get(f"{change.module}.bias")
    if name is None:
        what = f"B of `{change.module}` has a bias, and the base's module has none that it could be added to"
        fit.faults.append(sides.fault(change.module, what))
    elif sides.base.specs[name].shape != (change.b.shape[0],):
        fit.faults.append(sides.fault(name, f"`{name}` is {_sized(sides.base.specs[name])} there"))
    else:
        fit.biases[name] = change


def _is_turned(change: LowRank, sides: _Sides) -> bool:
    """Which way a square weight stands: as those beside it that are not square, else as the configuration says.

    `fan_in_fan_out` is one word for all modules, and PEFT overrules it module by module; so it may be that of another.
    """
    own = spot_of(change.module)
    for other in sides.adapter.changes.values():
        spot = spot_of(other.module)
        name = sides.named.found.get(f"{other.module}.weight")
        if name is None or spot is None or own is None or spot.prefix != own.prefix or other.is_embedding:
            continue
        shape, out, inputs = sides.base.specs[name].shape, other.b.shape[0], other.a.shape[1]
        if out != inputs and shape in ((out, inputs), (inputs, out)):
            return shape == (inputs, out)
    kind = (sides.base.config or {}).get("model_type")
    return change.transposed or (own is not None and kind in _TRANSPOSED_KINDS)


def _place_whole(name: str, spec: TensorSpec, sides: _Sides, fit: Fit) -> None:
    at = sides.named.found.get(name)
    if at is None and _is_new_head(name, sides):
        fit.whole[name] = spec
        note = f"{sides.adapter.label} adds {name}, which {sides.base.label} does not have; config.json stays as it is"
        fit.notes.append(note)
    elif at is None:
        fit.faults.append(sides.lacking(name))
    elif sides.base.specs[at].shape != spec.shape:
        what = f"`{at}` is {_sized(sides.base.specs[at])} there and {_sized(spec)} in the adapter"
        resized = "the vocabulary was resized for training: resize the base in the same way first"
        fit.faults.append(sides.fault(at, what, resized if is_vocabulary(at) else None))
    elif DTYPES[sides.base.specs[at].dtype].kind != "float":
        fit.faults.append(sides.fault(at, f"`{at}` holds {sides.base.specs[at].dtype} there"))
    else:
        fit.whole[at] = spec


def _is_new_head(name: str, sides: _Sides) -> bool:
    """Whether a tensor belongs to a head that was trained from nothing, as for classification."""
    module = name.rpartition(".")[0]
    saved = any(module == one or f".{one}." in f".{module}." for one in sides.adapter.settings.saved_modules)
    known = any(other.startswith(f"{module}.") for other in sides.base.specs)
    return (
        saved
        and not known
        and role_of(name) == "head"
        and not is_vocabulary(name)
        and not sides.named.several.get(name)
    )


def _place_rows(rows: TokenRows, sides: _Sides, fit: Fit) -> None:
    wanted = f"{rows.module}.weight"
    # the height of the base's embedding is not known from the adapter: any that has these rows will do
    names = sides.named.found.get(wanted) or next(
        (other for other in _led(wanted, sides) if other in sides.base.specs), None
    )
    if names is None:
        fit.faults.append(sides.lacking(wanted))
        return
    spec = sides.base.specs[names]
    if names in fit.whole or names in fit.rows:
        fit.faults.append(sides.fault(names, f"rows of `{names}` take its place, and something else does as well"))
    elif len(spec.shape) != 2 or spec.shape[1] != rows.spec.shape[1] or DTYPES[spec.dtype].kind != "float":
        what = f"`{names}` is {_sized(spec)} there; the adapter's rows are {rows.spec.shape[1]} wide"
        fit.faults.append(sides.fault(names, what))
    elif max(rows.tokens, default=0) >= spec.shape[0]:
        what = f"it trained token {max(rows.tokens)}, and `{names}` has {spec.shape[0]} rows"
        fit.faults.append(sides.fault(names, what))
    else:
        fit.rows[names] = rows


def _led(name: str, sides: _Sides) -> Iterator[str]:
    """Where the prefixes that other names needed lead a name."""
    for prefix in sides.named.prefixes:
        if (other := prefix.apply(name)) is not None:
            yield other


def _sized(spec: TensorSpec) -> str:
    return f"{'×'.join(map(str, spec.shape)) or '1'} {spec.dtype}"


def trained_elsewhere(adapter: Adapter, given: str) -> str | None:
    """A note where an adapter says that it was trained on a model of another name than the base given."""
    if base_name(adapter) in ("", _last(given)):
        return None
    return f"{adapter.label} was trained on `{adapter.base}`, and all its shapes fit {given}"


def base_name(adapter: Adapter) -> str:
    """The last part of the path or hub id of the model that an adapter was trained on; empty where it names none."""
    return _last(adapter.base or "")


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
