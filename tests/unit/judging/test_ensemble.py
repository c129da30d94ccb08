"""Several models asked as one: held to the mean of their own answers, worked out a row at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from cuvee.errors import InputError
from cuvee.families import pretrained
from cuvee.judging.asking.agreement import joined
from cuvee.judging.asking.ensemble import PredictionMean, kind_of, log_mean, log_odds_of_mean
from cuvee.judging.asking.subject import Subject
from tests.support.calibration import CASES, make_tokenizer
from tests.support.judging import QUESTIONS, WORDS, log_probabilities, one_by_one, subject, task
from tests.support.lanes import rarely


def member(case: str, seed: int, label: str = "", **settings: Any) -> Subject:
    """A small model in memory with the tokenizer of all."""
    cls, config, usual = CASES[case]
    torch.manual_seed(seed)
    model = getattr(transformers, cls)(getattr(transformers, config)(**{**usual, **settings})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return Subject(label or f"{case} {seed}", model, make_tokenizer())


@pytest.fixture(scope="module")
def llamas() -> list[Subject]:
    return [member("llama", seed) for seed in range(3)]


def slow_mean(members: list[Subject], ids: list[int]) -> torch.Tensor:
    """The mean of the members' probabilities behind each token, `[T, V]`."""
    return sum(log_probabilities(one.model, ids).exp() for one in members) / len(members)


def test_the_log_of_a_mean_by_hand() -> None:
    even, sure = torch.tensor([0.0, 0.0]), torch.tensor([0.0, math.log(3.0)])
    assert log_mean([even, sure]).exp().tolist() == pytest.approx([3 / 8, 5 / 8])
    assert log_mean([torch.tensor([-900.0, 0.0]), torch.tensor([-900.0, 0.0])]).tolist() == pytest.approx([-900.0, 0.0])
    odds = log_odds_of_mean([torch.tensor([0.0]), torch.tensor([math.log(3.0)])])  # 1/2 and 3/4 make 5/8
    assert odds.tolist() == pytest.approx([math.log(5 / 3)])


def test_perplexity_is_of_the_mean_of_probabilities(tmp_path: Path, llamas: list[Subject]) -> None:
    about = task(tmp_path, [{"text": text} for text in WORDS], kind="perplexity")
    found = one_by_one(joined("all", llamas), about).columns["nats"]
    tokenizer = make_tokenizer()
    for text, nats in zip(WORDS, found, strict=True):
        ids = [1, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        mean = slow_mean(llamas, ids)
        assert nats == pytest.approx(-sum(math.log(mean[t - 1, ids[t]]) for t in range(1, len(ids))), abs=1e-4)


def test_masked_models_likewise(tmp_path: Path) -> None:
    members = [member("bert masked", seed) for seed in (0, 1)]
    about = task(tmp_path, [{"text": WORDS[2]}], kind="perplexity")
    found = one_by_one(joined("both", members), about).columns["nats"][0]
    ids, total = make_tokenizer()(WORDS[2])["input_ids"], 0.0
    for place in range(1, len(ids) - 1):
        hidden = [*ids[:place], 3, *ids[place + 1 :]]
        total -= math.log(slow_mean(members, hidden)[place, ids[place]])
    assert found == pytest.approx(total, abs=1e-4)


def test_classes_are_the_mean_of_the_members_own(tmp_path: Path) -> None:
    members = [member("bert classifier", seed) for seed in range(3)]
    rows = [{"text": text, "label": i % 3} for i, text in enumerate(WORDS)]
    about = task(tmp_path, rows, kind="classification")
    own = [one_by_one(one, about).columns["probabilities"] for one in members]
    assert max(abs(own[0] - own[1]).max(), abs(own[1] - own[2]).max()) > 0.05
    np.testing.assert_allclose(
        one_by_one(joined("all", members), about).columns["probabilities"], sum(own) / 3, atol=1e-6
    )


def test_numbers_are_the_mean_of_the_members_own(tmp_path: Path) -> None:
    members = [member("bert classifier", seed, num_labels=1) for seed in (0, 1)]
    about = task(tmp_path, [{"text": text, "label": 0.5} for text in WORDS], kind="regression")
    own = [one_by_one(one, about).columns["predicted"] for one in members]
    found = one_by_one(joined("both", members), about).columns["predicted"]
    np.testing.assert_allclose(found, (own[0] + own[1]) / 2, atol=1e-6)


def test_classes_that_do_not_exclude_others() -> None:
    members = [member("bert classifier", seed, problem_type="multi_label_classification") for seed in (0, 1)]
    assert kind_of(members[0].model) == "several"
    both, ids = joined("both", members).model, torch.tensor([[1, 9, 11, 2]])
    with torch.inference_mode():
        own = [torch.sigmoid(one.model(input_ids=ids).logits) for one in members]
        torch.testing.assert_close(torch.sigmoid(both(input_ids=ids).logits), (own[0] + own[1]) / 2)


def slow_writing(members: list[Subject], ids: list[int], most: int, end: int | None = None) -> list[int]:
    """Tokens one after the other, everything worked out anew each time."""
    made: list[int] = []
    for _ in range(most):
        token = int(slow_mean(members, [*ids, *made])[-1].argmax())
        made.append(token)
        if token == end:
            break
    return made


@pytest.mark.parametrize("case", ["llama", *rarely("gpt2")])
def test_writing_equals_a_slow_loop(case: str) -> None:
    members = [member(case, seed) for seed in range(3)]
    prompts = [[1, 9, 11, 30], [1, 40, 8], [1, 22]]
    end = slow_writing(members, prompts[0], 8)[3]  # a token that is written, so that a text ends before the others
    both = joined("all", members).model
    both.generation_config = transformers.GenerationConfig(eos_token_id=[end], pad_token_id=0)
    expected = [slow_writing(members, ids, 8, end) for ids in prompts]
    assert expected != [slow_writing(members[:1], ids, 8, end) for ids in prompts]
    assert len(expected[0]) < 8
    assert len({len(one) for one in expected}) > 1
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])
    made = both.generate(ids, attention_mask=mask, max_new_tokens=8)[:, width:].tolist()
    assert [row[: len(own)] for row, own in zip(made, expected, strict=True)] == expected
    assert all(not any(row[len(own) :]) for row, own in zip(made, expected, strict=True))


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("exact-match", [{"prompt": text, "answer": "oak"} for text in WORDS]),
        ("multiple-choice", QUESTIONS),
        ("perplexity", [{"text": text} for text in WORDS]),
    ],
)
def test_an_ensemble_of_one_is_its_member(tmp_path: Path, llamas: list[Subject], kind: str, rows: Any) -> None:
    about = task(tmp_path, rows, kind=kind)
    alone, own = one_by_one(joined("one", llamas[:1]), about), one_by_one(llamas[0], about)
    for name, column in own.columns.items():
        np.testing.assert_allclose(alone.columns[name], column, atol=1e-4)


