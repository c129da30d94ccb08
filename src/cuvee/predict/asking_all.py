"""One version of an ensemble asked: its members' answers gathered, combined, calibrated."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.predict.alignment import fillers
from cuvee.predict.answers import OnError, Together, ask_all
from cuvee.predict.combiners.declared import Batch, Fitted, Staged
from cuvee.predict.rows import Rows
from cuvee.predict.state import State
from cuvee.predict.trained import Label, Task, Trained

_log = logging.getLogger("cuvee.predict")


@dataclass(frozen=True, eq=False)
class Asking:
    """How members are asked.

    Attributes:
        classes: of the ensemble; none for a regression.
        task: of the ensemble.
        on_error: what is done when a member fails.
        time_limit: seconds that each member may take.
    """

    classes: tuple[Label, ...]
    task: Task
    on_error: OnError = "raise"
    time_limit: float | None = None

    def __call__(self, members: Sequence[Trained], rows: Rows, embed: Sequence[str] = ()) -> Together:
        """What the members say of the rows."""
        return ask_all(
            members, rows, self.classes, self.task, on_error=self.on_error, time_limit=self.time_limit, embed=embed
        )


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one version of an ensemble says of rows.

    Attributes:
        P: `[N, K]`, what was combined and calibrated.
        version: the number of the state that said it.
        asked: members that were asked; those of weight zero are not, but for `consulted`.
        failed: member → why it was left out; empty unless failures are masked.
        notes: what members said besides, such as that texts were cut.
    """

    P: Array
    version: int
    asked: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def answered(state: State, rows: Rows, asking: Asking, view: Array | None = None) -> Prediction:
    """Ask the members of one state and combine what they say.

    Args:
        state: the version that answers.
        rows: what is asked.
        asking: how members are asked.
        view: `[N, D]`, the rows' own numbers, for combiners that look at them.

    Raises:
        UsageError: `no-member`: there are no members yet.
        InputError: as `answers.ask_all`; `no-member`: nobody is left for a row.
    """
    fitted = fitted_of(state)
    batch, failed, notes = gathered(state, rows, asking, view)
    try:
        pooled = fitted.apply(batch)
    except InputError as error:
        raise (_with_reasons(error, failed) if failed else error) from None
    asked = (*fitted.used, *consulted(fitted, state.members, asking.classes))
    return Prediction(calibrated(pooled, state.temperature), state.number, asked, failed, notes)


def fitted_of(state: State) -> Fitted:
    """The combiner that answers.

    Raises:
        UsageError: `no-member`.
    """
    if state.fitted is None and state.members:
        message = "nobody answers yet: no member gives probabilities, so that no vote can be taken"
        raise UsageError(Fault("no-member", message, hint="`fit_combiner` one that takes scores or embeddings"))
    if state.fitted is None:
        raise UsageError(Fault("no-member", "the ensemble has no members yet", hint="`add` one"))
    return state.fitted


def gathered(
    state: State, rows: Rows, asking: Asking, view: Array | None = None
) -> tuple[Batch, dict[str, str], tuple[str, ...]]:
    """What the members that count say, in the order of the fitted combiner; who failed; what they note besides.

    Members of weight zero are not asked: they are masked throughout, as are those that failed. A combiner that asks
    members in turn asks some of them only about the rows that are still undecided. Where a member leaves classes to
    others, those others are asked at once with it, whatever they weigh: it was fitted with what they say.
    """
    fitted = fitted_of(state)
    by_name = {member.name: member for member in state.members}
    batch = _silent(fitted, rows, asking, view)
    besides = consulted(fitted, state.members, asking.classes)
    used = [number for number, name in enumerate(fitted.members) if name in fitted.used]
    is_staged = isinstance(fitted, Staged) and not leaving(fitted, state.members, asking.classes)
    in_turn = [[number] for number in fitted.order] if isinstance(fitted, Staged) and is_staged else [used]
    failed: dict[str, str] = {}
    notes: list[str] = []
    wanted = np.arange(len(rows))
    for step, numbers in enumerate(in_turn):
        members = [by_name[name] for name in (*(fitted.members[number] for number in numbers), *besides)]
        _ask_some(
            batch, rows, wanted, members, numbers, asking, wanting(fitted, members[: len(numbers)]), failed, notes
        )
        if isinstance(fitted, Staged) and step + 1 < len(in_turn):
            wanted = wanted[fitted.undecided(rows_of_batch(batch, wanted), step)]
            if not len(wanted):
                break
    if failed and all(name in failed for name in fitted.used):
        raise InputError([Fault("member-failed", why, subject=name) for name, why in failed.items()])
    for name in wanting(fitted, (by_name[one] for one in failed)):
        batch.embeddings.setdefault(name, np.zeros((len(rows), 0)))  # type: ignore[attr-defined]
    return batch, failed, tuple(dict.fromkeys(notes))


