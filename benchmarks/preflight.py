"""What the pre-flight says of prepared pairs, beside what their merges are worth.

    python benchmarks/preflight.py [--seeds 0 1]

Trains the models of `pairs.py` for each seed (some minutes), asks `cuvee.will_merge` without data, merges every pair
halfway, and takes losses. Writes `results/preflight.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pairs
import torch

import cuvee
from cuvee.demo.train import one_thread
from cuvee.preflight import Preflight
from cuvee.preflight.rules import RULES
from cuvee.recipe import to_data

RESULTS = Path(__file__).parent / "results"
SHORT = {"merge": "merge", "merge with care": "care", "will not merge as they are": "no"}
FIGURES = ("cosine", "‖τ‖/‖base‖", "cos τ", "reordered", "loss a / half / b", "barrier")
HEADINGS = ("pair", "seed", "wanted", "verdict", "because", *FIGURES, "suggested", "base found")
LIMITS = {rule.name: rule.at.limit for rule in RULES}


@dataclass(frozen=True)
class Row:
    """One pair: what was wanted, said and measured; losses over the rows of both dialects."""

    pair: str
    seed: int
    wanted: str
    verdict: str
    reasons: tuple[str, ...]
    cosine: float | None
    task_norms: tuple[float | None, ...]
    task_cosine: float | None
    fall: float | None
    base_found: bool | None
    losses: tuple[float, float, float] | None
    barrier: float | None
    suggested: str | None
    suggested_loss: float | None

    @property
    def measured(self) -> str:
        """What a merge is worth: `no` where there is none, or a barrier above the table's limit."""
        return "no" if self.barrier is None or self.barrier >= LIMITS["barrier"] else "merge"

    @property
    def right(self) -> bool:
        """Whether the verdict is the wanted one, and agrees with what was measured."""
        return self.verdict == self.wanted and (self.verdict == "no") == (self.measured == "no")


def row_of(pair: pairs.Pair, seed: int, root: Path) -> Row:
    """Ask, merge and measure."""
    models, base = [root / pair.a, root / pair.b], None if pair.base is None else root / pair.base
    found = cuvee.will_merge(models, base=base)
    shown = found.pairs[0]
    data = cuvee.will_merge(models, base=base, data=root / "rows.jsonl").barriers
    alone = None if base is None else cuvee.will_merge([*models, base]).base.model == str(base)
    return Row(
        pair=pair.name,
        seed=seed,
        wanted=pair.wanted,
        verdict=SHORT[found.verdict],
        reasons=tuple(dict.fromkeys(r.rule for r in found.reasons if r.level != "note")),
        cosine=shown.cosine,
        task_norms=tuple(m.task_norm for m in found.models if not m.is_base and base is not None),
        task_cosine=shown.task_cosine,
        fall=shown.fall,
        base_found=alone,
        losses=data[0].losses if data else None,
        barrier=data[0].relative if data else None,
        suggested=None if found.suggestion is None else found.suggestion.method,
        suggested_loss=_suggested(found, root),
    )


def _suggested(found: Preflight, root: Path) -> float | None:
    """The loss of the merge that is suggested."""
    if found.suggestion is None:
        return None
    model = cuvee.load(to_data(found.suggestion.recipe), dtype="float32")
    ids = torch.tensor([json.loads(line)["input_ids"] for line in (root / "rows.jsonl").read_text().splitlines()])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1]
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))


def rows_of(seed: int, folder: Path) -> Iterator[Row]:
    """All pairs of a seed."""
    cellar = pairs.cellar(seed)
    pairs.write_rows(folder / "rows.jsonl")
    for pair in pairs.PAIRS:
        pairs.write(cellar, [name for name in (pair.a, pair.b, pair.base) if name], folder)
        row = row_of(pair, seed, folder)
        print(f"seed {seed} {pair.name}: {row.verdict}, {'right' if row.right else 'WRONG'}", file=sys.stderr)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rows: list[Row] = []
    with one_thread():
        for seed in asked.seeds:
            with TemporaryDirectory() as folder:
                rows += rows_of(seed, Path(folder))
    asked.out.mkdir(parents=True, exist_ok=True)
    data = {"seeds": asked.seeds, "rows": [{**asdict(r), "measured": r.measured, "right": r.right} for r in rows]}
    (asked.out / "preflight.json").write_text(json.dumps(data, indent=1) + "\n")
    (asked.out / "preflight.md").write_text(page(rows))


def page(rows: Sequence[Row]) -> str:
    """The table."""
    right = sum(row.right for row in rows)
    lines = [
        "# The pre-flight's verdict beside what merges are worth",
        "",
        f"{right} of {len(rows)} verdicts are right: the one that was wanted, and `no` exactly where there is no merge "
        f"or the loss halfway is higher than the ends' mean by {LIMITS['barrier']:.0%} of it. The verdict is given "
        "without data. Losses: cross-entropy in nats per token over rows of both dialects, of the first model, half"
        "way, and of the second; guessing costs 3.2. Suggested: the method to begin with, as written, and its loss. "
        "Base found: among the three models, without being named. Models have 72 thousand parameters "
        "(`benchmarks/pairs.py`): orders, not laws. `python benchmarks/preflight.py` writes this page.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{' --- |' * len(HEADINGS)}",
        *map(_line, rows),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    norms = " ".join(_figure(norm) for norm in row.task_norms)
    losses = "does not fit" if row.losses is None else " / ".join(f"{loss:.3f}" for loss in row.losses)
    barrier = "–" if row.barrier is None else f"{row.barrier:+.0%}"
    suggested = "–" if row.suggested is None else f"`{row.suggested}` {_figure(row.suggested_loss, '.3f')}"
    found: Mapping[bool | None, str] = {None: "–", True: "yes", False: "no"}
    verdict = row.verdict if row.right else f"**{row.verdict}**"
    cells = [row.pair, str(row.seed), row.wanted, verdict, ", ".join(row.reasons) or "–", _figure(row.cosine)]
    cells += [norms or "–", _figure(row.task_cosine), _figure(row.fall), losses, barrier, suggested]
    return f"| {' | '.join([*cells, found[row.base_found]])} |"


def _figure(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)


if __name__ == "__main__":
    main()
