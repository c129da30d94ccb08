"""The demo's results at a glance: means with error bars on the left, every score of every model on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.os_errors import told
from cuvee.demo.skills import SKILLS

Results = Mapping[str, Any]

INK: Final = "#2b2530"
QUIET: Final = "#8b8590"
RULE: Final = "#e9e4ea"
WINE: Final = "#7b1e3a"
COLOURS: Final = {"base": "#9a949e", "expert": "#3f6a8a", "merge": WINE}
HEADINGS: Final = {"base": "base", "expert": "specialists", "merge": "merges"}
SHADES: Final = ("#fbf7f8", "#f0dde2", "#d9a9b6", "#b0576f", WINE)
EXAMPLE: Final = "cabd"
GAP: Final = 0.7
"""Rows of empty space between the kinds of model."""


def draw(results: Results, files: Sequence[Path]) -> None:
    """Draw the results into each of the files, in the format its suffix names; same results, same bytes.

    Args:
        results: the contents of `results.json`.
        files: `.png` and `.svg` files to write.

    Raises:
        ResourceError: the system refuses to write them.
    """
    import matplotlib as mpl

    style = {"font.family": "DejaVu Sans", "svg.hashsalt": "cuvee", "svg.fonttype": "path", "text.color": INK}
    with mpl.rc_context(style):
        figure = _figure(results)
        for file in files:
            stamp = {"Date": None} if file.suffix == ".svg" else {"Software": None}
            with told("write", file):
                figure.savefig(file, dpi=160, metadata=stamp, facecolor="white")


def _figure(results: Results) -> Any:
    """The whole picture: two panels that share their rows."""
    from matplotlib.figure import Figure

    places = _places(results["models"])
    figure = Figure(figsize=(12, 1.9 + 0.42 * max(places)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    figure.subplots_adjust(left=0.15, right=0.98, top=1 - 1.25 / figure.get_figheight(), bottom=0.09, wspace=0.06)
    _draw_means(left, results, places)
    _draw_scores(right, results, places)
    _draw_title(figure, results)
    return figure


def _places(models: Sequence[Mapping[str, Any]]) -> list[float]:
    """The row of every model, from the top, with a gap wherever the kind changes."""
    places = [0.0]
    for before, model in pairwise(models):
        places.append(places[-1] + 1 + (GAP if model["kind"] != before["kind"] else 0))
    return places


def _draw_title(figure: Any, results: Results) -> None:
    """What the picture shows, in a sentence, and how to read it."""
    best, height = results["best"], figure.get_figheight()
    ahead = f"{100 * best['difference']:.0f} ± {100 * best['stderr']:.0f} points ahead of"
    verdict = ahead if best["difference"] > 0 else "not ahead of"
    title = f"{best['merge']}: one merged model, {verdict} the best specialist"
    n = next(iter(results["models"][0]["scores"].values()))["n"]
    note = f"exact match on {len(results['skills'])} skills, {n} unseen items each; ± above: standard error; bars: two"
    figure.text(0.02, 1 - 0.36 / height, title, fontsize=16, fontweight="bold", va="center")
    figure.text(0.02, 1 - 0.70 / height, note, fontsize=10.5, color=QUIET, va="center")


def _draw_means(axes: Any, results: Results, places: Sequence[float]) -> None:
    """Mean over the skills, a dot and an error bar per model, and a line where the best specialist stands."""
    from matplotlib.patheffects import withStroke

    models, halo = results["models"], withStroke(linewidth=3, foreground="white")
    bar = max(m["mean"] for m in models if m["kind"] == "expert")
    axes.axvline(100 * bar, color=COLOURS["expert"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    note = {"ha": "left", "va": "center", "color": COLOURS["expert"], "fontsize": 9}
    axes.text(100 * bar + 1.5, min(places) - 0.25, "best specialist", **note)
    for model, place in zip(models, places):
        colour, value = COLOURS[model["kind"]], 100 * model["mean"]
        axes.plot([0, value], [place, place], color=colour, alpha=0.22, linewidth=7, solid_capstyle="butt", zorder=2)
        axes.errorbar(
            value, place, xerr=200 * model["mean_stderr"], fmt="o", color=colour, markersize=8, capsize=3, zorder=3
        )
        label = axes.annotate(f"{value:.0f}", (value, place), (11, 7), textcoords="offset points", fontsize=10)
        label.set(color=colour, path_effects=[halo])
    axes.set(xlim=(0, 104), ylim=(max(places) + 0.6, min(places) - 0.6))
    axes.set_xlabel("mean over all skills, % exact", color=QUIET, fontsize=10)
    _clean(axes)
    axes.xaxis.grid(visible=True, color=RULE)
    _name_rows(axes, results, places)


def _name_rows(axes: Any, results: Results, places: Sequence[float]) -> None:
    """Model names beside their rows, coloured by kind, the winner in bold, and a heading over each kind."""
    best, seen = results["best"]["merge"], set()
    axes.set_yticks([])
    for model, place in zip(results["models"], places):
        name, kind = model["name"].replace("_", " "), model["kind"]
        weight = "bold" if model["name"] == best else "normal"
        axes.text(-2, place, name, ha="right", va="center", color=COLOURS[kind], fontsize=11, fontweight=weight)
        if kind not in seen and kind != "base":
            axes.text(-2, place - 0.78, HEADINGS[kind], ha="right", va="center", color=QUIET, fontsize=9)
        seen.add(kind)


def _draw_scores(axes: Any, results: Results, places: Sequence[float]) -> None:
    """Every score of every model as a shaded cell; a specialist's own skill is framed."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    shade = LinearSegmentedColormap.from_list("cuvee", SHADES)
    for model, place in zip(results["models"], places):
        for column, (word, score) in enumerate(model["scores"].items()):
            value, own = score["value"], word == model["name"]
            edge, width = (INK, 1.6) if own else ("white", 2)
            box = Rectangle((column - 0.5, place - 0.5), 1, 1, facecolor=shade(value), edgecolor=edge, linewidth=width)
            axes.add_patch(box).set_zorder(3 if own else 2)
            ink = "white" if value > 0.55 else INK
            axes.text(column, place, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=10, zorder=4)
    axes.set(xlim=(-0.55, len(results["skills"]) - 0.45))
    _name_columns(axes, results, min(places))
    axes.set_xlabel("each skill, % exact; framed: what the specialist was trained on", color=QUIET, fontsize=10)
    _clean(axes)


def _name_columns(axes: Any, results: Results, top: float) -> None:
    """Skill names over their columns, each with an example."""
    axes.set_xticks([])
    for column, word in enumerate(results["skills"]):
        skill = SKILLS[word]
        asked = EXAMPLE[: max(n for n in skill.lengths if n <= len(EXAMPLE))]
        axes.text(column, top - 1.18, word, ha="center", va="center", fontsize=11)
        example = f"{asked} → {skill.answer(asked)}"
        axes.text(column, top - 0.77, example, ha="center", va="center", color=QUIET, fontsize=8)


def _clean(axes: Any) -> None:
    """No frame, no tick marks."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
