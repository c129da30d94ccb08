"""Statistics of BatchNorm layers, estimated again: against a slow reference, torch's own, and what must be put back."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

import cuvee
from cuvee.errors import InputError, UsageError


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(first, nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3, momentum=0.3), nn.Flatten(), nn.LazyLinear(2))


def images(*sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(n, 2, 8, 8, generator=generator) * 3 + 1 for n in sizes]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_the_statistics_are_means_over_batches_of_each_batchs_own() -> None:
    layer = nn.BatchNorm1d(2)
    layer.running_mean.fill_(9)
    rows = [np.array([[1.0, 2.0], [3.0, 8.0], [5.0, -1.0]]), np.array([[0.5, 4.0], [2.5, 0.0]])]
    done = cuvee.recalibrate_batchnorm(layer, [torch.tensor(r, dtype=torch.float32) for r in rows])
    mean = [sum(float(r[:, j].mean()) for r in rows) / 2 for j in range(2)]
    var = [sum(sum((x - r[:, j].mean()) ** 2 for x in r[:, j]) / (len(r) - 1) for r in rows) / 2 for j in range(2)]
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-6)
    assert (done.layers, done.unused, done.batches) == (("",), (), 2)


def test_it_is_what_torch_does_for_swa_to_the_last_bit() -> None:
    ours = network()
    ours(images(2)[0])  # gives the lazy layer its shape, and the statistics a past
    theirs = copy.deepcopy(ours)
    batches = images(5, 5, 3)
    update_bn(batches, theirs)
    done = cuvee.recalibrate_batchnorm(ours, batches)
    assert_equal(state(ours), state(theirs))
    assert done.layers == ("0.1", "2")


def test_nothing_is_dropped_out_meanwhile() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3)).train()
    batch = torch.arange(12.0).reshape(4, 3)
    cuvee.recalibrate_batchnorm(model, [batch])
    torch.testing.assert_close(model[1].running_mean, batch.mean(0))
    assert model[0].training
    assert model[1].training


@pytest.mark.parametrize("wrap", [lambda b: (b, "label"), lambda b: [b], lambda b: {"input": b}])
def test_batches_may_be_tuples_or_the_models_arguments(wrap: object) -> None:
    ours, plain = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    cuvee.recalibrate_batchnorm(ours, [wrap(b) for b in images(3, 4)])  # type: ignore[operator]
    cuvee.recalibrate_batchnorm(plain, iter(images(3, 4)))
    assert_equal(state(ours), state(plain))


def test_modes_momentum_and_gradients_are_put_back() -> None:
    model = network()
    model(images(2)[0])
    model[0].eval()
    before = [(m.training, getattr(m, "momentum", None)) for m in model.modules()]
    weights = [p.clone() for p in model.parameters()]
    cuvee.recalibrate_batchnorm(model, images(4))
    assert [(m.training, getattr(m, "momentum", None)) for m in model.modules()] == before
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))
    assert all(p.grad is None for p in model.parameters())


def broken() -> Iterator[Tensor]:
    yield images(4)[0]
    raise RuntimeError("the disk is gone")


def test_where_it_fails_the_model_is_as_it_was() -> None:
    model = network()
    model(images(2)[0])
    before, modes = state(model), [m.training for m in model.modules()]
    nothing_but_nan = [torch.full((2, 2, 8, 8), float("nan"))]
    for batches, error in ((broken(), RuntimeError), ([], UsageError), (nothing_but_nan, InputError)):
        with pytest.raises(error):
            cuvee.recalibrate_batchnorm(model, batches)
        assert_equal(state(model), before)
        assert [m.training for m in model.modules()] == modes
        assert model[2].momentum == 0.3


def test_a_layer_that_no_batch_comes_to_keeps_what_it_has() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
            self.idle.running_mean.fill_(7)

        def forward(self, rows: Tensor) -> Tensor:
            return self.used(rows)

    model = Idle()
    done = cuvee.recalibrate_batchnorm(model, [torch.tensor([[1.0], [3.0]])])
    assert (done.layers, done.unused) == (("used",), ("idle",))
    assert (model.used.running_mean.item(), model.idle.running_mean.item()) == (2.0, 7.0)


def test_what_has_no_statistics_is_refused() -> None:
    for model in (nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False), "a folder"):
        with pytest.raises(UsageError) as caught:
            cuvee.recalibrate_batchnorm(model, [torch.zeros(2, 2)])  # type: ignore[arg-type]
        assert caught.value.code == "bad-argument"