def leaving(fitted: Fitted, members: Sequence[Trained], classes: Sequence[Label]) -> tuple[str, ...]:
    """Members that count and leave classes to others (`missing="mask"`)."""
    some = (one for one in members if one.missing == "mask" and one.name in fitted.used)
    return tuple(one.name for one in some if set(classes) - set(one.known))


def consulted(fitted: Fitted, members: Sequence[Trained], classes: Sequence[Label]) -> tuple[str, ...]:
    """Members that do not count, and are asked because others leave classes to them (`missing="mask"`)."""
    used = [one for one in members if one.name in fitted.used]
    return fillers(used, [one for one in members if one not in used], classes)


def rows_of_batch(batch: Batch, at: Array) -> Batch:
    """Some rows of a batch."""
    features = None if batch.features is None else batch.features[at]
    embeddings = {name: found[at] for name, found in batch.embeddings.items()}
    return Batch(batch.P[:, at], batch.mask[:, at], features, embeddings)


def _silent(fitted: Fitted, rows: Rows, asking: Asking, view: Array | None) -> Batch:
    """A batch in which nobody says anything yet."""
    width = len(asking.classes) if asking.task == "classification" else 1
    P = np.full((len(fitted.members), len(rows), width), np.nan)
    return Batch(P, np.zeros(P.shape[:2], dtype=bool), view, {})


def _ask_some(
    batch: Batch,
    rows: Rows,
    wanted: Array,
    members: Sequence[Trained],
    numbers: Sequence[int],
    asking: Asking,
    embed: Sequence[str],
    failed: dict[str, str],
    notes: list[str],
) -> None:
    """Ask some members about some rows, and put down in the batch, which is still being made, what they say.

    Of members beyond `numbers` nothing is put down: what they say of classes that others leave is in those already.
    """
    asked = rows if len(wanted) == len(rows) else rows.take(wanted)
    try:
        found = asking(members, asked, embed)
    except InputError as error:
        if asking.on_error == "raise" or error.code not in ("member-failed", "bad-output"):
            raise
        why = error.faults  # all of these members failed; others may be left
        failed |= {member.name: why[min(at, len(why) - 1)].message for at, member in enumerate(members)}
        _log.warning("left out of %d rows: %s", len(asked), "; ".join(failed.values()))
        return
    where = np.ix_(np.asarray(numbers), wanted)
    batch.P[where], batch.mask[where] = found.P[: len(numbers)], found.mask[: len(numbers)]
    for name, values in found.embeddings.items():
        whole = np.full((len(rows), values.shape[1]), np.nan)
        whole[wanted] = values
        batch.embeddings[name] = whole  # type: ignore[index]
    for note in found.notes:
        out = [member.name for member in members if note.startswith(f"{member.name!r} was left out of")]
        failed |= dict.fromkeys(out, note)
        if out:
            _log.warning("%s", note)
        else:
            notes.append(note)


def wanting(fitted: Fitted | None, members: Iterable[Trained]) -> tuple[str, ...]:
    """Members whose embeddings are wanted besides what they say."""
    if fitted is None or "embeddings" not in fitted.needs:
        return ()
    return tuple(one.name for one in members if one.embed is not None and one.output != "embeddings")


def looks_at_rows(fitted: Fitted | None) -> bool:
    """Whether a combiner looks at the rows' own numbers."""
    return fitted is not None and "features" in fitted.needs


def _with_reasons(error: InputError, failed: Mapping[str, str]) -> InputError:
    """The error of rows that nobody is left for, with why members are missing."""
    causes = [Fault("member-failed", why, subject=name) for name, why in failed.items()]
    first = error.faults[0]
    message = f"{first.message}; left out: {listed(failed, 5)}"
    return InputError([Fault(first.code, message, first.place, first.subject, first.hint), *causes])


def calibrated(pooled: Array, temperature: float | None) -> Array:
    """softmax(ln p / T); as it is without a temperature."""
    if temperature is None:
        return pooled
    from cuvee.combine.temperature import apply_temperature

    return apply_temperature(pooled, temperature)
