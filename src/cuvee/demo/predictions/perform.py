"""The demo of ensembles from beginning to end: data and configurations written, fitted, judged, told."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from cuvee.demo import folder
from cuvee.demo.predictions.digits import digits
from cuvee.demo.predictions.reader import LEARNING, train_reader
from cuvee.demo.predictions.reviews import Review, reviews
from cuvee.demo.predictions.told import README, told_of
from cuvee.demo.stages import Clock, Progress
from cuvee.demo.train import Schedule, one_thread
from cuvee.errors import Fault, UsageError

PAGE: Final = "report.html"
CONFIGS: Final[Mapping[str, str]] = {
    "digits": """\
# Six families of models on pictures of digits, and how much each of them counts. In this folder, run
#     cuvee ensemble fit digits.yml --data digits.csv -o ensembles/digits --overwrite
label: digit
id: id
split: part                          # members learn from `train`, the combiner from `validation`
members:
  - {name: logistic, kind: sklearn, estimator: logistic-regression, settings: {C: 0.1}}
  - {name: boosted, kind: sklearn, estimator: hist-gradient-boosting, settings: {max_iter: 40, max_leaf_nodes: 15}}
  - {name: neighbours, kind: sklearn, estimator: k-nearest-neighbours, settings: {n_neighbors: 3}}
  - {name: svm, kind: sklearn, estimator: svm, settings: {C: 5.0}}
  - {name: forest, kind: sklearn, estimator: random-forest, settings: {n_estimators: 60}}
  - {name: mlp, kind: sklearn, estimator: mlp, settings: {hidden_layer_sizes: [64], max_iter: 200}}
combiner: greedy                     # `soft`, `stack`, `weighted`, … are others
""",
    "reviews": """\
# A count of words and a transformer that was trained here, stacked: a meta-learner decides. In this folder, run
#     cuvee ensemble fit reviews.yml --data reviews.jsonl -o ensembles/reviews --overwrite
label: label
id: id
split: part
members:
  - {name: words, kind: sklearn, estimator: tfidf-logistic, settings: {ngrams: 1}}
  - {name: reader, kind: transformers, folder: models/reader}
combiner: stack
""",
    "reviews-cascade": """\
# The count of words first; the transformer reads only what that is unsure of. In this folder, run
#     cuvee ensemble fit reviews-cascade.yml --data reviews.jsonl -o ensembles/reviews-cascade --overwrite
label: label
id: id
split: part
members:
  - {name: words, kind: sklearn, estimator: tfidf-logistic, settings: {ngrams: 1}}
  - {name: reader, kind: transformers, folder: models/reader}
combiner: cascade                    # lose nothing against the transformer where the threshold is fitted
""",
}
"""Name → configuration."""
DATA: Final = {"digits": "digits.csv", "reviews": "reviews.jsonl", "reviews-cascade": "reviews.jsonl"}
TRIED: Final = ("soft", "weighted", "greedy", "stack")
"""Combiners that the leaderboards try besides the ensemble's own."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: rows of digits, reviews to learn from, to combine and to judge on, and how it is trained."""

    digits: int | None
    lessons: int
    validation: int
    test: int
    schedule: Schedule


FULL: Final = Size(None, 3000, 600, 600, LEARNING)
QUICK: Final = Size(900, 400, 150, 120, Schedule(steps=25, batch=32, rate=2e-3, warm_up=5))


@dataclass(frozen=True, slots=True)
class EnsembleDemo:
    """What the demo made: its folder, and the contents of `results.json`."""

    out: Path
    results: Mapping[str, Any]


def run(
    out: str | Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    quick: bool = False,
    progress: Progress | None = None,
) -> EnsembleDemo:
    """Fit three ensembles on two data sets, judge them on rows kept apart, and write a page.

    Args:
        out: the folder to write; made if it is not there.
        seed: of data and training.
        overwrite: write over the files of an earlier demo.
        quick: few rows and hardly any training: see that it works.
        progress: told of every step.

    Raises:
        UsageError: a library that is needed is not installed.
        OutputExists: `out` holds something, and `overwrite` is off or no demo has written it.
        ResourceError: something cannot be written.
    """
    _require_extras()
    place, size, clock = Path(out).absolute(), QUICK if quick else FULL, Clock(progress)
    folder.prepare(place, overwrite, _written(), README)
    with one_thread():
        _write_data(place, size, seed, clock)
        facts = _fit(place, clock)
        boards = _judge(place, clock)
    results: dict[str, Any] = {"ensembles": {name: {"fitted": facts[name], **boards[name]} for name in CONFIGS}}
    results |= {"settings": {"seed": seed, "quick": quick}, "seconds": dict(clock.seconds)}
    with clock.stage("drawing", 1) as step:
        _write_page(place, results)
        step()
    folder.write_text(place / folder.RESULTS, json.dumps(results, indent=2) + "\n")
    return EnsembleDemo(place, results)


