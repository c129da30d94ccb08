"""The benchmark of speech, run small: a network trained by CTC, a language model, weights chosen on other speech."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ensembles" / "speech.py"


@pytest.fixture(scope="module")
def speech() -> ModuleType:
    spec = importlib.util.spec_from_file_location("speech_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its data classes look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_fusion_has_at_most_half_the_errors_of_greedy_decoding(speech: ModuleType) -> None:
    found = speech.measured(1, dev=20, test=60)
    wer = found.wer
    assert 0.1 < wer["greedy"] < 0.6  # a real task: neither heard perfectly nor not at all
    assert wer["shallow fusion"] <= 0.5 * wer["greedy"]
    assert wer["shallow fusion"] <= wer["16-best rescored"] <= wer["4-best rescored"] < wer["greedy"]
    assert len(found.fusion.trials) == 25
    assert found.fusion.lm_weight > 0
    assert "fusion ÷ greedy" in speech.table([found])


def test_no_text_of_the_test_set_was_seen(speech: ModuleType) -> None:
    rng = np.random.default_rng(0)
    read, held, new = speech.parted(speech.Language.drawn(rng), rng, 400, 40, 80)
    assert not set(new) & {*read, *held}
    assert not set(held) & set(read)
    assert [len(read), len(set(held)), len(set(new))] == [400, 40, 80]
    assert len(set(read)) < 400  # texts do come twice, if nobody looks


@pytest.mark.slow
def test_the_same_seed_is_the_same_speech(speech: ModuleType) -> None:
    small = {"utterances": 60, "epochs": 1, "texts": 100, "dev": 2, "test": 4}
    assert speech.measured(3, **small).wer == speech.measured(3, **small).wer
