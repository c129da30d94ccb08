"""What a method knows goes to a device whole."""

from __future__ import annotations

import torch

from cuvee.methods.gain import Trim
from cuvee.tensors import Blocks, Counts, Cut
from cuvee.tensors.moving import moved

META = torch.device("meta")


def test_everything_that_methods_pass_on() -> None:
    cut = Cut(torch.ones(2), ((1, 2), (3, 4)))
    there = moved(Trim(cut, torch.ones(2)), META)
    assert there.cut.threshold.device == there.gain.device == META
    assert there.cut.edges == cut.edges
    assert moved(Blocks({3: torch.ones(2)}), META).parts[3].device == META
    assert moved(Counts(torch.ones(2)), META).values.device == META
    assert moved([{"a": torch.ones(1)}, "b", None, (0.5, torch.ones(1))], META)[3][1].device == META


def test_what_is_there_already_is_not_copied() -> None:
    known = torch.ones(2)
    assert moved((known, 0.5), torch.device("cpu"))[0] is known
