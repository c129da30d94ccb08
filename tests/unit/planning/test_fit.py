"""Layers that are not all alike, moved: the class is asked where it is known, and said so where it is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.support.plans import plan_of, refusal, stack, stacked
from tests.support.zoo import Cellar, stored

UNEVEN = stack(4, "l", "attn", "mlp") | stack(1, "l", "bias")
ALIKE = stack(4, "l", "attn", "mlp")
CONFIG = {"num_hidden_layers": 4}
UNKNOWN = "could not be found out"


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model whose first layer, and only that, has no norm before its attention."""
    path = Cellar(Path(tmp_path_factory.mktemp("fit"))).model("modernbert", 1, 4)
    return stored(path), json.loads((path / "config.json").read_text())


def notes(*cuts: tuple[str, int, int], config: dict[str, Any] | None = CONFIG) -> list[str]:
    configs = {} if config is None else {"a": config}
    return [note for note in plan_of(stacked(*cuts), {"a": UNEVEN}, configs).notes if UNKNOWN in note]


# --- an architecture that nobody knows


def test_layers_of_one_make_up_go_anywhere() -> None:
    plan = plan_of(stacked(("a", 2, 4), ("a", 0, 1)), {"a": ALIKE}, {"a": CONFIG})
    assert not [note for note in plan.notes if UNKNOWN in note]
    assert notes(("a", 0, 2), ("a", 3, 4)) == []


def test_every_layer_in_the_place_of_another_kind_is_noted() -> None:
    moves = "layer 2 of a has other tensors than layer 0", "layer 0 of a has other tensors than layer 2"
    assert notes(("a", 2, 4), ("a", 0, 1)) == [
        f"{move}, whose place it takes; whether the result loads {UNKNOWN}" for move in moves
    ]


def test_without_a_configuration_there_is_nothing_to_load_by() -> None:
    assert notes(("a", 1, 3), config=None) == []


def test_a_layer_of_another_kind_behind_the_last_is_noted() -> None:
    assert notes(("a", 0, 4), ("a", 0, 1))


# --- an architecture that transformers knows


def test_a_first_layer_in_another_place_is_refused(modernbert: tuple[dict[str, Any], dict[str, Any]]) -> None:
    model, config = modernbert
    for cuts in ([("a", 0, 1), ("a", 0, 1)], [("a", 1, 3)]):
        (fault,) = refusal(stacked(*cuts), {"a": model}, {"a": config}).faults
        assert fault.code == "layers-unrepresentable"
        assert "ModernBertForMaskedLM cannot be built from these layers" in fault.message
        assert "attn_norm" in fault.message


def test_a_first_layer_that_stays_first_is_planned(modernbert: tuple[dict[str, Any], dict[str, Any]]) -> None:
    model, config = modernbert
    plan = plan_of(stacked(("a", 0, 1), ("a", 2, 4), ("a", 1, 4)), {"a": model}, {"a": config})
    assert plan.config_changes["num_hidden_layers"] == 6


def test_a_first_layer_behind_the_last_is_refused(modernbert: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Loaded, layer 4 would have a norm of made-up numbers."""
    model, config = modernbert
    error = refusal(stacked(("a", 0, 4), ("b", 0, 2)), {"a": model, "b": model}, {"a": config, "b": config})
    assert error.codes == ("layers-unrepresentable",)


def built(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """State dict and configuration as transformers would write them."""
    return dict(model.state_dict()), json.loads(model.config.to_json_string(use_diff=False))


SIZES = {"vocab_size": 40, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 24}


def test_a_tensor_outside_the_layers_that_grows_with_their_number_is_refused() -> None:
    """ESM's contact head has a column for every head of every layer."""
    config = transformers.EsmConfig(**SIZES, num_hidden_layers=3, pad_token_id=1, mask_token_id=2)
    model, said = built(transformers.EsmForMaskedLM(config))
    said["architectures"] = ["EsmForMaskedLM"]
    (fault,) = refusal(stacked(("a", 0, 3), ("a", 2, 3)), {"a": model}, {"a": said}).faults
    assert fault.code == "layers-unrepresentable"
    assert "contact_head.regression.weight ([1, 12] where [1, 16] is wanted)" in fault.message


def gpt_neo() -> tuple[dict[str, Any], dict[str, Any]]:
    config = transformers.GPTNeoConfig(
        vocab_size=40, hidden_size=16, num_heads=4, num_layers=4, attention_types=[[["global", "local"], 2]]
    )
    model, said = built(transformers.GPTNeoForCausalLM(config))
    return model, said | {"architectures": ["GPTNeoForCausalLM"]}


def test_a_run_length_code_of_layers_follows_them() -> None:
    model, said = gpt_neo()
    said.pop("attention_layers", None)
    plan = plan_of(stacked(("a", 0, 2), ("a", 1, 4)), {"a": model}, {"a": said})
    kinds = ["global", "local", "local", "global", "local"]
    assert plan.config_changes["attention_types"] == [[kinds, 1]]
    assert plan.config_changes["num_layers"] == 5


def test_a_configuration_that_its_class_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As would be one whose rule by position nobody here has heard of."""
    monkeypatch.setattr(sys.modules["cuvee.layers.restack"], "_rewritten", lambda *_: {})
    model, said = gpt_neo()
    (fault,) = refusal(stacked(("a", 0, 2), ("a", 1, 4)), {"a": model}, {"a": said}).faults
    assert "GPTNeoForCausalLM cannot be built from these layers: " in fault.message
    assert "`config.attention_types`" in fault.message  # what the class itself says


def test_a_model_that_does_not_load_cleanly_by_itself_proves_nothing(modernbert: tuple[Any, dict[str, Any]]) -> None:
    model, config = modernbert
    strange = {**model, "extra.weight": model["head.norm.weight"]}
    plan = plan_of(stacked(("a", 0, 1), ("a", 0, 1)), {"a": strange}, {"a": config})
    assert [note for note in plan.notes if UNKNOWN in note]
