"""What models that write together cost: with and without a cache, beside one model alone; and permuted vocabularies.

    python benchmarks/ensembles/tokens.py [--tokens 64] [--repeats 3] [--out benchmarks/results]

Two random Llamas of a few million parameters over a byte-level vocabulary of 4096 tokens write behind eight prompts of
different lengths. Times are ratios of medians of repeats that take turns, taken in one run. Writes
`ensemble-tokens.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cuvee.generate import TokenEnsemble

RESULTS = Path(__file__).parents[1] / "results"
VOCABULARY = 4096
PROMPTS = [" ".join(f"w{i * k % 97}" for i in range(4 + 4 * k)) for k in range(8)]


@dataclass(frozen=True)
class Bar:
    """What was to be shown."""

    what: str
    value: float
    how: str
    limit: float

    @property
    def kept(self) -> bool:
        return self.value == self.limit if self.how == "=" else self.value <= self.limit


def tokenizer(order: Sequence[int] | None = None) -> PreTrainedTokenizerFast:
    """Bytes, and pairs of letters until there are enough; in another order of ids."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = [one for one in letters if one.isascii() and one.isalnum()]
    pairs = [(a, b) for a in ["Ġ", *plain] for b in plain][: VOCABULARY - 256 - 2]
    words = ["<s>", "</s>", *letters, *(a + b for a, b in pairs)]
    words += [f"<{i}>" for i in range(VOCABULARY - len(words))]
    place = list(order or range(VOCABULARY))
    made = Tokenizer(models.BPE({word: place[i] for i, word in enumerate(words)}, pairs))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def model(seed: int, tokens: int) -> LlamaForCausalLM:
    """A Llama whose weights come from a seed; it never ends a text."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        intermediate_size=512,
        max_position_embeddings=1024 + tokens,
        eos_token_id=None,
    )
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        made.lm_head.weight.mul_(8)
        made.lm_head.weight[1] = 0  # the end: half a chance in thousands
    return made


def reordered(first: LlamaForCausalLM, order: Sequence[int], tokens: int) -> LlamaForCausalLM:
    """The same model for the same tokens under other ids."""
    other = model(0, tokens)
    other.load_state_dict(first.state_dict())
    at = torch.tensor(order)
    with torch.no_grad():
        for mine, theirs in (
            (other.model.embed_tokens.weight, first.model.embed_tokens.weight),
            (other.lm_head.weight, first.lm_head.weight),
        ):
            mine[at] = theirs
    return other


def taken_in_turns(jobs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each; what is slow for a while is slow for all."""
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - began)
    return {name: median(own) for name, own in seconds.items()}


def difference(first: LlamaForCausalLM, other: LlamaForCausalLM, order: Sequence[int]) -> tuple[float, float]:
    """Largest difference of next-token probabilities, mapped and by ids alone, behind all prompts."""
    mapped, by_id = 0.0, 0.0
    both = TokenEnsemble([(first, tokenizer()), (other, tokenizer(order))], align="permuted")
    for prompt in PROMPTS:
        ids = tokenizer()(prompt, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = [first(ids).logits[:, -1], other(torch.tensor(order)[ids]).logits[:, -1]]
        stack, _ = both._way.candidates(logits, [])
        mapped = max(mapped, float((stack[0] - stack[1]).abs().max()))
        plain = [one.double().softmax(-1) for one in logits]
        by_id = max(by_id, float((plain[0] - plain[1]).abs().max()))
    return mapped, by_id


def measured(tokens: int, repeats: int) -> tuple[dict[str, float], list[Bar]]:
    first, second = model(0, tokens), model(1, tokens)
    one, two = (first, tokenizer()), (second, tokenizer())
    ways = {
        "one model": TokenEnsemble([one]),
        "two models": TokenEnsemble([one, two]),
        "two models, no cache": TokenEnsemble([one, two], cache=False),
        "two models, union of likeliest tokens": TokenEnsemble([one, two], align="topk_union"),
    }
    jobs: dict[str, Callable[[], Any]] = {
        name: (lambda way=way: way.generate(PROMPTS, max_new_tokens=tokens)) for name, way in ways.items()
    }
    rows = tokenizer()(PROMPTS[-1:], return_tensors="pt")["input_ids"].repeat(len(PROMPTS), 1)
    fixed = {"do_sample": False, "max_new_tokens": tokens, "min_new_tokens": tokens, "pad_token_id": 1}
    jobs["one model, transformers' generate"] = lambda: first.generate(
        rows, attention_mask=torch.ones_like(rows), **fixed
    )
    seconds = taken_in_turns(jobs, repeats)
    order = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(0)).tolist()
    mapped, by_id = difference(first, reordered(first, order, tokens), order)
    same = [a.generate(PROMPTS, max_new_tokens=tokens).texts for a in list(ways.values())[1:3]]
    figures = {
        **{f"seconds, {name}": own for name, own in seconds.items()},
        "cache on / off": seconds["two models"] / seconds["two models, no cache"],
        "two models / one": seconds["two models"] / seconds["one model"],
        "union / direct": seconds["two models, union of likeliest tokens"] / seconds["two models"],
        "one model, ours / transformers'": seconds["one model"] / seconds["one model, transformers' generate"],
        "permuted vocabulary, mapped: largest difference": mapped,
        "permuted vocabulary, by ids: largest difference of probabilities": by_id,
        "texts that the cache changed": float(sum(a != b for a, b in zip(*same, strict=True))),
    }
    bars = [
        Bar("permuted vocabulary, mapped: largest difference", mapped, "=", 0.0),
        Bar("texts that the cache changed", figures["texts that the cache changed"], "=", 0.0),
        Bar("cache on / off", figures["cache on / off"], "≤", 0.6),
        Bar("two models / one", figures["two models / one"], "≤", 2.4),
    ]
    return figures, bars


def page(figures: Mapping[str, float], bars: Sequence[Bar], tokens: int) -> str:
    lines = ["# Models that write together", "", f"Eight prompts, {tokens} tokens each, greedy, one thread.", ""]
    lines += [
        "| figure | measured |",
        "| --- | ---: |",
        *(f"| {name} | {value:.4g} |" for name, value in figures.items()),
    ]
    lines += ["", "| bar | measured | asked | kept |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {b.what} | {b.value:.4g} | {b.how} {b.limit:g} | {'yes' if b.kept else '**no**'} |" for b in bars]
    return "\n".join([*lines, "", "Made by `benchmarks/ensembles/tokens.py`."]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    torch.set_num_threads(1)
    figures, bars = measured(asked.tokens, asked.repeats)
    text = page(figures, bars, asked.tokens)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "ensemble-tokens.md").write_text(text)
    data = {"tokens": asked.tokens, "repeats": asked.repeats, "figures": figures}
    (asked.out / "ensemble-tokens.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    print(text)
    return 0 if all(bar.kept for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
