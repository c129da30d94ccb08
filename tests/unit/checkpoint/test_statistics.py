"""Files of statistics: what is written is read again, and what is none is refused with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cuvee.checkpoint import read_statistics, single_file
from cuvee.checkpoint.statistics import check_values, write_statistics
from cuvee.errors import InputError, OutputExists, ResourceError
from tests.support.checkpoints import specs_of
from tests.support.command_line import environment

SAID = {"rows": "12", "samples": "3"}
GRAM = {"a.weight": torch.tensor([[2.0, -1.0], [-1.0, 3.0]]), "b.weight": torch.eye(3, dtype=torch.float64)}


def write(path: Path, tensors: dict[str, Tensor] = GRAM, kind: Any = "gram", **more: Any) -> Path:
    metadata = {**SAID, **more.pop("metadata", {})}
    write_statistics(path, kind, specs_of(tensors), tensors, metadata, **more)
    return path


def by_others(path: Path, metadata: dict[str, str], tensors: dict[str, Tensor] = GRAM) -> Path:
    save_file(tensors, path, metadata=metadata)
    return path


def code_of(path: Path, kind: Any = None) -> str:
    with pytest.raises(InputError) as caught:
        check_values(read_statistics(path, kind))
    return caught.value.code


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    more = {"rows_per_tensor": '{"b.weight": 4}', "transposed": '["a.weight"]', "model": "m"}
    path = write(tmp_path / "new" / "folder" / "x.safetensors", metadata=more)
    found = read_statistics(path, "gram")
    check_values(found)
    assert (found.kind, found.rows, found.samples) == ("gram", 12, 3)
    assert (found.rows_of("a.weight"), found.rows_of("b.weight")) == (12, 4)
    assert found.transposed == {"a.weight"}
    assert found.metadata["model"] == "m"
    assert {name: spec.shape for name, spec in found.specs.items()} == {"a.weight": (2, 2), "b.weight": (3, 3)}
    file = found.open()
    assert torch.equal(file.read("a.weight", 0, 4).reshape(2, 2), GRAM["a.weight"])
    file.close()
    with safe_open(path, "pt") as other:
        assert other.metadata()["cuvee_statistics"] == "gram"
        assert torch.equal(other.get_tensor("b.weight"), GRAM["b.weight"])
    assert os.listdir(path.parent) == ["x.safetensors"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "no statistics"),
        ({"cuvee_statistics": "hessian", **SAID}, "hessian"),
        ({"cuvee_statistics": "gram", "samples": "3"}, "`rows`"),
        ({"cuvee_statistics": "gram", "rows": "0", "samples": "-1"}, "`samples`"),
        ({"cuvee_statistics": "gram", **SAID, "rows_per_tensor": '{"a.weight": 0}'}, "`rows_per_tensor`"),
        ({"cuvee_statistics": "gram", **SAID, "rows_per_tensor": "[" * 100_000}, "`rows_per_tensor`"),
        ({"cuvee_statistics": "gram", **SAID, "transposed": '["c"]'}, "`transposed`"),
        ({"cuvee_statistics": "gram", **SAID, "transposed": "[[1]]"}, "`transposed`"),
    ],
)
def test_free_text_that_says_something_else_is_refused(metadata: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_statistics(by_others(tmp_path / "x.safetensors", metadata))
    assert set(caught.value.codes) == {"wrong-statistics"}


def test_the_other_kind_is_refused_where_one_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {"a": torch.ones(3)}, "fisher")
    assert read_statistics(path).kind == read_statistics(path, "fisher").kind == "fisher"
    assert code_of(path, "gram") == "wrong-statistics"


@pytest.mark.parametrize(
    "tensor", [torch.ones(2, 3), torch.ones(4), torch.eye(2, dtype=torch.float16), torch.ones(2, 2, dtype=torch.int64)]
)
def test_what_is_no_gram_matrix_is_refused_by_name(tensor: Tensor, tmp_path: Path) -> None:
    path = by_others(tmp_path / "x.safetensors", {"cuvee_statistics": "gram", **SAID}, {"odd": tensor, **GRAM})
    with pytest.raises(InputError) as caught:
        read_statistics(path)
    assert [fault.subject for fault in caught.value.faults] == ["odd"]


@pytest.mark.parametrize(
    ("kind", "tensor", "code"),
    [
        ("gram", torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), "non-finite"),
        ("fisher", torch.tensor([1.0, float("inf")]), "non-finite"),
        ("fisher", torch.tensor([1.0, -1e-9]), "wrong-statistics"),
        ("gram", torch.diag(torch.tensor([1.0, -1.0])), "wrong-statistics"),
        ("gram", torch.diag(torch.tensor([1.0] * 1199 + [-1.0])), "wrong-statistics"),  # in its second tile
    ],
)
def test_numbers_that_cannot_be_are_found(kind: Any, tensor: Tensor, code: str, tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "x.safetensors", {"a": tensor}, kind)) == code


def test_off_diagonal_entries_may_be_negative_in_any_tile(tmp_path: Path) -> None:
    large = torch.full((1200, 1200), -0.5)
    large.diagonal().fill_(1000)
    check_values(read_statistics(write(tmp_path / "x.safetensors", {"a": large})))


def test_a_file_cut_short_and_none_at_all(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert code_of(path) == "truncated"
    assert code_of(tmp_path / "nothing.safetensors") == "model-missing"
    assert code_of(tmp_path) == "io-error"


def test_a_file_that_is_there_stays_unless_asked_and_others_always(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors")
    before = path.read_bytes()
    other = {"c": torch.eye(4)}
    with pytest.raises(OutputExists) as caught:
        write(path, other)
    assert (caught.value.code, path.read_bytes()) == ("output-exists", before)
    write(path, other, overwrite=True)
    assert read_statistics(path).specs.keys() == {"c"}
    model = by_others(tmp_path / "model.safetensors", {"format": "pt"})
    for there in (model, tmp_path):
        with pytest.raises(OutputExists) as caught:
            write(there, other, overwrite=True)
        assert caught.value.code == "unsafe-overwrite"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "x.safetensors"]


@pytest.fixture(params=[False, True], ids=["without a name", "beside"])
def _no_unnamed_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second way to write, for file systems whose files must have names."""
    if request.param:
        monkeypatch.delattr(os, "O_TMPFILE")


@pytest.mark.usefixtures("_no_unnamed_files")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_write_that_fails_leaves_what_was_there(overwrite: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    if overwrite:
        path.write_bytes(b"before")

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(ResourceError) as caught:
        single_file.write_single(path, pieces(), overwrite=overwrite)
    assert caught.value.code == "disk-full"
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({"x.bin": b"before"} if overwrite else {})
    single_file.write_single(path, [b"all", b" of it"], overwrite=overwrite)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.bin": b"all of it"}


@pytest.mark.usefixtures("_no_unnamed_files")
def test_a_name_that_was_taken_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"

    def pieces() -> Iterator[bytes]:
        yield b"ours"
        path.write_bytes(b"theirs")

    with pytest.raises(OutputExists):
        single_file.write_single(path, pieces(), overwrite=False)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.bin": b"theirs"}


def test_a_process_killed_while_writing_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from cuvee.checkpoint.single_file import write_single\n"
        "def pieces():\n yield b'half' * 100_000\n os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_single(Path(sys.argv[1]), pieces(), overwrite=False)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "x.safetensors")]
    assert subprocess.run(words, env=environment(), check=False).returncode == -9
    assert list(tmp_path.iterdir()) == []
