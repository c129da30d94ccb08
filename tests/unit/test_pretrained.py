"""The adapter to transformers: its report from shapes alone equals what really loading says."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from cuvee.errors import InputError, UsageError
from cuvee.families import pretrained

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "vocab_size": 64,
    "max_position_embeddings": 32,
}
LLAMA = {**SMALL, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
CASES = {
    "llama": ("LlamaConfig", LLAMA, "LlamaForCausalLM"),
    "llama tied": ("LlamaConfig", {**LLAMA, "tie_word_embeddings": True}, "LlamaForCausalLM"),
    "bert with a renamed prefix": ("BertConfig", SMALL, "BertForMaskedLM"),
    "experts fused in memory": ("MixtralConfig", {**LLAMA, "num_local_experts": 4}, "MixtralForCausalLM"),
    "three tied embeddings": (
        "T5Config",
        {"d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8, "vocab_size": 64},
        "T5ForConditionalGeneration",
    ),
}


def checkpoint(case: str, folder: Path) -> Path:
    config, settings, cls = CASES[case]
    torch.manual_seed(0)
    pretrained.save(getattr(transformers, cls)(getattr(transformers, config)(**settings)), folder)
    return folder


def damaged(folder: Path, damage: str) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    names = sorted(tensors)
    if damage == "one missing":
        del tensors[names[len(names) // 2]]
    elif damage == "two too many":
        tensors |= {"model.layers.9.self_attn.q_proj.weight": torch.zeros(2, 2), "stranger": torch.zeros(1)}
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)  # of old; Llama models pass it over
    elif damage == "one of another shape":
        tensors[names[-1]] = torch.zeros(3, *tensors[names[-1]].shape[1:])
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("damage", ["none", "one missing", "two too many", "one of another shape"])
@pytest.mark.parametrize("case", CASES)
def test_the_report_is_that_of_really_loading(case: str, damage: str, tmp_path: Path) -> None:
    folder = checkpoint(case, tmp_path / "model")
    damaged(folder, damage)
    cls = getattr(transformers, CASES[case][2])
    with pretrained.quiet(transformers):
        _, told = cls.from_pretrained(str(folder), output_loading_info=True, ignore_mismatched_sizes=True)

    report = pretrained.load_report(folder)

    assert report.architecture == cls.__name__
    assert set(report.missing) == set(told["missing_keys"])
    assert set(report.unexpected) == set(told["unexpected_keys"])
    assert {(m.name, m.found, m.expected) for m in report.mismatched} == {
        (name, tuple(found), tuple(expected)) for name, found, expected in told["mismatched_keys"]
    }
    assert report.clean == (damage == "none")


def test_an_expert_of_another_shape_is_told(tmp_path: Path) -> None:
    folder = checkpoint("experts fused in memory", tmp_path / "model")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(n for n in tensors if ".experts.1.w1" in n)
    save_file({**tensors, name: torch.zeros(5, 32)}, file, metadata={"format": "pt"})
    (failed,) = pretrained.load_report(folder).failed
    assert failed.startswith("model.layers.0.mlp.experts.gate_up_proj: ")
    assert "\n" not in failed


def test_shards_and_legacy_files_are_found(tmp_path: Path) -> None:
    folder = checkpoint("llama", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    for shard, part in (("a.bin", names[:4]), ("b.bin", names[4:-1])):
        torch.save({n: tensors[n] for n in part}, folder / shard)
    index = {"weight_map": {n: "a.bin" if n in names[:4] else "b.bin" for n in names}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert pretrained.load_report(folder).missing == (names[-1],)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    folder = checkpoint("llama", tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError) as caught:
        pretrained.load_report(folder)
    assert caught.value.code == "bad-index"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_type": "no_such_model"}, "bad-config"),
        ({"architectures": ["NoSuchClass"]}, "bad-config"),
        ({"quantization_config": {"quant_method": "fp8"}}, "not-yet"),
    ],
)
def test_configurations_that_cannot_be_judged_are_refused(change: dict, code: str, tmp_path: Path) -> None:
    folder = checkpoint("llama", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError) as caught:
        pretrained.load_report(folder)
    assert caught.value.code == code


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = checkpoint("llama", tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        pretrained.load_report(folder)
    assert caught.value.code == "not-a-checkpoint"


def test_without_transformers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name == "transformers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as caught:
        pretrained.load_causal_lm(tmp_path)
    assert caught.value.code == "missing-extra"
    assert 'pip install "cuvee[demo]"' in str(caught.value)


def test_an_older_transformers_is_refused_where_it_would_answer_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__version__="4.57.1"))
    with pytest.raises(UsageError) as caught:
        pretrained.load_report(tmp_path)
    assert caught.value.code == "missing-extra"
    assert "4.57.1" in str(caught.value)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = pretrained.build_causal_lm({"model_type": "llama", **LLAMA})
    pretrained.save(model, tmp_path / "model")
    again = pretrained.load_causal_lm(tmp_path / "model")
    assert not again.training
    assert {n: v.tolist() for n, v in again.named_parameters()} == {n: v.tolist() for n, v in model.named_parameters()}


def test_settings_of_transformers_are_left_as_they_were() -> None:
    log = transformers.utils.logging
    usual = log.get_verbosity()
    log.set_verbosity_info()
    log.enable_progress_bar()
    with pretrained.quiet(transformers):
        assert log.get_verbosity() == log.ERROR
        assert not log.is_progress_bar_enabled()
    assert log.get_verbosity() == log.INFO
    assert log.is_progress_bar_enabled()
    log.set_verbosity(usual)
