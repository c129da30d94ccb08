"""Banks on disk: exact round trips, pieces that are added whole or not at all, and everything damaged refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuvee.checkpoint import single_file
from cuvee.checkpoint.format import place
from cuvee.errors import CuveeError, InputError, OutputExists
from cuvee.predict import Bank, bank_file, bank_part
from cuvee.predict.bank_file import append_members, append_rows, read_bank, save_bank
from cuvee.types import TensorSpec
from tests.support.banks import bank_of, regression_bank, unmasked


def same(one: Bank, two: Bank) -> None:
    """Every field equal, types of labels and all bits of arrays included."""
    for name in ("task", "members", "classes", "ids", "provenance", "probable", "notes"):
        assert getattr(one, name) == getattr(two, name)
    assert [type(label) for label in one.classes] == [type(label) for label in two.classes]
    arrays = [(one.P, two.P), (one.mask, two.mask), (one.truth, two.truth), (one.features, two.features)]
    assert one.embeddings.keys() == two.embeddings.keys()
    for a, b in arrays + [(one.embeddings[n], two.embeddings[n]) for n in one.embeddings]:
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def full_bank() -> Bank:
    """One with every part."""
    random = np.random.default_rng(4)
    return unmasked(
        bank_of(
            "abc",
            classes=("1", 1, 2.5),
            embeddings={"c": random.random((6, 4)), "a": random.random((6, 2)).astype(np.float32)},
            features=random.random((6, 3)),
            provenance=("hold-out", "out-of-fold", "in-sample"),
            notes=("a note", "ü\u2028"),
        ),
        1,
        2,
    )


def test_every_part_comes_back(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank", full_bank())
    same(read_bank(tmp_path / "bank"), full_bank())


def test_a_regression_and_a_bank_without_truth_come_back(tmp_path: Path) -> None:
    for number, bank in enumerate((regression_bank([[1, np.nan, -0.0]], [1, 2, 1e-300]), bank_of(truth=None))):
        save_bank(tmp_path / str(number), bank)
        same(read_bank(tmp_path / str(number)), bank)


LABELS = st.one_of(
    st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.just("\udc80")
)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(LABELS, min_size=1, max_size=4, unique=True),
    st.lists(st.text(st.characters()), min_size=1, max_size=5, unique=True),
)
def test_any_label_and_any_id_come_back(tmp_path: Path, classes: list[Any], ids: list[str]) -> None:
    bank = replace(bank_of("ab", "x" * len(ids), tuple(classes)), ids=tuple(ids))
    part = tmp_path / "part.safetensors"  # a piece alone: a folder is made durable each time, which is slow
    part.write_bytes(b"".join(bank_part.packed(bank)))
    same(bank_part.unpacked(part), bank)


def test_labels_of_numpy_become_plain_ones(tmp_path: Path) -> None:
    bank = bank_of(classes=tuple(np.array([3, 5, 9])))
    save_bank(tmp_path / "bank", bank)
    assert [type(label) for label in read_bank(tmp_path / "bank").classes] == [int] * 3


def test_members_and_rows_are_appended_without_writing_the_others_anew(tmp_path: Path) -> None:
    folder, bank = tmp_path / "bank", bank_of("ab")
    save_bank(folder, bank)
    (first,) = folder.glob("part-*")
    before = first.stat()
    more = replace(bank_of("c", seed=1), truth=None).rows([3, 4, 5, 0, 1, 2])
    rows = bank_of("cab", "xy", seed=2)
    joined = bank.with_members(more)
    same(append_members(folder, more), joined)
    same(append_rows(folder, rows), joined.with_rows(rows))
    same(read_bank(folder), joined.with_rows(rows))
    after = first.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(list(folder.iterdir())) == 4


def test_what_does_not_fit_leaves_the_bank_as_it_was(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank", bank_of("ab"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "bank").iterdir()}
    with pytest.raises(InputError, match="both banks have a member 'a'"):
        append_members(tmp_path / "bank", bank_of("a"))
    with pytest.raises(InputError, match="are there already"):
        append_rows(tmp_path / "bank", bank_of("ab", "r"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "bank").iterdir()} == before


@pytest.mark.parametrize("step", [0, 1])
def test_a_run_that_dies_while_it_appends_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Before the piece is there, and between the piece and the listing."""
    save_bank(tmp_path / "bank", bank_of("ab"))
    done: list[Path] = []
    real = single_file.write_single

    def dies(path: Path, pieces: Any, *, overwrite: bool) -> None:
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(path)
        real(path, pieces, overwrite=overwrite)

    with monkeypatch.context() as patched:
        patched.setattr(single_file, "write_single", dies)
        with pytest.raises(KeyboardInterrupt):
            append_members(tmp_path / "bank", bank_of("c"))
    same(read_bank(tmp_path / "bank"), bank_of("ab"))
    assert append_members(tmp_path / "bank", bank_of("c")).members == ("a", "b", "c")
    assert read_bank(tmp_path / "bank").members == ("a", "b", "c")


