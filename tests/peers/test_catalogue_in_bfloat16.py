"""The catalogue's methods on bfloat16 models, held against float64 arithmetic on the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cuvee import methods
from tests.peers.jobs import Recipe, deltas_of
from tests.peers.models import draw, tune
from tests.peers.rival import Job, Outcome, Rival, Tensors
from tests.peers.shown import shows
from tests.peers.sides import Room, Sides, off

pytestmark = pytest.mark.peers

WEIGHTS = {"a": 0.57, "b": 0.31, "c": 0.4}
FORMS: Mapping[str, tuple[str, bool, Mapping[str, Any]]] = {
    "nuslerp": ("ab", True, {}),
    "multislerp": ("abc", True, {}),
    "karcher": ("abc", False, {}),
    "breadcrumbs": ("ab", True, {"density": 0.5, "gamma": 0.1}),
    "breadcrumbs_ties": ("ab", True, {"density": 0.5, "gamma": 0.1}),
    "model_stock": ("abc", False, {}),
    "sce": ("abc", False, {"select_topk": 0.5}),
    "ram": ("abc", False, {"epsilon": 0.01}),
    "ramplus_tl": ("abc", False, {"epsilon": 0.01}),
    "nearswap": ("a", False, {"t": 0.01}),
    "arcee_fusion": ("a", False, {}),
}
"""Method → its models, whether they have weights, and the shared parameters."""
HERE = [method for method in FORMS if method in methods.names()]
WORSE = {"nuslerp": 1.05, "multislerp": 1.05, "nearswap": 1.1} | dict.fromkeys(("karcher", "model_stock"), 1.5)
"""How much more than one rounding mergekit is off, at least, where it is not 4 times as much."""
CUT = ("breadcrumbs", "breadcrumbs_ties", "sce")
"""Methods with a cut through entries of equal size, which bfloat16 has many of: each tool keeps others of these."""


def recipe_of(method: str, room: Room, dtype: str) -> Recipe:
    models, weighted, shared = FORMS[method]
    own = {room.model(m): {"weight": WEIGHTS[m]} if weighted else {} for m in models}
    found = deltas_of(method, room.model("base"), own, dtype=dtype, parameters=shared)
    return found if method != "karcher" else {k: v for k, v in found.items() if k != "base_model"}


@pytest.fixture(scope="module")
def answered(
    rival: Rival, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Room, Mapping[str, Job], Mapping[str, Outcome]]:
    room = Room(tmp_path_factory.mktemp("bfloat16"))
    base = draw(1)
    for name, tensors in (("base", base), *((name, tune(base, 2 + i)) for i, name in enumerate("abc"))):
        room.model(name, {k: t.bfloat16() for k, t in tensors.items()}, dtype="bfloat16")
    jobs = [Job(f"{m}-{d}", recipe_of(m, room, d)) for m in HERE for d in ("bfloat16", "float64")]
    return room, {job.name: job for job in jobs}, rival.merge(jobs)


@pytest.fixture
def sides(answered: Any, tmp_path: Any) -> Sides:
    return Sides(*answered, tmp_path)


def truth(sides: Sides, method: str) -> Tensors:
    """The formula in float64: mergekit's own, or ours where a choice among equals is part of it."""
    mine, their = sides.both(f"{method}-float64")
    return mine.tensors if method in CUT else their.tensors


@pytest.mark.parametrize("method", [m for m in HERE if m not in CUT])
def test_in_float64_both_say_the_same(method: str, sides: Sides) -> None:
    mine, their = sides.both(f"{method}-float64")
    assert off(mine.tensors, their.tensors) < 1e-7


@shows("bfloat16-arithmetic")
@pytest.mark.parametrize("method", [m for m in HERE if m != "arcee_fusion"])
def test_ours_is_rounded_once_and_theirs_is_not(method: str, sides: Sides) -> None:
    mine, their = sides.both(f"{method}-bfloat16")
    wanted = truth(sides, method)
    rounded = off({k: t.bfloat16() for k, t in wanted.items()}, wanted)
    assert off(mine.tensors, wanted) == pytest.approx(rounded, rel=1e-2)
    assert off(their.tensors, wanted) > WORSE.get(method, 4) * rounded


@shows("float32-outputs")
@pytest.mark.parametrize("method", [m for m in HERE if m in ("ramplus_tl", "arcee_fusion")])
def test_a_dtype_that_is_asked_for_is_written(method: str, sides: Sides) -> None:
    mine, their = sides.both(f"{method}-bfloat16")
    written = [{str(t.dtype).removeprefix("torch.") for t in side.tensors.values()} for side in (mine, their)]
    assert written == [{"bfloat16"}, {"float32"}]
