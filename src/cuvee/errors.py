"""Every error Cuvee raises on purpose, and the reason codes tests and programs rely on.

    CuveeError                  exit  1   never raised itself
    ├── UsageError                    2   the command line or the call is wrong
    ├── RecipeError                   3   the recipe is wrong, whatever the models hold
    ├── InputError                    4   a model is missing, unreadable, hostile or does not fit the others
    ├── ResourceError                 5   not enough disk or memory, or no right to write
    ├── CheckFailed                   6   `verify` or a threshold said no
    └── OutputExists                  7   the output is there already and `--overwrite` was not given

Each error carries one or more `Fault`s, so that all faults of a recipe or of a set of models are told at once. A fault
has a stable reason code (a key of `REASONS`), a text that says what should be and what was found, a place, and a hint.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

T = TypeVar("T")

REASONS: Final[Mapping[str, str]] = {
    # usage
    "bad-argument": "an argument of a command or call has the wrong value",
    "missing-extra": "an optional part of Cuvee is needed and not installed",
    # recipe
    "recipe-missing": "the recipe file is not there or cannot be read",
    "recipe-syntax": "the recipe is not YAML",
    "recipe-too-large": "the recipe is larger, deeper or more aliased than any real one",
    "duplicate-key": "a key stands twice in one mapping",
    "unknown-key": "a key the recipe format does not have",
    "missing-key": "a key the recipe format needs",
    "wrong-type": "a value of the wrong type",
    "wrong-value": "a value of the right type that is not one of those allowed",
    "unknown-method": "a merge method that does not exist",
    "unknown-parameter": "a parameter the method does not have",
    "missing-parameter": "a parameter the method needs, for at least one model or tensor",
    "out-of-range": "a parameter outside its range",
    "ill-placed-parameter": "a per-model or shared parameter in a place where it means nothing",
    "wrong-number-of-models": "too few or too many models for the method",
    "duplicate-model": "the same model listed twice",
    "missing-base": "the method needs a base model",
    "zero-weight-sum": "weights that sum to zero where the result is divided by their sum",
    "bad-layer-range": "a layer range that is empty, reversed, or not as long as its neighbours",
    "recipe-cycle": "a recipe that needs its own result",
    "bad-stage": "recipes in one file or in one another whose names do not fit together",
    "has-holes": "a recipe with holes for a search where a whole one is needed",
    "no-holes": "a recipe in which there is nothing to search",
    "not-yet": "understood, but not carried out by this version",
    # inputs
    "model-missing": "a model folder, file or hub id that is not there",
    "not-a-checkpoint": "a folder or file that holds no weights Cuvee can read",
    "model-changed": "a model that is not what it was when it was merged",
    "no-record": "a model folder without a readable record of how it was made",
    "bad-header": "a weight file whose header is damaged, hostile or lies about the data",
    "truncated": "a weight file shorter than its header says",
    "bad-index": "a shard index that is damaged, incomplete or points outside its folder",
    "unsafe-pickle": "a pickle that holds more than tensors",
    "bad-pickle": "a legacy weight file that cannot be read",
    "bad-config": "a config.json that cannot be read or used",
    "unsafe-link": "a symbolic link that leads out of the model folder",
    "offline": "a hub id that is not in the cache while the hub is out of reach",
    "remote-unreachable": "a remote store that does not answer, or only with errors",
    "remote-denied": "a remote store that refuses access",
    "missing-tensor": "a tensor that not every model has",
    "shape-mismatch": "a tensor whose shape differs between models",
    "dtype-mismatch": "a tensor whose dtypes cannot be merged together",
    "unmergeable-dtype": "a tensor of integers, booleans or packed numbers that differs between models",
    "vocabulary-mismatch": "embeddings of different vocabulary sizes",
    "layer-count-mismatch": "models with different numbers of layers",
    "layers-out-of-range": "a layer range that the model does not have",
    "layers-unrepresentable": "a layer pattern that the configuration format cannot express after stacking",
    "no-layer-stack": "slices of a model in which no stack of layers, or more than one, was found",
    "unknown-module": "a module name that matches no part of the model",
    "tied-mismatch": "a tied tensor whose stored copy differs from the tensor it is tied to",
    "non-finite": "a tensor that holds NaN or infinity",
    "no-factors": "a tensor whose matrices a factorisation did not come to an end with",
    "quantised-input": "a model in a quantised format that cannot be merged",
    "bad-scale": "an FP8 weight whose scale is missing or does not fit it, or a scale without its weight",
    "bad-statistics": "a file of collected statistics that the method cannot use with this model",
    "bad-pack": "a task pack that is damaged, hostile or of another version",
    "pack-base": "the base of a task pack that is not there, or is not the one that the pack was made from",
    "unknown-task": "a task that a pack does not hold",
    "adapter-input": "an adapter folder where a whole model is needed",
    "data-missing": "a data file that is not there or cannot be read",
    "bad-data": "a data file that is empty, or a row of it that is damaged or does not fit the model",
    "missing-label": "a row without the label that the objective needs",
    "no-tokenizer": "text to be made into tokens, and no tokenizer in the model's folder",
    "no-statistic": "a model or data of which there is nothing to collect",
    "wrong-statistics": "a file that holds no statistics, or others than are asked for",
    "bad-answers": "answers of a model that are damaged, or not on the same rows as those of the others",
    "undefined-metric": "a metric that has no value on these rows",
    "task-missing": "the file of a task is not there or cannot be read",
    "task-syntax": "the file of a task is not YAML",
    "empty-split": "a part of the data that has no rows",
    "wrong-model": "a model of another kind than a task asks",
    "task-crashed": "a task's own function failed, or gave something else than outcomes",
    "no-score": "a metric that came to no number",
    # members and their predictions
    "member-failed": "a member of an ensemble that raised, or did not answer in time",
    "bad-output": "answers of a member that are no probabilities, logits or values of these rows",
    "class-mismatch": "a member whose classes are not those of the ensemble",
    "wrong-member": "a member of another task, or of a kind that cannot do what is asked",
    "unknown-member": "a name that no member has",
    "duplicate-member": "a name that a member has already",
    "no-member": "a row, or an ensemble, without any member that answers",
    "in-sample": "predictions on rows that a member was trained on, where a combiner would be deceived by them",
    "no-evidence": "a change of an ensemble whose combiner must be fitted again, without predictions to fit it on",
    "rows-differ": "rows, ids or right answers that do not belong together",
    "too-few-rows": "too few rows for what is to be found out from them",
    "bad-weights": "weights that are negative, not finite, all zero, or not one for each member",
    "tied-vote": "a row whose hard vote is tied, where ties are to be refused",
    "over-budget": "a budget that no member, or no set of members, keeps to",
    "untrusted-type": "a saved member of a type that nobody said to trust",
    "bad-bank": "a bank of predictions whose parts do not fit together, or a saved one that is damaged or hostile",
    "bad-ensemble": "a saved ensemble that is damaged, of another version, or not what was saved",
    "wrong-config": "a configuration of an ensemble whose parts do not fit together",
    "no-vocabulary-map": "vocabularies between which tokens cannot be mapped",
    # a service
    "too-large": "a request larger than the service takes",
    "busy": "more requests at a time than the service takes",
    "not-allowed": "a change that whoever asks for it may not make",
    # resources
    "disk-full": "not enough space for the output",
    "file-too-large": "the file system or a limit refuses files of this size",
    "not-writable": "no right to write the output",
    "memory": "not enough memory",
    "io-error": "the operating system could not read or write",
    "resume-mismatch": "what an interrupted run left is of another job, or damaged, and cannot be gone on with",
    "no-cluster": "a Ray cluster that is not there, has no room, or was lost",
    "not-shared": "a model or the folder of the output, which a worker does not see",
    "worker-mismatch": "a worker that has other versions, or sees other inputs, than the run it works for",
    "worker-died": "a worker that died again and again",
    "output-busy": "another run is writing the same output",
    # checks, output
    "check-failed": "a check of `verify` failed",
    "search-failed": "a search whose trials fail, all of them or too many in a row",
    "output-exists": "the output is there already",
    "unsafe-overwrite": "an existing folder that is no model output, or that holds an input, will not be replaced",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, counted from 1 as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        code: a key of `REASONS`.
        message: what should be and what was found.
        place: where in a file, if it is in one.
        subject: the model, tensor or key it is about.
        hint: what to do next.
    """

    code: str
    message: str
    place: Place | None = None
    subject: str | None = None
    hint: str | None = None

    def __post_init__(self) -> None:
        if self.code not in REASONS:
            raise AssertionError(f"reason code {self.code!r} is not in cuvee.errors.REASONS")

    def __str__(self) -> str:
        start = f"{self.place}: " if self.place else ""
        end = f"\n    {self.hint}" if self.hint else ""
        return f"{start}{self.message}{end}"


