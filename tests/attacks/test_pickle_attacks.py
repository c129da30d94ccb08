"""Pickles that torch's unpickler for weights would carry out: none may cost more than it is long."""

import pickle
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import suppress

import pytest
import torch

from cuvee.checkpoint import opcodes as opcodes_module
from cuvee.checkpoint import open_checkpoint
from cuvee.errors import InputError
from cuvee.types import ModelRef
from tests.support.attacking import Rebuilt, archive, hand_made, pickled, refused
from tests.support.checkpoints import read_whole

GOOD = pickled({"a": Rebuilt(0, (4,), (1,))}, ("storage", torch.FloatStorage, "0", "cpu", 4))
START = b"\x80\x02"
HUGE = b"\x8a\x08" + (2**37).to_bytes(8, "little")


def text(word):
    return b"X" + len(word).to_bytes(4, "little") + word


def in_dictionary(value):
    return START + b"}" + text(b"a") + value + b"s."


def in_both_formats(tmp_path, content):
    (tmp_path / "old.bin").write_bytes(content)
    return tmp_path / "old.bin", archive(tmp_path / "new.bin", content)


def test_the_hand_made_archive_is_good(tmp_path):
    """Guards the tests below."""
    path = archive(tmp_path / "model.bin", GOOD)
    assert read_whole(open_checkpoint(ModelRef(str(path))))["a"].tolist() == [0.0] * 4


@pytest.mark.parametrize(
    "call",
    [
        b"c__builtin__\nbytearray\n" + HUGE + b"\x85R",
        b"cbuiltins\nbytearray\n" + HUGE + b"\x85R",
        b"cbuiltins\nbytearray\n" + HUGE + b"\x85\x81",
        b"ctorch.storage\nUntypedStorage\n" + HUGE + b"\x85R",
    ],
    ids=["bytearray", "bytearray of Python 3", "made without a call", "storage"],
)
def test_a_pickle_that_asks_for_memory(tmp_path, call):
    for path in in_both_formats(tmp_path, in_dictionary(call)):
        refused(path, "unsafe-pickle")


def test_a_pickle_that_encodes_its_bytes_again_and_again(tmp_path):
    """Each round doubles them: 600 bytes of file would become a terabyte."""
    first = b"c_codecs\nencode\nq\x00" + text(b"0123456789abcdef") + text(b"latin1") + b"\x86R"
    again = b"q\x01h\x00h\x01" + text(b"hex") + b"\x86R"
    for path in in_both_formats(tmp_path, in_dictionary(first + again * 36)):
        assert "_codecs.encode" in refused(path, "unsafe-pickle")


def test_a_pickle_whose_key_takes_for_ever_to_hash(tmp_path):
    """Tuples of twice the tuple before: 200 bytes, 2^60 values, and a hash that visits each."""
    key = b"K\x01q\x01" + b"h\x01h\x01\x86q\x01" * 60
    for path in in_both_formats(tmp_path, START + b"}" + key + b"K\x02s."):
        assert "tuple" in refused(path, "unsafe-pickle")


@pytest.mark.parametrize(
    "call",
    [
        b"ctorch\nTensor\nM\x00\x10\x85R",
        b"ctorch\nFloatTensor\nM\x00\x10\x85R",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nctorch\nTensor\nM\x00\x10\x85}tR",
        b"ctorch._utils\n_rebuild_parameter\n(ctorch\nTensor\nM\x00\x10\x85R\x89ccollections\nOrderedDict\n)RtR",
    ],
    ids=["tensor", "tensor of a type", "tensor in a type", "tensor in a parameter"],
)
def test_a_pickle_that_asks_for_unwritten_memory(tmp_path, call):
    """What the process had in it before, keys and passwords perhaps, would stand in a published model."""
    for path in in_both_formats(tmp_path, in_dictionary(call)):
        refused(path, "unsafe-pickle")


def test_a_pickle_that_changes_the_inside_of_a_tensor(tmp_path):
    tensor = GOOD[GOOD.index(b"ctorch._utils") : GOOD.rindex(b"s.")]
    assert read_whole(open_checkpoint(ModelRef(str(archive(tmp_path / "x.bin", in_dictionary(tensor))))))
    for target in (tensor, b"ctorch\nSize\n)R", b"ctorch._utils\n_rebuild_tensor_v2\n"):
        for path in in_both_formats(tmp_path, in_dictionary(target + b"}b")):
            refused(path, "unsafe-pickle")


