"""What the demo of ensembles tells: its README, what stands on its page, and the table and lines that close it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cuvee.demo.folder import TITLE

Results = Mapping[str, Any]

README: Final = f"""{TITLE}

Ensembles of models of different kinds. Everything here was made on this machine by `cuvee demo ensemble`.

- `digits.csv`, `reviews.jsonl`: the rows, each with the part that it is of: `train`, `validation` or `test`
- `models/reader`: a small transformer that learnt to read reviews here; an ordinary model folder
- `digits.yml`, `reviews.yml`, `reviews-cascade.yml`: what is combined, and how. Change one, and in this folder run

      cuvee ensemble validate digits.yml
      cuvee ensemble fit digits.yml --data digits.csv -o ensembles/mine

- `ensembles/`: what came of them. Ask, look at and change them:

      cuvee ensemble predict ensembles/reviews --data reviews.jsonl
      cuvee ensemble leaderboard ensembles/digits --data digits.csv
      cuvee ensemble explain ensembles/digits --data digits.csv --limit 5
      cuvee serve ensembles/digits

- `report.html`: who is best and at what cost; open it in a browser
- `results.json`: the same as data
"""

ABOUT: Final = {
    "digits": "Six families of models on handwritten digits, weighed by rows that none of them was trained on.",
    "reviews": "A count of words and a transformer on reviews, wrong about different ones; a meta-learner decides.",
    "reviews-cascade": "The same two in turn: the transformer reads only what the count of words is unsure of.",
}
COLUMNS: Final = ("name", "kind", "log_loss", "accuracy", "µs/row", "estimate")


def told_of(results: Results) -> list[dict[str, Any]]:
    """The ensembles as the page takes them."""
    return [
        {
            "name": name,
            "about": f"{ABOUT[name]} On test rows {_sentence(found)}.",
            "metric": found["metric"],
            "better": "lower",
            "leaderboard": found["leaderboard"],
            "front": found["front"],
            "unit": "µs per row",
            "notes": found["notes"],
        }
        for name, found in results["ensembles"].items()
    ]


def rows_of(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line for every member and combiner, in the order of `COLUMNS`."""
    return [
        (
            row["name"],
            row["kind"],
            _figure(row.get("log_loss")),
            _figure(row.get("accuracy")),
            "–" if row["us_per_row"] is None else f"{row['us_per_row']:.3g}",
            row["estimate"],
        )
        for row in found["leaderboard"]
    ]


def _cost(own: float | None, other: float | None) -> str:
    return f"; a row takes {own / other:.2f} times as long" if own and other else ""


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def closing_lines(results: Results) -> Iterator[str]:
    """What it came to, a sentence for each ensemble."""
    for name, found in results["ensembles"].items():
        yield f"{name}: on test rows {_sentence(found)}"


def _sentence(found: Mapping[str, Any]) -> str:
    """What an ensemble came to beside its best member, whether that is more than noise, and at what cost.

    Nothing of it was chosen by the test rows, so it may well have gained nothing: then that is what is told.
    """
    rows = {row["name"]: row for row in found["leaderboard"]}
    members = [row for row in found["leaderboard"] if row["kind"] == "member"]
    best, own = min(members, key=lambda row: row["log_loss"]), rows["ensemble"]
    share = own["log_loss"] / best["log_loss"]
    return (
        f"the ensemble has a log-loss of {own['log_loss']:.3f}, {share:.2f} times that of the best member, "
        f"{best['name']} ({best['log_loss']:.3f}): {own['verdict']}; {own['accuracy']:.1%} are right, of its "
        f"{best['accuracy']:.1%}{_cost(own['us_per_row'], best['us_per_row'])}{_passed_on(found)}"
    )


def _passed_on(found: Mapping[str, Any]) -> str:
    """How many rows a cascade asks its last member about."""
    reached = found.get("reached")
    if not reached:
        return ""
    first, last = next(iter(reached)), list(reached)[-1]
    if first == last:
        return f"; {first} answers alone: nothing was saved by asking another one first"
    return f"; {last} is asked about {reached[last]:.0%} of rows, where {first} is unsure"
