"""The models of a token ensemble: loaded, named, and known by what they can read and write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from cuvee.errors import Fault, InputError, UsageError, attempt
from cuvee.families.heads import heads_of
from cuvee.families.inputs import load_tokenizer, longest_input
from cuvee.generate.manners import manners_of
from cuvee.generate.vocabulary import Vocabulary, vocabulary_of
from cuvee.generate.writer import Manners
from cuvee.recipe import Recipe

Given = str | os.PathLike[str] | tuple[Any, Any]
"""A model folder, or a model and its tokenizer as objects."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model that writes with others.

    Attributes:
        name: what it is called in messages and results.
        model: of transformers.
        tokenizer: its own.
    """

    name: str
    model: Any
    tokenizer: Any

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its tokens as bytes.

        Raises:
            InputError: `no-vocabulary-map`.
        """
        return vocabulary_of(self.tokenizer, self.name, self.ends)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Ids that end a text: its generation settings', else its tokenizer's."""
        named = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        if named is None:
            named = self.tokenizer.eos_token_id
        found = named if isinstance(named, list | tuple) else [named]
        return tuple(int(one) for one in found if one is not None)

    @cached_property
    def manners(self) -> Manners:
        """What it can be trusted with while it writes."""
        return manners_of(self.model, self.width, self.limit)

    @property
    def width(self) -> int:
        """Entries of its logits."""
        head = self.model.get_output_embeddings()
        if head is not None and hasattr(head, "weight"):
            return int(head.weight.shape[0])
        return int(self.model.config.get_text_config().vocab_size)

    @property
    def limit(self) -> int | None:
        """Most tokens that it has positions for."""
        return longest_input(self.model.config.get_text_config())

    @property
    def template(self) -> str | None:
        """Its chat template."""
        return getattr(self.tokenizer, "chat_template", None)


def language_models(
    models: Sequence[Given] | Mapping[str, Given], *, dtype: str | None = None, device: str = "cpu"
) -> tuple[LanguageModel, ...]:
    """Models ready to write, all faults told at once.

    Args:
        models: folders, or pairs of a model and its tokenizer; by name, or named by their folders or numbers.
        dtype: torch name of the dtype that folders are loaded in; their own without it.
        device: torch name of the device that folders are loaded on.

    Raises:
        UsageError: `bad-argument`: there is none, or one is neither a folder nor a pair.
        InputError: `no-tokenizer`, `wrong-model`, `vocabulary-mismatch`, and what loading a folder says.
    """
    named = list(models.items()) if isinstance(models, Mapping) else list(_named(_as_sequence(models)))
    if not named:
        raise UsageError(Fault("bad-argument", "`models` must name one model or more; found none", subject="models"))
    faults: list[Fault] = []
    found = [attempt(lambda n=name, g=given: _one(n, g, dtype, device), faults) for name, given in named]  # type: ignore[misc]
    ready = tuple(one for one in found if one is not None)
    faults += [fault for one in ready for fault in unfit(one)]
    if faults:
        raise InputError(faults)
    return ready


def _as_sequence(models: Any) -> Sequence[Given]:
    if isinstance(models, str | os.PathLike) or not isinstance(models, Sequence):
        message = f"`models` must be a list of models, or a mapping of names to models; found {type(models).__name__}"
        raise UsageError(Fault("bad-argument", message, subject="models", hint="write [model] for one model"))
    return models


def _named(models: Sequence[Given]) -> Iterator[tuple[str, Given]]:
    """A name for each: a folder's own where no two are the same, with its number where they are."""
    plain = [Path(one).name if isinstance(one, str | os.PathLike) else "model" for one in models]
    for number, (name, given) in enumerate(zip(plain, models, strict=True), 1):
        yield (name if plain.count(name) == 1 and name != "model" else f"{name} {number}"), given


