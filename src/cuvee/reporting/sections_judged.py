"""The sections on what it was worth: scores, groups, form and cost; searches; what contributed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from cuvee.reporting import charts, figures
from cuvee.reporting.cast import roles, short_names, the_merge
from cuvee.reporting.evidence import Data, Evidence
from cuvee.reporting.markup import Html, joined, table, tag
from cuvee.reporting.parts import Section, absent, chart, folded, grid, notes
from cuvee.reporting.verdicts import flattered
from cuvee.reporting.words import counted, figure, in_millions, interval, seconds, signed

_SMALL: Final = 380


def scores(evidence: Evidence) -> Section:
    """Every model on every task."""
    told = evidence.comparison
    if told is None:
        body = absent("Nobody judged it yet: `cuvee report DIR --tasks FILE…` compares base, inputs and merge now.")
        return Section("scores", "Scores", body, is_told=False)
    found = tuple(figures.scores(evidence))
    body = joined(
        [
            _key(set(roles(evidence).values())),
            grid([chart(one, width=_SMALL, small=True) for one in found]),
            tag("h3", "All figures"),
            _standings(evidence, told),
            _groups(evidence, told),
            _forms(evidence, told),
            tag("h3", "Cost"),
            _cost(told),
            notes(told.get("notes", ())),
        ]
    )
    return Section("scores", "Scores", body, found)


def _key(present: Collection[str]) -> Html:
    """What the marks mean, of those that there are."""
    items = [
        tag("li", tag("span", mark, class_=f"mark role-{number}", aria_hidden="true"), word)
        for number, (mark, word) in enumerate(zip(charts.MARKS, charts.ROLES, strict=True))
        if word in present
    ]
    return tag("ul", items, class_="key", aria_label="What the marks mean")


def _standings(evidence: Evidence, told: Data) -> Html:
    role = roles(evidence)
    short = short_names([one["model"] for one in told["models"]])
    tasks = list(told["tasks"])
    columns = ("model", "what it is", "mean", "least", "against the best parent", *tasks)
    rows = []
    for one in told["models"]:
        cells = [_cell(one["tasks"].get(task)) for task in tasks]
        against = one.get("against")
        gain = "–" if against is None else f"{against['difference']['verdict']}: {interval(against['difference'])}"
        rows.append(
            [short[one["model"]], role[one["model"]], figure(one["mean"]), figure(one["minimum"]), gain, *cells]
        )
    unit = "gains" if told["raw"] else "shares of the experts’ scores"
    return table(columns, rows, f"Scores with their standard errors; mean and least are {unit}")


def _cell(cell: Data | None) -> str:
    if cell is None:
        return "–"
    error = "" if cell.get("stderr") is None else f" ± {figure(cell.get('stderr'))}"
    return f"{figure(cell['value'])}{error}"


def _groups(evidence: Evidence, told: Data) -> Html | None:
    """Metrics by groups of the data."""
    short = short_names([one["model"] for one in told["models"]])
    rows = []
    for one in told.get("groups", ()):
        found = [f"{g['name']}: {figure(g.get('value'))}{' (few rows)' if g['small'] else ''}" for g in one["figures"]]
        known = one.get("gap_low") is not None and one.get("gap_high") is not None
        ends = f" [{figure(one['gap_low'])}, {figure(one['gap_high'])}]" if known else ""
        gap = "–" if one.get("gap") is None else f"{figure(one['gap'])}{ends}"
        name = short.get(one["model"], one["model"])
        rows.append((one["model"], [name, one["task"], f"{one['metric']} by {one['column']}", "; ".join(found), gap]))
    columns = ("model", "task", "metric", "groups", "gap")
    return _own_first(evidence, "By groups", "Metrics by groups of the rows, and the gap between groups", columns, rows)


def _forms(evidence: Evidence, told: Data) -> Html | None:
    """Whether answers have the form asked for."""
    short = short_names([one["model"] for one in told["models"]])
    rows = []
    for one in told.get("forms", ()):
        against = "–" if one.get("against") is None else interval(one.get("against")["difference"])
        name = short.get(one["model"], one["model"])
        verdict = "lost" if one["collapsed"] else "kept"
        rows.append((one["model"], [name, one["task"], f"{one['share']:.1%}", against, verdict]))
    columns = ("model", "task", "answers of the form", "against the best parent", "form")
    return _own_first(evidence, "Form of the answers", "Answers that have the form asked for", columns, rows)


def _own_first(
    evidence: Evidence, title: str, caption: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
) -> Html | None:
    """A table on the merge, and one on the others for those who ask."""
    if not rows:
        return None
    own = [row for model, row in rows if model == the_merge(evidence)]
    rest = [row for model, row in rows if model != the_merge(evidence)]
    if not own:
        return joined([tag("h3", title), table(columns, rest, caption)])
    others = folded("The other models", table(columns, rest, f"{caption}: other models")) if rest else None
    return joined([tag("h3", title), table(columns, own, caption), others])


def _cost(told: Data) -> Html:
    short = short_names([one["model"] for one in told["models"]])
    rows = []
    for one in told["models"]:
        size = one["cost"].get("parameters")
        took = seconds(one["cost"].get("seconds_per_row"))
        rows.append([short[one["model"]], "–" if size is None else in_millions(size), took])
    return table(("model", "parameters", "time for a row"), rows, "What every model costs to run")


def search(evidence: Evidence) -> Section:
    """What was tried, and what it was worth."""
    if not evidence.searches:
        words = "No search was given: `--search FOLDER` tells of what `cuvee search` wrote."
        return Section("search", "Search", absent(words), is_told=False)
    found = tuple(figures.searches(evidence))
    body: list[object] = []
    for number, told in enumerate(evidence.searches, start=1):
        own = [one for one in found if one.name == f"search-{number}" or one.name.startswith(f"front-{number}-")]
        body += [tag("h3", _search_title(told)), _optimism(told), grid([chart(one, level=4, width=400) for one in own])]
        values = [(name, _value(value)) for name, value in told["best"]["values"].items()]
        body += [table(("hole", "best"), values, f"What stands in the holes, trial {told['best']['trial']}")]
        body.append(notes(told.get("notes", ())))
    return Section("search", "Search", joined(body), found)


def _search_title(told: Data) -> str:
    tasks = ", ".join(one["task"] for one in told["objectives"])
    return f"{told['strategy']} on {tasks}: {counted(len(told['tried']), 'trial')}"


def _optimism(told: Data) -> Html:
    best = told["best"]
    rows = [["the best trial", _with_error(best["search"]), _with_error(best["held_out"]), ""]]
    for key, label in (("best_parent", "best model by itself"), ("uniform", "plain average")):
        if (other := told.get(key)) is not None:
            more = f"{other['best_is']}: {signed(other['best_is_more_by']['value'])}"
            error = other["best_is_more_by"].get("stderr")
            more += "" if error is None else f" ± {figure(error)}"
            name = f"{label} ({other['model']})"
            rows.append([name, _with_error(other["search"]), _with_error(other["held_out"]), more])
    made = table(("model", "where it was searched", "held out", "the best trial is"), rows, "What it is worth")
    return joined(
        [
            made,
            tag(
                "p", f"Optimism: what it was worth where it was searched, less held out. {flattered(told['optimism'])}"
            ),
        ]
    )


def _with_error(told: Mapping[str, float | None]) -> str:
    error = told.get("stderr")
    return figure(told["value"]) + ("" if error is None else f" ± {figure(error)}")


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def explained(evidence: Evidence) -> Section:
    """What contributed."""
    if not evidence.explanations:
        words = "Nobody asked what contributed: `cuvee explain --json` does, and `--with FILE` tells what it printed."
        return Section("explained", "What contributed", absent(words), is_told=False)
    found = tuple(figures.explanations(evidence))
    body = grid([chart(one, width=_SMALL, open_table=True) for one in found])
    return Section("explained", "What contributed", body, found)


def sections(evidence: Evidence) -> Iterator[Section]:
    """All of them."""
    yield scores(evidence)
    yield search(evidence)
    yield explained(evidence)
