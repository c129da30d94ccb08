"""A tokenizer transplanted onto another model: every row, every file, every number, and what is refused."""

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
from cuvee import CuveeError
from cuvee.families import pretrained
from tests.support import transplanting as pair

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
BOTH = pytest.mark.parametrize("name", [EMBEDDING, HEAD])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, Any]:
    folder = tmp_path_factory.mktemp("pair")
    model, donor = pair.write_pair(folder)
    (model / "LICENSE").write_text("as you like", "utf-8")
    result = cuvee.transplant(model, donor, folder / "out", k=3, pad_to_multiple_of=8)
    return model, donor, folder / "out", result


@BOTH
def test_rows_of_shared_tokens_are_copied_bit_for_bit(made: tuple[Path, Path, Path, Any], name: str) -> None:
    model, _, out, _ = made
    old, new = pair.rows_of(model, name, pair.MODEL_TOKENS), pair.rows_of(out, name, pair.DONOR_TOKENS)
    for word in pair.SHARED:
        assert torch.equal(new[f"▁{word}"], old[f"Ġ{word}"])
    for token in ("▁", *pair.LETTERS):
        assert torch.equal(new[token], old[token.replace("▁", "Ġ")])


@BOTH
def test_special_tokens_have_the_rows_of_their_roles(made: tuple[Path, Path, Path, Any], name: str) -> None:
    model, _, out, result = made
    old, new = pair.rows_of(model, name, pair.MODEL_TOKENS), pair.rows_of(out, name, pair.DONOR_TOKENS)
    assert result.by_role == {"[BEGIN]": "<s>", "[END]": "</s>", "[PAD]": "<pad>"}
    for ours, theirs in result.by_role.items():
        assert torch.equal(new[ours], old[theirs])


@BOTH
def test_rows_of_new_tokens_are_the_same_sums_of_the_models_rows(made: tuple[Path, Path, Path, Any], name: str) -> None:
    model, _, out, _ = made
    old, new = pair.rows_of(model, name, pair.MODEL_TOKENS), pair.rows_of(out, name, pair.DONOR_TOKENS)
    assert torch.allclose(new["▁purple"], old["Ġred"] + old["Ġblue"], atol=1e-6)
    assert torch.allclose(new["▁violet"], 2 * old["Ġblue"] - 0.5 * old["Ġgreen"], atol=1e-6)


def test_rows_are_counted_and_examples_are_told(made: tuple[Path, Path, Path, Any]) -> None:
    _, _, out, result = made
    assert (result.tokens, result.rows, result.padding) == (23, 24, 1)
    assert (result.exact, len(result.by_role), result.approximated, result.fallback) == (16, 3, 4, 0)
    assert result.exact + len(result.by_role) + result.approximated + result.padding == result.rows
    assert dict(result.examples["▁purple"]) == pytest.approx({"Ġred": 1, "Ġblue": 1}, abs=1e-4)
    assert 0 < result.left["embedding"] < 1
    assert load_file(out / "model.safetensors")[HEAD].shape == (24, 8)


@BOTH
def test_padding_is_the_mean_of_the_rows_of_tokens(made: tuple[Path, Path, Path, Any], name: str) -> None:
    model, _, out, _ = made
    rows = load_file(model / "model.safetensors")[name][: len(pair.MODEL_TOKENS)]
    assert torch.allclose(load_file(out / "model.safetensors")[name][-1], rows.mean(0), atol=1e-7)


def test_everything_else_is_as_it_was(made: tuple[Path, Path, Path, Any]) -> None:
    model, donor, out, _ = made
    before, after = load_file(model / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - {EMBEDDING, HEAD})
    assert (out / "LICENSE").read_bytes() == (model / "LICENSE").read_bytes()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (donor / name).read_bytes()
    assert not (out / "README.md").exists()


