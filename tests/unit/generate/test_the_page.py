"""The examples of the page run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cuvee.generate import TokenEnsemble
from tests.support.writing import PROMPTS, byte_level, causal

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "token-ensembles.md"


def test_importing_costs_next_to_nothing() -> None:
    code = "import sys; from cuvee import generate; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_examples_run() -> None:
    math, code = ((causal("llama", len(byte_level()), seed), byte_level()) for seed in (0, 1))
    given: dict[str, Any] = {
        "math": math,
        "code": code,
        "small": TokenEnsemble([math]),
        "large": TokenEnsemble([code]),
        "prompts": [f"{prompt} {number}" for number in range(3) for prompt in PROMPTS],
    }
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert len(blocks) == 4
    for block in blocks:
        exec(block, given)
    assert len(given["found"]) == 2
    assert given["votes"][0].answer
    assert given["router"].threshold is not None
