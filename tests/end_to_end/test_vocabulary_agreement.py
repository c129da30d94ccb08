"""Models with other tokenizers, in recipes that say nothing of them: refused, or told, and never mixed unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import cuvee
from cuvee.errors import InputError, RecipeError
from tests.support.tokenizers import CODE, ENGLISH, byte_level, save

ROWS = 448


def model(folder: Path, tokenizer: Any | None, *, rows: int = ROWS, seed: int = 0, **config: Any) -> Path:
    """A tiny Llama with a tokenizer beside it."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=rows, **sizes)).save_pretrained(folder)
    if tokenizer is not None:
        save(folder, tokenizer, **config)
    return folder


def recipe(*models: Path, method: str = "linear", **more: Any) -> dict[str, Any]:
    return {"merge_method": method, "models": [{"model": str(m)} for m in models], "parameters": {"weight": 1}, **more}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agreement")
    english, code = byte_level(ENGLISH), byte_level(CODE)
    model(folder / "a", english, eos_token="<|end|>")
    model(folder / "b", english, seed=1, eos_token="<|end|>")
    model(folder / "other", code, seed=2, eos_token="<|end|>")
    english.add_special_tokens(["<|pad|>"])
    model(folder / "padded", english, seed=3, eos_token="<|end|>", pad_token="<|pad|>")
    model(folder / "none", None, seed=4)
    return folder


def test_equal_tokenizers_are_merged_without_a_word(yard: Path, tmp_path: Path) -> None:
    assert not [note for note in cuvee.plan(recipe(yard / "a", yard / "b")).notes if "token" in note]
    file = tmp_path / "spaced" / "tokenizer.json"
    model(tmp_path / "spaced", byte_level(ENGLISH), eos_token="<|end|>")
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")), indent=7), "utf-8")  # other bytes, same tokens
    assert not [note for note in cuvee.plan(recipe(yard / "a", tmp_path / "spaced")).notes if "token" in note]


def test_other_tokens_in_the_same_rows_are_refused_with_three_ways_out(yard: Path, tmp_path: Path) -> None:
    for method in ("linear", "ties"):
        base = {"base_model": str(yard / "b")} if method == "ties" else {}
        for call in (cuvee.plan, lambda r: cuvee.merge(r, tmp_path / "out")):
            with pytest.raises(InputError) as caught:
                call(recipe(yard / "a", yard / "other", method=method, **base))
            assert caught.value.codes == ("tokenizer-mismatch",)
            text = str(caught.value)
            assert all(way in text for way in ("union", "source: base", "cuvee tokens transplant"))
            assert str(yard / "other") in text
    assert not (tmp_path / "out").exists()


def test_rows_of_other_numbers_are_refused_with_the_same_ways_out(yard: Path, tmp_path: Path) -> None:
    larger = model(tmp_path / "larger", byte_level(ENGLISH), rows=ROWS + 8, eos_token="<|end|>")
    with pytest.raises(InputError) as caught:
        cuvee.plan(recipe(yard / "a", larger))
    assert set(caught.value.codes) == {"vocabulary-mismatch"}
    assert all(way in str(caught.value) for way in ("union", "source: base", "cuvee tokens transplant"))


def test_a_token_more_and_other_roles_are_told(yard: Path) -> None:
    notes = "\n".join(cuvee.plan(recipe(yard / "a", yard / "padded")).notes)
    assert f"{yard / 'padded'} has 1 tokens more ('<|pad|>')" in notes
    turned = "\n".join(cuvee.plan(recipe(yard / "padded", yard / "a")).notes)
    assert f"{yard / 'padded'} has 1 tokens more ('<|pad|>')" in turned
    assert "pad is None and '<|pad|>'" in notes


def test_slices_and_modules_are_compared_where_rows_meet(yard: Path) -> None:
    slices = [{"sources": [{"model": str(yard / name), "layer_range": [0, 1]}]} for name in ("a", "other")]
    plan = cuvee.plan({"merge_method": "passthrough", "slices": slices})
    assert any("the result has the tokenizer of" in note for note in plan.notes)
    apart = {
        "model.layers": {"models": [{"model": str(yard / "a")}]},
        "rest": {"models": [{"model": str(yard / name)} for name in ("a", "other")]},
    }
    with pytest.raises(InputError) as caught:
        cuvee.plan({"merge_method": "linear", "parameters": {"weight": 1}, "modules": apart})
    assert caught.value.code == "tokenizer-mismatch"


def test_recipes_inside_recipes_are_compared_too(yard: Path) -> None:
    inner = recipe(yard / "a", yard / "b")
    outer = {"merge_method": "linear", "parameters": {"weight": 1}}
    outer["models"] = [{"model": inner}, {"model": str(yard / "other")}]
    with pytest.raises(InputError) as caught:
        cuvee.plan(outer)
    assert caught.value.code == "tokenizer-mismatch"
    outer["models"] = [{"model": recipe(yard / "a", yard / "other")}, {"model": str(yard / "b")}]
    with pytest.raises(InputError) as caught:
        cuvee.plan(outer)
    assert caught.value.code == "tokenizer-mismatch"


