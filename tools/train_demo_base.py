"""Make the demo's base again: `python tools/train_demo_base.py [--out FOLDER]`.

Two stages, as for large models. Pre-training on web text teaches a small Llama all skills, in forms other than the one
it will be asked in; instruction tuning on eight other skills teaches it that form, and to heed a skill's word in it.
It then half knows the specialists' skills, and that is what makes its fine-tunes mergeable.

Everything is seeded and runs on one thread: the same versions on the same kind of machine give the same bytes. It takes
seven minutes on an idle processor, and writes the checkpoint folder, a word-level tokenizer in it, and, beside it,
`base_scores.json`.
"""

import argparse
import json
import shutil
import sys
import time
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from cuvee.demo.score import judge, share
from cuvee.demo.skills import INSTRUCTION_SKILLS, SKILLS, VOCABULARY, WIDTH, items, lesson, web_text
from cuvee.demo.specialists import BASE
from cuvee.demo.train import Schedule, one_thread, train
from cuvee.families import pretrained

SEED = 1
PRE_TRAINING = Schedule(steps=4000, batch=96, rate=2e-3, warm_up=100)
INSTRUCTION_TUNING = Schedule(steps=100, batch=64, rate=1e-3, warm_up=20)
CONFIG = {
    "model_type": "llama",
    "vocab_size": len(VOCABULARY),
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXAM_SEED, EXAM_ITEMS = 20_000, 200


def trained(seed, pre_training=PRE_TRAINING, instruction_tuning=INSTRUCTION_TUNING):
    """The base model, rounded to bfloat16."""
    torch.manual_seed(seed)
    model = pretrained.build_causal_lm(CONFIG)
    train(model, web_text, pre_training, f"{seed}/web text", ticker("pre-training", pre_training))
    lessons = partial(lesson, INSTRUCTION_SKILLS)
    train(model, lessons, instruction_tuning, f"{seed}/instructions", ticker("instruction tuning", instruction_tuning))
    return model.to(torch.bfloat16)


def ticker(stage, schedule):
    """Print how far a stage is, now and then."""
    start = time.perf_counter()

    def tell(step):
        if step % 100 == 0 or step == schedule.steps:
            print(f"{stage}: {step} of {schedule.steps} steps, {time.perf_counter() - start:.0f} s", file=sys.stderr)

    return tell


def tokenizer():
    """A tokenizer of whole words parted by spaces, which puts `<bos>` in front."""
    words = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return words


def write_tokenizer(folder):
    """Write `tokenizer.json` and what transformers wants to know beside it."""
    tokenizer().save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "model_max_length": CONFIG["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def scores(model):
    """Exact match on test items of every skill, in the instruction form."""
    exam = {word: items(word, "test", EXAM_ITEMS, EXAM_SEED) for word in SKILLS}
    return {word: share(hits) for word, hits in judge(model, exam).items()}


def main():
    parser = argparse.ArgumentParser(description="Make the demo's base again.")
    parser.add_argument("--out", type=Path, default=BASE, help="the folder to write (default: the one in the package)")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    assert CONFIG["max_position_embeddings"] >= WIDTH
    with one_thread():
        model = trained(options.seed)
        if options.out.exists():
            shutil.rmtree(options.out)
        options.out.mkdir(parents=True)
        pretrained.save(model, options.out)
        write_tokenizer(options.out)
        found = scores(pretrained.load_causal_lm(options.out))
    record = {"seed": options.seed, "exam_seed": EXAM_SEED, "n": EXAM_ITEMS, "exact_match": found}
    out = options.out.parent / "base_scores.json"
    out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
