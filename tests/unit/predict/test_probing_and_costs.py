"""Members asked twice before they are taken in, and measured."""

from __future__ import annotations

from mmap import mmap

import numpy as np
import pytest
import torch

from cuvee.errors import InputError, UsageError
from cuvee.predict import Member, measure, probe, rows_of
from cuvee.predict.costs import processor, resident, stored_bytes
from cuvee.predict.probing import determinism_faults
from tests.support.members import ABC, doing, drawn, saying

ROWS = rows_of(np.ones((5, 4), np.float32))


def network(dropout: float) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Dropout(dropout), torch.nn.Linear(16, 3))


def test_a_good_member_has_no_faults() -> None:
    model = network(0.5).eval()
    member = doing(lambda X: model(torch.from_numpy(X)), output="logits")
    assert probe(member, ROWS) == []
    assert probe(member, ROWS, ABC, "classification") == []


def test_dropout_left_on_is_found_by_asking_twice() -> None:
    model = network(0.5).train()
    member = doing(lambda X: model(torch.from_numpy(X)), output="logits", name="net")
    (fault,) = probe(member, ROWS)
    assert fault.code == "bad-output"
    assert "'net' answers the same rows otherwise the second time (row 0:" in fault.message
    assert "dropout" in fault.message
    assert ".eval()" in (fault.hint or "")


def test_a_module_in_training_mode_is_refused_and_one_put_there_later_is_named() -> None:
    model = network(0.5)
    with pytest.raises(InputError, match="'net' is in training mode, so that dropout is on") as caught:
        Member.callable(model, name="net", classes=ABC, output="logits")
    assert caught.value.code == "bad-output"
    member = Member.callable(model.eval(), name="net", classes=ABC, output="logits")
    rows = rows_of(torch.ones((5, 4)))
    assert probe(member, rows) == []
    model[1].train()
    (fault,) = probe(member, rows)
    assert fault.message.endswith("dropout is on")


def test_the_last_digits_may_differ() -> None:
    rng = np.random.default_rng(0)
    P = drawn(5, 3)
    assert probe(doing(lambda X: P + rng.normal(size=P.shape) * 1e-9), ROWS) == []


@pytest.mark.parametrize(
    ("member", "code", "words"),
    [
        (doing(lambda X: 1 / 0), "member-failed", "ZeroDivisionError"),
        (saying([[0.1, 0.2, 0.3]] * 5), "bad-output", "sum to one"),
        (saying(drawn(5, 2), ("a", "z")), "class-mismatch", "'z'"),
        (saying([1.0] * 5, ()), "wrong-member", "answers with values"),
    ],
)
def test_what_is_wrong_is_told_and_not_raised(member, code, words) -> None:
    (fault,) = probe(member, ROWS, ABC, "classification")
    assert fault.code == code
    assert words in fault.message


def test_rows_that_it_cannot_read_tell_nothing() -> None:
    assert determinism_faults(doing(lambda X: 1 / 0, reads="text"), rows_of({"text": [None]})) == []


class Clock:
    """A clock that a member moves on by what it takes."""

    def __init__(self, *takes: float) -> None:
        self.now, self.takes, self.sizes = 0.0, list(takes), []

    def __call__(self) -> float:
        return self.now

    def answer(self, X):
        self.sizes.append(len(X))
        self.now += self.takes.pop(0) if self.takes else 1.0
        return np.full((len(X), 3), 1 / 3)


def test_cost_is_the_median_of_warm_calls_on_a_batch() -> None:
    clock = Clock(100.0, 3.0, 1.0, 2.0, 9.0, 2.5)
    cost = measure(doing(clock.answer), ROWS, batch=8, clock=clock).cost
    assert cost is not None
    assert cost.us_per_row == pytest.approx(2.5 / 8 * 1e6), "the first call, which warms up, does not count"
    assert set(clock.sizes) == {8}, "rows are taken again where there are fewer"
    assert (cost.batch, cost.nbytes, cost.memory) == (8, None, None)
    assert cost.threads >= 1
    assert cost.processor == processor() != ""


def test_a_fast_member_is_asked_until_its_time_is_up() -> None:
    clock = Clock(*[0.05] * 20)
    measure(doing(clock.answer), ROWS, clock=clock)
    assert len(clock.sizes) == 1 + 5


def test_rows_that_cannot_be_read_are_not_timed() -> None:
    clock = Clock()
    rows = {"text": ["a", None, "b"]}
    cost = measure(doing(clock.answer, reads="text"), rows, clock=clock).cost
    assert cost is not None
    assert cost.batch == 2
    with pytest.raises(InputError, match="rows are needed that it can read") as caught:
        measure(doing(clock.answer, reads="text"), {"text": [None]})
    assert caught.value.code == "too-few-rows"


@pytest.mark.parametrize("batch", [0, -1, 2.5])
def test_a_batch_is_a_number_of_rows(batch) -> None:
    with pytest.raises(UsageError, match="`batch` must be an integer of at least 1"):
        measure(saying(drawn(5, 3)), ROWS, batch=batch)


def test_bytes_on_disk(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "sub" / "b").write_bytes(bytes(5))
    assert (stored_bytes(tmp_path), stored_bytes(tmp_path / "a"), stored_bytes(object())) == (15, 10, None)


def test_resident_memory_grows_with_what_is_held() -> None:
    before = resident()
    assert before is not None
    with mmap(-1, 64 << 20) as held:  # new pages for certain: what an allocator was given back may be lying about
        for page in range(0, len(held), 4096):
            held[page] = 1
        assert resident() - before > 32 << 20
