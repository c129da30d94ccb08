"""Front matter and Markdown around words of strangers."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from cuvee.reporting.front_matter import front_matter, languages_in, read_front_matter
from cuvee.reporting.markdown import block, code, one_line, plain, table

NASTY = [
    "a|b",
    "``x`` `y`",
    "<script>alert(1)</script>",
    "two\nlines\n---\nlicense: mit",
    "*bold* _it_ [l](javascript:1) ![i](x) # h ~~s~~ $$m$$ &lt;",
    "\u202egpj.exe",
    "back\\slash\\|pipe",
    "no",
    "1e3",
    "2024-01-01",
    "- a: b",
    "tab\tand \x00 zero",
    "é 漢字 🍷",
    "'quoted\" both",
    "{a: 1}",
    "&anchor *alias !tag",
    "",
]


@pytest.mark.parametrize("text", NASTY)
def test_front_matter_is_read_back_by_the_hubs_own_reader_and_ours(text: str) -> None:
    data = {"license_name": text, "tags": [text, "merge"], "more": [{"name": text, "results": []}], "n": 0.25}
    card = front_matter(data) + "\n# Title\n"
    read = ModelCard(card)
    assert yaml.safe_load(read.data.to_yaml()) == data
    assert read.text.strip() == "# Title"
    assert read_front_matter(card, "README.md") == data


@pytest.mark.parametrize("card", ["", "# no front matter", "--- not at its own line", "---\nnever closed: 1\n"])
def test_a_card_without_front_matter(card: str) -> None:
    assert read_front_matter(card, "README.md") == {}


@pytest.mark.parametrize("inside", ["a: [", "- 1", "a: !!python/object:os.system {}", "x", "a: &a [*a]"])
def test_front_matter_that_is_none_is_refused(inside: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_front_matter(f"---\n{inside}\n---\n", "README.md")


def test_norwegian_is_a_language() -> None:
    assert languages_in(read_front_matter("---\nlanguage: [no, en, zh-Hant, 3, <b>]\n---\n", "x")) == [
        "no",
        "en",
        "zh-Hant",
    ]


@pytest.mark.parametrize("text", [one for one in NASTY if one])
def test_names_stay_names_in_markdown(text: str) -> None:
    shown = one_line(text)
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = page.parse(f"before {plain(text)} after")
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    words = "".join(child.content for child in tokens[1].children or ())
    assert words == f"before {shown} after"
    assert {child.type for child in tokens[1].children or ()} <= {"text", "text_special"}
    cells = [t for t in page.parse(table(["a", "b"], [[code(text, in_table=True), plain(text)]])) if t.type == "inline"]
    assert len(cells) == 4
    assert [child.type for child in cells[2].children or ()] == ["code_inline"]
    assert (cells[2].children or ())[0].content == shown
    assert "".join(child.content for child in cells[3].children or ()) == shown


def test_a_block_ends_where_it_should() -> None:
    text = "a: |\n  ````\n  <script>\n"
    (token,) = MarkdownIt().parse(block(text, "yaml"))
    assert (token.type, token.content) == ("fence", text)
