"""Models that do not say of a padded or a changed text what they say of it alone, and that nothing warns of."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BartConfig, MptConfig, RobertaConfig, RwkvConfig

from cuvee.errors import InputError
from cuvee.generate import TokenEnsemble
from cuvee.generate.manners import manners_of
from cuvee.generate.writer import Manners
from tests.support.writing import byte_level, causal, pieces

IDS = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": None}
PROMPTS = ["a", "the cat sat on the mat and the dog"]
NOTHING = Manners(beside=False, further=False, changed=False)


def odd(kind: str) -> Any:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    decoder = {"d_model": 32, "decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 48}
    config = {
        # takes a mask, and does not look at it
        "rwkv": lambda: RwkvConfig(**IDS, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32),
        # positions begin behind the padding's number, and are not to be counted from 0
        "roberta": lambda: RobertaConfig(
            **IDS, **small, pad_token_id=2, is_decoder=True, max_position_embeddings=64, type_vocab_size=1
        ),
        # positions count padding
        "bart": lambda: BartConfig(**IDS, **decoder, pad_token_id=2, is_decoder=True, is_encoder_decoder=False),
        # distances are those of places in the cache
        "mpt": lambda: MptConfig(**IDS, d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
    }[kind]()
    torch.manual_seed(0)
    return _sharp(AutoModelForCausalLM.from_config(config))


def _sharp(model: Any) -> Any:
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return model.eval()


@cache
def made(kind: str) -> Any:
    return odd(kind)


@pytest.mark.parametrize("kind", ["rwkv", "roberta", "bart"])
def test_what_cannot_be_read_side_by_side_is_read_alone(kind: str) -> None:
    """Each token is the likeliest that the bare model finds, and the caller is told why it takes so long."""
    model, tokenizer = made(kind), byte_level()
    found = TokenEnsemble([(model, tokenizer)]).generate(PROMPTS, max_new_tokens=3)
    for prompt, one in zip(PROMPTS, found, strict=True):
        ids = tokenizer(prompt)["input_ids"]
        for token in one.ids:
            with torch.no_grad():
                assert token == int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            ids = [*ids, token]
    assert manners_of(model, 320) == NOTHING
    assert any("one after the other" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["llama", pytest.param("mamba", marks=pytest.mark.slow)])
def test_what_can_be_read_side_by_side_is(kind: str) -> None:
    model = causal(kind, 320)
    assert manners_of(model, 320) == Manners()
    assert manners_of(model.bfloat16(), 320) == Manners()


def test_a_model_that_measures_places_of_its_cache_has_none_of_them_masked() -> None:
    assert manners_of(made("mpt"), 320) == Manners(changed=False)
    pairs = [(made("mpt"), byte_level()), (causal("llama", len(pieces()), 1), pieces())]
    how: dict[str, Any] = {"max_new_tokens": 7, "temperature": 1.2, "seed": 1}
    together = TokenEnsemble(pairs, weights=[3, 1]).generate(PROMPTS, **how)
    alone = [TokenEnsemble(pairs, weights=[3, 1], cache=False).generate([p], **how)[0] for p in PROMPTS]
    assert [one.pieces for one in together] == [one.pieces for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logs == pytest.approx(other.logs, abs=1e-4)


@pytest.mark.parametrize("align", ["auto", "topk_union", "byte"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused_by_name(align: Any, value: float) -> None:
    broken = causal("llama", 320, 1)
    with torch.no_grad():
        broken.get_output_embeddings().weight[7] = value
    both = TokenEnsemble({"sound": (causal("llama", 320), byte_level()), "broken": (broken, byte_level())}, align=align)
    with pytest.raises(InputError, match="broken must give finite logits") as told:
        both.generate(["the cat"], max_new_tokens=3)
    assert told.value.faults[0].code == "bad-output"
