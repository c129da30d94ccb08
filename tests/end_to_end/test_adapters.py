"""Adapters that peft trained: against peft's own `merge_and_unload`, and as inputs wherever a model may stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import cuvee
from cuvee import api
from cuvee.checkpoint import open_checkpoint
from cuvee.errors import CuveeError, InputError
from cuvee.types import ModelRef
from tests.support.adapters import (
    ADAPTERS,
    load_base,
    logits,
    merged_by_peft,
    train_adapter,
    write_adapter,
    write_base,
)
from tests.support.command_line import call

pytest.importorskip("peft")

Trained = dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Every adapter and its base."""
    room = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(name, room / name) for name in ADAPTERS}


def both(base: Path, adapter: Path) -> ModelRef:
    return ModelRef(str(base), adapter=ModelRef(str(adapter)))


def tensors_of(ref: ModelRef) -> dict[str, torch.Tensor]:
    """All tensors of a model as they are read."""
    reader = open_checkpoint(ref)
    try:
        return {n: reader.read(n, 0, spec.numel).reshape(spec.shape) for n, spec in reader.specs.items()}
    finally:
        reader.close()


def saved(model: Any, folder: Path) -> dict[str, torch.Tensor]:
    model.save_pretrained(str(folder))
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_tensor_is_that_of_merge_and_unload(trained: Trained, tmp_path: Path, name: str) -> None:
    base, adapter = trained[name]
    wanted = saved(merged_by_peft(base, adapter), tmp_path / "peft")
    found = tensors_of(both(base, adapter))
    assert found.keys() == wanted.keys()
    for tensor, values in wanted.items():
        assert found[tensor].dtype == values.dtype
        torch.testing.assert_close(found[tensor], values, rtol=2e-6, atol=2e-7, msg=lambda m, t=tensor: f"{t}: {m}")
    changed = [
        tensor for tensor, values in load_file(base / "model.safetensors").items() if (found[tensor] != values).any()
    ]
    assert changed, "an adapter that changes nothing tests nothing"


@pytest.mark.parametrize("name", ["lora", "dora", "conv1d", "head"])
def test_a_bfloat16_base_is_rounded_as_peft_rounds_it(trained: Trained, tmp_path: Path, name: str) -> None:
    base, adapter = trained[name]
    saved(load_base(base, "bfloat16"), tmp_path / "base")
    wanted = saved(merged_by_peft(tmp_path / "base", adapter, "bfloat16"), tmp_path / "peft")
    found = tensors_of(both(tmp_path / "base", adapter))
    assert all(torch.equal(found[tensor], values) for tensor, values in wanted.items())


@pytest.mark.parametrize("name", ["lora", "conv1d-dora", "head", "embedding"])
def test_the_folder_that_apply_writes_has_the_logits_of_peft(trained: Trained, tmp_path: Path, name: str) -> None:
    base, adapter = trained[name]
    api.lora_apply(base, adapter, tmp_path / "out")
    torch.testing.assert_close(
        logits(load_base(tmp_path / "out")), logits(merged_by_peft(base, adapter)), rtol=1e-5, atol=1e-6
    )
    assert cuvee.verify(tmp_path / "out").ok


def test_a_weight_is_a_way_between_base_and_result(trained: Trained, tmp_path: Path) -> None:
    base, adapter = trained["lora"]
    api.lora_apply(base, adapter, tmp_path / "out", weight=0.25)
    before, after = load_file(base / "model.safetensors"), tensors_of(both(base, adapter))
    for name, values in load_file(tmp_path / "out/model.safetensors").items():
        torch.testing.assert_close(values, before[name] + 0.25 * (after[name] - before[name]), rtol=1e-6, atol=1e-7)


def test_several_adapters_are_applied_in_turn(trained: Trained, tmp_path: Path) -> None:
    (base, first), (_, second) = trained["lora"], trained["saved"]
    api.lora_apply(base, [first, second], tmp_path / "out")
    api.lora_apply(base, first, tmp_path / "first")
    api.lora_apply(tmp_path / "first", second, tmp_path / "second")
    name = "model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    (made,) = json.loads((tmp_path / "out/cuvee.json").read_text("utf-8"))["inputs"]
    assert [one["model"] for one in made["adapters"]] == [str(first), str(second)]


