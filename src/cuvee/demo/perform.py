"""The demo from beginning to end: train specialists, write recipes, merge, judge, tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.demo import folder, merges, page, picture, tell
from cuvee.demo.recipes import model_path, recipe_text
from cuvee.demo.score import judge, mean
from cuvee.demo.searches import search_all, search_folder
from cuvee.demo.skills import Document, Split, items
from cuvee.demo.specialists import BASE, FINE_TUNING, TAUGHT, copy_base, save, train_specialists, weights, with_weights
from cuvee.demo.stages import Clock, Progress
from cuvee.demo.tasks import TASKS, write_tasks
from cuvee.demo.train import Schedule, one_thread
from cuvee.errors import Fault, UsageError
from cuvee.families import pretrained

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Attributes:
        words: the skills, one specialist each.
        schedule: how the specialists are trained.
        test: items per skill that all models are judged on.
        validation: items per skill that settings are chosen on.
        stride: one in so many choices of settings is tried.
        trials: candidates of the search.
        explained: items per skill that sets of specialists are scored on.
    """

    words: tuple[str, ...]
    schedule: Schedule
    test: int
    validation: int
    stride: int
    trials: int
    explained: int


FULL: Final = Size(TAUGHT, FINE_TUNING, test=300, validation=200, stride=1, trials=30, explained=60)
QUICK: Final = Size(
    TAUGHT[:3],
    Schedule(steps=16, batch=32, rate=1e-3, warm_up=5),
    test=40,
    validation=20,
    stride=4,
    trials=3,
    explained=6,
)


@dataclass(frozen=True, slots=True)
class DemoResult:
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
) -> DemoResult:
    """Fine-tune specialists, merge them through the public command, and judge every model on every skill.

    The folder then holds `models/` (the base and the specialists), `recipes/`, `merges/`, `results.json`,
    `results.png` and `results.svg`. The same seed on the same machine gives the same results, seconds apart.

    Args:
        out: the folder to write; made if it is not there.
        seed: of the lessons, the items and the random masks.
        overwrite: write over the files of an earlier demo; anything else in its folder is left alone.
        quick: little training and few items, to see that everything works; its figures are rough.
        progress: told of every step.

    Raises:
        UsageError: transformers or matplotlib is not installed.
        OutputExists: `out` holds something, and `overwrite` is off or no demo has written it.
        ResourceError: something cannot be written.
        CheckFailed: the public command failed on one of the demo's own recipes.
    """
    _require_extras()
    place, size, clock = Path(out).absolute(), QUICK if quick else FULL, Clock(progress)
    folder.prepare(place, overwrite, _written())
    with one_thread():
        _train(place, size, seed, clock)
        chosen = _choose(place, size, seed, clock)
        _write_recipes(place, size, chosen)
        with clock.stage("merging", len(merges.BLENDS)) as step:
            merges.merge_all(place, [blend.name for blend in merges.BLENDS], seed, step)
        _search(place, size, seed, clock)
        models = _judge(place, size, seed, clock)
        results = tell.tally(models, chosen)
        shown = tell.best_of([m for m in models if m.name != merges.LAYER_STACK.name]).name
        told = page.tell_of(place, size.words, shown, size.explained, seed, clock)
    results |= {"told": tell.told(shown, told.comparison, told.explanations)}
    with clock.stage("drawing", 1) as step:
        picture.draw(results, [place / name for name in folder.PICTURES])
        step()
    results |= {"settings": {"seed": seed, "quick": quick, **asdict(size)}, "seconds": dict(clock.seconds)}
    folder.write_text(place / folder.RESULTS, json.dumps(results, indent=2) + "\n")
    return DemoResult(place, results)


def _train(place: Path, size: Size, seed: int, clock: Clock) -> None:
    """Fine-tune the specialists and write them, and the base, as checkpoints."""
    copy_base(place / "models" / "base")
    base = pretrained.load_causal_lm(BASE)
    with clock.stage("training specialists", len(size.words) * size.schedule.steps) as step:
        specialists = train_specialists(base, size.words, size.schedule, seed, step)
    for word, model in specialists.items():
        save(model, place / "models" / word)


