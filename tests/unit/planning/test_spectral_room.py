"""Methods that factor whole matrices: what a plan says that they hold, and the refusal of too little memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cuvee import methods
from cuvee.errors import ResourceError
from cuvee.planning import Plan, Workers, fit_workers, peak_memory
from cuvee.planning.model import ModelFacts, Piece, Step
from cuvee.recipe.model import Recipe
from cuvee.types import ModelRef, TensorSpec

MIB = 1 << 20
SPECTRAL = ("tsv_m", "iso_c", "iso_cts", "knots", "opcm")
WORKERS = Workers(1, 1 << 19)


def plan_for(method: str, shape: tuple[int, int], models: int, tensors: int = 1) -> Plan:
    """A plan of a few matrices, of a base and fine-tunes."""
    refs = [ModelRef(str(i)) for i in range(models + 1)]
    numel = shape[0] * shape[1]
    facts = tuple(ModelFacts(ref, str(ref), 1, numel, 2 * numel, ("bfloat16",), {}) for ref in refs)
    base, *inputs = (Piece(i, "w") for i in range(models + 1))
    step = Step(TensorSpec("w", "bfloat16", shape), "merge", tuple(inputs), base, scope="matrix")
    steps = tuple(replace(step, out=replace(step.out, name=f"w{i}")) for i in range(tensors))
    return Plan(Recipe(method, ()), facts, 0, steps)


def beyond_a_sum(method: str, shape: tuple[int, int], models: int) -> int:
    """What it takes more than task arithmetic of tiles as large: what it holds of the tensor."""
    need, plain = (peak_memory(plan_for(m, shape, models), WORKERS, keeps=False) for m in (method, "task_arithmetic"))
    return need - plain


@pytest.mark.parametrize("method", SPECTRAL)
def test_memory_grows_with_the_matrix_by_its_factors(method: str) -> None:
    # a matrix in float64, U, V, a copy, and work arrays of as many entries as four of these: see LAPACK's gesdd
    for rows in (256, 1024, 4096):
        assert beyond_a_sum(method, (rows, 1024), 3) >= rows * 1024 * 8 * 8


def test_memory_grows_with_the_models_where_all_are_factored_as_one() -> None:
    few, many = (beyond_a_sum("knots", (1024, 1024), n) for n in (2, 6))
    assert many - few >= 4 * 1024 * 1024 * 8 * 5  # five arrays of float64 of each delta: measured


def test_regmean_solves_with_eigenvectors_of_wide_matrices() -> None:
    square, wide = (methods.get("regmean").factors(*shape, 4) for shape in ((1024, 1024), (256, 4096)))
    assert wide >= 4 * 8 * 4096**2
    assert square < wide


@pytest.mark.parametrize("method", SPECTRAL)
def test_smaller_tiles_do_not_help_and_fewer_workers_do(method: str) -> None:
    plan = plan_for(method, (2048, 2048), 3, tensors=4)
    assert peak_memory(plan, Workers(1, 1 << 13), keeps=False) >= peak_memory(plan, WORKERS, keeps=False)
    one, three = (peak_memory(plan, Workers(n, 1 << 19), keeps=False) for n in (1, 3))
    assert three > 2 * one - 300 * MIB
    assert fit_workers(plan, one).threads == 1


@pytest.mark.parametrize("method", SPECTRAL)
def test_too_little_is_refused_with_the_least_that_works(method: str) -> None:
    plan = plan_for(method, (4096, 2048), 4)
    with pytest.raises(ResourceError) as caught:
        fit_workers(plan, 600 * MIB)
    (fault,) = caught.value.faults
    assert fault.code == "memory"
    least = int(str(fault.hint).split("--max-memory to ")[1].split("MiB")[0])
    assert f"{least:,} MiB of memory at least, the limit is 600 MiB" in fault.message
    assert fit_workers(plan, least * MIB).threads == 1
    with pytest.raises(ResourceError):
        fit_workers(plan, (least - 1) * MIB)