def test_an_ensemble_of_one_writes_what_its_member_writes(llamas: list[Subject]) -> None:
    model = llamas[0].model
    ids, mask = torch.tensor([[0, 1, 9, 11], [1, 40, 8, 30]]), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    own = transformers.GenerationConfig(eos_token_id=[2], pad_token_id=0, do_sample=False)
    alone = joined("one", llamas[:1]).model
    alone.generation_config = own
    with pretrained.quiet(transformers):
        expected = model.generate(ids, attention_mask=mask, max_new_tokens=9, generation_config=own)
    assert alone.generate(ids, attention_mask=mask, max_new_tokens=9).tolist() == expected.tolist()


def test_a_text_that_ends_an_answer_ends_it(tmp_path: Path, llamas: list[Subject]) -> None:
    one = joined("one", llamas[:2]).model
    one.generation_config = transformers.GenerationConfig(pad_token_id=0)
    seen = []

    def over(found: torch.Tensor, _scores: Any) -> torch.Tensor:
        seen.append(found.shape[1])
        return torch.tensor([True, found.shape[1] >= 5])

    ids = torch.tensor([[1, 9], [1, 8]])
    made = one.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, stopping_criteria=[over])
    assert seen == [3, 4, 5]
    assert made[0, 3:].tolist() == [0, 0]


def test_members_must_agree() -> None:
    first = member("llama", 0, "first")
    for other, what in (
        (member("bert masked", 0, "other"), "kind of predictions"),
        (
            member("llama", 0, "other", vocab_size=100),
            "tokens in the vocabulary; first and other differ: 96 and 100",
        ),
        (Subject("other", first.model, None), "tokenizer"),
    ):
        with pytest.raises(InputError, match=what) as caught:
            joined("both", [first, other])
        assert "first and other" in str(caught.value)
        assert {fault.code for fault in caught.value.faults} == {"wrong-model"}
    names = {"id2label": {0: "b", 1: "a", 2: "c"}, "label2id": {"b": 0, "a": 1, "c": 2}}
    with pytest.raises(InputError, match="classes in the same order"):
        joined("both", [member("bert classifier", 0), member("bert classifier", 0, **names)])


def test_the_shortest_inputs_count() -> None:
    two = [member("llama", 0, max_position_embeddings=32), member("llama", 1, max_position_embeddings=24)]
    assert joined("both", two).config.max_position_embeddings == 24


def test_vectors_have_no_ensemble(tmp_path: Path, llamas: list[Subject]) -> None:
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "oak"}\n{"id": "b", "text": "wine"}\n', "utf-8")
    rows = [{"query": "oak", "relevant": ["a"]}]
    about = task(tmp_path, rows, kind="embedding-retrieval", documents="documents.jsonl")
    with pytest.raises(InputError, match="all is an ensemble, which averages predictions"):
        one_by_one(joined("all", llamas), about)


def test_the_wrong_kind_of_task_is_told_by_the_members_class(tmp_path: Path, llamas: list[Subject]) -> None:
    about = task(tmp_path, [{"text": "oak", "label": 0}], kind="classification")
    with pytest.raises(InputError, match="all is a LlamaForCausalLM"):
        one_by_one(joined("all", llamas), about)


def test_from_folders(tmp_path: Path) -> None:
    two = [subject(tmp_path / name, "llama", seed) for seed, name in enumerate("ab")]
    both = joined("both", two)
    assert isinstance(both.model, PredictionMean)
    assert sum(p.numel() for p in both.model.parameters()) == 2 * sum(p.numel() for p in two[0].model.parameters())
