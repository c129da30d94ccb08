"""The safetensors header: what is accepted, what is refused and in which words, and what is written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvee.checkpoint.format import FAULT_LIMIT, build_header, parse_header, place, read_header
from cuvee.errors import InputError
from cuvee.types import DTYPES, TensorSpec
from tests.support.checkpoints import entry, header_bytes, write_raw


def fault_of(path, header, data=b""):
    with pytest.raises(InputError) as caught:
        read_header(write_raw(path / "x.safetensors", header, data))
    return caught.value


def test_a_good_header_is_read(tmp_path):
    header = {"__metadata__": {"format": "pt"}, "b": entry("F32", [2], 4, 12), "a": entry("BF16", [2, 1], 0, 4)}
    path = write_raw(tmp_path / "x.safetensors", header, bytes(12))
    found = read_header(path)
    start = path.stat().st_size - 12
    assert [(p.spec, p.begin - start, p.end - start) for p in found.tensors] == [
        (TensorSpec("a", "bfloat16", (2, 1)), 0, 4),
        (TensorSpec("b", "float32", (2,)), 4, 12),
    ]
    assert found.metadata == {"format": "pt"}


def test_a_file_without_tensors_is_read(tmp_path):
    assert read_header(write_raw(tmp_path / "x.safetensors", {})).tensors == ()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"[]", "must be a JSON object"),
        (b" {}", "from its first byte on"),
        (b"{", "must be JSON"),
        (b"\xff{}", "must be JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "must be JSON"),
        ({"__metadata__": {"format": 1}}, "strings to strings"),
        ({"__metadata__": ["format"]}, "strings to strings"),
        ({"__metadata__": None}, "strings to strings"),
        ({"a": 3}, "found int"),
        ({"a": {}}, "found nothing"),
        ({"a": {"dtype": "F32", "shape": [1]}}, "found dtype, shape"),
        ({"a": {**entry("F32", [1], 0, 4), "extra": 1}}, "extra"),
        ({"a": entry("F4", [1], 0, 4)}, "tensor `a`: dtype 'F4' is not one that can be read"),
        ({"a": entry(["F32"], [1], 0, 4)}, "dtype ['F32']"),
        ({"a": entry("F32", [-1], 0, 4)}, "`shape` must be"),
        ({"a": entry("F32", [True], 0, 4)}, "`shape` must be"),
        ({"a": entry("F32", [1.0], 0, 4)}, "`shape` must be"),
        ({"a": entry("F32", 1, 0, 4)}, "`shape` must be"),
        ({"a": entry("F32", [1], -4, 0)}, "`data_offsets` must be"),
        ({"a": entry("F32", [1], 4, 0)}, "the first not above the second"),
        ({"a": entry("F32", [1], False, 4)}, "`data_offsets` must be"),
        ({"a": entry("F32", [2], 0, 4)}, "has 8 bytes, the offsets span 4"),
        ({"\ud800": entry("F32", [1], 0, 4)}, "cannot be written in UTF-8|can be written in UTF-8"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path, header, words):
    error = fault_of(tmp_path, header, bytes(4))
    assert set(error.codes) == {"bad-header"}
    assert any(word in str(error) for word in words.split("|"))
    assert "x.safetensors" in str(error)
    assert error.faults[0].hint


def test_all_faults_of_a_header_are_told_at_once(tmp_path):
    header = {"a": entry("F4", [1], 0, 4), "b": entry("F32", [-1], 4, 8), "ok": entry("U8", [1], 8, 9)}
    error = fault_of(tmp_path, header, bytes(9))
    assert [fault.subject for fault in error.faults] == ["a", "b"]


def test_a_header_of_a_thousand_faults_does_not_fill_the_screen(tmp_path):
    error = fault_of(tmp_path, {f"t{i}": entry("F4", [1], 0, 4) for i in range(1000)})
    assert len(error.faults) == FAULT_LIMIT + 1
    assert "980 more" in str(error.faults[-1])


def test_a_tensor_name_of_a_megabyte_is_shortened(tmp_path):
    assert len(str(fault_of(tmp_path, {"n" * 10**6: entry("F4", [1], 0, 4)}))) < 2000


def test_a_hole_names_the_tensor_after_it(tmp_path):
    error = fault_of(tmp_path, {"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 5, 7)}, bytes(7))
    assert error.codes == ("bad-header",)
    assert "3 bytes before tensor `b` belong to no tensor" in str(error)


def test_an_overlap_names_the_second_tensor(tmp_path):
    error = fault_of(tmp_path, {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 3, 7)}, bytes(7))
    assert "tensor `b` begins 1 bytes inside another" in str(error)


def test_two_tensors_in_one_place_overlap(tmp_path):
    error = fault_of(tmp_path, {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 0, 4)}, bytes(4))
    assert "inside another" in str(error)


def test_an_empty_tensor_inside_another_overlaps(tmp_path):
    error = fault_of(tmp_path, {"a": entry("U8", [4], 0, 4), "b": entry("U8", [0], 2, 2)}, bytes(4))
    assert "inside another" in str(error)


def test_a_cut_file_names_the_first_tensor_that_is_cut(tmp_path):
    header = {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 4, 8), "c": entry("U8", [4], 8, 12)}
    error = fault_of(tmp_path, header, bytes(6))
    assert error.codes == ("truncated",)
    assert error.faults[0].subject == "b"
    assert "x.safetensors" in str(error)


def test_bytes_after_the_last_tensor_are_refused(tmp_path):
    error = fault_of(tmp_path, {"a": entry("U8", [4], 0, 4)}, bytes(6))
    assert error.codes == ("bad-header",)
    assert "2 bytes after the last tensor" in str(error)


@pytest.mark.parametrize("content", [b"", b"\x01", header_bytes({})[:9]])
def test_a_file_that_ends_in_its_header_is_truncated(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert caught.value.codes == ("truncated",)


def test_a_git_lfs_pointer_is_called_by_its_name(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert "git lfs pull" in str(caught.value)


def test_sizes_that_overflow_are_refused_even_beside_a_zero(tmp_path):
    error = fault_of(tmp_path, {"a": entry("F32", [2**62, 4, 0], 0, 0)})
    assert "more bytes than can be counted" in str(error)


def test_written_tensors_are_aligned_largest_elements_first():
    specs = [TensorSpec(f"t{i}", name, (i + 1,)) for i, name in enumerate(DTYPES)]
    header, places = place(specs)
    assert len(header) % 8 == 0
    assert all(placed.begin % DTYPES[placed.spec.dtype].size == 0 for placed in places)
    assert [p.begin for p in places] == [len(header), *(p.end for p in places[:-1])]
    sizes = [DTYPES[placed.spec.dtype].size for placed in places]
    assert sizes == sorted(sizes, reverse=True)


def test_written_order_is_stable_inside_one_size():
    specs = [TensorSpec(name, "float32", (1,)) for name in "zaq"]
    assert [placed.spec.name for placed in place(specs)[1]] == list("zaq")


def test_a_written_header_says_what_its_reader_understands():
    text = build_header([TensorSpec("größe", "int8", (2, 3))])[8:]
    assert json.loads(text) == {
        "__metadata__": {"format": "pt"},
        "größe": {"dtype": "I8", "shape": [2, 3], "data_offsets": [0, 6]},
    }


@pytest.mark.parametrize("name", ["__metadata__", "a\ud800b"])
def test_a_name_that_no_header_can_hold_is_refused(name):
    with pytest.raises(InputError) as caught:
        build_header([TensorSpec(name, "float32", (1,))])
    assert caught.value.codes == ("bad-header",)
    str(caught.value).encode("utf-8")


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(ValueError, match="same name"):
        build_header([TensorSpec("a", "float32", (1,)), TensorSpec("a", "float32", (2,))])


shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
specs = st.lists(
    st.builds(TensorSpec, st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(sorted(DTYPES)), shapes),
    unique_by=lambda spec: spec.name,
    max_size=8,
)


@given(specs)
def test_what_is_written_is_read_back(written):
    written = [spec for spec in written if spec.name != "__metadata__"]
    header, places = place(written)
    size = places[-1].end if places else len(header)
    found = parse_header(header[8:], size, "x").tensors
    assert {p.spec.name: p for p in found} == {p.spec.name: p for p in places}
