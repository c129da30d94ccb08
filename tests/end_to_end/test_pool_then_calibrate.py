"""The benchmark of calibration, run small: what is claimed of it holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ensembles" / "calibration.py"


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    import sys

    spec = importlib.util.spec_from_file_location("pool_then_calibrate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its data classes look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_temperature_after_pooling_keeps_the_bars(
    calibration: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibration.main(["--seeds", "1"]) == 0
    assert "bars (falls by ≥ 60%, ≤ 0.05 after): kept" in capsys.readouterr().out


@pytest.mark.slow
def test_pooling_makes_members_less_sure_than_they_are_right(calibration: ModuleType) -> None:
    found = calibration.measured(7)
    assert found.ece["pooled"] > found.ece["one member"]
    assert found.temperature < 1
    assert found.ece["pooled, then T"] < found.ece["T each, then pooled"]
    assert found.log_loss["pooled, then T"] < found.log_loss["pooled"]