def test_models_without_tokenizer_or_with_a_damaged_one_are_told(yard: Path, tmp_path: Path) -> None:
    notes = "\n".join(cuvee.plan(recipe(yard / "a", yard / "b", yard / "none")).notes)
    assert f"{yard / 'none'}: no tokenizer beside the weights" in notes
    damaged = model(tmp_path / "damaged", byte_level(ENGLISH), eos_token="<|end|>")
    (damaged / "tokenizer.json").write_text("{", "utf-8")
    notes = "\n".join(cuvee.plan(recipe(yard / "a", damaged)).notes)
    assert "its tokenizer is not compared" in notes


def test_embeddings_smaller_than_the_vocabulary_are_refused(yard: Path, tmp_path: Path) -> None:
    small = model(tmp_path / "small", byte_level(ENGLISH), rows=300, eos_token="<|end|>")
    smaller = model(tmp_path / "smaller", byte_level(ENGLISH), rows=300, seed=1, eos_token="<|end|>")
    with pytest.raises(InputError) as caught:
        cuvee.merge(recipe(small, smaller), tmp_path / "out")
    assert caught.value.codes == ("embedding-too-small", "embedding-too-small")
    assert "300 rows" in str(caught.value)
    assert not (tmp_path / "out").exists()


CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


def written(folder: Path) -> str:
    """A conversation as the tokenizer of a folder writes it."""
    found: str = transformers.AutoTokenizer.from_pretrained(folder).apply_chat_template(CHAT, tokenize=False)
    return found


def templated(folder: Path, name: str, template: str | None, seed: int) -> Path:
    made = model(folder / name, byte_level(ENGLISH), seed=seed, eos_token="<|end|>", template=template)
    (made / "README.txt").write_text(name, "utf-8")
    return made


def test_a_chat_template_is_chosen_by_name_by_count_or_literally(tmp_path: Path) -> None:
    plain = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    shout = "{% for m in messages %}{{ m['content'] | upper }}!{% endfor %}"
    a, b, c = (
        templated(tmp_path, name, t, i) for i, (name, t) in enumerate({"a": plain, "b": shout, "c": shout}.items())
    )
    cases = {"auto": "HI!HO!", shout: "HI!HO!", "chatml": "<|im_start|>user\nhi<|im_end|>\n"}
    for number, (setting, start) in enumerate(cases.items()):
        out = tmp_path / f"out{number}"
        made = cuvee.merge(recipe(a, b, c, chat_template=setting), out)
        assert written(out).startswith(start)
        assert any("chat template" in note for note in made.notes)
        assert cuvee.verify(out).ok
        for file in ("tokenizer.json", "README.txt"):
            assert (out / file).read_bytes() == (a / file).read_bytes()
    assert written(a).startswith("user: hi")
    again = cuvee.merge(recipe(a, b, c, chat_template="auto"), tmp_path / "out0", resume=True)
    assert again.was_complete
    unsaid = cuvee.merge(recipe(a, b, c), tmp_path / "unsaid")
    assert written(tmp_path / "unsaid") == written(a)
    assert any("another chat template" in note for note in unsaid.notes)


def test_templates_are_counted_as_models_have_them_whatever_becomes_of_their_tokenizers(tmp_path: Path) -> None:
    first, common = "{{ 'first' }}", "{{ 'common' }}"
    parts = [templated(tmp_path, n, t, i) for i, (n, t) in enumerate({"a": first, "b": common, "c": common}.items())]
    made = cuvee.merge(recipe(*parts, chat_template="auto", tokenizer={"source": "union"}), tmp_path / "out")
    assert written(tmp_path / "out") == "common"
    assert any(f"that of {parts[1]}, {parts[2]}, the most common" in note for note in made.notes)
    parts[0] = templated(tmp_path, "none", None, 3)
    cuvee.merge(recipe(*parts, chat_template="auto", tokenizer={"source": "base"}), tmp_path / "other")
    assert written(tmp_path / "other") == "common"


def test_a_template_that_is_no_jinja_is_refused(tmp_path: Path) -> None:
    a = templated(tmp_path, "a", None, 0)
    with pytest.raises(RecipeError, match=r"should be Jinja text; line 2 of it is not"):
        cuvee.merge(recipe(a, chat_template="{% for m in messages %}\n{{ m['x' }}{% endfor %}"), tmp_path / "out")
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    cuvee.merge(recipe(a, chat_template=marked), tmp_path / "out")
    assert written(tmp_path / "out") == "hi"


def test_a_template_needs_a_tokenizer_and_auto_needs_a_template(yard: Path, tmp_path: Path) -> None:
    for models, setting in (((yard / "none", yard / "a"), "chatml"), ((yard / "a", yard / "b"), "auto")):
        with pytest.raises(InputError) as caught:
            cuvee.merge(recipe(*models, chat_template=setting), tmp_path / "out")
        assert caught.value.code == "tokenizer-missing"
    assert not (tmp_path / "out").exists()
