"""Charts as Vega-Lite, made through Altair: plain rows in, a specification out; colours are named, never said.

A theme (`drawing.THEMES`) gives the names `category`, `ordinal`, `heatmap` and `diverging` their colours, so that one
specification serves on light ground and on dark. Widths are the container's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cuvee.errors import Fault, UsageError
from cuvee.reporting.markup import legible

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

ROLES: Final = ("this merge", "input", "base", "ensemble", "another model")
"""What a model is in a comparison, in the order of the colours that a theme calls `category`."""
SHAPES: Final = ("diamond", "circle", "square", "triangle-up", "cross")
"""A shape for each: nobody has to tell colours apart."""
MARKS: Final = ("◆", "●", "■", "▲", "✚")
"""The same in a line of text."""
KINDS: Final = ("Shapley value", "lost if left out")
_SOLID: Final = {"symbolOpacity": 1, "symbolType": "circle"}
SERIES: Final = ("this merge", "model")
"""What a histogram shows."""


def altair_for_charts() -> Any:
    """Altair.

    Raises:
        UsageError: `missing-extra`: it is not installed.
    """
    try:
        import altair
    except ImportError:
        message = "charts are made by Altair, which is not installed"
        raise UsageError(Fault("missing-extra", message, None, "altair", 'pip install "cuvee[report]"')) from None
    return altair


def _spec(chart: Any, rows: Rows, *, name: str = "rows") -> Spec:
    """A chart's specification with its rows, and without what depends on the session (themes, counters)."""
    made: Spec = chart.to_dict(validate=True)
    made.pop("config", None)
    made.pop("datasets", None)
    made["autosize"] = {"type": "fit-x", "contains": "padding"}
    made["data"] = {"name": name, "values": [dict(row) for row in rows]}
    return legible(made)  # type: ignore[no-any-return]


def _start(height: int) -> Any:
    alt = altair_for_charts()
    return alt.Chart(alt.NamedData(name="rows")).properties(width="container", height=height)


def scores(
    rows: Rows,
    order: Sequence[str],
    title: str,
    domain: tuple[float, float] | None,
    kinds: Sequence[str] = ROLES,
) -> Spec:
    """Dots with error bars, a row for every model.

    Args:
        rows: `model`, `role`, `value`, `low`, `high`, `label`.
        order: the models from top to bottom.
        title: of the axis.
        domain: ends of the axis; made of the rows if not given.
        kinds: what `role` may be, at most as many as there are marks.
    """
    alt = altair_for_charts()
    scale = (
        alt.Scale(zero=False, nice=False, padding=12) if domain is None else alt.Scale(domain=list(domain), nice=True)
    )
    y = alt.Y("model:N", sort=list(order), title=None, axis=alt.Axis(ticks=False, domain=False))
    colour = alt.Color("role:N", scale=alt.Scale(domain=list(kinds), range="category"), legend=None)
    base = _start(24 * len(order)).encode(y=y, color=colour)
    bars = base.mark_rule(strokeWidth=2, opacity=0.65, aria=False).encode(
        x=alt.X("low:Q", title=title, scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", title=title, scale=scale),
        shape=alt.Shape("role:N", scale=alt.Scale(domain=list(kinds), range=list(SHAPES[: len(kinds)])), legend=None),
        tooltip=[alt.Tooltip("model:N"), alt.Tooltip("role:N"), alt.Tooltip("label:N", title="score")],
    )
    return _spec(alt.layer(bars, dots), rows)


def contributions(rows: Rows, order: Sequence[str], title: str) -> Spec:
    """Bars with error bars, two for every part of a model.

    Args:
        rows: `part`, `kind` (of `KINDS`), `value`, `low`, `high`, `label`.
        order: the parts from top to bottom.
        title: of the axis.
    """
    alt = altair_for_charts()
    y = alt.Y("part:N", sort=list(order), title=None, axis=alt.Axis(ticks=False, domain=False))
    offset = alt.YOffset("kind:N", sort=list(KINDS))
    legend = alt.Legend(orient="top", title=None)
    colour = alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range="category"), legend=legend)
    base = _start(38 * len(order)).encode(y=y, yOffset=offset)
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        x=alt.X("value:Q", title=title),
        color=colour,
        tooltip=[alt.Tooltip("part:N"), alt.Tooltip("kind:N"), alt.Tooltip("label:N", title="gain")],
    )
    errors = base.mark_rule(strokeWidth=1.5, aria=False).encode(x="low:Q", x2="high:Q")
    return _spec(alt.layer(bars, errors), rows)


