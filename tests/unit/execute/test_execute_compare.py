"""Comparing two models: the figures, their grouping, and what has none."""

from __future__ import annotations

import math
from fractions import Fraction
from operator import mul, sub

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cuvee.checkpoint import MemoryReader
from cuvee.execute.compare import Comparison, Scaled, Sums, compare

CONFIG = {"num_hidden_layers": 2}


def compared(a: dict[str, Tensor], b: dict[str, Tensor], base: dict[str, Tensor] | None = None) -> Comparison:
    readers = [None if t is None else MemoryReader(n, t, CONFIG) for n, t in (("a", a), ("b", b), ("base", base))]
    assert readers[0] is not None
    assert readers[1] is not None
    return compare(readers[0], readers[1], readers[2])


def of(*values: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {"w": torch.tensor(values, dtype=dtype)}


def values(sums: Sums) -> list[float]:
    """Squared norms and products, as they are."""
    given = (sums.aa, sums.bb, sums.ab, sums.dd, *([] if sums.base is None else [sums.base]))
    return [math.ldexp(x.number, x.power) for x in given]


def test_the_figures_by_hand() -> None:
    found = compared(of(3, 4, 0), of(-6, 8, 5)).total
    assert values(found) == [25.0, 125.0, 14.0, 81.0 + 16.0 + 25.0]
    assert found.cosine == pytest.approx(14 / math.sqrt(25 * 125))
    assert found.norm_ratio == pytest.approx(math.sqrt(5))
    assert found.relative_difference == pytest.approx(math.sqrt(122) / 5)
    assert (found.opposed, found.both, found.entries, found.sign_conflict) == (1, 2, 3, 0.5)


def test_the_figures_of_deltas_by_hand() -> None:
    found = compared(of(2, 2), of(1, 4), of(1, 2)).total
    assert values(found) == [1.0, 4.0, 0.0, 5.0, 5.0]
    assert (found.cosine, found.norm_ratio, found.relative_difference) == (0.0, 2.0, 1.0)
    assert found.sign_conflict is None


def test_what_has_no_figure_has_none() -> None:
    nothing = compared(of(0, 0), of(0, 0)).total
    figures = (nothing.cosine, nothing.norm_ratio, nothing.relative_difference, nothing.sign_conflict)
    assert figures == (None, None, None, None)
    some = compared(of(0, 0), of(1, 0)).total
    assert (some.cosine, some.norm_ratio, some.relative_difference, some.sign_conflict) == (None, None, None, None)


def test_a_base_of_zeros_is_no_scale() -> None:
    found = compared(of(2, 0), of(1, 0), of(0, 0)).total
    assert (values(found)[-1], found.relative_difference, found.norm_ratio) == (0.0, None, 0.5)


def test_a_base_of_zeros_in_one_tensor_is_not_taken_for_none() -> None:
    """The sum over several tensors, one of which adds nothing."""
    a, b = {**of(2), "x": torch.ones(1)}, {**of(1), "x": torch.ones(1)}
    found = compared(a, b, {**of(4), "x": torch.zeros(1)})
    assert (values(found.total)[-1], found.total.relative_difference) == (16.0, 0.25)
    assert compared(a, b).total.base is None


def test_opposite_models() -> None:
    found = compared(of(0.1, 0.2, 0.3), of(-0.1, -0.2, -0.3)).total
    assert (found.cosine, found.sign_conflict) == (pytest.approx(-1.0), 1.0)


def test_a_cosine_never_leaves_its_range() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        w = {"w": torch.randn(7, generator=generator)}
        assert compared(w, {"w": w["w"] * 3}).total.cosine <= 1.0  # type: ignore[operator]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize("where", ["a", "b", "base"])
def test_what_is_not_finite_has_no_figures(odd: float, where: str) -> None:
    models = {name: of(odd if name == where else 1, 2) for name in ("a", "b", "base")}
    found = compared(*models.values()).total
    assert (found.cosine, found.norm_ratio, found.relative_difference) == (None, None, None)


# --- values of any size, against exact arithmetic

wide_floats = st.builds(
    math.ldexp,
    st.sampled_from([0.0, 1.0, -1.0, 0.75, -0.6]),
    st.sampled_from([-1010, -900, -420, -1, 0, 420, 900, 1023]),
)
rows = st.lists(st.tuples(wide_floats, wide_floats, wide_floats), min_size=1, max_size=4)


def root(square: Fraction) -> Fraction:
    """A square root, far more precise than a float."""
    return Fraction(math.isqrt(int(square * 4**2400))) / 2**2400


def nearly(found: float | None, exact: Fraction | None, slack: Fraction = Fraction(0)) -> bool:
    """Whether a figure is the exact one, or there is none that a float can hold."""
    if found is None or exact is None:
        return found is None and (exact is None or exact > 1.7e308)
    return abs(Fraction(found) - exact) <= (abs(exact) + slack) / 10**12 + Fraction(2.0**-1074)


@given(rows, st.booleans())
def test_figures_of_values_of_any_size(rows: list[tuple[float, float, float]], over_base: bool) -> None:
    found = compared(*(of(*c, dtype=torch.float64) for c in list(zip(*rows))[: 3 if over_base else 2])).total
    exact = [[Fraction(value) for value in row] for row in rows]
    a, b = ([row[i] - (row[2] if over_base else 0) for row in exact] for i in (0, 1))
    aa, bb, ab, dd, base = (
        sum(map(mul, x, y))
        for x, y in ((a, a), (b, b), (a, b), *[[list(map(sub, a, b))] * 2], [[r[2] for r in exact]] * 2)
    )
    scale = base if over_base else aa
    assert nearly(found.cosine, ab / root(aa * bb) if aa and bb else None, Fraction(1))
    assert nearly(found.norm_ratio, root(bb) / root(aa) if aa else None)
    lost = (root(aa) + root(bb)) / root(scale) if over_base and scale else Fraction(0)  # where deltas are rounded
    assert nearly(found.relative_difference, root(dd) / root(scale) if scale else None, lost)


def test_layers_of_very_different_sizes_are_added_up() -> None:
    a = {f"w{i}": torch.tensor([2.0**i, 0.0], dtype=torch.float64) for i in (-1000, 0, 1000)}
    b = {name: values.roll(i) for i, (name, values) in enumerate(a.items())}
    found = compared(a, b)
    assert [row.sums.cosine for row in found.rows] == [1.0, 0.0, 1.0]
    assert (found.total.cosine, found.total.norm_ratio, found.total.relative_difference) == (1.0, 1.0, 2.0**-999.5)


def test_dtypes_are_compared_in_float64() -> None:
    wide, narrow = of(1.0, 1.0 + 2**-30, dtype=torch.float64), of(1.0, 1.0)
    assert values(compared(wide, narrow).total)[-1] == 2.0**-60
    assert values(compared(of(1, 2, dtype=torch.bfloat16), of(1, 2, dtype=torch.float16)).total)[-1] == 0


def test_large_tensors_are_compared_in_pieces() -> None:
    ones = torch.ones((1 << 20) + 7)
    found = compared({"w": ones}, {"w": -ones}).total
    assert values(found) == [len(ones), len(ones), -len(ones), 4 * len(ones)]
    assert (found.entries, found.tensors) == (len(ones), 1)


def test_sums_add_up() -> None:
    def numbers(*of: int) -> Sums:
        return Sums(*(Scaled(x) for x in of[:5]), *of[5:])

    x, y = numbers(1, 2, 3, 4, 5, 6, 7, 8, 9), numbers(10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert x + y == numbers(11, 22, 33, 44, 55, 66, 77, 88, 99)
    assert (Sums() + x, x + Sums(), Sums() + Sums()) == (x, x, Sums())


def test_rows_are_by_layer_and_part_in_natural_order() -> None:
    names = [f"layers.{i}.{part}.{w}" for i in (0, 1, 10, 2) for part in ("mlp", "attn") for w in ("k", "q")]
    tensors = {name: torch.ones(2) for name in (*names, "embed.weight", "norm.weight")}
    tensors |= {f"layers.{i}.mlp.k": torch.ones(2) for i in range(3, 10)}
    found = compared(tensors, tensors)
    layered = [(row.layer, row.group) for row in found.rows if row.stack]
    assert layered[:4] == [(0, "attn"), (0, "mlp"), (1, "attn"), (1, "mlp")]
    assert [layer for layer, _ in layered] == sorted(layer for layer, _ in layered if layer is not None)
    assert [(row.stack, row.layer, row.group) for row in found.rows if not row.stack] == [
        ("", None, "embed.weight"),
        ("", None, "norm.weight"),
    ]
    assert sum(row.sums.tensors for row in found.rows) == found.total.tensors == len(tensors)


def test_tensors_that_only_some_have() -> None:
    found = compared({**of(1), "x": torch.ones(1)}, {**of(1), "y": torch.ones(1)}, {**of(1), "z": torch.ones(1)})
    assert (found.only_a, found.only_b, found.total.tensors) == (("x",), ("y",), 1)


def test_a_tensor_the_base_lacks_is_not_compared() -> None:
    both = {**of(1), "new": torch.ones(1)}
    found = compared({**both, "x": torch.ones(1)}, {**both, "y": torch.ones(1)}, {**of(1), "y": torch.ones(1)})
    assert (found.not_in_base, found.only_a, found.only_b, found.total.tensors) == (("new",), ("x",), ("y",), 1)


def test_what_is_no_float_is_compared_for_equality() -> None:
    a = {"ids": torch.arange(4), "mask": torch.tensor([True, False]), "packed": torch.ones(2).to(torch.float8_e4m3fn)}
    b = {**a, "ids": torch.tensor([0, 1, 2, 4])}
    found = compared({**of(1), **a}, {**of(1), **b})
    assert (found.different, found.equal, found.total.tensors) == (("ids",), ("mask", "packed"), 1)
    assert compared(a, {n: t.clone() for n, t in a.items()}).different == ()


def test_what_is_no_float_is_not_compared_with_the_base() -> None:
    found = compared({"n": torch.tensor([1])}, {"n": torch.tensor([1])}, {"n": torch.tensor([2])})
    assert (found.different, found.equal) == ((), ("n",))


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32])
def test_another_dtype_is_a_difference_of_what_is_no_float(dtype: torch.dtype) -> None:
    found = compared({"n": torch.tensor([1])}, {"n": torch.tensor([1], dtype=dtype)})
    assert (found.different, found.total) == (("n",), Sums())


def test_progress_counts_every_tensor_that_is_compared() -> None:
    told: list[tuple[int, int]] = []
    tensors = {**of(1), "n": torch.tensor([1]), "x": torch.ones(1)}
    readers = [MemoryReader(name, tensors) for name in "ab"]
    compare(*readers, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_another_shape_is_named() -> None:
    found = compared({"w": torch.ones(4)}, {"w": torch.ones(2, 2)})
    assert (found.other_shape, found.total) == (("w",), Sums())


def test_empty_tensors() -> None:
    found = compared({"w": torch.empty(0)}, {"w": torch.empty(0)})
    assert (found.total.tensors, found.total.entries, found.total.cosine) == (1, 0, None)