def _one(name: str, given: Any, dtype: str | None, device: str) -> LanguageModel:
    if isinstance(given, LanguageModel):
        return given
    if isinstance(given, str | os.PathLike):
        from cuvee.execute.adapting import adapted_recipe

        recipe = adapted_recipe(given)
        if recipe is not None:
            return _adapted(name, recipe, dtype, device)
        return _from_folder(name, Path(given), dtype, device)
    if isinstance(given, tuple | list) and len(given) == 2:
        model, tokenizer = given
        if tokenizer is None:
            raise InputError(_no_tokenizer(name, "give the tokenizer as the second of the pair"))
        return LanguageModel(name, model, tokenizer)
    message = f"{name} must be a model folder or a pair (model, tokenizer); found {type(given).__name__}"
    raise UsageError(Fault("bad-argument", message, subject=name))


def _from_folder(name: str, folder: Path, dtype: str | None, device: str) -> LanguageModel:
    from cuvee.families.loading import load_folder

    if not folder.is_dir():
        message = f"{name} should be a model folder; there is none at {folder}"
        raise InputError(Fault("model-missing", message, subject=name))
    tokenizer = load_tokenizer(folder)
    if tokenizer is None:
        raise InputError(_no_tokenizer(name, f"copy the tokenizer's files into {folder}"))
    return LanguageModel(name, load_folder(folder, dtype=dtype, device=device), tokenizer)


def _adapted(name: str, recipe: Recipe, dtype: str | None, device: str) -> LanguageModel:
    """A model with an adapter applied, in memory; its base's tokenizer lies in a folder while it is read."""
    from cuvee.execute.adapting import load_adapted

    with tempfile.TemporaryDirectory(prefix="cuvee-member-") as room:
        model = load_adapted(recipe, Path(room), dtype=dtype, device=device)
        tokenizer = load_tokenizer(Path(room))
    if tokenizer is None:
        raise InputError(_no_tokenizer(name, "copy the tokenizer's files into the folder of the base"))
    return LanguageModel(name, model, tokenizer)


def refuse_nonsense(member: LanguageModel, logs: Tensor) -> None:
    """Refuse what a model says if it is no numbers, as of weights that are none, or too large for their dtype.

    Raises:
        InputError: `bad-output`.
    """
    if logs.isnan().any():
        message = (
            f"{member.name} must give finite logits; behind {int(logs.isnan().any(-1).sum())} text(s) they are not"
        )
        hint = "look for NaN or infinity in its weights (`cuvee inspect`); try another `dtype`, float32 say"
        raise InputError(Fault("bad-output", message, subject=member.name, hint=hint))


def _no_tokenizer(name: str, hint: str) -> Fault:
    return Fault("no-tokenizer", f"{name} must have a tokenizer to write text; there is none", None, name, hint)


def unfit(member: LanguageModel) -> Iterator[Fault]:
    """What keeps a model from writing: another kind of model, or a tokenizer with more tokens than it has logits."""
    config = getattr(member.model, "config", None)
    found = heads_of(member.model)
    if config is None or config.is_encoder_decoder or (found and "causal-lm" not in found):
        message = f"{member.name} must be a causal language model; it is a {type(member.model).__name__}"
        yield Fault("wrong-model", message, subject=member.name)
        return
    if not hasattr(member.tokenizer, "get_vocab"):
        message = f"{member.name} must have a tokenizer of transformers; found {type(member.tokenizer).__name__}"
        yield Fault("no-tokenizer", message, subject=member.name)
        return
    largest = max(member.tokenizer.get_vocab().values(), default=-1)
    if largest >= member.width:
        message = (
            f"{member.name}: the tokenizer has tokens up to {largest:,}; the model has logits for {member.width:,}, "
            f"0 to {member.width - 1:,}"
        )
        hint = (
            "the tokenizer is another model's, or tokens were added to it alone: resize the embeddings, or take its own"
        )
        yield Fault("vocabulary-mismatch", message, subject=member.name, hint=hint)
