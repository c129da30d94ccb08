"""What a recipe says wrong of vocabularies, and tensors that nobody can place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.errors import CuveeError, InputError, RecipeError
from tests.end_to_end.test_merged_vocabularies import ids, merged, model
from tests.support.tokenizers import CODE, ENGLISH, byte_level, save, wordpiece


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pair")
    return [model(folder / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE)))]


def rows_of(folder: Path, name: str) -> torch.Tensor:
    return load_file(folder / "model.safetensors")[name]


def token_source(**source: Any) -> dict[str, Any]:
    return {"source": "union", "tokens": {"new": {"source": source}}}


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        ("union", r"write `tokenizer: \{source: union\}`"),
        (token_source(kind="foo"), "with `kind`: `model_token` or `zero`"),
        (token_source(kind="model_token", model="a", token="x", token_id=3), "`token` or `token_id`, found both"),
        ({"tokens": {"": {"source": {"kind": "zero"}}}}, "tokenizer.tokens"),
    ],
)
def test_what_is_said_wrong_of_tokens(pair: list[Path], tmp_path: Path, tokenizer: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        merged(pair, tmp_path / "out", tokenizer=tokenizer)


@pytest.mark.parametrize("said", ["unoin", "Union", "bace"])
def test_a_word_that_is_nearly_union_or_base_is_told(pair: list[Path], tmp_path: Path, said: str) -> None:
    with pytest.raises(CuveeError, match=r"did you mean `(union|base)`\?"):
        merged(pair, tmp_path / "out", tokenizer_source=said)


def test_a_model_is_known_however_its_path_is_written(
    pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pair[0].parent)
    asked = {"kind": "model_token", "model": "./b/", "token": "<|end|>"}
    models = [{"model": "a"}, {"model": "b"}]
    recipe = {"merge_method": "linear", "parameters": {"weight": 1}, "models": models}
    cuvee.merge({**recipe, "tokenizer": token_source(**asked)}, tmp_path / "out")
    found, theirs = (
        load_file(folder / "model.safetensors")["lm_head.weight"] for folder in (tmp_path / "out", Path("b"))
    )
    row = theirs[ids(Path("b"))["<|end|>"]]
    torch.testing.assert_close(found[ids(tmp_path / "out")["new"]], row, rtol=0, atol=1e-6)
    cuvee.merge({**recipe, "tokenizer_source": os.fspath(pair[1])}, tmp_path / "whole")
    assert ids(tmp_path / "whole") == ids(Path("b"))


def electra(rows: int) -> Any:
    sizes = {"hidden_size": 8, "embedding_size": 8, "intermediate_size": 12, "num_hidden_layers": 1}
    config = transformers.ElectraConfig(vocab_size=rows, num_attention_heads=2, max_position_embeddings=16, **sizes)
    made = transformers.ElectraForMaskedLM(config)
    torch.nn.init.normal_(made.generator_lm_head.bias)
    return made


def test_biases_of_heads_with_names_of_their_own_move_with_their_tokens(tmp_path: Path) -> None:
    parts = []
    for seed, (name, texts) in enumerate((("a", ENGLISH), ("b", CODE))):
        tokenizer = wordpiece(texts)
        torch.manual_seed(seed)
        electra(tokenizer.get_vocab_size()).save_pretrained(tmp_path / name)
        parts.append(save(tmp_path / name, tokenizer))
    merged(parts, tmp_path / "out", tokenizer={"source": "union"})
    found, *given = (
        load_file(one / "model.safetensors")["generator_lm_head.bias"] for one in (tmp_path / "out", *parts)
    )
    known, after = [ids(one) for one in parts], ids(tmp_path / "out")
    for token in known[0].keys() & known[1].keys():
        want = (given[0][known[0][token]] + given[1][known[1][token]]) / 2
        torch.testing.assert_close(found[after[token]], want, rtol=0, atol=1e-6)


def test_a_tensor_as_long_as_the_vocabulary_that_nobody_knows_is_refused(pair: list[Path], tmp_path: Path) -> None:
    strange = []
    for folder in pair:
        copied = Path(shutil.copytree(folder, tmp_path / folder.name))
        tensors = load_file(copied / "model.safetensors")
        tensors["score.scale"] = torch.ones(len(tensors["lm_head.weight"]))
        save_file(tensors, copied / "model.safetensors", {"format": "pt"})
        strange.append(copied)
    with pytest.raises(InputError, match="whether they belong to tokens") as caught:
        merged(strange, tmp_path / "out", tokenizer={"source": "union"})
    assert caught.value.code == "part-mismatch"
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_tokenizer_alone_is_a_source(pair: list[Path], tmp_path: Path) -> None:
    save(tmp_path / "alone", byte_level(ENGLISH + CODE))
    merged(pair, tmp_path / "out", tokenizer_source=os.fspath(tmp_path / "alone"))
    assert ids(tmp_path / "out") == ids(tmp_path / "alone")
    found, *given = (rows_of(folder, "lm_head.weight") for folder in (tmp_path / "out", *pair))
    known, after = [ids(one) for one in pair], ids(tmp_path / "out")
    for token in known[0].keys() & known[1].keys() & after.keys():
        want = (given[0][known[0][token]] + given[1][known[1][token]]) / 2
        torch.testing.assert_close(found[after[token]], want, rtol=0, atol=1e-6)


def test_a_model_without_a_tokenizer_is_told_what_to_do(pair: list[Path], tmp_path: Path) -> None:
    bare = Path(shutil.copytree(pair[1], tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*")))
    with pytest.raises(InputError, match="beside its weights") as caught:
        merged([pair[0], bare], tmp_path / "out", tokenizer={"source": "union"})
    assert caught.value.code == "tokenizer-missing"
