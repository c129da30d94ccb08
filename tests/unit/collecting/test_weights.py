"""The way from tensors in memory back to those on disk, where loading has taken them apart or put them together."""

from __future__ import annotations

import torch

from cuvee.collecting.weights import Linear, as_on_disk, input_of
from cuvee.families.running import Home

QUERY, KEY = (Linear(name, (name.removesuffix(".weight"),), 3, False) for name in ("q.weight", "k.weight"))
KNOWN = {"q.weight": QUERY, "k.weight": KEY}
SHAPES = {"q.weight": (2, 3), "k.weight": (2, 3)}
FUSED = torch.arange(12).reshape(4, 3)
"""Positions of a fused weight: queries above keys, inputs along the second axis."""


def home(order: torch.Tensor) -> Home:
    return Home(("q.weight", "k.weight"), order.reshape(-1))


def test_a_weight_that_was_split_on_loading_belongs_to_all_its_parts() -> None:
    assert input_of(home(FUSED), KNOWN, SHAPES, (4, 3)) == ((QUERY, KEY), False)
    interleaved = FUSED[[0, 2, 1, 3]]  # rows are outputs: their order is nothing to the inputs
    assert input_of(home(interleaved), KNOWN, SHAPES, (4, 3)) == ((QUERY, KEY), False)


def test_a_weight_that_was_turned_on_loading_stands_as_inputs_by_outputs() -> None:
    assert input_of(home(FUSED.T.contiguous()), KNOWN, SHAPES, (3, 4)) == ((QUERY, KEY), True)


def test_a_weight_whose_inputs_were_put_into_another_order_has_no_gram() -> None:
    assert input_of(home(FUSED[:, [1, 0, 2]].contiguous()), KNOWN, SHAPES, (4, 3)) is None


def test_what_is_no_matrix_or_no_linear_map_has_none() -> None:
    assert input_of(Home(("q.weight",)), KNOWN, SHAPES, (6,)) is None
    assert input_of(Home(("norm.weight",)), KNOWN, SHAPES, (2, 3)) is None
    assert input_of(Home(("q.weight",)), KNOWN, SHAPES, (2, 3)) == ((QUERY,), False)


def test_values_go_back_to_where_their_entries_came_from() -> None:
    values = {"q.weight": torch.tensor([[0.0, 1, 2], [3, 4, 5]]), "k.weight": torch.tensor([[6.0, 7, 8], [9, 10, 11]])}
    turned = FUSED.T.contiguous()
    assert torch.equal(as_on_disk(home(turned), values, (3, 4)), turned.float())
    part = Home(("q.weight", "k.weight"), range(3, 9))
    assert as_on_disk(part, values, (2, 3)).tolist() == [[3, 4, 5], [6, 7, 8]]
