"""The demo's recipes as text, every line explained, for the user to read and edit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from cuvee.demo.merges import GREEDY_SOUP, LAYER_STACK, LINEAR, Blend, command, parameters
from cuvee.demo.skills import SKILLS
from cuvee.demo.tasks import task_path

_MEANING: Final[Mapping[str, str]] = {
    "density": "kept share of every specialist's changes, in (0, 1]",
    "lambda": "how far to go from the base: 0 is the base itself",
    "normalize": "average the changes that agree, rather than adding them up",
}
_COLUMN: Final = 36


def model_path(name: str) -> str:
    """A model of the demo as its recipes name it: relative to the folder of the recipe."""
    return f"../models/{name}"


def recipe_text(blend: Blend, words: Sequence[str], settings: Mapping[str, float]) -> str:
    """The YAML of one merge of the demo.

    Args:
        blend: the merge.
        words: the specialists, by skill; a layer stack takes the first two.
        settings: the values chosen for this merge.
    """
    body = _stack(words) if blend is LAYER_STACK else _average(blend, words, settings)
    dtype = _line("dtype: bfloat16", "of what is written; the sums are float32")
    return "\n".join([*_heading(blend), *body, dtype, ""])


def search_text(blend: Blend, words: Sequence[str], trials: int) -> str:
    """The YAML of a merge with something left open, and how to have it filled in.

    Args:
        blend: one of `merges.FOUND`.
        words: the specialists, by skill.
        trials: candidates that the demo tries.
    """
    strategy = "greedy-soup" if blend is GREEDY_SOUP else f"cma-es --trials {trials}"
    tasks = [f"--objective {task_path(word, 'validation')}" for word in words]
    heading = [
        f"# {blend.about}",
        "# In the folder above this one, run",
        f"#     cuvee search recipes/{blend.name}.yml --strategy {strategy} -o searches/{blend.name} --overwrite \\",
        *(f"#         {task} \\" for task in tasks[:-1]),
        f"#         {tasks[-1]}",
        f"#     {command(blend.name)} --overwrite",
        _line(f"merge_method: {blend.method}", f"`cuvee methods {blend.method}` explains it"),
    ]
    body = _average(LINEAR, words, {}) if blend is GREEDY_SOUP else _with_holes(words)
    return "\n".join([*heading, *body, _line("dtype: bfloat16", "of what is written; the sums are float32"), ""])


def _with_holes(words: Sequence[str]) -> list[str]:
    """TIES with a hole for every number: the range to search, and where to begin."""
    weights = ["    parameters:", "      weight: {search: [0.3, 2], start: 1}"]
    models = [line for word in words for line in (f"  - model: {model_path(word)}", *weights)]
    return [
        _line(f"base_model: {model_path('base')}", "what all of them started from"),
        "models:",
        *models,
        "parameters:",
        _line("  normalize: true", _MEANING["normalize"]),
        _line("  density: {search: [0.2, 1], start: 0.8}", _MEANING["density"]),
        _line("  lambda: {search: [0.5, 2], start: 1.3}", _MEANING["lambda"]),
    ]


def _heading(blend: Blend) -> list[str]:
    """What the recipe does and how to run it, as comments."""
    return [
        f"# {blend.about}",
        "# Change what you like and, in the folder above this one, run",
        f"#     {command(blend.name)} --overwrite",
        _line(f"merge_method: {blend.method}", f"`cuvee methods {blend.method}` explains it"),
    ]


def _average(blend: Blend, words: Sequence[str], settings: Mapping[str, float]) -> list[str]:
    """Models with their weights, and the settings that all of them share."""
    base = [] if blend is LINEAR else [_line(f"base_model: {model_path('base')}", "what all of them started from")]
    models = [line for word in words for line in _model(word, explained=word == words[0])]
    shared = parameters(settings)
    lines = [_line(f"  {key}: {json.dumps(value)}", _MEANING[key]) for key, value in shared.items()]
    return [*base, "models:", *models, *(["parameters:", *lines] if lines else [])]


def _model(word: str, explained: bool) -> list[str]:
    """One specialist of an average; the first says what its weight means."""
    weight = "      weight: 1.0"
    line = _line(weight, "its share; 0 leaves it out") if explained else weight
    return [_line(f"  - model: {model_path(word)}", SKILLS[word].meaning), "    parameters:", line]


def _stack(words: Sequence[str]) -> list[str]:
    """Layers 0 and 1 of one specialist under layers 1 and 2 of another."""
    lower, upper = words[:2]
    return [
        _line("slices:", "from the input upwards"),
        "  - sources:",
        _line(f"      - model: {model_path(lower)}", SKILLS[lower].meaning),
        _line("        layer_range: [0, 2]", "its layers 0 and 1, and the embeddings"),
        "  - sources:",
        _line(f"      - model: {model_path(upper)}", SKILLS[upper].meaning),
        _line("        layer_range: [1, 3]", "its layers 1 and 2, and the last norm"),
    ]


def _line(text: str, comment: str) -> str:
    """A line of YAML with its comment in a column of its own."""
    return f"{text:{_COLUMN - 1}} # {comment}"
