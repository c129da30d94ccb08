"""One recipe, one result: whatever runner, threads, tiles, hash seed, folder or caller.

The plain runner, which takes every tensor whole, is the definition; everything else is held against it byte for byte.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from cuvee.checkpoint.opened import Checkpoint
from cuvee.errors import CuveeError
from cuvee.planning import DEFAULT_TILE
from tests.support.checkpoints import assert_same
from tests.support.lanes import every_other
from tests.support.merging import (
    METHODS,
    Tensors,
    cast,
    decoder,
    files,
    linear,
    merge_all,
    picture,
    read,
    recipe,
    write,
)
from tests.support.yard import Q, Yard
from tests.support.zoo import Cellar, stored

ROOT = Path(__file__).parents[2]
WIDER_THAN_A_TILE = DEFAULT_TILE + 9_001
"""More entries than the default tile, and no multiple of a block."""
SEED = 11


@dataclass(frozen=True)
class Triple:
    """A base and two models, what the plain runner makes of them with every method, and tiles to try by threads."""

    paths: tuple[Path, ...]
    plain: dict[str, dict[str, bytes]]
    root: Path
    tiles: Mapping[int, Sequence[int | None]]

    def merge(self, method: str, name: str, **options: Any) -> dict[str, bytes]:
        """Every file of a merge."""
        out = self.root / method / name
        cuvee.merge(recipe(method, *self.paths), out, seed=SEED, **options)
        return files(out)


def triple(root: Path, paths: tuple[Path, ...]) -> Triple:
    cut = max(t.numel() for t in stored(paths[0]).values()) > 4096
    few = {1: [1024], 2: [4096], 4: [None]}
    made = Triple(paths, {}, root, dict.fromkeys(few, (1024, 4096, None)) if cut else few)
    for method in METHODS:
        made.plain[method] = made.merge(method, "plain", runner="plain")
    return made


def wide(seed: int) -> dict[str, Tensor]:
    """A decoder, a tensor that the default tile cuts in two, and one of few magnitudes for TIES to choose from."""
    generator = torch.Generator().manual_seed(seed)
    large = torch.randn(WIDER_THAN_A_TILE, generator=generator)
    return decoder(seed) | {
        "wide.weight": large,
        "coarse.weight": (large[:20_000] * 3).round(),
        "one": large[0].clone(),
    }


def of_zoo(name: str, root: Path) -> tuple[Path, ...]:
    cellar = Cellar(root)
    return cellar.model(name, 0), cellar.model(name, 1), cellar.model(name, 2)


MODELS: dict[str, Callable[[Path], tuple[Path, ...]]] = {
    "wide": lambda root: tuple(write(root / str(seed), wide(seed)) for seed in range(3)),
    "bfloat16 shards": lambda root: tuple(
        write(root / str(seed), cast(decoder(seed, width=64), torch.bfloat16), shards=3) for seed in range(3)
    ),
    "qwen2": lambda root: of_zoo("qwen2", root),
    "deepseek-v3": lambda root: of_zoo("deepseek-v3", root),
    "plain state dict": lambda root: of_zoo("plain state dict", root),
}


@pytest.fixture(scope="module", params=list(MODELS))
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Triple:
    root = tmp_path_factory.mktemp("models")
    return triple(root / "merged", MODELS[request.param](root))


def assert_same_files(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


# --- threads and tiles


@pytest.mark.parametrize(
    "threads", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("method", every_other(METHODS))
def test_the_threaded_runner_writes_the_bytes_of_the_plain_one(models: Triple, method: str, threads: int) -> None:
    for tile in models.tiles[threads]:
        found = models.merge(method, f"{threads} {tile}", threads=threads, tile=tile)
        assert_same_files(found, models.plain[method])


@pytest.mark.parametrize("method", ["ties", "dare_ties", "slerp"])
def test_tensors_large_enough_for_other_digits(tmp_path: Path, method: str) -> None:
    """From 2^18 entries on, thresholds are searched in wider digits."""
    generator = torch.Generator().manual_seed(0)
    paths = [write(tmp_path / n, {"w": torch.randn((1 << 18) + 77, generator=generator)}) for n in "zab"]
    data = recipe(method, *paths)
    cuvee.merge(data, tmp_path / "plain", runner="plain")
    for tile in (100_000, 65_536):
        cuvee.merge(data, tmp_path / str(tile), threads=3, tile=tile)
        assert_same_files(files(tmp_path / str(tile)), files(tmp_path / "plain"))


@pytest.mark.parametrize("method", METHODS)
def test_float64_and_odd_tiles(tmp_path: Path, method: str) -> None:
    paths = [write(tmp_path / n, cast(decoder(i, width=50), torch.float64)) for i, n in enumerate("zab")]
    data = recipe(method, *paths)
    cuvee.merge(data, tmp_path / "plain", runner="plain")
    for tile in (1, 1025, 10**9):
        cuvee.merge(data, tmp_path / str(tile), threads=2, tile=tile)
        assert_same_files(files(tmp_path / str(tile)), files(tmp_path / "plain"))


@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_are_none_fall_on_the_same_places(tmp_path: Path, method: str) -> None:
    for i, name in enumerate("zab"):
        tensors = decoder(i, width=50)
        tensors[Q].view(-1)[[i, 1100, 2499]] = torch.tensor([float("nan"), float("inf"), float("-inf")])
        write(tmp_path / name, tensors)
    data = recipe(method, tmp_path / "z", tmp_path / "a", tmp_path / "b")
    cuvee.merge(data, tmp_path / "plain", runner="plain", allow_nonfinite=True)
    cuvee.merge(data, tmp_path / "tiles", threads=2, tile=1024, allow_nonfinite=True)
    assert_same_files(files(tmp_path / "tiles"), files(tmp_path / "plain"))


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_masks_change_with_the_seed_and_only_with_it(yard: Yard, method: str) -> None:
    path = yard.file(recipe(method, "base", "a", "b"))
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        cuvee.merge(path, yard.root / name, seed=seed)
    one, again, two = (files(yard.root / name) for name in ("one", "again", "two"))
    assert_same_files(again, one)
    assert one["model.safetensors"] != two["model.safetensors"]


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "passthrough"])
def test_a_method_without_masks_does_not_change_with_the_seed(yard: Yard, method: str) -> None:
    path = yard.file(recipe(method, "base", "a", "b"))
    for seed in (1, 2):
        cuvee.merge(path, yard.root / str(seed), seed=seed)
    assert_same(read(yard.root / "1"), read(yard.root / "2"))


# --- other processes, other places

MERGE_ALL = "import sys; from tests.support.merging import merge_all; merge_all(*sys.argv[1:])"


@pytest.mark.slow
def test_the_hash_seed_of_python_changes_no_byte_of_any_file(yard: Yard) -> None:
    for method in METHODS:
        yard.file(recipe(method, "base", "a", "b", out_dtype="bfloat16"), f"{method}.yml")
    merge_all(yard.root, yard.root / "here")
    here = files(yard.root / "here")
    assert len(here) == len(METHODS) * 6
    for seed in ("0", "random"):
        words = [sys.executable, "-c", MERGE_ALL, str(yard.root), str(yard.root / seed)]
        subprocess.run(words, env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT, check=True)
        assert_same_files(files(yard.root / seed), here)


@pytest.mark.parametrize("method", METHODS)
def test_a_folder_moved_elsewhere_gives_the_same_files(yard: Yard, tmp_path: Path, method: str) -> None:
    path = yard.file(recipe(method, "base", "a", "./b"))
    cuvee.merge(path, tmp_path / "here")
    shutil.copytree(yard.root, tmp_path / "deeper" / "moved", ignore=shutil.ignore_patterns("here", "deeper"))
    cuvee.merge(tmp_path / "deeper" / "moved" / "recipe.yml", tmp_path / "there")
    assert_same_files(files(tmp_path / "there"), files(tmp_path / "here"))


def test_the_working_folder_changes_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    path = yard.file(recipe("dare_ties", "base", "a", "b"))
    cuvee.merge(path, yard.root / "here")
    monkeypatch.chdir(yard.root)
    cuvee.merge("recipe.yml", "there")
    assert_same_files(files(yard.root / "there"), files(yard.root / "here"))


def test_sharding_changes_no_tensor(yard: Yard) -> None:
    path = yard.file(recipe("dare_ties", "base", "a", "b"))
    one = cuvee.merge(path, yard.root / "one")
    many = cuvee.merge(path, yard.root / "many", shard_size=1500)
    assert len(list((yard.root / "many").glob("*.safetensors"))) > 2
    assert_same(read(yard.root / "many"), read(yard.root / "one"))
    assert many.record == one.record


# --- in memory


def in_memory(method: str, base: Tensors, a: Tensors, b: Tensors, names: tuple[str, str], **options: Any) -> Any:
    """The recipe of `merging.recipe` as a call."""
    data = recipe(method, "base", *names)
    listed = {entry["model"]: entry["parameters"] for entry in data["models"]}
    keys = {key for own in listed.values() for key in own}
    given = {key: [own[key] for own in listed.values()] for key in keys}
    tensors = dict(zip(names, (a, b)))
    return cuvee.merge_state_dicts(
        {name: tensors[name] for name in listed},
        method,
        base=base if "base_model" in data else None,
        **given,
        **{"lambda_" if key == "lambda" else key: value for key, value in data["parameters"].items()},
        **options,
    )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_merge_in_memory_equals_one_on_disk(yard: Yard, method: str, threads: int) -> None:
    cuvee.merge(yard.file(recipe(method, "base", "a", "b")), yard.out, seed=3)
    tensors = (read(yard.root / name) for name in ("base", "a", "b"))
    found = in_memory(method, *tensors, ("a", "b"), seed=3, threads=threads)
    assert_same(found, read(yard.out))


def turned(tensor: Tensor) -> Tensor:
    """The same matrix, stored column by column."""
    return tensor.T.contiguous().T if tensor.dim() == 2 else tensor


@pytest.mark.parametrize("method", METHODS)
def test_the_layout_of_tensors_in_memory_changes_nothing(method: str) -> None:
    plain = [decoder(seed, width=40) for seed in range(3)]
    strided = [{n: turned(t) for n, t in m.items()} for m in plain]
    sliced = [{n: torch.stack([t, t], dim=-1)[..., 0] for n, t in m.items()} for m in plain]
    expected = in_memory(method, *plain, ("x", "y"))
    assert not all(t.is_contiguous() for t in strided[1].values())
    assert not any(t.is_contiguous() for t in sliced[1].values() if t.numel() > 1)
    for variant in (strided, sliced):
        assert_same(in_memory(method, *variant, ("x", "y")), expected)


@pytest.mark.parametrize("method", METHODS)
def test_parameters_of_a_live_model(method: str) -> None:
    plain = [decoder(seed) for seed in range(3)]
    live = [{n: torch.nn.Parameter(t.clone()) for n, t in m.items()} for m in plain]
    before = [{n: t.detach().clone() for n, t in m.items()} for m in live]
    found = in_memory(method, *live, ("x", "y"))
    assert_same(found, in_memory(method, *plain, ("x", "y")))
    assert not any(t.requires_grad for t in found.values())
    assert all(t.requires_grad and t.grad is None for m in live for t in m.values())
    for model, kept in zip(live, before):
        assert_same(model, kept)


def test_the_result_shares_no_memory_with_an_input() -> None:
    model = {"w": torch.ones(3), "n": torch.tensor([1, 2])}
    found = cuvee.merge_state_dicts([model], weight=1)
    found["w"].add_(1)
    found["n"].add_(1)
    assert_same(model, {"w": torch.ones(3), "n": torch.tensor([1, 2])})


def test_tensors_of_one_storage() -> None:
    """Tied tensors of a live model are one storage under two names, and rows of one buffer are tensors of their own."""
    rows = torch.arange(12.0).reshape(3, 4)
    model = {"embed.weight": rows, "lm_head.weight": rows, "first": rows[0], "last": rows[2]}
    found = cuvee.merge_state_dicts([model, {n: 3 * t for n, t in model.items()}], weight=1)
    assert_same(found, {name: 2 * tensor for name, tensor in model.items()})


def test_tied_tensors_of_a_live_model_stay_equal_under_masks() -> None:
    def tied(seed: int) -> dict[str, Tensor]:
        embedding = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed))
        return {"embed.weight": embedding, "lm_head.weight": embedding}

    found = cuvee.merge_state_dicts([tied(1), tied(2)], "dare_linear", base=tied(0), weight=1, density=0.5)
    assert torch.equal(found["embed.weight"], found["lm_head.weight"])


MIXTURES = {
    "bfloat16 and float32": (torch.float32, torch.bfloat16, torch.float32, torch.float32),
    "halves of both kinds": (torch.bfloat16, torch.float16, torch.bfloat16, torch.float32),
    "half": (torch.float16, torch.float16, torch.float16, torch.float16),
    "with float64": (torch.bfloat16, torch.float64, torch.float32, torch.float64),
}


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("method", METHODS)
def test_mixtures_of_dtypes_in_memory_and_on_disk(yard: Yard, method: str, mixture: str) -> None:
    *dtypes, _ = MIXTURES[mixture]
    models = [cast(decoder(seed), dtype) for seed, dtype in enumerate(dtypes)]
    for name, tensors in zip(("x", "y", "z"), models):
        yard.model(name, tensors)
    cuvee.merge(yard.file(recipe(method, "x", "y", "z")), yard.out)
    assert_same(in_memory(method, *models, ("y", "z")), read(yard.out))


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_mixture_is_written_in_what_holds_it(mixture: str) -> None:
    *dtypes, held = MIXTURES[mixture]
    models = [cast(decoder(seed), dtype) for seed, dtype in enumerate(dtypes)]
    found = in_memory("ties", *models, ("y", "z"))
    assert {tensor.dtype for tensor in found.values()} == {held}


# --- what surrounds a call


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_default_dtype_of_torch_changes_nothing(dtype: torch.dtype) -> None:
    models = [decoder(seed) for seed in range(3)]
    expected = {method: in_memory(method, *models, ("x", "y")) for method in METHODS}
    torch.set_default_dtype(dtype)
    try:
        found = {method: in_memory(method, *models, ("x", "y")) for method in METHODS}
    finally:
        torch.set_default_dtype(torch.float32)
    for method in METHODS:
        assert_same(found[method], expected[method])


def test_a_merge_in_inference_mode() -> None:
    with torch.inference_mode():
        found = cuvee.merge_state_dicts([{"w": torch.zeros(4)}, {"w": torch.ones(4)}], weight=1)
    assert found["w"].tolist() == [0.5] * 4


def test_a_merge_under_another_default_device() -> None:
    models = [{"w": torch.zeros(4)}, {"w": torch.ones(4)}]
    with torch.device("meta"):
        found = cuvee.merge_state_dicts(models, weight=1)
    assert found["w"].tolist() == [0.5] * 4


def seen_by_a_new_thread() -> int:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


@pytest.fixture
def two_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("runner", ["threaded", "plain"])
def test_threads_of_torch_are_as_before(yard: Yard, runner: Any) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out, runner=runner)
    assert (torch.get_num_threads(), seen_by_a_new_thread()) == (2, 2)


@pytest.mark.usefixtures("two_threads")
def test_threads_of_torch_are_as_before_a_merge_that_fails(yard: Yard) -> None:
    def stop(_: object) -> None:
        raise OSError("stop")

    with pytest.raises(OSError, match="stop"):
        cuvee.merge(yard.file(linear("a", "b")), yard.out, progress=stop)
    assert (torch.get_num_threads(), seen_by_a_new_thread()) == (2, 2)


@pytest.mark.usefixtures("two_threads")
def test_threads_of_torch_are_as_before_merges_side_by_side(yard: Yard) -> None:
    """The second merge begins after the first one and ends after it."""
    path = yard.file(linear("a", "b"))
    first_works, second_works, first_ended = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        cuvee.merge(path, yard.root / "1", progress=lambda _: (first_works.set(), second_works.wait(20)))
        first_ended.set()

    def second() -> None:
        first_works.wait(20)
        cuvee.merge(path, yard.root / "2", progress=lambda _: (second_works.set(), first_ended.wait(20)))

    callers = [threading.Thread(target=work) for work in (first, second)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert_same_files(files(yard.root / "1"), files(yard.root / "2"))
    assert (torch.get_num_threads(), seen_by_a_new_thread()) == (2, 2)


# --- progress


@pytest.mark.parametrize(("runner", "threads"), [("plain", None), ("threaded", 1), ("threaded", 4)])
def test_progress_grows_to_the_whole(yard: Yard, runner: Any, threads: int | None) -> None:
    yard.model("x", decoder(1) | {"empty": torch.empty(0, 3), "count": torch.tensor([3])})
    yard.model("y", decoder(2) | {"empty": torch.empty(0, 3), "count": torch.tensor([3])})
    told: list[Any] = []
    cuvee.merge(yard.file(linear("x", "y")), yard.out, runner=runner, threads=threads, progress=told.append)
    total = sum(t.nbytes for t in read(yard.out).values())
    assert sorted(step.tensor for step in told) == sorted(n for n, t in read(yard.out).items() if t.numel())
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert ({step.total for step in told}, told[-1].done) == ({total}, total)


# --- a run that fails


def ours() -> list[str]:
    """Workers that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cuvee-")]


