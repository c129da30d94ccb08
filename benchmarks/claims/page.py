"""The page of results: every claim with its verdict, every gate that failed, and the tables behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from benchmarks.claims.glyph_claims import base_score, multitask_score
from benchmarks.claims.language_claims import multitask
from benchmarks.claims.tracks import TRACKS
from benchmarks.claims.verdicts import Estimate, Finding, failed, judged, mean_and_error

Units = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What was measured, by track and seed."""


def findings(units: Units) -> dict[str, list[Finding]]:
    """Every claim of every track judged; claims of a track that was not measured are not tested."""
    found = {}
    for name, track in TRACKS.items():
        outcomes = {seed: unit["outcome"] for seed, unit in units.get(name, {}).items()}
        found[name] = [judged(claim, outcomes) for claim in track.claims()]
    return found


def summary(units: Units) -> list[dict[str, Any]]:
    """The verdicts as data."""
    rows = []
    for track, found in findings(units).items():
        for one in found:
            kept = {key: value for key, value in asdict(one).items() if key != "claim"}
            said = {"name": one.claim.name, "says": one.claim.says, "source": one.claim.source}
            rows.append({"track": track, **said, "margin": one.claim.margin, **kept})
    return rows


def page(units: Units, tables: bool = True) -> str:
    """Markdown; without its tables, what is shown on the screen."""
    lines = ["# Published claims about merging, measured again in miniature", ""]
    if any(unit["quick"] for track in units.values() for unit in track.values()):
        lines += ["**A smoke test: hardly trained. It says nothing of any claim.**", ""]
    found = findings(units)
    count = {word: sum(one.verdict == word for rows in found.values() for one in rows) for word in VERDICTS}
    lines += [", ".join(f"{number} {word}" for word, number in count.items()) + ".", ""]
    if tables:
        lines += [*ABOUT, ""]
    for name, rows in found.items():
        lines += [f"## {TRACKS[name].title}", ""]
        lines += _measured(name, units.get(name, {}))
        lines += [*_verdicts(rows), ""]
        if tables and name in units:
            lines += [*TABLES[name](units[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


ENOUGH = 3
FEW = (
    "**Fewer than three seeds: the errors are those of rows and subsets, and another base may reverse an order. The "
    "verdicts are those of this run.**"
)
VERDICTS = ("held", "not held", "not tested")
ABOUT = (
    "`make claims` writes this page. Every claim is an ordering with a margin: it is *held* when the mean over seeds "
    "reaches the margin and, for a margin above nothing, is also above nothing by two standard errors; otherwise it is "
    "*not held*, which may mean that it is wrong here or that it is within the noise: the figures tell. ± is the "
    "standard error of the mean over seeds, or of the rows where that is larger. A seed whose models fail a gate is "
    "not judged. Margins were set before these runs, from another implementation's measurements, and none was moved "
    "afterwards; a claim that was added later says so.",
    "",
    "All merges go through Cuvee: `linear`, `task_arithmetic`, `ties_global` (which trims over the whole model, as the "
    "paper does), `dare_ties` with `normalize: true`, `slerp`. TIES k20 λ1 and TA 0.4 are published defaults; *tuned* "
    "is the best of a small grid on validation rows of the merged tasks. A test holds `ties_global` and `dare_ties` to "
    "the papers' arithmetic on one vector per model, written in plain NumPy.",
    "",
    "Small models and short tasks: orders, not laws. Merging of *different* architectures, ZipIt! and claims about "
    "models of billions of parameters are not tested here.",
)


def _measured(name: str, units: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    yield TRACKS[name].about
    yield ""
    if not units:
        yield f"*Not measured: `python -m benchmarks.claims --tier {TRACKS[name].tier}`.*"
        yield ""
        return
    yield f"Seeds measured: {', '.join(units)}. {_gates(units)}"
    if len(units) < ENOUGH:
        yield FEW
    yield ""


def _gates(units: Mapping[str, Mapping[str, Any]]) -> str:
    """The gates that failed, seed by seed; for language models by pool."""
    reasons = []
    for seed, unit in units.items():
        pools = unit["outcome"].get("pools", {"": unit["outcome"]})
        whys = {f"seed {seed} {name}".strip(): failed(pool["gates"]) for name, pool in pools.items()}
        reasons += [f"{where}: {why}" for where, why in whys.items() if why]
    return f"**Gates that failed**: {' — '.join(reasons)}." if reasons else "All gates passed."


def _verdicts(rows: Sequence[Finding]) -> Iterable[str]:
    yield "| claim | whose | at least | measured | by seed | verdict |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in rows:
        told = one.claim
        yield f"| **{told.name}**: {told.says} | {told.source} | {_margin(told.margin)} | {' | '.join(_said(one))} |"


def _said(one: Finding) -> tuple[str, str, str]:
    """What was measured, by seed, and the verdict."""
    if one.mean is None or one.error is None:
        return "–", "; ".join(dict.fromkeys(one.untested.values())) or "not measured", "**not tested**"
    noise = " (within the noise)" if one.verdict == "not held" and abs(one.mean) < 2 * one.error else ""
    values = ", ".join(f"{value:+.3f}" for value in one.values)
    return f"{one.mean:+.3f} ± {one.error:.3f}", values, f"**{one.verdict}**{noise}"


def _margin(value: float) -> str:
    return "more than 0" if value == 0.001 else f"{value:+g}"


def _cell(values: Sequence[float]) -> str:
    mean, error = mean_and_error([Estimate(value) for value in values])
    return f"{mean:.3f} ± {error:.3f}" if len(values) > 1 else f"{mean:.3f}"


def _outcomes(units: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    return [unit["outcome"] for unit in units.values()]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


def _digits(units: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    found = _outcomes(units)
    widths = list(found[0]["widths"])
    names = dict.fromkeys(name for w in widths for name in found[0]["widths"][w])

    def cell(width: str, name: str) -> str:
        values = [one["widths"][width].get(name) for one in found]
        return "–" if None in values else _cell(values)

    rows = ([name, *(cell(w, name) for w in widths)] for name in names)
    yield from _table(["test accuracy", *(f"width {w}" for w in widths)], rows)


def _soups(units: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    found = _outcomes(units)
    parts = ("validation", "test", "shifted")
    rows = ([name, *(_cell([one["models"][name][p] for one in found]) for p in parts)] for name in found[0]["models"])
    yield from _table(["accuracy", *parts], rows)
    yield ""
    yield f"Members of the greedy soups: {', '.join(str(len(one['members'])) for one in found)}."


def _curves(pools: Sequence[Any], figure: str) -> Iterable[Sequence[str]]:
    """A row per way, a column per number of experts: mean over subsets, then over seeds."""
    for way in dict.fromkeys(row["way"] for row in pools[0]["merges"]):
        cells = []
        for n in (2, 4, 6, 8):
            by_seed = [[r[figure] for r in p["merges"] if r["way"] == way and r["n"] == n] for p in pools]
            known = [fmean(rows) for rows in by_seed if rows and None not in rows]
            cells.append(_cell(known) if known else "–")
        yield [way, *cells]


COUNTS = ("2 experts", "4", "6", "8")


def _glyphs(units: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    found = _outcomes(units)
    yield (
        f"Accuracy divided by the expert's. Base {_cell([base_score(one) for one in found])}, multitask "
        f"{_cell([multitask_score(one) for one in found])}; experts, not divided, "
        f"{_cell([fmean(one['references']['experts'].values()) for one in found])}. |τ|/|θ₀| "
        f"{_cell([one['geometry']['norm_ratio'] for one in found])}, cosine of two task vectors "
        f"{_cell([one['geometry']['cosine'] for one in found])}."
    )
    figures = {"merged tasks, mean": "held_in", "merged tasks, worst": "worst", "other tasks, raw": "others"}
    for title, figure in figures.items():
        yield ""
        yield from _table([title, *COUNTS], _curves(found, figure))


def _language(units: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    names = dict.fromkeys(name for one in _outcomes(units) for name in one["pools"])
    for name in names:
        pools = [one["pools"][name] for one in _outcomes(units) if one["pools"].get(name, {}).get("merges")]
        if pools:
            yield from _pool(name, pools)


def _pool(name: str, pools: Sequence[Any]) -> Iterable[str]:
    yield f"### {name}"
    yield ""
    yield from _references(pools)
    for title, figure in (
        ("held-in, mean", "held_in"),
        ("held-in, worst skill", "worst"),
        ("held-in, tokens, raw", "held_in_tokens"),
        ("held-out, raw", "held_out"),
        ("held-out, tokens, raw", "held_out_tokens"),
    ):
        yield ""
        yield from _table([title, *COUNTS], _curves(pools, figure))
    yield ""
    if all("fusing" in one for one in pools):
        starts, steps = pools[0]["fusing"], list(pools[0]["fusing"]["base"])
        rows = ([start, *(_cell([one["fusing"][start][n] for one in pools]) for n in steps)] for start in starts)
        yield from _table(["held-out skill, trained from", *(f"{n} steps" for n in steps)], rows)
        yield ""


def _references(pools: Sequence[Any]) -> Iterable[str]:
    known = [one["references"] for one in pools]
    experts = [one["experts"] for one in known]
    yield from _table(
        ["", "held-in", "held-out, raw"],
        [
            ["base, raw", _cell([one["base"]["held_in"] for one in known]), _out(one["base"] for one in known)],
            ["experts, own skill", _cell([fmean(one["own"].values()) for one in experts]), _out(experts)],
            ["best expert held-out", "", _cell([one["best_held_out"] for one in experts])],
            ["multitask", _cell([multitask(one) for one in pools]), _out(one["multitask"] for one in known)],
        ],
    )
    yield ""
    shapes = [one["geometry"] for one in pools]
    norm, cosine = (_cell([one[key] for one in shapes]) for key in ("norm_ratio", "cosine"))
    yield f"|τ|/|θ₀| {norm}, cosine of two task vectors {cosine}."


def _out(found: Iterable[Mapping[str, Any]]) -> str:
    return _cell([one["held_out"] for one in found])


TABLES = {"digits": _digits, "glyphs": _glyphs, "soups": _soups, "language": _language}