def trials(rows: Rows, held: tuple[float, float, float] | None) -> Spec:
    """What was tried, the best so far, and what the best is worth on rows held out.

    Args:
        rows: `trial`, `gain`, `best`, `label`; `gain` may be missing.
        held: value, lower and upper end.
    """
    alt = altair_for_charts()
    names = ["trial", "best so far", "best, held out"]
    scale = alt.Scale(domain=names if held else names[:2], range="ordinal")
    colour = alt.Color("series:N", scale=scale, legend=alt.Legend(orient="top", title=None, **_SOLID))
    x = alt.X("trial:Q", title="trial", axis=alt.Axis(tickMinStep=1))
    y = alt.Y("gain:Q", title="gain (larger is better)", scale=alt.Scale(zero=False))
    tried, best, rest = (_start(260).transform_calculate(series=f"'{name}'").encode(color=colour) for name in names)
    rest = rest.transform_filter("datum.trial === 0")  # one mark, not one for each row
    tips = [alt.Tooltip("trial:Q"), alt.Tooltip("label:N", title="gain")]
    layers = [
        tried.mark_point(filled=True, size=42, opacity=0.75).encode(x=x, y=y, tooltip=tips),
        best.mark_line(interpolate="step-after", strokeWidth=2.5).encode(x=x, y="best:Q"),
    ]
    if held:
        value, low, high = (alt.datum(end) for end in held)
        layers.insert(0, rest.mark_rect(opacity=0.12, aria=False).encode(y=low, y2=high))
        layers.append(rest.mark_rule(strokeDash=[6, 4], strokeWidth=2).encode(y=value))
    return _spec(alt.layer(*layers), rows)


def front(rows: Rows, x_title: str, y_title: str, *, name: str = "trial:Q", scale: str = "linear") -> Spec:
    """Two objectives against each other.

    Args:
        rows: `trial`, or what `name` says, `x`, `y`, `kind` (`Pareto front` or `beaten`), `label`.
        x_title: the objective to the right.
        y_title: the objective upwards.
        name: the field that a point is called by, with its type.
        scale: of the axis to the right, `linear` or `log`.
    """
    alt = altair_for_charts()
    kinds = ["beaten", "Pareto front"]
    kind: dict[str, Any] = {"zero": False} if scale == "linear" else {"type": scale}  # a logarithm has no zero
    across = alt.Scale(nice=False, padding=12, **kind)
    legend = alt.Legend(orient="top", title=None)
    points = (
        _start(280)
        .mark_point(filled=True, opacity=0.85, size=80)
        .encode(
            x=alt.X("x:Q", title=x_title, scale=across),
            y=alt.Y("y:Q", title=y_title, scale=alt.Scale(zero=False, nice=False, padding=12)),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=kinds, range="ordinal"),
                legend=legend,
            ),
            shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["circle", "diamond"]), legend=legend),
            tooltip=[alt.Tooltip(name), alt.Tooltip("label:N", title="gains" if name == "trial:Q" else "what")],
        )
    )
    return _spec(points, rows)


