"""LightGBM's estimators, for configurations that name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cuvee.errors import Fault, UsageError


def estimator(task: str, settings: Mapping[str, Any]) -> Any:
    """An estimator that is not fitted.

    Raises:
        UsageError: `missing-extra`.
    """
    try:
        from lightgbm import LGBMClassifier, LGBMRegressor
    except ImportError:
        message = "a member of the configuration is LightGBM's, which is not installed"
        raise UsageError(Fault("missing-extra", message, None, "lightgbm", 'pip install "cuvee[predict]"')) from None
    return (LGBMClassifier if task == "classification" else LGBMRegressor)(**{"verbose": -1, **settings})
