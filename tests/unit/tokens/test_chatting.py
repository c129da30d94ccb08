"""Templates of conversations: chosen, written, and rendered by transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cuvee.errors import RecipeError
from cuvee.tokens.chatting import choose_template, with_template
from cuvee.tokens.reading import read_folder
from cuvee.tokens.templates import TEMPLATES
from tests.support.tokenizers import ENGLISH, byte_level, save

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]
WRITTEN = {
    "alpaca": "Be brief.\n\n"
    "### Instruction:\nHi\n\n### Response:\nHello<e>\n\n### Instruction:\nBye\n\n### Response:\n",
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<b><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<b>[INST] Be brief.\n\nHi [/INST] Hello<e>[INST] Bye [/INST]",
    "exaone": "[|system|]Be brief.[|endofturn|]\n"
    "[|user|]Hi\n[|assistant|]Hello[|endofturn|]\n[|user|]Bye\n[|assistant|]",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = byte_level(ENGLISH, specials=("<b>", "<e>"))
    return save(tmp_path_factory.mktemp("plain") / "a", made, bos_token="<b>", eos_token="<e>")


@pytest.mark.parametrize("name", TEMPLATES)
def test_named_templates_write_what_models_were_trained_on(tmp_path: Path, plain: Path, name: str) -> None:
    from transformers import PreTrainedTokenizerFast

    for file, text in with_template(read_folder(plain, "a").files, TEMPLATES[name]).items():
        (tmp_path / file).write_text(text, "utf-8")
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert loaded.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True) == WRITTEN[name]


def test_the_most_common_wins_and_of_equals_the_first(plain: Path) -> None:
    a = read_folder(plain, "a")
    x, y = replace(a, chat_template="x"), replace(a, chat_template="y")
    assert choose_template("auto", [a, y, x, x]) == "x"
    assert choose_template("auto", [a, a, y, x]) == "y"
    assert choose_template("auto", [a]) is None


def test_jinja_is_taken_literally_and_misspelt_names_are_refused() -> None:
    assert choose_template("{{ messages }}", []) == "{{ messages }}"
    with pytest.raises(RecipeError, match="chatml") as raised:
        choose_template("chatlm", [])
    assert raised.value.codes == ("wrong-value",)


def test_a_template_is_written_where_the_old_one_stood() -> None:
    assert with_template({"tokenizer_config.json": '{"chat_template": "x", "a": 1.0e-5}'}, "y") == {
        "tokenizer_config.json": '{"chat_template": "y", "a": 1.0e-5}'
    }
    both = {"tokenizer_config.json": '{"chat_template": "x", "a": 1}', "chat_template.jinja": "x"}
    assert with_template(both, "y") == {"tokenizer_config.json": '{"a": 1}', "chat_template.jinja": "y"}
    assert with_template({}, "y") == {"chat_template.jinja": "y"}
