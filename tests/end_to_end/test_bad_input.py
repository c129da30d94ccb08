"""Bad input, end to end: each kind is refused with its reason, place and advice, and leaves nothing behind."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import cuvee
from cuvee.cli import main
from cuvee.errors import CuveeError, InputError, RecipeError
from tests.support.merging import cast, decoder, linear, picture, read, recipe
from tests.support.yard import EMBEDDING, HEAD, Q, Yard, command, refused, spoilt, told

# --- the recipe


def test_a_misspelt_key_is_told_by_line_and_column(yard: Yard) -> None:
    path = yard.file("merge_method: linear\nmodels:\n- model: a\n  parametres: {weight: 1}\n")
    error = refused(yard, path, RecipeError, "unknown-key", f"{path}:4:3: ", "did you mean `parameters`?")
    assert error.exit_code == 3


def test_a_misspelt_parameter_is_told_by_line_and_column(yard: Yard) -> None:
    text = "merge_method: ties\nbase_model: base\nmodels:\n- model: a\n  parameters: {weight: 1, densty: 0.5}\n"
    path = yard.file(text)
    error = refused(yard, path, RecipeError, "unknown-parameter", f"{path}:5:27: ", "did you mean `density`?")
    assert error.exit_code == 3


def test_an_unknown_method_is_told_by_line_and_column(yard: Yard) -> None:
    path = yard.file("models:\n- model: a\n  parameters: {weight: 1}\nmerge_method: linaer\n")
    refused(yard, path, RecipeError, "unknown-method", f"{path}:4:15: ", "`linaer`", "did you mean `linear`?")


def test_all_faults_of_a_recipe_are_told_at_once(yard: Yard) -> None:
    path = yard.file("merge_method: ties\nmodles: []\nmodels:\n- model: a\n  parameters: {weight: x, densty: 3}\n")
    error = refused(yard, path, RecipeError, "missing-base")
    assert set(error.codes) == {"missing-base", "unknown-key", "wrong-type", "unknown-parameter"}


def test_a_missing_recipe_file(yard: Yard) -> None:
    error = refused(yard, yard.root / "none.yml", RecipeError, "recipe-missing", "none.yml", "No such file")
    assert error.exit_code == 3


def test_a_recipe_that_is_not_yaml(yard: Yard) -> None:
    path = yard.file("merge_method: [linear\nmodels: 3\n")
    with pytest.raises(RecipeError, match=rf"{path}:2:\d+"):
        cuvee.merge(path, yard.out)
    assert not yard.out.exists()


WORDS: dict[str, Callable[[Yard], dict[str, Any]]] = {
    "tokenizer_source": lambda yard: linear("a", "b", tokenizer_source="union"),
    "tokenizer": lambda yard: linear("a", "b", tokenizer={"source": "base"}),
    "chat_template": lambda yard: linear("a", "b", chat_template="chatml"),
}


@pytest.mark.parametrize("key", WORDS)
def test_vocabularies_of_models_with_damaged_tokenizers_cannot_meet(yard: Yard, key: str) -> None:
    error = refused(yard, WORDS[key](yard), InputError, "bad-tokenizer", "a: tokenizer.json: it needs a `model`")
    assert error.exit_code == 4
    assert {fault.code for fault in error.faults} <= {"bad-tokenizer", "tokenizer-missing"}


@pytest.mark.parametrize("model", ["a+lora", {"model": "a", "lora": "lora"}], ids=["text", "mapping"])
def test_an_adapter_is_never_passed_over(yard: Yard, model: Any) -> None:
    yard.model("lora", decoder(7))
    data = linear("a", "b")
    data["models"][0]["model"] = model
    before = picture(yard.root)
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(yard.file(data), yard.out)
    assert set(caught.value.codes) == {"bad-adapter"}  # a whole model stands where an adapter should
    assert "lora" in str(caught.value)
    (yard.root / "recipe.yml").unlink()
    assert picture(yard.root) == before


def test_what_cannot_be_done_is_said_before_a_model_is_looked_for(yard: Yard) -> None:
    data = linear("a", "absent/")
    data["models"][0]["model"] = {"model": "inner", "lora": "lora"}
    data["models"].append({"model": linear("a", "b") | {"name": "inner"}, "parameters": {"weight": 1}})
    refused(yard, data, RecipeError, "not-yet", "merge the inner recipe into a folder first")


# --- weights that sum to zero


def test_plain_weights_that_sum_to_zero(yard: Yard) -> None:
    data = linear("a", "b", weights=[0.5, -0.5])
    error = refused(yard, data, RecipeError, "zero-weight-sum", "recipe.yml:5:", "sum to 0", "normalize: false")
    assert error.exit_code == 3


def test_weights_that_sum_to_zero_in_one_layer_only(yard: Yard) -> None:
    data = linear("a", "b", weights=[[1, 0], [1, 0]])
    error = refused(yard, data, InputError, "zero-weight-sum", "sum to 0", "(0, 0)", "normalize: false")
    assert {subject for _, subject in told(error)} == {n for n in decoder(0) if ".layers.1." in n}


def test_weights_that_sum_to_zero_under_one_filter_only(yard: Yard) -> None:
    minus = [{"filter": "mlp", "value": -1}, {"value": 1}]
    error = refused(yard, linear("a", "b", weights=[1, minus]), InputError, "zero-weight-sum", "(1, -1)")
    assert {subject for _, subject in told(error)} == {n for n in decoder(0) if ".mlp." in n}


@pytest.mark.parametrize("method", ["task_arithmetic", "dare_linear"])
def test_weights_that_sum_to_zero_where_normalisation_is_asked_for(yard: Yard, method: str) -> None:
    data = recipe(method, "base", "a", "b")
    for entry, weight in zip(data["models"], (1.0, -1.0)):
        entry["parameters"]["weight"] = weight
    data["parameters"]["normalize"] = True
    refused(yard, data, RecipeError, "zero-weight-sum")
    data["parameters"]["normalize"] = False
    assert cuvee.merge(yard.file(data), yard.out).merged == len(decoder(0))


def test_weights_that_sum_to_zero_are_right_where_nothing_is_divided(yard: Yard) -> None:
    data = linear("a", "b", weights=[1, -1], parameters={"normalize": False})
    cuvee.merge(yard.file(data), yard.out)
    assert torch.equal(read(yard.out)[Q], read(yard.root / "a")[Q] - read(yard.root / "b")[Q])


# --- models that are not there, or do not fit


def test_a_missing_model(yard: Yard) -> None:
    error = refused(yard, linear("a", "./bb"), InputError, "model-missing", "./bb", str(yard.root), "did you mean `b`?")
    assert error.exit_code == 4


def test_a_folder_without_weights(yard: Yard) -> None:
    (yard.root / "empty").mkdir()
    refused(yard, linear("a", "./empty"), InputError, "not-a-checkpoint", "./empty".strip("./"), "found nothing")


def test_two_bad_models_are_told_at_once(yard: Yard) -> None:
    yard.model("damaged", decoder(3))
    (yard.root / "damaged" / "model.safetensors").write_bytes(b"\0" * 3)
    error = refused(yard, linear("./gone", "a", "damaged"), InputError, "model-missing", "./gone", "damaged")
    assert error.codes == ("model-missing", "truncated")


def test_a_missing_tensor(yard: Yard) -> None:
    short = decoder(3)
    del short[Q]
    yard.model("short", short)
    words = (f"{Q}: in a but not in short", "use models of one architecture, or set `missing` to `copy`: ")
    error = refused(yard, linear("a", "short"), InputError, "missing-tensor", *words)
    assert (error.exit_code, told(error)) == (4, [("missing-tensor", Q)])


def test_a_tensor_too_many(yard: Yard) -> None:
    yard.model("long", decoder(3) | {"extra.weight": torch.ones(2)})
    refused(yard, linear("a", "long"), InputError, "missing-tensor", "extra.weight: in long but not in a")


def test_different_shapes(yard: Yard) -> None:
    yard.model("wide", decoder(3) | {Q: torch.ones(8, 9), "model.norm.weight": torch.ones(7)})
    error = refused(yard, linear("a", "wide"), InputError, "shape-mismatch", "a [8, 8], wide [8, 9]", "same sizes")
    assert told(error) == [("shape-mismatch", Q), ("shape-mismatch", "model.norm.weight")]


def test_equal_sizes_of_different_shape_are_different(yard: Yard) -> None:
    yard.model("turned", decoder(3) | {"model.layers.0.mlp.up_proj.weight": torch.ones(8, 16)})
    refused(yard, linear("a", "turned"), InputError, "shape-mismatch", "a [16, 8], turned [8, 16]")


def test_different_vocabularies(yard: Yard) -> None:
    yard.model("more", decoder(3, vocabulary=21))
    error = refused(yard, linear("a", "more"), InputError, "vocabulary-mismatch", "a [20, 8], more [21, 8]")
    assert told(error) == [("vocabulary-mismatch", HEAD), ("vocabulary-mismatch", EMBEDDING)]


def test_different_layer_counts(yard: Yard) -> None:
    yard.model("deep", decoder(3, layers=5), config={"model_type": "small", "num_hidden_layers": 5})
    error = refused(yard, linear("a", "deep"), InputError, "layer-count-mismatch", "a has 2, deep has 5", "`slices`")
    assert told(error) == [("layer-count-mismatch", "model.layers")]


def test_layers_a_model_does_not_have(yard: Yard) -> None:
    sources = [{"model": "a", "layer_range": [0, 3]}]
    data = {"merge_method": "passthrough", "slices": [{"sources": sources}]}
    before = picture(yard.root)
    said = r"recipe.yml:6:5: a has 2 layers, 0 to 1; layer_range asks for \[0, 3\]"
    with pytest.raises(RecipeError, match=said) as caught:
        cuvee.merge(yard.file(data), yard.out)
    assert caught.value.codes == ("layers-out-of-range",)
    (yard.root / "recipe.yml").unlink()
    assert picture(yard.root) == before


def test_misfits_of_every_kind_are_told_at_once(yard: Yard) -> None:
    odd = decoder(3, layers=3, vocabulary=30) | {"model.norm.weight": torch.ones(5), "more": torch.ones(1)}
    yard.model("odd", odd, config=None)
    error = refused(yard, linear("a", "odd"), InputError, "layer-count-mismatch")
    assert set(error.codes) == {"layer-count-mismatch", "vocabulary-mismatch", "shape-mismatch", "missing-tensor"}


# --- tensors that cannot be averaged

BUFFERS: dict[str, tuple[torch.Tensor, torch.Tensor]] = {
    "int64": (torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4])),
    "uint8": (torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([1, 3], dtype=torch.uint8)),
    "bool": (torch.tensor([True, False]), torch.tensor([True, True])),
    "int32": (torch.arange(5000, dtype=torch.int32), torch.arange(5000, dtype=torch.int32).roll(1)),
}


@pytest.mark.parametrize("dtype", BUFFERS)
def test_integer_and_boolean_buffers_that_differ(yard: Yard, dtype: str) -> None:
    one, other = BUFFERS[dtype]
    yard.model("x", decoder(3) | {"steps": one})
    yard.model("y", decoder(4) | {"steps": other})
    words = ("tensor steps", dtype, "x and y differ", "counters can be removed")
    error = refused(yard, linear("x", "y"), InputError, "unmergeable-dtype", *words)
    assert (error.exit_code, told(error)) == (4, [("unmergeable-dtype", "steps")])


@pytest.mark.parametrize("dtype", BUFFERS)
def test_integer_and_boolean_buffers_that_agree_are_copied(yard: Yard, dtype: str) -> None:
    one, _ = BUFFERS[dtype]
    yard.model("x", decoder(3) | {"steps": one})
    yard.model("y", decoder(4) | {"steps": one})
    result = cuvee.merge(yard.file(linear("x", "y", out_dtype="float16")), yard.out)
    assert result.record["copied"] == {"steps": f"{dtype} cannot be merged"}
    assert read(yard.out)["steps"].dtype == one.dtype
    assert torch.equal(read(yard.out)["steps"], one)


def test_all_buffers_that_differ_are_told_at_once(yard: Yard) -> None:
    yard.model("x", decoder(3) | {f"n{i}": torch.tensor(i) for i in range(3)})
    yard.model("y", decoder(4) | {f"n{i}": torch.tensor(i % 2) for i in range(3)})
    assert told(refused(yard, linear("x", "y"), InputError, "unmergeable-dtype")) == [("unmergeable-dtype", "n2")]
    yard.model("z", decoder(4) | {f"n{i}": torch.tensor(9) for i in range(3)})
    error = refused(yard, linear("x", "z"), InputError, "unmergeable-dtype")
    assert [subject for _, subject in told(error)] == ["n0", "n1", "n2"]


def test_an_integer_tensor_against_a_float_one(yard: Yard) -> None:
    yard.model("whole", decoder(3) | {"model.norm.weight": torch.ones(8, dtype=torch.int64)})
    refused(yard, linear("a", "whole"), InputError, "dtype-mismatch", "a float32, whole int64")


# --- numbers that are none

BAD = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


@pytest.mark.parametrize("runner", ["threaded", "plain"])
@pytest.mark.parametrize("value", BAD)
def test_a_number_that_is_none(yard: Yard, value: str, runner: str) -> None:
    yard.model("ill", spoilt(3, Q, 17, BAD[value]))
    words = (f"ill: tensor {Q} must be finite; entry 17 is {value}", "--allow-nonfinite")
    error = refused(yard, linear("a", "ill"), InputError, "non-finite", *words, runner=runner)
    assert (error.exit_code, told(error)) == (4, [("non-finite", Q)])


@pytest.mark.parametrize("method", ["slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"])
@pytest.mark.parametrize("where", ["base", "a"])
def test_a_number_that_is_none_in_any_model(yard: Yard, method: str, where: str) -> None:
    yard.model("ill", spoilt(3, Q, 0, float("nan")))
    names = {"base": "base", "a": "a", "b": "b"} | {where: "ill"}
    refused(yard, recipe(method, **names), InputError, "non-finite", f"ill: tensor {Q}")


def test_a_number_that_is_none_in_what_is_only_copied(yard: Yard) -> None:
    yard.model("ill", spoilt(3, Q, 0, float("nan")))
    data = {"merge_method": "passthrough", "models": [{"model": "ill"}]}
    refused(yard, data, InputError, "non-finite", f"ill: tensor {Q}")


def test_a_number_that_is_none_in_the_last_tile(yard: Yard) -> None:
    yard.model("wide", decoder(3, width=50))
    yard.model("ill", spoilt(4, Q, 2499, float("inf"), width=50))
    refused(yard, linear("wide", "ill"), InputError, "non-finite", "entry 2499 is inf", tile=1024, threads=2)


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_numbers_that_are_none_are_merged_on_request(yard: Yard, method: str) -> None:
    yard.model("ill", spoilt(1, Q, 17, float("nan")))
    spoiled = recipe(method, "base", "ill", "b")
    if "dare" in method:  # a mask may drop the entry, and then there is nothing to be seen
        spoiled["models"][0]["parameters"]["density"] = 1.0
    cuvee.merge(yard.file(spoiled), yard.out, allow_nonfinite=True)
    cuvee.merge(yard.file(recipe(method, "base", "a", "b"), "good.yml"), yard.root / "good")
    found, good = read(yard.out), read(yard.root / "good")
    assert torch.isnan(found[Q].view(-1)[17])
    if "dare" not in method:  # the names of the models differ, and so do the masks
        assert all(torch.equal(found[name], good[name]) for name in found if name != Q)
    assert not cuvee.verify(yard.out).ok


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
def test_a_spoilt_entry_spoils_no_other(yard: Yard, method: str) -> None:
    yard.model("ill", spoilt(1, Q, 17, float("inf")))
    cuvee.merge(yard.file(recipe(method, "base", "ill", "b")), yard.out, allow_nonfinite=True)
    assert (~torch.isfinite(read(yard.out)[Q])).sum() == 1


def test_a_nan_does_not_keep_what_is_to_be_trimmed(yard: Yard) -> None:
    values = torch.arange(1.0, 101.0)
    values[3] = float("nan")
    yard.model("zero", {"w": torch.zeros(100)}, config=None)
    yard.model("ill", {"w": values}, config=None)
    data = recipe("ties", "zero", "ill", "ill")
    data["models"] = [{"model": "ill", "parameters": {"weight": 1, "density": 0.01}}]
    cuvee.merge(yard.file(data), yard.out, allow_nonfinite=True)
    assert torch.count_nonzero(read(yard.out)["w"].nan_to_num(0.0)) <= 1


def test_an_angle_of_infinities_does_not_crash(yard: Yard) -> None:
    infinite, signs = torch.full((3000,), float("inf")), torch.ones(3000)
    signs[1500:] = -1
    yard.model("x", {"w": infinite}, config=None)
    yard.model("y", {"w": signs}, config=None)
    cuvee.merge(yard.file(recipe("slerp", "x", "y", "y")), yard.out, allow_nonfinite=True)


def tied_pair(yard: Yard, at: int) -> dict[str, Any]:
    """Two tied models that store their head; one has a NaN at an entry of the embedding and of the head."""
    for name, seed in (("x", 3), ("y", 4)):
        tensors = decoder(seed, vocabulary=1000)
        if name == "x":
            tensors[EMBEDDING].view(-1)[at] = float("nan")
        tensors[HEAD] = tensors[EMBEDDING].clone()
        yard.model(name, tensors, config={"model_type": "small", "tie_word_embeddings": True})
    return linear("x", "y")


def test_a_nan_in_a_tied_embedding_is_not_called_a_difference(yard: Yard) -> None:
    refused(yard, tied_pair(yard, 7999), InputError, "non-finite", f"x: tensor {EMBEDDING}")


@pytest.mark.parametrize("at", [0, 7999], ids=["first", "last"])
def test_a_nan_in_a_tied_embedding_leaves_it_tied(yard: Yard, at: int) -> None:
    result = cuvee.merge(yard.file(tied_pair(yard, at)), yard.out, allow_nonfinite=True)
    assert (result.tied, HEAD in read(yard.out)) == (1, False)


def test_tied_copies_that_differ(yard: Yard) -> None:
    data = tied_pair(yard, 0)
    tensors = decoder(3, vocabulary=1000)
    tensors[HEAD] = tensors[EMBEDDING].clone()
    tensors[HEAD][999] += 1
    save_file(tensors, yard.root / "x" / "model.safetensors")
    words = ("x: lm_head.weight should repeat model.embed_tokens.weight", "`tie_word_embeddings` to false")
    refused(yard, data, InputError, "tied-mismatch", *words)


# --- numbers that become none


@pytest.mark.parametrize("runner", ["threaded", "plain"])
def test_a_merged_value_too_large_for_float16(yard: Yard, runner: str) -> None:
    big = cast(decoder(3), torch.float16) | {"model.norm.weight": torch.full((8,), 6e4, dtype=torch.float16)}
    for name in ("x", "y"):
        yard.model(name, big)
    data = linear("x", "y", parameters={"normalize": False}, weights=[1, 1])
    words = (
        "tensor model.norm.weight",
        "1.2e+05",
        "too large for float16",
        "set `out_dtype` to `bfloat16` or `float32`, or ",
    )
    refused(yard, data, InputError, "non-finite", *words, runner=runner)
    cuvee.merge(yard.file(data | {"out_dtype": "float32"}), yard.out)
    assert read(yard.out)["model.norm.weight"].tolist() == [120000.0] * 8


def test_a_copied_value_too_large_for_float16(yard: Yard) -> None:
    yard.model("x", decoder(3) | {"model.norm.weight": torch.full((8,), 1e6)})
    data = {"merge_method": "passthrough", "models": [{"model": "x"}], "out_dtype": "float16"}
    refused(yard, data, InputError, "non-finite", "tensor model.norm.weight", "float16")


OVERFLOWS: dict[str, tuple[torch.Tensor, dict[str, Any]]] = {
    "float64 in float32": (torch.full((4,), 1e300, dtype=torch.float64), {"out_dtype": "float32"}),
    "float32 in bfloat16": (torch.full((4,), 3.4e38), {"out_dtype": "bfloat16"}),
    "a float32 sum": (torch.full((4,), 3.4e38), {"parameters": {"normalize": False}}),
}


@pytest.mark.parametrize("case", OVERFLOWS)
def test_an_overflow_is_never_silent(yard: Yard, case: str) -> None:
    tensor, more = OVERFLOWS[case]
    for name in ("x", "y"):
        yard.model(name, {"w": tensor})
    refused(yard, linear("x", "y", weights=[1, 1], **more), InputError, "non-finite", "tensor w")


# --- files that are damaged, lie, or attack


def weight_file(yard: Yard, name: str = "a") -> Path:
    return yard.root / name / "model.safetensors"


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


@pytest.mark.parametrize("left", [0, 5, 100, -1], ids=["nothing", "half a length", "half a header", "all but one byte"])
def test_a_truncated_file(yard: Yard, left: int) -> None:
    path = weight_file(yard)
    cut(path, left if left >= 0 else path.stat().st_size + left)
    error = refused(yard, linear("a", "b"), InputError, "truncated", str(path), "download")
    assert error.exit_code == 4


def test_a_truncated_shard(yard: Yard) -> None:
    yard.model("sharded", decoder(3), shards=3)
    path = yard.root / "sharded" / "model-00002-of-00003.safetensors"
    cut(path, path.stat().st_size - 8)
    refused(yard, linear("a", "sharded"), InputError, "truncated", str(path))


def test_all_truncated_shards_are_told_at_once(yard: Yard) -> None:
    yard.model("sharded", decoder(3), shards=3)
    paths = sorted((yard.root / "sharded").glob("model-0000[13]*"))
    for path in paths:
        cut(path, path.stat().st_size - 8)
    error = refused(yard, linear("a", "sharded"), InputError, "truncated", *map(str, paths))
    assert error.codes == ("truncated", "truncated")


def test_a_missing_shard(yard: Yard) -> None:
    yard.model("sharded", decoder(3), shards=3)
    (yard.root / "sharded" / "model-00002-of-00003.safetensors").unlink()
    refused(yard, linear("a", "sharded"), InputError, "bad-index", "model-00002-of-00003.safetensors", "not there")


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the JSON of a header and leave the data as they are."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def _beyond(header: dict[str, Any]) -> None:
    header[Q]["data_offsets"][1] += 1 << 20


def _overlapping(header: dict[str, Any]) -> None:
    header[Q]["data_offsets"] = header["model.layers.0.self_attn.q_proj.weight"]["data_offsets"]


def _larger_shape(header: dict[str, Any]) -> None:
    header[Q]["shape"] = [1 << 31, 1 << 31]


def _negative(header: dict[str, Any]) -> None:
    header[Q]["data_offsets"] = [-256, 0]


def _hole(header: dict[str, Any]) -> None:
    del header[Q]


LIES = {"beyond": _beyond, "overlapping": _overlapping, "shape": _larger_shape, "negative": _negative, "hole": _hole}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies(yard: Yard, lie: str) -> None:
    path = weight_file(yard)
    rewrite_header(path, LIES[lie])
    refused(yard, linear("a", "b"), InputError, "bad-header", str(path), "damaged")


@pytest.mark.parametrize("place", ["../a/model.safetensors", "{root}/a/model.safetensors", "x/../model.safetensors"])
def test_an_index_that_leads_out_of_its_folder(yard: Yard, place: str) -> None:
    yard.model("sharded", decoder(3), shards=2)
    index = yard.root / "sharded" / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][Q] = place.format(root=yard.root)
    index.write_text(json.dumps(content))
    refused(yard, linear("b", "sharded"), InputError, "bad-index", str(index), Q, "same folder")


class Evil:
    """A pickle that makes a file when it is read by a reader that trusts it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", ["archive", "old archive", "bare pickle"])