def test_a_folder_alone_stands_on_the_base_that_it_names(trained: Trained, tmp_path: Path) -> None:
    base, adapter = trained["rslora"]
    alone, named = tensors_of(ModelRef(str(adapter))), tensors_of(both(base, adapter))
    assert all(torch.equal(alone[name], named[name]) for name in named)


def test_a_merge_of_bases_with_adapters_is_that_of_the_folders_written_out(trained: Trained, tmp_path: Path) -> None:
    (base, one), (_, other) = trained["lora"], trained["dora"]
    api.lora_apply(base, one, tmp_path / "one")
    api.lora_apply(base, other, tmp_path / "other")

    def recipe(*models: str) -> dict[str, Any]:
        return {
            "merge_method": "ties",
            "base_model": str(base),
            "models": [{"model": model, "parameters": {"weight": 0.5, "density": 0.6}} for model in models],
        }

    adapted = cuvee.merge(recipe(f"{base}+{one}", f"{base}+{other}"), tmp_path / "adapted", tile=100)
    written = cuvee.merge(recipe(str(tmp_path / "one"), str(tmp_path / "other")), tmp_path / "written")
    assert adapted.record["output"]["content"] == written.record["output"]["content"]
    inputs = adapted.record["inputs"]
    assert [len(entry.get("adapters", [])) for entry in inputs] == [0, 1, 1]
    assert set(inputs[1]["adapters"][0]["files"]) == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_plan_counts_the_adapters_bytes(trained: Trained) -> None:
    base, adapter = trained["lora"]
    bare = cuvee.plan({"merge_method": "passthrough", "models": [{"model": str(base)}]})
    with_it = cuvee.plan({"merge_method": "passthrough", "models": [{"model": f"{base}+{adapter}"}]})
    inside = load_file(adapter / "adapter_model.safetensors").values()
    assert with_it.read - bare.read == sum(t.numel() * t.element_size() for t in inside)


def test_base_and_adapter_are_looked_at_and_run(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    base, adapter = trained["lora"]
    ran = call(capsys, "diff", str(base), f"{base}+{adapter}", "--json")
    assert ran.code == 0
    assert ran.json["total"]["relative_difference"] > 0
    assert call(capsys, "inspect", f"{base}+{adapter}").code == 0
    recipe = {"merge_method": "passthrough", "models": [{"model": f"{base}+{adapter}"}]}
    torch.testing.assert_close(logits(cuvee.load(recipe)), logits(merged_by_peft(base, adapter)), rtol=1e-5, atol=1e-6)


def test_info_tells_norms_and_effective_ranks(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    base, adapter = trained["lora"]
    ran = call(capsys, "lora", "info", str(adapter), "--json")
    assert (ran.code, ran.json["kind"], ran.json["base"]) == (0, "LoRA", str(base))
    before, after = load_file(base / "model.safetensors"), tensors_of(both(base, adapter))
    for module in ran.json["modules"]:
        name = f"{module['module']}.weight"
        delta = (after[name] - before[name]).double()
        assert module["norm"] == pytest.approx(float(delta.norm()), rel=1e-4)
        values = torch.linalg.svdvals(delta)[: module["rank"]]
        shares = values / values.sum()
        assert module["effective_rank"] == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-3)


def test_apply_and_its_mistakes_on_the_command_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, adapter = trained["lora"]
    out = str(tmp_path / "out")
    ran = call(capsys, "lora", "apply", str(base), str(adapter), "-o", out, "--json")
    assert (ran.code, ran.json["counts"]["lost"]) == (0, 0)
    assert call(capsys, "lora", "apply", str(base), str(adapter), "-o", out).code == 7
    assert call(capsys, "lora", "apply", str(base), "-o", out).code == 2
    assert "did you mean `apply`" in call(capsys, "lora", "aply").err


# --- tied embeddings


TIED: dict[str, tuple[dict[str, Any], bool]] = {
    "change of the embedding": ({"target_modules": ["embed_tokens"]}, False),
    "change of the head": ({"target_modules": ["lm_head"]}, False),
    "embedding replaced": ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}, False),
    "both, one by one": ({"target_modules": ["embed_tokens", "lm_head"]}, False),
    "both replaced as one": (
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        True,
    ),
    "both changed as one": ({"target_modules": ["embed_tokens"], "ensure_weight_tying": True}, True),
    "rows of tokens": ({"target_modules": ["q_proj"], "trainable_token_indices": [5, 9]}, True),
    "neither": ({"target_modules": ["q_proj"]}, True),
}


