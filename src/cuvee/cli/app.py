"""The commands by name, and running one of them."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from cyclopts import App, Group

from cuvee.cli.console import console_for, page_for, text_on, write_out
from cuvee.cli.failures import report
from cuvee.cli.options import COMMON, Common

_MERGE: Final = Group("Merge models", sort_key=1)
_LOOK: Final = Group("Look at models and methods", sort_key=3)
_PREDICT: Final = Group("Combine predictions", sort_key=2)
_REST: Final = Group("Help", sort_key=4)

_ENSEMBLE: Final = {
    "fit": "Fit an ensemble of a YAML file and a table of rows, and save it as a folder.",
    "validate": "Check the YAML file of an ensemble; no member is opened.",
    "predict": "Predict the rows of a table with a saved ensemble.",
    "leaderboard": "Judge members, combiners of them and the ensemble side by side.",
    "explain": "Explain predictions: what every member contributed to each row.",
    "add": "Let a member join a saved ensemble; the combiner alone is fitted again.",
    "remove": "Let a member of a saved ensemble go; the combiner alone is fitted again.",
    "update": "Fit the combiner of a saved ensemble again with new rows, and tell of drift.",
    "schema": "Print the JSON Schema of the YAML files of ensembles, for editors.",
}

_TOKENS: Final = {
    "diff": "Compare the tokenizers of two models, and say what a merge of them needs.",
    "transplant": "Give a model another model's tokenizer; its body stays as it is.",
}

_MOE: Final = {"route": "Say where a mixture of experts sends prompts."}

_LORA: Final = {
    "info": "Say what an adapter is: kind, base, ranks, and the size of each module's change.",
    "apply": "Apply adapters to a model and write the result out as a model folder.",
    "merge": "Merge adapters of one base into one adapter, without the base.",
    "extract": "Write the difference of a fine-tuned model and its base as an adapter.",
}


@dataclass(frozen=True, slots=True)
class Verb:
    """A command as the overview tells it; its module, of the same name, is imported when it is called."""

    name: str
    summary: str
    group: Group
    words: Mapping[str, str] = field(default_factory=dict)
    """Words that may follow, each a command in a module of its own, and their summaries."""


VERBS: Final = (
    Verb("demo", "Train small specialists, merge them, and show what was gained.", _MERGE),
    Verb("validate", "Check a recipe; no model is opened.", _MERGE),
    Verb("plan", "Say what a merge would do and cost; only headers are read.", _MERGE),
    Verb("learn", "Learn the weights of a merge on data, and write them down as a recipe.", _MERGE),
    Verb("search", "Fill the holes of a recipe with what is worth most.", _MERGE),
    Verb("merge", "Merge models into a new folder, which appears complete or not at all.", _MERGE),
    Verb("tune", "Fine-tune a model for a few steps: heal a stack, or refine a merge.", _MERGE),
    Verb("average", "Average the checkpoints of a training run into a new folder.", _MERGE),
    Verb("stack", "Stack a model's own layers anew: deeper, shorter, or in another order.", _MERGE),
    Verb("moe", "Make a mixture of experts of dense models.", _MERGE, _MOE),
    Verb("pack", "Pack the models of a recipe: one delta, and one bit per entry and model.", _MERGE),
    Verb("unpack", "Write one task of a pack out as a model, or list the tasks.", _MERGE),
    Verb("collect", "Run a model over calibration data and keep what RegMean or Fisher merging asks for.", _MERGE),
    Verb("lora", "Look at LoRA adapters, apply, merge and extract them.", _MERGE, _LORA),
    Verb("verify", "Check a model folder: readable, complete, finite, as recorded, loadable.", _MERGE),
    Verb("card", "Write the model card of a merge, README.md, for the hub.", _MERGE),
    Verb("push", "Send a finished model folder to the hub or to a store, or say what that would do.", _MERGE),
    Verb(
        "ensemble",
        "Combine predictions of models of any kind: fit, ask, look at and change ensembles.",
        _PREDICT,
        _ENSEMBLE,
    ),
    Verb("serve", "Serve a saved ensemble: JSON over HTTP, members that come and go while it answers.", _PREDICT),
    Verb("eval", "Judge models on tasks: scores with error bars, what is known not asked again.", _LOOK),
    Verb("compare", "Compare models on tasks: against their best parent, and is it more than noise?", _LOOK),
    Verb("ladder", "Climb one ladder: best single, merge, soup, merge + masks, ensemble, cascade.", _LOOK),
    Verb("explain", "Say what every model, or every group of layers, contributed to a merge.", _LOOK),
    Verb("report", "Write one page on a merge: was it worth it, how was it made, what was done.", _LOOK),
    Verb("generate", "Let language models write together, token by token.", _LOOK),
    Verb("inspect", "Say what a model is; of several, whether they will merge.", _LOOK),
    Verb("diff", "Compare two models layer by layer.", _LOOK),
    Verb("tokens", "Work with the tokenizers of models.", _LOOK, _TOKENS),
    Verb("methods", "List the merge methods, or explain one.", _LOOK),
    Verb("env", "Say what Cuvee runs on: versions, cores, memory, extras, how fast it is.", _LOOK),
    Verb("schema", "Print the JSON Schema of recipes, for editors.", _LOOK),
)

_HELP: Final = """Combine trained models.

