"""The demo's merges: what is tried, how its settings are chosen, and the public command that makes the real ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.demo.specialists import workers
from cuvee.errors import CheckFailed, Fault, ResourceError

if TYPE_CHECKING:
    from torch import Tensor

Settings = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Blend:
    """A merge of the demo: recipe name, merge method, what it does, and the settings to choose from."""

    name: str
    method: str
    about: str
    choices: tuple[Settings, ...] = ({},)


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice of settings and the mean exact match it reached on the validation draw."""

    settings: Settings
    mean: float


def _grid(densities: Sequence[float]) -> tuple[Settings, ...]:
    """Every density with every length of the step away from the base."""
    return tuple({"density": d, "lambda": step} for d in densities for step in (0.5, 0.7, 1.0, 1.3, 1.6))


LINEAR: Final = Blend(
    "linear",
    "linear",
    "The plain average of the specialists' weights. Nothing to choose.",
)
TASK_ARITHMETIC: Final = Blend(
    "task_arithmetic",
    "task_arithmetic",
    "What each specialist learnt, its weights minus the base's, is added to the base, scaled by lambda.",
    tuple({"lambda": value} for value in (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)),
)
TIES: Final = Blend(
    "ties",
    "ties",
    "The smallest changes are dropped, each weight elects a sign, and the changes of that sign are averaged.",
    _grid((0.2, 0.5, 0.8)),
)
DARE_TIES: Final = Blend(
    "dare_ties",
    "dare_ties",
    "Changes are dropped at random and the rest scaled up to make good for it; then signs are elected as in TIES.",
    _grid((0.5, 0.8)),
)
LAYER_STACK: Final = Blend(
    "layer_stack",
    "passthrough",
    "Layers of two specialists on top of each other, one layer more than either has. Nothing is averaged.",
)
GREEDY_SOUP: Final = Blend(
    "greedy_soup",
    "linear",
    "A soup: the best specialist, and every other one, best first, as long as the average of all gets no worse.",
)
SEARCHED: Final = Blend(
    "searched",
    "ties",
    "TIES with a weight for every specialist, its density and its lambda, searched by CMA-ES.",
)
FOUND: Final = (GREEDY_SOUP, SEARCHED)
"""What `cuvee search` fills in."""
BEST: Final = "best.yml"
"""The recipe that it writes."""
AVERAGES: Final = (LINEAR, TASK_ARITHMETIC, TIES, DARE_TIES)
BLENDS: Final = (*AVERAGES, LAYER_STACK)
MADE: Final = (*AVERAGES, *FOUND, LAYER_STACK)
"""All merges, in the order of the table."""


def trials(
    blend: Blend,
    base: Mapping[str, Tensor],
    specialists: Mapping[str, Mapping[str, Tensor]],
    judge: Callable[[Mapping[str, Tensor]], float],
    seed: int,
    stride: int = 1,
) -> tuple[Trial, ...]:
    """Merge in memory with every choice of settings and judge each.

    Args:
        blend: the merge; not the layer stack.
        base: the base's weights.
        specialists: the specialists' weights by the path the recipe gives them, which is also the key of DARE's masks,
            so that the command makes exactly the model that was judged.
        judge: mean exact match of a model with these weights on the validation draw.
        seed: of DARE's masks.
        stride: try every choice (1), every second (2) …
    """
    import cuvee

    shared: dict[str, Any] = {"weight": 1.0} if blend is LINEAR else {"weight": 1.0, "base": base}
    found = []
    for settings in blend.choices[::stride]:
        given = {**shared, **parameters(settings)}
        merged = cuvee.merge_state_dicts(specialists, blend.method, seed=seed, **given)
        found.append(Trial(settings, judge(merged)))
    return tuple(found)


def parameters(settings: Settings) -> dict[str, Any]:
    """The settings with what goes with them: methods that elect signs (they have a density) average what agrees."""
    return {**({"normalize": True} if "density" in settings else {}), **settings}


def best(found: Sequence[Trial]) -> Trial:
    """The trial with the highest mean; of equals, the first."""
    return max(found, key=lambda trial: trial.mean)


def merge_all(out: Path, names: Sequence[str], seed: int, merge_done: Callable[[], None]) -> None:
    """Make every merge from its recipe through `cuvee merge`, two at a time where there are two processors."""
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for _ in pool.map(lambda name: _merge(out, name, seed), names):
                merge_done()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def command(name: str) -> str:
    """What to type, in the demo's folder, to make a merge of one of its recipes, or of what was found for one."""
    recipe = f"searches/{name}/{BEST}" if name in {blend.name for blend in FOUND} else f"recipes/{name}.yml"
    return f"cuvee merge {recipe} -o merges/{name}"


def _merge(out: Path, name: str, seed: int) -> None:
    """Run the public command on one recipe; that the disk is full is no fault of the recipe's."""
    words = [*command(name).split()[1:], "--seed", str(seed)]
    done = subprocess.run([sys.executable, "-m", "cuvee", *words], cwd=out, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"`{command(name)}` should succeed; it ended with exit code {done.returncode}:\n{done.stderr.strip()}"
        if done.returncode == ResourceError.exit_code:
            raise ResourceError(Fault("io-error", message, subject=name))
        raise CheckFailed(Fault("check-failed", message, subject=name))