def test_two_that_append_at_once_are_both_there(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank", bank_of("ab"))
    with ThreadPoolExecutor(4) as pool:  # a lock of a file is one of each opening, so threads wait as processes do
        list(pool.map(lambda name: append_members(tmp_path / "bank", bank_of(name)), "cdefgh"))
    assert set(read_bank(tmp_path / "bank").members) == set("abcdefgh")


def test_a_bank_is_replaced_only_when_asked(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank", bank_of("ab"))
    append_members(tmp_path / "bank", bank_of("c"))
    with pytest.raises(OutputExists):
        save_bank(tmp_path / "bank", bank_of("d"))
    save_bank(tmp_path / "bank", bank_of("d"), overwrite=True)
    assert read_bank(tmp_path / "bank").members == ("d",)
    assert len(list((tmp_path / "bank").iterdir())) == 2


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputExists):
        save_bank(tmp_path, bank_of(), overwrite=True)
    with pytest.raises(OutputExists):
        save_bank(tmp_path / "thesis.txt", bank_of(), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_broken_bank_is_not_written(tmp_path: Path) -> None:
    bank = bank_of()
    bank.P[0, 0] = np.nan
    with pytest.raises(InputError, match="must be finite"):
        save_bank(tmp_path / "bank", bank)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_reading_needs_no_torch(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank", full_bank())
    code = "import sys; from cuvee.predict.bank_file import read_bank; read_bank(sys.argv[1]); print(*sys.modules)"
    asked = {**os.environ, "PYTHONPATH": str(Path(bank_file.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bank")], env=asked, capture_output=True, text=True, check=True
    )
    assert "numpy" in done.stdout.split()
    assert "torch" not in done.stdout.split()


# --- damaged and hostile -------------------------------------------------------------------------------------------


def refused(folder: Path) -> str:
    with pytest.raises(CuveeError) as caught:
        read_bank(folder)
    assert all(str(folder) in fault.message for fault in caught.value.faults)
    return f"{caught.value.code}: {caught.value}"


def listing_with(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    told = json.loads((folder / "bank.json").read_text())
    change(told)
    (folder / "bank.json").write_text(json.dumps(told))


def part(**said: Any) -> Callable[[dict[str, Any]], object]:
    return lambda told: told["parts"][0].update(said)


LISTINGS: Mapping[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (lambda told: told.update(cuvee_bank=2), "of version 1 (`cuvee_bank`); found 2"),
    "version true": (lambda told: told.update(cuvee_bank=True), "found True"),
    "unknown key": (lambda told: told.update(run="rm"), "there is no key 'run'"),
    "lacking key": (lambda told: told.pop("row_hash"), "`row_hash` is lacking"),
    "no parts": (lambda told: told.update(parts=[]), "1 to 10,000 parts"),
    "parts no list": (lambda told: told.update(parts={"0": 1}), "1 to 10,000 parts"),
    "part twice": (lambda told: told["parts"].append({**told["parts"][0], "adds": "rows"}), "a part stands twice"),
    "key of part": (part(code="x"), "should have adds, bytes, file, sha256"),
    "path out": (part(file="../../etc/passwd"), "named by its hash; found '../../etc/passwd'"),
    "path no text": (part(file=["part"]), "named by its hash"),
    "hash": (part(sha256="Z" * 64), "64 hexadecimal digits"),
    "bytes": (part(bytes=5 << 30), "`bytes` should be 1 to"),
    "bytes no number": (part(bytes="12"), "`bytes` should be 1 to"),
    "bytes lie": (lambda told: told["parts"][0].update(bytes=told["parts"][0]["bytes"] + 1), "bytes; found"),
    "adds": (part(adds="rows"), "`adds` should be start"),
    "rows": (lambda told: told.update(row_hash="0" * 64), "not those that were saved"),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    change, words = LISTINGS[name]
    save_bank(tmp_path / "bank", bank_of())
    listing_with(tmp_path / "bank", change)
    found = refused(tmp_path / "bank")
    assert words in found
    assert found.startswith("bad-bank")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "should be JSON"),
        ("[" * 200_000, "little but brackets"),
        ('{"cuvee_bank": 1, "cuvee_bank": 1}', "stands twice"),
        ("[]", "of version 1"),
        (" " * (5 << 20), "larger than"),
    ],
)
def test_a_listing_that_is_no_listing_is_refused(tmp_path: Path, text: str, words: str) -> None:
    save_bank(tmp_path / "bank", bank_of())
    (tmp_path / "bank" / "bank.json").write_text(text)
    assert words in refused(tmp_path / "bank")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith("data-missing")
    save_bank(tmp_path / "bank", bank_of())
    (gone,) = (tmp_path / "bank").glob("part-*")
    gone.unlink()
    found = refused(tmp_path / "bank")
    assert found.startswith("data-missing")
    assert gone.name in found


@pytest.mark.parametrize("at", [0, 20, -1, -200])
def test_a_changed_byte_is_found(tmp_path: Path, at: int) -> None:
    save_bank(tmp_path / "bank", bank_of())
    (file,) = (tmp_path / "bank").glob("part-*")
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)
    assert "its SHA-256 should be" in refused(tmp_path / "bank")


def forged(folder: Path, arrays: Mapping[str, Any], about: Mapping[str, Any] | bytes) -> None:
    """A bank whose one piece holds what somebody wished, with a hash that is right."""
    text = about if isinstance(about, bytes) else json.dumps(about).encode()
    whole = {**arrays, "about": np.frombuffer(text, np.uint8)}
    whole = {name: array for name, array in whole.items() if array is not None}
    header, placed = place([TensorSpec(n, str(a.dtype), a.shape) for n, a in whole.items()], {})
    raw = header + b"".join(np.ascontiguousarray(whole[one.spec.name]).tobytes() for one in placed)
    digest = hashlib.sha256(raw).hexdigest()
    folder.mkdir()
    (folder / f"part-{digest[:32]}.safetensors").write_bytes(raw)
    entry = {"file": f"part-{digest[:32]}.safetensors", "sha256": digest, "bytes": len(raw), "adds": "start"}
    told = {"cuvee_bank": 1, "cuvee": "0", "row_hash": bank_of().row_hash, "parts": [entry]}
    (folder / "bank.json").write_text(json.dumps(told))


ABOUT = {
    "cuvee_bank_part": 1,
    "task": "classification",
    "members": ["a", "b"],
    "classes": ["x", "y", "z"],
    "ids": list("rstuvw"),
    "provenance": ["hold-out", "hold-out"],
    "probable": [True, True],
    "notes": [],
}


def arrays_with(**other: Any) -> dict[str, Any]:
    bank = bank_of()
    return {"P": bank.P, "mask": bank.mask.astype(np.uint8), "truth": bank.truth, **other}


NAN = bank_of().P.copy()
NAN[0, 0, 0] = np.nan
FORGED: Mapping[str, tuple[Mapping[str, Any], Any, str]] = {
    "NaN where there is a value": (arrays_with(P=NAN), ABOUT, "must be finite where its mask says"),
    "wrong shape": (arrays_with(P=np.zeros((2, 6, 4))), ABOUT, "shape [2, 6, 3]; found [2, 6, 4]"),
    "P of integers": (arrays_with(P=np.zeros((2, 6, 3), np.int64)), ABOUT, "no array 'P' of int64"),
    "no P": (arrays_with(P=None), ABOUT, "should have the array 'P'"),
    "unknown array": (arrays_with(weights=np.zeros(2)), ABOUT, "no array 'weights'"),
    "embeddings of nobody": (arrays_with(**{"embeddings.2": np.zeros((6, 2))}), ABOUT, "is of no member"),
    "embeddings by a path": (arrays_with(**{"embeddings.../x": np.zeros((6, 2))}), ABOUT, "there should be no array"),
    "embeddings by another spelling": (arrays_with(**{"embeddings.00": np.zeros((6, 2))}), ABOUT, "should be no array"),
    "mask of 2": (arrays_with(mask=np.full((2, 6), 2, np.uint8)), ABOUT, "`mask` should hold 0 and 1"),
    "truth beyond": (arrays_with(truth=np.full(6, 3)), ABOUT, "the number of one of 3 classes"),
    "unknown key": (arrays_with(), {**ABOUT, "code": "x"}, "differing: ['code']"),
    "lacking key": (arrays_with(), {k: v for k, v in ABOUT.items() if k != "notes"}, "differing: ['notes']"),
    "key twice": (arrays_with(), b'{"task": 1, "task": 2}', "'task' stands twice"),
    "not JSON": (arrays_with(), b"\xff", "codec can't decode"),
    "version": (arrays_with(), {**ABOUT, "cuvee_bank_part": 1.0}, "of version 1"),
    "names twice": (arrays_with(), {**ABOUT, "members": ["a", "a"]}, "'a' stands twice"),
    "ids twice": (arrays_with(), {**ABOUT, "ids": list("rrtuvw")}, "'r' stands twice"),
    "ids no texts": (arrays_with(), {**ABOUT, "ids": [1, 2, 3, 4, 5, 6]}, "`ids` should be a list of str"),
    "class null": (arrays_with(), {**ABOUT, "classes": [None, "y", "z"]}, "`classes` should be a list of str or int"),
    "class NaN": (arrays_with(), {**ABOUT, "classes": [float("nan"), "y", "z"]}, "a finite number"),
    "provenance": (arrays_with(), {**ABOUT, "provenance": ["hold-out", "best"]}, "found 'best'"),
    "probable": (arrays_with(), {**ABOUT, "probable": [1, 1]}, "`probable` should be a list of bool"),
    "task": (arrays_with(), {**ABOUT, "task": []}, "`task` should be a text"),
    "another task": (arrays_with(), {**ABOUT, "task": "ranking"}, "its task must be"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_piece_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    arrays, about, words = FORGED[name]
    forged(tmp_path / "bank", arrays, about)
    assert words in refused(tmp_path / "bank")


def test_what_is_forged_by_the_rules_is_read(tmp_path: Path) -> None:
    """The forger of these tests makes good banks too, so that what is refused is refused for its fault."""
    forged(tmp_path / "bank", arrays_with(), ABOUT)
    same(read_bank(tmp_path / "bank"), bank_of())


def test_a_pipe_in_place_of_a_piece_is_refused_at_once(tmp_path: Path) -> None:
    save_bank(tmp_path / "bank", bank_of())
    (file,) = (tmp_path / "bank").glob("part-*")
    file.unlink()
    os.mkfifo(file)
    assert "a pipe" in refused(tmp_path / "bank")


def test_a_piece_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_bank(tmp_path / "bank", bank_of())
    monkeypatch.setattr(bank_part, "MOST_BYTES", 100)
    assert "it is larger than 100 bytes" in refused(tmp_path / "bank")
