"""Output heads that share their tensor with an embedding: not written where all tie them, and nowhere lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee import methods
from cuvee.checkpoint import MemoryReader
from cuvee.errors import Fault, InputError
from cuvee.planning import Piece, Plan, Tied, bind
from cuvee.recipe import from_data
from tests.support.plans import Data, entry, named, plan_of, recipe, refusal, sources, stack, stacked, weights

Model = dict[str, Tensor]
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = {"num_hidden_layers": 2, "tie_word_embeddings": True}
UNTIED = {"num_hidden_layers": 2, "tie_word_embeddings": False}


def bare(seed: int = 0, rows: int = 4) -> Model:
    """A model without a head."""
    return stack(2) | {EMBED: torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed))}


def with_copy(seed: int = 0) -> Model:
    """A model whose head is stored, equal to its embedding."""
    model = bare(seed)
    return {**model, HEAD: model[EMBED].clone()}


def with_own(seed: int = 0) -> Model:
    """A model with a head of its own."""
    return {**bare(seed), HEAD: bare(seed + 100)[EMBED]}


def linear(*models: str, **more: Any) -> Data:
    return recipe("linear", *(entry(m, weight=1) for m in models), **more)


def tie_of(plan: Plan) -> object:
    """What the written configuration says."""
    assert plan.config_text is not None
    return json.loads(plan.config_text).get("tie_word_embeddings")


def consistent(plan: Plan) -> bool:
    """A stored head is said to be untied, and one that is not stored to be tied."""
    return tie_of(plan) is (HEAD not in named(plan))


# --- all tied


@pytest.mark.parametrize("a", [bare, with_copy])
@pytest.mark.parametrize("b", [bare, with_copy])
def test_a_head_that_all_models_tie_is_not_written(a: Any, b: Any) -> None:
    models = {"a": a(1), "b": b(2)}
    plan = plan_of(linear("a", "b"), models, {"a": TIED, "b": TIED})
    assert HEAD not in named(plan)
    copies = tuple((Piece(i, HEAD), Piece(i, EMBED)) for i, m in enumerate("ab") if HEAD in models[m])
    assert plan.tied == ((Tied(HEAD, EMBED, copies),) if copies else ())
    assert (plan.lost, plan.config_changes) == (0, {})


def test_a_tied_base_counts_too() -> None:
    data = recipe("ties", entry("a", weight=1), base_model="o")
    plan = plan_of(data, {"a": bare(1), "o": with_copy(2)}, {"a": TIED, "o": TIED})
    assert plan.tied == (Tied(HEAD, EMBED, ((Piece(0, HEAD), Piece(0, EMBED)),)),)


def test_a_bias_of_a_tied_head_is_merged() -> None:
    model = {**with_copy(), "lm_head.bias": torch.zeros(4)}
    plan = plan_of(linear("a", "b"), {"a": model, "b": model}, {"a": TIED, "b": TIED})
    assert named(plan)["lm_head.bias"].action == "merge"
    assert [t.name for t in plan.tied] == [HEAD]


def test_a_tie_of_the_text_section_holds() -> None:
    config = {"text_config": TIED, "vision_config": {}}
    plan = plan_of(linear("a", "b"), {"a": with_copy(1), "b": with_copy(2)}, {"a": config, "b": config})
    assert HEAD not in named(plan)


def test_a_head_of_another_precision_than_its_embedding_is_still_its_copy() -> None:
    model = bare()
    model[EMBED] = model[EMBED].bfloat16()
    model[HEAD] = model[EMBED].float()
    plan = plan_of(linear("a"), {"a": model}, {"a": TIED})
    assert [t.name for t in plan.tied] == [HEAD]


@pytest.mark.parametrize("other", ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"])
def test_other_names_of_a_tied_embedding_have_its_masks(other: str) -> None:
    """T5 and BART as older tools pickled them: masks of their own would make the copies differ."""

    def model(seed: int) -> dict[str, Tensor]:
        return dict.fromkeys(("shared.weight", other), bare(seed)[EMBED])

    data = recipe("dare_linear", entry("a", weight=1, density=0.5), entry("b", weight=1, density=0.5), base_model="o")
    plan = plan_of(data, {"a": model(1), "b": model(2), "o": model(0)})
    assert {name: step.mask for name, step in named(plan).items()} == {"shared.weight": None, other: "shared.weight"}


def test_names_that_one_model_has_untied_keep_their_masks() -> None:
    tied = dict.fromkeys(("shared.weight", "x.weight"), bare(1)[EMBED])
    free = {name: tensor.clone() for name, tensor in tied.items()}
    data = recipe("dare_linear", entry("a", weight=1, density=0.5), entry("b", weight=1, density=0.5), base_model="o")
    plan = plan_of(data, {"a": tied, "b": free, "o": tied})
    assert {step.mask for step in plan.steps} == {None}


# --- the configuration says nothing: its class has a default

UNSAID = {"num_hidden_layers": 2, "architectures": ["GPT2LMHeadModel"]}


def test_a_stored_head_that_repeats_its_embedding_is_made_as_that_is() -> None:
    """As BERT and GPT-2 were pickled: the head stays, because the class may want it, and stays equal."""
    weight = [{"filter": "embed", "value": 1}, {"value": 5}]
    data = recipe(
        "dare_linear", entry("a", weight=weight, density=0.5), entry("b", weight=2, density=0.5), base_model="o"
    )
    models = {"a": with_copy(1), "b": with_copy(2), "o": with_copy(0)}
    plan = plan_of(data, models, dict.fromkeys(models, UNSAID))
    head, embedding = named(plan)[HEAD], named(plan)[EMBED]
    assert (head.pieces, head.settings) == (embedding.pieces, embedding.settings)
    assert (head.mask or HEAD) == (embedding.mask or EMBED)
    assert sorted(plan.copies, key=str) == [(Piece(i, HEAD), Piece(i, EMBED)) for i in range(3)]
    assert (plan.lost, plan.tied, plan.config_changes) == (0, (), {})


def test_a_stored_head_of_its_own_is_a_tensor_like_any_other() -> None:
    plan = plan_of(linear("a", "b"), {"a": with_own(1), "b": with_own(2)}, {"a": UNSAID, "b": UNSAID})
    assert sources(plan)[HEAD] == [("a", HEAD), ("b", HEAD)]
    assert plan.copies == ()


@pytest.mark.parametrize(
    ("architecture", "has"),
    [("GPT2LMHeadModel", True), ("Gemma2ForCausalLM", True), ("BertForMaskedLM", True), ("GPT2Model", False)],
)
def test_a_language_model_without_a_head_ties_it(architecture: str, has: bool) -> None:
    config = {"num_hidden_layers": 2, "architectures": [architecture]}
    models, configs = {"a": with_own(1), "b": bare(2)}, {"a": UNTIED, "b": config}
    if not has:
        assert refusal(linear("a", "b"), models, configs).codes == ("missing-tensor",)
        return
    plan = plan_of(linear("a", "b"), models, configs)
    assert sources(plan)[HEAD] == [("a", HEAD), ("b", EMBED)]
    assert tie_of(plan) is False


@pytest.mark.parametrize("b", [TIED, UNSAID])
def test_a_copy_is_not_written_where_the_first_model_does_without(b: dict[str, Any]) -> None:
    plan = plan_of(linear("a", "b"), {"a": bare(1), "b": with_copy(2)}, {"a": UNSAID, "b": b})
    assert plan.tied == (Tied(HEAD, EMBED, ((Piece(1, HEAD), Piece(1, EMBED)),)),)
    assert (HEAD in named(plan), plan.lost, plan.config_changes) == (False, 0, {})


@pytest.mark.parametrize("a", [bare, with_copy])
@pytest.mark.parametrize("b", [bare, with_copy])
@pytest.mark.parametrize("config", [UNSAID, TIED])
def test_a_stack_of_tied_models_is_tied_however_they_are_stored(a: Any, b: Any, config: dict[str, Any]) -> None:
    plan = plan_of(stacked(("a", 0, 1), ("b", 1, 2)), {"a": a(1), "b": b(2)}, {"a": config, "b": config})
    assert HEAD not in named(plan)
    assert sources(plan)[EMBED] == [("a", EMBED)]
    assert tie_of(plan) in ((True, None) if (config is UNSAID and a is bare) else (True,))


def test_a_stack_of_models_with_heads_of_their_own_has_the_last_ones() -> None:
    plan = plan_of(stacked(("a", 0, 1), ("b", 1, 2)), {"a": with_own(1), "b": with_own(2)}, dict.fromkeys("ab", UNSAID))
    assert sources(plan)[HEAD] == [("b", HEAD)]


# --- said to be tied, and stored all the same


def test_a_head_of_its_own_is_a_tensor_like_any_other_whatever_is_said() -> None:
    """T5 1.1: the configuration calls the head tied, and the class stores one."""
    plan = plan_of(linear("a", "b"), {"a": with_own(1), "b": with_own(2)}, {"a": TIED, "b": TIED})
    assert sources(plan)[HEAD] == [("a", HEAD), ("b", HEAD)]
    assert (plan.tied, plan.config_changes) == ((), {})


def test_a_head_of_its_own_meets_the_embedding_of_a_model_that_has_none() -> None:
    plan = plan_of(linear("a", "b"), {"a": with_own(1), "b": bare(2)}, {"a": TIED, "b": TIED})
    assert sources(plan)[HEAD] == [("a", HEAD), ("b", EMBED)]
    assert tie_of(plan) is False


class HeadersOnly(MemoryReader):
    """A model of which nothing but the headers has been fetched."""

    def read(self, name: str, start: int, stop: int) -> Tensor:
        raise InputError(Fault("offline", f"{name} has not been fetched"))


def test_a_tie_is_believed_where_only_headers_are_at_hand() -> None:
    data = from_data(linear("a", "b"), methods.specs())
    readers = [HeadersOnly(m, with_own(), TIED) for m in "ab"]
    plan = bind(data, readers, methods.get("linear").spec)
    assert [t.name for t in plan.tied] == [HEAD]


# --- some tied, some not


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_a_tied_models_embedding_stands_in_for_its_head(first: str, second: str) -> None:
    models, configs = {"a": with_own(1), "b": bare(2)}, {"a": UNTIED, "b": TIED}
    plan = plan_of(linear(first, second), models, configs)
    tensor = {"a": HEAD, "b": EMBED}
    assert sources(plan)[HEAD] == [(first, tensor[first]), (second, tensor[second])]
    assert tie_of(plan) is False
    assert (plan.lost, plan.tied) == (0, ())


def test_a_tied_base_stands_in_with_its_embedding() -> None:
    data = recipe("task_arithmetic", entry("a", weight=1), base_model="o")
    plan = plan_of(data, {"a": with_own(1), "o": bare(2)}, {"a": UNTIED, "o": TIED})
    assert sources(plan)[HEAD] == [("o", EMBED), ("a", HEAD)]
    assert plan.config_changes == {"tie_word_embeddings": False}


def test_every_section_that_says_tied_is_corrected() -> None:
    nested = {"text_config": dict(TIED), "x": {"tie_word_embeddings": True}}
    plan = plan_of(linear("b", "a"), {"a": with_own(1), "b": bare(2)}, {"a": UNTIED, "b": nested})
    assert plan.config_changes == {
        "text_config.tie_word_embeddings": False,
        "x.tie_word_embeddings": False,
        "tie_word_embeddings": False,
    }


def test_a_head_of_an_untied_model_without_one_is_missing() -> None:
    error = refusal(linear("a", "b"), {"a": with_own(1), "b": bare(2)}, {"a": UNTIED, "b": UNTIED})
    assert error.codes == ("missing-tensor",)
    assert "in a but not in b" in str(error)


def test_a_head_without_any_configuration_is_missing() -> None:
    assert refusal(linear("a", "b"), {"a": with_own(1), "b": bare(2)}).codes == ("missing-tensor",)


def test_an_embedding_of_another_vocabulary_does_not_stand_in() -> None:
    error = refusal(linear("a", "b"), {"a": with_own(1), "b": bare(2, rows=9)}, {"a": UNTIED, "b": TIED})
    assert set(error.codes) == {"missing-tensor", "vocabulary-mismatch"}


def test_positions_never_stand_in_for_a_head() -> None:
    """A byte-level GPT-2 with a context of 256."""
    tables = {f"transformer.{name}.weight": torch.randn(256, 4) for name in ("wpe", "wte")}
    plan = plan_of(
        linear("a", "b"), {"a": {**tables, HEAD: torch.randn(256, 4)}, "b": tables}, {"a": UNTIED, "b": TIED}
    )
    assert sources(plan)[HEAD] == [("a", HEAD), ("b", "transformer.wte.weight")]


def copied_head() -> Plan:
    """A head that a tied and an untied model lack, copied from the one that stores it."""
    models, configs = {"a": with_own(1), "b": bare(2), "c": bare(3)}, {"a": UNTIED, "b": TIED, "c": UNTIED}
    return plan_of(linear("b", "a", "c", missing="copy"), models, configs)


def test_a_lacking_head_is_copied_from_a_model_that_stores_one() -> None:
    assert sources(copied_head())[HEAD] == [("a", HEAD)]


def test_a_copied_head_is_said_to_be_untied() -> None:
    assert consistent(copied_head())


def test_a_filter_for_the_head_holds_for_the_stand_in() -> None:
    weight = [{"filter": "lm_head", "value": 0.25}, {"value": 1}]
    data = recipe("linear", entry("a", weight=weight), entry("b", weight=weight))
    plan = plan_of(data, {"a": with_own(1), "b": bare(2)}, {"a": UNTIED, "b": TIED})
    assert weights(plan)[HEAD] == (0.25, 0.25)


# --- models put together from tied and untied ones


def test_stacks_of_tied_models_have_no_head_of_the_last() -> None:
    plan = plan_of(stacked(("a", 0, 1), ("b", 1, 2)), {"a": with_copy(1), "b": with_copy(2)}, {"a": TIED, "b": TIED})
    assert sources(plan)[EMBED] == [("a", EMBED)]
    assert HEAD not in named(plan)
    assert consistent(plan)
    left_out = ["a layers.1", "a head", "b layers.0", "b embedding"]  # the head of b is compared with its embedding
    assert (plan.lost, plan.left_out) == (0, len(left_out))


def test_a_stack_that_ends_in_an_untied_model_stores_its_head() -> None:
    """Loaded, it would otherwise have the first model's embedding for a head."""
    data = stacked(("a", 0, 1), ("b", 1, 2))
    plan = plan_of(data, {"a": bare(1), "b": with_own(2)}, {"a": TIED, "b": UNTIED})
    assert consistent(plan)


def test_a_stack_that_ends_in_a_tied_model_cannot_take_its_head_from_the_first() -> None:
    data = stacked(("a", 0, 1), ("b", 1, 2))
    error = refusal(data, {"a": with_own(1), "b": bare(2)}, {"a": UNTIED, "b": TIED})
    assert error.codes == ("tied-mismatch",)


@pytest.mark.parametrize("first", [TIED, UNTIED], ids=["tied first", "untied first"])
def test_a_text_part_of_another_model_has_the_head_it_says(first: dict[str, Any]) -> None:
    a, b, second = (bare(1), with_own(2), UNTIED) if first is TIED else (with_own(1), bare(2), TIED)
    eyes = stack(2, "visual.blocks")
    data = {
        "merge_method": "linear",
        "modules": {"visual": {"models": [entry("a", weight=1)]}, "rest": {"models": [entry("b", weight=1)]}},
    }
    assert consistent(plan_of(data, {"a": a | eyes, "b": b | eyes}, {"a": first, "b": second}))