def test_numbers_of_tokens_follow_and_every_other_byte_of_the_configurations_stays(
    made: tuple[Path, Path, Path, Any],
) -> None:
    model, _, out, _ = made
    for file, more in (("config.json", {"vocab_size": 24}), ("generation_config.json", {})):
        before, after = (json.loads((folder / file).read_text("utf-8")) for folder in (model, out))
        changes = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3, **more}
        assert after == {**before, **changes}
        lines = zip((model / file).read_text().split("\n"), (out / file).read_text().split("\n"), strict=True)
        assert sum(a != b for a, b in lines) == len(changes)


def test_the_output_verifies_loads_and_says_how_it_was_made(made: tuple[Path, Path, Path, Any]) -> None:
    _, donor, out, result = made
    found = cuvee.verify(out)
    assert found.ok, [check for check in found.checks if check.outcome == "failed"]
    (entry,) = json.loads((out / "cuvee.json").read_text("utf-8"))["transplanted"]
    assert entry["donor"] == str(donor)
    assert entry["rows"] == {"exact": 16, "by_role": 3, "approximated": 4, "fallback": 0, "padding": 1}
    assert entry["tensors"] == [HEAD, EMBEDDING]
    assert result.record["transplanted"] == [entry]
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(out))
    ids = torch.tensor([tokenizer("red purple")["input_ids"]])
    assert pretrained.load_causal_lm(out)(input_ids=ids).logits.shape == (1, ids.shape[1], 24)


def test_a_second_transplant_keeps_the_record_of_the_first(made: tuple[Path, Path, Path, Any], tmp_path: Path) -> None:
    model, _, out, _ = made
    back = cuvee.transplant(out, model, tmp_path / "back", k=2)
    assert [entry["method"] for entry in back.record["transplanted"]] == ["omp", "omp"]
    assert cuvee.verify(tmp_path / "back").ok
    rows, were = (pair.rows_of(f, EMBEDDING, pair.MODEL_TOKENS) for f in (tmp_path / "back", model))
    assert all(torch.equal(rows[token], were[token]) for token in pair.MODEL_TOKENS)


def test_the_same_call_gives_the_same_bytes_in_however_much_memory(
    made: tuple[Path, Path, Path, Any], tmp_path: Path
) -> None:
    model, donor, out, _ = made
    cuvee.transplant(model, donor, tmp_path / "again", k=3, pad_to_multiple_of=8, max_memory=9000)
    for file in out.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_mean_zero_and_pieces_by_hand(made: tuple[Path, Path, Path, Any], tmp_path: Path) -> None:
    model, donor, _, _ = made
    old = pair.rows_of(model, EMBEDDING, pair.MODEL_TOKENS)
    found = {}
    for method in ("mean", "zero", "subword-mean"):
        result = cuvee.transplant(model, donor, tmp_path / method, method=method)
        assert (result.k, result.left, result.approximated + result.fallback) == (None, {}, 4)
        found[method] = pair.rows_of(tmp_path / method, EMBEDDING, pair.DONOR_TOKENS)
    mean = torch.stack(list(old.values())).mean(0)
    assert torch.allclose(found["mean"]["▁purple"], mean, atol=1e-6)
    assert not found["zero"]["▁purple"].any()
    pieces = torch.stack([old[token] for token in "Ġpurple"]).mean(0)
    assert torch.allclose(found["subword-mean"]["▁purple"], pieces, atol=1e-6)
    assert torch.allclose(found["subword-mean"]["<|user|>"], mean, atol=1e-6)  # it has no row of pieces


