"""What is to be said first: what this is, what was gained or lost, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cuvee.errors import listed
from cuvee.reporting.cast import is_ensemble, roles, short_names, the_merge
from cuvee.reporting.evidence import Evidence
from cuvee.reporting.mixtures import experts_of, method_in
from cuvee.reporting.words import counted, figure, interval, signed

Mood = Literal["better", "worse", "even", "open"]
MOODS: Final[Mapping[str, Mood]] = {"better": "better", "worse": "worse", "within noise": "even"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence, and what it means for the merge."""

    mood: Mood
    head: str
    text: str


def what_it_is(evidence: Evidence) -> str:
    """One sentence on the merge."""
    record = evidence.record
    inputs = [one for one in record["inputs"] if not one["base"]]
    bases = [one["model"] for one in record["inputs"] if one["base"]]
    method = method_in(record, "a merge")
    over = f" over {bases[0]}" if bases else ""
    counts = record["counts"]
    told = f"{counts['merged']:,} tensors merged, {counts['copied']:,} copied, {counts['lost']:,} lost"
    of = counted(len(experts_of(record)), "expert") if "mixture" in record else counted(len(inputs), "model")
    return f"{method} of {of}{over}: {told}."


def verdicts(evidence: Evidence) -> Iterator[Verdict]:
    """All that can be said of whether it was worth it."""
    name = the_merge(evidence)
    if evidence.comparison is None:
        text = "No model was asked anything yet. Run `cuvee report DIR --tasks FILE…`, or give what "
        text += "`cuvee compare MODEL… --tasks FILE… --json` printed with `--with FILE`."
        yield Verdict("open", "Not judged yet", text)
    elif name is None:
        text = f"The comparison that was given does not speak of {evidence.folder.name}."
        yield Verdict("open", "Not judged yet", text)
    else:
        yield from _judged(evidence, name)
    yield from _searched(evidence)


def _judged(evidence: Evidence, name: str) -> Iterator[Verdict]:
    told = evidence.comparison
    assert told is not None
    short = short_names([one["model"] for one in told["models"]])
    own = next(one for one in told["models"] if one["model"] == name)
    yield _against(own, short, told["raw"])
    yield from _tasks(own)
    yield from _bases(told, own, roles(evidence))
    yield from _ensembles(told, own, roles(evidence))
    for form in told.get("forms", ()):
        if form["model"] == name and form["collapsed"]:
            text = f"Only {form['share']:.0%} of the answers on {form['task']} have the form that was asked for."
            yield Verdict("worse", "Answers have lost their form", text)


def _against(own: Mapping[str, Any], short: Mapping[str, str], raw: bool) -> Verdict:
    against = own.get("against")
    if against is None:
        return Verdict("open", "Judged alone", "There is no other model in the comparison.")
    found = against["difference"]
    rival = short.get(against["model"], against["model"])
    of = "the only parent" if against["among"] == 1 else f"the best of {against['among']} parents"
    heads = {
        "better": "Better than every parent",
        "worse": "Worse than its best parent",
        "within noise": "Within noise of its best parent",
    }
    unit = "" if raw else " of the experts’ scores"
    level = f"{found.get('level', 0.95):.0%}"
    text = f"Over all tasks {interval(found)}{unit} against {rival}, {of} ({level} interval, "
    text += f"{counted(found['rows'], 'row')}, the two differ on {found['differing']:,})."
    mood = MOODS[found["verdict"]]
    return Verdict(mood, heads[found["verdict"]], text)


def _tasks(own: Mapping[str, Any]) -> Iterator[Verdict]:
    """Where it gained and where it lost."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "within noise": []}
    for task, cell in own["tasks"].items():
        if cell.get("against") is not None:
            found[cell.get("against")["verdict"]].append(task)
    if not any(found.values()):
        return
    words = [f"{word} on {listed(tasks, 8)}" for word, tasks in found.items() if tasks]
    text = f"Task by task against that parent: {'; '.join(words)}. "
    text += f"Its hardest task is {own['hardest']}, with {figure(own['minimum'])}"
    text += " of its expert’s score." if own["tasks"].get(own["hardest"], {}).get("normalised") is not None else "."
    mood: Mood = "worse" if found["worse"] and not found["better"] else "even" if found["worse"] else "better"
    yield Verdict(mood if found["better"] or found["worse"] else "even", "Where", text)


def _bases(told: Mapping[str, Any], own: Mapping[str, Any], role: Mapping[str, str]) -> Iterator[Verdict]:
    """A base that does better, which no comparison with the other parents would tell."""
    for one in told["models"]:
        if role[one["model"]] == "base" and not one["parent"] and one["mean"] > own["mean"]:
            text = f"Over all tasks its base reaches {figure(one['mean'])}, and the merge {figure(own['mean'])}."
            yield Verdict("worse", "Below its base", text)


def _ensembles(told: Mapping[str, Any], own: Mapping[str, Any], role: Mapping[str, str]) -> Iterator[Verdict]:
    for one in told["models"]:
        if role[one["model"]] == "ensemble" or is_ensemble(one["model"]):
            apart = own["mean"] - one["mean"]
            word = "above" if apart > 0 else "below"
            text = (
                f"The models asked together, which cost as much as all of them, reach a mean of {figure(one['mean'])}; "
            )
            text += f"the merge is {figure(abs(apart))} {word} that (a difference without an interval)."
            yield Verdict("open", "Against the ensemble", text)


def _searched(evidence: Evidence) -> Iterator[Verdict]:
    for told in evidence.searches:
        rival = told.get("best_parent")
        if rival is None:
            continue
        more = rival["best_is_more_by"]
        error = "" if more.get("stderr") is None else f" ± {figure(more.get('stderr'))}"
        text = f"On rows that it never saw, the best of {counted(len(told['tried']), 'trial')} gains "
        text += f"{signed(more['value'])}{error} over {rival['model']}. {flattered(told['optimism'])}"
        yield Verdict(MOODS[rival["best_is"]], f"The search ({told['strategy']}): {rival['best_is']}", text)


def flattered(optimism: Mapping[str, Any]) -> str:
    """How much less the best of a search was worth on rows that it never saw.

    Example:
        >>> flattered({"value": 0.016, "stderr": 0.01}), flattered({"value": -0.5})
        ('Its own rows flatter it by 0.016 ± 0.010.', 'Its own rows do not flatter it (optimism −0.500).')
    """
    error = "" if optimism.get("stderr") is None else f" ± {figure(optimism['stderr'])}"
    if optimism["value"] <= 0:
        return f"Its own rows do not flatter it (optimism {figure(optimism['value'])}{error})."
    return f"Its own rows flatter it by {figure(optimism['value'])}{error}."
