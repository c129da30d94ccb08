"""Tiny real checkpoints of many architectures, built and written by transformers itself.

Every model is drawn anew from its seed, norms and biases too: a tensor that keeps the constant its class starts it
with would hide that it was lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.support import zoo_configs as configs
from tests.support import zoo_inputs as inputs

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

Account = Mapping[str, Any]
Outputs = tuple[Tensor, ...]
LAYERS = 2
NOISE = 0.1
BARE = "weights.safetensors"
PYTORCH = {"format": "pt"}
"""Metadata transformers asks of a safetensors file."""


@dataclass(frozen=True)
class Entry:
    """One architecture.

    Attributes:
        name: its key in `ZOO`.
        build: from a seed, a number of layers and changed settings to a model in eval mode.
        write: stores a model as its users would and returns the path a recipe calls it by.
        load: the model read back, with transformers' account of missing, unexpected and mismatched keys.
        logits: every tensor the model answers the fixed input with.
    """

    name: str
    build: Callable[..., nn.Module]
    write: Callable[[nn.Module, Path], Path]
    load: Callable[[Path], tuple[nn.Module, Account]]
    logits: Callable[[nn.Module], Outputs]


@dataclass(frozen=True)
class Cellar:
    """Stored models under one folder, each made when it is first asked for."""

    root: Path

    def model(self, name: str, seed: int, layers: int = LAYERS) -> Path:
        """The path of a stored model of the zoo."""
        folder = self.root / f"{name}-{layers}-{seed}"
        if not folder.exists():
            save(ZOO[name], seed, folder, layers)
        return folder / BARE if ZOO[name] is PLAIN else folder


def save(entry: Entry, seed: int, folder: Path, layers: int = LAYERS) -> Path:
    """Build and store a model; returns the path a recipe calls it by."""
    return entry.write(entry.build(seed, layers), folder)


def of_transformers(
    name: str,
    model: str,
    config: str,
    settings: Callable[[int], dict[str, Any]],
    example: Callable[[], inputs.Inputs],
    finish: Callable[[Any], Any] = lambda model: model,
) -> Entry:
    """An entry for a transformers class, named as strings so that making the table imports no model code."""

    def make(arguments: dict[str, Any]) -> Any:
        return finish(getattr(transformers, model)(getattr(transformers, config)(**arguments)))

    def load(folder: Path) -> tuple[nn.Module, Account]:
        loaded, account = getattr(transformers, model).from_pretrained(folder, output_loading_info=True)
        return loaded.eval(), account

    def build(seed: int, layers: int = LAYERS, **changes: Any) -> nn.Module:
        return seeded(lambda: make(settings(layers) | changes), seed)

    return Entry(name, build, write_pretrained, load, lambda loaded: run(loaded, example()))


def with_own_head(model: Any) -> Any:
    """Untie the head: T5 1.1 stores one, though transformers writes a configuration that calls it tied."""
    model.lm_head.weight = nn.Parameter(torch.zeros_like(model.lm_head.weight))
    return model


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A model whose every stored floating tensor is random, in eval mode; the global generator is left alone."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = make().eval()
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape) * NOISE
                tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return model


def run(model: nn.Module, example: inputs.Inputs) -> Outputs:
    """The tensors of a model's answer."""
    with torch.inference_mode():
        answer = model(**example)
    parts = (answer,) if isinstance(answer, Tensor) else answer.to_tuple()
    return tuple(part for part in parts if isinstance(part, Tensor))


def write_pretrained(model: Any, folder: Path) -> Path:
    """One safetensors file, `config.json` and, for models that generate, `generation_config.json`."""
    model.save_pretrained(folder)
    return folder


def write_sharded(model: Any, folder: Path) -> Path:
    """Several safetensors shards and their index."""
    model.save_pretrained(folder, max_shard_size="8KB")
    return folder