class CuveeError(Exception):
    """Base of all errors Cuvee raises on purpose; `faults` lists everything that is wrong."""

    exit_code: ClassVar[int] = 1

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(f) for f in self.faults))

    @property
    def code(self) -> str:
        """Reason code of the first fault."""
        return self.faults[0].code

    @property
    def codes(self) -> tuple[str, ...]:
        """Reason codes of all faults, in order."""
        return tuple(f.code for f in self.faults)


class UsageError(CuveeError):
    """The command line or the call is wrong."""

    exit_code = 2


class RecipeError(CuveeError):
    """The recipe is wrong, whatever the models hold."""

    exit_code = 3


class InputError(CuveeError):
    """A model is missing, unreadable, hostile, or does not fit the others."""

    exit_code = 4


class ResourceError(CuveeError):
    """Not enough disk or memory, or no right to write."""

    exit_code = 5


class CheckFailed(CuveeError):
    """A check or a threshold said no."""

    exit_code = 6


class OutputExists(CuveeError):
    """The output is there already."""

    exit_code = 7


def refuse(wrong: Iterable[Fault]) -> None:
    """Tell everything that is wrong with a call at once.

    Raises:
        UsageError: anything is.
    """
    if told := tuple(wrong):
        raise UsageError(told)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so with an error of its own."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error).lower()
    )


