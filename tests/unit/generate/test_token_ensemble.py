"""Models that write together, with transformers' own `generate` as the judge wherever it can be."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cuvee.generate import TokenEnsemble
from cuvee.generate.fusing import logs_of
from cuvee.generate.reading import plain
from cuvee.generate.rows import Row
from tests.support.writing import PROMPTS, byte_level, causal, own_greedy, permuted, pieces, reordered

KINDS = ("llama", "gpt2", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mamba", "qwen2", "mistral")))
MOST = 9


@cache
def model(kind: str = "llama", seed: int = 0) -> tuple[Any, PreTrainedTokenizerFast]:
    return causal(kind, len(byte_level()), seed), byte_level()


@cache
def own(kind: str = "llama", seed: int = 0) -> list[list[int]]:
    return [own_greedy(*model(kind, seed), prompt, MOST) for prompt in PROMPTS]


def ids(ensemble: TokenEnsemble, prompts: Sequence[str] = PROMPTS, **how: Any) -> list[list[int]]:
    return [list(one.ids) for one in ensemble.generate(prompts, max_new_tokens=MOST, **how)]


def logits_of(pair: tuple[Any, Any], tokens: Sequence[int]) -> torch.Tensor:
    with torch.inference_mode():
        return pair[0](torch.tensor([list(tokens)])).logits[0, -1]


# --- one model is itself


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", ["prob", "log"])
def test_a_model_with_itself_writes_what_it_writes_alone(kind: str, space: Any) -> None:
    found = TokenEnsemble([model(kind), model(kind)], space=space).generate(PROMPTS, max_new_tokens=MOST)
    assert [list(one.ids) for one in found] == own(kind)
    assert found.align == "identical"
    assert found.agreement == {"model 1": 1.0, "model 2": 1.0}
    assert len({tuple(one) for one in own(kind)}) > 1  # the prompts matter


@pytest.mark.parametrize("kind", KINDS)
def test_without_cache_the_tokens_are_the_same(kind: str) -> None:
    two, some = [model(kind), model(kind, 1)], PROMPTS[2:]
    assert ids(TokenEnsemble(two), some) == ids(TokenEnsemble(two, cache=False), some)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_writes_what_its_prompts_write_one_by_one(kind: str) -> None:
    both = TokenEnsemble([model(kind), model(kind, 1)])
    some = PROMPTS[2:]  # the shortest and the longest
    alone = [ids(both, [prompt])[0] for prompt in some]
    assert ids(both, some) == alone


def test_padding_is_masked_as_transformers_masks_it() -> None:
    it, tokenizer = model("gpt2")
    tokenizer.padding_side = "left"
    batch = tokenizer(list(PROMPTS), padding=True, return_tensors="pt")
    made = it.generate(**{k: batch[k] for k in ("input_ids", "attention_mask")}, max_new_tokens=MOST, pad_token_id=2)
    assert ids(TokenEnsemble([model("gpt2")])) == made[:, batch["input_ids"].shape[1] :].tolist()


def test_dropout_that_was_left_on_is_off_while_writing() -> None:
    it = copy.deepcopy(model("gpt2")[0]).train()
    assert ids(TokenEnsemble([(it, byte_level())])) == own("gpt2")
    assert it.training


# --- where texts end


def test_every_end_of_a_model_ends_its_texts() -> None:
    """Two ends, taken from what is written; rows end on their own, as in transformers."""
    it = copy.deepcopy(model()[0])
    ends = [own()[0][4], own()[1][7]]
    it.generation_config.eos_token_id = ends
    found = TokenEnsemble([(it, byte_level())]).generate(PROMPTS, max_new_tokens=MOST)
    expected = [own_greedy(it, byte_level(), prompt, MOST) for prompt in PROMPTS]
    assert [list(one.ids) for one in found] == expected
    assert [one.reason for one in found][:2] == ["end", "end"]
    assert len({len(one) for one in found}) > 1
    assert found[0].ids[-1] in ends


def test_a_stop_string_ends_a_text_where_transformers_ends_it() -> None:
    it, tokenizer = model()
    whole = TokenEnsemble([model()]).generate(PROMPTS[:1], max_new_tokens=MOST)[0]
    stop = whole.text[5:8]
    found = TokenEnsemble([model()]).generate(PROMPTS[:1], max_new_tokens=MOST, stop=[stop])[0]
    given = tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    theirs = it.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=MOST,
        stop_strings=[stop],
        tokenizer=tokenizer,
        pad_token_id=2,
    )
    assert list(found.ids) == theirs[0, given.shape[1] :].tolist()
    assert found.text == whole.text[: whole.text.index(stop)]
    assert (found.reason, len(found) < len(whole)) == ("stop", True)


def test_an_end_that_only_one_model_has_goes_to_a_common_one() -> None:
    """The other model's end is a token of its own: its probability counts as that of the first's end."""
    special = copy.deepcopy(byte_level())
    special.add_special_tokens({"additional_special_tokens": ["<|over|>"]})
    second = causal("llama", len(special), 1)
    second.generation_config.eos_token_id = [1, len(special) - 1]
    both = TokenEnsemble([model(), (second, special)])
    assert both.align == "permuted"
    logits = [logits_of(model(), [5, 6]), logits_of((second, special), [5, 6])]
    stack, _ = both._way.candidates([one[None] for one in logits], [])
    theirs = logits[1].double().softmax(-1)
    assert float(stack[1, 0, 1].exp()) == pytest.approx(float(theirs[1] + theirs[-1]), rel=1e-6)


# --- vocabularies


def test_a_permuted_copy_is_mapped_without_any_difference() -> None:
    other, order = permuted(byte_level())
    copied = reordered(model()[0], order)
    both = TokenEnsemble([model(), (copied, other)])
    assert both.align == "permuted"
    given = byte_level()(PROMPTS[3])["input_ids"]
    theirs = logits_of((copied, other), other(PROMPTS[3])["input_ids"])
    stack, _ = both._way.candidates([logits_of(model(), given)[None], theirs[None]], [])
    assert float((stack[0] - stack[1]).abs().max()) == 0.0
    assert ids(both) == own()


def test_averaging_a_permuted_copy_by_ids_is_wrong() -> None:
    other, order = permuted(byte_level())
    copied = reordered(model()[0], order)
    given = byte_level()(PROMPTS[3])["input_ids"]
    right = logs_of(logits_of(model(), given))
    by_id = right.exp() + logs_of(logits_of((copied, other), other(PROMPTS[3])["input_ids"])).exp()
    assert int(by_id.argmax()) != int(right.argmax())


def test_logits_of_rows_that_no_token_has_are_never_written() -> None:
    """An embedding padded to a multiple of 64, whose idle rows would win."""
    wide = causal("gpt2", 384)
    with torch.no_grad():
        wide.get_output_embeddings().weight[len(byte_level()) :] *= 1e3
    found = TokenEnsemble([(wide, byte_level())]).generate(PROMPTS, max_new_tokens=MOST)
    assert int(logits_of((wide, None), byte_level()(PROMPTS[0])["input_ids"]).argmax()) >= len(byte_level())
    assert all(token < len(byte_level()) for one in found for token in one.ids)


def test_one_vocabulary_padded_in_one_model_is_still_identical() -> None:
    both = TokenEnsemble([model(), (causal("llama", 384, 1), byte_level())])
    assert both.align == "identical"
    both.generate(PROMPTS, max_new_tokens=3)


# --- several models


def slow_next(
    pairs: Sequence[tuple[Any, Any]], tokens: Sequence[int], weights: Sequence[float], space: str
) -> list[float]:
    """The fused distribution behind some tokens in plain floats."""
    each = []
    for pair in pairs:
        powers = [math.exp(z - 50) for z in logits_of(pair, tokens).double().tolist()]
        each.append([one / math.fsum(powers) for one in powers])
    if space == "prob":
        return [math.fsum(w * p for w, p in zip(weights, column, strict=True)) for column in zip(*each, strict=True)]
    products = [math.prod(p**w for w, p in zip(weights, column, strict=True)) for column in zip(*each, strict=True)]
    return [one / math.fsum(products) for one in products]


@pytest.mark.parametrize("space", ["prob", "log"])
def test_every_token_is_the_likeliest_of_the_slow_mean(space: Any) -> None:
    pairs, weights = [model("llama", 1), model("gpt2", 2), model("qwen2", 3)], [0.5, 0.2, 0.3]
    found = TokenEnsemble(pairs, space=space, weights=[5, 2, 3]).generate(PROMPTS[:2], max_new_tokens=4)
    for prompt, one in zip(PROMPTS[:2], found, strict=True):
        tokens = byte_level()(prompt)["input_ids"]
        for token, log in zip(one.ids, one.logs, strict=True):
            slow = slow_next(pairs, tokens, weights, space)
            assert token == slow.index(max(slow))
            assert math.exp(log) == pytest.approx(max(slow), rel=1e-4)
            tokens = [*tokens, token]


def test_an_expert_moves_the_base_as_the_formula_says() -> None:
    roles = {"expert": model("llama", 1), "anti": model("llama", 2), "base": model("gpt2", 3)}  # in any order
    found = TokenEnsemble(roles, space="contrastive", alpha=0.8).generate(PROMPTS[:1], max_new_tokens=6)[0]
    tokens = byte_level()(PROMPTS[0])["input_ids"]
    for token in found.ids:
        base, expert, anti = (logits_of(roles[role], tokens).double() for role in ("base", "expert", "anti"))
        assert token == int((base + 0.8 * (expert - anti)).argmax())
        tokens = [*tokens, token]
    assert list(found.agreed) == ["base", "expert", "anti"]


def test_an_expert_and_its_amateur_are_contrastive_decoding() -> None:
    expert, amateur = model("llama", 1), model("gpt2", 2)
    found = TokenEnsemble([expert, amateur], space="contrastive", alpha=0.5, plausible=0.1)
    first = found.generate(PROMPTS[:1], max_new_tokens=1)[0].ids[0]
    strong, weak = (logits_of(one, byte_level()(PROMPTS[0])["input_ids"]).double() for one in (expert, amateur))
    moved = (strong + 0.5 * (strong - weak)).masked_fill(strong.softmax(-1) < 0.1 * strong.softmax(-1).max(), -math.inf)
    assert first == int(moved.argmax())


def test_a_gate_leaves_what_all_agree_on_to_the_first_model() -> None:
    how: dict[str, Any] = {"max_new_tokens": MOST}
    some, two = PROMPTS[:2], [model(), model("llama", 1)]
    both = TokenEnsemble([model(), model()], gate="disagree").generate(some, **how)
    assert (both.fused_share, [list(one.ids) for one in both]) == (0.0, own()[:2])
    mixed = TokenEnsemble(two, gate="disagree").generate(some, **how)
    assert mixed.fused_share > 0
    # the likeliest are the same where they agree
    assert [one.ids for one in mixed] == [one.ids for one in TokenEnsemble(two).generate(some, **how)]
    assert [list(one.ids) for one in TokenEnsemble(two, gate=1e9).generate(some, **how)] == own()[:2]


# --- draws, streams, results


def test_draws_depend_on_prompt_and_seed_and_not_on_companions() -> None:
    both = TokenEnsemble([model(), model("llama", 1)])
    how: dict[str, Any] = {"temperature": 1.0, "seed": 3}
    three = PROMPTS[1:]
    together = ids(both, three, **how)
    assert ids(both, three[:1], **how) == together[:1]
    assert ids(both, three[::-1], batch_size=2, **how) == together[::-1]
    assert ids(both, three, temperature=1.0, seed=4) != together


def test_samples_of_a_prompt_differ_and_more_of_them_change_none() -> None:
    both = TokenEnsemble([model()])
    three = ids(both, PROMPTS[:1], n=3, temperature=1.0)
    assert len({tuple(one) for one in three}) == 3
    assert ids(both, PROMPTS[:1], n=2, temperature=1.0) == three[:2]
    assert ids(both, [PROMPTS[0]] * 2, temperature=1.0) == three[:2]  # a prompt given twice is two samples of it


@pytest.mark.parametrize(("seed", "stop"), [(0, []), (1, ["e", "r"])])
def test_a_stream_is_the_text(seed: int, stop: list[str]) -> None:
    both = TokenEnsemble([model(), model("gpt2", 1)])
    how: dict[str, Any] = {"max_new_tokens": 12, "temperature": 1.0, "seed": seed, "stop": stop}
    streamed = list(both.stream(PROMPTS[3], **how))
    assert "".join(streamed) == both.generate(PROMPTS[3:], **how).texts[0]
    assert all(streamed)


def test_texts_of_a_batch_are_shown_as_they_are_written() -> None:
    shown = [""] * 4
    order: list[int] = []

    def show(number: int, piece: str) -> None:
        shown[number] += piece
        order.append(number)

    found = TokenEnsemble([model()]).generate(PROMPTS, max_new_tokens=MOST, batch_size=3, show=show)
    assert tuple(shown) == found.texts
    assert order.index(1) < len(order) - 1 - order[::-1].index(0)  # side by side, not one after the other


def test_a_result_says_what_was_done() -> None:
    found = TokenEnsemble({"small": model(), "other": model("llama", 1)}).generate(PROMPTS, max_new_tokens=5)
    assert (len(found), found.tokens, found.fused_share) == (4, 20, 1.0)
    assert list(found.agreement) == ["small", "other"]
    assert found.tokens_per_second > 0
    one = found[3]
    assert one.text == b"".join(one.pieces).decode("utf-8", "replace")
    assert one.mean_log == pytest.approx(sum(one.logs) / 5)
    assert one.text == byte_level().decode(list(one.ids), clean_up_tokenization_spaces=False)


# --- prompts in each model's own way


TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}bot:{% endif %}"
)


def with_template(template: str) -> PreTrainedTokenizerFast:
    told = copy.deepcopy(byte_level())
    told.chat_template = template
    return told


def test_every_model_reads_conversations_by_its_own_template() -> None:
    plain = with_template("{{ messages[0].content }}")
    both = TokenEnsemble([(model()[0], with_template(TEMPLATE)), (model("llama", 1)[0], plain)])
    rows = both._rows([[{"role": "user", "content": "the cat"}]], 4, 1, _sampling(), [], 1)
    assert [prompt.text for prompt in rows[0].prompts] == ["<s>user: the cat\nbot:", "the cat"]
    assert rows[0].prompts[0].ids[0] == 0  # the template's own `<s>`, and no second one
    assert any("chat templates" in note for note in both.notes)
    assert both.generate([[{"role": "user", "content": "the cat"}]], max_new_tokens=4).notes == both.notes


def test_models_begin_texts_in_their_own_way_and_it_is_noted() -> None:
    starts = pieces()
    both = TokenEnsemble([(causal("llama", len(starts)), starts), (causal("llama", len(starts), 1), beginning(starts))])
    assert both.align == "identical"
    rows: list[Row] = both._rows(["the cat"], 4, 1, _sampling(), [], 1)
    first, second = (prompt.ids for prompt in rows[0].prompts)
    assert second == (1, *first)
    assert both.notes == ("model 1 begins texts with nothing, model 2 with '<s>': each reads prompts in its own way",)


def beginning(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    from tokenizers import processors

    made = copy.deepcopy(tokenizer)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def _sampling() -> Any:
    from cuvee.generate.drawing import Sampling

    return Sampling()


def test_logits_stay_where_they_are() -> None:
    logits = torch.zeros(2, 3)
    assert plain(logits) is logits
