"""Models as a caller names them, for whoever runs them: found first, loaded and hashed when they are needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.api.arguments import as_model, as_path, as_recipe, found
from cuvee.errors import CuveeError, Fault, InputError, UsageError, is_out_of_memory
from cuvee.recipe import Recipe
from cuvee.types import ModelRef, PredictionAverage

if TYPE_CHECKING:
    from cuvee.judging.asking.subject import Subject

_RECIPES: Final = (".yml", ".yaml")


def named(models: Any) -> dict[str, Any]:
    """Models by name: as a mapping has them, or called by their paths, recipes by their names, others by number.

    Raises:
        UsageError: two are called alike.
    """
    if isinstance(models, Mapping) and not ({"merge_method", "models", "slices"} & models.keys()):
        return {str(name): model for name, model in models.items()}
    several = list(models) if isinstance(models, list | tuple) else [models]
    made = [(_name(one, number), one) for number, one in enumerate(several, 1)]
    labels = [label for label, _ in made]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        message = f"models should have names of their own; several are called `{twice[0]}`"
        hint = "leave one out, or give a mapping of names to models"
        raise UsageError(Fault("bad-argument", message, subject="models", hint=hint))
    return dict(made)


def _name(model: Any, number: int) -> str:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    if isinstance(model, PredictionAverage):
        return "ensemble"
    name = model.name if isinstance(model, Recipe) else model.get("name") if isinstance(model, Mapping) else None
    return str(name or f"model {number}")


class Ready:
    """A model that is loaded, and hashed, once, when it is first needed; or fails the same way each time."""

    def __init__(self, load: Callable[[], Any], digest: Callable[[Callable[[], Any]], str | None]) -> None:
        self._load, self._digest = load, digest
        self._subject: Any = None
        self._known: tuple[str | None] | None = None

    def subject(self) -> Any:
        """The model: a `Subject`, or a saved ensemble.

        Raises:
            CuveeError: it cannot be loaded.
        """
        if self._subject is None:
            try:
                self._subject = self._load()
            except CuveeError as error:
                self._subject = error
        if isinstance(self._subject, CuveeError):
            raise self._subject
        return self._subject

    def digest(self) -> str | None:
        """Its fingerprint; `None` where it has none that is sure."""
        if self._known is None:
            self._known = (self._digest(self.subject),)
        return self._known[0]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """For code of others: if it has changed the weights, whoever comes next gets the model anew.

        A model in memory stays as it is then, and has another fingerprint.
        """
        before = self._weights()
        try:
            yield
        finally:
            if before is not None and self._weights() != before:
                self._subject = self._known = None

    def _weights(self) -> str | None:
        """The fingerprint of the model as it is now; `None` of one that cannot be loaded, or is none of torch."""
        from cuvee.judging.caching import digest_of_model

        with suppress(CuveeError):
            model = self.subject().model
            return digest_of_model(model) if hasattr(model, "state_dict") else None
        return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model as it was named, found and not loaded; `ready` holds it while it is needed."""

    label: str
    ready: Callable[[], AbstractContextManager[Ready]]


def candidates(given: Mapping[str, Any], dtype: str, device: str, beside: Mapping[str, Any]) -> list[Candidate]:
    """The models, every name looked up.

    Raises:
        InputError, RecipeError: models that are not there, recipes that are wrong.
    """
    made: list[Candidate] = []
    faults: list[Fault] = []
    kinds: set[type[CuveeError]] = set()
    for label, one in given.items():
        try:
            made.append(_candidate(label, one, dtype, device, beside))
        except CuveeError as error:
            faults += error.faults
            kinds.add(type(error))
    if faults:
        raise (kinds.pop() if len(kinds) == 1 else InputError)(faults)
    return made


def _candidate(label: str, given: Any, dtype: str, device: str, beside: Mapping[str, Any]) -> Candidate:
    if isinstance(given, PredictionAverage):
        members = candidates(named(list(_members(label, given))), dtype, device, beside)
        return Candidate(label, lambda: _of_ensemble(label, members))
    if isinstance(given, Recipe | Mapping) or (isinstance(given, str | os.PathLike) and _is_recipe(given)):
        return _recipe_candidate(label, as_recipe(given), dtype, device)
    if not isinstance(given, str | os.PathLike):
        if not callable(getattr(given, "parameters", None)):
            message = f"`models` must be folders, recipes or models of transformers; found {found(given)}"
            raise UsageError(Fault("bad-argument", message, subject="models"))
        return Candidate(label, lambda: _in_memory(label, given, beside))
    from cuvee.execute.adapting import adapted_recipe, check_readable

    if (adapted := adapted_recipe(given)) is not None:
        check_readable(adapted)
        return _recipe_candidate(label, adapted, dtype, device)
    folder = _folder(given)
    if isinstance(folder, Recipe):
        return _recipe_candidate(label, folder, dtype, device)
    if is_saved_ensemble(folder):
        return Candidate(label, lambda: _of_saved(label, folder))
    return Candidate(label, lambda: _of_folder(label, folder, dtype, device))


def _recipe_candidate(label: str, recipe: Recipe, dtype: str, device: str) -> Candidate:
    return Candidate(label, lambda: _of_recipe(label, recipe, dtype, device))


