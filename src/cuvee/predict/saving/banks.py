"""A bank as JSON and arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from cuvee.combine import Array
from cuvee.predict.bank import PROVENANCES, Bank, Provenance
from cuvee.predict.saving.arrays import under, within
from cuvee.predict.saving.plain import label_of, said_label
from cuvee.predict.trained import Task


def told_bank(bank: Bank) -> tuple[dict[str, Any], dict[str, Array]]:
    """What `bank_of` makes it of again."""
    said = {
        "task": bank.task,
        "members": list(bank.members),
        "classes": [said_label(label) for label in bank.classes],
        "provenance": list(bank.provenance),
        "probable": [bool(one) for one in bank.probable],
        "embeddings": list(bank.embeddings),
        "notes": list(bank.notes),
    }
    arrays = {"P": bank.P, "mask": bank.mask, **_texts(bank.ids)}
    arrays |= {name: found for name in ("truth", "features") if (found := getattr(bank, name)) is not None}
    return said, arrays | under("embeddings", {str(i): one for i, one in enumerate(bank.embeddings.values())})


def bank_of(said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Bank:
    """The bank.

    Raises:
        ValueError, KeyError: it cannot be one.
    """
    embeddings = within(arrays, "embeddings")
    bank = Bank(
        task=cast(Task, said["task"]),
        members=tuple(said["members"]),
        classes=tuple(label_of(label) for label in said["classes"]),
        P=arrays["P"],
        mask=arrays["mask"],
        ids=_texts_of(arrays),
        truth=arrays.get("truth"),
        provenance=cast(tuple[Provenance, ...], tuple(said["provenance"])),
        probable=tuple(said["probable"]),
        embeddings={name: embeddings[str(i)] for i, name in enumerate(said["embeddings"])},
        features=arrays.get("features"),
        notes=tuple(said["notes"]),
    )
    _check(bank)
    return bank


def _check(bank: Bank) -> None:
    size = (len(bank.members), len(bank.ids), len(bank.classes) if bank.task == "classification" else 1)
    if bank.P.shape != size or bank.mask.shape != size[:2] or bank.mask.dtype != bool:
        raise ValueError(f"a bank of {size} has predictions {bank.P.shape} and a mask {bank.mask.shape}")
    if len(bank.provenance) != size[0] or not set(bank.provenance) <= set(PROVENANCES):
        raise ValueError("the provenance of its predictions is not one word for each member")
    if bank.truth is not None and bank.truth.shape != size[1:2]:
        raise ValueError(f"a bank of {size[1]} rows has {bank.truth.shape} right answers")


def _texts(texts: tuple[str, ...]) -> dict[str, Array]:
    """Texts as bytes one after the other, and where each ends: millions of ids would make the form unreadable."""
    raw = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([len(one) for one in raw], dtype=np.int64)
    return {"ids": np.frombuffer(b"".join(raw), np.uint8), "ids_end": ends}


def _texts_of(arrays: Mapping[str, Array]) -> tuple[str, ...]:
    raw, ends = arrays["ids"].tobytes(), arrays["ids_end"].tolist()
    starts = [0, *ends[:-1]]
    if any(start > end for start, end in zip(starts, ends)) or (ends[-1] if ends else 0) != len(raw):
        raise ValueError("the ids of its rows are damaged")
    return tuple(raw[start:end].decode("utf-8", "surrogatepass") for start, end in zip(starts, ends))