For example:

    cuvee demo                           see it work on small models
    cuvee methods ties                   what a method does, and its parameters
    cuvee plan recipe.yml                what would be done, and what it costs
    cuvee merge recipe.yml -o merged     do it

`cuvee COMMAND --help` explains a command. Results go to standard output,
messages to standard error; every command takes --json.
"""


def build(chosen: str | None = None, word: str | None = None) -> App:
    """The application; no command is imported.

    Args:
        chosen: the command that will be called: its help is its own docstring, all others have one line.
        word: what follows it.
    """
    app = App(name="cuvee", help=_HELP, version=_version, help_format="plaintext")
    for flag in ("--help", "--version"):
        app[flag].group = (_REST,)
    for number, verb in enumerate(VERBS):
        line = None if verb.name == chosen else verb.summary
        if verb.words and line is None:
            app.command(_of_words(verb, number, word))
            continue
        path = f"cuvee.cli.{verb.name}:{verb.name}"
        app.command(path, name=verb.name, help=line, group=verb.group, sort_key=number)
    return app


def _of_words(verb: Verb, number: int, word: str | None) -> App:
    """A command that words follow; without one its help is printed."""
    from importlib import import_module

    own = getattr(import_module(f"cuvee.cli.{verb.name}"), verb.name)
    looks = {"help": own.__doc__, "help_format": "plaintext", "version_flags": [], "group": verb.group}
    made = App(name=verb.name, sort_key=number, **looks)
    made["--help"].group = (_REST,)
    made.default(own)
    for place, (name, summary) in enumerate(verb.words.items()):
        path = f"cuvee.cli.{verb.name}.{name}:{name}"
        made.command(path, name=name, help=None if name == word else summary, sort_key=place)
    return made


def _version() -> str:
    from importlib.metadata import version

    return f"cuvee {version('cuvee')}"


def run(tokens: Sequence[str]) -> int:
    """Carry out what the words ask for; whatever goes wrong is told and becomes the exit code."""
    own = list(tokens[: tokens.index("--")] if "--" in tokens else tokens)
    common = Common(json="--json" in own, debug="--debug" in own) if own else COMMON
    verb = next((v for v in VERBS if own[:1] == [v.name]), None)
    name = None if verb is None else " ".join([verb.name, *(word for word in own[1:2] if word in verb.words)])
    try:
        with _quiet_libraries(common.debug):
            return _call(tokens, None if verb is None else verb.name)
    except (Exception, KeyboardInterrupt) as error:
        return report(error, name, common)


def _call(tokens: Sequence[str], verb: str | None) -> int:
    """Parse the words and call what they name: a command, the help or the version."""
    page = page_for(sys.stdout)
    console = console_for(sys.stdout, page)
    command, bound, _ = build(verb, tokens[1] if len(tokens) > 1 else None).parse_args(
        tokens, console=console, exit_on_error=False, print_error=False
    )
    code = command(*bound.args, **bound.kwargs)
    write_out(text_on(page))
    return code if isinstance(code, int) else 0


@contextmanager
def _quiet_libraries(debug: bool) -> Iterator[None]:
    """Keep what libraries warn their programmers of away from users, unless asked for."""
    if debug or sys.warnoptions:
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
