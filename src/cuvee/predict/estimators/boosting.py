"""Boosted trees of LightGBM, where it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

from cuvee.predict.trained import Task


def has_lightgbm() -> bool:
    """Whether LightGBM is there; it is not loaded to find out."""
    return importlib.util.find_spec("lightgbm") is not None


def lightgbm_trees(task: Task) -> Any:
    """LightGBM's estimator of a task that says nothing while it learns, on one thread, the same bytes every time."""
    import lightgbm

    made = lightgbm.LGBMClassifier if task == "classification" else lightgbm.LGBMRegressor
    return made(verbose=-1, n_jobs=1, deterministic=True, force_row_wise=True)