def _choose(place: Path, size: Size, seed: int, clock: Clock) -> dict[str, merges.Trial]:
    """The best settings of every averaging merge, by its mean on the validation draw."""
    exam = _exam(size.words, "validation", size.validation, seed)
    model = pretrained.load_causal_lm(place / "models" / "base")
    base = weights(model)
    paths = {model_path(word): place / "models" / word for word in size.words}
    specialists = {name: weights(pretrained.load_causal_lm(path)) for name, path in paths.items()}
    total = sum(len(blend.choices[:: size.stride]) for blend in merges.AVERAGES)
    with clock.stage("choosing settings", total) as step:

        def grade(merged: Mapping[str, Tensor]) -> float:
            found = mean(judge(with_weights(model, merged), exam))
            step()
            return found

        tried = {b.name: merges.trials(b, base, specialists, grade, seed, size.stride) for b in merges.AVERAGES}
        return {name: merges.best(found) for name, found in tried.items()}


def _write_recipes(place: Path, size: Size, chosen: Mapping[str, merges.Trial]) -> None:
    """Write every recipe, with the chosen settings in it."""
    for blend in merges.BLENDS:
        settings = chosen[blend.name].settings if blend.name in chosen else {}
        folder.write_text(place / "recipes" / f"{blend.name}.yml", recipe_text(blend, size.words, settings))


def _search(place: Path, size: Size, seed: int, clock: Clock) -> None:
    """Search which specialists to average and in which proportions, and make the merges that were found."""
    import cuvee

    write_tasks(place, size.words, "validation", size.validation, seed)
    write_tasks(place, size.words, "test", size.test, seed)
    with clock.follow("searching") as told:
        search_all(place, size.words, seed, size.trials, told)
    for blend in merges.FOUND:
        cuvee.merge(place / search_folder(blend) / merges.BEST, place / "merges" / blend.name, seed=seed)


def _judge(place: Path, size: Size, seed: int, clock: Clock) -> list[tell.Judged]:
    """Score every model, as it stands on disk, on the test draw, and the merges on the validation draw too."""
    test = _exam(size.words, "test", size.test, seed)
    validation = _exam(size.words, "validation", size.validation, seed)
    found: list[tuple[tell.Kind, Path]] = [("base", place / "models" / "base")]
    found += [("expert", place / "models" / word) for word in size.words]
    found += [("merge", place / "merges" / blend.name) for blend in merges.MADE]
    judged = []
    with clock.stage("judging", len(found)) as step:
        for kind, path in found:
            model = pretrained.load_causal_lm(path)
            seen = mean(judge(model, validation)) if kind == "merge" else None
            judged.append(tell.Judged(path.name, kind, path, judge(model, test), seen))
            step()
    return judged


def _exam(words: Sequence[str], split: Split, count: int, seed: int) -> dict[str, tuple[Document, ...]]:
    """The items of every skill."""
    return {word: items(word, split, count, seed) for word in words}


def _written() -> tuple[str, ...]:
    """Everything a demo writes, relative to its folder."""
    return (
        *(f"models/{name}" for name in ("base", *TAUGHT)),
        *(f"recipes/{blend.name}.yml" for blend in merges.MADE),
        *(f"merges/{blend.name}" for blend in merges.MADE),
        *(search_folder(blend) for blend in merges.FOUND),
        TASKS,
        *page.WRITTEN,
        folder.RESULTS,
        *folder.PICTURES,
    )


_NEEDED: Final = ("transformers", "matplotlib", "cmaes", "altair", "vl_convert")


def _require_extras() -> None:
    """Refuse to start without the optional packages, all of them named at once."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    hint = 'pip install "cuvee[demo]"'
    faults = [Fault("missing-extra", f"the demo needs {n}, which is not installed", None, n, hint) for n in lacking]
    if faults:
        raise UsageError(faults)
