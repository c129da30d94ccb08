"""What cannot be saved or must not be loaded is refused, all of it at once, and nothing is left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cuvee.errors import InputError, OutputExists, UsageError
from cuvee.predict import Ensemble, rows_of
from cuvee.predict.combiners import COMBINERS, Linear, Soft
from cuvee.predict.saving import estimators
from cuvee.predict.state import State
from tests.support import ensembles
from tests.support.ensembles import CLASSES, SOME, Doubler, by_length, function, of, own_types, reform, small


def refused(path: Path, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        Ensemble.load(path, **options)
    return caught.value


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    small().save(tmp_path / "e")
    return tmp_path / "e"


def test_every_file_that_is_not_as_saved_is_told(saved: Path) -> None:
    model = saved / "members/bayes/model.skops"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    (saved / "members/logistic/model.skops").unlink()
    (saved / "more.txt").write_text("hello")
    with (saved / "arrays.safetensors").open("ab") as file:
        file.write(b"x")
    error = refused(saved)
    assert set(error.codes) == {"bad-ensemble"}
    text = str(error)
    assert "`members/bayes/model.skops` is not what was saved: its SHA-256 should be" in text
    assert "must hold the file `members/logistic/model.skops`, which is missing" in text
    assert "the file `more.txt`, which was not saved with the ensemble" in text
    assert "`arrays.safetensors` should have" in text


def test_a_changed_form_is_seen(saved: Path) -> None:
    reform(saved, lambda said: said.update(what="something else"), hash_again=False)
    assert "its own hash differs" in str(refused(saved))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said.update(schema=2), "has the version 2 of the form; this Cuvee reads 1"),
        (lambda said: said.update(format="other"), 'should say `"format": "cuvee ensemble"`'),
        (lambda said: said.pop("task"), "the key `task` is missing"),
        (lambda said: said.update(clases=[]), "the key `clases` is unknown"),
        (lambda said: said.update(number=True), "`number` cannot be True"),
        (lambda said: said.update(classes=[{"int": "1"}]), "{'int': '1'} is no label"),
        (lambda said: said.update(classes=[1]), "1 is no label"),
        (lambda said: said["members"][0].update(kind="magic"), "there is no kind 'magic'"),
        (lambda said: said["members"][0].pop("output"), "the key `output` is missing"),
        (lambda said: said["members"][1].update(name="logistic"), "two members have the name `logistic`"),
        (lambda said: said["members"].pop(), "it was fitted with a member 'bayes'"),
        (lambda said: said["combiner"].update(name="sofft"), "there is no combiner `sofft`"),
        (lambda said: said["combiner"].update(settings={"a": 1}), "its combiner cannot be loaded: TypeError"),
        (lambda said: said["fitted"].update(said={}), "its combiner cannot be loaded: KeyError: 'members'"),
        (lambda said: said["files"].update(x={"bytes": 0.5, "sha256": "0" * 64}), "`files` cannot list"),
    ],
)
def test_a_form_that_says_something_else(saved: Path, change: Callable[[Any], object], words: str) -> None:
    reform(saved, change)
    error = refused(saved)
    assert set(error.codes) == {"bad-ensemble"}
    assert words in str(error)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    error = refused(tmp_path / "none")
    assert error.code == "model-missing"
    assert "there is no ensemble.json" in str(error)
    (tmp_path / "ensemble.json").write_text("{")
    assert "is no form of an ensemble" in str(refused(tmp_path))


def test_untrusted_types_are_listed_all_at_once(tmp_path: Path) -> None:
    ensemble = of(own_types(Doubler()), function(by_length))
    saved = ensemble.save(tmp_path / "e", rows=SOME)
    name, path = "tests.support.ensembles.Doubler", "tests.support.ensembles:by_length"
    assert any(name in note for note in saved.notes)
    assert any(path in note for note in saved.notes)
    error = refused(tmp_path / "e")
    assert error.codes == ("untrusted-type", "untrusted-type")
    assert [fault.subject for fault in error.faults] == [name, path]
    assert refused(tmp_path / "e", trust=["own"]).codes == ("untrusted-type",)
    assert refused(tmp_path / "e", trust=[path]).codes == ("untrusted-type",)
    for trust in (["own", "rule"], [name, path]):
        found = Ensemble.load(tmp_path / "e", trust=trust)
        assert np.array_equal(found.predict_proba(SOME), ensemble.predict_proba(SOME))


def test_trust_is_a_list(saved: Path) -> None:
    with pytest.raises(UsageError, match="`trust` must be a list of names"):
        Ensemble.load(saved, trust="logistic")


def test_pickle_only_where_both_sides_allow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dumped(_: Any) -> bytes:
        raise TypeError("a type that skops does not write")

    monkeypatch.setattr(estimators, "dumped", dumped)
    ensemble = of(own_types(Doubler()))
    with pytest.raises(UsageError, match=r"(?s)skops says TypeError.*allow_pickle=True") as caught:
        ensemble.save(tmp_path / "e")
    assert caught.value.code == "wrong-member"
    assert list(tmp_path.iterdir()) == []
    ensemble.save(tmp_path / "e", rows=SOME, allow_pickle=True)
    error = refused(tmp_path / "e", trust=["own"])
    assert error.code == "untrusted-type"
    assert "is a pickle, which runs code" in str(error)
    found = Ensemble.load(tmp_path / "e", allow_pickle=True)
    assert np.array_equal(found.predict_proba(SOME), ensemble.predict_proba(SOME))


def test_members_that_cannot_be_saved_are_told_together(tmp_path: Path) -> None:
    def inner(rows: Any) -> Any:
        return by_length(rows)

    bad = {
        "lambda": lambda rows: by_length(rows),
        "inner": inner,
        "partial": functools.partial(by_length),
        "method": Doubler().transform,
    }
    strange = replace(function(by_length, "strange"), kind="mystery")
    members = (*(function(ask, name) for name, ask in bad.items()), strange, *small().members)
    with pytest.raises(UsageError) as caught:
        of(*members).save(tmp_path / "e")
    assert caught.value.codes == ("wrong-member",) * 5
    assert [fault.subject for fault in caught.value.faults] == [*bad, "strange"]
    assert "define it with `def` at the top of a module" in str(caught.value)
    assert "there is no kind of member that can be saved `mystery`" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_function_that_is_another_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of(function(by_length), *small().members).save(tmp_path / "e", rows=SOME)
    monkeypatch.setattr(ensembles, "by_length", lambda rows: by_length(rows)[:, ::-1])
    error = refused(tmp_path / "e", trust=["rule"])
    assert error.codes == ("bad-ensemble",) * 2
    assert "the ensemble must answer the golden rows as it did when it was saved (exactly" in str(error)
    assert "the member 'rule' must answer" in str(error)
    monkeypatch.delattr(ensembles, "by_length")
    assert "the member 'rule' cannot be loaded: ValueError: `tests.support.ensembles:by_length` cannot be imported" in (
        str(refused(tmp_path / "e", trust=["rule"]))
    )


@pytest.mark.parametrize(("by", "machine", "good"), [(1e-9, "x", True), (1e-9, None, False), (1e-3, "x", False)])
def test_golden_rows_are_exact_on_the_same_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float, machine: str | None, good: bool
) -> None:
    of(function(by_length)).save(tmp_path / "e", rows=SOME)
    if machine:
        reform(tmp_path / "e", lambda said: said.update(machine=machine))
    monkeypatch.setattr(ensembles, "by_length", lambda rows: by_length(rows) + np.array([by, -by, 0]))
    if good:
        Ensemble.load(tmp_path / "e", trust=["rule"])
    else:
        assert "golden rows" in str(refused(tmp_path / "e", trust=["rule"]))


def test_rows_that_cannot_be_kept_are_said_to_be_none(tmp_path: Path) -> None:
    ensemble = of(function(ensembles.thirds))
    for number, rows in enumerate(([object()] * 3, {"a": [1, {2}]}, (), None)):
        ensemble.seen = None
        ensemble.save(tmp_path / str(number), rows=rows)
        notes = Ensemble.load(tmp_path / str(number), trust=["rule"]).state.notes
        assert [note.startswith("at loading: no golden rows were asked: ") for note in notes] == [True]


def test_rows_that_were_given_must_have_an_answer(tmp_path: Path) -> None:
    ensemble = small()
    with pytest.raises(InputError, match="logistic"):
        ensemble.save(tmp_path / "e", rows=["a", "b"])
    assert list(tmp_path.iterdir()) == []
    ensemble.seen = None
    ensemble._see(rows_of(["a", "b"]))
    ensemble.save(tmp_path / "e")
    assert any("have no answer now" in note for note in Ensemble.load(tmp_path / "e").state.notes)


def test_what_is_there_is_not_replaced(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExists) as caught:
        small().save(saved)
    assert caught.value.code == "output-exists"
    of(small().members[0]).save(saved, overwrite=True, rows=SOME)
    assert [member.name for member in Ensemble.load(saved).members] == ["logistic"]
    other = tmp_path / "model"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"precious")
    with pytest.raises(OutputExists, match="is no saved ensemble") as caught:
        small().save(other, overwrite=True)
    assert caught.value.code == "unsafe-overwrite"
    assert (other / "model.safetensors").read_bytes() == b"precious"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExists, match="is a file"):
        small().save(tmp_path / "file", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "file", "model"]


@dataclass(frozen=True)
class Odd(Soft):
    """A combiner whose settings are no JSON."""

    name: ClassVar[str] = "odd"
    what: Any = object


def test_a_combiner_that_cannot_be_said(tmp_path: Path) -> None:
    assert "odd" not in COMBINERS
    members = small().members
    fitted = Linear(("logistic",), np.array(["a"]))
    for combiner, found in ((Odd(), None), (Soft(), fitted)):
        state = State(1, "", members, combiner, found)
        with pytest.raises(UsageError, match=r"the combiner '(odd|soft)' cannot be saved"):
            Ensemble.restored("classification", CLASSES, state, [{}]).save(tmp_path / "e", rows=())
    assert list(tmp_path.iterdir()) == []


def test_a_member_that_became_another_kind(saved: Path) -> None:
    reform(saved, lambda said: said["members"][0].update(kind="callable", kept={"function": "os.path:join"}))
    assert refused(saved).code == "untrusted-type"
