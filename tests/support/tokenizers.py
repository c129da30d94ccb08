"""Tokenizers trained on a few sentences: byte-level BPE, BPE with byte fallback, Unigram and WordPiece."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ENGLISH = (
    "the quick brown fox jumps over the lazy dog and runs back to the river",
    "merging models is a way of joining what they have learned without training",
    "a tokenizer divides a text into the pieces that a model has seen before",
    "the river runs over the stones and the dog watches the water all day long",
) * 5
CODE = (
    "def merge_models(models, weights): return sum(w * m for m, w in zip(models, weights))",
    "for index, value in enumerate(values): print(index, value)",
    "class Tokenizer: def __init__(self, vocab): self.vocab = vocab",
    "import numpy as np; result = np.zeros((len(values), len(weights)))",
) * 5
GERMAN = (
    "der schnelle braune Fuchs springt über den faulen Hund und läuft zurück zum Fluss",
    "ein Modell verschmelzen heißt verbinden was beide gelernt haben ohne zu lernen",
    "das Wasser fließt über die Steine und der Hund schaut den ganzen Tag lang zu",
) * 5


def byte_level(texts: Iterable[str], size: int = 400, specials: Sequence[str] = ("<|end|>",)) -> Any:
    """BPE over bytes, as GPT-2, Llama 3 and Qwen have it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def byte_fallback(texts: Iterable[str], size: int = 500, specials: Sequence[str] = ("<unk>", "<s>", "</s>")) -> Any:
    """BPE over letters with byte fallback, as Llama 2, Mistral and Gemma have it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    pieces = [*specials, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=pieces, show_progress=False, max_token_length=12)
    made.train_from_iterator([word for text in texts for word in text.split()], trainer)
    return _with_only(made, specials)


def unigram(texts: Iterable[str], size: int = 200, specials: Sequence[str] = ("<unk>", "<s>", "</s>")) -> Any:
    """Unigram over text with `▁` for blanks, as T5 and XLM-R have it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(specials), unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def wordpiece(
    texts: Iterable[str], size: int = 200, specials: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
) -> Any:
    """WordPiece, as BERT has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False)
    made.train_from_iterator(texts, trainer)
    return made


def _with_only(made: Any, specials: Sequence[str]) -> Any:
    """The tokenizer with bytes as ordinary pieces: the trainer makes added tokens of them."""
    import json

    from tokenizers import Tokenizer

    data = json.loads(made.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] in specials]
    return Tokenizer.from_str(json.dumps(data))


def save(folder: Path, tokenizer: Any, *, template: str | None = None, **roles: Any) -> Path:
    """Write the files of a tokenizer as transformers does; `roles` are `eos_token="…"` and the like."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)
    if template is not None:
        wrapped.chat_template = template
    folder.mkdir(parents=True, exist_ok=True)
    wrapped.save_pretrained(folder)
    return folder
