"""mergekit-moe beside a mixture: the same experts and the same of everything else, under other names on disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cuvee.api import build_mixture
from tests.peers.rival import Rival
from tests.support import tokenizers
from tests.support.mixtures import loaded, write
from tests.support.zoo import stored

pytestmark = pytest.mark.peers

TEXTS = ["one two three", "four five six"]


def described(folder: Path, kind: str, *, begins: bool = False) -> dict[str, Any]:
    tokenizer = tokenizers.byte_level(TEXTS, 300, ("<|end|>", "<|begin|>"))
    special = {"eos_token": "<|end|>", **({"bos_token": "<|begin|>"} if begins else {})}
    for seed in range(3):
        write(kind, seed, folder / f"{kind}{seed}", vocab_size=tokenizer.get_vocab_size())
        tokenizers.save(folder / f"{kind}{seed}", tokenizer, **special)
    experts = [{"source_model": str(folder / f"{kind}{seed}"), "positive_prompts": TEXTS} for seed in (1, 2)]
    experts[1]["residual_scale"] = 0.5
    return {"base_model": str(folder / f"{kind}0"), "gate_mode": "random", "dtype": "float32", "experts": experts}


def theirs(folder: Path, whole: dict[str, Any], rival: Rival) -> subprocess.CompletedProcess[str]:
    (folder / "mixture.yml").write_text(yaml.safe_dump(whole))
    words = [rival.python.with_name("mergekit-moe"), folder / "mixture.yml", folder / "theirs"]
    flag = "--i-understand-this-is-not-useful-without-training"
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    return subprocess.run([*map(str, words), flag], env=environ, capture_output=True, text=True, check=False)


def test_everything_but_random_routers_is_the_same(tmp_path: Path, rival: Rival) -> None:
    whole = described(tmp_path, "llama")
    done = theirs(tmp_path, whole, rival)
    assert done.returncode == 0, done.stderr[-2000:]
    build_mixture(tmp_path / "mixture.yml", tmp_path / "ours")
    own, other = (loaded(tmp_path / side).state_dict() for side in ("ours", "theirs"))
    assert own.keys() == other.keys()
    bad = [name for name in own if not name.endswith("mlp.gate.weight") and not torch.equal(own[name], other[name])]
    assert bad == []
    assert any("gate_up_proj" in name for name in stored(tmp_path / "theirs"))
    assert not any("gate_up_proj" in name for name in stored(tmp_path / "ours"))


LENGTHS = {
    "positive_prompts": ["one two three", "three"],
    "negative_prompts": ["four five six", "one six two four", "six"],
}
SAME_LENGTH = {"positive_prompts": TEXTS[:1], "negative_prompts": TEXTS[1:]}


@pytest.mark.parametrize(
    ("mode", "prompts"),
    [("hidden", LENGTHS), ("hidden_last", LENGTHS), ("cheap_embed", LENGTHS), ("hidden_avg", SAME_LENGTH)],
)
@pytest.mark.parametrize("begins", [False, True])
def test_routers_of_prompts_are_the_same(
    tmp_path: Path, rival: Rival, mode: str, prompts: dict[str, list[str]], begins: bool
) -> None:
    """The base runs in bfloat16 there, and in its own float32 here: rows of length 1 agree to bfloat16's rounding."""
    whole = described(tmp_path, "llama", begins=begins) | {"gate_mode": mode}
    whole["experts"][0] |= prompts
    done = theirs(tmp_path, whole, rival)
    assert done.returncode == 0, done.stderr[-2000:]
    build_mixture(tmp_path / "mixture.yml", tmp_path / "ours")
    own, other = (loaded(tmp_path / side).state_dict() for side in ("ours", "theirs"))
    routers = [name for name in own if name.endswith("mlp.gate.weight")]
    assert len(routers) == 2
    for name in routers:
        assert float(own[name].norm()) == pytest.approx(2**0.5, rel=1e-5)
        torch.testing.assert_close(own[name], other[name], rtol=0, atol=0.01)


def test_padding_is_in_their_mean_over_positions(tmp_path: Path, rival: Rival) -> None:
    whole = described(tmp_path, "llama") | {"gate_mode": "hidden_avg"}
    whole["experts"][0] |= {"positive_prompts": ["one two three four five six", "six"]}
    assert theirs(tmp_path, whole, rival).returncode == 0
    build_mixture(tmp_path / "mixture.yml", tmp_path / "ours")
    own, other = (loaded(tmp_path / side).state_dict() for side in ("ours", "theirs"))
    name = next(name for name in own if name.endswith("mlp.gate.weight"))
    assert float((own[name][0] - other[name][0]).abs().max()) > 0.03
    torch.testing.assert_close(own[name][1], other[name][1], rtol=0, atol=0.01)  # prompts of one length


def test_a_shared_expert_of_its_own_crashes_there(tmp_path: Path, rival: Rival) -> None:
    whole = described(tmp_path, "qwen2")
    write("qwen2", 3, tmp_path / "qwen23", vocab_size=stored(tmp_path / "qwen20")["model.embed_tokens.weight"].shape[0])
    whole["shared_experts"] = [{"source_model": str(tmp_path / "qwen23"), "positive_prompts": TEXTS}]
    whole["architecture"] = "qwen"
    done = theirs(tmp_path, whole, rival)
    assert done.returncode != 0
    assert "AttributeError" in done.stderr
    build_mixture(tmp_path / "mixture.yml", tmp_path / "ours")
    loaded(tmp_path / "ours")