def heat(
    rows: Rows,
    x: Sequence[str],
    y: Sequence[str],
    *,
    title: str,
    domain: tuple[float, float] | None,
    diverging: bool = False,
    chosen: str | None = None,
    labels: float | None = None,
) -> Spec:
    """A cell for every layer and module, or model.

    Args:
        rows: `x`, `y`, `value` (may be missing), `label`; `model` where one can be chosen.
        x: the layers from left to right.
        y: the modules from top to bottom.
        title: of the colours.
        domain: ends of the colours' scale; those of the rows if not given.
        diverging: whether the middle of the scale has a meaning.
        chosen: the model shown first; the parameter `model` chooses another.
        labels: write the values into the cells, in another colour from this value on; `None` for no values.
    """
    alt = altair_for_charts()
    crowded = len(x) > 24
    scale: dict[str, Any] = {"range": "diverging" if diverging else "heatmap", "interpolate": "lab"}
    scale |= {} if domain is None else {"domain": list(domain)}
    axis = alt.Axis(labelAngle=0, labelOverlap=True, ticks=False, domain=False, title="layer", labelLimit=60)
    base = _start(22 * len(y)).encode(
        x=alt.X("x:N", sort=list(x), axis=axis, scale=alt.Scale(paddingInner=0 if crowded else 0.06)),
        y=alt.Y(
            "y:N",
            sort=list(y),
            title=None,
            axis=alt.Axis(ticks=False, domain=False),
            scale=alt.Scale(paddingInner=0.06),
        ),
    )
    cells = base.mark_rect(cursor="pointer" if chosen else "default").encode(
        color=alt.Color(
            "value:Q",
            scale=alt.Scale(**scale),
            legend=alt.Legend(orient="top", title=title, gradientLength=180, gradientThickness=8, titleLimit=320),
        ),
        tooltip=[
            alt.Tooltip("x:N", title="layer"),
            alt.Tooltip("y:N", title="part"),
            alt.Tooltip("label:N", title=title),
        ],
    )
    layers = [cells]
    if labels is not None:
        for style, test in (("on-low", "<"), ("on-high", ">=")):
            words = base.mark_text(fontSize=11, aria=False, style=style).encode(text="label:N")
            layers.append(words.transform_filter(f"datum.value {test} {labels!r}"))
    chart: Any = alt.layer(*layers)
    if chosen is not None:
        chart = chart.add_params(alt.param(name="model", value=chosen)).transform_filter("datum.model === model")
    return _spec(chart, rows)


def histogram(rows: Rows) -> Spec:
    """How a tensor's changes are spread: of one model, and of the merge.

    Args:
        rows: `from`, `to`, `share` and `series` (of `SERIES`) of every bin.
    """
    alt = altair_for_charts()
    bars = (
        _start(220)
        .mark_bar(opacity=0.5, binSpacing=0)
        .encode(
            x=alt.X("from:Q", title="change of an entry", axis=alt.Axis(format=".2~g", labelOverlap=True, tickCount=6)),
            x2="to:Q",
            y=alt.Y("share:Q", title="share of entries", stack=None, axis=alt.Axis(format="%")),
            y2=alt.datum(0),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=list(SERIES), range="category"),
                legend=alt.Legend(orient="top", title=None),
            ),
            tooltip=[
                alt.Tooltip("series:N"),
                alt.Tooltip("from:Q", format=".2e"),
                alt.Tooltip("to:Q", format=".2e"),
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
    )
    return _spec(bars, rows)


def ladder(rows: Rows, order: Sequence[str], x_title: str, y_title: str) -> Spec:
    """Scores against cost, a point with its error bar for every rung.

    Args:
        rows: `rung`, `x`, `y`, `low`, `high`, `label`.
        order: the rungs from the first one up.
        x_title: the cost to the right, on a scale of ratios.
        y_title: the score upwards.
    """
    alt = altair_for_charts()
    x = alt.X("x:Q", title=x_title, scale=alt.Scale(type="log", nice=False, padding=24), axis=alt.Axis(tickCount=5))
    y = alt.Y("y:Q", title=y_title, scale=alt.Scale(zero=False, nice=False, padding=12))
    scales = [
        alt.Scale(domain=list(order), range=one) for one in ("category", [*SHAPES, "triangle-down"][: len(order)])
    ]
    legend = alt.Legend(orient="right", title=None)
    base = _start(300).encode(x=x, color=alt.Color("rung:N", scale=scales[0], legend=legend))
    bars = base.mark_rule(strokeWidth=2, opacity=0.65, aria=False).encode(y=alt.Y("low:Q", title=y_title), y2="high:Q")
    shape = alt.Shape("rung:N", scale=scales[1], legend=legend)
    tips = [alt.Tooltip("rung:N"), alt.Tooltip("label:N", title="score and cost")]
    dots = base.mark_point(filled=True, size=110, opacity=1).encode(y=y, shape=shape, tooltip=tips)
    return _spec(alt.layer(bars, dots), rows)


def at_width(spec: Mapping[str, Any], width: int) -> Spec:
    """The same with a width of its own, for a picture."""
    made: Spec = copy.deepcopy({key: value for key, value in spec.items() if key != "autosize"})
    for part in (made, *made.get("layer", ())):
        if part.get("width") == "container":
            part["width"] = width
    return made