def _members(label: str, given: PredictionAverage) -> tuple[str, ...]:
    """The models of an ensemble.

    Raises:
        UsageError: there are none, or they are something else.
    """
    models = given.models
    good = isinstance(models, tuple | list) and all(isinstance(one, str | os.PathLike) for one in models)
    if not good or not models:
        message = f"an ensemble should be of model folders, hub ids or recipe files, one or more; found {found(models)}"
        raise UsageError(Fault("bad-argument", f"{label}: {message}", subject="models"))
    return tuple(models)


def _is_recipe(given: str | os.PathLike[str]) -> bool:
    return os.fspath(given).lower().endswith(_RECIPES)


def _folder(given: str | os.PathLike[str]) -> Path | Recipe:
    """The folder of a model, or the recipe of an adapter on the hub; what comes from there is in its cache then."""
    text = os.fspath(given)
    if text and (path := as_path(text, "models", "a model must be a folder")).is_dir():
        return path
    from cuvee.checkpoint import open_checkpoint
    from cuvee.checkpoint.adapted import Adapted
    from cuvee.execute.adapting import alone

    ref = as_model(given)
    with closing(open_checkpoint(ref, None)) as reader:
        if isinstance(reader, Adapted):
            return alone(ref)
        if reader.folder is None:
            message = f"{reader.label}: a model that is judged needs a folder, which holds its configuration"
            raise InputError(Fault("not-a-checkpoint", message, subject=reader.label))
        return reader.folder


def is_saved_ensemble(given: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a saved ensemble rather than of a model."""
    folder = Path(given)
    return (folder / "ensemble.json").is_file() and not (folder / "config.json").is_file()


@contextmanager
def _of_saved(label: str, folder: Path) -> Iterator[Ready]:
    """A saved ensemble, which answers by itself."""
    from cuvee.api.ensemble_eval import digest_of_ensemble, saved_ensemble

    yield Ready(lambda: saved_ensemble(label, folder), lambda _: digest_of_ensemble(folder))


@contextmanager
def _of_folder(label: str, folder: Path, dtype: str, device: str) -> Iterator[Ready]:
    from cuvee.judging.asking.subject import subject_in
    from cuvee.judging.caching import digest_of_folder

    yield Ready(
        lambda: subject_in(folder, _loaded(folder, dtype, device), label),
        lambda _: digest_of_folder(folder),
    )


def _loaded(folder: Path, dtype: str, device: str) -> Any:
    """The model of a folder; what is wrong with its files is told in our words where we know it.

    Raises:
        InputError: it cannot be loaded.
    """
    from cuvee.checkpoint import open_checkpoint
    from cuvee.families.loading import load_folder

    open_checkpoint(ModelRef(str(folder))).close()
    try:
        return load_folder(folder, dtype=dtype, device=device)
    except CuveeError:
        raise
    except Exception as error:  # whatever transformers makes of files that it was not given by itself
        if is_out_of_memory(error):
            raise
        message = f"{folder}: transformers cannot load it: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise InputError(Fault("not-a-checkpoint", message, subject=str(folder))) from error


@contextmanager
def _of_recipe(label: str, recipe: Recipe, dtype: str, device: str) -> Iterator[Ready]:
    """A recipe's result in memory; what stands beside it lies in a folder meanwhile, as it would beside the merge."""
    from cuvee.judging.caching import digest_of_folder, digest_of_model

    with tempfile.TemporaryDirectory(prefix="cuvee-eval-") as name:
        yield Ready(
            lambda: _merged(label, recipe, dtype, device, Path(name)),
            lambda subject: digest_of_model(subject().model, digest_of_folder(Path(name))),
        )


def _merged(label: str, recipe: Recipe, dtype: str, device: str, room: Path) -> Subject:
    from cuvee.execute.adapting import load_adapted
    from cuvee.judging.asking.subject import subject_in

    model = load_adapted(recipe, room, dtype=dtype, device=device)
    return replace(subject_in(room, model, label), folder=None)


@contextmanager
def _of_ensemble(label: str, members: list[Candidate]) -> Iterator[Ready]:
    """The mean of what some models predict; all of them are held at once."""
    from cuvee.judging.asking.agreement import joined
    from cuvee.judging.caching import digest_of_ensemble

    with ExitStack() as stack:
        ready = [stack.enter_context(member.ready()) for member in members]
        yield Ready(
            lambda: joined(label, [one.subject() for one in ready]),
            lambda _: digest_of_ensemble([one.digest() for one in ready]),
        )


@contextmanager
def _in_memory(label: str, model: Any, beside: Mapping[str, Any]) -> Iterator[Ready]:
    from cuvee.judging.asking.subject import Subject
    from cuvee.judging.caching import digest_of_model

    subject = Subject(label, model, beside["tokenizer"], beside["image_processor"])
    told = _text_of(subject)
    yield Ready(lambda: subject, lambda _: None if told is None else digest_of_model(model, told))


def _text_of(subject: Subject) -> str | None:
    """Everything that a tokenizer and an image processor in memory are; `None` where that cannot be told."""
    tokenizer, pictures = subject.tokenizer, subject.pictures
    try:
        said = "" if tokenizer is None else f"{tokenizer.backend_tokenizer.to_str()} {tokenizer.special_tokens_map}"
        return said + ("" if pictures is None else str(pictures.to_json_string()))
    except AttributeError:
        return None
