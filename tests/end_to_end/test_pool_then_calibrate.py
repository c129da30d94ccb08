"""The benchmarks of pooling and calibration, run small: what is claimed of them holds."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "ensembles"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def script() -> Callable[[str], ModuleType]:
    def loaded(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"ensembles_{name}", SCRIPTS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where its data classes look themselves up
        spec.loader.exec_module(module)
        return module

    return loaded


def test_a_temperature_after_pooling_keeps_the_bars(
    script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("calibration").main(["--seeds", "1"]) == 0
    assert "bars (falls by ≥ 60%, ≤ 0.05 after): kept" in capsys.readouterr().out


def test_pooling_makes_members_less_sure_than_they_are_right(script: Callable[[str], ModuleType]) -> None:
    found = script("calibration").measured(7)
    assert found.ece["pooled"] > found.ece["one member"]
    assert found.temperature < 1
    assert found.ece["pooled, then T"] < found.ece["T each, then pooled"]
    assert found.log_loss["pooled, then T"] < found.log_loss["pooled"]


def test_a_product_needs_calibrated_members(
    script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("products").main(["--seeds", "2"]) == 0
    assert "bars: kept" in capsys.readouterr().out