def write_legacy(model: Any, folder: Path) -> Path:
    """The folder as older tools wrote it: one pickle, tied tensors stored under both names."""
    write_pretrained(model, folder)
    tensors = stored(folder)
    tied = {name: tensors[twin] for name, twin in ties_of(model).items() if twin in tensors}
    torch.save({**tensors, **tied}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def write_bare(model: nn.Module, folder: Path) -> Path:
    """A single file of tensors, no configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / BARE)
    return folder / BARE


def ties_of(model: Any) -> dict[str, str]:
    """Tied names and the name they share their tensor with."""
    return dict(model.all_tied_weights_keys)


def write_by_hand(like: Path, tensors: Mapping[str, Tensor], folder: Path, **changes: Any) -> Path:
    """A folder with the given tensors and another folder's configuration, some of its keys changed."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads((like / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(settings, indent=2))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors", PYTORCH)
    return folder


def stored(source: Path) -> dict[str, Tensor]:
    """Every tensor on disk by its stored name, of one file or of all safetensors files of a folder."""
    tensors: dict[str, Tensor] = {}
    for file in [source] if source.is_file() else sorted(source.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def write_tokenizer(folder: Path) -> None:
    """A small byte-level tokenizer, in the files that `AutoTokenizer` reads."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words = ["merge the models", "blend the wines", "hello world"]
    special = ["<pad>", "<s>", "</s>"]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=configs.VOCABULARY, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = dict(zip(["pad_token", "bos_token", "eos_token"], special))
    (folder / "special_tokens_map.json").write_text(json.dumps(roles, indent=2))
    settings = {**roles, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def plain_network() -> nn.Module:
    """A network transformers knows nothing of, with the batch norm's float buffers and its integer one."""
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def load_plain(source: Path) -> tuple[nn.Module, Account]:
    """The plain network with the tensors of a file or folder."""
    model = plain_network()
    missing, unexpected = model.load_state_dict(stored(source), strict=False)
    return model.eval(), {"missing_keys": missing, "unexpected_keys": unexpected, "mismatched_keys": []}


PLAIN = Entry(
    "plain state dict",
    lambda seed, layers=LAYERS: seeded(plain_network, seed),
    write_bare,
    load_plain,
    lambda model: run(model, inputs.rows()),
)

_TABLE: tuple[Entry, ...] = (
    of_transformers("llama", "LlamaForCausalLM", "LlamaConfig", configs.decoder, inputs.words),
    of_transformers("llama with biases", "LlamaForCausalLM", "LlamaConfig", configs.llama_biased, inputs.words),
    of_transformers("mistral", "MistralForCausalLM", "MistralConfig", configs.mistral, inputs.words),
    of_transformers("qwen2", "Qwen2ForCausalLM", "Qwen2Config", configs.qwen2, inputs.words),
    of_transformers("qwen3", "Qwen3ForCausalLM", "Qwen3Config", configs.qwen3, inputs.words),
    of_transformers(
        "qwen2-vl", "Qwen2VLForConditionalGeneration", "Qwen2VLConfig", configs.qwen2_vl, inputs.words_with_patches
    ),
    of_transformers(
        "qwen2.5-vl",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen2_5_VLConfig",
        configs.qwen2_5_vl,
        inputs.words_with_patches,
    ),
    of_transformers("gemma2", "Gemma2ForCausalLM", "Gemma2Config", configs.gemma2, inputs.words),
    of_transformers("gemma3 text", "Gemma3ForCausalLM", "Gemma3TextConfig", configs.gemma3_text, inputs.words),
    of_transformers(
        "gemma3", "Gemma3ForConditionalGeneration", "Gemma3Config", configs.gemma3, inputs.words_with_picture
    ),
    of_transformers("phi", "PhiForCausalLM", "PhiConfig", configs.decoder, inputs.words),
    of_transformers("phi3", "Phi3ForCausalLM", "Phi3Config", configs.phi3, inputs.words),
    of_transformers("cohere2", "Cohere2ForCausalLM", "Cohere2Config", configs.cohere2, inputs.words),
    of_transformers("olmo2", "Olmo2ForCausalLM", "Olmo2Config", configs.decoder, inputs.words),
    of_transformers("gpt2", "GPT2LMHeadModel", "GPT2Config", configs.gpt2, inputs.words),
    of_transformers("gpt-neox", "GPTNeoXForCausalLM", "GPTNeoXConfig", configs.gpt_neox, inputs.words),
    of_transformers("falcon 7b", "FalconForCausalLM", "FalconConfig", configs.falcon_7b, inputs.words),
    of_transformers("falcon 40b", "FalconForCausalLM", "FalconConfig", configs.falcon_40b, inputs.words),
    of_transformers("bert", "BertModel", "BertConfig", configs.bert, inputs.words),
    of_transformers("bert masked", "BertForMaskedLM", "BertConfig", configs.bert, inputs.words),
    of_transformers("bert classifier", "BertForSequenceClassification", "BertConfig", configs.bert, inputs.words),
    of_transformers("roberta", "RobertaModel", "RobertaConfig", configs.roberta, inputs.words),
    of_transformers("roberta masked", "RobertaForMaskedLM", "RobertaConfig", configs.roberta, inputs.words),
    of_transformers(
        "roberta classifier", "RobertaForSequenceClassification", "RobertaConfig", configs.roberta, inputs.words
    ),
    of_transformers("distilbert", "DistilBertModel", "DistilBertConfig", configs.distilbert, inputs.words),
    of_transformers("modernbert", "ModernBertForMaskedLM", "ModernBertConfig", configs.modernbert, inputs.words),
    of_transformers("t5", "T5ForConditionalGeneration", "T5Config", configs.t5, inputs.words_and_answer),
    of_transformers(
        "t5 gated",
        "T5ForConditionalGeneration",
        "T5Config",
        configs.t5_gated,
        inputs.words_and_answer,
        finish=with_own_head,
    ),
    of_transformers("vit", "ViTForImageClassification", "ViTConfig", configs.vit, inputs.picture),
    of_transformers("clip", "CLIPModel", "CLIPConfig", configs.clip, inputs.picture_and_caption),
    of_transformers("llava", "LlavaForConditionalGeneration", "LlavaConfig", configs.llava, inputs.words_with_picture),
    of_transformers("whisper", "WhisperForConditionalGeneration", "WhisperConfig", configs.whisper, inputs.spectrum),
    of_transformers("wav2vec2", "Wav2Vec2ForCTC", "Wav2Vec2Config", configs.wav2vec2, inputs.sound),
    of_transformers("mixtral", "MixtralForCausalLM", "MixtralConfig", configs.mixtral, inputs.words),
    of_transformers("qwen3-moe", "Qwen3MoeForCausalLM", "Qwen3MoeConfig", configs.qwen3_moe, inputs.words),
    of_transformers("deepseek-v3", "DeepseekV3ForCausalLM", "DeepseekV3Config", configs.deepseek_v3, inputs.words),
    of_transformers("gpt-oss", "GptOssForCausalLM", "GptOssConfig", configs.gpt_oss, inputs.words),
    PLAIN,
)

ZOO: Mapping[str, Entry] = {entry.name: entry for entry in _TABLE}
