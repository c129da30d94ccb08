"""Everything that cannot be written with is told before anything is written."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from cuvee.errors import CuveeError, InputError, UsageError
from cuvee.generate import TokenEnsemble
from tests.support.writing import byte_level, causal, permuted, pieces, reordered, wrapped


@cache
def pair(size: int | None = None, **more: Any) -> tuple[Any, Any]:
    return causal("gpt2", size or len(byte_level()), **more), byte_level()


def refused(error: type[CuveeError], code: str, *words: str, models: Any = None, **given: Any) -> CuveeError:
    with pytest.raises(error) as caught:
        TokenEnsemble([pair(), pair()] if models is None else models, **given)
    assert code in caught.value.codes
    for word in words:
        assert word in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "weights", [[1], [1, 2, 3], [1, -1], [0, 0], [1, float("nan")], [1, float("inf")], "ab", 1, [True, 1]]
)
def test_weights_are_one_sound_number_for_each_model(weights: Any) -> None:
    refused(UsageError, "bad-weights", "`weights`", repr(weights), weights=weights)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"space": "mean"}, "prob, log, contrastive"),
        ({"align": "strings"}, "topk_union"),
        ({"gate": "always"}, "`gate`"),
        ({"gate": -1.0}, "`gate`"),
        ({"top": 0}, "`top`"),
        ({"temperature": 0}, "`temperature`"),
        ({"temperature": [1.0]}, "all 2 models"),
        ({"space": "contrastive", "alpha": float("nan")}, "`alpha`"),
        ({"space": "contrastive", "plausible": 2}, "`plausible`"),
        ({"plausible": 0.1}, "contrastive arithmetic alone"),
        ({"space": "log", "alpha": 2.0}, "contrastive arithmetic alone"),
    ],
)
def test_settings_are_checked(given: dict[str, Any], word: str) -> None:
    refused(UsageError, "bad-argument", word, **given)


def test_all_faults_of_a_call_are_told_at_once() -> None:
    found = refused(UsageError, "bad-weights", weights=[1], gate="x", top=0)
    assert sorted(found.codes) == ["bad-argument", "bad-argument", "bad-weights"]


def test_contrastive_needs_two_models_or_three() -> None:
    refused(UsageError, "wrong-number-of-models", "found 1 models", models=[pair()], space="contrastive")
    refused(UsageError, "wrong-number-of-models", "found 4", models=[pair()] * 4, space="contrastive")
    refused(UsageError, "bad-weights", "alpha", space="contrastive", weights=[1, 1])


@pytest.mark.parametrize("models", [[], "folder", {}, None.__class__, 3])
def test_models_are_a_list_or_a_mapping(models: Any) -> None:
    refused(UsageError, "bad-argument", "`models`", models=models)
    refused(UsageError, "bad-argument", "model 1", models=[3.5])


def test_a_tokenizer_larger_than_the_logits_is_refused() -> None:
    text = refused(InputError, "vocabulary-mismatch", "up to 319", "300", models=[pair(), (pair(300)[0], byte_level())])
    assert "model 2" in str(text)
    assert "resize the embeddings" in str(text)


def test_a_folder_without_models_or_tokenizers_is_refused_with_all_others(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    pair()[0].save_pretrained(folder)
    found = refused(InputError, "no-tokenizer", "bare", models=[folder, tmp_path / "nowhere", (pair()[0], None)])
    assert sorted(found.codes) == ["model-missing", "no-tokenizer", "no-tokenizer"]


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    pair()[0].save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{", "utf-8")
    refused(InputError, "no-tokenizer", "damaged", models=[folder, pair()])


def test_folders_write_as_their_models_do(tmp_path: Path) -> None:
    pair()[0].save_pretrained(tmp_path / "one")
    byte_level().save_pretrained(tmp_path / "one")
    found = TokenEnsemble([tmp_path / "one", str(tmp_path / "one")], dtype="float32")
    assert [one.name for one in found.members] == ["one 1", "one 2"]
    assert found.generate(["the cat"], max_new_tokens=6).texts == (
        TokenEnsemble([pair()]).generate(["the cat"], max_new_tokens=6).texts
    )


def test_a_model_of_another_kind_is_refused() -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    masked = BertForMaskedLM(BertConfig(vocab_size=320, **small))
    refused(InputError, "wrong-model", "BertForMaskedLM", models=[pair(), (masked, byte_level())])


def test_vocabularies_that_are_not_what_was_asked_for_are_refused() -> None:
    other, order = permuted(byte_level())
    copied = (reordered(pair()[0], order), other)
    refused(
        InputError,
        "no-vocabulary-map",
        "model 1",
        "model 2",
        "320",
        "permuted",
        models=[pair(), copied],
        align="identical",
    )
    different = (causal("gpt2", len(pieces())), pieces())
    sizes = f"320 and {len(pieces())} tokens"
    for align in ("identical", "permuted"):
        refused(InputError, "no-vocabulary-map", sizes, "topk_union", models=[pair(), different], align=align)


def called(error: type[CuveeError], code: str, *words: str, prompts: Any = ("the cat",), **given: Any) -> None:
    with pytest.raises(error) as caught:
        TokenEnsemble([pair(None, n_positions=32)]).generate(prompts, **given)
    assert caught.value.code == code
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("prompts", [[], "the cat", None, [3], [[]], [[{"role": "user"}]]])
def test_prompts_are_texts_or_conversations(prompts: Any) -> None:
    called(UsageError, "bad-argument", "prompt", prompts=prompts)


@pytest.mark.parametrize(
    "given",
    [{"max_new_tokens": 0}, {"n": 0}, {"n": 2}, {"stop": "x"}, {"stop": [""]}, {"batch_size": 0}, {"seed": "1"}],
)
def test_calls_are_checked(given: dict[str, Any]) -> None:
    called(UsageError, "bad-argument", next(iter(given)), **given)


def test_an_empty_prompt_needs_a_beginning() -> None:
    called(InputError, "bad-data", "prompt 1 has no tokens", "not empty", prompts=["the", ""], max_new_tokens=2)


def test_a_prompt_too_long_for_a_model_is_refused() -> None:
    words = ("prompt 1", "model 1", "with 8 new ones", "the 32", "max_new_tokens to 0")
    called(InputError, "bad-data", *words, prompts=["the", "x " * 40], max_new_tokens=8)


def test_a_prompt_that_a_tokenizer_cannot_write_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<pad>": 2, "the": 3, "cat": 4}))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ensemble = TokenEnsemble([(causal("gpt2", 5), wrapped(words))])
    assert set(ensemble.generate(["the cat"], max_new_tokens=4)[0].text.split()) <= {"the", "cat"}
    with pytest.raises(InputError, match=r"cannot write 'the dog'") as caught:
        ensemble.generate(["the cat", "the dog"])
    assert caught.value.code == "bad-data"


def test_a_conversation_needs_a_chat_template() -> None:
    told = [[{"role": "user", "content": "the cat"}]]
    called(InputError, "no-tokenizer", "prompt 0", "model 1", "chat_template", prompts=told)


def test_a_stream_refuses_at_the_call() -> None:
    with pytest.raises(InputError):
        TokenEnsemble([pair()]).stream("")


def test_the_largest_weights_are_divided_by_their_sum() -> None:
    assert TokenEnsemble([pair(), pair()], weights=[1e308, 1e308]).fusion.weights == (0.5, 0.5)


@pytest.mark.parametrize("stop", [5, None])
def test_stops_are_a_list(stop: Any) -> None:
    with pytest.raises(UsageError, match="`stop` must be a list of texts"):
        TokenEnsemble([pair()]).generate(["the cat"], stop=stop)


def test_what_writes_nothing_behind_a_text_is_refused() -> None:
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=320, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    refused(InputError, "wrong-model", "T5ForConditionalGeneration", models=[(t5, byte_level())])
    refused(InputError, "wrong-model", "Linear", models=[(torch.nn.Linear(2, 2), byte_level())])
    refused(InputError, "no-tokenizer", "found str", models=[(pair()[0], "words")])


@pytest.mark.parametrize("align", ["auto", "topk_union", "byte"])
def test_an_end_that_the_tokenizer_does_not_have_is_none(align: Any) -> None:
    """As configurations have that were made for another vocabulary."""
    model = causal("gpt2", len(byte_level()))
    model.generation_config.eos_token_id = 50256
    both = TokenEnsemble([(model, byte_level()), pair()], align=align)
    assert both.members[0].vocabulary.ends == (1,)
    assert len(both.generate(["the cat"], max_new_tokens=2)[0]) == 2
