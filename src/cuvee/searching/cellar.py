"""The models of a search, held in memory, and candidates merged from them: never written, with the bytes of a merge.

tensors of the models      read once, while there is room
stacks of a tensor         values or deltas in the dtype of the arithmetic, kept while there is room
passes of a method         kept, see `prepared`
decompositions             of matrices that were seen before, kept while there is room
a candidate                the method's own `combine` on these stacks, rounded to the output's dtype
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
import xxhash
from torch import Tensor

from cuvee import methods, tensors
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, ResourceError
from cuvee.execute.caught import Caught
from cuvee.execute.kept import Kept
from cuvee.execute.ledger import Ledger
from cuvee.execute.preflight import preflight
from cuvee.execute.settling import settle
from cuvee.execute.surveying import survey
from cuvee.execute.work import Bench, Tile, all_finite, read_tile
from cuvee.methods import Job, Round
from cuvee.methods.tiles import combine_tile, observed
from cuvee.planning import Plan, Step, Workers, bind
from cuvee.planning.model import Evaluated
from cuvee.planning.room import PASS_TILE
from cuvee.recipe import Recipe, recipe_hash
from cuvee.searching.prepared import Prepared
from cuvee.tensors.factors import Factors

_FEW: Final = 2
_SINGLE: Final = 3
"""Copies of a model besides what is kept: the candidate, the module that it is put into, one for torch's own needs."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A merged model: its tensors by name, and the text of its configuration if it has one."""

    label: str
    config_text: str | None
    tensors: dict[str, Tensor]


class Cellar:
    """Merges candidates from models that stay open.

    Args:
        open_models: gives the readers of a recipe's models, in the order of plans; they stay open.
        seed: seed of random masks.
        room: bytes that stacks may take.
    """

    def __init__(self, open_models: Callable[[Recipe], Sequence[Reader]], *, seed: int, room: int) -> None:
        self._open = open_models
        self._seed = seed
        self._kept: Kept[Any] = Kept(room, _FEW)
        self._compared: set[str] = set()
        self.prepared = Prepared()
        self.factored = 0
        """Decompositions that were made, for tests and benchmarks."""

    def plan(self, recipe: Recipe) -> Plan:
        """What a candidate would be, from headers.

        Raises:
            RecipeError, InputError: as planning says.
        """
        return bind(recipe, self._open(recipe), methods.get(recipe.method).spec)

    @torch.no_grad()
    def merged(self, recipe: Recipe) -> Candidate:
        """Merge a candidate.

        Raises:
            RecipeError: its models do not have what it asks for.
            InputError: its models do not fit each other; a value that is not finite.
        """
        method, readers = methods.get(recipe.method), self._open(recipe)
        plan = bind(recipe, readers, method.spec)
        plan = settle(plan, readers, method, seed=self._seed, workers=Workers(1, PASS_TILE))
        self._compare(plan, readers)
        ledger = Ledger(plan, hashes=False, progress=None)
        bench = Bench(plan, readers, Caught(), method, ledger, self._seed)
        bench = replace(bench, whole=survey(bench, threads=1, tile=PASS_TILE))
        made = {step.out.name: self._made(bench, step) for step in plan.steps}
        return Candidate(recipe.name or "a candidate", plan.config_text, made)

    def _compare(self, plan: Plan, readers: Sequence[Reader]) -> None:
        """Compare what has to be equal in the models, once for the same models."""
        key = repr([(reader.label) for reader in readers]) + repr([step.must_equal for step in plan.steps])
        if key not in self._compared:
            preflight(plan, readers)
            self._compared.add(key)

    def _made(self, bench: Bench, step: Step) -> Tensor:
        out = getattr(torch, step.out.dtype)
        if not step.out.numel:
            return torch.empty(step.out.shape, dtype=out)
        if step.action == "copy":
            piece = step.inputs[0]
            values = bench.readers[piece.model].read(piece.tensor, 0, step.out.numel)
            return tensors.round_to(values, out).clone().reshape(step.out.shape)
        merged = tensors.round_to(self._combined(bench, step), out)
        if merged.is_floating_point() and merged.dtype.itemsize > 1 and not all_finite(merged):
            message = f"tensor {step.out.name}: a merged value is too large for {step.out.dtype}, or not a number"
            raise InputError(Fault("non-finite", message, subject=step.out.name))
        return merged.reshape(step.out.shape)

    def _combined(self, bench: Bench, step: Step) -> Tensor:
        """The merged tensor, flat, in the dtype of the arithmetic, with memory of its own."""
        job, key = bench.job(step), _key(bench, step)
        whole: Tile = self._kept.get(key, stack_bytes(step), lambda: read_tile(bench, step, 0, step.out.numel, job))

        def show(following: Round, watched: Job, known: Any) -> Any:
            return observed(following, whole.stack, 0, watched, known)

        known = self.prepared.known(key, bench.method, job, show)
        with tensors.factors_kept(self._factors):
            merged = combine_tile(bench.method, whole.stack, whole.base, 0, job, known, whole.collected)
        kept = [whole.stack, *([] if whole.base is None else [whole.base])]
        shared = any(merged.untyped_storage().data_ptr() == one.untyped_storage().data_ptr() for one in kept)
        return merged.clone() if shared else merged

    def _factors(self, matrix: Tensor, make: Callable[[], Factors]) -> Factors:
        """The factors of a matrix, made once: deltas are the same for every candidate, whatever stands before them."""
        digest = xxhash.xxh3_128_hexdigest(matrix.contiguous().numpy().data)
        nbytes = 8 * min(matrix.shape) * (sum(matrix.shape) + 1)

        def made() -> Factors:
            self.factored += 1
            return make()

        found: Factors = self._kept.get(f"factors {tuple(matrix.shape)} {digest}", nbytes, made)
        return found


