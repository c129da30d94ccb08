"""How well routers found from prompts send texts to their expert, and what the mixture is worth.

    python benchmarks/mixture.py [--seeds 3]

Three specialists are trained from one base, in their MLPs alone, and made into a Mixtral and a Qwen2-MoE with six
prompts each. Told are, on 40 held-out texts of each speciality: the share of tokens whose strongest expert is the
speciality's (by chance 0.33), and the loss of base, mixture and specialist.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))

import cuvee
from tests.support.specialists import SPECIALITIES, Specialists, loss, texts, write_specialists

MODES = ("hidden", "hidden_avg", "cheap_embed", "centred")


def measured(models: Specialists, mode: str, out: Path, held: dict[str, list[str]]) -> tuple[float, float, float]:
    """Mean share, smallest share, mean loss of a mixture."""
    cuvee.build_mixture(models.config(gate_mode=mode), out, overwrite=True)
    routed = cuvee.route_prompts(out, held)
    shares = [group.overall[number] for number, group in enumerate(routed.groups)]
    mixture = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    return statistics.mean(shares), min(shares), statistics.mean(loss(mixture, lines) for lines in held.values())


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    held = {name: texts(name, 40, 999) for name in SPECIALITIES}
    print("| members | seed | base | specialists | routers | mean share | smallest | mixture |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in ("llama", "qwen2"):
        for seed in range(asked.seeds):
            with tempfile.TemporaryDirectory() as room:
                models = write_specialists(Path(room), kind, seed=seed)
                base, own = models.load("base"), {name: models.load(name) for name in SPECIALITIES}
                before = statistics.mean(loss(base, lines) for lines in held.values())
                best = statistics.mean(loss(own[name], lines) for name, lines in held.items())
                for mode in MODES:
                    share, least, after = measured(models, mode, Path(room) / "out", held)
                    row = f"{before:.3f} | {best:.3f} | {mode} | {share:.2f} | {least:.2f} | {after:.3f}"
                    print(f"| {kind} | {seed} | {row} |", flush=True)


if __name__ == "__main__":
    main()
