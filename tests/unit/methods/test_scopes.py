"""Rows, matrices and whole models: what a method of each scope is shown, however a merge is cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from cuvee.methods import METHODS, Job, Round, merge_method
from cuvee.methods.job import Survey
from cuvee.types import Cite, Param

SHAPE = (1500, 24)


@dataclass(frozen=True)
class Seen:
    """Counts that add up exactly."""

    entries: int
    largest: float

    def __add__(self, other: Seen) -> Seen:
        return Seen(self.entries + other.entries, max(self.largest, other.largest))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that a test declares are gone after it."""
    monkeypatch.setattr(METHODS, "_known", dict(METHODS._known))


def declared(function, scope, **more):
    return merge_method(
        space="weight", scope=scope, base="input", models=(1, None), formula="", cite=(Cite("none"),), **more
    )(function)


def inputs(count=3, shape=SHAPE) -> list[Tensor]:
    chance = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=chance) for _ in range(count)]


def test_a_row_method_sees_whole_rows(registry):
    def by_row(models: Tensor) -> Tensor:
        """Every row minus its mean."""
        assert models.shape[2] == SHAPE[1]
        return models[0] - models[0].mean(1, keepdim=True)

    method, models = declared(by_row, "row"), inputs()
    want = models[0] - models[0].mean(1, keepdim=True)
    for tile in (None, 1, 5000):
        assert torch.equal(method(models, tile=tile), want)


@pytest.mark.parametrize(("shape", "seen"), [((7,), (1, 7)), ((), (1, 1)), ((4, 3, 2), (4, 6)), ((5, 1), (5, 1))])
def test_what_a_row_is(registry, shape, seen):
    shapes = []

    def by_row(models: Tensor, draws: Tensor) -> Tensor:
        """As it is."""
        shapes.append((tuple(models.shape[1:]), tuple(draws.shape[1:])))
        return models[0]

    assert declared(by_row, "row")(inputs(2, shape)).shape == shape
    assert shapes == [(seen, seen)]


def test_a_matrix_method_sees_all_and_has_one_thread(registry):
    def by_matrix(models: Tensor) -> Tensor:
        """The first singular value times the first model."""
        assert models.shape[1:] == SHAPE
        assert torch.get_num_threads() == 1
        return models[0] * torch.linalg.svdvals(models[0])[0]

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        method, models = declared(by_matrix, "matrix"), inputs()
        assert torch.equal(method(models, tile=1), method(models))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_another_scope_where_a_setting_asks_for_it(registry):
    dims = []

    def either(models: Tensor, by_rows: bool) -> Tensor:
        """As it is."""
        dims.append(models.dim())
        return models[0]

    switch = Param("by_rows", "bool", "by rows", default=False)
    method = declared(either, "element", params=(switch,), scope_if=(("by_rows", True, "row"),))
    method(inputs())
    method(inputs(), by_rows=True)
    assert dims == [2, 3]


def test_a_survey_comes_before_everything_else(registry):
    def observe(stack: Tensor, _start: int, _job: Job, _known: None) -> Seen:
        return Seen(stack[0].numel(), float(stack.abs().max()))

    def after_survey(models: Tensor, whole: float) -> Tensor:
        """The first model over the largest magnitude of all."""
        return models[0] / whole

    def survey(job: Job, done: int, _known: None) -> Survey | None:
        def conclude(total: Seen, job: Job, _known: None) -> float:
            assert total.entries == job.numel
            return total.largest

        return Survey(Round(observe, lambda total, _job, _known: total), conclude) if done == 0 else None

    method, models = declared(after_survey, "model", survey=survey), inputs()
    want = models[0] / float(torch.stack(models).abs().max())
    for tile in (None, 1024):
        assert torch.equal(method(models, tile=tile), want)
