"""What `verify` says of tied heads, of records, sums and files that lie, and of models transformers cannot judge."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from cuvee.checkpoint.equality import SAMPLE
from cuvee.execute.checks import Check
from tests.support.merging import linear, read, write
from tests.support.zoo import ZOO, Cellar, save

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = {"model_type": "small", "tie_word_embeddings": True}


def check(folder: Path, name: str) -> Check:
    """The one check of that name."""
    (found,) = (c for c in cuvee.verify(folder).checks if c.name == name)
    return found


def change_json(file: Path, *path: str, value: Any) -> None:
    """Set one value of a JSON file."""
    data = json.loads(file.read_text("utf-8"))
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    file.write_text(json.dumps(data), "utf-8")


# --- tied heads


def tied_model(folder: Path, spoil: Callable[[Tensor], object], dtype: torch.dtype = torch.float32) -> Path:
    """A model whose configuration ties a stored head of two samples to its embedding, after a change of the head."""
    embedding = torch.randn(2 * SAMPLE // 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    head = embedding.clone()
    spoil(head.view(-1))
    return write(folder, {EMBEDDING: embedding, HEAD: head.to(dtype)}, TIED)


def set_to(at: int, value: float) -> Callable[[Tensor], object]:
    def spoil(head: Tensor) -> None:
        head[at] = value

    return spoil


def test_a_copy_of_its_embedding_is_good(tmp_path: Path) -> None:
    assert check(tied_model(tmp_path / "m", lambda head: None), "tied").outcome == "ok"


def test_a_copy_of_another_precision_is_good(tmp_path: Path) -> None:
    assert check(tied_model(tmp_path / "m", lambda head: None, torch.bfloat16), "tied").outcome == "ok"


def test_a_head_that_only_begins_like_its_embedding_is_a_damaged_copy(tmp_path: Path) -> None:
    found = check(tied_model(tmp_path / "m", set_to(SAMPLE, 9.0)), "tied")
    assert (found.outcome, HEAD in found.found) == ("failed", True)


def test_a_head_of_its_own_is_good_whatever_is_said(tmp_path: Path) -> None:
    """As T5 1.1: the configuration calls the head tied, and the class stores one."""
    found = check(tied_model(tmp_path / "m", lambda head: head.neg_()), "tied")
    assert found == Check("tied", "ok", f"stored with values of its own, as some classes do: {HEAD}")


def test_a_nan_in_both_is_no_difference(tmp_path: Path) -> None:
    """That there is one is told by another check."""
    head = torch.ones(4, 2)
    head[1, 1] = float("nan")
    folder = write(tmp_path / "m", {EMBEDDING: head, HEAD: head.clone()}, TIED)
    assert (check(folder, "tied").outcome, check(folder, "finite").outcome) == ("ok", "failed")


def test_signed_zeros_are_no_difference(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {EMBEDDING: torch.zeros(4, 2), HEAD: -torch.zeros(4, 2)}, TIED)
    assert check(folder, "tied").found == "no tied tensor is stored with other values"


def test_a_merge_of_models_that_say_they_are_tied_and_are_not(tmp_path: Path) -> None:
    cellar = Cellar(tmp_path)
    a, b = cellar.model("t5 gated", 1), cellar.model("t5 gated", 2)
    for folder in (a, b):
        change_json(folder / "config.json", "tie_word_embeddings", value=True)
    cuvee.merge(linear(a, b), tmp_path / "out")
    for folder in (a, tmp_path / "out"):
        assert HEAD in check(folder, "tied").found
        assert cuvee.verify(folder).ok


# --- SHA-256


@pytest.fixture
def summed(tmp_path: Path) -> Path:
    """A merge in several shards with their SHA-256 sums in the record."""
    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        write(tmp_path / name, {"x": torch.randn(100), "y": torch.randn(100)})
    cuvee.merge(linear(tmp_path / "a", tmp_path / "b"), tmp_path / "out", sha256=True, shard_size=500)
    return tmp_path / "out"


def test_sums_are_checked_where_there_are_any(summed: Path, tmp_path: Path) -> None:
    assert check(summed, "sha256") == Check("sha256", "ok", "2 files as recorded")
    cuvee.merge(linear(tmp_path / "a", tmp_path / "b"), tmp_path / "without")
    assert "sha256" not in {c.name for c in cuvee.verify(tmp_path / "without").checks}


def test_bytes_that_no_tensor_speaks_of_change_the_sum(summed: Path) -> None:
    """The blanks behind a header: every tensor is as recorded, the file is not."""
    file = sorted(summed.glob("*.safetensors"))[1]
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + length] + b" " * 8
    file.write_bytes((length + 8).to_bytes(8, "little") + header + raw[8 + length :])
    found = check(summed, "sha256")
    assert (found.outcome, found.found) == ("failed", f"changed or missing since the merge: {file.name}")
    assert check(summed, "hashes").outcome == "ok"


def test_a_sum_that_lies_is_found(summed: Path) -> None:
    name = sorted(file.name for file in summed.glob("*.safetensors"))[0]
    change_json(summed / "cuvee.json", "output", "sha256", name, value="0" * 64)
    assert (check(summed, "sha256").outcome, name in check(summed, "sha256").found) == ("failed", True)


@pytest.mark.parametrize("key", ["files", "sha256"])
@pytest.mark.parametrize("name", ["../a/model.safetensors", "gone", "a\0b", ""])
def test_a_record_of_files_that_are_not_there_fails(summed: Path, key: str, name: str) -> None:
    change_json(summed / "cuvee.json", "output", key, name, value="0" * 64)
    assert check(summed, key).outcome == "failed"


def test_a_record_never_speaks_of_files_outside_its_folder(summed: Path, tmp_path: Path) -> None:
    from cuvee.checkpoint.fingerprint import sha256_file

    outside = tmp_path / "a" / "model.safetensors"
    for name in (str(outside), "../a/model.safetensors"):
        change_json(summed / "cuvee.json", "output", "sha256", value={name: sha256_file(outside)})
        assert check(summed, "sha256").outcome == "failed"


@pytest.mark.parametrize("value", [[], "x", 5, None])
def test_sums_of_the_wrong_form_are_a_failed_check(summed: Path, value: object) -> None:
    change_json(summed / "cuvee.json", "output", "sha256", value=value)
    assert not cuvee.verify(summed).ok


def test_a_file_that_cannot_be_read_is_a_failed_check(summed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("cuvee.execute.recorded.sha256_file", refuse)
    assert check(summed, "sha256").outcome == "failed"


# --- loading


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ZOO["llama"], 1, tmp_path_factory.mktemp("zoo") / "llama")


def variant(llama: Path, folder: Path, **changes: Any) -> Path:
    """The same weights under a changed configuration; `None` takes a key out."""
    config = {**json.loads((llama / "config.json").read_text()), **changes}
    return write(folder, read(llama), {k: v for k, v in config.items() if v is not None})


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "a model type": ({"model_type": "no_such_model"}, "`no_such_model`"),
    "no model type": ({"model_type": None}, "model_type"),
    "a class": ({"architectures": ["NoSuchForCausalLM"]}, "`NoSuchForCausalLM`"),
    "a class that is no model": ({"architectures": ["LlamaConfig"]}, "`LlamaConfig`"),
    "a class of remote code": (
        {"model_type": "mine", "architectures": ["Mine"], "auto_map": {"AutoConfig": "mine.MyConfig"}},
        "`mine`",
    ),
    "quantised weights": ({"quantization_config": {"quant_method": "fp8"}}, "quantised"),
    "a quantised part": ({"text_config": {"quantization_config": {"quant_method": "gptq"}}}, "quantised"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_transformers_cannot_judge_is_skipped_with_the_reason(case: str, llama: Path, tmp_path: Path) -> None:
    changes, words = UNKNOWN[case]
    folder = variant(llama, tmp_path / "m", **changes)
    found = check(folder, "loads")
    assert (found.outcome, words in found.found) == ("skipped", True), found
    assert cuvee.verify(folder).ok


def test_a_class_that_needs_another_library_is_skipped(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*args: object) -> None:
        raise ImportError("LlamaForCausalLM requires the timm library but it was not found in your environment.")

    monkeypatch.setattr("cuvee.families.pretrained._load_on_meta", lacks)
    found = check(variant(llama, tmp_path / "m"), "loads")
    assert (found.outcome, "requires the timm library" in found.found) == ("skipped", True)


@pytest.mark.parametrize("installed", ["4.57.1", None])
def test_without_the_transformers_that_is_needed_it_is_skipped(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str | None
) -> None:
    folder = variant(llama, tmp_path / "m")
    monkeypatch.setitem(sys.modules, "transformers", installed and SimpleNamespace(__version__=installed))
    found = check(folder, "loads")
    assert (found.outcome, (installed or "not installed") in found.found) == ("skipped", True)


DAMAGED: dict[str, dict[str, Any]] = {
    "sizes that do not fit the weights": {"hidden_size": 16},
    "a size that is no number": {"hidden_size": "many"},
    "a class of another family": {"architectures": ["BertForMaskedLM"]},
    "more layers than there are": {"num_hidden_layers": 3},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_model_of_a_known_class_fails(case: str, llama: Path, tmp_path: Path) -> None:
    found = check(variant(llama, tmp_path / "m", **DAMAGED[case]), "loads")
    assert found.outcome == "failed", found
