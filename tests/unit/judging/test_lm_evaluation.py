"""What lm-eval gives, read as scores; lm-eval itself is not needed for that. `tests/lm_eval` runs it."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import cuvee
from cuvee.errors import InputError
from cuvee.judging import read_task
from cuvee.judging.lm_evaluation import chosen, scores_from
from tests.support.judging import write_task

FOUND: dict[str, Any] = {
    "results": {
        "t": {
            "alias": "t",
            "acc,none": 0.75,
            "acc_stderr,none": 0.25,
            "ppl,none": 9.0,
            "ppl_stderr,none": "N/A",
            "exact_match,strict": 0.5,
            "exact_match_stderr,strict": 0.1,
            "note,none": "text",
        }
    },
    "higher_is_better": {"t": {"acc": True, "ppl": False, "exact_match": True}},
    "samples": {
        "t": [
            {"doc_id": i, "filter": f, "acc": a, "ppl": 1.0, "exact_match": i % 2}
            for f in ("none", "strict")
            for i, a in ((1, 1), (0, 0), (2, 1), (3, 1))
        ]
    },
    "n-samples": {"t": {"original": 9, "effective": 4}},
}


def test_every_metric_is_a_score_with_its_direction() -> None:
    acc, ppl, match = scores_from(FOUND, ["t"])
    assert (acc.metric, acc.value, acc.stderr, acc.n, acc.direction) == ("acc", 0.75, 0.25, 4, "higher")
    assert acc.rows == (0.0, 1.0, 1.0, 1.0)  # in the order of the data
    assert (ppl.metric, ppl.direction, ppl.rows) == ("ppl", "lower", None)
    assert math.isnan(ppl.stderr)  # lm-eval says 'N/A'
    assert (match.metric, match.n, match.rows) == ("exact_match,strict", 4, (0.0, 1.0, 0.0, 1.0))


def test_several_tasks_have_their_names_before_their_metrics() -> None:
    both = {**FOUND, "results": {"t": FOUND["results"]["t"], "u": {"acc,none": 0.5}}, "samples": {}}
    scores = scores_from(both, ["t", "u"])
    assert [score.metric for score in scores] == ["t/acc", "t/ppl", "t/exact_match,strict", "u/acc"]
    assert scores[0].n == 4
    assert scores[-1].direction == "higher"


def test_a_direction_that_groups_do_not_agree_on_is_taken_for_higher() -> None:
    unsure = {**FOUND, "higher_is_better": {"t": {"acc": None}}}
    assert scores_from(unsure, ["t"])[0].direction == "higher"


def test_a_task_may_name_some_of_the_metrics(tmp_path: Path) -> None:
    scores = scores_from(FOUND, ["t"])
    assert chosen(scores, read_task(write_task(tmp_path, kind="lm-eval", tasks="t"))) == scores
    some = read_task(write_task(tmp_path, kind="lm-eval", tasks="t", metric=["ppl"]))
    assert [score.metric for score in chosen(scores, some)] == ["ppl"]
    wrong = read_task(write_task(tmp_path, kind="lm-eval", tasks="t", metric="ac"))
    with pytest.raises(InputError) as caught:
        chosen(scores, wrong)
    assert caught.value.faults[0].hint == "did you mean `acc`?"


def test_a_metric_that_is_no_number(tmp_path: Path) -> None:
    damaged = {**FOUND, "results": {"t": {"acc,none": math.nan}}}
    about = read_task(write_task(tmp_path, kind="lm-eval", tasks="t"))
    for scores in (scores_from(damaged, ["t"]), ()):
        with pytest.raises(InputError) as caught:
            chosen(scores, about)
        assert caught.value.codes == ("no-score",)


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="it is installed")
def test_lm_eval_that_is_not_installed_is_told_by_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.calibration import make_model

    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    made = cuvee.evaluate(make_model(tmp_path / "model", "llama"), write_task(tmp_path, kind="lm-eval", tasks="t"))
    (failure,) = made.failures
    assert failure.error.code == "missing-extra"
    assert "cuvee[eval]" in str(failure.error)