@pytest.mark.parametrize("name", TIED)
def test_a_tied_side_is_never_changed_unseen(tmp_path: Path, name: str) -> None:
    """What is applied has the logits of the model that was trained; PEFT's merged model does not always."""
    from peft import PeftModel

    settings, fits = TIED[name]
    base = write_base("llama", tmp_path / "base", tie_word_embeddings=True)
    adapter = train_adapter(base, tmp_path / "adapter", r=2, **settings)
    if not fits:
        with pytest.raises(InputError, match="one tensor") as caught:
            tensors_of(both(base, adapter))
        assert set(caught.value.codes) == {"adapter-mismatch"}
        return
    api.lora_apply(base, adapter, tmp_path / "out")
    unmerged = PeftModel.from_pretrained(load_base(base), str(adapter)).eval()
    torch.testing.assert_close(logits(load_base(tmp_path / "out")), logits(unmerged), rtol=1e-5, atol=1e-5)


# --- what does not fit


def put(adapter: Path, change: Any, folder: Path) -> Path:
    """The adapter, with its configuration and its tensors changed by a function."""
    folder.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    tensors = load_file(adapter / "adapter_model.safetensors")
    change(config, tensors)
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    save_file({name: values.contiguous() for name, values in tensors.items()}, folder / "adapter_model.safetensors")
    return folder


def _rename(tensors: dict[str, torch.Tensor], old: str, new: str) -> None:
    for name in [name for name in tensors if old in name]:
        tensors[name.replace(old, new)] = tensors.pop(name)


def _wider(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if "lora_A" in name]:
        tensors[name] = torch.cat([tensors[name], tensors[name]], 1)