@pytest.mark.parametrize("count", [10, 30])
def test_a_pickle_longer_than_any_header(tmp_path, monkeypatch, count):
    monkeypatch.setattr(opcodes_module, "PICKLE_LIMIT", 100)
    monkeypatch.setattr("cuvee.checkpoint.pickled.PICKLE_LIMIT", 100)
    for path in in_both_formats(tmp_path, START + b"N" * 10 * count + b"."):
        assert "more than 100 bytes" in refused(path, "unsafe-pickle")


@pytest.mark.parametrize(
    "content",
    [
        START + b"(" * 10**5 + b".",
        START + b"\x8b\xff\xff\xff\x7f.",
        b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b".",
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".",
        b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b".",
        START + b"X\xff\xff\xff\xff.",
        START + b"Nr\xff\xff\xff\xff.",
        START + b"\x82\x01.",
        START + b"h\x07.",
        START + b"\x86.",
        START + b"b.",
        START + b"R.",
        START + b"u.",
        START + b"c\xff\n\xff\n.",
        START,
        b"",
        b".",
    ],
    ids=lambda content: content[:8].hex(),
)
def test_instructions_that_lead_nowhere(tmp_path, content):
    for path in in_both_formats(tmp_path, content):
        refused(path, "bad-pickle", "unsafe-pickle")


@pytest.mark.parametrize(
    "call",
    [b"(S'touch marker'\nios\nsystem\n", b"\x8c\x02os\x8c\x06system\x93" + text(b"touch marker") + b"\x85R"],
    ids=["inst", "stack global"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5, 77])
def test_other_ways_to_name_a_function(tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    for path in in_both_formats(tmp_path, b"\x80" + bytes([protocol]) + call + b"."):
        refused(path, "bad-pickle", "unsafe-pickle")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "stored_as",
    [
        ("storage", torch.FloatStorage, "../../../etc/passwd", "cpu", 4),
        ("storage", torch.FloatStorage, "0", "cpu", -1),
        ("storage", torch.FloatStorage, "0", "cpu", 2**62),
        ("storage", torch.FloatStorage, "0", "cpu", 10**13),
        ("storage", torch.DoubleStorage, "0", "cpu", 4),
        ("storage", torch.FloatStorage, "0", "cpu", 5),
        ("storage", int, "0", "cpu", 4),
        ("module", "os", "system", "x"),
        ("storage",),
        (),
        7,
        "text",
    ],
    ids=str,
)
def test_a_storage_that_lies(tmp_path, stored_as):
    """A storage longer than its record would show the bytes that follow it in the file."""
    content = pickled({"a": Rebuilt(0, (4,), (1,))}, stored_as)
    refused(archive(tmp_path / "model.bin", content), "bad-pickle", "unsafe-pickle")


@pytest.mark.parametrize("numbers", [(0, (10**9,), (1,)), (0, (8,), (1,)), (2, (4,), (1,)), (-1, (4,), (1,))], ids=str)
def test_an_old_file_whose_tensor_is_larger_than_its_storage(tmp_path, numbers):
    torch.save({"a": torch.zeros(4)}, tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "x.bin").read_bytes()
    offset, size, stride = (pickle.dumps(number, 2)[2:-1] for number in numbers)
    at = raw.index(b"K\x00K\x04\x85q")
    stop = raw.index(b"q", raw.index(b"K\x01\x85q", at)) + 2
    (tmp_path / "x.bin").write_bytes(raw[:at] + offset + size + stride + raw[stop:])
    refused(tmp_path / "x.bin", "bad-pickle")


@pytest.mark.parametrize(
    "order", ["middle", "", "LITTLE", "little\n", "x" * 10_000], ids=["other", "none", "case", "line", "long"]
)
def test_a_byte_order_that_does_not_exist(tmp_path, order):
    refused(archive(tmp_path / "model.bin", GOOD, {"archive/byteorder": order}), "bad-pickle")