def _key(bench: Bench, step: Step) -> str:
    """What a stack consists of: models by reference and tensor, and how they stand in it."""
    models = bench.plan.models
    inner = [reader.plan.recipe if isinstance(reader, Evaluated) else None for reader in bench.readers]
    made = ["" if recipe is None else recipe_hash(recipe) for recipe in inner]
    pieces = [(str(models[p.model].ref), made[p.model], p.tensor) for p in (*step.pieces, *step.collected)]
    return repr((pieces, step.base is None, bench.method.spec.space, step.work, bench.method.spec.collected))


def needed(plans: Sequence[Plan]) -> int:
    """Bytes that any candidate takes, activations aside: copies of the model in float32, stacks of one tensor."""
    models = max((4 * sum(step.out.numel for step in plan.steps) for plan in plans), default=0)
    stacks = max((stack_bytes(step) for plan in plans for step in plan.steps), default=0)
    return _SINGLE * models + (_FEW + 1) * stacks


def room_for(least: int, wanted: int, limit: int | None, free: int | None) -> int:
    """Bytes that models and their stacks may take besides what any candidate does.

    Args:
        least: bytes that any candidate takes.
        wanted: bytes for everything that may be kept.
        limit: most memory; half of what is free without it.
        free: what is free, if that is known.

    Raises:
        ResourceError: not even one candidate fits.
    """
    most = limit if limit is not None else None if free is None else free // 2
    if most is not None and most < least:
        message = (
            f"merging in memory takes copies of a model in float32 and stacks of one tensor, {least / 2**20:,.1f} "
            f"MiB, besides the models where there is room; {most / 2**20:,.1f} MiB may be taken"
        )
        raise ResourceError(Fault("memory", message, hint="a larger --max-memory, or a machine with more memory"))
    return wanted if most is None else min(wanted, most - least)


def stack_bytes(step: Step) -> int:
    """Bytes of the stack of a tensor, the base beside it."""
    return step.out.numel * (len(step.pieces) + 1) * (8 if step.work == "float64" else 4)
