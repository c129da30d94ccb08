"""The result of a recipe as a model to read: the same bytes as the written one, whichever range, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cuvee import methods
from cuvee.checkpoint import MemoryReader, MemoryWriter, plan_layout
from cuvee.checkpoint.digest import digest_tensor
from cuvee.checkpoint.flat import writable_bytes
from cuvee.errors import InputError
from cuvee.execute import execute, virtual
from cuvee.execute.kept import Kept
from cuvee.execute.virtual import VirtualReader
from cuvee.planning import bind, referenced
from cuvee.recipe import from_data
from tests.support.checkpoints import assert_same, read_in_tiles, read_whole
from tests.support.merging import METHODS, decoder, recipe

SIZES = {"width": 48, "vocabulary": 150}  # 7200 entries in the embedding: several blocks, and no whole number of them


def models(names: Sequence[str], dtype: torch.dtype = torch.float32) -> list[MemoryReader]:
    made = []
    for name in names:
        tensors = {key: value.to(dtype) for key, value in decoder(ord(name[0]), **SIZES).items()}
        made.append(MemoryReader(name, {**tensors, "counts": torch.arange(5)}, {"model_type": "x", "dtype": "float32"}))
    return made


def reader_of(method: str, dtype: torch.dtype = torch.float32, **more: object) -> VirtualReader:
    asked = from_data(recipe(method, "base", "a", "b", **more), methods.specs())
    readers = models([ref.path for ref in referenced(asked)], dtype)
    return VirtualReader("first", bind(asked, readers, methods.get(method).spec), readers, methods.get(method), seed=3)


def written(reader: VirtualReader, method: str) -> dict[str, Tensor]:
    """What merging the same into memory gives."""
    writer = MemoryWriter(plan_layout(list(reader.specs.values()), 1 << 62))
    execute(reader.plan, reader.readers, writer, methods.get(method), seed=3, runner="plain", hashes=False)
    writer.publish()
    return writer.tensors


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("dtype", "more"),
    [(torch.float32, {}), (torch.bfloat16, {}), (torch.bfloat16, {"out_dtype": "float16"})],
    ids=["float32", "bfloat16", "bfloat16 to float16"],
)
def test_it_reads_what_would_be_written(method, dtype, more) -> None:
    reader = reader_of(method, dtype, **more)
    expected = written(reader, method)
    assert_same(read_whole(reader), expected)
    assert_same(read_in_tiles(reader, 1000), expected)  # tiles that begin and end inside blocks


def test_it_is_evaluated_a_few_elements_at_a_time(monkeypatch) -> None:
    reader = reader_of("dare_ties")
    expected = written(reader, "dare_ties")
    seen = []
    monkeypatch.setattr(virtual, "PASS_TILE", 2048)
    combine = virtual.merge_tile
    monkeypatch.setattr(virtual, "merge_tile", lambda *args: (seen.append(args[2].stack.shape[1]), combine(*args))[1])
    assert_same(read_whole(reader_of("dare_ties")), expected)
    assert max(seen) == 2048


def test_threads_that_read_at_once_get_the_same() -> None:
    reader, name = reader_of("ties"), "model.embed_tokens.weight"
    expected = written(reader, "ties")[name].view(-1)
    measured = []
    whole = reader._measured
    reader._measured = lambda *args: (measured.append(args), whole(*args))[1]  # type: ignore[method-assign]
    ranges = [(start, min(start + 700, expected.numel())) for start in range(0, expected.numel(), 700)] * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda run: reader.read(name, *run), ranges))
    assert all(torch.equal(part, expected[start:stop]) for part, (start, stop) in zip(found, ranges, strict=True))
    assert len(measured) == 1, "the passes over a tensor are made once"


def test_bytes_and_fingerprints_are_those_of_what_would_be_written() -> None:
    reader = reader_of("linear")
    for name, tensor in written(reader, "linear").items():
        assert reader.digest(name) == digest_tensor(tensor)
        into = torch.empty_like(tensor).view(-1)
        reader.read_into(name, 0, tensor.numel(), writable_bytes(into))
        assert torch.equal(into, tensor.view(-1))


@pytest.mark.parametrize("name", ["della", "wudi"])
def test_a_method_of_rows_or_matrices_gets_tensors_whole_and_once(name) -> None:
    asked = recipe("ties", "base", "a", "b") | {"merge_method": name}
    asked["parameters"] = {"weight": 0.7} | ({"density": 0.5} if name == "della" else {})
    for entry in asked["models"]:
        entry.pop("parameters", None)
    bound = from_data(asked, methods.specs())
    readers = models([ref.path for ref in referenced(bound)])
    method = methods.get(name)
    plan = bind(bound, readers, method.spec)
    reader = VirtualReader("first", plan, readers, method, seed=3)
    expected = written(reader, name)
    seen: list[int] = []

    def combine(stack: Tensor, **settings: object) -> Tensor:
        seen.append(stack[0].numel())
        return method.combine(stack, **settings)

    again = VirtualReader("first", plan, readers, replace(method, combine=combine), seed=3)
    assert_same(read_in_tiles(again, 1024), expected)
    assert sorted(seen) == sorted(expected[name].numel() for name in expected if name != "counts")


def test_what_is_read_beyond_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="outside its 48"):
        reader_of("linear").read("model.norm.weight", 0, 49)


def test_an_entry_that_is_no_number_is_told_with_the_results_name() -> None:
    asked = from_data(recipe("linear", "base", "a", "b"), methods.specs())
    readers = models(["a", "b"])
    readers[1]._tensors["model.norm.weight"][7] = float("nan")
    made = VirtualReader("first", bind(asked, readers, methods.get("linear").spec), readers, methods.get("linear"))
    with pytest.raises(
        InputError, match=r"first: b: tensor model.norm.weight must be finite; entry 7 is nan"
    ) as caught:
        made.read("model.norm.weight", 0, 20)
    assert caught.value.code == "non-finite"


def test_integers_that_differ_are_found_before_any_work() -> None:
    reader = reader_of("linear")
    reader.readers[1]._tensors["counts"] += 1  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="first: tensor counts") as caught:
        reader.preflight()
    assert caught.value.code == "unmergeable-dtype"


def test_what_it_holds_is_bounded_by_what_its_methods_say() -> None:
    assert reader_of("linear").held == 0, "nothing is kept where no pass is made"
    reader = reader_of("ties")
    holds = methods.get("ties").holds
    most = [holds(s.out.numel, len(s.pieces), virtual.PASS_TILE) for s in reader.plan.steps if s.action == "merge"]
    assert 0 < reader.held == sum(most)


def test_a_little_is_kept_and_the_newest_first() -> None:
    kept: Kept[int] = Kept(10, 2)
    made: list[str] = []

    def get(name: str, nbytes: int) -> None:
        kept.get(name, nbytes, lambda: made.append(name) or 0)

    for name in "abcab":
        get(name, 4)
    assert "".join(made) == "abcab", "two of three fit"
    get("b", 4)
    assert "".join(made) == "abcab"
    for name in "xyxy":
        get(name, 100)
    assert "".join(made) == "abcabxy", "a few are kept whatever they take"
    assert (kept.most([4, 4]), kept.most([4, 4, 4, 4]), kept.most([100] * 5)) == (8, 14, 300)


def test_what_could_not_be_made_is_tried_again() -> None:
    kept: Kept[int] = Kept(10, 2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", 1, lambda: 1 // 0)
    assert kept.get("a", 1, lambda: 5) == 5


def test_of_several_threads_one_makes_it() -> None:
    kept: Kept[int] = Kept(10, 2)
    together, made = threading.Barrier(4), []

    def get(_: int) -> int:
        together.wait()
        return kept.get("a", 1, lambda: (made.append(0), 7)[1])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(get, range(4))) == [7] * 4
    assert len(made) == 1
