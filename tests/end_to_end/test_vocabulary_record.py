"""What a merge of vocabularies tells of itself in its plan and its record, and models that are no Llama."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.errors import CuveeError
from tests.end_to_end.test_merged_vocabularies import ids, merged, model, row_of
from tests.support.command_line import call
from tests.support.tokenizers import CODE, ENGLISH, byte_level, save, wordpiece


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pair")
    return [model(folder / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE)))]


def recipe(parts: list[Path], **more: Any) -> dict[str, Any]:
    models = [{"model": str(one)} for one in parts]
    asked = {"source": "union", "pad_to_multiple_of": 64}
    return {"merge_method": "linear", "parameters": {"weight": 1}, "models": models, "tokenizer": asked, **more}


def test_the_record_says_where_rows_and_tokenizers_come_from(pair: list[Path], tmp_path: Path) -> None:
    result = cuvee.merge(recipe(pair, chat_template="chatml"), tmp_path / "out")
    found = json.loads((tmp_path / "out/cuvee.json").read_text("utf-8"))
    assert found == result.record
    vocabularies, after = [ids(one) for one in pair], ids(tmp_path / "out")
    told = found["vocabulary"]
    assert (told["source"], told["tokens"]) == ("union", len(after))
    assert told["rows"] == -(-len(after) // 64) * 64
    assert found["config_changes"]["vocab_size"] == told["rows"]
    assert json.loads((tmp_path / "out/config.json").read_text("utf-8"))["vocab_size"] == told["rows"]
    for one, folder, vocabulary in zip(told["models"], pair, vocabularies, strict=True):
        assert (one["tokens"], one["own"]) == (len(vocabulary), len(vocabulary))
        assert one["own"] + sum(one["filled"].values()) == told["rows"]
        assert one["tokenizer"]["tokenizer.json"] == digest_file(folder / "tokenizer.json")
    assert cuvee.verify(tmp_path / "out").ok


def test_a_merge_without_a_word_of_vocabularies_has_no_section(pair: list[Path], tmp_path: Path) -> None:
    twin = Path(shutil.copytree(pair[0], tmp_path / "twin"))
    result = cuvee.merge({**recipe([pair[0], twin]), "tokenizer": None}, tmp_path / "out")
    assert "vocabulary" not in result.record
    assert result.record["config_changes"] == {}


def test_a_plan_says_what_becomes_of_the_configuration(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yml").write_text(json.dumps(recipe(pair)), "utf-8")
    told = json.loads(call(capsys, "plan", str(tmp_path / "recipe.yml"), "--json").out)
    cuvee.merge(recipe(pair), tmp_path / "out")
    record = json.loads((tmp_path / "out/cuvee.json").read_text("utf-8"))
    assert told["vocabulary"] == record["vocabulary"]
    assert told["config_changes"] == record["config_changes"]
    text = call(capsys, "plan", str(tmp_path / "recipe.yml")).out
    assert f"union: {record['vocabulary']['tokens']:,} tokens, {record['vocabulary']['rows']:,} rows" in text
    assert f"vocab_size: {record['vocabulary']['rows']}" in text
    assert "as in the donor" not in text


def gpt2(rows: int) -> Any:
    config = transformers.GPT2Config(vocab_size=rows, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    return transformers.GPT2LMHeadModel(config)


def bert(rows: int) -> Any:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    made = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=rows, max_position_embeddings=16, **sizes))
    torch.nn.init.normal_(made.cls.predictions.bias)
    return made


def gemma3(rows: int) -> Any:
    text = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4}
    sight = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Gemma3Config(
        text_config={**text, "num_key_value_heads": 1, "vocab_size": rows},
        vision_config={**sight, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=1,
        boi_token_index=2,
        eoi_token_index=3,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


@pytest.mark.parametrize(
    ("kind", "make", "tables"),
    [
        (byte_level, gpt2, ("transformer.wte.weight",)),
        (wordpiece, bert, ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")),
        (byte_level, gemma3, ("language_model.model.embed_tokens.weight",)),
    ],
)
def test_other_kinds_of_models(tmp_path: Path, kind: Any, make: Any, tables: tuple[str, ...]) -> None:
    parts = []
    for seed, (name, texts) in enumerate((("a", ENGLISH), ("b", CODE))):
        tokenizer = kind(texts)
        torch.manual_seed(seed)
        made = make(tokenizer.get_vocab_size())
        made.save_pretrained(tmp_path / name)
        parts.append(save(tmp_path / name, tokenizer))
    merged(parts, tmp_path / "out", tokenizer={"source": "union"})
    found = load_file(tmp_path / "out/model.safetensors")
    vocabularies, after = [ids(one) for one in parts], ids(tmp_path / "out")
    for table in tables:
        name = next(one for one in found if one.endswith(table))
        rows = [load_file(one / "model.safetensors")[name] for one in parts]
        for token, number in after.items():
            want = sum(row_of(token, m, vocabularies, rows, None) for m in range(2)) / 2
            torch.testing.assert_close(found[name][number], want, rtol=0, atol=1e-6)
    loaded, account = type(made).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(account.values())
    size = getattr(loaded.config, "text_config", loaded.config).vocab_size
    assert size == len(after) == loaded.get_input_embeddings().weight.shape[0]


def test_rows_that_no_model_has_are_told(tmp_path: Path) -> None:
    parts = []
    for name, texts in (("a", ENGLISH), ("b", CODE)):
        tokenizer = wordpiece(texts)
        bert(tokenizer.get_vocab_size()).save_pretrained(tmp_path / name)
        parts.append(save(tmp_path / name, tokenizer))
    tensors = load_file(tmp_path / "b/model.safetensors")
    del tensors["cls.predictions.bias"]
    save_file(tensors, tmp_path / "b/model.safetensors", {"format": "pt"})
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(recipe(parts), tmp_path / "out")
    assert caught.value.code == "missing-tensor"
    told = cuvee.merge(recipe(parts, missing="copy"), tmp_path / "out").record["notes"]
    count = len(ids(tmp_path / "out").keys() - ids(parts[0]).keys())
    assert count > 0
    assert any(f"{count:,} rows of cls.predictions.bias are zeros" in note for note in told), told
