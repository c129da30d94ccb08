"""The sections on how the merge was made, and what was done: verdict, recipe and lineage, what was applied, record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cuvee.planning import Effect
from cuvee.reporting import charts
from cuvee.reporting.applied import AFTER, BEFORE, Applied
from cuvee.reporting.cast import short_names
from cuvee.reporting.evidence import Data, Evidence
from cuvee.reporting.figures import Figure
from cuvee.reporting.lineage import lineage
from cuvee.reporting.looked import Looked
from cuvee.reporting.markup import Html, joined, pairs, table, tag
from cuvee.reporting.mixtures import experts_of, settings_of
from cuvee.reporting.parts import Section, absent, chart, folded, notes, spoken
from cuvee.reporting.verdicts import verdicts, what_it_is
from cuvee.reporting.words import counted, figure, in_millions, seconds

_SIGNS: Final = {"better": "▲", "worse": "▼", "even": "≈", "open": "○"}
_LABELS: Final = 400
"""Cells of a heat map that still have their values written into them."""
_SHORT: Final = 24
"""Rows of a table that is seen at once."""


def verdict(evidence: Evidence) -> Section:
    """What this is, and whether it was worth it."""
    cards = [
        tag(
            "li",
            tag("span", _SIGNS[one.mood], class_="sign", aria_hidden="true"),
            tag("div", tag("h3", one.head), tag("p", spoken(one.text))),
            class_=f"card {one.mood}",
        )
        for one in verdicts(evidence)
    ]
    body = joined([tag("p", what_it_is(evidence), class_="lead"), tag("ul", cards, class_="cards")])
    return Section("verdict", "Was it worth it?", body, is_told=bool(evidence.comparison or evidence.searches))


def made(evidence: Evidence, recipe: str) -> Section:
    """The recipe, and what came from what."""
    record, name = evidence.record, evidence.folder.absolute().name
    drawn = tag("div", lineage(record, name), class_="scroll", tabindex="0", role="region", aria_label="Lineage")
    rows = [
        (
            one["model"],
            "base" if one["base"] else "input",
            in_millions(one["parameters"]),
            f"{one['tensors_read']:,} of {one['tensors']:,}",
        )
        for one in record["inputs"]
    ]
    code = tag("pre", tag("code", recipe), tabindex="0", role="region", aria_label="Recipe, YAML")
    changes = [f"{key}: {value}" for key, value in record["config_changes"].items()]
    body = [
        tag("h3", "Lineage"),
        drawn,
        tag("div", tag("div", tag("h3", "Recipe"), code), tag("div", tag("h3", "Models"), _models(rows)), class_="two"),
        *_mixture(record),
        tag("p", "Changed in config.json: ", "; ".join(changes), ".") if changes else None,
    ]
    return Section("made", "How it was made", joined(body))


def _mixture(record: Data) -> list[Html]:
    """What a mixture of experts is made of; nothing for a merge."""
    if "mixture" not in record:
        return []
    experts = table(("expert", "model", "prompts"), experts_of(record), "Experts that the routers choose among")
    return [tag("h3", "Mixture of experts"), pairs(settings_of(record)), experts]


def _models(rows: Sequence[Sequence[object]]) -> Html:
    return table(("model", "role", "parameters", "tensors read"), rows, "Models that it was made of")


def what_was_applied(evidence: Evidence, looked: Looked) -> Section:
    """Tensors by what became of them, and the parameters layer by layer."""
    record = evidence.record
    counts = record["counts"]
    tiles = [tag("li", tag("b", f"{counts[key]:,}"), word) for key, word in _COUNTS.items()]
    reasons = Counter(record["copied"].values())
    figures: list[Figure] = []
    body: list[object] = [tag("ul", tiles, class_="tiles", aria_label="Tensors by what became of them")]
    if reasons:
        told = "; ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        body.append(tag("p", f"Copied: {told}."))
    if record["tied"]:
        body.append(tag("p", "Tied: ", "; ".join(f"{a} is {b}" for a, b in record["tied"].items()), "."))
    if looked.applied is None:
        body.append(absent(f"What the recipe comes to in every layer is not told: {looked.why}"))
    else:
        if looked.applied.weights:
            figures.append(weights(looked.applied))
            body.append(chart(figures[0], width=560))
        else:
            body.append(
                tag("p", "This method has no weights: what it takes of each model is told by the tensors below.")
            )
        body += [tag("h3", "Parameters, layer by layer"), _effects(looked.applied)]
    body.append(notes(record["notes"]))
    return Section("applied", "What was really applied", joined(body), tuple(figures))


_COUNTS: Final = {"merged": "merged", "copied": "copied", "tied": "tied", "lost": "lost", "left_out": "left out"}


def weights(applied: Applied) -> Figure:
    """How much of every model is in every layer."""
    short = short_names(applied.models)
    rows = [
        {"x": one.layer, "y": short[applied.models[one.model]], "value": one.value, "label": figure(one.value)}
        for one in applied.weights
    ]
    names = list(dict.fromkeys(short[name] for name in applied.models))
    shown = [name for name in names if any(row["y"] == name for row in rows)]
    ends = [float(str(row["value"])) for row in rows]
    varied = max(ends) - min(ends) > 0.01
    domain = (min(0.0, *ends), max(ends) if varied and max(ends) > 0 else max(1.0, *ends))
    is_small = len(shown) * len(applied.layers) <= _LABELS and len(applied.layers) <= 12
    spec = charts.heat(
        rows,
        applied.layers,
        shown,
        title="effective weight",
        domain=domain,
        labels=domain[0] + 0.55 * (domain[1] - domain[0]) if is_small else None,
    )
    said = (
        "How much of each model is in each layer: its weight times λ, divided by the sum where the method divides by "
    )
    said += f"it, in the mean over the entries of the layer; a copy counts 1. “{BEFORE}” and “{AFTER}” are before and "
    said += "behind the layers."
    cells = {(row["y"], row["x"]): row["label"] for row in rows}
    body = tuple((name, *(str(cells.get((name, layer), "–")) for layer in applied.layers)) for name in shown)
    return Figure("weights", "Effective weight of every model", said, spec, ("model", *applied.layers), body)


def _effects(applied: Applied) -> Html:
    short = short_names(applied.models)
    names = list(dict.fromkeys(name for one in applied.effects for name in one.values))
    columns = ("layers", "part", "tensors", "what", *names)
    rows = [_effect(found, names, short) for found in _alike(applied.effects)]
    caption = "Parameters, layer by layer; several numbers are one for each model, in their order"
    made = table(columns, rows, caption)
    return made if len(rows) <= _SHORT else folded(f"{len(rows)} rows", made)


def _alike(effects: Sequence[Effect]) -> list[list[Effect]]:
    """Parts of the same layers that are treated alike, together."""
    found: dict[str, list[Effect]] = {}
    for one in effects:
        key = repr((one.stack, one.layers, one.action, sorted(one.values.items()), one.models))
        found.setdefault(key, []).append(one)
    return list(found.values())


def _effect(alike: Sequence[Effect], names: Sequence[str], short: Mapping[str, str]) -> list[object]:
    one = alike[0]
    layers = "–" if one.layers is None else "–".join(dict.fromkeys(str(end) for end in one.layers))
    what = "merged" if one.action == "merge" else f"copied from {short.get(one.models[0], one.models[0])}"
    parts = ", ".join(part.group.removesuffix(".weight") for part in alike)
    tensors = sum(part.tensors for part in alike)
    return [layers, parts, f"{tensors:,}", what, *(_setting(one.values.get(name, "")) for name in names)]


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        told = [_setting(entry) for entry in value]
        return told[0] if len(set(told)) == 1 else " ".join(told)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def record(evidence: Evidence, versions: Mapping[str, str]) -> Section:
    """Time, versions, citations, hashes."""
    told = evidence.record
    body = [
        tag("h3", "Time"),
        _time(evidence),
        tag("h3", "Versions"),
        pairs([*told["versions"].items(), *((f"{name} (this page)", one) for name, one in versions.items())]),
        tag("h3", "Papers"),
        _papers(evidence),
        tag("h3", "Hashes"),
        tag("div", pairs(_hashes(told)), class_="hashes"),
    ]
    return Section("record", "The record", joined(body))


def _time(evidence: Evidence) -> Html:
    judged = () if evidence.comparison is None else evidence.comparison["models"]
    costs = [(one["model"], one["cost"].get("seconds_per_row")) for one in judged]
    rows = [(name, "a row, in the mean over tasks", seconds(took)) for name, took in costs if took is not None]
    for told in evidence.searches:
        spent = [trial.get("seconds", 0.0) for trial in told["tried"]]
        if spent:
            rows.append((f"search ({told['strategy']})", counted(len(spent), "trial"), seconds(sum(spent))))
            rows.append((f"search ({told['strategy']})", "a trial, in the mean", seconds(sum(spent) / len(spent))))
    if not rows:
        return absent("The record of a merge holds no times, so that the same merge has the same record.")
    return table(("what", "of", "time"), rows, "Time that was taken")


def _papers(evidence: Evidence) -> Html:
    found: dict[str, Data] = {}
    sources = [evidence.record, *evidence.searches, *evidence.explanations, evidence.comparison or {}]
    for source in sources:
        found |= {one["text"]: one for one in source.get("citations", ()) or ()}
    if not found:
        return absent("None: no paper is named by the record.")
    return tag("ol", [tag("li", one["text"], _link(one)) for one in found.values()], class_="papers")


def _link(one: Data) -> Html | None:
    if arxiv := one.get("arxiv"):
        address, words = f"https://arxiv.org/abs/{arxiv}", f"arXiv:{arxiv}"
    elif str(one.get("url", "")).startswith("https://"):
        address = words = str(one["url"])
    else:
        return None
    return joined([" ", tag("a", words, href=address, rel="noreferrer noopener")])


def _hashes(told: Data) -> Iterator[tuple[str, Any]]:
    yield "recipe (SHA-256)", tag("code", told["recipe_sha256"])
    yield "output (content, xxh3-128)", tag("code", told["output"]["content"])
    for one in told["inputs"]:
        yield f"{one['model']} (content)", tag("code", one["content"])
    for name, digest in told["output"].get("sha256", {}).items():
        yield f"{name} (SHA-256)", tag("code", digest)
    yield "seed", str(told["seed"])
    yield "arithmetic", ", ".join(told["arithmetic"])
