"""Charts drawn without a browser, and the scripts that draw them in one: both are in vl-convert's wheel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

from cuvee.errors import Fault, UsageError
from cuvee.reporting.charts import at_width

Theme = Literal["light", "dark"]

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
WIDTH: Final = 560
"""Pixels between the axes of a picture."""
_COLOURS: Final[Mapping[Theme, Mapping[str, Any]]] = {
    "light": {
        "ink": "#1f2328",
        "soft": "#57606a",
        "grid": "#e5e1dc",
        "ground": "#ffffff",
        "category": ["#9b1b4a", "#2563a8", "#6b7280", "#a15c07", "#0f766e"],
        "ordinal": ["#8a8f98", "#9b1b4a", "#2563a8"],
        "heatmap": ["#f7f1ec", "#e3b7b9", "#c26a80", "#9b1b4a", "#5a0d2b"],
        "diverging": ["#1d4f91", "#9cbbe0", "#f4f1ee", "#dd9db0", "#9b1b4a"],
    },
    "dark": {
        "ink": "#ece8e4",
        "soft": "#b3aca6",
        "grid": "#3a3438",
        "ground": "#1d191c",
        "category": ["#f08cae", "#7db4f0", "#a8adb5", "#e3b062", "#5cc8ba"],
        "ordinal": ["#8d8892", "#f08cae", "#7db4f0"],
        "heatmap": ["#2b2429", "#5a2f41", "#92425f", "#cf6a8b", "#fbc4d5"],
        "diverging": ["#8fc0f7", "#3d6291", "#2b2429", "#8a3f5b", "#f7a3bf"],
    },
}
_NAMES: Final = re.compile(r'(?<=id=")(clip|gradient_)[\w-]+(?=")|(?<=url\(#)(clip|gradient_)[\w-]+(?=\))')


def _config(theme: Theme) -> dict[str, Any]:
    colours = _COLOURS[theme]
    text = {"labelColor": colours["soft"], "titleColor": colours["ink"], "titleFontWeight": 500, "titleFontSize": 12}
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**text, "gridColor": colours["grid"], "domainColor": colours["grid"], "tickColor": colours["grid"]},
        "axisX": {"labelOverlap": "greedy", "labelSeparation": 6},
        "axisY": {"labelFontSize": 12, "labelLimit": 150},
        "legend": {**text, "labelFontSize": 12, "symbolStrokeWidth": 0},
        "title": {"color": colours["ink"]},
        "range": {name: colours[name] for name in ("category", "ordinal", "heatmap", "diverging")},
        "rule": {"color": colours["ink"]},
        "text": {"color": colours["ink"]},
        "style": {"on-low": {"color": colours["ink"]}, "on-high": {"color": colours["ground"]}},
    }


THEMES: Final[Mapping[Theme, Mapping[str, Any]]] = {"light": _config("light"), "dark": _config("dark")}
"""Vega-Lite's `config`, which gives every colour that the charts name."""


def vl_convert_for_pictures() -> Any:
    """vl-convert.

    Raises:
        UsageError: `missing-extra`: it is not installed.
    """
    try:
        import vl_convert
    except ImportError:
        message = "charts are drawn by vl-convert, which is not installed"
        hint = 'pip install "cuvee[report]"'
        raise UsageError(Fault("missing-extra", message, None, "vl-convert-python", hint)) from None
    return vl_convert


def draw_svg(spec: Mapping[str, Any], theme: Theme = "light", *, width: int = WIDTH, name: str = "chart") -> str:
    """A chart as SVG; names inside it begin with `name`, so that several can stand in one page.

    Args:
        spec: one of `charts`.
        theme: `light` or `dark`.
        width: pixels between its axes.
        name: what is unique to it.

    Raises:
        UsageError: `missing-extra`.
    """
    config = dict(THEMES[theme])
    drawn = vl_convert_for_pictures().vegalite_to_svg(at_width(spec, width), config=config, allowed_base_urls=[])
    known: dict[str, str] = {}
    return _NAMES.sub(lambda found: known.setdefault(found[0], f"{name}-{len(known)}"), drawn)


def draw_png(spec: Mapping[str, Any], theme: Theme = "light", *, width: int = WIDTH, scale: float = 2.0) -> bytes:
    """A chart as PNG on a ground of its own.

    Args:
        spec: one of `charts`.
        theme: `light` or `dark`.
        width: pixels between its axes, before scaling.
        scale: by how much it is enlarged.

    Raises:
        UsageError: `missing-extra`.
    """
    config = {**THEMES[theme], "background": _COLOURS[theme]["ground"], "padding": 12}
    drawn: bytes = vl_convert_for_pictures().vegalite_to_png(
        at_width(spec, width), scale=scale, config=config, allowed_base_urls=[]
    )
    return drawn


@cache
def scripts() -> str:
    """Vega, Vega-Lite and vega-embed as one script that asks for nothing from outside.

    Raises:
        UsageError: `missing-extra`.
    """
    bundle: str = vl_convert_for_pictures().javascript_bundle()
    return bundle.replace("</script", r"<\/script").replace("<!--", r"<\!--")
