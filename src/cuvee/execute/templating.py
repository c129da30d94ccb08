"""The chat template that a recipe asks for, put into the tokenizer's files of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cuvee.checkpoint.given import given_file
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.view import View
from cuvee.errors import Fault, InputError
from cuvee.recipe import Recipe
from cuvee.tokens.chatting import choose_template, with_template
from cuvee.tokens.reading import read_vocabulary
from cuvee.tokens.vocabulary import Vocabulary


class Templated(View):
    """A `Reader` of a model with another chat template beside it; the tensors are the model's own.

    Args:
        reader: the model.
        files: the tokenizer's files that change, by name.
        notes: what is to be told besides.
    """

    def __init__(self, reader: Reader, files: Mapping[str, str], notes: tuple[str, ...]) -> None:
        super().__init__(reader)
        self._files = tuple(given_file(name, text) for name, text in files.items())
        self._notes = notes

    def computes(self, name: str) -> bool:  # noqa: ARG002 - no tensor is, whatever its name
        """Nothing is: all tensors are the model's own."""
        return False

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The model's files, those of the template in the places of its own."""
        changed = {file.name: file for file in self._files}
        kept = [changed.pop(file.name, file) for file in self._reader.side_files]
        return (*kept, *changed.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """How the model was read, and which template it gets."""
        return (*self._reader.notes, *self._notes)


def with_chat_template(recipe: Recipe, readers: Sequence[Reader], found: Sequence[Reader]) -> list[Reader]:
    """The models, the first, whose files the result gets, with the template that the recipe asks for.

    Args:
        recipe: what they are models of.
        readers: the models with the vocabulary of the result, without statistics.
        found: the same as they were found, each with a template of its own.

    Raises:
        InputError: `tokenizer-missing`, `bad-tokenizer`: the first has no tokenizer for a template to stand beside.
        RecipeError: `wrong-value`: neither a template's name nor Jinja.
    """
    if recipe.chat_template is None or not readers:
        return list(readers)
    first, *others = readers
    own = read_vocabulary(first)
    vocabularies = _readable(found) if recipe.chat_template == "auto" else [own]
    template = choose_template(recipe.chat_template, vocabularies)
    if template is None:
        where = recipe.locate(("chat_template",)) if recipe.locate else None
        message = "`chat_template: auto` takes the most common template of the models, and none of them has one"
        raise InputError(Fault("tokenizer-missing", message, where, "chat_template", "name one, or write it out"))
    files = with_template(own.files, template)
    changed = {name: text for name, text in files.items() if own.files.get(name) != text}
    return [Templated(first, changed, (_note(recipe.chat_template, vocabularies, template),)), *others]


def _readable(readers: Sequence[Reader]) -> list[Vocabulary]:
    """The tokenizers of those that have one; a template is asked of them, nothing else."""
    found = []
    for reader in readers:
        try:
            found.append(read_vocabulary(reader))
        except InputError as error:
            if error.code != "tokenizer-missing":
                raise
    return found


def _note(setting: str, vocabularies: Sequence[Vocabulary], template: str) -> str:
    if setting != "auto":
        return "the chat template is the recipe's" if "{" in setting else f"the chat template is `{setting}`"
    having = [one.label for one in vocabularies if one.chat_template == template]
    return f"the chat template is that of {', '.join(having)}, the most common"