@pytest.mark.parametrize("name", ["../../evil", "/evil", "archive/../../evil", "other/data.pkl", "C:\\evil"])
def test_an_archive_of_names_that_lead_out(tmp_path, name):
    """Nothing is ever unpacked to a file; torch refuses two top folders."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    path = archive(tmp_path / "deep" / "er" / "model.bin", GOOD, {name: b"evil"})
    with suppress(InputError):
        assert list(read_whole(open_checkpoint(ModelRef(str(path))))) == ["a"]
    assert [found.name for found in tmp_path.rglob("*") if found.is_file()] == ["model.bin"]


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/DATA.PKL", "Archive/data.pkl"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_pickles(tmp_path, name):
    """Two readers could each find another one: one would be checked, the other carried out."""
    marker = tmp_path / "marker"
    evil = b"\x80\x02cos\nsystem\n" + text(f"touch {marker}".encode()) + b"\x85R."
    for first, second in ((GOOD, evil), (evil, GOOD)):
        path = archive(tmp_path / "model.bin", first)
        with zipfile.ZipFile(path, "a") as made:
            made.writestr(name, second)
        refused(path, "bad-pickle")
    assert not marker.exists()


def test_an_archive_behind_another(tmp_path):
    """Readers do not agree on where an archive begins that stands behind other bytes."""
    good = archive(tmp_path / "good.bin", GOOD).read_bytes()
    (tmp_path / "model.bin").write_bytes(good + good)
    assert "begins inside another" in refused(tmp_path / "model.bin", "bad-pickle")
    (tmp_path / "model.bin").write_bytes(b"MZ" + good)
    refused(tmp_path / "model.bin", "bad-pickle")


def test_an_archive_in_an_archive(tmp_path):
    """Passed over: only the one pickle and the storages it names are read."""
    marker = tmp_path / "marker"
    inner = archive(tmp_path / "inner.zip", b"\x80\x02cos\nsystem\n" + text(f"touch {marker}".encode()) + b"\x85R.")
    path = archive(tmp_path / "model.bin", GOOD, {"archive/inner.zip": inner.read_bytes()})
    assert list(read_whole(open_checkpoint(ModelRef(str(path))))) == ["a"]
    assert not marker.exists()


def test_an_archive_of_many_records(tmp_path):
    path = archive(tmp_path / "model.bin", GOOD, {f"archive/{i}": b"" for i in range(20_000)})
    with suppress(InputError):
        assert list(read_whole(open_checkpoint(ModelRef(str(path))))) == ["a"]


@pytest.mark.filterwarnings("error")
def test_an_old_tar_file(tmp_path):
    with tarfile.open(tmp_path / "model.bin", "w") as made:
        made.addfile(tarfile.TarInfo("../../evil"))
        for name in ("sys_info", "pickle", "storages", "tensors"):
            made.addfile(tarfile.TarInfo(name))
    refused(tmp_path / "model.bin", "bad-pickle")
    assert [found.name for found in tmp_path.rglob("*")] == ["model.bin"]


def test_a_tensor_of_a_hundred_dimensions(tmp_path):
    path = hand_made(tmp_path / "model.bin", Rebuilt(0, (1,) * 100, (1,) * 100), 4)
    assert read_whole(open_checkpoint(ModelRef(str(path))))["a"].shape == (1,) * 100


def test_what_honest_files_do_is_allowed(tmp_path):
    """Guards the refusals: what `torch.save` makes of state dicts goes through."""
    state = OrderedDict(a=torch.zeros(2), b=torch.nn.Parameter(torch.ones(2)), c=torch.ones(3, dtype=torch.int16))
    state["d"] = torch.zeros(4)
    state["d"].note = "kept in the pickle"
    state["e"] = torch.zeros(2, 3).T
    state["f"] = torch.tensor(1 + 2j)
    state._metadata = OrderedDict({"": {"version": 1}})
    training = {"state_dict": state, "epoch": 3, "rng": b"bytes", "seen": {1, 2}, "when": (1.5, None, True)}
    for content in (state, training):
        for zipped in (True, False):
            torch.save(content, tmp_path / "model.bin", _use_new_zipfile_serialization=zipped)
            found = read_whole(open_checkpoint(ModelRef(str(tmp_path / "model.bin"))))
            assert list(found) == list("abcdef")
    torch.save({"a": torch.ones(3, dtype=torch.uint16)}, tmp_path / "model.bin")
    assert list(read_whole(open_checkpoint(ModelRef(str(tmp_path / "model.bin"))))) == ["a"]
