"""Self-consistency: a prompt is answered many times, and the answer that most texts come to is taken.

After Wang et al. 2023, Self-Consistency Improves Chain of Thought Reasoning in Language Models (arXiv:2203.11171): the
way to an answer may differ, so texts are drawn, what they come to is read off each, and the majority decides.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from cuvee.errors import CheckFailed, Fault, InputError, UsageError, integer_faults, refuse
from cuvee.generate.prompts import Prompt

Ties = Literal["first", "log-prob", "error"]
Extract = str | re.Pattern[str] | Callable[[str], Hashable | None] | None

_APART: Final = 1_000_003
"""Between the seeds of models that answer the same prompts: further than seeds that people choose."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to a prompt.

    Attributes:
        text: as written.
        mean_log: its mean log-probability per token; NaN where it is not known.
    """

    text: str
    mean_log: float = math.nan


@dataclass(frozen=True, slots=True)
class Vote:
    """What the answers to one prompt come to.

    Attributes:
        answer: what most of them say; `None` where none could be read.
        agreement: share of all answers that say so, those that could not be read among them; a confidence.
        votes: answer → how many say so, in the order of their first.
        unread: answers that nothing could be read off.
        tied: whether another had as many votes.
        sample: the first of those that say so.
    """

    answer: Hashable | None
    agreement: float
    votes: Mapping[Hashable, int]
    unread: int
    tied: bool
    sample: Sample | None


@dataclass(frozen=True, slots=True)
class Sampled:
    """Many answers to each of some prompts.

    Attributes:
        prompts: what was asked.
        samples: of each prompt.
    """

    prompts: tuple[Any, ...]
    samples: tuple[tuple[Sample, ...], ...]

    def vote(self, extract: Extract = None, *, ties: Ties = "first") -> tuple[Vote, ...]:
        """The answer of most, for each prompt.

        Args:
            extract: reads an answer off a text: a pattern, of whose last match (no empty one) the first group counts,
                or all of it where it has no group; or a function, whose `None` or NaN says that there is none. Without
                it the whole text counts, but for spaces around it.
            ties: between answers of as many votes: the `first` that was given; the one whose texts have the highest
                mean `log-prob`; or an `error`.

        Raises:
            UsageError: `bad-argument`: an extractor or a rule that is none, or `log-prob` of texts without any.
            CheckFailed: a tie that is to be an error; every prompt with one.
            InputError: `member-failed`: the function raised.
        """
        read = reading(extract)
        if ties not in ("first", "log-prob", "error"):
            message = f"`ties` must be first, log-prob or error; found {ties!r}"
            raise UsageError(Fault("bad-argument", message, subject="ties"))
        votes = tuple(_vote(samples, read, ties) for samples in self.samples)
        if ties == "error" and (tied := [number for number, vote in enumerate(votes) if vote.tied]):
            raise CheckFailed([_tie(number, votes[number]) for number in tied])
        return votes


def answers(
    prompts: Sequence[Prompt], model: Any, n: int = 8, *, temperature: float = 0.7, seed: int = 0, **how: Any
) -> Sampled:
    r"""Answer each prompt many times.

    Args:
        prompts: texts or conversations.
        model: a `TokenEnsemble`, a model folder, a pair (model, tokenizer), or a function of (prompts, n, seed) that
            gives n texts for each prompt; in a list of these, each answers n times, by a seed of its own: the first by
            `seed`, so that no two models draw by the same numbers.
        n: answers for each prompt.
        temperature: of the draws.
        seed: of the draws.
        **how: `max_new_tokens`, `top_k`, `top_p`, `stop`, `batch_size`, as `TokenEnsemble.generate` has them.

    Raises:
        UsageError, InputError: as `TokenEnsemble` and its `generate`; `bad-output`: a function gave other texts than n
            for each prompt; `member-failed`: it raised.

    Example:
        >>> found = answers(["6 · 7 = ?"], lambda prompts, n, seed: [["so 42", "it is 42", "42!", "41"]], n=4)
        >>> found.vote(r"\d+")[0].answer, found.vote(r"\d+")[0].agreement
        ('42', 0.75)
    """
    refuse([*integer_faults("n", n, least=1), *integer_faults("seed", seed)])
    several = model if isinstance(model, list) else [model]
    found = [
        _samples(prompts, one, n, {"temperature": temperature, "seed": seed + number * _APART, **how})
        for number, one in enumerate(several)
    ]
    return Sampled(tuple(prompts), tuple(tuple(s for own in row for s in own) for row in zip(*found, strict=True)))


def _samples(prompts: Sequence[Prompt], model: Any, n: int, how: dict[str, Any]) -> list[list[Sample]]:
    from cuvee.generate.ensemble import TokenEnsemble

    if isinstance(model, tuple | str | os.PathLike):
        model = TokenEnsemble([model])
    if isinstance(model, TokenEnsemble):
        found = model.generate(prompts, n=n, **how)
        made = [Sample(one.text, one.mean_log) for one in found]
        return [made[at : at + n] for at in range(0, len(made), n)]
    return list(_called(prompts, model, n, how["seed"]))


def _called(prompts: Sequence[Prompt], model: Callable[..., Any], n: int, seed: int) -> Iterator[list[Sample]]:
    try:
        texts = list(model(prompts, n, seed))
    except Exception as error:  # whatever a function of the user's raises
        message = f"the function that answers failed: {type(error).__name__}: {error}"
        raise InputError(Fault("member-failed", message, subject="model")) from error
    if len(texts) != len(prompts):
        message = f"there must be answers for each of {len(prompts)} prompts; found {len(texts)}"
        raise InputError(Fault("bad-output", message, subject="model"))
    for number, own in enumerate(texts):
        if isinstance(own, str) or len(own) != n or not all(isinstance(one, str) for one in own):
            message = f"prompt {number}: there must be {n} texts; found {own!r:.80}"
            raise InputError(Fault("bad-output", message, subject="model"))
        yield [Sample(one) for one in own]


def reading(extract: Extract) -> Callable[[str], Hashable | None]:
    """The function that reads an answer off a text.

    Raises:
        UsageError: `bad-argument`: it is no pattern and no function.
    """
    if extract is None:
        return lambda text: text.strip() or None
    if isinstance(extract, str | re.Pattern):
        try:
            pattern = re.compile(extract)
        except re.error as error:
            message = f"`extract` must be a regular expression; {extract!r}: {error}"
            raise UsageError(Fault("bad-argument", message, subject="extract")) from error
        return lambda text: _last(pattern, text)
    if callable(extract):
        return extract
    message = f"`extract` must be a pattern or a function; found {extract!r:.80}"
    raise UsageError(Fault("bad-argument", message, subject="extract"))


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = [match for match in pattern.finditer(text) if match[0]]
    return found[-1][1 if pattern.groups else 0] if found else None


def _vote(samples: Sequence[Sample], read: Callable[[str], Hashable | None], ties: Ties) -> Vote:
    groups: dict[Hashable, list[Sample]] = {}
    for sample in samples:
        answer = _read(read, sample.text)
        if answer is not None:
            groups.setdefault(answer, []).append(sample)
    unread = len(samples) - sum(map(len, groups.values()))
    votes = {answer: len(own) for answer, own in groups.items()}
    if not groups:
        return Vote(None, 0.0, votes, unread, tied=False, sample=None)
    most = max(votes.values())
    best = [answer for answer, count in votes.items() if count == most]
    winner = max(best, key=lambda one: _mean_log(groups[one])) if ties == "log-prob" and len(best) > 1 else best[0]
    return Vote(winner, most / len(samples), votes, unread, tied=len(best) > 1, sample=groups[winner][0])


def _read(read: Callable[[str], Hashable | None], text: str) -> Hashable | None:
    try:
        found = read(text)
        hash(found)
        return found if found == found else None  # NaN is no answer, and no two of them are equal
    except Exception as error:  # whatever a function of the user's raises, or gives
        message = f"`extract` failed on {text!r:.80}: {type(error).__name__}: {error}"
        raise InputError(Fault("member-failed", message, subject="extract")) from error


def _mean_log(samples: Sequence[Sample]) -> float:
    logs = [one.mean_log for one in samples]
    if any(map(math.isnan, logs)):
        message = "`ties='log-prob'` needs texts whose log-probabilities are known; those of a function are not"
        raise UsageError(Fault("bad-argument", message, subject="ties", hint="use ties='first' or 'error'"))
    return math.fsum(logs) / len(logs)


def _tie(number: int, vote: Vote) -> Fault:
    most = max(vote.votes.values())
    best = " and ".join(repr(answer) for answer, count in vote.votes.items() if count == most)
    message = f"prompt {number}: {best} have {most} votes each"
    return Fault(
        "check-failed", message, subject=str(number), hint="draw more answers, or set `ties` to first or log-prob"
    )
