"""`tokenizer:` of recipes: real tokenizers of all kinds, every row held against the semantics in plain Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.errors import CuveeError, InputError, RecipeError
from tests.support.tokenizers import CODE, ENGLISH, byte_fallback, byte_level, save, unigram, wordpiece

KINDS = {"bpe": byte_level, "fallback": byte_fallback, "unigram": unigram, "wordpiece": wordpiece}
FILE = "model.safetensors"
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def model(folder: Path, tokenizer: Any, *, seed: int, pad: int = 0, tied: bool = False, **roles: Any) -> Path:
    """A tiny Llama with a row for every token, and some rows of padding."""
    torch.manual_seed(seed)
    rows = tokenizer.get_vocab_size() + pad
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=rows, tie_word_embeddings=tied, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    save(folder, tokenizer, **roles)
    return folder


def ids(folder: Path) -> dict[str, int]:
    """Token → number, as transformers loads them."""
    found: dict[str, int] = transformers.AutoTokenizer.from_pretrained(folder).get_vocab()
    return found


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def row_of(
    token: str, number: int, vocabularies: list[dict[str, int]], rows: list[torch.Tensor], base: int | None
) -> Any:
    """What one model shows for a token: its own row, the base's, the only owner's, the mean of owners, or zeros."""
    if token in vocabularies[number]:
        return rows[number][vocabularies[number][token]]
    if base is not None and token in vocabularies[base]:
        return rows[base][vocabularies[base][token]]
    owners = [r[v[token]] for v, r in zip(vocabularies, rows, strict=True) if token in v]
    return sum(owners) / len(owners) if owners else torch.zeros_like(rows[0][0])


def merged(parts: list[Path], out: Path, **more: Any) -> Any:
    recipe = {"merge_method": "linear", "parameters": {"weight": 1}, "models": [{"model": str(one)} for one in parts]}
    return cuvee.merge({**recipe, **more}, out)


@pytest.mark.parametrize(("tied", "base"), [(False, None), (True, None), (False, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_a_union_are_those_of_its_rules(tmp_path: Path, kind: str, tied: bool, base: int | None) -> None:
    parts = [
        model(tmp_path / name, KINDS[kind](texts), seed=seed, pad=pad, tied=tied)
        for seed, (name, texts, pad) in enumerate((("a", ENGLISH, 5), ("b", CODE, 0), ("c", ENGLISH + CODE, 3)))
    ]
    named = {} if base is None else {"base_model": str(parts[base])}
    made = merged(parts, tmp_path / "out", tokenizer={"source": "union"}, **named)
    vocabularies, after = [ids(one) for one in parts], ids(tmp_path / "out")
    assert set(after) == set().union(*vocabularies)
    found = tensors(tmp_path / "out")
    for name in (EMBED,) if tied else (EMBED, HEAD):
        rows = [tensors(one)[name] for one in parts]
        for token, number in after.items():
            want = sum(row_of(token, m, vocabularies, rows, base) for m in range(3)) / 3
            torch.testing.assert_close(found[name][number], want, rtol=0, atol=1e-6)
    loaded, account = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(account.values())
    assert loaded.config.vocab_size == len(found[EMBED]) == max(after.values()) + 1
    assert cuvee.verify(tmp_path / "out").ok
    assert any("rows its own" in note for note in made.notes)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in (*ENGLISH[:2], *CODE[:2]):
        assert reader.decode(reader(text, add_special_tokens=False)["input_ids"]).strip() == text or kind == "wordpiece"


@pytest.mark.parametrize("source", ["base", "b"])
def test_base_and_a_model_give_their_own_tokenizer(tmp_path: Path, source: str) -> None:
    parts = [model(tmp_path / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE)))]
    asked = "base" if source == "base" else str(tmp_path / "b")
    merged(parts, tmp_path / "out", base_model=str(parts[0]), tokenizer={"source": asked})
    giver = parts[0] if source == "base" else parts[1]
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (giver / "tokenizer.json").read_bytes()
    vocabularies, rows = [ids(one) for one in parts], [tensors(one)[EMBED] for one in parts]
    found = tensors(tmp_path / "out")[EMBED]
    assert len(found) == len(ids(giver))
    for token, number in ids(giver).items():
        want = sum(row_of(token, m, vocabularies, rows, 0) for m in range(2)) / 2
        torch.testing.assert_close(found[number], want, rtol=0, atol=1e-6)
    short = {"merge_method": "linear", "parameters": {"weight": 1}, "base_model": str(parts[0])}
    short |= {"models": [{"model": str(one)} for one in parts], "tokenizer_source": asked}
    same = cuvee.merge(short, tmp_path / "short").record["output"]["content"]
    assert same == json.loads((tmp_path / "out/cuvee.json").read_text("utf-8"))["output"]["content"]


def test_single_tokens_take_the_rows_that_the_recipe_says(tmp_path: Path) -> None:
    parts = [model(tmp_path / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE)))]
    a, b = (str(one) for one in parts)
    before = [ids(one) for one in parts]
    own_a = next(token for token in before[0] if token not in before[1])
    own_b = next(token for token in before[1] if token not in before[0])
    shared = "e"
    tokens = {
        "<|new|>": {"source": {"kind": "model_token", "model": b, "token": own_b}},
        "<|empty|>": {"source": {"kind": "zero"}},
        "<|third|>": {"source": {"kind": "model_token", "model": a, "token_id": 3}},
        own_a: {"source": {"kind": "zero"}},
        shared: {"source": a, "force": True},
    }
    merged(parts, tmp_path / "out", tokenizer={"source": "union", "tokens": tokens, "pad_to_multiple_of": 64})
    after, found = ids(tmp_path / "out"), tensors(tmp_path / "out")[EMBED]
    rows = [tensors(one)[EMBED] for one in parts]
    assert len(found) % 64 == 0
    want = {
        "<|new|>": rows[1][before[1][own_b]],
        "<|empty|>": torch.zeros(8),
        "<|third|>": rows[0][3],
        own_a: rows[0][before[0][own_a]] / 2,  # its owner keeps its row; the other shows zeros
        shared: rows[0][before[0][shared]],
    }
    for token, row in want.items():
        torch.testing.assert_close(found[after[token]], row, rtol=0, atol=1e-6)
    used = len(after)
    torch.testing.assert_close(found[used:], found[:used].mean(0).expand(len(found) - used, 8), rtol=0, atol=1e-6)


def test_padding_is_kept_where_nothing_changes(tmp_path: Path) -> None:
    parts = [model(tmp_path / name, byte_level(ENGLISH), seed=seed, pad=7) for seed, name in enumerate("ab")]
    merged(parts, tmp_path / "out", tokenizer={"source": "union"})
    a, b, found = (tensors(folder)[EMBED] for folder in (*parts, tmp_path / "out"))
    torch.testing.assert_close(found, (a + b) / 2, rtol=0, atol=1e-6)


def test_numbers_in_configurations_follow_their_tokens(tmp_path: Path) -> None:
    plain = byte_level(ENGLISH, specials=("<|end|>", "<|pad|>"))
    turned = byte_level(CODE, specials=("<|pad|>", "<|end|>"))
    a = model(tmp_path / "a", plain, seed=0, eos_token="<|end|>", pad_token="<|pad|>")
    b = model(tmp_path / "b", turned, seed=1, eos_token="<|end|>", pad_token="<|pad|>")
    for folder in (a, b):
        config = json.loads((folder / "config.json").read_text("utf-8"))
        known = ids(folder)
        config |= {"eos_token_id": known["<|end|>"], "pad_token_id": known["<|pad|>"]}
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        text = json.dumps({"eos_token_id": [known["<|end|>"]], "temperature": 0.7})
        (folder / "generation_config.json").write_text(text, "utf-8")
    merged([a, b], tmp_path / "out", tokenizer={"source": str(b)})
    config, generation = (
        json.loads((tmp_path / "out" / name).read_text("utf-8")) for name in ("config.json", "generation_config.json")
    )
    assert (config["eos_token_id"], config["pad_token_id"]) == (1, 0)
    assert generation == {"eos_token_id": [1], "temperature": 0.7}


def numbered(folder: Path, tokenizer: Any, seed: int, generation: dict[str, Any], **roles: Any) -> Path:
    """A model whose configurations name its special tokens by number."""
    made = model(folder, tokenizer, seed=seed, **roles)
    known = tokenizer.get_vocab()
    said = {f"{role}_id": known[token] for role, token in roles.items()}
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")) | said
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "generation_config.json").write_text(json.dumps({**said, **generation}), "utf-8")
    return made


def test_numbers_of_tokens_that_the_output_lacks_go_to_their_role_or_away(tmp_path: Path) -> None:
    ours = byte_level(ENGLISH, 300, ("<pad>", "<|end|>", "<s>"))
    theirs = byte_level(CODE, 320, ("<|x|>", "<|y|>", "<|im_end|>", "<pad>"))
    lost, kept = next(token for token in ours.get_vocab() if token not in theirs.get_vocab() and token > "a"), "("
    names = ours.get_vocab()
    asked = {"forced_eos_token_id": names["<|end|>"], "suppress_tokens": [names[kept], names[lost]]}
    roles = {"eos_token": "<|end|>", "pad_token": "<pad>", "bos_token": "<s>"}
    a = numbered(tmp_path / "a", ours, 0, {**asked, "bad_words_ids": [[5]]}, **roles)
    b = numbered(tmp_path / "b", theirs, 1, {}, eos_token="<|im_end|>", pad_token="<pad>")
    made = merged([a, b], tmp_path / "out", tokenizer={"source": str(b)})
    config, generation = (
        json.loads((tmp_path / "out" / name).read_text("utf-8")) for name in ("config.json", "generation_config.json")
    )
    after = theirs.get_vocab()
    for found in (config, generation):
        roles_found = [found[f"{role}_token_id"] for role in ("eos", "pad", "bos")]
        assert roles_found == [after["<|im_end|>"], after["<pad>"], None]
    assert generation["forced_eos_token_id"] == after["<|im_end|>"]
    assert generation["suppress_tokens"] == [after[kept]]
    notes = " ".join(made.notes)
    for words in (
        "1 of 2 tokens of suppress_tokens are left out",
        "bad_words_ids is left as it is",
        "bos_token_id is null",
    ):
        assert words in notes
    assert "generation_config.json: bos_token_id" in notes


def test_a_token_that_the_model_waits_for_is_not_lost(tmp_path: Path) -> None:
    ours = byte_level(ENGLISH, 300, ("<|end|>", "<image>"))
    a = numbered(tmp_path / "a", ours, 0, {})
    config = json.loads((a / "config.json").read_text("utf-8"))
    (a / "config.json").write_text(json.dumps({**config, "image_token_id": 1}), "utf-8")
    b = numbered(tmp_path / "b", byte_level(CODE, 300), 1, {})
    with pytest.raises(InputError, match=r"image_token_id is 1, the token '<image>'") as caught:
        merged([a, b], tmp_path / "out", tokenizer={"source": str(b)})
    assert caught.value.code == "unknown-token"
    merged([a, b], tmp_path / "out", tokenizer={"source": "union"})
    assert json.loads((tmp_path / "out/config.json").read_text("utf-8"))["image_token_id"] == 1


def test_any_cut_into_tiles_gives_the_same_bytes_and_runs_resume(tmp_path: Path) -> None:
    parts = [model(tmp_path / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE)))]
    recipe = {
        "merge_method": "ties",
        "base_model": str(parts[0]),
        "models": [{"model": str(parts[1]), "parameters": {"weight": 0.7, "density": 0.5}}],
        "tokenizer": {"source": "union", "pad_to_multiple_of": 32},
    }
    contents = {
        cuvee.merge(recipe, tmp_path / f"out{tile}", tile=tile, threads=threads).record["output"]["content"]
        for tile, threads in ((1, 1), (1024, 2), (1 << 20, 1))
    }
    assert len(contents) == 1
    assert cuvee.merge(recipe, tmp_path / "out1", resume=True, tile=1, threads=1).was_complete
    file = parts[1] / "tokenizer.json"
    data = json.loads(file.read_text("utf-8"))
    vocabulary = data["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(data), "utf-8")
    with pytest.raises(CuveeError):  # another input
        cuvee.merge(recipe, tmp_path / "out1", resume=True, tile=1, threads=1)


def test_a_recipe_inside_may_have_a_vocabulary_of_its_own(tmp_path: Path) -> None:
    parts = [model(tmp_path / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE)))]
    inner = {"merge_method": "linear", "parameters": {"weight": 1}, "tokenizer": {"source": "union"}}
    inner["models"] = [{"model": str(one)} for one in parts]
    cuvee.merge(inner, tmp_path / "inner")
    outer = {"merge_method": "linear", "parameters": {"weight": 1}, "tokenizer": {"source": "union"}}
    for name, first in (("nested", inner), ("folder", str(tmp_path / "inner"))):
        outer["models"] = [{"model": first}, {"model": str(parts[1])}]
        cuvee.merge(outer, tmp_path / name)
    nested, folder = tensors(tmp_path / "nested"), tensors(tmp_path / "folder")
    record = json.loads((tmp_path / "nested/cuvee.json").read_text("utf-8"))
    assert [one["model"] for one in record["inputs"][0]["inputs"]] == [str(one) for one in parts]
    assert all(torch.equal(value, folder[name]) for name, value in nested.items())
    assert (tmp_path / "nested/tokenizer.json").read_bytes() == (tmp_path / "folder/tokenizer.json").read_bytes()


def test_what_must_be_equal_in_a_recipe_inside_is_compared(tmp_path: Path) -> None:
    parts = [model(tmp_path / name, byte_level(ENGLISH), seed=0) for name in "ab"]
    for number, part in enumerate(parts):
        save_file({**tensors(part), "model.counts": torch.tensor([number])}, part / FILE, {"format": "pt"})
    outer = {"merge_method": "linear", "parameters": {"weight": 1}, "tokenizer_source": "union"}
    inner = {"merge_method": "linear", "parameters": {"weight": 1}, "models": [{"model": str(one)} for one in parts]}
    with pytest.raises(InputError) as wanted:
        cuvee.merge(inner, tmp_path / "inner")
    with pytest.raises(InputError) as told:
        cuvee.merge({**outer, "models": [{"model": inner}, {"model": str(parts[0])}]}, tmp_path / "out")
    assert told.value.codes[0] == wanted.value.code
    assert "linear:" in str(told.value)  # says in which recipe
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_is_told_before_anything_is_written(tmp_path: Path) -> None:
    a = model(tmp_path / "a", byte_level(ENGLISH), seed=0)
    b = model(tmp_path / "b", unigram(ENGLISH), seed=1)
    small = model(tmp_path / "small", byte_level(CODE), seed=2, pad=-9)
    bare = model(tmp_path / "bare", byte_level(CODE), seed=3)
    (bare / "tokenizer.json").unlink()

    def told(parts: list[Path], tokenizer: Any) -> CuveeError:
        with pytest.raises(CuveeError) as caught:
            merged(parts, tmp_path / "out", tokenizer=tokenizer)
        assert not (tmp_path / "out").exists()
        return caught.value

    assert told([a, b], {"source": "union"}).code == "tokenizer-mismatch"
    assert told([a, small, bare], {"source": "union"}).codes == ("tokenizer-missing", "embedding-too-small")
    tokens = {
        "x": {"source": {"kind": "model_token", "model": str(a), "token": "riverr"}},
        "y": {"source": {"kind": "model_token", "model": str(a), "token_id": 9999}},
        "z": {"source": str(tmp_path / "elsewhere")},
    }
    wrong = told(
        [a, a.parent / "a2"] if False else [a, model(tmp_path / "a2", byte_level(CODE), seed=4)], {"tokens": tokens}
    )
    assert isinstance(wrong, RecipeError)
    assert wrong.codes == ("unknown-token", "unknown-token", "wrong-value")
    missing = told([a, b], {"source": str(tmp_path / "nobody")})
    assert isinstance(missing, InputError)
    assert missing.code == "model-missing"
