"""The demo's results as plain data (`results.json`), the rows of its table, and the lines that close it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from cuvee.demo.skills import SKILLS

if TYPE_CHECKING:
    from pathlib import Path

    from cuvee.demo.merges import Trial

Kind = Literal["base", "expert", "merge"]
Results = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """A model and its answers: hits per skill on the test draw and, for merges, its mean on the validation draw."""

    name: str
    kind: Kind
    path: Path
    hits: Mapping[str, tuple[bool, ...]]
    validation: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: one text per column of `columns`, and whether this is the merge that won."""

    kind: Kind
    cells: tuple[str, ...]
    best: bool


def tally(models: Sequence[Judged], chosen: Mapping[str, Trial]) -> dict[str, Any]:
    """All scores, the winner and its margins, ready for JSON.

    The winner is the merge with the highest mean on the *validation* draw; its margins are on the test draw, against
    every specialist, with the standard error of the paired difference.
    """
    from cuvee.demo.score import difference

    winner = best_of(models)
    margins = {m.name: difference(winner.hits, m.hits) for m in models if m.kind == "expert"}
    rival = min(margins, key=lambda name: margins[name][0])
    return {
        "models": [_model(m) for m in models],
        "skills": {word: SKILLS[word].meaning for word in winner.hits},
        "chosen": {name: {**trial.settings, "validation_mean": trial.mean} for name, trial in chosen.items()},
        "best": {"merge": winner.name, "rival": rival, **_gap(*margins[rival])},
        "margins": {name: _gap(*margin) for name, margin in margins.items()},
    }


def best_of(models: Sequence[Judged]) -> Judged:
    """The merge with the highest mean on the validation draw; of equals, the first."""
    return max((m for m in models if m.kind == "merge"), key=lambda m: m.validation or 0.0)


def told(name: str, comparison: Mapping[str, Any], explanations: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of the best merge, in short: its verdict, the ensemble's mean, what specialists contribute.

    Args:
        name: the merge.
        comparison: what `cuvee compare` found.
        explanations: what `cuvee explain` found.
    """
    rows = {row["model"]: row for row in comparison["models"]}
    by_task = [one for one in explanations["explanations"] if one["subject"] == "merge" and one["of"] == "models"]
    parts: dict[str, list[float]] = {}
    for one in by_task:
        for part in one["parts"]:
            parts.setdefault(PurePath(part["name"]).name, []).append(part["shapley"]["value"])
    return {
        "merge": name,
        "verdict": rows[name]["against"]["difference"]["verdict"],
        "ensemble": _mean_score(rows["ensemble"]),
        "over": "the base" if by_task[0]["nothing"]["what"].startswith("the base") else "the mean of them alone",
        "contributions": {part: sum(values) / len(values) for part, values in parts.items()},
    }


def _mean_score(row: Mapping[str, Any]) -> float:
    """The mean over tasks of a model's scores in a comparison."""
    values = [cell["value"] for cell in row["tasks"].values()]
    return float(sum(values) / len(values))


def _model(judged: Judged) -> dict[str, Any]:
    """One entry of `models`."""
    from cuvee.demo.score import mean, mean_stderr, share, stderr

    scores = {word: {"value": share(h), "stderr": stderr(h), "n": len(h)} for word, h in judged.hits.items()}
    validation = {} if judged.validation is None else {"validation_mean": judged.validation}
    return {
        "name": judged.name,
        "kind": judged.kind,
        "scores": scores,
        "mean": mean(judged.hits),
        "mean_stderr": mean_stderr(judged.hits),
        **validation,
        "path": str(judged.path),
    }


def _gap(value: float, error: float) -> dict[str, float]:
    """A paired difference and its standard error."""
    return {"difference": value, "stderr": error}


def columns(results: Results) -> tuple[str, ...]:
    """Headings of the table."""
    return ("model", *results["skills"], "mean")


def summary(results: Results) -> tuple[Row, ...]:
    """The table: base, specialists, merges, each score as `value ±standard error` in percent."""
    best = results["best"]["merge"]
    return tuple(Row(m["kind"], _cells(m), m["name"] == best) for m in results["models"])


def _cells(model: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of one line of the table."""
    scores = (f"{100 * s['value']:.0f} ±{100 * s['stderr']:.1f}" for s in model["scores"].values())
    return (model["name"], *scores, _points(model["mean"], model["mean_stderr"]))


def _points(value: float, error: float) -> str:
    """A share and its standard error in points of a hundred."""
    return f"{100 * value:.1f} ±{100 * error:.1f}"


def closing_lines(results: Results) -> tuple[str, ...]:
    """What happened, in a few sentences: which merge won, by how much, and what did not work."""
    models = {m["name"]: m for m in results["models"]}
    best = results["best"]
    winner, rival = models[best["merge"]], models[best["rival"]]
    stack = models["layer_stack"]
    return (
        f"Best merge, chosen on the validation draw: {winner['name']}, {_mean(winner)} on the test draw. "
        f"Best specialist: {rival['name']}, {_mean(rival)}.",
        f"Difference {_points(best['difference'], best['stderr'])} points (± standard error of the paired difference): "
        + _verdict(best["difference"], best["stderr"]),
        f"Each at its own job, the specialists answer {_own(models, results['skills'])}; "
        f"the merge answers {', '.join(_percent(winner['scores'][word]['value']) for word in results['skills'])}.",
        f"The layer stack, as it is and without training, answers {_mean(stack)}: {_stacked(stack, rival)}",
        *_told(results["told"]),
    )


def _told(told: Results) -> Iterator[str]:
    """What the comparison and the explanation of the best merge came to."""
    parts = ", ".join(f"{name} {100 * value:+.1f}" for name, value in told["contributions"].items())
    yield (
        "The ensemble of the specialists, all of them run for every answer, answers "
        f"{_percent(told['ensemble'])}. What each adds to {told['merge']} over {told['over']} "
        f"(Shapley values, points): {parts}."
    )


def _own(models: Mapping[str, Mapping[str, Any]], words: Iterable[str]) -> str:
    """What each specialist scores at its own skill, skill by skill."""
    return ", ".join(f"{word} {_percent(models[word]['scores'][word]['value'])}" for word in words)


def _verdict(difference: float, error: float) -> str:
    """What a difference from the best specialist means."""
    if difference > 2 * error:
        return "the merge beats every specialist."
    return "the merge does not clearly beat every specialist."


def _stacked(stack: Mapping[str, Any], rival: Mapping[str, Any]) -> str:
    """What a layer stack's mean means."""
    if stack["mean"] < rival["mean"]:
        return "its layers come from models of different skills and have never worked together."
    return "better than any specialist, which is not to be expected."


def _mean(model: Mapping[str, Any]) -> str:
    """A model's mean over the skills, with its standard error."""
    return f"{_points(model['mean'], model['mean_stderr'])} %"


def _percent(value: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * value:.0f} %"
