"""Likelihoods against a slow reference: one row at a time, no padding, the logarithm of the softmax by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cuvee.judging.answering import answers_of
from cuvee.judging.asking.likelihood import Span, span_nats, windows
from tests.support.judging import QUESTIONS, WORDS, log_probabilities, nats_by_hand, subject, task

TEXTS = [{"text": text} for text in (*WORDS, "wine — žluťoučký")]


def ids_of(asked, text: str) -> list[int]:
    """The token that stands before every text, and the text's own."""
    whole = asked.tokenizer(text)["input_ids"]
    return whole[:-1]  # the tokenizer of the tests ends a text with [SEP], which is no part of it


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def causal(request, tmp_path_factory):
    return subject(tmp_path_factory.mktemp("causal") / "model", request.param)


def test_perplexity_is_the_sum_over_every_token_of_the_text(causal, tmp_path: Path) -> None:
    found = answers_of(causal, task(tmp_path, TEXTS, kind="perplexity")).columns
    for i, row in enumerate(TEXTS):
        ids = ids_of(causal, row["text"])
        assert found["nats"][i] == pytest.approx(nats_by_hand(causal.model, ids, 1), rel=1e-5)
        assert found["tokens"][i] == len(ids) - 1
        assert found["bytes"][i] == len(row["text"].encode())
    assert found["bytes"][-1] > len(TEXTS[-1]["text"])  # bytes, not characters


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    class Uniform(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, input_ids, attention_mask):
            return SimpleNamespace(logits=torch.zeros(*input_ids.shape, 8))

    assert span_nats(Uniform(), [Span((1, 2, 3, 4), 1), Span((1, 2), 1)], fill=0) == pytest.approx(
        [3 * math.log(8), math.log(8)]
    )


@pytest.mark.parametrize(("limit", "stride"), [(4, None), (4, 1), (5, 3), (2, None), (3, 9), (None, None), (50, 2)])
def test_windows_predict_every_token_but_the_first_once(limit, stride) -> None:
    ids = tuple(range(100, 117))
    spans = list(windows(ids, limit, stride))
    assert [token for span in spans for token in span.ids[span.first :]] == list(ids[1:])
    assert all(span.first >= 1 for span in spans)
    assert all(len(span.ids) <= (limit or len(ids)) for span in spans)
    for span in spans:  # what stands before a predicted token is what stood before it in the text
        start = ids.index(span.ids[0])
        assert span.ids == ids[start : start + len(span.ids)]


def test_windows_of_half_a_stride_keep_half_a_window_of_context() -> None:
    assert [(span.ids, span.first) for span in windows(range(8), 4)] == [
        ((0, 1, 2, 3), 1),
        ((2, 3, 4, 5), 2),
        ((4, 5, 6, 7), 2),
    ]


def test_a_long_text_is_predicted_in_windows(causal, tmp_path: Path) -> None:
    text = "the wine of the north is dry and pale and long"
    about = task(tmp_path, [{"text": text}], kind="perplexity", max_length=6, stride=2)
    ids = ids_of(causal, text)
    expected = sum(nats_by_hand(causal.model, span.ids, span.first) for span in windows(ids, 6, 2))
    found = answers_of(causal, about).columns
    assert found["nats"][0] == pytest.approx(expected, rel=1e-5)
    assert found["tokens"][0] == len(ids) - 1


def test_masked_models_hide_one_token_at_a_time(tmp_path: Path) -> None:
    asked = subject(tmp_path / "model", "bert masked")
    rows = [{"text": text} for text in WORDS]
    found = answers_of(asked, task(tmp_path, rows, kind="perplexity")).columns
    for i, row in enumerate(rows):
        ids = asked.tokenizer(row["text"])["input_ids"]
        nats = 0.0
        for at in range(1, len(ids) - 1):  # [CLS] and [SEP] are no part of the text
            hidden = [*ids[:at], asked.tokenizer.mask_token_id, *ids[at + 1 :]]
            nats -= float(log_probabilities(asked.model, hidden)[at, ids[at]])
        assert found["nats"][i] == pytest.approx(nats, rel=1e-5)
        assert found["tokens"][i] == len(ids) - 2


@pytest.mark.parametrize("length", ["none", "tokens", "bytes"])
def test_the_likeliest_choice_is_taken(causal, tmp_path: Path, length: str) -> None:
    about = task(tmp_path, QUESTIONS, kind="multiple-choice", length=length)
    found = answers_of(causal, about).columns["correct"]
    for i, row in enumerate(QUESTIONS):
        scores = []
        for choice in row["choices"]:
            before, whole = ids_of(causal, row["prompt"]), ids_of(causal, f"{row['prompt']} {choice}")
            size = {"none": 1, "tokens": len(whole) - len(before), "bytes": len(choice)}[length]
            scores.append(-nats_by_hand(causal.model, whole, len(before)) / size)
        right = row["choices"].index(row["answer"]) if isinstance(row["answer"], str) else row["answer"]
        assert found[i] == (int(np.argmax(scores)) == right)


def test_choices_that_melt_into_the_prompt_are_predicted_from_the_same_token_on(causal) -> None:
    from cuvee.judging.asking.choices import choice_spans

    # without a space between, "win" + "es" is written in other tokens than "win" alone
    spans = choice_spans({"prompt": "the win", "choices": ["es", "e"]}, causal.tokenizer, "")
    assert len({span.first for span in spans}) == 1
    assert len({span.ids[: span.first] for span in spans}) == 1
    assert all(span.ids[1:] == tuple(ids_of(causal, f"the win{end}")[1:]) for span, end in zip(spans, ("es", "e")))
