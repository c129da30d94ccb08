"""What must hold of matching pursuit, whatever the numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cuvee import tensors
from cuvee.tensors import pursuit

SEEDS = range(4)


def draw(seed: int, rows: int = 7, atoms: int = 30, width: int = 12) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=rng), torch.randn(atoms, width, generator=rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_never_grows_and_ends_at_nothing(seed: int) -> None:
    targets, atoms = draw(seed)
    left = torch.stack([tensors.pursue(targets, atoms, k=k).left for k in range(1, 13)])
    assert (left.diff(dim=0) <= 1e-12).all()
    assert (left[-1] < 1e-5).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rest_is_orthogonal_to_every_atom_chosen(seed: int) -> None:
    targets, atoms = draw(seed)
    found = tensors.pursue(targets, atoms, k=5)
    rest = targets.double() - found.of(atoms)
    chosen = atoms[found.atoms].double()
    assert torch.einsum("rkw,rw->rk", chosen, rest).abs().max() < 1e-9
    assert torch.allclose(rest.norm(dim=1) / targets.double().norm(dim=1), found.left)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sum_of_few_atoms_that_are_orthogonal_is_found_exactly(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    atoms = torch.linalg.qr(torch.randn(10, 10, generator=rng).double()).Q
    weights = torch.tensor([3.0, -2.0, 1.0]).double()
    found = tensors.pursue((weights @ atoms[[7, 2, 5]])[None], atoms, k=5)
    assert found.atoms[0, :3].tolist() == [7, 2, 5]
    assert torch.allclose(found.weights[0], torch.tensor([3.0, -2.0, 1.0, 0.0, 0.0]).double())
    assert float(found.left) < 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_a_target_that_is_an_atom_is_that_atom(seed: int) -> None:
    _, atoms = draw(seed)
    found = tensors.pursue(-2.5 * atoms, atoms, k=4)
    assert found.atoms[:, 0].tolist() == list(range(len(atoms)))
    assert torch.allclose(found.weights[:, 0], torch.tensor(-2.5).double())
    assert not found.weights[:, 1:].any()


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_follow_the_length_of_targets_and_of_atoms(seed: int) -> None:
    targets, atoms = draw(seed)
    plain = tensors.pursue(targets, atoms, k=4)
    longer = tensors.pursue(targets * 1024, atoms, k=4)
    assert torch.equal(longer.atoms, plain.atoms)
    assert torch.allclose(longer.weights, plain.weights * 1024)
    scale = 2.0 ** torch.arange(len(atoms)).remainder(9).sub(4)
    other = tensors.pursue(targets, atoms * scale[:, None], k=4)
    assert torch.equal(other.atoms, plain.atoms)
    assert torch.allclose(other.weights, plain.weights / scale[plain.atoms])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_space_may_be_turned(seed: int) -> None:
    targets, atoms = (one.double() for one in draw(seed))
    turn = torch.linalg.qr(draw(seed + 50, width=12)[1][:12].double()).Q
    plain, turned = tensors.pursue(targets, atoms, k=4), tensors.pursue(targets @ turn, atoms @ turn, k=4)
    assert torch.equal(plain.atoms, turned.atoms)
    assert torch.allclose(plain.weights, turned.weights)


def test_of_atoms_that_are_alike_the_first_is_taken_once() -> None:
    targets, atoms = draw(1, atoms=5)
    twice = torch.cat([atoms, atoms, -3 * atoms])
    found, plain = tensors.pursue(targets, twice, k=12), tensors.pursue(targets, atoms, k=12)
    assert (found.atoms < 5).all()
    assert torch.allclose(found.of(twice), plain.of(atoms))
    assert torch.isfinite(found.weights).all()


def test_atoms_that_nearly_depend_on_one_another_give_no_giant_weights() -> None:
    targets, atoms = draw(2, atoms=4)
    near = torch.cat([atoms, atoms.mean(0, keepdim=True), atoms[:1] + atoms[1:2]])
    found = tensors.pursue(targets, near, k=6)
    assert found.weights.abs().max() < 100
    assert torch.allclose(found.left, tensors.pursue(targets, atoms, k=6).left, atol=1e-6)


def test_an_atom_that_rounding_brings_back_changes_nothing() -> None:
    targets, atoms = draw(6, rows=3)
    state, alive = pursuit._State.begin(targets, 2), torch.ones(3, dtype=torch.bool)
    choice = torch.tensor([1, 2, 3])
    state.add(0, choice, atoms[choice].double(), alive)
    once = state.told()
    state.add(1, choice, atoms[choice].double() * 3, alive)
    assert torch.equal(state.told().weights, once.weights)
    assert torch.equal(state.told().left, once.left)


def test_zeros_have_no_part() -> None:
    targets, atoms = draw(3, rows=3, atoms=6)
    targets[1], atoms[2] = 0, 0
    found = tensors.pursue(targets, atoms, k=6)
    assert not found.weights[1].any()
    assert float(found.left[1]) == 0
    assert not found.weights[found.atoms == 2].any()
    nothing = tensors.pursue(targets, torch.zeros_like(atoms), k=2)
    assert not nothing.weights.any()
    assert nothing.left.tolist() == [1, 0, 1]


def test_without_atoms_everything_is_left() -> None:
    found = tensors.pursue(torch.ones(2, 3), torch.ones(0, 3), k=4)
    assert found.left.tolist() == [1, 1]
    assert not found.of(torch.ones(1, 5)).any()


def test_rows_do_not_know_of_one_another() -> None:
    targets, atoms = draw(4, rows=40)
    whole = tensors.pursue(targets, atoms, k=6)
    for size in (1, 3, 17):
        parts = [tensors.pursue(part, atoms, k=6) for part in targets.split(size)]
        assert torch.equal(torch.cat([part.atoms for part in parts]), whole.atoms)
        assert torch.allclose(torch.cat([part.weights for part in parts]), whole.weights, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_float32_it_is_what_it_is_in_float64(seed: int) -> None:
    targets, atoms = draw(seed)
    single, double = tensors.pursue(targets, atoms, k=6), tensors.pursue(targets.double(), atoms.double(), k=6)
    assert torch.equal(single.atoms, double.atoms)
    assert torch.allclose(single.weights, double.weights, atol=1e-9)


def test_sums_are_carried_into_a_space_of_another_width() -> None:
    targets, atoms = draw(5)
    found = tensors.pursue(targets, atoms, k=12)
    into = torch.randn(12, 20, generator=torch.Generator().manual_seed(1)).double()
    assert torch.allclose(found.of(atoms.double() @ into), targets.double() @ into, atol=1e-4)


def test_a_block_fits_its_memory() -> None:
    fixed = {"atoms": 1000, "width": 64, "k": 8, "size": 4}
    assert tensors.rows_within(1, **fixed) == 1
    assert tensors.rows_within(1 << 24, **fixed) == pytest.approx(2 * tensors.rows_within(1 << 23, **fixed), abs=2)
