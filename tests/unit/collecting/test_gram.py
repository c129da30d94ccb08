"""Gram matrices of small real models equal those worked out beside them, one sample at a time and in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import cuvee
from cuvee.checkpoint import read_statistics
from cuvee.checkpoint.statistics import check_values
from cuvee.collecting.samples import Sample, masked
from tests.support.calibration import TEXTS, load, make_model, texts, tokens_of, weights, write_lines


def by_hand(folder: Path, modules: dict[str, str]) -> dict[str, Tensor]:
    """Means of x xᵀ in float64 by the name of the weight on disk; samples are run alone, so nothing is padded."""
    model = load(folder)
    seen: dict[str, list[Tensor]] = {name: [] for name in modules.values()}
    for module, name in modules.items():
        keep = seen[name].append
        model.get_submodule(module).register_forward_hook(lambda _m, given, _out, keep=keep: keep(given[0].detach()))
    with torch.no_grad():
        for ids in tokens_of(folder):
            model(input_ids=ids)
    rows = {name: torch.cat([x.reshape(-1, x.shape[-1]) for x in xs]).double() for name, xs in seen.items()}
    return {name: x.T @ x / len(x) for name, x in rows.items()}


def linear_modules(folder: Path, kinds: tuple[str, ...] = ("Linear", "Conv1D")) -> list[str]:
    return [name for name, module in load(folder).named_modules() if type(module).__name__ in kinds]


def collected(folder: Path, tmp_path: Path, **settings: Any) -> tuple[Any, dict[str, Tensor]]:
    out = tmp_path / "out.gram.safetensors"
    (made,) = cuvee.collect(folder, data=texts(tmp_path / "data.jsonl", labels=True), out=out, **settings)
    check_values(read_statistics(out, "gram"))
    return made, load_file(out)


def assert_grams(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gram in expected.items():
        torch.testing.assert_close(found[name].double(), gram, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 5])
@pytest.mark.parametrize("case", ["llama", "bert classifier"])
def test_it_equals_what_hooks_see_whatever_the_batches_and_their_padding(
    case: str, batch_size: int | None, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "model", case)
    made, found = collected(folder, tmp_path, batch_size=batch_size)
    assert_grams(found, by_hand(folder, {name: f"{name}.weight" for name in linear_modules(folder)}))
    every = weights(folder)
    assert set(made.tensors) | made.without.keys() == every.keys()
    assert not set(made.tensors) & made.without.keys()


def test_rows_are_counted_per_tensor_where_they_are_not_tokens(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "bert classifier")
    made, _ = collected(folder, tmp_path, batch_size=5)
    statistics = read_statistics(made.path)
    tokens = sum(ids.numel() for ids in tokens_of(folder))
    assert (statistics.rows, statistics.samples, made.tokens) == (tokens, len(TEXTS), tokens)
    assert statistics.rows_per_tensor == {"bert.pooler.dense.weight": 5, "classifier.weight": 5}
    assert statistics.rows_of("bert.encoder.layer.0.output.dense.weight") == tokens


def test_weights_that_stand_as_inputs_by_outputs_are_named_and_have_the_gram_of_their_inputs(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "gpt2")
    made, found = collected(folder, tmp_path)
    modules = {name: f"{name}.weight" for name in linear_modules(folder, ("Conv1D",))}
    expected = by_hand(folder, {**modules, "lm_head": "transformer.wte.weight"})
    assert_grams(found, expected)
    statistics = read_statistics(made.path)
    assert statistics.transposed == set(modules.values())
    every = weights(folder)
    for name, gram in found.items():  # the side of the weight that its inputs are on
        assert len(gram) == every[name].shape[0 if name in statistics.transposed else 1]


def test_a_tied_head_has_one_statistic_under_the_name_on_disk_and_a_note(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama tied")
    assert "lm_head.weight" not in weights(folder)
    made, found = collected(folder, tmp_path)
    expected = by_hand(folder, {"lm_head": "model.embed_tokens.weight"})
    torch.testing.assert_close(found["model.embed_tokens.weight"].double(), expected["model.embed_tokens.weight"])
    assert "lm_head.weight" not in found
    assert any("model.embed_tokens.weight" in note for note in made.notes)


def test_what_has_no_gram_is_listed_with_its_reason(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "mixtral")
    made, found = collected(folder, tmp_path)
    assert not [name for name in found if "experts" in name]
    assert "looked up" in made.without["model.embed_tokens.weight"]
    assert made.without["model.norm.weight"] == "it is no matrix"
    assert "neither Linear nor Conv1D" in made.without["model.layers.0.block_sparse_moe.experts.0.w1.weight"]
    assert set(made.tensors) | made.without.keys() == weights(folder).keys()


def test_a_bare_encoder_has_grams_too(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "bert bare")
    _, found = collected(folder, tmp_path)
    assert_grams(found, by_hand(folder, {name: f"{name}.weight" for name in linear_modules(folder)}))


def test_the_file_says_what_it_depends_on_and_is_the_same_again(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama")
    made, _ = collected(folder, tmp_path)
    first = made.path.read_bytes()
    with safe_open(made.path, "pt") as file:
        said = file.metadata()
    assert said["cuvee_statistics"] == "gram"
    assert said["head"] == "causal-lm"
    assert said["seed"] == "0"
    assert len(said["model_content"]) == len(said["data_xxh3_128"]) == 32
    again, _ = collected(folder, tmp_path, overwrite=True)
    assert again.path.read_bytes() == first
    other = make_model(tmp_path / "other", "llama", seed=1)
    collected(other, tmp_path, overwrite=True)
    assert read_statistics(made.path).metadata["model_content"] != said["model_content"]


def test_tokens_may_be_given_and_the_data_cut(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama", tokenizer=False)
    data = write_lines(tmp_path / "data.jsonl", [{"input_ids": [1, 5, 9, 7, 7, 7]}, {"input_ids": [1, 4, 6]}] * 3)
    settings: dict[str, Any] = {"data": data, "max_samples": 2, "max_length": 3}
    (made,) = cuvee.collect(folder, out=tmp_path / "a.safetensors", **settings)
    assert (made.samples, made.tokens, made.rows) == (2, 6, 6)
    assert any("1 of 2 samples are cut to 3 tokens" in note for note in made.notes)
    short = write_lines(tmp_path / "short.jsonl", [{"input_ids": [1, 5, 9]}, {"input_ids": [1, 4, 6]}])
    cuvee.collect(folder, out=tmp_path / "b.safetensors", data=short)
    assert_grams(
        load_file(tmp_path / "a.safetensors"), {k: v.double() for k, v in load_file(tmp_path / "b.safetensors").items()}
    )


def test_text_lines_and_tables_say_the_same_as_json_lines(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama")
    _, expected = collected(folder, tmp_path)
    lines = tmp_path / "data.txt"
    lines.write_text("\n\n".join(TEXTS), encoding="utf-8")
    table = tmp_path / "data.csv"
    table.write_text("n,say\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(TEXTS)), encoding="utf-8")
    cuvee.collect(folder, data=lines, out=tmp_path / "lines.safetensors")
    cuvee.collect(folder, data=table, column="say", out=tmp_path / "table.safetensors")
    for name in ("lines", "table"):
        found = load_file(tmp_path / f"{name}.safetensors")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_tied_head_that_is_stored_a_second_time_is_told_to_stand_under_the_first(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama tied")
    every = weights(folder)
    copied = {**every, "lm_head.weight": every["model.embed_tokens.weight"].clone()}
    save_file(copied, folder / "model.safetensors", metadata={"format": "pt"})
    made, found = collected(folder, tmp_path)
    assert "model.embed_tokens.weight" in found
    assert "lm_head.weight" not in found
    assert made.without["lm_head.weight"] == "it is tied, and stands under model.embed_tokens.weight"


def test_equal_samples_have_masks_of_their_own() -> None:
    sample = Sample(0, 1, tuple(range(10, 40)))
    masks = {masked(Sample(i, i, sample.ids), frozenset(), 3, 0).targets for i in range(5)}
    assert len(masks) == 5
    assert all(len(targets) == 4 for targets in masks)  # 15 % of 30, rounded to even
