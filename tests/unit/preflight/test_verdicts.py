"""What is said of prepared models: a cut-out of the demo's trained base, changed in ways that are known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cuvee.checkpoint import MemoryReader
from cuvee.checkpoint.protocol import SideFile
from cuvee.demo.specialists import BASE
from cuvee.preflight import Preflight, judge, look
from cuvee.preflight.facts import Barrier, ModelFigures, PairFigures, Reason
from cuvee.preflight.rules import RULES
from cuvee.types import ModelRef

WIDTH, UNITS = 32, 48
CONFIG = {
    **json.loads((BASE / "config.json").read_text("utf-8")),
    "hidden_size": WIDTH,
    "intermediate_size": UNITS,
    "head_dim": 8,
}
Tensors = dict[str, Tensor]
NO = "will not merge as they are"


@pytest.fixture(scope="module")
def base() -> Tensors:
    return {name: cut(name, tensor.float()) for name, tensor in load_file(BASE / "model.safetensors").items()}


def cut(name: str, tensor: Tensor) -> Tensor:
    """The leading rows and columns of a tensor: trained weights, and factored in no time."""
    if tensor.dim() == 1 or "embed" in name:
        return tensor[..., :WIDTH].clone()
    rows = UNITS if "gate" in name or "up_proj" in name else WIDTH
    return tensor[:rows, : UNITS if "down" in name else WIDTH].clone()


class Words(MemoryReader):
    """A model with a vocabulary beside it."""

    file: Path

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        return (SideFile("tokenizer.json", self.file),)


def noisy(tensors: Tensors, share: float, seed: int) -> Tensors:
    """Every tensor moved by a share of its norm."""
    generator = torch.Generator().manual_seed(seed)
    moves = {n: torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
    return {n: t + share * t.norm() / moves[n].norm() * moves[n] for n, t in tensors.items()}


def asked(models: dict[str, Tensors], base: str | None = None, configs: dict[str, Any] | None = None) -> Preflight:
    names = list(models)
    readers = tuple(MemoryReader(n, t, {**CONFIG, **(configs or {}).get(n, {})}) for n, t in models.items())
    given = () if base is None else (names.index(base),)
    count = len(names) - (base is not None)
    return look.look(look.Asked(tuple(map(ModelRef, names)), readers, count, given, 4 << 20))


def rules(found: Preflight, level: str | None = None) -> set[str]:
    return {reason.rule for reason in found.reasons if level in (None, reason.level)}


def family(base: Tensors, share: float = 0.05) -> dict[str, Tensors]:
    return {"a": noisy(base, share, 1), "b": noisy(base, share, 2), "base": base}


def test_fine_tunes_of_one_base_merge(base: Tensors) -> None:
    found = asked(family(base), "base")
    assert found.verdict == "merge"
    assert found.suggestion is not None
    assert found.suggestion.method == "ties"
    assert [m.task_norm for m in found.models] == [None, pytest.approx(0.05, rel=1e-3), pytest.approx(0.05, rel=1e-3)]
    assert found.sample.entries == found.sample.of
    assert {layer.layer for layer in found.pairs[0].layers} == {"outside", *(f"model.layers.{i}" for i in range(3))}


def test_their_base_is_found_among_them(base: Tensors) -> None:
    found = asked(family(base))
    assert (found.base.model, found.verdict) == ("base", "merge")
    assert [(p.a, p.b) for p in found.pairs] == [("a", "b")]
    assert found.suggestion is not None
    assert str(found.suggestion.recipe.base_model) == "base"


def test_several_fine_tunes_without_their_base_have_none(base: Tensors) -> None:
    found = asked({name: noisy(base, 0.05, seed) for seed, name in enumerate("abc")})
    assert found.base.model is None
    assert "no common base is visible" in found.base.how
    assert found.base.candidates[0].task_cosine == pytest.approx(0.5, abs=0.05)
    assert found.suggestion is not None
    assert found.suggestion.method == "linear"


def test_beside_a_far_fine_tune_a_near_one_may_be_the_base_as_well(base: Tensors) -> None:
    """The near one and the base lie at one end of a long line: whose end it is depends on how the far one fell."""
    near, far = noisy(base, 0.05, 1), noisy(base, 0.5, 2)
    for way in (2.0, -2.0):
        moved = {n: far[n] + way * (near[n] - base[n]) for n in far}
        found = asked({"near": near, "far": moved, "base": base})
        assert sum(c.fits for c in found.base.candidates) == 2
        assert found.base.model is None
        assert "near or base" in found.base.how.replace("base or near", "near or base")
        assert "--base" in found.base.how


def test_two_models_say_nothing_of_their_base(base: Tensors) -> None:
    found = asked({"a": noisy(base, 0.05, 1), "base": base})
    assert found.base.model is None
    assert "two models have one distance" in found.base.how
    assert found.suggestion is not None
    assert found.suggestion.method == "slerp"


def test_of_several_candidates_the_nearest_is_the_base(base: Tensors) -> None:
    models = {"a": noisy(base, 0.05, 1), "older": noisy(base, 0.2, 9), "base": base}
    readers = tuple(MemoryReader(n, t, CONFIG) for n, t in models.items())
    found = look.look(look.Asked(tuple(map(ModelRef, models)), readers, 1, (1, 2), 4 << 20))
    assert found.base.model == "base"
    assert {c.model: c.fits for c in found.base.candidates} == {"older": True, "base": True}
    assert found.suggestion is not None
    assert found.suggestion.method == "wise_ft"


def test_other_initialisations_do_not_merge(base: Tensors) -> None:
    other = {n: t.flatten()[torch.randperm(t.numel())].reshape(t.shape) for n, t in base.items()}
    found = asked({"a": base, "b": other})
    assert (found.verdict, found.suggestion) == (NO, None)
    assert rules(found, "stops") == {"strangers"}
    assert found.pairs[0].fall is not None
    assert found.pairs[0].fall < 0.1


def test_units_in_another_order_are_seen_as_such(base: Tensors) -> None:
    moved = dict(base)
    for layer in range(3):
        mlp = f"model.layers.{layer}.mlp"
        order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(layer))
        for name in ("gate_proj", "up_proj"):
            moved[f"{mlp}.{name}.weight"] = base[f"{mlp}.{name}.weight"][order]
        moved[f"{mlp}.down_proj.weight"] = base[f"{mlp}.down_proj.weight"][:, order]
    found = asked({"a": noisy(base, 0.02, 1), "b": moved})
    assert found.verdict == NO
    assert rules(found, "stops") == {"permuted"}  # which says more than `strangers`
    assert found.pairs[0].match is not None
    assert found.pairs[0].match.fall > 0.9


def test_a_new_head_is_to_be_looked_at(base: Tensors) -> None:
    models = family(base)
    for seed, name in enumerate("ab"):
        models[name]["score.weight"] = 0.1 * torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(seed))
    found = asked({n: models[n] for n in "ab"})
    assert found.verdict == "merge with care"
    assert rules(found, "care") == {"strange-parts"}
    assert found.pairs[0].strange_tensors == ("score.weight",)


@pytest.mark.parametrize(
    ("share", "verdict", "rule"), [(0.1, "merge", None), (0.5, "merge with care", "far"), (1.2, NO, "farther")]
)
def test_how_far_is_too_far(base: Tensors, share: float, verdict: str, rule: str | None) -> None:
    found = asked({"a": noisy(base, share, 1), "b": noisy(base, 0.05, 2), "base": base}, "base")
    assert found.verdict == verdict
    assert rules(found) & {"far", "farther"} == ({rule} if rule else set())


def test_pruned_identical_and_low_rank_models_are_told(base: Tensors) -> None:
    pruned = {n: t * (t.abs() > t.abs().median()) if t.dim() == 2 else t for n, t in base.items()}
    found = asked({"a": pruned, "b": noisy(base, 0.05, 2), "base": base}, "base")
    assert (found.verdict, rules(found, "care")) == ("merge with care", {"pruned"})
    assert found.suggestion is not None
    assert found.suggestion.method == "linear"  # its many changed entries would outvote the other's
    same = asked({"a": family(base)["a"], "b": family(base)["a"], "base": base}, "base")
    assert same.verdict == "merge"
    assert "same" in rules(same)
    generator = torch.Generator().manual_seed(0)

    def adapted() -> Tensors:
        def low(t: Tensor) -> Tensor:
            up, down = (torch.randn(*shape, generator=generator) for shape in ((t.shape[0], 2), (2, t.shape[1])))
            return up @ down

        return {n: t + 0.005 * low(t) if "layers" in n and t.dim() == 2 else t for n, t in base.items()}

    found = asked({"a": adapted(), "b": adapted(), "base": base}, "base")
    assert found.verdict == "merge"
    assert {"low-rank", "frozen"} <= rules(found)
    assert found.suggestion is not None
    assert found.suggestion.method == "tsv_m"


def test_task_vectors_against_each_other(base: Tensors) -> None:
    there = family(base)["a"]
    back = {n: 2 * base[n] - t for n, t in there.items()}
    found = asked({"a": there, "b": back, "base": base}, "base")
    assert (found.verdict, rules(found, "care")) == ("merge with care", {"opposed"})
    assert found.pairs[0].sign_conflict == 1
    alike = asked({"a": there, "b": noisy(there, 0.01, 5), "base": base}, "base")
    assert "alike" in rules(alike)
    assert alike.suggestion is not None
    assert alike.suggestion.method == "linear"


def test_what_a_merge_refuses_stops_it_with_the_same_reason(base: Tensors) -> None:
    larger = {n: torch.cat([t, t[:3]]) if "embed_tokens" in n else t for n, t in base.items()}
    found = asked({"a": base, "b": larger}, configs={"b": {"vocab_size": 40}})
    assert (found.verdict, rules(found, "stops"), found.suggestion) == (NO, {"vocabulary-mismatch"}, None)
    assert "one row per token; found a [37, 32], b [40, 32]" in found.reasons[0].text
    short = {n: t for n, t in base.items() if "layers.2" not in n}
    found = asked({"a": base, "b": short}, configs={"b": {"num_hidden_layers": 2}})
    assert rules(found, "stops") == {"layer-count-mismatch"}
    assert "a has 3, b has 2" in found.reasons[0].text


def test_faults_that_differ_in_their_layer_are_told_once(base: Tensors) -> None:
    narrow = {n: t[:24] if "gate_proj" in n else t for n, t in base.items()}
    found = asked({"a": base, "b": narrow})
    stops = [r for r in found.reasons if r.level == "stops"]
    assert [(r.rule, r.value) for r in stops] == [("shape-mismatch", 3)]
    assert "model.layers.*.mlp.gate_proj.weight" in stops[0].text


def test_nan_stops(base: Tensors) -> None:
    models = family(base)
    models["a"]["model.norm.weight"][0] = math.nan
    assert rules(asked(models, "base"), "stops") == {"non-finite"}


def test_settings_and_dtypes(base: Tensors) -> None:
    models = family(base)
    found = asked(models, "base", {"b": {"num_attention_heads": 8, "use_cache": False}})
    assert (found.verdict, rules(found, "care")) == ("merge with care", {"settings"})
    assert "`num_attention_heads` differs" in found.reasons[0].text
    models["a"] = {n: t.bfloat16() for n, t in models["a"].items()}
    mixed = asked(models, "base")
    assert mixed.verdict == "merge"
    assert "dtypes" in rules(mixed, "note")


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("abcdefghij", "merge"),
        ("abcdefghijk", "merge"),
        ("jihgfedcba", NO),
        ("abcdefghijklmnopqrstuvwxzy", "merge with care"),
    ],
)
def test_vocabularies_of_one_size_and_other_words(base: Tensors, tmp_path: Path, words: str, verdict: str) -> None:
    readers = []
    for number, text in enumerate(
        (words[:0] + ("abcdefghijklmnopqrstuvwxyz" if len(words) > 20 else "abcdefghij"), words)
    ):
        reader = Words(f"m{number}", noisy(base, 0.05, number), CONFIG)
        reader.file = tmp_path / f"{number}.json"
        reader.file.write_text(json.dumps({"model": {"vocab": {word: i for i, word in enumerate(text)}}}))
        readers.append(reader)
    refs = tuple(ModelRef(reader.label) for reader in readers)
    assert look.look(look.Asked(refs, tuple(readers), 2)).verdict == verdict


def test_a_sample_comes_to_the_same_verdicts(base: Tensors) -> None:
    names, readers = ("a", "b", "base"), [MemoryReader(n, t, CONFIG) for n, t in family(base).items()]
    steps: list[tuple[int, int]] = []
    seen = look.Asked(
        tuple(map(ModelRef, names)), tuple(readers), 2, (2,), 10_000, progress=lambda *step: steps.append(step)
    )
    found = look.look(seen)
    assert found.verdict == "merge"
    assert found.sample.entries < found.sample.of / 2
    assert found.models[1].task_norm == pytest.approx(0.05, rel=0.1)
    assert found.pairs[0].sign_conflict == pytest.approx(0.5, abs=0.05)
    assert steps[-1] == (2 * found.sample.tensors + 1,) * 2


def test_every_rule_is_met_with_and_names_its_source() -> None:
    fields = {"model": ModelFigures, "pair": PairFigures, "barrier": Barrier}
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    for number, rule in enumerate(RULES):
        assert hasattr(fields[rule.of], rule.figure), rule.name
        assert len(rule.at.source) > 20
        assert set(rule.unless) <= set(names[:number]), f"{rule.name}: what says more must come first"


@pytest.mark.parametrize(
    ("relative", "error", "rule"),
    [(0.5, 0.1, "barrier"), (0.5, 0.24, "low-barrier"), (0.5, 0.26, "no-barrier"), (0.05, 0.001, "low-barrier"),
     (-0.4, 0.1, "no-barrier")],
)  # fmt: skip
def test_a_barrier_counts_as_far_as_it_is_sure(relative: float, error: float, rule: str) -> None:
    barrier = Barrier("a", "b", (1.0, 1.0 + relative, 1.0), relative, error, relative, 9)
    assert [reason.rule for reason in judge.reasons_of((), (), (barrier,))] == [rule]


def test_the_gravest_reason_decides() -> None:
    made = [Reason(level, level, (), "") for level in ("note", "stops", "care")]  # type: ignore[arg-type]
    assert [r.level for r in judge.in_order(made)] == ["stops", "care", "note"]
    assert [judge.verdict_of(made[:1]), judge.verdict_of(made[::2]), judge.verdict_of(made)] == [
        "merge", "merge with care", NO,
    ]  # fmt: skip
