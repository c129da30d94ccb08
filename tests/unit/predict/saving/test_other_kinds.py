"""Members that are no estimators come back exactly: ONNX files, models of transformers, merges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from cuvee.errors import InputError, UsageError
from cuvee.predict import Ensemble, Member
from tests.support.ensembles import SOME, X, Y, by_length, of, reform

TEXTS = {"text": ["a good wine", "a bad wine", "good and fine", "bad"]}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "wine", "and", "fine", "it", "is"]


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")


def classifier(seed: int = 0) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    labels = {0: "neg", 1: "pos"}
    config = BertConfig(
        vocab_size=len(WORDS), **sizes, max_position_embeddings=32, id2label=labels, label2id={"neg": 0, "pos": 1}
    )
    return BertForSequenceClassification(config).eval()


def causal() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(WORDS), **sizes, max_position_embeddings=64)).eval()


def came_back(member: Member, path: Path, rows: Any, classes: Any = ("neg", "pos"), **options: Any) -> Ensemble:
    ensemble = of(member, classes=classes)
    ensemble.save(path, rows=rows)
    found = Ensemble.load(path, **options)
    assert np.array_equal(found.predict_proba(rows), ensemble.predict_proba(rows))
    [other] = found.members
    assert (other.name, other.kind, other.output, other.classes) == (
        member.name,
        member.kind,
        member.output,
        member.classes,
    )
    assert "skipped" not in (path / "ensemble.json").read_text("utf-8")
    found.save(path.with_name("again"), rows=rows)
    assert np.array_equal(
        Ensemble.load(path.with_name("again"), **options).predict_proba(rows), ensemble.predict_proba(rows)
    )
    return found


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skl2onnx import to_onnx

    model = RandomForestClassifier(5, random_state=0).fit(X.astype(np.float32), Y)
    path = tmp_path_factory.mktemp("onnx") / "forest.onnx"
    path.write_bytes(to_onnx(model, X[:1].astype(np.float32), options={"zipmap": False}).SerializeToString())
    return path


def test_an_onnx_file(tmp_path: Path, onnx_file: Path) -> None:
    classes = sorted(set(Y.tolist()))
    member = Member.onnx(onnx_file, name="forest", classes=classes, threads=1)
    came_back(member, tmp_path / "e", SOME.astype(np.float32), classes)
    assert (tmp_path / "e/members/forest/model.onnx").read_bytes() == onnx_file.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_classifier_in_memory(tmp_path: Path, dtype: torch.dtype) -> None:
    model = classifier().to(dtype)
    member = Member.transformers(model, tokenizer(), name="bert", reads="text", max_length=8, embed=True)
    [found] = came_back(member, tmp_path / "e", TEXTS).members
    assert found.settings["max_length"] == 8
    assert found.embed is not None
    assert member.embed is not None
    assert np.array_equal(found.embed(TEXTS["text"]), member.embed(TEXTS["text"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "bert"
    classifier().save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def test_a_folder_is_copied_without_what_may_run(tmp_path: Path, folder: Path) -> None:
    for name in ("training_args.bin", "modeling_own.py", ".hidden"):
        (folder / name).write_bytes(b"x")
    member = Member.transformers(folder, name="bert", reads="text", label_map={"neg": "bad"})
    came_back(member, tmp_path / "e", TEXTS, ("bad", "pos"))
    copied = {path.name for path in (tmp_path / "e/members/bert/model").iterdir()}
    assert copied == {path.name for path in folder.iterdir()} - {"training_args.bin", "modeling_own.py", ".hidden"}


def test_code_in_a_saved_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    of(Member.transformers(folder, name="bert", reads="text"), classes=("neg", "pos")).save(tmp_path / "e", rows=TEXTS)
    (tmp_path / "e/members/bert/model/modeling.py").write_text("print('ran')")
    entry = {"bytes": 0, "sha256": "0" * 64}
    reform(tmp_path / "e", lambda said: said["files"].update({"members/bert/model/modeling.py": entry}))
    with pytest.raises(InputError, match=r"holds `modeling\.py`, which may run") as caught:
        Ensemble.load(tmp_path / "e", trust=["bert"])
    assert caught.value.codes == ("bad-ensemble",)


def test_a_folder_of_pickles_cannot_be_saved(tmp_path: Path) -> None:
    model = tmp_path / "model"
    classifier().save_pretrained(model)
    tokenizer().save_pretrained(model)
    member = Member.transformers(model, name="bert", reads="text")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(UsageError, match="holds no weights as safetensors"):
        of(member, classes=("neg", "pos")).save(tmp_path / "e")


def test_a_language_model_as_a_classifier(tmp_path: Path) -> None:
    words = {"neg": "bad", "pos": "good"}
    member = Member.causal(causal(), tokenizer(), classes=words, template="{text} it is", reads="text", name="llama")
    came_back(member, tmp_path / "e", TEXTS)


def test_a_merge_is_kept_as_its_recipe(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other"
    classifier(1).save_pretrained(other)
    tokenizer().save_pretrained(other)
    recipe = {
        "merge_method": "linear",
        "models": [{"model": str(path), "parameters": {"weight": 1}} for path in (folder, other)],
    }
    member = Member.recipe({**recipe, "dtype": "float32"}, name="soup", reads="text")
    of(member, classes=("neg", "pos")).save(tmp_path / "e", rows=TEXTS)
    with pytest.raises(InputError, match="is a recipe: loading it opens, and may download") as caught:
        Ensemble.load(tmp_path / "e")
    assert caught.value.code == "untrusted-type"
    came_back(member, tmp_path / "f", TEXTS, trust=["soup"])
    classifier(2).save_pretrained(other)
    with pytest.raises(InputError, match="must answer the golden rows"):
        Ensemble.load(tmp_path / "e", trust=["soup"])


def test_embeddings_and_functions(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=500).fit(X, Y)
    member = Member.callable(by_length, name="rule", classes=sorted(set(Y)), embed=np.square, reads=None)
    [found] = came_back(member, tmp_path / "e", SOME, sorted(set(Y)), trust=["rule"]).members
    assert found.embed is np.square
    assert model is not None
