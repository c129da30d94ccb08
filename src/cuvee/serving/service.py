"""What a service does, without HTTP: it answers from one version at a time, and lets members come and go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cuvee.errors import Fault, InputError, refuse
from cuvee.predict import Ensemble, Member, Rows, read_bank
from cuvee.predict.answers import labels_of
from cuvee.predict.asking_all import Asking, answered, looks_at_rows
from cuvee.predict.contributions import explain
from cuvee.predict.saving.plain import plain
from cuvee.predict.state import State
from cuvee.predict.subject import view_of
from cuvee.serving.limits import Limits
from cuvee.serving.wire import body_of, labels_as_json, not_allowed, rows_from, token_faults, unlike


@dataclass(frozen=True)
class Service:
    """An ensemble that is served.

    Attributes:
        ensemble: what answers.
        limits: what is taken.
        token: whoever bears it may change members; nobody may without it.
        members_from: the folder below which saved members are looked for; none can be added without it.
        trust: what saved members may run (`Ensemble.load`).
    """

    ensemble: Ensemble
    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    members_from: Path | None = None
    trust: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a token that is none: an empty one would let everybody in."""
        if self.token is not None:
            refuse(token_faults(self.token))

    def predict(self, raw: bytes) -> dict[str, Any]:
        """Labels, or values, and probabilities of the rows of a request, all from the version that it names.

        Raises:
            InputError: `bad-data`, `too-large`, and what asking members raises.
        """
        rows = rows_from(body_of(raw, ["rows"], ["rows"])["rows"], self.limits)
        state = self.ensemble.state
        with self._known(rows):
            found = answered(state, rows, self._asking(), self._view(state, rows))
        said: dict[str, Any] = {"version": found.version, "rows": len(rows)}
        if self.ensemble.task == "regression":
            said["values"] = found.P[:, 0].tolist()
        else:
            classes = self.ensemble.classes
            labels = labels_as_json(labels_of(found.P, classes))
            said |= {"classes": list(classes), "labels": labels, "probabilities": found.P.tolist()}
        notes = [*found.notes, *found.failed.values()]
        return said | {"members": list(found.asked)} | ({"notes": notes} if notes else {})

    def explain(self, raw: bytes) -> dict[str, Any]:
        """What every member contributed to the answer of each row; contributions, base and calibration sum to it.

        Raises:
            InputError: as `predict`.
        """
        rows = rows_from(body_of(raw, ["rows"], ["rows"])["rows"], self.limits)
        state = self.ensemble.state
        with self._known(rows):
            found = explain(state, rows, self._asking(), self._view(state, rows))
        arrays = ("contributions", "base", "calibration", "output")
        facts = {"members": list(found.members), "classes": list(found.classes), "way": found.way, "exact": found.exact}
        return {"version": state.number, **facts, **{name: getattr(found, name).tolist() for name in arrays}}

    def members(self) -> dict[str, Any]:
        """The members of the version that answers now, with their weights where there are some."""
        state = self.ensemble.state
        weights: Mapping[str, float] = {}
        if state.fitted is not None and state.fitted.weights is not None:
            weights = dict(zip(state.fitted.members, state.fitted.weights.tolist()))
        return {
            "version": state.number,
            "what": state.what,
            "combiner": state.combiner.name,
            "members": [_said(member, weights.get(member.name)) for member in state.members],
        }

    def add(self, raw: bytes) -> dict[str, Any]:
        """Take in a saved member: the one of a saved ensemble, or the ensemble itself where it has several.

        Raises:
            UsageError: `not-allowed`; `duplicate-member`, `no-evidence` and the like.
            InputError: `bad-data`, and what loading and joining raise.
        """
        said = body_of(raw, ["path", "name", "evidence", "weight"], ["path"])
        texts = {key: said[key] for key in ("path", "name", "evidence") if said.get(key) is not None}
        if odd := [key for key, value in texts.items() if not isinstance(value, str) or not value]:
            raise InputError([Fault("bad-data", f"{key!r} should be a text", subject=key) for key in odd])
        member = self._loaded(self._below(texts["path"]), texts.get("name"))
        bank = read_bank(self._below(texts["evidence"])) if "evidence" in texts else None
        self.ensemble.add(member, bank=bank, weight=said.get("weight"))
        return self.members()

    def remove(self, name: str) -> dict[str, Any]:
        """Take a member out.

        Raises:
            UsageError: `unknown-member`; `no-member`: it is the last; `no-evidence`.
        """
        self.ensemble.remove(name)
        return self.members()

    @property
    def is_ready(self) -> bool:
        """Whether there is something that can answer."""
        return self.ensemble.state.fitted is not None

    @contextmanager
    def _known(self, rows: Rows) -> Iterator[None]:
        """A member that fails on rows unlike those that the ensemble knows is not at fault: the request is."""
        try:
            yield
        except InputError as error:
            fault = unlike(rows, self.ensemble.seen) if error.code in ("member-failed", "bad-output") else None
            if fault is None:
                raise
            raise InputError([fault, *error.faults]) from error

    def _asking(self) -> Asking:
        return Asking(self.ensemble.classes, self.ensemble.task, self.ensemble.on_error, self.ensemble.time_limit)

    def _view(self, state: State, rows: Rows) -> Any:
        return view_of(rows, self.ensemble.features) if looks_at_rows(state.fitted) else None

    def _below(self, path: str) -> Path:
        """A path below the folder of members, whatever links are on the way."""
        if self.members_from is None:
            raise not_allowed("no member can be added", "start the service with --members-from FOLDER")
        folder = self.members_from.resolve()
        found = (folder / path).resolve() if "\0" not in path else folder
        if found == folder or not found.is_relative_to(folder):
            raise not_allowed(f"{path!r:.200} must be a path below the folder of members")
        return found

    def _loaded(self, path: Path, name: str | None) -> Member:
        loaded = Ensemble.load(path, trust=self.trust)
        if len(loaded.members) != 1:
            return loaded.as_member(name or path.name)
        [member] = loaded.members
        return member if name is None else replace(member, name=name)


def _said(member: Member, weight: float | None) -> dict[str, Any]:
    known: Iterable[Any] = member.known
    cost = None if member.cost is None else plain(asdict(member.cost))
    said = {"name": member.name, "kind": member.kind, "output": member.output, "classes": list(known)}
    return {**said, "weight": weight, "cost": cost, "notes": list(member.notes)}
