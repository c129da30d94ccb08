"""Candidates made in memory: the bytes of a merge, whatever was made before, and what is kept between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

import cuvee
from cuvee import methods
from cuvee.checkpoint import MemoryReader
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import ResourceError
from cuvee.planning import referenced
from cuvee.recipe import Recipe, from_data
from cuvee.searching import cellar as module
from cuvee.searching.cellar import Candidate, Cellar, needed, room_for
from cuvee.searching.held import Shelf, held
from cuvee.searching.prepared import Watched
from cuvee.searching.seat import Seats
from tests.support.lanes import rarely

MODELS = {
    name: {
        "w": torch.randn(24, 8, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16),
        "n": torch.ones(3),
        "i": torch.arange(3),
    }
    for seed, name in enumerate(["base", "a", "b", "c"])
}
PER_MODEL = {"weight": [0.5, 0.3, 0.4]}
TRIED = {
    "linear": [{"weight": [0.5, 0.3, 0.2]}, {"weight": [0.1, 0.3, 0.6]}],
    "task_arithmetic": [PER_MODEL, {"weight": [0.1, 0.9, 0.4], "lambda": 0.5}],
    "ties": [{**PER_MODEL, "density": 0.5}, {"weight": [0.9, 0.1, 0.2], "density": 0.5}, {**PER_MODEL, "density": 0.2}],
    "dare_ties": [{**PER_MODEL, "density": 0.5}, {**PER_MODEL, "density": 0.9}],
    "ties_global": [{"density": 0.5}, {"density": 0.3, "lambda": 0.5}],
    "karcher": [{}],
    "multislerp": [{"weight": [0.5, 0.3, 0.2]}],
    "model_stock": [{}],
    "geometric_median": [{"weight": [1.0, 1.0, 1.0]}, {"weight": [1.0, 2.0, 3.0]}],
    "tsv_m": [{"lambda": 1.0}, {"lambda": 0.5}],
    "knots": [{**PER_MODEL, "density": 0.5}, {"weight": [0.9, 0.1, 0.2], "density": 0.8}],
    "iso_cts": [{"lambda": 1.0}, {"lambda": 0.5}],
    "sce": [{"select_topk": 0.5}, {"select_topk": 0.2}],
    "breadcrumbs": [{**PER_MODEL, "density": 0.8, "gamma": 0.05}, {**PER_MODEL, "density": 0.5, "gamma": 0.1}],
}


def recipe_of(method: str, settings: Mapping[str, Any]) -> Recipe:
    spec = methods.specs()[method]
    shared, own = {}, [{} for _ in "abc"]
    for name, value in settings.items():
        if isinstance(value, list):
            for entry, one in zip(own, value):
                entry[name] = one
        else:
            shared[name] = value
    data = {"merge_method": method, "parameters": shared}
    data["models"] = [{"model": name, "parameters": entry} for name, entry in zip("abc", own)]
    return from_data(data | ({} if spec.base == "input" else {"base_model": "base"}), methods.specs())


def cellar(room: int = 1 << 20, shelf: int = 1 << 20) -> Cellar:
    shared = Shelf(shelf)
    readers = {name: held(MemoryReader(name, values), shared) for name, values in MODELS.items()}

    def opened(recipe: Recipe) -> Sequence[Reader]:
        return [readers[ref.path] for ref in referenced(recipe)]

    return Cellar(opened, seed=3, room=room)


def merged(method: str, settings: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    spec = methods.specs()[method]
    base = None if spec.base == "input" else MODELS["base"]
    return cuvee.merge_state_dicts({n: MODELS[n] for n in "abc"}, method, base=base, seed=3, **settings)


@pytest.mark.parametrize("room", [1 << 20, *rarely(0)])
@pytest.mark.parametrize("method", TRIED)
def test_candidates_have_the_bytes_of_merges_whatever_came_before(method: str, room: int) -> None:
    kept = cellar(room, room)
    for settings in (*TRIED[method], *reversed(TRIED[method])):
        found = kept.merged(recipe_of(method, settings)).tensors
        wanted = merged(method, settings)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_candidates_of_different_methods_and_models_share_nothing_wrong() -> None:
    kept = cellar()
    for _ in range(2):
        for method, tried in TRIED.items():
            found = kept.merged(recipe_of(method, tried[0])).tensors
            assert torch.equal(found["w"], merged(method, tried[0])["w"])


def test_a_candidate_may_be_changed_by_who_runs_it() -> None:
    kept = cellar()
    recipe = recipe_of("task_arithmetic", PER_MODEL)
    for values in kept.merged(recipe).tensors.values():
        values.fill_(7)
    again = kept.merged(recipe).tensors
    assert torch.equal(again["w"], merged("task_arithmetic", PER_MODEL)["w"])
    assert torch.equal(again["i"], torch.arange(3))


def test_a_method_may_give_a_part_of_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "combine_tile", lambda _method, stack, *_: stack[0])
    kept = cellar()
    first = kept.merged(recipe_of("linear", PER_MODEL)).tensors["n"]
    first.fill_(7)
    assert torch.equal(kept.merged(recipe_of("linear", PER_MODEL)).tensors["n"], torch.ones(3))


def test_inner_products_are_made_once_whatever_the_weights() -> None:
    kept = cellar()
    kept.merged(recipe_of("geometric_median", TRIED["geometric_median"][0]))
    made = kept.prepared.made
    kept.merged(recipe_of("geometric_median", TRIED["geometric_median"][1]))
    assert kept.prepared.made == made > 0


def test_passes_are_made_again_only_for_what_they_look_at() -> None:
    kept = cellar()
    first, other_weights, other_density = TRIED["ties"]
    kept.merged(recipe_of("ties", first))
    made = kept.prepared.made
    kept.merged(recipe_of("ties", other_weights))
    assert kept.prepared.made == made > 0
    kept.merged(recipe_of("ties", other_density))
    assert kept.prepared.made > made


@pytest.mark.parametrize("method", ["tsv_m", "knots", "iso_cts"])
def test_matrices_are_factored_once_for_all_candidates(method: str) -> None:
    kept = cellar()
    first, second = TRIED[method]
    kept.merged(recipe_of(method, first))
    made = kept.factored
    kept.merged(recipe_of(method, second))
    assert kept.factored == made > 0
    kept.merged(recipe_of(method, {**second, "weight": [0.9, 0.0, 0.2]} if method == "knots" else second))
    assert kept.factored == made + (method == "knots")  # of fewer models another matrix


def test_factors_are_made_again_where_there_is_no_room() -> None:
    kept = cellar(room=0)
    kept.merged(recipe_of("tsv_m", TRIED["tsv_m"][0]))
    made = kept.factored
    kept.merged(recipe_of("tsv_m", TRIED["tsv_m"][1]))
    assert kept.factored == 2 * made


def test_settings_tell_who_looked() -> None:
    settings = Watched({"a": 1, "b": 2})
    assert settings["a"] == 1
    assert settings.seen == {"a"}
    assert settings.get("b") == 2
    assert settings.seen == {"a", "b"}
    again = Watched({"a": 1, "b": 2})
    assert dict(again.items()) == {"a": 1, "b": 2}
    assert again.seen == {"a", "b"}


def test_tensors_are_read_once_while_there_is_room() -> None:
    class Counted(MemoryReader):
        reads = 0

        def read(self, name: str, start: int, stop: int) -> torch.Tensor:
            Counted.reads += 1
            return super().read(name, start, stop)

    reader = held(Counted("a", MODELS["a"]), Shelf(24 * 8 * 2))
    for _ in range(3):
        assert torch.equal(reader.read("w", 5, 9), MODELS["a"]["w"].view(-1)[5:9])
    assert Counted.reads == 1
    assert torch.equal(reader.read("n", 0, 3), MODELS["a"]["n"])
    assert torch.equal(reader.read("n", 0, 3), MODELS["a"]["n"])
    assert Counted.reads == 3


def test_one_module_takes_every_candidate() -> None:
    built = []

    def build(candidate: Candidate) -> torch.nn.Module:
        built.append(candidate)
        return torch.nn.Linear(4, 2)

    seats = Seats(build)
    first = Candidate("x", None, {"weight": torch.ones(2, 4), "bias": torch.zeros(2)})
    second = Candidate("x", None, {"weight": torch.full((2, 4), 2.0), "bias": torch.ones(2)})
    module = seats.seated(first)
    assert seats.seated(second) is module
    assert len(built) == 1
    assert torch.equal(module.weight, second.tensors["weight"])
    assert not module.training


def test_a_module_with_other_names_is_built_each_time() -> None:
    built = []

    def build(candidate: Candidate) -> torch.nn.Module:
        built.append(candidate)
        return torch.nn.Linear(4, 2)

    seats = Seats(build)
    half = Candidate("x", None, {"weight": torch.ones(2, 4)})
    seats.seated(half)
    seats.seated(half)
    assert len(built) == 2


def test_the_memory_limit_is_respected() -> None:
    assert room_for(300, 5000, 1000, None) == 700
    assert room_for(300, 5000, None, 1000) == 200
    assert room_for(300, 50, None, 1000) == 50
    assert room_for(300, 5000, None, None) == 5000
    plan = cellar().plan(recipe_of("task_arithmetic", PER_MODEL))
    assert needed([plan]) == 4 * 3 * (24 * 8 + 3 + 3) + 3 * 24 * 8 * 5 * 4
    with pytest.raises(ResourceError, match="copies of a model"):
        room_for(300, 5000, 299, None)


def test_what_is_kept_stays_within_its_room() -> None:
    shelf = Shelf(100)
    assert shelf.get(0, "a", 60, lambda: torch.zeros(15)) is not None
    assert shelf.get(0, "b", 60, lambda: torch.zeros(15)) is None
    assert shelf.get(0, "c", 40, lambda: torch.zeros(10)) is not None
    shelf.grow(60)
    assert shelf.get(0, "b", 60, lambda: torch.zeros(15)) is not None
