"""Parts of a card by hand: what searches flatter themselves by, which row is the model's, what a verdict says."""

from __future__ import annotations

import pytest

from cuvee.reporting.card_parts import loader_of, row_of
from cuvee.reporting.card_scores import explained, searched, verdict


def row(model: str, found: str = "worse", among: int = 1) -> dict[str, object]:
    difference = {"value": -0.1, "low": -0.2, "high": -0.05, "verdict": found}
    return {"model": model, "against": {"model": "p|q", "among": among, "difference": difference}}


def test_a_search_is_told_with_its_optimism() -> None:
    best = {"search": {"value": 0.9, "stderr": 0.01}, "held_out": {"value": 0.8, "stderr": 0.02}}
    text = "\n".join(searched([{"strategy": "cma-es", "best": best, "optimism": {"value": 0.1, "stderr": None}}]))
    assert "0.900 ± 0.010" in text
    assert "0.800 ± 0.020" in text
    assert text.endswith("optimism: 0.100.")
    assert list(searched([])) == list(explained([])) == []


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        (["x/merged", "merged"], ("x/merged", "merged"), "x/merged"),
        (["y/merged"], ("x/merged", "merged"), "y/merged"),
        (["y/merged", "z/merged"], ("x/merged", "merged"), None),
        (["a", "b"], ("x/merged", "merged"), None),
        (["x/merged/"], ("x/merged", "merged"), "x/merged/"),
    ],
)
def test_the_models_own_row_is_found_or_none_is_taken(
    names: list[str], asked: tuple[str, ...], found: str | None
) -> None:
    got = row_of({"models": [row(name) for name in names]}, asked)
    assert (got and got["model"]) == found


def test_a_verdict_is_one_sentence() -> None:
    told = {"tasks": {"a": "accuracy", "b": "accuracy"}, "raw": True}
    assert verdict(row("m"), told) == "Over 2 tasks it is **worse than** `p|q`: -0.100 [-0.200, -0.050]."
    assert "**within noise of** `p|q`, the best of 3:" in verdict(row("m", "within noise", 3), {**told, "raw": False})
    assert verdict({**row("m"), "against": None}, told) == "There was no other model to compare it with."


@pytest.mark.parametrize("config", [{}, {"architectures": []}, {"architectures": "x"}, {"architectures": [3]}])
def test_what_a_model_is_for_is_not_guessed(config: dict[str, object]) -> None:
    assert loader_of(config) == ("AutoModel", None)