def _write_data(place: Path, size: Size, seed: int, clock: Clock) -> None:
    """Both tables, the reader, and the configurations."""
    rows = digits(seed, size.digits)
    folder.write_text(place / "digits.csv", _as_csv(rows))
    found = reviews(size.lessons + size.validation + size.test, seed)
    parts = ["train"] * size.lessons + ["validation"] * size.validation + ["test"] * size.test
    folder.write_text(place / "reviews.jsonl", _as_lines(found, parts))
    (place / "models").mkdir(parents=True, exist_ok=True)
    with clock.stage("training the reader", size.schedule.steps) as step:
        train_reader(place / "models" / "reader", found[: size.lessons], seed, size.schedule, lambda _: step())
    for name, text in CONFIGS.items():
        folder.write_text(place / f"{name}.yml", text)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    made = io.StringIO()
    writer = csv.DictWriter(made, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return made.getvalue()


def _as_lines(found: Sequence[Review], parts: Sequence[str]) -> str:
    told = zip(found, parts, strict=True)
    rows = (
        {"id": f"review-{i}", "part": part, "text": one.text, "label": one.label} for i, (one, part) in enumerate(told)
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _fit(place: Path, clock: Clock) -> dict[str, dict[str, Any]]:
    """The three ensembles, as `cuvee ensemble fit` makes them."""
    from cuvee import api

    found = {}
    (place / "ensembles").mkdir(exist_ok=True)
    for name in CONFIGS:
        with clock.follow(f"fitting {name}") as told:
            made = api.fit_ensemble(
                place / f"{name}.yml", place / DATA[name], place / "ensembles" / name, progress=told
            )
        members = [{"name": one.name, "share": one.share, "us_per_row": one.us_per_row} for one in made.members]
        found[name] = {"combiner": made.combiner, "members": members, "notes": list(made.notes)}
    return found


def _judge(place: Path, clock: Clock) -> dict[str, dict[str, Any]]:
    """Every ensemble beside its members and other combiners, on rows that nothing was fitted on."""
    from cuvee.api.ensembling import opened_ensemble
    from cuvee.predict.config.table import Roles, table_of

    found = {}
    with clock.stage("judging", len(CONFIGS)) as step:
        for name in CONFIGS:
            ensemble = opened_ensemble(place / "ensembles" / name)
            roles = Roles("digit" if name == "digits" else "label", "id", "part")
            test = table_of(place / DATA[name], roles, classes=ensemble.classes).part("test")
            bank = ensemble.predictions(test.rows, test.y)
            tried = [one for one in TRIED if one != ensemble.state.combiner.name]
            board = ensemble.leaderboard(bank, combiners=tried)
            front = ensemble.pareto(bank)
            points = [{**row, "cost": row[front.unit], "on_front": row["front"]} for row in front.as_rows()]
            found[name] = {"metric": board.metric, "leaderboard": board.as_rows(), "front": points, "unit": front.unit}
            found[name]["notes"] = [*board.notes, *front.notes]
            about = getattr(ensemble.state.fitted, "about", {})
            found[name] |= {"reached": about["reached"]} if "reached" in about else {}
            step()
    return found


def _write_page(place: Path, results: Mapping[str, Any]) -> None:
    from cuvee.reporting.ensembles import ensembles_page

    about = "A soup of six families on digits; a count of words and a transformer on reviews, stacked and in a cascade."
    folder.write_text(place / PAGE, ensembles_page("Ensembles", about, told_of(results)))


def _written() -> tuple[str, ...]:
    """Everything the demo writes, relative to its folder."""
    names = (*(f"{name}.yml" for name in CONFIGS), *dict.fromkeys(DATA.values()))
    return (*names, "models/reader", "ensembles", folder.RESULTS, PAGE)


_NEEDED: Final = ("sklearn", "skops", "transformers", "altair", "vl_convert")


def _require_extras() -> None:
    """Refuse to start without the optional packages, all of them named at once."""
    hint = 'pip install "cuvee[demo]"'
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    faults = [Fault("missing-extra", f"the demo needs {n}, which is not installed", None, n, hint) for n in lacking]
    if faults:
        raise UsageError(faults)
