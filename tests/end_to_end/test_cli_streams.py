"""Results on standard output, messages on standard error; colour, closed pipes, warnings, terminals."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command_line import NOTED, command, environment, spawn, write_models, write_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_models(tmp_path_factory.mktemp("streams"))
    write_recipe(made, NOTED)
    return made


@contextmanager
def closed_pipe() -> Iterator[int]:
    """The end of a pipe whose reader is gone."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@pytest.mark.slow
def test_a_pipe_gets_no_colour_and_no_bar(folder: Path) -> None:
    ran = spawn("plan", "recipe.yml", cwd=folder)
    assert ran.code == 0
    assert "\x1b" not in ran.out + ran.err


@pytest.mark.slow
def test_colour_can_be_forced_into_a_pipe_and_forbidden(folder: Path) -> None:
    assert "\x1b[" in spawn("plan", "recipe.yml", cwd=folder, environ={"FORCE_COLOR": "1"}).out
    forbidden = spawn("plan", "recipe.yml", cwd=folder, environ={"FORCE_COLOR": "1", "NO_COLOR": "1"})
    assert "\x1b" not in forbidden.out


@pytest.mark.slow
def test_forced_colour_draws_no_bar_into_a_pipe(folder: Path, tmp_path: Path) -> None:
    ran = spawn("merge", "recipe.yml", "-o", tmp_path / "m", cwd=folder, environ={"FORCE_COLOR": "1"})
    assert ran.code == 0
    assert "\x1b[2K" not in ran.err
    assert "merging: done" in ran.err


def test_notes_of_a_merge_go_to_stderr_and_into_json(folder: Path, tmp_path: Path) -> None:
    text = spawn("merge", "recipe.yml", "-o", tmp_path / "text", cwd=folder)
    assert "note: " in text.err
    assert "int8_mask" in text.err
    assert "int8_mask" not in text.out
    as_json = spawn("merge", "recipe.yml", "-o", tmp_path / "json", "--json", cwd=folder)
    assert any("int8_mask" in note for note in as_json.json["notes"])
    assert "note: " not in as_json.err


@pytest.mark.parametrize("words", [("methods", "ties"), ("plan", "recipe.yml", "--json"), ("--help",)], ids=str)
def test_a_reader_that_goes_away_is_no_error(folder: Path, words: tuple[str, ...]) -> None:
    with closed_pipe() as pipe:
        done = subprocess.run(
            command(*words), cwd=folder, env=environment(), stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_merge_outlives_whoever_reads_its_messages(folder: Path, tmp_path: Path) -> None:
    words = command("merge", "recipe.yml", "-o", tmp_path / "m")
    with closed_pipe() as pipe:
        done = subprocess.run(words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=pipe, text=True)
    assert done.returncode == 0
    assert "written to" in done.stdout
    assert (tmp_path / "m" / "cuvee.json").is_file()


CLOSED = {"output": ">&-", "messages": "2>&-", "both": ">&- 2>&-", "all": "<&- >&- 2>&-"}


def shell(words: list[str], end: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does when some of its streams are closed."""
    line = f"{shlex.join(words)} {end}"
    return subprocess.run(["sh", "-c", line], cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="no shell")
@pytest.mark.parametrize(
    "case", ["messages", *(pytest.param(c, marks=pytest.mark.slow) for c in ("all", "output", "both"))]
)
@pytest.mark.slow
def test_a_merge_is_done_though_nobody_can_be_told(folder: Path, tmp_path: Path, case: str) -> None:
    done = shell(command("merge", "recipe.yml", "-o", tmp_path / "m"), CLOSED[case], folder)
    assert done.returncode == 0
    assert ("written to" in done.stdout, "merging: done" in done.stderr) == (case == "messages", case == "output")
    assert spawn("verify", tmp_path / "m").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no shell")
@pytest.mark.parametrize(("words", "code"), [("methods tis", 2), ("methods --json", 0), ("--help", 0)])
def test_with_closed_streams_the_exit_code_is_the_same(folder: Path, words: str, code: int) -> None:
    for end in CLOSED.values():
        assert shell(command(*words.split()), end, folder).returncode == code


def test_an_encoding_without_greek_is_no_error(folder: Path) -> None:
    ran = spawn("methods", "ties", cwd=folder, environ={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.isascii()
    assert "density" in ran.out


def test_warnings_of_libraries_are_for_debug() -> None:
    code = (
        "import sys, warnings, logging; from cuvee.cli import main, methods\n"
        "def talk(*a): warnings.warn('oh no'); logging.getLogger('library').warning('oh dear')\n"
        "methods.explanation = lambda spec: (talk(), iter(()))[1]\n"
        "main(sys.argv[1:])"
    )

    def told(*words: str) -> str:
        run = [sys.executable, "-c", code, "methods", "ties", *words]
        return subprocess.run(run, env=environment(), capture_output=True, text=True, check=True).stderr

    assert told() == ""
    assert "oh no" in told("--debug")
    assert "oh dear" in told("--debug")


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals to make")
def test_a_terminal_gets_a_bar_and_then_the_result(folder: Path, tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    words = command("merge", "recipe.yml", "-o", tmp_path / "m")
    environ = {**environment(TERM="xterm-256color"), "COLUMNS": "80"}
    process = subprocess.Popen(words, cwd=folder, env=environ, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        screen += piece
    os.close(ours)
    assert process.wait(120) == 0
    text = screen.decode()
    assert "\x1b[2K" in text  # a line drawn over and over
    assert "merging" in text
    assert "merging: done" not in text
    assert text.rindex("\x1b[2K") < text.index("4 merged, 0 copied, 0 lost")
