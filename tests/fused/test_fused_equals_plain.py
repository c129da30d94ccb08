"""Every fused form gives the bytes of the plain one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from cuvee.fused import SAVES, form_of
from cuvee.methods import Job, get
from cuvee.methods.call import bind
from cuvee.methods.tiles import mask_keys
from tests.support.fused import merge_fused, merge_plain

NAMES = tuple(SAVES)
DELTAS = {"task_arithmetic", "ties", "dare_ties", "dare_linear"}
SIZES = (1, 1023, 2049, 9_001)
SAMPLED = (1 << 17) + 1


def models(kind: str, count: int, numel: int, dtype: torch.dtype, seed: int) -> list[torch.Tensor]:
    """A base and fine-tunes of it: smooth, on a coarse grid (equal deltas), mostly untouched, or with signed zeros."""
    made = torch.Generator().manual_seed(seed)
    base = torch.randn(numel, generator=made) * 0.02
    noise = [torch.randn(numel, generator=made) * 0.002 for _ in range(count)]
    if kind == "grid":
        base, noise = (base * 256).round() / 256, [(n * 1024).round() / 1024 for n in noise]
    if kind == "sparse":
        noise = [n * (torch.rand(numel, generator=made) < 0.1) for n in noise]
    if kind == "zeros":
        base = torch.where(torch.rand(numel, generator=made) < 0.5, -torch.zeros(numel), base)
        noise = [torch.where(torch.rand(numel, generator=made) < 0.5, -base, n) for n in noise]
    if kind == "rows":  # rows of very different scale, so that a sample says little
        scale = 10 ** torch.linspace(-3, 2, numel)
        noise = [n * scale for n in noise]
    return [base.to(dtype), *[(base + n).to(dtype) for n in noise]]


def job_for(name: str, count: int, numel: int, given: dict) -> Job:
    spec = get(name).spec
    asked = {k: v for k, v in given.items() if any(p.name == k.rstrip("_") and not p.ignored for p in spec.params)}
    return Job(
        bind(spec, asked, count, torch.device("cpu")), numel, torch.float32, mask_keys(3, "abcdefgh"[:count], "t")
    )


def both(name: str, kind: str, count: int, numel: int, given: dict, dtype, out, tile: int):
    base, *tunes = models(kind, count, numel, dtype, seed=numel % 97 + count)
    values, first = (tunes, base) if name in DELTAS else (([base, *tunes])[:count], None)
    if name == "slerp":
        values, first, count = tunes[:1], base, 1
    job = job_for(name, count, numel, given)
    fast = merge_fused(name, values, first, job, tile, out)
    return fast, merge_plain(name, values, first, job, tile, out)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    width = torch.int16 if a.dtype.itemsize == 2 else torch.int32
    return torch.equal(a.view(width), b.view(width))


def some_settings(count: int) -> dict:
    weight = [0.5, -0.3, 1.7, 0.25, 0.1][:count]
    density = [0.5, 0.03, 0.9, 1.0, 0.2][:count]
    return {"weight": weight, "density": density, "t": 0.35, "lambda_": 0.7, "normalize": True}


WIDTHS = {"16": torch.bfloat16, "32": torch.float32}


@pytest.mark.parametrize("kind", ["smooth", "grid", "sparse", "zeros", "rows"])
@pytest.mark.parametrize(
    ("name", "dtypes"),
    # Every pair is a compilation of its own; of the rounding to another width there is one piece of code.
    [*((name, dtypes) for name in NAMES for dtypes in ("16-16", "32-32")), ("linear", "16-32"), ("linear", "32-16")],
)
def test_gives_the_same_bytes(name, kind, dtypes):
    source, target = (WIDTHS[d] for d in dtypes.split("-"))
    for numel in (*SIZES, *([SAMPLED] if name == "ties" else [])):
        (fast, _, _), (plain, _) = both(name, kind, 3, numel, some_settings(3), source, target, 1 << 13)
        assert same(fast, plain), numel


def test_slerp_with_the_norm_interpolated():
    asked = some_settings(1) | {"norm": "interpolated"}
    (fast, _, _), (plain, _) = both("slerp", "smooth", 1, 9_001, asked, torch.bfloat16, torch.bfloat16, 1 << 13)
    (raw, _, _), _ = both("slerp", "smooth", 1, 9_001, some_settings(1), torch.bfloat16, torch.bfloat16, 1 << 13)
    assert same(fast, plain)
    assert not same(fast, raw)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(["smooth", "grid", "sparse", "zeros", "rows"]),
    numel=st.integers(1, 9000) | st.integers(1 << 17, 140_000),
    count=st.integers(1, 5),
    weight=st.lists(st.floats(-2, 2, width=32), min_size=5, max_size=5),
    density=st.lists(st.floats(2.0**-10, 1, width=32), min_size=5, max_size=5),
    scale=st.floats(-3, 3, width=32),
    normalize=st.booleans(),
    rescale=st.booleans(),
    tile=st.sampled_from([1024, 4096, 1 << 16, 1 << 18]),
)
@pytest.mark.slow
def test_gives_the_same_bytes_whatever_the_settings(
    name, kind, numel, count, weight, density, scale, normalize, rescale, tile
):
    normalize = normalize and abs(sum(weight[:count])) > 0.01
    asked = {"weight": weight[:count], "density": density[:count], "t": abs(scale) / 3, "lambda_": scale}
    asked |= {"normalize": normalize, "rescale": rescale}
    (fast, _, _), (plain, _) = both(name, kind, count, numel, asked, torch.bfloat16, torch.bfloat16, tile)
    assert same(fast, plain)


@pytest.mark.parametrize("kind", ["smooth", "grid", "sparse", "rows"])
def test_the_passes_find_what_the_plain_ones_find(kind):
    fast, plain = both(
        "ties", kind, 3, 200_000, {"weight": 1.0, "density": 0.3}, torch.bfloat16, torch.bfloat16, 1 << 16
    )
    assert torch.equal(fast[1].threshold, plain[1].threshold)


def test_a_threshold_that_the_sample_misplaced_is_found_all_the_same():
    """All of the large deltas are where the sample never looks."""
    from cuvee.fused.threshold import sample_of

    numel = 1 << 20
    base, delta = torch.zeros(numel), torch.full((numel,), 5.0)
    for start, stop in sample_of(numel):
        delta[start:stop] = torch.linspace(1, 2, stop - start)
    job = job_for("ties", 1, numel, {"weight": 1.0, "density": 0.5})
    merged, known, plain = merge_fused("ties", [delta], base, job, 1 << 16, torch.float32)
    assert plain, "this was to be a miss"
    expected, _ = merge_plain("ties", [delta], base, job, 1 << 16, torch.float32)
    assert same(merged, expected)
    assert known.threshold.item() == 5.0


def test_more_equal_entries_than_can_be_kept_are_no_trouble(monkeypatch):
    from cuvee.fused import threshold

    monkeypatch.setattr(threshold, "inside_limit", lambda _numel: 1000)
    (fast, _, plain), (slow, _) = both(
        "ties", "grid", 2, 1 << 18, some_settings(2), torch.bfloat16, torch.bfloat16, 1 << 16
    )
    assert plain
    assert same(fast, slow)


def test_an_ordinary_threshold_is_found_without_the_plain_passes():
    (_, _, plain), _ = both("ties", "smooth", 3, 1 << 20, some_settings(3), torch.bfloat16, torch.bfloat16, 1 << 16)
    assert not plain


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_told(name, bad):
    base, *tunes = models("smooth", 2, 5000, torch.bfloat16, 1)
    tunes[0][4999] = bad
    values, first = (tunes, base) if name in DELTAS else ([base, tunes[0]], None)
    count = 1 if name == "slerp" else 2
    job = job_for(name, count, 5000, some_settings(2) | {"density": 1.0})
    from cuvee.fused.model import INFINITE
    from tests.support.fused import rows_of

    rows = rows_of([*(() if first is None else (first,)), *values])
    out = torch.empty(5000, dtype=torch.bfloat16)
    known = (0.5, 0.5) if name == "slerp" else None
    assert form_of(name).combiner(job, known)(rows, 0, out.view(torch.uint16).numpy()) >= INFINITE