def test_interpolation_by_hand(made: tuple[Path, Path, Path, Any], tmp_path: Path) -> None:
    model, donor, _, _ = made
    result = cuvee.transplant(model, donor, tmp_path / "out", method="common-interpolation", k=2)
    old, new = pair.rows_of(model, HEAD, pair.MODEL_TOKENS), pair.rows_of(tmp_path / "out", HEAD, pair.DONOR_TOKENS)
    theirs = pair.rows_of(donor, HEAD, pair.DONOR_TOKENS)
    shared = [f"▁{word}" for word in pair.SHARED] + ["▁", *pair.LETTERS]
    far = {token: float((theirs[token] - theirs["▁violet"]).double().norm()) for token in shared}
    first, second = sorted(shared, key=far.__getitem__)[:2]
    total = 1 / far[first] + 1 / far[second]
    parts = [old[t.replace("▁", "Ġ")].double() / far[t] / total for t in (first, second)]
    assert torch.allclose(new["▁violet"].double(), sum(parts), atol=1e-6)  # type: ignore[arg-type]
    assert result.k == 2


def test_a_tied_head_stays_tied(tmp_path: Path) -> None:
    model, donor = pair.write_pair(tmp_path, tie_word_embeddings=True)
    result = cuvee.transplant(model, donor, tmp_path / "out", k=3)
    assert result.tensors == (EMBEDDING,)
    assert HEAD not in load_file(tmp_path / "out" / "model.safetensors")
    assert cuvee.verify(tmp_path / "out").ok


def test_dtypes_stay(tmp_path: Path) -> None:
    model, donor = pair.write_pair(tmp_path)
    pair.write(model, pair.model_of(22).to(torch.bfloat16), pair.byte_level())
    cuvee.transplant(model, donor, tmp_path / "out", k=3)
    values = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in values.values()} == {torch.bfloat16}


def test_a_bias_of_a_head_is_grown_with_its_rows(tmp_path: Path) -> None:
    _, donor = pair.write_pair(tmp_path)
    torch.manual_seed(3)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=19, pad_token_id=2, **sizes))
    with torch.no_grad():
        bert.cls.predictions.bias.copy_(torch.arange(19.0))
    model = pair.write(tmp_path / "bert", bert, pair.byte_level())
    result = cuvee.transplant(model, donor, tmp_path / "out", k=3)
    name = "cls.predictions.bias"
    assert name in result.tensors
    old, new = pair.rows_of(model, name, pair.MODEL_TOKENS), pair.rows_of(tmp_path / "out", name, pair.DONOR_TOKENS)
    assert float(new["▁red"]) == float(old["Ġred"])
    assert float(new["▁purple"]) == pytest.approx(float(old["Ġred"] + old["Ġblue"]), abs=1e-4)
    assert cuvee.verify(tmp_path / "out").ok


def test_lists_of_tokens_are_renumbered(tmp_path: Path) -> None:
    model, donor = pair.write_pair(tmp_path)
    padding = len(pair.MODEL_TOKENS)  # a row of the model's without a token
    named = {"eos_token_id": [1, 2], "suppress_tokens": [pair.MODEL_TOKENS.index("e"), padding]}
    pair.change(model / "generation_config.json", **named, bad_words_ids=[[5, 6]])
    result = cuvee.transplant(model, donor, tmp_path / "out", k=3)
    after = json.loads((tmp_path / "out" / "generation_config.json").read_text("utf-8"))
    assert after["eos_token_id"] == [2, 3]
    assert after["suppress_tokens"] == [pair.DONOR_TOKENS.index("e")]
    assert any("1 of 2 tokens of suppress_tokens are left out" in note for note in result.notes)
    assert any("bad_words_ids is left as it is" in note for note in result.notes)


def test_a_bias_in_a_row_of_its_own_gets_rows_too(tmp_path: Path) -> None:
    model, donor = pair.write_pair(tmp_path)
    tensors = load_file(model / "model.safetensors")
    rows = len(tensors["lm_head.weight"])
    tensors["final_logits_bias"] = torch.arange(rows).float()[None]
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    result = cuvee.transplant(model, donor, tmp_path / "out", k=3)
    found = load_file(tmp_path / "out/model.safetensors")["final_logits_bias"]
    assert "final_logits_bias" in result.tensors
    assert found.shape == (1, result.rows)
    assert float(found[0, pair.DONOR_TOKENS.index("e")]) == pair.MODEL_TOKENS.index("e")