def test_a_pickle_that_wants_to_run_code(yard: Yard, form: str) -> None:
    folder, marker = yard.root / "evil", yard.root / "marker"
    folder.mkdir()
    content = {"evil": Evil(marker)}
    if form == "bare pickle":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "archive")
    pickle.loads(pickle.dumps(Evil(marker)))  # the attack works where nobody guards against it
    marker.unlink()
    error = refused(yard, linear("a", "evil"), InputError, "unsafe-pickle", "evil/pytorch_model.bin", "safetensors")
    assert error.exit_code == 4
    assert not marker.exists()


def test_a_side_file_that_leads_out_of_the_model(yard: Yard) -> None:
    (yard.root / "secret").write_text("s")
    (yard.root / "a" / "vocab.txt").symlink_to(yard.root / "secret")
    refused(yard, linear("a", "b"), InputError, "unsafe-link", "vocab.txt", "put a copy")


HOSTILE: dict[str, dict[str, Any]] = {
    "prediction layers as text": {"num_nextn_predict_layers": "1"},
    "prediction layers as list": {"num_nextn_predict_layers": [1]},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_configuration_of_wrong_types_does_not_crash(yard: Yard, case: str) -> None:
    yard.model("odd", decoder(3), config={"model_type": "small", "num_hidden_layers": 2, **HOSTILE[case]})
    cuvee.merge(yard.file(linear("odd", "a")), yard.out)


# --- the command line tells the same


def _ill(yard: Yard) -> dict[str, Any]:
    yard.model("ill", spoilt(3, Q, 17, float("nan")))
    return linear("a", "ill")


def _damaged(yard: Yard) -> dict[str, Any]:
    cut(weight_file(yard), 100)
    cut(weight_file(yard, "b"), 100)
    return linear("a", "b")


COMMANDS: dict[str, tuple[Callable[[Yard], dict[str, Any]], int, list[str]]] = {
    "misspelt": (lambda yard: linear("a", "b", modles=1), 3, ["unknown-key"]),
    "unknown method": (lambda yard: linear("a", "b") | {"merge_method": "linaer"}, 3, ["unknown-method"]),
    "tokenizer": (lambda yard: linear("a", "b", chat_template="auto"), 4, ["bad-tokenizer"]),
    "missing": (lambda yard: linear("./x", "./y"), 4, ["model-missing", "model-missing"]),
    "damaged": (_damaged, 4, ["truncated", "truncated"]),
    "non-finite": (_ill, 4, ["non-finite"]),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_the_command_line_tells_the_same(yard: Yard, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, exit_code, codes = COMMANDS[case]
    path = yard.file(make(yard))
    before = picture(yard.root)
    code, answer = command(capsys, "merge", path, "-o", yard.out)
    assert (code, answer["error"]["exit_code"]) == (exit_code, exit_code)
    assert [fault["code"] for fault in answer["error"]["faults"]] == codes
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(path, yard.out)
    assert [fault["message"] for fault in answer["error"]["faults"]] == [f.message for f in caught.value.faults]
    assert picture(yard.root) == before


def test_the_command_line_names_line_and_column(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    path = yard.file("merge_method: linear\nmodels:\n- model: a\n  parameters: {wieght: 1}\n")
    assert main(["merge", str(path), "-o", str(yard.out)]) == 3
    assert f"{path}:4:16: linear has no parameter `wieght`\n    did you mean `weight`?\n" in capsys.readouterr().err
