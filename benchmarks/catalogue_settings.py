"""What every method is tried with: the settings that its paper or its tool gives as default, and a grid to tune on.

A setting that a method does not have is a mistake, and stops the run. `tuned` is tried point by point on the validation
draw; the published setting is among what is tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """How a method is tried.

    Attributes:
        published: settings at their published defaults.
        source: whose defaults these are.
        tuned: settings to choose from.
        models: how many of the specialists it merges; `None` for all.
        method: the method, where the row is not called by its name.
    """

    published: Settings
    source: str
    tuned: Sequence[Settings] = ()
    models: int | None = None
    method: str | None = None


def grid(**axes: Sequence[Any]) -> tuple[Settings, ...]:
    """Every combination."""
    return tuple(dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


LAMBDAS: Final = (0.3, 0.5, 0.7, 1.0, 1.3, 1.6)
SUMS: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
"""For methods that add deltas up: five of them go too far at 1."""
ONE: Final = {"weight": 1.0}

SCALED: Final = (
    ("task_arithmetic", {**ONE, "lambda": 0.4}),
    ("ties", {**ONE, "density": 0.2, "lambda": 1.0}),
    ("tsv_m", {"lambda": 1.0}),
)
"""Merges whose layers are scaled; λ of task arithmetic as tuned, because LiNeS finds its own."""
SCALINGS: Final[Sequence[tuple[str, Settings, str, Sequence[Settings]]]] = (
    (
        "lines",
        {"policy": "lines", "beta": 0.5},
        "LiNeS: α found, β = 0.5",
        [{"policy": "lines", "beta": beta} for beta in (0.1, 0.2, 0.8, 1.2)],
    ),
    (
        "larv",
        {"policy": "larv"},
        "ours: tiers 0.5, 1, 1.5",
        [{"policy": "larv", "mapping": "continuous"}, {"policy": "larv", "scales": [0.8, 1.0, 1.2]}],
    ),
)

TRIALS: Final[Mapping[str, Trial]] = {
    "linear": Trial(ONE, "Model soups: uniform"),
    "karcher": Trial({}, "mergekit"),
    "multislerp": Trial(ONE, "mergekit"),
    "model_stock": Trial({}, "Model Stock"),
    "task_arithmetic": Trial({**ONE, "lambda": 0.3}, "FusionBench", grid(**{"lambda": SUMS})),
    "ties": Trial({**ONE, "density": 0.2, "lambda": 1.0}, "TIES", grid(density=(0.2, 0.5, 0.8), **{"lambda": LAMBDAS})),
    "ties_global": Trial({"density": 0.2, "lambda": 1.0}, "TIES", grid(density=(0.2, 0.5, 0.8), **{"lambda": LAMBDAS})),
    "dare_linear": Trial(
        {**ONE, "density": 0.1, "lambda": 0.3},
        "DARE: p = 0.9",
        grid(density=(0.5, 0.8), **{"lambda": SUMS}),
    ),
    "dare_ties": Trial(
        {**ONE, "density": 0.1}, "DARE: p = 0.9", grid(density=(0.5, 0.8), normalize=(True,), **{"lambda": LAMBDAS})
    ),
    "della": Trial(
        {**ONE, "density": 0.7, "epsilon": 0.14, "lambda": 1.1},
        "DELLA's sample command",
        grid(density=(0.5, 0.7), epsilon=(0.1, 0.2), **{"lambda": LAMBDAS}),
    ),
    "della_linear": Trial(
        {**ONE, "density": 0.7, "epsilon": 0.14, "lambda": 0.3},
        "DELLA's sample command, λ of task arithmetic",
        grid(density=(0.5, 0.7), epsilon=(0.1, 0.2), **{"lambda": (0.2, 0.3, 0.4, 0.5)}),
    ),
    "breadcrumbs": Trial(
        {**ONE, "density": 0.1, "gamma": 0.01, "lambda": 0.3},
        "Model Breadcrumbs: β = 0.9",
        grid(density=(0.2, 0.5, 0.9), gamma=(0.01,), **{"lambda": (0.3, 0.5, 0.8, 1.2)}),
    ),
    "breadcrumbs_ties": Trial(
        {**ONE, "density": 0.1, "gamma": 0.01, "lambda": 1.0},
        "Model Breadcrumbs: β = 0.9",
        grid(density=(0.2, 0.5, 0.9), gamma=(0.01,), normalize=(True,), **{"lambda": LAMBDAS}),
    ),
    "sce": Trial({}, "mergekit", grid(select_topk=(0.2, 0.5, 0.8, 1.0))),
    "ram": Trial({}, "mergekit", grid(epsilon=(1e-5, 1e-4, 1e-3))),
    "ramplus_tl": Trial({}, "mergekit", grid(r=(0.1, 0.3), alpha=(0.2, 0.5), epsilon=(1e-5, 1e-3))),
    "magmax": Trial({"lambda": 0.5}, "MagMax: λ = 0.5", grid(**{"lambda": LAMBDAS})),
    "pcb": Trial(
        {"ratio": 0.1, "lambda": 1.2}, "PCB", grid(ratio=(0.05, 0.1, 0.2, 0.5), **{"lambda": (0.8, 1.0, 1.2, 1.6)})
    ),
    "consensus_ta": Trial(
        {"lambda": 0.3},
        "TALL masks: 0.4, k = 2; λ of task arithmetic",
        grid(tall_lambda=(0.2, 0.4, 0.6), **{"lambda": SUMS}),
    ),
    "emr": Trial({}, "EMR, the unified model alone", grid(**{"lambda": SUMS})),
    "geometric_median": Trial({}, "sd-mecha"),
    "median": Trial({}, "coordinate-wise"),
    "krum": Trial({}, "one of the models, f = 0"),
    "multi_krum": Trial({"m": 3}, "m = 3, f = 0"),
    "trimmed_mean": Trial({}, "β = 0.2", grid(beta=(0.1, 0.2, 0.4))),
    "tsv_m": Trial({}, "TSV-M: α = 1", grid(**{"lambda": LAMBDAS})),
    "iso_c": Trial({"lambda": 1.5}, "FusionBench", grid(**{"lambda": (0.5, 0.7, 1.0, 1.3, 1.5, 2.0)})),
    "iso_cts": Trial({"lambda": 1.5}, "FusionBench", grid(**{"lambda": (0.5, 0.7, 1.0, 1.3, 1.5, 2.0)})),
    "knots": Trial({"lambda": 1.0}, "KnOTS-TIES", grid(density=(0.2, 0.5, 1.0), **{"lambda": LAMBDAS})),
    "opcm": Trial({}, "OPCM: α = 0.5", grid(alpha=(0.3, 0.5, 0.7))),
    "wudi": Trial({}, "WUDI", grid(**{"lambda": LAMBDAS})),
    "actmat": Trial({}, "ACTMat", grid(**{"lambda": LAMBDAS})),
    "fisher": Trial({}, "Fisher merging"),
    "regmean": Trial({"alpha": 0.9}, "RegMean: α = 0.9", grid(alpha=(0.1, 0.5, 0.9, 0.95, 1.0))),
    "slerp": Trial({"t": 0.5}, "the middle", grid(t=(0.3, 0.4, 0.5, 0.6, 0.7)), models=2),
    "nuslerp": Trial(ONE, "mergekit", models=2),
    "nearswap": Trial({"t": 0.001}, "mergekit's example", grid(t=(1e-4, 1e-3, 1e-2)), models=2),
    "arcee_fusion": Trial({}, "mergekit", models=2),
    "wise_ft": Trial({"alpha": 0.5}, "WiSE-FT: 0.5", grid(alpha=(0.3, 0.5, 0.7, 0.9)), models=1),
    **{
        f"{method} + {policy}": Trial(
            {**settings, "layer_scaling": scaling},
            source,
            tuple({"layer_scaling": one} for one in others),
            method=method,
        )
        for policy, scaling, source, others in SCALINGS
        for method, settings in SCALED
    },
    "expo": Trial({}, "ExPO: α = 0.3", grid(alpha=(0.1, 0.3, 0.5)), models=1),
}
LEFT_OUT: Final[Mapping[str, str]] = {
    "passthrough": "takes one model as it is",
    "task_negation": "forgets a task",
    "task_analogy": "is about three models that stand in an analogy",
    "compose": "all of its named settings stand in the table by their names",
}
"""Methods that are not in the table, and why."""