def test_the_role_of_a_key_counts_before_the_token_that_stood_there(tmp_path: Path) -> None:
    pair.write_pair(tmp_path)
    tokenizer = pair.unigram([*pair.DONOR_TOKENS[:-1]])
    tokenizer.add_special_tokens({"additional_special_tokens": ["</s>"]})
    pair.write(tmp_path / "donor", pair.model_of(23, width=24), tokenizer)
    cuvee.transplant(tmp_path / "model", tmp_path / "donor", tmp_path / "out", k=3)
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["eos_token_id"] == 2  # [END], not </s>
    tokens = [*pair.DONOR_TOKENS[:-1], "</s>"]
    new = pair.rows_of(tmp_path / "out", EMBEDDING, tokens)
    assert torch.equal(new["</s>"], new["[END]"])


def test_fewer_shared_tokens_than_asked_for_are_told(tmp_path: Path) -> None:
    result = cuvee.transplant(*pair.write_pair(tmp_path), tmp_path / "out")
    assert result.k == 16
    assert any("only 16 tokens are shared" in note for note in result.notes)


def refused(tmp_path: Path, code: str, *parts: str, **settings: Any) -> CuveeError:
    """The call is refused for this reason, every part is said, and nothing is written."""
    with pytest.raises(CuveeError) as caught:
        cuvee.transplant(tmp_path / "model", tmp_path / "donor", tmp_path / "out", **settings)
    assert code in {fault.code for fault in caught.value.faults}
    for part in parts:
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()
    return caught.value


def test_tokenizers_that_are_missing_are_all_told(tmp_path: Path) -> None:
    for folder in pair.write_pair(tmp_path):
        (folder / "tokenizer.json").unlink()
    error = refused(tmp_path, "tokenizer-missing", "model", "donor")
    assert len(error.faults) == 2


def test_embeddings_smaller_than_the_vocabulary(tmp_path: Path) -> None:
    pair.write_pair(tmp_path)
    pair.write(tmp_path / "donor", pair.model_of(20, width=24), pair.unigram())
    refused(tmp_path, "embedding-too-small", "23", "20")


def test_nothing_in_common(tmp_path: Path) -> None:
    pair.write_pair(tmp_path)
    tokens = ["<unk>", "[BEGIN]", "[END]", "[PAD]", "▁x", "▁y"]
    pair.write(tmp_path / "donor", pair.model_of(6, width=24), pair.unigram(tokens))
    refused(tmp_path, "no-shared-tokens", "subword-mean")
    assert cuvee.transplant(tmp_path / "model", tmp_path / "donor", tmp_path / "mean", method="mean").approximated == 3


def test_a_token_that_the_model_waits_for_and_the_donor_lacks(tmp_path: Path) -> None:
    pair.write_pair(tmp_path)
    pair.change(tmp_path / "model" / "config.json", image_token_id=21)
    refused(tmp_path, "unknown-token", "image_token_id", "21")


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    pair.write_pair(tmp_path)
    model = pair.model_of(22)
    with torch.no_grad():
        model.model.embed_tokens.weight[3, 0] = float("nan")
    pair.write(tmp_path / "model", model, pair.byte_level())
    refused(tmp_path, "non-finite", EMBEDDING)


def test_a_model_without_embeddings(tmp_path: Path) -> None:
    pair.write_pair(tmp_path)
    from safetensors.torch import save_file

    save_file({"layers.0.weight": torch.ones(3, 3)}, tmp_path / "donor" / "model.safetensors")
    refused(tmp_path, "part-mismatch", "word embeddings")


def test_too_little_memory(tmp_path: Path) -> None:
    pair.write_pair(tmp_path)
    refused(tmp_path, "memory", "--max-memory", max_memory=1000)


