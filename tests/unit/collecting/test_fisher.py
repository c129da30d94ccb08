"""Diagonal Fishers of small real models equal squared gradients worked out beside them, one sample after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import cuvee
from cuvee.checkpoint import read_statistics
from cuvee.checkpoint.statistics import check_values
from tests.support.calibration import TEXTS, load, make_model, texts, tokens_of, weights, write_lines


def by_hand(folder: Path, likelihood: Callable[[Any, Tensor, int], Tensor]) -> dict[str, Tensor]:
    """Means over samples of squared gradients, by name in memory."""
    model = load(folder)
    sums: dict[str, Tensor] = {}
    for number, ids in enumerate(tokens_of(folder)):
        model.zero_grad(set_to_none=True)
        likelihood(model, ids, number).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                sums[name] = sums.get(name, 0) + parameter.grad.double() ** 2
    return {name: value / len(TEXTS) for name, value in sums.items()}


def next_tokens(model: Any, ids: Tensor, _number: int) -> Tensor:
    """Minus what transformers calls the loss, which is a mean."""
    return -model(input_ids=ids, labels=ids).loss * (ids.numel() - 1)


def class_of(model: Any, ids: Tensor, number: int) -> Tensor:
    return -model(input_ids=ids, labels=torch.tensor([number % 3])).loss


def collected(folder: Path, tmp_path: Path, name: str = "out", **settings: Any) -> tuple[Any, dict[str, Tensor]]:
    out = tmp_path / f"{name}.fisher.safetensors"
    data = texts(tmp_path / "data.jsonl", labels=True)
    (made,) = cuvee.collect(folder, data=data, out=out, kind="fisher", **settings)
    check_values(read_statistics(out, "fisher"))
    return made, load_file(out)


def assert_fishers(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=2e-4, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    ("case", "likelihood"),
    [("llama", next_tokens), ("llama tied", next_tokens), ("gpt2", next_tokens), ("bert classifier", class_of)],
)
def test_it_equals_squared_gradients_sample_by_sample(
    case: str, likelihood: Callable[[Any, Tensor, int], Tensor], tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "model", case)
    made, found = collected(folder, tmp_path)
    assert_fishers(found, by_hand(folder, likelihood))
    assert {name: value.shape for name, value in found.items()} == {n: w.shape for n, w in weights(folder).items()}
    assert not made.without
    assert (made.rows, made.samples) == (len(TEXTS), len(TEXTS))


def test_it_is_no_square_of_a_mean(tmp_path: Path) -> None:
    """Two samples whose gradients cancel in a mean."""
    folder = make_model(tmp_path / "model", "bert classifier")
    _, found = collected(folder, tmp_path)
    model = load(folder)
    sum((class_of(model, ids, i) for i, ids in enumerate(tokens_of(folder))), torch.zeros(())).backward()
    assert (found["classifier.bias"] > 1.5 * (model.classifier.bias.grad / len(TEXTS)) ** 2).all()


def test_stacked_experts_come_back_under_the_names_they_have_on_disk(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "mixtral")
    _, found = collected(folder, tmp_path)
    memory = by_hand(folder, next_tokens)
    assert found.keys() == weights(folder).keys()
    for layer in range(2):
        stacked = memory[f"model.layers.{layer}.mlp.experts.gate_up_proj"]  # expert, gate above up, inputs
        down = memory[f"model.layers.{layer}.mlp.experts.down_proj"]
        for expert in range(4):
            gate, up = stacked[expert].chunk(2)
            for name, value in (("w1", gate), ("w3", up), ("w2", down[expert])):
                key = f"model.layers.{layer}.block_sparse_moe.experts.{expert}.{name}.weight"
                torch.testing.assert_close(found[key].double(), value, rtol=2e-4, atol=1e-9, msg=key)


def test_masked_tokens_are_drawn_from_the_seed_and_predicted(tmp_path: Path) -> None:
    """The masks are found out from the model's inputs, and the likelihood of what stood there worked out anew."""
    folder = make_model(tmp_path / "model", "bert masked")
    made, found = collected(folder, tmp_path, seed=3)
    from cuvee.collecting.samples import samples_of
    from cuvee.data.rows import read_rows
    from cuvee.families.inputs import load_tokenizer
    from cuvee.families.running import load as load_running

    rows = read_rows(tmp_path / "data.jsonl", 256)
    running, tokenizer = load_running(folder), load_tokenizer(folder)
    samples, _ = samples_of(rows, running, tokenizer, tmp_path, max_length=512, seed=3)

    def masked(model: Any, ids: Tensor, number: int) -> Tensor:
        given = torch.tensor([samples[number].ids])
        assert ((given == ids) | (given == 3)).all()
        hidden = (given != ids).nonzero()[:, 1]
        assert len(hidden) == max(1, round(0.15 * (ids.numel() - 2)))
        labels = torch.where(given == ids, -100, ids)
        return -model(input_ids=given, labels=labels).loss * len(hidden)

    assert_fishers(found, by_hand(folder, masked))
    assert not made.without
    _, other = collected(folder, tmp_path, "other", seed=4)
    assert not torch.equal(other["cls.predictions.bias"], found["cls.predictions.bias"])


def test_labels_of_the_models_own_estimate_the_fisher_information(tmp_path: Path) -> None:
    """For the bias before a softmax it is known: the mean of p (1 - p)."""
    folder = make_model(tmp_path / "model", "bert classifier")
    data = write_lines(tmp_path / "many.jsonl", [{"text": text} for text in TEXTS] * 12)
    out = tmp_path / "fisher.safetensors"
    cuvee.collect(folder, data=data, out=out, kind="fisher", labels="model")
    model = load(folder)
    with torch.no_grad():
        p = torch.cat([model(input_ids=ids).logits for ids in tokens_of(folder)]).softmax(-1)
    expected = (p * (1 - p)).mean(0)
    torch.testing.assert_close(load_file(out)["classifier.bias"], expected, rtol=0.3, atol=0.02)


def test_what_the_model_draws_comes_from_the_seed(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama")
    _, first = collected(folder, tmp_path, labels="model")
    _, again = collected(folder, tmp_path, "again", labels="model")
    _, other = collected(folder, tmp_path, "other", labels="model", seed=1)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_labels_may_be_names_of_classes(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "bert classifier")
    _, expected = collected(folder, tmp_path)
    rows = [{"text": text, "label": f"LABEL_{i % 3}"} for i, text in enumerate(TEXTS)]
    named = write_lines(tmp_path / "named.jsonl", rows)
    out = tmp_path / "named.safetensors"
    cuvee.collect(folder, data=named, out=out, kind="fisher")
    assert all(torch.equal(value, expected[name]) for name, value in load_file(out).items())


def test_what_the_likelihood_does_not_depend_on_is_listed(tmp_path: Path) -> None:
    """One token more on disk than the class has a place for, and a head that is not used."""
    folder = make_model(tmp_path / "model", "llama")
    from safetensors.torch import save_file

    every = weights(folder)
    save_file({**every, "stranger": torch.zeros(2)}, folder / "model.safetensors", metadata={"format": "pt"})
    made, found = collected(folder, tmp_path)
    assert made.without == {"stranger": "LlamaForCausalLM has no place for it"}
    assert found.keys() == every.keys()
