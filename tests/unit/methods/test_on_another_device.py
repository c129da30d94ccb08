"""No method mixes devices: tried without a GPU, on torch's device of tensors that have a shape and no data.

With the processor as the device such a mistake could not show. What needs data (histograms) is left to `make gpu`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from cuvee import methods
from cuvee.methods import Job
from cuvee.methods.call import bind
from cuvee.methods.gain import Trim
from cuvee.methods.pcb import Competition
from cuvee.methods.sce import Calculated
from cuvee.methods.ties import gain_first
from cuvee.methods.tiles import combine_tile, stack_of
from cuvee.tensors import Cut, round_to, total_weight
from cuvee.tensors.moving import moved

THERE, CPU = torch.device("meta"), torch.device("cpu")
SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"weight": [0.5, 0.5]},
    "task_arithmetic": {"weight": [0.5, 0.5], "normalize": True},
    "ties": {"weight": [0.5, 0.5], "density": 0.5},
    "dare_linear": {"weight": [0.5, 0.5], "density": 0.5, "normalize": True},
    "dare_ties": {"weight": [0.5, 0.5], "density": 0.5},
    "slerp": {"t": 0.3},
    "passthrough": {"scale": [0.5]},
    "nuslerp": {"weight": [0.5, 0.5]},
    "multislerp": {"weight": [0.5, 0.5]},
    "karcher": {"weight": [0.5, 0.5]},
    "sce": {"select_topk": 0.5},
    "ram": {},
    "ramplus_tl": {},
    "model_stock": {},
    "nearswap": {"t": 0.1},
    "breadcrumbs": {"weight": [0.5, 0.5], "density": 0.5, "normalize": True},
    "breadcrumbs_ties": {"weight": [0.5, 0.5], "density": 0.5},
    "compose": {"weight": [0.5, 0.5], "density": 0.5},
    "magmax": {},
    "emr": {},
    "pcb": {},
    "consensus_ta": {},
    "wise_ft": {},
    "expo": {},
    "task_negation": {},
    "task_analogy": {},
    "median": {},
    "trimmed_mean": {},
    "geometric_median": {},
}
COUNTS = {"passthrough": 1, "task_analogy": 3}
"""Models where there are not two."""

KNOWN: dict[str, Any] = {
    "ties": lambda: Trim(Cut(torch.ones(2), ((0, 3), (1, 2))), torch.ones(2)),
    "slerp": lambda: (0.3, 0.7),
    "nuslerp": lambda: (0.3, 0.7),
    "multislerp": lambda: (0.3, 0.7),
    "karcher": lambda: (0.3, 0.7),
    "sce": lambda: Calculated(Cut(torch.ones(1), ((0, 3),)), (0.3, 0.7)),
    "ramplus_tl": lambda: (0.01, 0.02),
    "model_stock": lambda: 0.4,
    "breadcrumbs": lambda: Trim(Cut(torch.ones(4), ((0, 3), (1, 2)) * 2), torch.ones(2)),
    "breadcrumbs_ties": lambda: Trim(Cut(torch.ones(4), ((0, 3), (1, 2)) * 2), torch.ones(2)),
    "compose": lambda: Trim(Cut(torch.ones(2), ((0, 3), (1, 2))), torch.ones(2)),
    "pcb": lambda: Competition(torch.zeros(2).double(), torch.ones(2).double(), Cut(torch.ones(2))),
    "geometric_median": lambda: (0.3, 0.7),
}


@pytest.fixture(autouse=True)
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without data cannot be fetched; ones stand for what would come."""
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: torch.ones(self.shape, dtype=self.dtype))


def tile(name: str, work: torch.dtype) -> tuple[methods.Method, torch.Tensor, torch.Tensor | None, Job]:
    chosen = methods.get(name)
    job = Job(bind(chosen.spec, SETTINGS[name], 2, CPU), 5000, work, (1, 2))
    values = [torch.empty(3000, dtype=torch.bfloat16, device=THERE) for _ in range(COUNTS.get(name, 2))]
    base = torch.empty(3000, dtype=torch.bfloat16, device=THERE) if chosen.spec.space == "delta" else None
    return chosen, stack_of(chosen, values, base, work), base, job


@pytest.mark.parametrize("work", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", SETTINGS)
def test_combine(name: str, work: torch.dtype) -> None:
    chosen, stack, base, job = tile(name, work)
    known = moved(KNOWN.get(name, lambda: None)(), THERE)
    merged = round_to(combine_tile(chosen, stack, base, 1024, job, known), torch.bfloat16)
    assert (merged.device, merged.dtype, merged.shape) == (THERE, torch.bfloat16, (3000,))


def test_the_passes_that_need_no_data() -> None:
    chosen, stack, _, job = tile("slerp", torch.float32)
    following = chosen.measure(job, 0, None)
    assert following is not None
    sums = following.observe(stack, 1024, job, None)
    assert sums.parts[1].device == THERE
    chosen, stack, _, job = tile("ties", torch.float32)
    cut = moved(Cut(torch.ones(2), ((0, 3), (1, 2))), THERE)
    following = gain_first(replace(job, settings=job.settings | {"rescale": True}), cut)
    assert following is not None
    assert following.observe(stack, 1024, job, cut).parts[1].device == THERE


def test_every_method_is_tried() -> None:
    offloaded = {n for n, spec in methods.specs().items() if spec.scope == "element" and spec.collected is None}
    assert offloaded == SETTINGS.keys()


def test_a_mistake_would_show() -> None:
    chosen, stack, base, job = tile("ties", torch.float32)
    with pytest.raises(RuntimeError, match=r"same device|expected device"):
        combine_tile(chosen, stack, base, 1024, job, KNOWN["ties"]())


def test_the_divisor_of_a_mean_stays_a_tensor_of_the_device() -> None:
    """A number of Python or of the processor would make CUDA multiply by its reciprocal."""
    assert total_weight(torch.empty(3, device=THERE)).device == THERE


def test_the_sum_of_weights_is_that_of_torch_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    weights = torch.rand(37, generator=torch.Generator().manual_seed(1))
    assert total_weight(weights).equal(weights.sum())
