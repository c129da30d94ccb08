"""Reading tokenizers."""

from __future__ import annotations

import json

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError
from cuvee.tokens.vocabulary import AddedToken, Vocabulary


def read_vocabulary(reader: Reader) -> Vocabulary:
    """The vocabulary of a model's folder."""
    files = {file.name: file for file in reader.side_files}
    if "tokenizer.json" not in files:
        raise InputError(Fault("tokenizer-missing", f"{reader.label} has no tokenizer.json", subject=reader.label))
    data = json.loads(files["tokenizer.json"].fetched().read_text("utf-8"))
    model = data["model"]
    kind = model["type"].lower()
    ids = dict(model["vocab"]) if kind != "unigram" else {t: i for i, (t, _) in enumerate(model["vocab"])}
    added = tuple(AddedToken(t["content"], t["id"], t["special"]) for t in data["added_tokens"])
    ids |= {t.content: t.id for t in added}
    specials = {}
    if "tokenizer_config.json" in files:
        config = json.loads(files["tokenizer_config.json"].fetched().read_text("utf-8"))
        for key, value in config.items():
            if key.endswith("_token") and value is not None:
                specials[key.removesuffix("_token")] = value if isinstance(value, str) else value["content"]
    return Vocabulary(reader.label, kind, ids, added, specials, data)
