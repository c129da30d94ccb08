"""An explanation whose arguments are in order: open the models, score every set of parts, work out the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cuvee import methods
from cuvee.api.cellars import Stock, opened_stock
from cuvee.api.explain_games import EnsembleGame, Game, LayerGame, MergeGame
from cuvee.api.objectives import furnish
from cuvee.api.records import Recorded, check_inputs, differs, told_where
from cuvee.errors import CuveeError, Fault, InputError, RecipeError, UsageError
from cuvee.explaining.coalitions import course
from cuvee.explaining.explanation import About, Explanation, Explanations, doubts, explained
from cuvee.explaining.outcomes import Outcome, mean_outcome
from cuvee.explaining.subsets import alone, base_of, models_of, refuse_indivisible, restricted
from cuvee.recipe import Recipe, faults
from cuvee.searching.seat import Build, Seats, built_by_transformers
from cuvee.types import MethodSpec, ModelRef, Score, Scorer

_DRAWS = 400
"""Draws of rows for scores that are no means: the error bar is right to about 4 %."""
_AFTERWARDS = {
    "tuned": "it was tuned afterwards, and what is explained is the merge before that",
    "transplanted": "it got another tokenizer afterwards, and what is explained is the merge before that",
    "recalibrated": "statistics were estimated on data afterwards",
}
"""What a record tells of a merge that is no longer what its recipe makes."""


@dataclass(frozen=True)
class Asked:
    """How an explanation was asked for; see `cuvee.explain`."""

    scorers: tuple[Scorer, ...]
    layers: int | None
    ensemble: bool | None
    budget: int
    seed: int
    limit: int | None
    build: Build | None
    progress: Callable[[int, int, str], None] | None


def carry_out(made: Recorded, asked: Asked) -> Explanations:
    """Explain.

    Raises:
        CuveeError: as `cuvee.explain` says.
    """
    recipe = made.recipe
    spec = methods.get(recipe.method).spec
    models = models_of(recipe, spec)
    notes: list[str] = []
    divided = _divided(recipe, spec, models, asked, notes)
    wants = asked.ensemble is not False and len(models) > 1
    if asked.ensemble and not wants:
        message = f"an ensemble should be of two models or more; {made.folder} merges {len(models)} besides its base"
        raise UsageError(Fault("bad-argument", message, subject="ensemble", hint="leave --ensemble out"))
    parts = {one: part for one, part in divided.items() if part is not None}
    bounds, names = [recipe, *parts.values()], {i: _without(models, one) for i, one in enumerate(parts, 1)}
    base = base_of(recipe, spec) or recipe.base_model
    bounds += [] if base is None else [alone(recipe, base)]
    beside = len(models) if wants else 0
    try:
        with opened_stock(bounds, names=names, seed=made.seed, limit=asked.limit, beside=beside) as stock:
            check_inputs(made, stock)
            furnish(asked.scorers, stock.folders)
            run = _Run(asked, notes)
            again = stock.cellar.merged(recipe)
            notes += _told_of_difference(made, differs(made, again))
            games = list(_games(made, stock, asked, divided, base, wants, notes))
            played = tuple(run.played(games))
            return Explanations(made.folder, played, (*notes, *doubts(played)))
    except InputError as error:
        raise told_where(error, made) from error


def _divided(
    recipe: Recipe, spec: MethodSpec, models: Sequence[ModelRef], asked: Asked, notes: list[str]
) -> dict[int, Recipe | None]:
    """Set of models → the recipe of it; nothing where they cannot be left out and layers are explained.

    Raises:
        RecipeError: they cannot, or the recipe of a set has faults.
    """
    try:
        refuse_indivisible(recipe, spec)
    except RecipeError as error:
        if asked.layers is None:
            raise
        notes.append(f"{error.faults[0].message}; groups of layers are explained")
        return {}
    path = course(len(models), asked.budget, asked.seed)
    found = {
        one: restricted(recipe, spec, [model for i, model in enumerate(models) if one >> i & 1])
        for one in path.coalitions
    }
    wrong = {
        replace(fault, message=f"{_without(models, one)}{fault.message}", place=None): None
        for one, made in found.items()
        for fault in (faults(made, methods.specs()) if made is not None else ())
    }
    if wrong:
        raise RecipeError(wrong)
    if spec.models[0] > 1 and len(models) > 1:
        notes.append(f"{spec.name} merges no model by itself: a single one counts as it is")
    return found


def _without(models: Sequence[ModelRef], coalition: int) -> str:
    """What faults of a set begin with: the models that are left out, where any are."""
    others = ", ".join(str(model) for i, model in enumerate(models) if not coalition >> i & 1)
    return f"without {others}: " if others else ""


def _told_of_difference(made: Recorded, tensor: str | None) -> Iterator[str]:
    if tensor is not None:
        why = next((told for key, told in _AFTERWARDS.items() if key in made.record), "`cuvee verify`?")
        yield f"the merge made again here is not the one in {made.folder}, first in {tensor}: {why}"


def _games(
    made: Recorded,
    stock: Stock,
    asked: Asked,
    divided: Mapping[int, Recipe | None],
    base: ModelRef | None,
    wants: bool,
    notes: list[str],
) -> Iterator[Game]:
    """What is explained, each with the sets that are scored."""
    recipe, build = made.recipe, asked.build or built_by_transformers
    spec = methods.get(recipe.method).spec
    seats, models = Seats(build), models_of(recipe, spec)
    path = course(len(models), asked.budget, asked.seed)
    if divided:
        yield MergeGame(stock, seats, models, path, divided)
    if asked.layers is not None:
        yield LayerGame.of(stock, seats, recipe, base, asked.layers, asked.budget, asked.seed)
    if wants:
        own = base_of(recipe, spec)
        try:
            yield EnsembleGame.of(stock, build, recipe, models, own, path)
        except CuveeError as error:
            if asked.ensemble:
                raise
            notes.append(f"the ensemble of these models is not explained: {error.faults[0].message}")


@dataclass
class _Run:
    """Scores the sets of games, the same one once."""

    asked: Asked
    notes: list[str]
    _known: dict[str, list[Outcome | CuveeError]] = field(default_factory=dict)
    _scores: dict[str, Score] = field(default_factory=dict)

    def played(self, games: Sequence[Game]) -> Iterator[Explanation]:
        """All games, one after the other, in the order of subjects and tasks."""
        total, done = sum(len(game.path.coalitions) for game in games), 0
        for game in games:
            found: dict[int, list[Outcome | CuveeError]] = {}
            for coalition in game.path.coalitions:
                self._say(done, total, game.label(coalition))
                if game.key(coalition) is not None:
                    found[coalition] = self._outcomes(game, coalition)
                done += 1
            yield from self._explained(game, found)
        self._say(total, total, "")

    def _say(self, done: int, total: int, text: str) -> None:
        if self.asked.progress is not None:
            self.asked.progress(done, total, text)

    def _outcomes(self, game: Game, coalition: int) -> list[Outcome | CuveeError]:
        key = game.key(coalition)
        assert key is not None, "a set that is not the mean of others"
        if key not in self._known:
            model = game.model(coalition)
            self._known[key] = [self._outcome(one, model, game, coalition) for one in self.asked.scorers]
        return self._known[key]

    def _outcome(self, scorer: Scorer, model: Any, game: Game, coalition: int) -> Outcome | CuveeError:
        """What a set came to on a task; an ensemble that the task cannot be asked costs that task alone."""
        try:
            score, outcome = outcome_of(scorer, model, self.asked.seed)
        except CuveeError as error:
            told = [replace(one, message=f"{game.label(coalition)}: {one.message}") for one in error.faults]
            named = type(error)(told)
            if game.may_fail and not self.asked.ensemble:
                return named
            raise named from error
        self._scores.setdefault(scorer.name, score)
        return outcome

    def _explained(self, game: Game, found: Mapping[int, list[Outcome | CuveeError]]) -> Iterator[Explanation]:
        for number, scorer in enumerate(self.asked.scorers):
            outcomes = {one: several[number] for one, several in found.items()}
            good = {one: outcome for one, outcome in outcomes.items() if isinstance(outcome, Outcome)}
            failed = next((one for one in outcomes.values() if isinstance(one, CuveeError)), None)
            if failed is not None:
                self.notes.append(f"not explained: {failed.faults[0].message}")
                continue
            if 0 not in good:
                good[0] = mean_outcome([good[1 << part] for part in range(game.path.parts)])
            score = self._scores[scorer.name]
            about = About(game.subject, scorer.name, score.metric, score.direction, score.n, game.of_what, game.nothing)
            made = explained(about, game.names, game.path, good)
            self.notes += made.notes
            yield made


def outcome_of(scorer: Scorer, model: Any, seed: int) -> tuple[Score, Outcome]:
    """A model's score on a task, and what errors can be made of: rows of a mean, else draws where there are answers.

    Raises:
        InputError: the model does not fit, or the score is no number.
    """
    from cuvee.judging.metrics import metric_named
    from cuvee.judging.resampling import resampled
    from cuvee.judging.scoring import TaskScorer

    answers = None
    if isinstance(scorer, TaskScorer):
        score, answers = scorer.judged(model)
    else:
        score = scorer.score(model)
    if score.value - score.value != 0:
        raise InputError(Fault("no-score", f"{scorer.name} should give a number; it gave {score.value}"))
    sign = 1.0 if score.direction == "higher" else -1.0
    if score.rows is not None:
        import numpy as np

        return score, Outcome(score.gain, rows=sign * np.array(score.rows))
    if answers is None or answers.kind == "outcome" or len(answers) < 2:
        return score, Outcome(score.gain)
    metric = metric_named(score.metric, answers.kind)
    return score, Outcome(score.gain, draws=sign * resampled(metric, [answers], draws=_DRAWS, seed=abs(seed))[0])
