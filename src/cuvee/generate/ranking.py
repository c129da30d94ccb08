"""Candidates ranked by comparing them in pairs, with any scorer; the best of them written into one by any writer.

Every pair is asked about in both orders, because scorers favour the first or the second place:

    q_ij = (s(i, j) + 1 − s(j, i)) / 2            how much i is preferred to j
    copeland        Σ_j [q_ij > ½] + ½ [q_ij = ½]
    mean            1/(n − 1) Σ_j q_ij
    bradley-terry   log θ_i,  P(i over j) = θ_i / (θ_i + θ_j), by likelihood

For Bradley-Terry each candidate also has half a win and half a loss against one of strength 1, without which a
candidate that wins everything would have no finite strength.

References:
    Jiang et al. 2023, LLM-Blender (arXiv:2306.02561): pairs, then a writer; Hunter 2004, MM algorithms for generalized
    Bradley-Terry models, equation 3; Wang et al. 2024, Mixture-of-Agents (arXiv:2406.04692): the writer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final, Literal

import numpy as np

from cuvee.errors import CheckFailed, Fault, InputError, UsageError, integer_faults, refuse

Aggregate = Literal["copeland", "mean", "bradley-terry"]
Ties = Literal["first", "mean", "error"]
Scorer = Callable[[str, str, str], float]
"""(prompt, a, b) → how much a is preferred to b, 0 to 1."""
Writer = Callable[[str, Sequence[str]], str]
"""(prompt, candidates, best first) → one text."""
Array = np.ndarray[Any, Any]

_AGGREGATES: Final = ("copeland", "mean", "bradley-terry")
_TIES: Final = ("first", "mean", "error")
_EQUAL: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates in order.

    Attributes:
        prompt: what they answer.
        candidates: as given.
        order: numbers of candidates, best first.
        scores: of each candidate, in the order given; what they mean is the aggregate's.
        preferences: `[n, n]`, q_ij; ½ on the diagonal.
        tied: groups of candidates with equal scores.
        first_favoured: mean of s(i, j) + s(j, i) − 1: above 0 where the scorer favours what stands first.
    """

    prompt: str
    candidates: tuple[str, ...]
    order: tuple[int, ...]
    scores: tuple[float, ...]
    preferences: Array
    tied: tuple[tuple[int, ...], ...]
    first_favoured: float

    @property
    def best(self) -> str:
        """The candidate that is ranked first."""
        return self.candidates[self.order[0]]

    def top(self, count: int) -> tuple[str, ...]:
        """So many of the best, best first."""
        return tuple(self.candidates[i] for i in self.order[:count])

    def fuse(self, writer: Writer, *, top: int = 3) -> str:
        """One text written from the best.

        Args:
            writer: a function of the prompt and the candidates, best first.
            top: how many it is given.

        Raises:
            UsageError: `bad-argument`: `top` is no number of candidates.
            InputError: `member-failed`: it raised; `bad-output`: it gave no text.
        """
        refuse(integer_faults("top", top, least=1))
        try:
            found = writer(self.prompt, self.top(top))
        except Exception as error:  # whatever a function of the user's raises
            message = f"the writer failed: {type(error).__name__}: {error}"
            raise InputError(Fault("member-failed", message, subject="writer")) from error
        if not isinstance(found, str):
            message = f"the writer must give a text; found {type(found).__name__}"
            raise InputError(Fault("bad-output", message, subject="writer"))
        return found


