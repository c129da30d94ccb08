"""Small real models with tokenizers trained here, and calibration data for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

from cuvee.families import pretrained

TEXTS = (
    "the cellar is cold and the wine is young",
    "a blend of three wines",
    "oak",
    "the wine of the north is dry and pale and long",
    "sweet wine, dry wine, and the wine between",
)
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 32,
}
LLAMA = {**SMALL, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT2 = {
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "vocab_size": 96,
    "n_positions": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CASES: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**LLAMA, "tie_word_embeddings": False}),
    "llama tied": ("LlamaForCausalLM", "LlamaConfig", {**LLAMA, "tie_word_embeddings": True}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "bert classifier": ("BertForSequenceClassification", "BertConfig", {**SMALL, "num_labels": 3}),
    "bert of five classes": ("BertForSequenceClassification", "BertConfig", {**SMALL, "num_labels": 5}),
    "bert masked": ("BertForMaskedLM", "BertConfig", SMALL),
    "bert bare": ("BertModel", "BertConfig", SMALL),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**LLAMA, "num_local_experts": 4}),
}


def make_model(folder: Path, case: str, seed: int = 0, *, tokenizer: bool = True) -> Path:
    """A checkpoint folder of a small model with random weights."""
    cls, config, settings = CASES[case]
    torch.manual_seed(seed)
    model = getattr(transformers, cls)(getattr(transformers, config)(**settings))
    with torch.no_grad():
        for parameter in model.parameters():  # norms of ones and biases of nought would hide mistakes
            parameter.add_(0.1 * torch.randn(parameter.shape))
    pretrained.save(model, folder)
    if tokenizer:
        make_tokenizer().save_pretrained(str(folder))
    return folder


def make_tokenizer() -> Any:
    """A tokenizer of bytes and a few merges, trained on `TEXTS`; it begins and ends a text as BERT does."""
    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.BPEDecoder()
    special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=90, special_tokens=special))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", **names)


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def texts(path: Path, *, labels: bool = False) -> Path:
    """`TEXTS` as JSON lines."""
    return write_lines(path, [{"text": text, **({"label": i % 3} if labels else {})} for i, text in enumerate(TEXTS)])


def tokens_of(folder: Path) -> list[Tensor]:
    """The token numbers of `TEXTS`, each `[1, T]`."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    return [torch.tensor([tokenizer(text)["input_ids"]]) for text in TEXTS]


def load(folder: Path) -> Any:
    """The model of a folder, in float32."""
    cls = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    with pretrained.quiet(transformers):
        return cls.from_pretrained(str(folder), dtype="float32")


def weights(folder: Path) -> dict[str, Tensor]:
    """What lies on disk."""
    return load_file(folder / "model.safetensors")
