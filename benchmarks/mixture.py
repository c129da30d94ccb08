"""How well routers found from prompts send texts to their expert, and what the mixture is worth.

    python benchmarks/mixture.py [--seeds 3] [--prompts 6 24]

Three specialists are trained from one base, in their MLPs alone, and made into a Mixtral and a Qwen2-MoE with some
prompts each. Told are, on 40 held-out texts of each speciality: the share of tokens whose strongest expert is the
speciality's (by chance 0.33), the loss of base, mixture and specialist, and how much of the way from the base to the
specialist the mixture goes on the speciality where it goes least.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))

import cuvee
from tests.support.specialists import SPECIALITIES, Specialists, loss, texts, write_specialists

MODES = ("hidden", "hidden_avg", "cheap_embed", "least_squares")


@dataclass(frozen=True)
class Held:
    """What base and specialists lose on held-out texts, by speciality."""

    texts: dict[str, list[str]]
    base: dict[str, float]
    own: dict[str, float]


def measured(models: Specialists, mode: str, prompts: int, out: Path, held: Held) -> str:
    """A mixture's part of a row: shares, loss, and the way it goes."""
    cuvee.build_mixture(models.config(prompts, gate_mode=mode), out, overwrite=True)
    routed = cuvee.route_prompts(out, held.texts)
    shares = [group.overall[number] for number, group in enumerate(routed.groups)]
    mixture = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    losses = {name: loss(mixture, lines) for name, lines in held.texts.items()}
    way = min((held.base[name] - losses[name]) / (held.base[name] - held.own[name]) for name in losses)
    mean = statistics.mean(losses.values())
    return f"{statistics.mean(shares):.2f} | {min(shares):.2f} | {mean:.3f} | {way:.0%}"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, nargs="+", default=[6, 24])
    asked = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    lines = {name: texts(name, 40, 999) for name in SPECIALITIES}
    print("| members | seed | base | specialists | prompts | routers | mean share | smallest | mixture | least way |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in ("llama", "qwen2"):
        for seed in range(asked.seeds):
            with tempfile.TemporaryDirectory() as room:
                models = write_specialists(Path(room), kind, seed=seed)
                base = models.load("base")
                before = {name: loss(base, lines[name]) for name in SPECIALITIES}
                own = {name: loss(models.load(name), lines[name]) for name in SPECIALITIES}
                held = Held(lines, before, own)
                about = f"{statistics.mean(before.values()):.3f} | {statistics.mean(own.values()):.3f}"
                for prompts in asked.prompts:
                    for mode in MODES:
                        found = measured(models, mode, prompts, Path(room) / "out", held)
                        print(f"| {kind} | {seed} | {about} | {prompts} | {mode} | {found} |", flush=True)


if __name__ == "__main__":
    main()
