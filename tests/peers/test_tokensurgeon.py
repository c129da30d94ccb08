"""mergekit-tokensurgeon beside a transplant: the same rows where both choose anchors alike, and how it chooses else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

import cuvee
from tests.peers.rival import Rival
from tests.support import transplanting as pair

pytestmark = pytest.mark.peers

TOKENS = [token.replace("▁", "Ġ") for token in pair.DONOR_TOKENS if token != "<|user|>"]
ROLES = {"[BEGIN]": "<s>", "[END]": "</s>", "[PAD]": "<pad>"}
NEW = ("Ġpurple", "Ġviolet", "<unk>")
NAMES = ("model.embed_tokens.weight", "lm_head.weight")


def both(folder: Path, rival: Rival, *, same_length: bool) -> dict[str, dict[str, dict[str, Tensor]]]:
    """Rows by tensor and token: of the model, the donor, mergekit's output and ours. Both tokenizers are byte-level."""
    model, _ = pair.write_pair(folder)
    donor = pair.model_of(len(TOKENS), width=24, seed=1, bos_token_id=1, eos_token_id=2, pad_token_id=3)
    if same_length:  # and special tokens, which mergekit takes for anchors, without a direction
        with torch.no_grad():
            for rows in (donor.model.embed_tokens.weight, donor.lm_head.weight):
                rows.copy_(torch.nn.functional.normalize(rows, dim=1))
                rows[1:4] = 0
    pair.write(folder / "donor", donor, pair.byte_level(TOKENS, pair.DONOR_ROLES))
    tool = rival.python.with_name("mergekit-tokensurgeon")
    words = [str(tool), str(model), str(folder / "donor"), str(folder / "theirs"), "-k", "3"]
    subprocess.run(words, env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}, check=True, capture_output=True)
    cuvee.transplant(model, folder / "donor", folder / "ours", k=3)
    sides = {"model": pair.MODEL_TOKENS, "donor": TOKENS, "theirs": TOKENS, "ours": TOKENS}
    return {side: {name: pair.rows_of(folder / side, name, known) for name in NAMES} for side, known in sides.items()}


def longest_first(target: Tensor, atoms: Tensor, k: int) -> tuple[list[int], Tensor]:
    """Pursuit in which a long atom is taken for a near one: |⟨r, a⟩| itself decides."""
    rest, chosen, weights = target.double(), list[int](), torch.zeros(0)
    for _ in range(k):
        scores = (atoms.double() @ rest).abs()
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        some = atoms[chosen].double()
        weights = torch.linalg.lstsq(some.T, target.double()[:, None]).solution[:, 0]
        rest = target.double() - weights @ some
    return chosen, weights


def test_where_lengths_do_not_matter_all_rows_are_the_same(tmp_path: Path, rival: Rival) -> None:
    found = both(tmp_path, rival, same_length=True)
    for name in NAMES:
        for token in TOKENS:
            ours, theirs = found["ours"][name][token], found["theirs"][name][token]
            assert torch.allclose(ours, theirs, atol=1e-5), (name, token)


def test_it_takes_long_rows_for_near_ones_and_special_tokens_for_anchors(tmp_path: Path, rival: Rival) -> None:
    found = both(tmp_path, rival, same_length=False)
    apart = 0
    for name in NAMES:
        old, donor = found["model"][name], found["donor"][name]
        pairs = [(token, ROLES.get(token, token)) for token in TOKENS if ROLES.get(token, token) in old]
        atoms = torch.stack([donor[new] for new, _ in pairs])
        for token in NEW:
            chosen, weights = longest_first(donor[token], atoms, 3)
            row = weights @ torch.stack([old[pairs[i][1]] for i in chosen]).double()
            assert torch.allclose(row, found["theirs"][name][token].double(), atol=1e-5), (name, token)
            apart += not torch.allclose(found["ours"][name][token], found["theirs"][name][token], atol=1e-4)
        assert all(torch.equal(found["ours"][name][t], found["theirs"][name][t]) for t in TOKENS if t not in NEW)
    assert apart