@dataclass
class Failing:
    """Raises at a given call, and counts the calls after it."""

    at: int
    error: BaseException
    calls: int = 0

    def __call__(self, *arguments: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        if self.calls > self.at:
            time.sleep(0.05)  # the worker that failed gets its turn to say so, on a busy machine too


@pytest.mark.parametrize(("runner", "threads"), [("plain", None), ("threaded", 1), ("threaded", 4)])
@pytest.mark.parametrize("at", [1, 5])
def test_a_progress_that_fails_stops_everything(yard: Yard, runner: Any, threads: int | None, at: int) -> None:
    path, progress = yard.file(linear("a", "b")), Failing(at, ZeroDivisionError("progress"))
    before = picture(yard.root)
    with pytest.raises(ZeroDivisionError, match="progress"):
        cuvee.merge(path, yard.out, runner=runner, threads=threads, progress=progress)
    assert progress.calls <= at + (threads or 1)
    assert (ours(), picture(yard.root)) == ([], before)


@pytest.mark.parametrize("error", [OSError("disk gone"), KeyboardInterrupt(), ValueError("what"), SystemExit(3)])
@pytest.mark.parametrize("method", ["linear", "ties"])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_reader_that_fails_stops_everything(
    yard: Yard, threads: int, method: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, failing, read_tile = yard.file(recipe(method, "base", "a", "b")), Failing(9, error), Checkpoint.read

    def reading(self: Checkpoint, name: str, start: int, stop: int) -> Tensor:
        failing()
        return read_tile(self, name, start, stop)

    monkeypatch.setattr(Checkpoint, "read", reading)
    before = picture(yard.root)
    with pytest.raises(type(error)):
        cuvee.merge(path, yard.out, threads=threads)
    assert failing.calls <= 9 + 3 * threads
    assert (ours(), picture(yard.root)) == ([], before)


def test_no_worker_outlives_a_merge(yard: Yard) -> None:
    seen: list[list[str]] = []
    cuvee.merge(yard.file(linear("a", "b")), yard.out, threads=3, progress=lambda _: seen.append(ours()))
    assert len(seen[0]) > 0
    assert ours() == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_no_file_stays_open(yard: Yard) -> None:
    def opened() -> set[str]:
        links = {path: os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()}
        return {target for target in links.values() if target.startswith(str(yard.root))}

    path = yard.file(linear("a", "b"))
    cuvee.merge(path, yard.out)
    with pytest.raises(CuveeError):
        cuvee.merge(path, yard.out)
    with pytest.raises(OSError, match="stop"):
        cuvee.merge(path, yard.root / "other", progress=Failing(2, OSError("stop")))
    assert opened() == set()
