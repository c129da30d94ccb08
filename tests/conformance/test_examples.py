"""Recipes of the usual forms, merged as they stand, are their arithmetic — gradients and filters too — rounded once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import cuvee
from tests.support.examples import FORMULAS, NAMES, by_hand, content, make_room, skip_if_unknown, weights_of


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def merged(room: Path) -> Callable[[str], Path]:
    """Merge an example as it stands, the first time it is asked for."""

    def folder(name: str) -> Path:
        skip_if_unknown(name)
        if not (room / "merged" / name).exists():
            (room / "merged").mkdir(exist_ok=True)
            cuvee.merge(room / f"{name}.yml", room / "merged" / name)
        return room / "merged" / name

    return folder


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_its_arithmetic_rounded_once(name: str, room: Path, merged: Callable[[str], Path]) -> None:
    found, wanted = weights_of(merged(name)), by_hand(name, room)
    dtype = getattr(torch, content(name)["dtype"])
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert found[key].dtype == dtype
        half_a_step = torch.finfo(dtype).eps / 2 * tensor.double().abs().clamp(min=torch.finfo(dtype).tiny)
        assert ((found[key].double() - tensor.double()).abs() <= half_a_step + 1e-6).all(), key


@pytest.mark.parametrize("name", NAMES)
def test_an_example_loads_whole(name: str, merged: Callable[[str], Path]) -> None:
    model, account = transformers.AutoModelForCausalLM.from_pretrained(merged(name), output_loading_info=True)
    assert not any(account[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.num_hidden_layers == {"stack": 11, "two-model-ties": 8}.get(name, 10)
    with torch.inference_mode():
        assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_the_arithmetic_can_be_wrong(room: Path, merged: Callable[[str], Path]) -> None:
    """The comparison above is of numbers that differ from model to model and from layer to layer."""
    assert {*FORMULAS, "stack"} == set(NAMES)
    found, chat = weights_of(merged("gradient-slerp")), weights_of(room / "chat")
    first, last = (f"model.layers.{i}.self_attn.q_proj.weight" for i in (0, 9))
    assert torch.equal(found[first], chat[first].half())
    assert not torch.allclose(found[last], chat[last].half(), atol=1e-2)
