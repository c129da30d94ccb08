"""What a command imports: nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.command_line import GOLDEN, VERBS, environment
from tests.support.lanes import every_other

LIBRARIES = ("torch", "transformers", "pydantic", "ruamel", "numpy", "safetensors", "huggingface_hub", "xxhash")
TELL = "import sys, json; sys.stderr.write('\\n' + json.dumps([m for m in {!r} if m in sys.modules]))"
CODE = "from cuvee.cli import main; code = main({!r}); assert code == 0, code; " + TELL


def imported_by(*words: str) -> list[str]:
    """Those of the heavy libraries that a command imports."""
    code = CODE.format(list(words), LIBRARIES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("words", [("--help",), ("--version",), ()], ids=str)
def test_the_overview_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    assert imported_by(*words) == []


@pytest.mark.parametrize("verb", every_other(VERBS))
def test_no_help_imports_anything_heavy(verb: str) -> None:
    assert imported_by(verb, "--help") == []


@pytest.mark.parametrize("words", [("methods",), ("methods", "ties"), ("methods", "ties", "--json")], ids=str)
def test_methods_are_explained_without_torch(words: tuple[str, ...]) -> None:
    assert imported_by(*words) == []


def test_a_recipe_is_checked_without_torch() -> None:
    found = imported_by("validate", str(GOLDEN / "ties_weighted.yml"))
    assert set(found) <= {"pydantic", "ruamel"}


def test_the_schema_needs_no_torch() -> None:
    assert imported_by("schema") == ["pydantic"]


def test_a_verbs_module_is_imported_only_when_called() -> None:
    code = (
        "import sys; from cuvee.cli import main; main(['methods']);"
        "sys.stderr.write(' '.join(sorted(m for m in sys.modules if m.startswith('cuvee.cli.'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    modules = {name.removeprefix("cuvee.cli.") for name in done.stderr.split()}
    assert modules & set(VERBS) == {"methods"}


def test_help_answers_at_once() -> None:
    """Processor time, which other processes cannot lengthen much: 0.4 s are promised, 0.2 s are usual."""
    code = "import resource, sys; from cuvee.cli import main; main(['--help']); r = resource.getrusage(0);" + (
        "sys.stderr.write(str(r.ru_utime + r.ru_stime))"
    )
    if sys.platform == "win32" or os.environ.get("COVERAGE_RUN"):
        pytest.skip("no such clock")
    environ = {k: v for k, v in environment().items() if k != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(4):  # the first may have to compile
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
        seconds.append(float(done.stderr.splitlines()[-1]))
    assert min(seconds) < 0.4


def ended(before: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, after some code."""
    code = f"{before}\nimport sys; from cuvee.cli import program; sys.argv[1:] = {list(words)!r}; program()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)


def test_what_was_registered_for_the_end_is_done_and_nothing_said_is_lost() -> None:
    done = ended("import atexit, sys; atexit.register(sys.stdout.write, 'the end')", "schema")
    assert done.returncode == 0
    schema, end = done.stdout.rsplit("\n", 1)
    assert end == "the end"
    assert json.loads(schema)["type"] == "object"


@pytest.mark.parametrize(("words", "code"), [(("methods",), 0), (("methods", "tise"), 2), (("nonsense",), 2)], ids=str)
def test_the_process_ends_with_the_exit_code(words: tuple[str, ...], code: int) -> None:
    assert ended("", *words).returncode == code


@pytest.mark.parametrize("code", [0, 2])
def test_a_thread_that_is_still_at_work_is_waited_for(code: int) -> None:
    before = (
        "import sys, threading\n"
        "def work():\n    threading.main_thread().join(); sys.stdout.write('worked')\n"
        "threading.Thread(target=work).start()"
    )
    done = ended(before, *(("methods",) if code == 0 else ("nonsense",)))
    assert done.returncode == code
    assert done.stdout.endswith("worked")