@pytest.mark.parametrize(
    "wrong",
    [{"method": "opm"}, {"k": 0}, {"k": None}, {"pad_to_multiple_of": 0}, {"overwrite": "no"}, {"progress": 3}],
)
def test_arguments_that_are_none(tmp_path: Path, wrong: dict[str, Any]) -> None:
    refused(tmp_path, "bad-argument", next(iter(wrong)), **wrong)


def test_an_output_that_is_there_or_an_input_is_left_alone(tmp_path: Path) -> None:
    model, donor = pair.write_pair(tmp_path)
    with pytest.raises(cuvee.OutputExists):
        cuvee.transplant(model, donor, model)
    with pytest.raises(cuvee.OutputExists):
        cuvee.transplant(model, donor, donor, overwrite=True)
    assert cuvee.verify(donor).ok


def test_progress_ends_at_all_tokens(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    cuvee.transplant(*pair.write_pair(tmp_path), tmp_path / "out", progress=lambda *now: seen.append(now))
    assert seen[-1] == (8, 8)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"model": {"type": "BPE"}}',
        '{"model": {"type": "Other", "vocab": {}}}',
        '{"model": {"type": "BPE", "vocab": {"a": -1}}}',
        '{"model": {"type": "BPE", "vocab": {"a": true}}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}}}',
        '{"model": {"type": "BPE", "vocab": {"a": 99999999999}}}',
    ],
)
def test_a_damaged_tokenizer(tmp_path: Path, text: str) -> None:
    pair.write_pair(tmp_path)
    (tmp_path / "donor" / "tokenizer.json").write_text(text, "utf-8")
    refused(tmp_path, "bad-tokenizer", "tokenizer.json")


@pytest.mark.parametrize("text", ["{", "[1]", '{"eos_token_id": 1'])
def test_generation_settings_that_are_damaged(tmp_path: Path, text: str) -> None:
    pair.write_pair(tmp_path)
    (tmp_path / "model" / "generation_config.json").write_text(text, "utf-8")
    refused(tmp_path, "bad-config", "generation_config.json")


def alone(donor: Path, folder: Path) -> Path:
    """The tokenizer of a model in a folder of its own."""
    folder.mkdir()
    for file in donor.iterdir():
        if file.name.startswith(("tokenizer", "special_tokens")):
            shutil.copy(file, folder / file.name)
    return folder


@pytest.mark.parametrize("method", ["subword-mean", "mean", "zero"])
def test_a_tokenizer_alone_moves_in(tmp_path: Path, method: Any) -> None:
    model, donor = pair.write_pair(tmp_path)
    tokenizer = alone(donor, tmp_path / "tokenizer")
    made = cuvee.transplant(model, tokenizer, tmp_path / "out", method=method)
    cuvee.transplant(model, donor, tmp_path / "whole", method=method)
    files = [(tmp_path / one / "model.safetensors").read_bytes() for one in ("out", "whole")]
    assert files[0] == files[1]
    assert made.record["transplanted"][-1]["donor"] == str(tokenizer)
    assert cuvee.verify(tmp_path / "out").ok


def test_rows_of_a_tokenizer_alone_cannot_be_looked_at(tmp_path: Path) -> None:
    model, donor = pair.write_pair(tmp_path)
    with pytest.raises(CuveeError, match="is a tokenizer alone") as caught:
        cuvee.transplant(model, alone(donor, tmp_path / "tokenizer"), tmp_path / "out", method="omp")
    assert "`subword-mean`" in str(caught.value.faults[0].hint)


def test_a_model_that_has_every_token_needs_nothing_found(tmp_path: Path) -> None:
    model, _ = pair.write_pair(tmp_path)
    made = cuvee.transplant(model, model, tmp_path / "out")
    assert made.left == {}
    assert (made.approximated, made.fallback) == (0, 0)
    assert any("nothing is to be found" in note for note in made.notes)
    assert not any("anchors" in note for note in made.notes)