def integer_faults(name: str, value: object, least: int | None = None) -> list[Fault]:
    """What is wrong with an argument that must be an integer, of at least `least`; nothing for a good one."""
    good = isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)
    wanted = "an integer" if least is None else f"an integer of at least {least}"
    return [] if good else [Fault("bad-argument", f"`{name}` must be {wanted}; found {value!r}", subject=name)]


def number_faults(*, seed: object, **counts: object) -> list[Fault]:
    """What is wrong with a seed, any integer, and with numbers that are 1 or more, or `None` for the usual one."""
    wrong = integer_faults("seed", seed)
    for name, count in counts.items():
        wrong += [] if count is None else integer_faults(name, count, least=1)
    return wrong


def attempt(step: Callable[[], T], faults: list[Fault]) -> T | None:
    """The result of a step, or `None` with its faults added to those of the others."""
    try:
        return step()
    except InputError as error:
        faults.extend(error.faults)
        return None


def listed(names: Iterable[str], most: int = 3, between: str = ", ") -> str:
    """A list that does not grow too long.

    Example:
        >>> listed("ab"), listed("abcdef", most=2)
        ('a, b', 'a, b and 4 more')
    """
    words = list(names)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them when none is near."""
    words = sorted(known)
    if close := difflib.get_close_matches(name, words, n=1, cutoff=0.6):
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(words)}" if words else "none are known"
