"""Figures against slow references: distances, cosines, signs, directions, rank; and what is read for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from cuvee.checkpoint import MemoryReader
from cuvee.preflight import sample, sums, vectors

NOTHING = lambda: None  # noqa: E731
SHAPES = {"layers.0.w": (24, 16), "layers.1.w": (24, 16), "norm": (16,)}


def model(seed: int, noise: float = 1.0, over: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = {n: noise * torch.randn(shape, generator=generator) for n, shape in SHAPES.items()}
    return {n: t + (over[n] if over else 0.0) for n, t in drawn.items()}


def readers(*models: dict[str, Tensor]) -> list[MemoryReader]:
    return [MemoryReader(f"m{i}", m) for i, m in enumerate(models)]


def numbers(tensors: dict[str, Tensor], names: Sequence[str] = tuple(SHAPES)) -> list[float]:
    return [x for name in names for x in tensors[name].double().flatten().tolist()]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def minus(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


@pytest.fixture
def family() -> list[dict[str, Tensor]]:
    base = model(0)
    return [model(1, 0.1, base), model(2, 0.1, base), base]


def test_all_figures_of_task_vectors_follow_from_distances(family: list[dict[str, Tensor]]) -> None:
    opened = readers(*family)
    found = sums.added(sums.sums_of(opened, sample.shares_of(opened, 1 << 20, 0), NOTHING), (0, 1, 2))
    a, b, base = (numbers(m) for m in family)
    ta, tb = minus(a, base), minus(b, base)
    assert found.task_cosine() == pytest.approx(cosine(ta, tb), abs=1e-12)
    assert found.relative(0, 2) == pytest.approx(math.sqrt(dot(ta, ta) / dot(base, base)), rel=1e-12)
    assert found.cosine() == pytest.approx(cosine(a, b), abs=1e-12)


def test_cosines_of_weights_leave_vectors_out(family: list[dict[str, Tensor]]) -> None:
    opened = readers(*family)
    found = sums.added(sums.sums_of(opened, sample.shares_of(opened, 1 << 20, 0), NOTHING), (0, 1), matrices=True)
    names = ("layers.0.w", "layers.1.w")
    assert found.cosine() == pytest.approx(cosine(numbers(family[0], names), numbers(family[1], names)), abs=1e-12)
    assert found.tensors == 2


def test_a_sample_estimates_the_whole() -> None:
    base = {"w": torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))}
    tuned = [{"w": base["w"] + 0.1 * torch.randn(4000, 32, generator=torch.Generator().manual_seed(s))} for s in (1, 2)]
    opened = readers(*tuned, base)
    shares = sample.shares_of(opened, 64 << 10, 0)
    told = sample.told(shares, 0)
    assert (told.nbytes, told.whole, told.of) == (64 << 10, 0, 4000 * 32)
    found = sums.added(sums.sums_of(opened, shares, NOTHING), (0, 1, 2))
    assert found.relative(0, 2) == pytest.approx(0.1, rel=0.05)
    assert found.entries == 4000 * 32


def test_what_is_read_in_part_counts_as_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    base = {"large": torch.randn(4000, 32, generator=generator), "small": torch.randn(10, 32, generator=generator)}
    opened = readers({"large": base["large"], "small": 2 * base["small"]}, base)
    found = sums.added(sums.sums_of(opened, sample.shares_of(opened, 20_000, 0), NOTHING), (0, 1))
    assert found.relative() == pytest.approx(math.sqrt(10 / 4010), rel=0.1)
    assert found.equal[0, 1] / found.entries == pytest.approx(4000 / 4010)


def test_the_same_seed_reads_the_same_rows_and_another_one_others() -> None:
    opened = readers(*({"w": torch.zeros(500, 8), "v": torch.zeros(900, 8)} for _ in range(2)))
    first, again, other = (sample.shares_of(opened, 4000, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    alone = sample.shares_of(readers(*({"w": torch.zeros(500, 8)} for _ in range(2))), 2000, 1)
    assert next(s for s in first if s.name == "w") == alone[0]  # whatever other tensors there are


def test_small_tensors_are_read_whole_and_every_one_is_looked_at() -> None:
    opened = readers(*({"a": torch.zeros(4, 4), "b": torch.zeros(1000, 16), "c": torch.zeros(9000)} for _ in range(2)))
    shares = {s.name: s for s in sample.shares_of(opened, 6000, 0)}
    assert shares["a"].is_whole
    assert 0 < shares["b"].entries < 16000
    assert {s.name: len(s.units) for s in sample.shares_of(opened, 0, 0)} == {"a": 1, "b": 1, "c": 1}


def test_runs_cover_the_chosen_rows_once() -> None:
    share = sample.Share("w", (100, 7), (0, 1), "float32", 7, (0, 1, 2, 50, 98, 99))
    assert list(share.runs()) == [(0, 21), (350, 357), (686, 700)]
    assert share.entries == 42
    blocks = sample.Share("v", (9000,), (0, 1), "float32", 4096, (0, 1, 2))
    assert list(blocks.runs()) == [(0, 9000)]
    assert blocks.is_whole


def test_only_what_models_have_alike_is_read() -> None:
    one = {"w": torch.ones(4, 4), "x": torch.ones(3), "n": torch.ones(2, dtype=torch.int64)}
    two = {"w": torch.ones(4, 4), "x": torch.ones(5), "n": torch.ones(2, dtype=torch.int64)}
    assert [s.name for s in sample.shares_of(readers(one, two), 1 << 20, 0)] == ["w"]


def test_rounding_is_no_change() -> None:
    base = model(0)
    opened = readers({n: t.to(torch.bfloat16) for n, t in base.items()}, base)
    found = sums.added(sums.sums_of(opened, sample.shares_of(opened, 1 << 20, 0), NOTHING), (0, 1))
    assert found.distance[0, 1] == 0
    assert found.equal[0, 1] == found.entries


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    spoilt = model(1)
    spoilt["norm"][3] = math.nan
    spoilt["layers.0.w"][0, 0] = math.inf
    opened = readers(spoilt, model(2))
    found = sums.sums_of(opened, sample.shares_of(opened, 1 << 20, 0), NOTHING)
    assert sum(s.nonfinite[0] for s in found) == 2
    assert math.isfinite(sums.added(found, (0, 1)).distance[0, 1])


def test_signs_are_counted_where_both_have_changed(family: list[dict[str, Tensor]]) -> None:
    family[0]["layers.0.w"][:12] = family[2]["layers.0.w"][:12]
    opened = readers(*family)
    found = vectors.vectors_of(opened, sample.shares_of(opened, 1 << 20, 0), (0, 1), 2, NOTHING)
    a, b, base = (numbers(m) for m in family)
    products = [x * y for x, y in zip(minus(a, base), minus(b, base), strict=True)]
    both = [p for p in products if p]
    assert found.conflict((0, 1)) == sum(p < 0 for p in both) / len(both)
    assert found.both_changed((0, 1)) == len(both) / len(products)
    layer = minus(numbers(family[0], ["layers.0.w"]), numbers(family[2], ["layers.0.w"]))
    other = minus(numbers(family[1], ["layers.0.w"]), numbers(family[2], ["layers.0.w"]))
    own = [x * y for x, y in zip(layer, other, strict=True) if x * y]
    assert found.conflict((0, 1), "layers.0") == sum(p < 0 for p in own) / len(own)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 60.0, 90.0])
def test_overlap_is_the_mean_of_squared_cosines_of_principal_angles(degrees: float) -> None:
    """Two planes in four dimensions that share one direction and have an angle in the other."""
    angle = math.radians(degrees)
    a = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]], dtype=torch.float64).T
    b = torch.tensor([[1.0, 0, 0, 0], [0, math.cos(angle), math.sin(angle), 0]], dtype=torch.float64).T
    assert vectors.overlap(a, b) == pytest.approx((1 + math.cos(angle) ** 2) / 2)
    turn = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q
    assert vectors.overlap(a @ turn, b) == pytest.approx((1 + math.cos(angle) ** 2) / 2)  # whatever basis


def test_directions_of_low_rank_changes() -> None:
    generator = torch.Generator().manual_seed(0)

    def low(rank: int) -> Tensor:
        up, down = (torch.randn(n, rank, generator=generator, dtype=torch.float64) for n in (40, 32))
        return up @ down.T

    one = low(2)
    found = vectors.factored({0: one, 1: one * 3, 2: low(2)}, is_whole=True)
    assert found.k == 2
    assert found.rank[0] <= 2 / 32
    assert found.left[0, 1] == pytest.approx(1)
    assert found.right[0, 1] == pytest.approx(1)
    assert found.right[0, 2] < 0.5
    full = vectors.factored({0: torch.randn(40, 32, dtype=torch.float64, generator=generator)}, is_whole=True)
    assert full.rank[0] > 0.4


def test_rows_of_a_sample_have_no_left_directions(family: list[dict[str, Tensor]]) -> None:
    deltas = {0: torch.randn(20, 30, dtype=torch.float64), 1: torch.randn(20, 30, dtype=torch.float64)}
    assert vectors.factored(deltas, is_whole=False).left == {}


def test_a_model_without_changes_has_no_directions() -> None:
    found = vectors.factored({0: torch.zeros(9, 9, dtype=torch.float64), 1: torch.eye(9).double()}, is_whole=True)
    assert set(found.rank) == {1}
    assert found.right == {}
