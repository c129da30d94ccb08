"""Models of different vocabularies, against a slow loop that reads every text from its beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from cuvee.generate import TokenEnsemble
from cuvee.generate.union import Union, _shares
from cuvee.generate.vocabulary import Vocabulary, vocabulary_of
from tests.support.writing import PROMPTS, byte_level, causal, pieces, wrapped

MOST = 6
TOP = 6


@cache
def first() -> tuple[Any, Any]:
    return causal("llama", len(byte_level())), byte_level()


@cache
def second(kind: str = "gpt2", seed: int = 1) -> tuple[Any, Any]:
    return causal(kind, len(pieces()), seed), pieces()


@cache
def half_letters() -> frozenset[bytes]:
    """Every beginning of a letter of several bytes."""
    letters = [chr(c).encode() for c in range(0x80, 0x110000, 64) if not 0xD800 <= c < 0xE000]
    return frozenset(letter[:size] for letter in letters for size in range(1, len(letter)))


def slow_step(
    pairs: Sequence[tuple[Any, Any]], words: Sequence[Vocabulary], prompt: str, text: bytes
) -> dict[bytes, float]:
    """What may come behind a text, by the five steps that `union` names, in plain floats."""
    each = []
    for (model, tokenizer), vocabulary in zip(pairs, words, strict=True):
        size = next((size for size in (3, 2, 1) if text[-size:] in half_letters()), 0)
        whole, rest = text[: len(text) - size].decode("utf-8", "replace"), text[len(text) - size :]
        ids = tokenizer(prompt + whole)["input_ids"] + [vocabulary.by_bytes[bytes([b])][0] for b in rest]
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1].double().tolist()
        top = max(logits)
        powers = [math.exp(z - top) for z in logits]
        each.append([p / math.fsum(powers) for p in powers])
    named: list[bytes] = []
    for p, vocabulary in zip(each, words, strict=True):
        writing = [i for i, written in enumerate(vocabulary.written) if written or i in vocabulary.ends]
        named += [vocabulary.written[i] or b"" for i in sorted(writing, key=lambda i: -p[i])[:TOP]]
    named = list(dict.fromkeys(named))
    total = dict.fromkeys(named, 0.0)
    for p, vocabulary in zip(each, words, strict=True):
        given = {}
        for one in named:
            own = [i for i, written in enumerate(vocabulary.written) if (written or b"") == one]
            if one == b"":  # the end
                own = list(vocabulary.ends)
            if not own:
                starts = [i for i, written in enumerate(vocabulary.written) if written and one.startswith(written)]
                own = [max(starts, key=lambda i: len(vocabulary.written[i] or b""))]
            given[one] = math.fsum(p[i] for i in own)
        for one in named:
            total[one] += given[one] / math.fsum(given.values()) / len(pairs)
    return total


@pytest.mark.parametrize(
    "prompt", [*PROMPTS[2:], *(pytest.param(prompt, marks=pytest.mark.slow) for prompt in PROMPTS[:2])]
)
def test_different_vocabularies_write_what_the_slow_loop_writes(prompt: str) -> None:
    pairs = [first(), second()]
    words = [vocabulary_of(tokenizer, "it") for _, tokenizer in pairs]
    found = TokenEnsemble(pairs, top=TOP).generate([prompt], max_new_tokens=MOST)
    assert found.align == "topk_union"
    text = b""
    for piece, log in zip(found[0].pieces, found[0].logs, strict=True):
        slow = slow_step(pairs, words, prompt, text)
        best = max(slow, key=lambda one: slow[one])
        assert piece == best
        assert math.exp(log) == pytest.approx(slow[best], rel=1e-3)
        text += piece


def test_a_model_with_itself_writes_the_text_that_it_reads_again() -> None:
    """As alone, but every token is the likeliest behind the text as its tokenizer would write it."""
    model, tokenizer = first()
    words = vocabulary_of(tokenizer, "it")
    found = TokenEnsemble([first(), first()], align="topk_union").generate(["one two"], max_new_tokens=MOST)[0]
    ids = tokenizer("one two")["input_ids"]
    text = b""
    for piece in found.pieces:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        logits = logits.index_fill(0, torch.tensor([0, 2]), -math.inf)
        assert piece == (words.written[int(logits.argmax())] or b"")
        text += piece
        try:
            ids = tokenizer("one two" + text.decode())["input_ids"]
        except UnicodeDecodeError:
            break
    assert found.agreed == {"model 1": len(found), "model 2": len(found)}
    assert text


@pytest.mark.parametrize(
    "kind",
    ["gpt2", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mistral", "llama", "mamba"))],
)
def test_batches_and_caches_change_nothing(kind: str) -> None:
    """Rows grow and are cut differently, in one cache."""
    pairs = [first(), second(kind)]
    together = TokenEnsemble(pairs).generate(PROMPTS[1:], max_new_tokens=MOST)
    alone = [TokenEnsemble(pairs, cache=False).generate([prompt], max_new_tokens=MOST)[0] for prompt in PROMPTS[1:]]
    assert [one.pieces for one in together] == [one.pieces for one in alone]


def test_what_was_read_is_read_once() -> None:
    """The cache is cut where two tokenisations part, and not begun again."""
    from cuvee.generate.writer import Writer

    reading = Writer(first()[0])
    forgetful = Writer(first()[0], cached=False)
    rows: list[list[int]] = [[5, 6, 7, 8], [9, 10]]
    steps: list[list[list[int]]] = [
        rows,
        [[5, 6, 7, 9, 4], [9, 10, 11]],
        [[5, 6, 3], [9, 10, 11, 12, 13]],
        [[5, 6, 3, 3], [9, 4]],
    ]
    for step in steps:
        assert torch.allclose(reading.next_logits(step), forgetful.next_logits(step), atol=1e-4)
    assert reading.tokens_read == 6 + 3 + 3 + 2


def test_the_end_is_a_candidate_of_its_own() -> None:
    """Models whose ends have other names and numbers: together they end."""
    pairs = []
    for model, tokenizer in (first(), second()):
        model.generation_config.eos_token_id = None
        with torch.no_grad():
            sure = _always(model, int(tokenizer.eos_token_id))
        pairs.append((sure, tokenizer))
    found = TokenEnsemble(pairs).generate(PROMPTS, max_new_tokens=MOST)
    assert [(one.reason, one.text, len(one)) for one in found] == [("end", "", 1)] * 4


def _always(model: Any, token: int) -> Any:
    import copy

    made = copy.deepcopy(model)
    head = made.get_output_embeddings()
    head.weight = torch.nn.Parameter(torch.zeros_like(head.weight))
    head.bias = torch.nn.Parameter(torch.zeros(len(head.weight)))
    head.bias.data[token] = 9.0
    return made


def test_a_candidate_that_another_model_cannot_read_is_dropped() -> None:
    """Half a letter, and a model without tokens for single bytes."""
    both = TokenEnsemble([first(), second()])
    assert isinstance(both._way, Union)
    assert both._way._can_read(1, "é".encode()[:1])
    words = both.members[1].vocabulary
    words.by_bytes.pop("é".encode()[:1])  # type: ignore[attr-defined]
    assert not both._way._can_read(1, "é".encode()[:1])
    assert both._way._can_read(1, "é".encode())


@pytest.mark.parametrize("space", ["prob", "log", "contrastive"])
def test_every_space_and_draw_works_on_the_union(space: Any) -> None:
    both = TokenEnsemble([first(), second()], space=space)
    found = both.generate(PROMPTS, max_new_tokens=4, temperature=0.8, seed=1)
    assert found.texts == both.generate(PROMPTS, max_new_tokens=4, temperature=0.8, seed=1).texts
    assert all(math.isfinite(log) for one in found for log in one.logs)
    assert "".join(both.stream(PROMPTS[0], max_new_tokens=4, temperature=0.8, seed=1)) == found.texts[0]


def test_a_text_that_outgrows_a_model_is_cut() -> None:
    """As many tokens for one model are more for another: its positions end first."""
    short = causal("gpt2", len(byte_level(262)), 1, n_positions=12)
    found = TokenEnsemble([second("llama"), (short, byte_level(262))]).generate(["one"], max_new_tokens=8)[0]
    assert (found.reason, len(byte_level(262)("one" + found.text)["input_ids"]) <= 16) == ("length", True)


def test_models_without_a_letter_in_common_still_write() -> None:
    """Neither can write what the other names: a product has nothing left, so the first writes alone, and it is told."""
    pairs = [only("abcdef", 1), only("абвгде", 2)]
    found = TokenEnsemble(pairs, space="log").generate(["a"], max_new_tokens=5)
    alone = TokenEnsemble(pairs[:1], align="topk_union").generate(["a"], max_new_tokens=5)
    assert found.fused_share == 0.0
    assert [set(one.text) <= set("abcdef") for one in found] == [True]
    assert found[0].pieces == alone[0].pieces
    for space in ("prob", "contrastive"):
        made = TokenEnsemble(pairs, space=space).generate(["a"], max_new_tokens=5, temperature=1.0)  # type: ignore[arg-type]
        assert all(math.isfinite(log) for log in made[0].logs)


def test_a_model_that_can_write_no_candidate_has_no_preference() -> None:
    both = TokenEnsemble([only("abcdef", 1), only("абвгде", 2)])
    assert isinstance(both._way, Union)
    given = both._way._given(1, torch.zeros(len(both.members[1].vocabulary), dtype=torch.float64), [b"a", b"b"])
    assert _shares(given).exp().tolist() == pytest.approx([0.5, 0.5])


def only(letters: str, seed: int) -> tuple[Any, Any]:
    """A model that knows some letters, and no byte."""
    vocabulary = {name: number for number, name in enumerate(("<unk>", "<s>", "</s>", *letters))}
    made = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = Split("", "isolated")
    made.decoder = Fuse()
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    told = wrapped(made, unk_token="<unk>", pad_token="</s>", eos_token=None)
    return causal("llama", len(vocabulary), seed), told