WRONG: dict[str, tuple[Any, str, str]] = {
    "another kind": (lambda c, t: c.update(peft_type="LOHA"), "bad-adapter", "peft_type: LORA"),
    "another rank": (lambda c, t: c.update(r=3), "bad-adapter", "says rank 3; A is 4×24"),
    "half a pair": (lambda c, t: t.pop(next(n for n in t if "lora_B" in n)), "bad-adapter", "one A and one B"),
    "not a number": (lambda c, t: next(iter(t.values())).fill_(float("nan")), "bad-adapter", "NaN or infinity"),
    "magnitudes unasked": (
        lambda c, t: t.update({"base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector": torch.ones(40)}),
        "bad-adapter",
        "use_dora",
    ),
    "magnitudes missing": (lambda c, t: c.update(use_dora=True), "bad-adapter", "there are none"),
    "an unknown key": (lambda c, t: c.update(use_lora2=True), "unknown-adapter-key", "use_lora2"),
    "a misspelt key": (lambda c, t: c.update(use_rslorra=True), "unknown-adapter-key", "did you mean `use_rslora`"),
    "an unknown tensor": (
        lambda c, t: t.update({"base_model.model.model.layers.0.mlp.up_proj.lora_E": torch.ones(4)}),
        "unknown-adapter-key",
        "lora_E",
    ),
    "integers": (lambda c, t: t.update({k: v.int() for k, v in t.items()}), "bad-adapter", "must hold floats"),
    "PiSSA": (lambda c, t: c.update(init_lora_weights="pissa_niter_4"), "bad-adapter", "was changed when"),
    "LoftQ": (lambda c, t: c.update(init_lora_weights="loftq"), "bad-adapter", "init_lora_weights"),
    "parameters": (lambda c, t: c.update(target_parameters=["w"]), "bad-adapter", "target_parameters"),
    "aLoRA": (lambda c, t: c.update(alora_invocation_tokens=[1]), "bad-adapter", "token on"),
    "other modules": (lambda c, t: _rename(t, "up_proj", "fc_in"), "adapter-mismatch", "does not have"),
    "other widths": (lambda c, t: _wider(t), "adapter-mismatch", "B·A is"),
    "other layers": (lambda c, t: _rename(t, "layers.1.", "layers.7."), "adapter-mismatch", "layers.7"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_before_a_byte_is_written(trained: Trained, tmp_path: Path, name: str) -> None:
    change, code, text = WRONG[name]
    base, adapter = trained["lora"]
    wrong = put(adapter, change, tmp_path / "wrong")
    with pytest.raises(InputError) as caught:
        api.lora_apply(base, wrong, tmp_path / "out")
    assert set(caught.value.codes) == {code}
    assert text in str(caught.value)
    assert caught.value.exit_code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["wrong"]


def test_all_faults_of_a_configuration_are_told_at_once(trained: Trained, tmp_path: Path) -> None:
    def change(config: dict[str, Any], _: object) -> None:
        config.update(r=0, bias="some", target_parameters=["w"], use_lora2=1, rank_pattern={"(a+)+": 1, "(": 2})

    with pytest.raises(InputError) as caught:
        tensors_of(both(trained["lora"][0], put(trained["lora"][1], change, tmp_path / "wrong")))
    assert len(caught.value.faults) == 6


def test_an_adapter_of_another_architecture_is_refused(trained: Trained) -> None:
    with pytest.raises(InputError, match=r"names there are like `transformer\.h\.0") as caught:
        tensors_of(both(trained["conv1d"][0], trained["lora"][1]))
    assert set(caught.value.codes) == {"adapter-mismatch"}


def test_another_base_of_the_same_shapes_is_a_note(trained: Trained, tmp_path: Path) -> None:
    other = write_base("llama", tmp_path / "other", seed=5)
    result = api.lora_apply(other, trained["lora"][1], tmp_path / "out")
    assert any("was trained on" in note for note in result.notes)


def test_nobody_takes_the_base_for_the_adapted_model(trained: Trained) -> None:
    """What loads a model by its folder must not find the base's."""
    base, adapter = trained["lora"]
    reader = open_checkpoint(both(base, adapter))
    assert reader.folder == adapter
    reader.close()


# --- names


def prefixed(base: Path, folder: Path, rename: Any) -> Path:
    """A base whose tensors have other names."""
    folder.mkdir()
    for file in ("config.json",):
        (folder / file).write_text((base / file).read_text("utf-8"), "utf-8")
    tensors = load_file(base / "model.safetensors")
    save_file({rename(name): values for name, values in tensors.items()}, folder / "model.safetensors")
    return folder


PREFIXES = {
    "taken off": lambda name: name.removeprefix("model."),
    "put before": lambda name: f"language_model.{name}",
    "exchanged": lambda name: name.replace("model.", "model.language_model."),
}


@pytest.mark.parametrize("name", PREFIXES)
def test_a_prefix_of_all_names_is_found(trained: Trained, tmp_path: Path, name: str) -> None:
    base, adapter = trained["lora"]
    rename = PREFIXES[name]
    other = prefixed(base, tmp_path / "other", rename)
    found, wanted = tensors_of(both(other, adapter)), tensors_of(both(base, adapter))
    assert all(torch.equal(found[rename(tensor)], values) for tensor, values in wanted.items())


def test_names_that_could_be_two_towers_are_refused(trained: Trained, tmp_path: Path) -> None:
    base, adapter = trained["lora"]
    other = prefixed(base, tmp_path / "other", lambda name: f"left.{name}")
    tensors = load_file(other / "model.safetensors")
    copies = {name.replace("left.", "right."): values.clone() for name, values in tensors.items()}
    save_file({**tensors, **copies}, other / "model.safetensors")
    with pytest.raises(InputError, match=r"could be left\.model\.layers\.0.* or right\.model\.layers\.0") as caught:
        tensors_of(both(other, adapter))
    assert set(caught.value.codes) == {"adapter-mismatch"}


def test_an_adapter_that_names_itself_as_its_base_ends(trained: Trained, tmp_path: Path) -> None:
    wrong = put(trained["lora"][1], lambda c, t: c.update(base_model_name_or_path="../wrong"), tmp_path / "wrong")
    with pytest.raises(CuveeError) as caught:
        tensors_of(ModelRef(str(wrong)))
    assert caught.value.code == "adapter-input"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="peft|transformers")
        yield


def test_a_state_dict_of_a_running_model_is_told_from_what_peft_writes(tmp_path: Path) -> None:
    _, adapter = write_adapter("lora", tmp_path)
    file = adapter / "adapter_model.safetensors"
    named = {re.sub(r"(lora_[AB])\.weight$", r"\1.default.weight", k): v for k, v in load_file(file).items()}
    save_file(named, file)
    with pytest.raises(InputError, match="whose meaning is known") as caught:
        api.lora_info(adapter)
    assert caught.value.code == "unknown-adapter-key"
    assert "`save_pretrained` writes the file without it" in str(caught.value.faults[0].hint)
