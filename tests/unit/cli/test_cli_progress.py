"""Plain lines come about every ten seconds and once at the end; bars go away."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest

from cuvee.cli import progress
from cuvee.cli.progress import Lines, metered


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_line_every_ten_seconds(said: list[str], clock: Clock) -> None:
    lines = Lines("merging", "bytes", said.append, clock)
    for second in range(1, 36):
        clock.now += 1
        lines(second * 1_000_000, 100_000_000, f"layers.{second}.w")
    assert said == [
        "merging: 10 %, 10.0 of 100.0 MB, 1.0 MB/s, 1 min 30 s left, layers.10.w",
        "merging: 20 %, 20.0 of 100.0 MB, 1.0 MB/s, 1 min 20 s left, layers.20.w",
        "merging: 30 %, 30.0 of 100.0 MB, 1.0 MB/s, 1 min 10 s left, layers.30.w",
    ]


def test_a_short_job_says_one_line_at_the_end(said: list[str], clock: Clock) -> None:
    lines = Lines("verifying", "tensor", said.append, clock)
    lines(1, 2)
    clock.now += 0.5
    lines(2, 2)
    lines.end()
    assert said == ["verifying: done, 2 tensors in 0.5 s"]


def test_the_end_takes_the_place_of_a_line_at_100_percent(said: list[str], clock: Clock) -> None:
    lines = Lines("merging", "bytes", said.append, clock)
    clock.now += 30
    lines(5, 5, "w")
    lines.end()
    assert said == ["merging: done, 5 B in 30.0 s"]


def test_nothing_done_nothing_said(said: list[str], clock: Clock) -> None:
    Lines("merging", "bytes", said.append, clock).end()
    assert said == []


def test_time_before_the_first_news_does_not_count_as_speed(said: list[str], clock: Clock) -> None:
    lines = Lines("merging", "bytes", said.append, clock)
    clock.now += 9  # opening, planning
    lines(0, 40_000_000)
    clock.now += 2
    lines(20_000_000, 40_000_000)
    assert said == ["merging: 50 %, 20.0 of 40.0 MB, 10.0 MB/s, 2.0 s left"]


def test_an_empty_total_is_no_division(said: list[str], clock: Clock) -> None:
    lines = Lines("merging", "bytes", said.append, clock)
    clock.now += 11
    lines(0, 0)
    lines.end()
    assert said == ["merging: done, 0 B in 11.0 s"]


def test_workers_may_tell_at_once(said: list[str], clock: Clock) -> None:
    lines = Lines("merging", "step", said.append, clock)
    clock.now += 11
    workers = [threading.Thread(target=lines, args=(i, 100)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(said) == 1


def test_a_failed_block_has_no_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        with metered("merging", "bytes") as meter:
            meter(1, 2)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fails()
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that somebody watches, in place of standard error; pytest undoes what a fixture puts there."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    for name, value in {"COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    return made


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched(monkeypatch)
    with metered("merging", "bytes") as meter:
        meter(25_000_000, 100_000_000, "model.layers.17.mlp.up_proj.weight\x1b[2J")
    drawn = screen.getvalue()
    assert "merging" in drawn
    assert "25.0 of 100.0 MB" in drawn
    assert "[2J" not in drawn.replace("x1b[2J", "")
    assert drawn.rstrip("\n").endswith("\x1b[2K")  # the last thing drawn is nothing


def test_a_bar_takes_news_from_many_workers_and_draws_ten_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A merge tells of every tile; what is not drawn must cost next to nothing."""
    screen, updates = watched(monkeypatch), []
    monkeypatch.setattr(
        progress.Progress,
        "update",
        lambda self, task, update=progress.Progress.update, **news: (updates.append(news), update(self, task, **news)),
    )
    told = 20_000
    start = time.monotonic()
    with metered("merging", "bytes") as meter:

        def work() -> None:
            for done in range(told):
                meter(done, told, "w")

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        meter(told, told, "w")
    assert 1 <= len(updates) <= 10 * (time.monotonic() - start) + 3
    assert updates[-1]["completed"] == told
    assert "20.0 of 20.0 KB" in screen.getvalue()


def test_news_that_is_not_followed_by_more_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last news before a long silence must not be the one that is dropped."""
    screen = watched(monkeypatch)
    with metered("merging", "bytes") as meter:
        meter(1_000, 100_000)
        meter(77_000, 100_000)
        until = time.monotonic() + 5
        while "77.0 of 100.0 KB" not in screen.getvalue() and time.monotonic() < until:
            time.sleep(0.02)
        assert "77.0 of 100.0 KB" in screen.getvalue()


def test_a_bar_without_news_shows_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched(monkeypatch)
    with metered("merging", "bytes"):
        pass
    assert " of " not in screen.getvalue()


def test_plain_lines_take_many_news_for_little(said: list[str]) -> None:
    lines = Lines("merging", "bytes", said.append)
    start = time.process_time()
    for done in range(100_000):
        lines(done, 100_000, "w")
    assert time.process_time() - start < 2
    assert said == []


@pytest.mark.parametrize(("name", "value"), [("CI", "1"), ("TERM", "dumb"), ("TTY_INTERACTIVE", "0")])
def test_nobody_watching_means_plain_lines(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv(name, value)
    with metered("merging", "bytes") as meter:
        meter(25_000_000, 25_000_000)
    assert screen.getvalue().startswith("merging: done, 25.0 MB in ")


def test_all_that_a_bar_shows_fits_into_eighty_columns() -> None:
    shown = f"merging {'━' * progress._BAR} 100.7 of 100.7 MB  18.1 MB/s  10.0 s left {'x' * progress._DETAIL}"
    assert len(shown) <= 80
    assert len(progress._end_of("y" * 100)) == progress._DETAIL
