"""The README's recipes, commands and Python run as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.conftest import WANTED
from tests.support import zoo
from tests.support.command_line import call

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
BLOCKS = re.findall(r"(?:^`([\w.]+)`:\n\n)?^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and recipes that the README speaks of."""
    folder = tmp_path_factory.mktemp("newcomer")
    for seed, name in enumerate(("base", "code", "math")):
        zoo.save(zoo.ZOO["llama"], seed, folder / "models" / name)
    for name, language, text in BLOCKS:
        if language == "yaml":
            (folder / name).write_text(text)
    return folder


def test_there_is_something_to_run() -> None:
    kinds = [language for _, language, _ in BLOCKS]
    assert kinds.count("yaml") == 2
    assert kinds.count("python") == 2
    assert len(commands()) >= 7


def commands() -> list[str]:
    lines = [line for _, language, text in BLOCKS if language == "sh" for line in text.splitlines()]
    return [line for line in lines if line.startswith("cuvee ")]


def test_make_has_what_is_said_of_it() -> None:
    said = set(re.findall(r"\bmake ([a-z]+)`|^make ([a-z]+)\b", README + CONTRIBUTING, re.MULTILINE))
    wanted = {first or second for first, second in said}
    assert wanted >= {"demo", "test", "check", "peers"}
    assert wanted <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_every_installation_takes_the_options() -> None:
    installs = [line for line in MAKEFILE.splitlines() if line.startswith("\t") and "pip install" in line]
    assert len(installs) == 6
    assert all("$(PIP_OPTIONS)" in line for line in installs)


def test_the_rival_is_the_one_that_the_tests_ask_for() -> None:
    assert f"mergekit=={WANTED} " in MAKEFILE


def test_the_commands_run_in_order_and_say_what_the_readme_promises(
    newcomer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has torch already; that `python -m cuvee` is the same: test_cli_startup."""
    monkeypatch.chdir(newcomer)
    for line in commands():
        command, _, promise = line.partition("#")
        done = call(capsys, *shlex.split(command)[1:])
        assert done.code == 0, f"{line}\n{done.out}{done.err}"
        if "merged," in promise:
            assert promise.strip() in done.out


def test_the_python_runs(newcomer: Path) -> None:
    for _, language, text in BLOCKS:
        if language == "python":
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", text], cwd=newcomer, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr


def test_the_mistake_is_told_as_the_readme_shows_it(newcomer: Path) -> None:
    recipe = (newcomer / "merge.yml").read_text().replace("density: 0.5}", "densty: 0.5}")
    (newcomer / "typo").mkdir(exist_ok=True)
    (newcomer / "typo" / "merge.yml").write_text(recipe)
    done = subprocess.run(
        [sys.executable, "-m", "cuvee", "validate", "merge.yml"],
        cwd=newcomer / "typo",
        capture_output=True,
        text=True,
        timeout=60,
    )
    shown = next(text for _, language, text in BLOCKS if language == "text")
    assert done.returncode == 3
    for line in shown.splitlines():
        assert line in done.stderr
