"""Does a transplanted tokenizer work at once? A small model with another tokenizer, by every way to find its rows.

    python benchmarks/transplant.py [--seeds 0 1 2] [--steps 1200] [--out benchmarks/results]

Texts are sentences of a small grammar: classes of made-up words follow one another by a chain, and words of a class are
used alike. Model and donor are trained from other beginnings, on other texts with other common words, with other
tokenizers: byte-level BPE with few tokens, and Unigram with more. What counts is the perplexity per byte on sentences
that nobody was trained on, because tokenizers cut texts into other numbers of tokens. A few minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tokenizers
import torch
import transformers

import cuvee
from cuvee.families import pretrained

CLASSES, WORDS, LENGTH, BATCH = 6, 24, 48, 32
SIZES: Final = {"model": 300, "donor": 320}
"""Tokens of the two tokenizers."""
WAYS: Final = ("omp", "common-interpolation", "subword-mean", "mean", "zero")
START: Final = "<s>"


def words(seed: int) -> list[list[str]]:
    """The words of every class."""
    rng = random.Random(f"words/{seed}")
    made: dict[str, None] = {}
    while len(made) < CLASSES * WORDS:
        made["".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))] = None
    flat = list(made)
    return [flat[i::CLASSES] for i in range(CLASSES)]


def texts(seed: int, part: str, count: int) -> list[str]:
    """Sentences of the grammar; which words of a class are common is another matter in each part of the data."""
    known, rng = words(seed), random.Random(f"{part}/{seed}")
    common = random.Random(f"common/{part.split('-')[0]}/{seed}")
    order = [common.sample(one, len(one)) for one in known]
    weights = [1 / (1 + i) for i in range(WORDS)]
    found = []
    for _ in range(count):
        kind, sentence = rng.randrange(CLASSES), []
        for _ in range(rng.randint(6, 14)):
            sentence.append(rng.choices(order[kind], weights)[0])
            kind = rng.choices([(kind + 1) % CLASSES, (kind + 3) % CLASSES], [0.8, 0.2])[0]
        found.append(" ".join(sentence) + ".")
    return found


def tokenizer_of(who: str, lines: Sequence[str]) -> Any:
    """A tokenizer trained on texts: byte-level BPE for the model, Unigram for the donor."""
    if who == "model":
        made = tokenizers.Tokenizer(tokenizers.models.BPE())
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=SIZES[who], special_tokens=[START], show_progress=False)
    else:
        made = tokenizers.Tokenizer(tokenizers.models.Unigram())
        made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="never")
        made.decoder = tokenizers.decoders.Metaspace(prepend_scheme="never")
        trainer = tokenizers.trainers.UnigramTrainer(
            vocab_size=SIZES[who], special_tokens=["<unk>", START], unk_token="<unk>", show_progress=False
        )
    made.train_from_iterator(lines, trainer)
    extra = {} if who == "model" else {"unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token=START, eos_token=START, **extra)


def stream(tokenizer: Any, lines: Sequence[str]) -> torch.Tensor:
    """Texts one after the other, each begun by the start token."""
    return torch.tensor([i for ids in tokenizer([START + line for line in lines])["input_ids"] for i in ids])


def train(tokenizer: Any, lines: Sequence[str], *, steps: int, seed: int, width: int) -> Any:
    """A language model of two layers."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model, ids = transformers.LlamaForCausalLM(config), stream(tokenizer, lines)
    adam = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps)
    rng = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        starts = torch.randint(len(ids) - LENGTH, (BATCH,), generator=rng)
        batch = ids[starts[:, None] + torch.arange(LENGTH)]
        loss = model(input_ids=batch, labels=batch).loss
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        plan.step()
    return model.eval()


@torch.no_grad()
def perplexity(folder: Path, lines: Sequence[str]) -> float:
    """exp of the mean negative log-likelihood per byte, of every sentence on its own."""
    model = pretrained.load_causal_lm(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    nats = 0.0
    for line in lines:
        ids = torch.tensor([tokenizer(START + line)["input_ids"]])
        nats += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
    return math.exp(nats / sum(len(line.encode()) for line in lines))


def write_pair(folder: Path, seed: int, steps: int) -> tuple[Path, Path]:
    """Model and donor, trained."""
    for who, width in (("model", 64), ("donor", 96)):
        lines = texts(seed, who, 4000)
        tokenizer = tokenizer_of(who, lines)
        made = train(tokenizer, lines, steps=steps, seed=2 * seed + (who == "donor"), width=width)
        pretrained.save(made, folder / who)
        tokenizer.save_pretrained(str(folder / who))
    return folder / "model", folder / "donor"


def measure(folder: Path, seed: int, steps: int, *, ways: Sequence[str] = WAYS, k: int = 8) -> dict[str, Any]:
    """Perplexity per byte on held-out sentences of the model's kind: before, after every way, and of the donor."""
    model, donor = write_pair(folder, seed, steps)
    lines = texts(seed, "model-held", 200)
    found: dict[str, Any] = {"before": perplexity(model, lines), "donor": perplexity(donor, lines)}
    for way in ways:
        start = time.perf_counter()
        result = cuvee.transplant(model, donor, folder / way, method=way, k=k, overwrite=True)
        found[way] = perplexity(folder / way, lines)
        found[f"{way} seconds"] = round(time.perf_counter() - start, 2)
        found["rows"] = {"exact": result.exact, "by role": len(result.by_role), "new": result.approximated}
    return found


def recovered(found: Mapping[str, float], way: str) -> float:
    """Share of what `mean` loses, in nats per byte, that a way does not."""
    before, mean, own = (math.log(found[key]) for key in ("before", "mean", way))
    return (mean - own) / (mean - before)


def page(runs: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> str:
    """The figures as a page."""
    rows = []
    for way in ("before", *WAYS, "donor"):
        values = [run[way] for run in runs]
        kept = [recovered(run, way) for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        share = "" if way == "donor" else f"{statistics.mean(kept):.2f}"
        rows.append(f"| {way} | {statistics.mean(values):.3f} ± {spread:.3f} | {share} |")
    counts = [f"{run['rows']['exact']} + {run['rows']['by role']} copied, {run['rows']['new']} new" for run in runs]
    return "\n".join(
        [
            "# Transplanting a tokenizer",
            "",
            f"A Llama of two layers, 64 wide, with a byte-level BPE of {SIZES['model']} tokens gets the Unigram one "
            f"({SIZES['donor']} tokens) of another one, 96 wide; both trained for {asked['steps']} steps, k = "
            f"{asked['k']}, nothing tuned afterwards. Perplexity per byte on 200 sentences nobody was trained on, mean "
            f"and standard deviation over seeds {', '.join(map(str, asked['seeds']))}; share of the loss of `mean` (in "
            f"nats per byte) that is not lost. Rows: {'; '.join(counts)}. Made by `benchmarks/transplant.py`.",
            "",
            "| rows of new tokens | perplexity per byte | recovered |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("-k", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    asked = parser.parse_args()
    runs = []
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as work:
            runs.append(measure(Path(work), seed, asked.steps, k=asked.k))
    said = {"seeds": asked.seeds, "steps": asked.steps, "k": asked.k}
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "transplant.json").write_text(json.dumps({**said, "runs": runs}, indent=1) + "\n")
    (asked.out / "transplant.md").write_text(page(runs, said))
    print(page(runs, said))
    return 0 if all(recovered(run, "omp") > 0.5 for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