@dataclass(frozen=True, slots=True)
class PairRanker:
    """Ranks candidates by comparing each with each.

    Attributes:
        scorer: (prompt, a, b) → how much a is preferred to b, 0 to 1.
        aggregate: how preferences become scores; see above.
        ties: between equal scores: the `first` given; the higher `mean` preference, then the first; or an `error`.

    Example:
        >>> longer = PairRanker(lambda prompt, a, b: float(len(a) > len(b)))
        >>> longer.rank("tell", ["a few", "one", "a lot more"]).best
        'a lot more'
    """

    scorer: Scorer
    aggregate: Aggregate = "copeland"
    ties: Ties = "first"

    def __post_init__(self) -> None:
        wrong = []
        if not callable(self.scorer):
            wrong.append(
                Fault("bad-argument", f"`scorer` must be a function; found {self.scorer!r:.80}", subject="scorer")
            )
        for name, allowed in (("aggregate", _AGGREGATES), ("ties", _TIES)):
            if getattr(self, name) not in allowed:
                message = f"`{name}` must be one of {', '.join(allowed)}; found {getattr(self, name)!r}"
                wrong.append(Fault("bad-argument", message, subject=name))
        refuse(wrong)

    def rank(self, prompt: str, candidates: Sequence[str]) -> Ranking:
        """Compare all pairs in both orders: n (n − 1) calls of the scorer.

        Args:
            prompt: what the candidates answer.
            candidates: one or more texts.

        Raises:
            UsageError: `bad-argument`: no candidates, or not texts.
            InputError: `bad-output`: a preference that is no number from 0 to 1; `member-failed`: the scorer raised.
            CheckFailed: a tie that is to be an error.
        """
        if isinstance(candidates, str) or not candidates or not all(isinstance(one, str) for one in candidates):
            message = f"`candidates` must be a list of one text or more; found {candidates!r:.80}"
            raise UsageError(Fault("bad-argument", message, subject="candidates"))
        asked = np.full((len(candidates),) * 2, 0.5)
        for i, j in permutations(range(len(candidates)), 2):
            asked[i, j] = self._asked(prompt, candidates[i], candidates[j])
        preferences = (asked + 1 - asked.T) / 2
        scores = SCORES[self.aggregate](preferences)
        tied = _equal(scores)
        if tied and self.ties == "error":
            raise CheckFailed([_tie(group, scores) for group in tied])
        second = mean_preference(preferences) if self.ties == "mean" else np.zeros(len(scores))
        place = {i: group[0] for group in tied for i in group}
        order = sorted(range(len(scores)), key=lambda i: (-scores[place.get(i, i)], -second[i], i))
        away = ~np.eye(len(candidates), dtype=bool)
        favoured = float((asked + asked.T - 1)[away].mean()) if len(candidates) > 1 else 0.0
        told = tuple(map(float, scores))
        return Ranking(prompt, tuple(candidates), tuple(order), told, preferences, tied, favoured)

    def _asked(self, prompt: str, a: str, b: str) -> float:
        try:
            found = float(self.scorer(prompt, a, b))
        except Exception as error:  # whatever a function of the user's raises
            message = f"the scorer failed on {a!r:.60} and {b!r:.60}: {type(error).__name__}: {error}"
            raise InputError(Fault("member-failed", message, subject="scorer")) from error
        if not 0 <= found <= 1:
            message = f"the scorer must give a number from 0 to 1; found {found!r} for {a!r:.60} over {b!r:.60}"
            hint = "a difference of scores d becomes one by 1 / (1 + exp(−d))"
            raise InputError(Fault("bad-output", message, subject="scorer", hint=hint))
        return found


def copeland(preferences: Array) -> Array:
    """Candidates that each one beats, those it ties with counted half."""
    against = np.where(np.abs(preferences - 0.5) <= _EQUAL, 0.5, preferences > 0.5)
    return np.asarray(against.sum(1) - 0.5)  # the half is its own place on the diagonal


def mean_preference(preferences: Array) -> Array:
    """Mean preference over all others, ½ of one alone."""
    n = len(preferences)
    return np.asarray((preferences.sum(1) - 0.5) / (n - 1)) if n > 1 else np.full(1, 0.5)


def bradley_terry(preferences: Array, steps: int = 10_000) -> Array:
    """Logarithms of the strengths that make the preferences likeliest, half a win and a loss against 1 added."""
    wins = preferences.sum(1) - 0.5 + 0.5
    strength = np.ones(len(preferences))
    for _ in range(steps):
        against = 1 / (strength[:, None] + strength)
        np.fill_diagonal(against, 0)
        new = wins / (against.sum(1) + 1 / (strength + 1))
        if np.abs(np.log(new / strength)).max() < 1e-13:
            break
        strength = new
    return np.asarray(np.log(new))


SCORES: Final[dict[str, Callable[[Array], Array]]] = {
    "copeland": copeland,
    "mean": mean_preference,
    "bradley-terry": bradley_terry,
}


def _equal(scores: Array) -> tuple[tuple[int, ...], ...]:
    """Groups of candidates whose scores are equal but for rounding."""
    order = sorted(range(len(scores)), key=lambda i: (scores[i], i))
    groups: list[list[int]] = []
    for i in order:
        if groups and abs(scores[i] - scores[groups[-1][-1]]) <= _EQUAL:
            groups[-1].append(i)
        else:
            groups.append([i])
    return tuple(tuple(sorted(group)) for group in groups if len(group) > 1)


def _tie(group: Sequence[int], scores: Array) -> Fault:
    message = f"candidates {', '.join(map(str, group))} are equal, with {float(scores[group[0]]):.4g} each"
    return Fault("check-failed", message, subject="candidates", hint="set `ties` to first or mean")


def likelihood_scorer(model: Any, tokenizer: Any = None, *, sharpness: float = 1.0) -> Scorer:
    """A scorer that prefers what a causal language model finds likelier behind the prompt, per byte.

        s(a, b) = σ(sharpness · (l(a) − l(b))),    l(x) = log p(x | prompt) / bytes of x

    Per byte, because the sum of more tokens is lower whatever they say.

    Args:
        model: a model of transformers with its tokenizer, or a model folder without.
        tokenizer: the model's.
        sharpness: bytes that a difference is counted over.

    Raises:
        InputError: as `TokenEnsemble` does for a model.
    """
    from cuvee.generate.likelihood import nats_per_byte
    from cuvee.generate.members import language_models

    (member,) = language_models([model if tokenizer is None else (model, tokenizer)])
    known: dict[tuple[str, str], float] = {}

    def nats(prompt: str, text: str) -> float:
        if (prompt, text) not in known:
            known[prompt, text] = nats_per_byte(member, prompt, text)
        return known[prompt, text]

    def score(prompt: str, a: str, b: str) -> float:
        return 1 / (1 + math.exp(min(max(sharpness * (nats(prompt, a) - nats(prompt, b)), -700), 700)))

    return score
