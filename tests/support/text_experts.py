"""The classifiers of `experts` with a tokenizer of their own, and tasks of texts for them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from cuvee.families import pretrained
from tests.support.calibration import write_lines
from tests.support.experts import classifier, doubtful, rows, train

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]"}


def tokenizer() -> Any:
    """One word for every token of the experts: `t2 t7` is 2, 7."""
    made = Tokenizer(
        models.WordLevel({"[PAD]": 0, "[UNK]": 1, **{f"t{i}": i for i in range(2, 18)}}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **SPECIAL)


def write_text_experts(folder: Path, count: int = 60) -> Path:
    """`base`, `a` and `b`, briefly trained, with tokenizers; tasks and data of both; two recipes."""
    folder.mkdir(parents=True, exist_ok=True)
    base = train(classifier(), doubtful(256, 1), 30, 3e-3)
    trained = {task: train(copy.deepcopy(base), rows(task, 256, 2), 25, 2e-3) for task in "ab"}
    for name, model in {"base": base, **trained}.items():
        pretrained.save(model, folder / name)
        tokenizer().save_pretrained(str(folder / name))
    for task in "ab":
        lines = [{"text": " ".join(f"t{i}" for i in ids), "label": label} for ids, label in rows(task, count, 5)]
        write_lines(folder / f"{task}.jsonl", lines)
        (folder / f"{task}.yml").write_text(f"kind: classification\ndata: {task}.jsonl\n", "utf-8")
    models = "models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\n"
    (folder / "linear.yml").write_text(f"merge_method: linear\n{models}", "utf-8")
    (folder / "arithmetic.yml").write_text(f"merge_method: task_arithmetic\nbase_model: base\n{models}", "utf-8")
    return folder
