"""Real adapters: tiny models of transformers, and what peft trains on them in a few steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 48
LENGTH = 12

SIZES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "gpt2": {
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "vocab_size": VOCABULARY,
        "n_positions": LENGTH,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "bert": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": VOCABULARY,
        "num_labels": 3,
    },
}
"""Settings of the tiny models, by kind."""

ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("llama", {"r": 4, "target_modules": ["q_proj", "up_proj"], "rank_pattern": {"q_proj": 2}}),
    "alphas": (
        "llama",
        {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "alpha_pattern": {r"layers.1.*v_proj": 3}},
    ),
    "rslora": ("llama", {"r": 4, "target_modules": "all-linear", "use_rslora": True}),
    "dora": ("llama", {"r": 4, "target_modules": ["o_proj", "down_proj"], "use_dora": True}),
    "saved": ("llama", {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]}),
    "embedding": ("llama", {"r": 2, "target_modules": ["embed_tokens", "q_proj"]}),
    "tokens": ("llama", {"r": 2, "target_modules": ["v_proj"], "trainable_token_indices": [3, 40, 7]}),
    "layers": ("llama", {"r": 2, "target_modules": ["q_proj"], "layers_to_transform": [1]}),
    "conv1d": ("gpt2", {"r": 4, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True, "bias": "lora_only"}),
    "conv1d-dora": ("gpt2", {"r": 4, "target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True, "use_dora": True}),
    "head": ("bert", {"r": 4, "target_modules": ["query", "value"], "task_type": "SEQ_CLS", "bias": "all"}),
    "lora-bias": ("bert", {"r": 2, "target_modules": ["query", "dense"], "lora_bias": True, "task_type": "SEQ_CLS"}),
}
"""Adapters by name: the kind of their base, and peft's settings."""


@contextmanager
def unwarned() -> Iterator[None]:
    """Without the advice that both libraries give of tiny models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_base(kind: str, folder: Path, *, seed: int = 0, dtype: str = "float32", **changed: Any) -> Path:
    """A tiny model of a kind with random weights, whose norms and biases are not what all begin with."""
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    classes: dict[str, tuple[Any, Any]] = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "gpt2": (GPT2Config, GPT2LMHeadModel),
        "bert": (BertConfig, BertForSequenceClassification),
    }
    config, model = classes[kind]
    torch.manual_seed(seed)
    with unwarned():
        made = model(config(**{**SIZES[kind], **changed}))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        made.to(getattr(torch, dtype)).save_pretrained(str(folder))
    return folder


def load_base(folder: Path, dtype: str = "float32") -> Any:
    """The model of a folder, of the class that its configuration names, in evaluation mode."""
    import transformers

    with unwarned():
        config = transformers.AutoConfig.from_pretrained(str(folder))
        cls = getattr(transformers, config.architectures[0])
        return cls.from_pretrained(str(folder), dtype=getattr(torch, dtype)).eval()


def train_adapter(base: Path, folder: Path, *, seed: int = 0, steps: int = 4, **settings: Any) -> Path:
    """An adapter that peft trained for a few steps on random tokens, written as peft writes one."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    with unwarned():
        model = get_peft_model(load_base(base), LoraConfig(**settings))
        _train(model, steps)
        model.save_pretrained(str(folder))
    return folder


def write_adapter(name: str, folder: Path, *, seed: int = 0, **changed: Any) -> tuple[Path, Path]:
    """One of `ADAPTERS` and its base, in `folder/base` and `folder/adapter`."""
    kind, settings = ADAPTERS[name]
    base = write_base(kind, folder / "base", seed=seed)
    return base, train_adapter(base, folder / "adapter", seed=seed, **{**settings, **changed})


def merged_by_peft(base: Path, adapter: Path, dtype: str = "float32") -> Any:
    """The base with the adapter merged by peft's own `merge_and_unload`."""
    from peft import PeftModel

    with unwarned():
        return PeftModel.from_pretrained(load_base(base, dtype), str(adapter)).merge_and_unload().eval()


def logits(model: Any) -> torch.Tensor:
    """What a model makes of a few fixed tokens."""
    ids = torch.arange(2 * LENGTH).reshape(2, LENGTH) % VOCABULARY
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids).logits
    return found


def _train(model: Any, steps: int) -> None:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.02)
    for _ in range(steps):
        ids = torch.randint(3, VOCABULARY, (4, LENGTH))
        labels = torch.randint(0, 3, (4,)) if hasattr(model.config, "problem_type") and _is_classifier(model) else ids
        optimiser.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()


def _is_classifier(model: Any) -> bool:
    return str(model.config.architectures[0]).endswith("ForSequenceClassification")
