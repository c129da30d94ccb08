"""The shape of the code: ranks, imports, sizes — held by tests, never by memory."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "cuvee"
FILES = sorted(SOURCE.rglob("*.py"))

# Classes that are estimators of scikit-learn must inherit from it, so these files import it at their top; they are
# loaded when one of the classes is asked for, never before.
ESTIMATORS = ("predict/estimators/classifier.py", "predict/estimators/regressor.py", "predict/estimators/common.py")
# Each of these is imported in one file only, and there inside functions; transformers in three, because to ask what it
# makes of a checkpoint and to run a model are two jobs, together longer than a file may be. scikit-learn is imported
# where its metrics, its estimators as members, its splits and its meta-learners are.
ADAPTERS: dict[str, str | tuple[str, ...] | None] = {
    "transformers": (
        "families/pretrained.py",
        "families/running.py",
        "families/loading.py",
        "tokens/converting.py",
    ),
    "tokenizers": "tokens/counting.py",
    "huggingface_hub": "checkpoint/hub.py",
    "fsspec": "checkpoint/transport.py",
    "s3fs": "checkpoint/transport.py",
    "gcsfs": "checkpoint/transport.py",
    "aiohttp": "checkpoint/transport.py",
    "peft": "tuning/lora.py",
    "lm_eval": "judging/lm_evaluation.py",
    "pyarrow": "data/parquet.py",
    "PIL": "judging/tasks/pictures.py",
    "numba": "fused/compiler.py",
    "ray": "execute/ray_tasks.py",
    "flwr": None,
    "sklearn": (
        "judging/metrics/from_sklearn.py",
        "predict/members/scikit.py",
        "predict/meta_learners.py",
        "predict/splitting.py",
        "predict/config/estimators.py",
        "demo/predictions/digits.py",
        "predict/estimators/families.py",
        *ESTIMATORS,
    ),
    "lightgbm": ("predict/estimators/boosting.py", "predict/config/through_lightgbm.py"),
    "skops": "predict/saving/through_skops.py",
    "onnxruntime": "predict/members/onnx.py",
    "fastapi": "serving/application.py",
    "uvicorn": "serving/running.py",
    "prometheus_client": "serving/metrics.py",
    "optuna": "searching/through_optuna.py",
    "cmaes": "searching/through_cmaes.py",
    "altair": "reporting/charts.py",
    "vl_convert": "reporting/drawing.py",
}
RANKS = {
    "errors": 0,
    "reasons": 0,
    "types": 0,
    "registry": 0,
    "recipe": 1,
    "tensors": 1,
    "families": 1,
    "data": 1,
    "methods": 2,
    "combine": 2,
    "layers": 2,
    "checkpoint": 2,
    "planning": 3,
    "fused": 3,
    "tokens": 3,
    "execute": 4,
    "packs": 5,
    "adapters": 5,
    "mixtures": 5,
    "coefficients": 5,
    "collecting": 5,
    "judging": 5,
    "preflight": 5,
    "searching": 5,
    "explaining": 5,
    "tuning": 5,
    "reporting": 5,
    "predict": 6,
    "generate": 6,
    "speech": 6,
    "api": 7,
    "demo": 8,
    "testing": 8,
    "serving": 8,
    "cli": 9,
}
SAME_RANK_ALLOWED = {("registry", "errors"), ("errors", "types"), ("errors", "reasons")}


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def runtime_imports(path: Path) -> Sequence[tuple[str, bool]]:
    """Every imported module, and whether the import stands inside a function; type-checking blocks left out."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                yield child.module, inside
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from walk(child, inside or is_function)

    return tuple(walk(parsed(path), False))


def test_the_import_contract_is_kept() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_imports_from_a_higher_rank() -> None:
    for path in FILES:
        if package_of(path) not in {"__init__", "__main__"}:
            check_ranks(path)


def check_ranks(path: Path) -> None:
    own = package_of(path)
    for module, _ in runtime_imports(path):
        parts = module.split(".")
        if parts[0] != "cuvee" or len(parts) == 1 or parts[1] == own or parts[1] not in RANKS:
            continue
        lower = RANKS[parts[1]] < RANKS[own] or (own, parts[1]) in SAME_RANK_ALLOWED
        assert lower, f"{name_of(path)} (rank {RANKS[own]}) imports {module} (rank {RANKS[parts[1]]})"


def test_every_package_has_a_rank() -> None:
    packages = {package_of(path) for path in FILES} - {"__init__", "__main__"}
    assert packages == RANKS.keys()


@pytest.mark.parametrize(("library", "home"), ADAPTERS.items())
def test_heavy_libraries_have_one_adapter_file(library: str, home: str | tuple[str, ...] | None) -> None:
    for path in FILES:
        for module, inside in runtime_imports(path):
            if module.split(".")[0] != library:
                continue
            homes = (home,) if isinstance(home, str) else home or ()
            assert name_of(path) in homes, f"{name_of(path)} imports {module}; only {home} may"
            assert inside or name_of(path) in ESTIMATORS, f"{name_of(path)} must import {module} inside a function"


def test_only_the_checkpoint_package_reads_weight_files() -> None:
    for path in FILES:
        if package_of(path) == "checkpoint":
            continue
        text = path.read_text("utf-8")
        for forbidden in ("torch.load(", "safe_open(", "load_file(", "save_file(", "import mmap"):
            assert forbidden not in text, f"{name_of(path)}: {forbidden}"


def test_only_the_command_line_prints() -> None:
    for path in FILES:
        if package_of(path) in {"cli", "__main__"}:
            continue
        calls = [n for n in ast.walk(parsed(path)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
        assert not calls, f"{name_of(path)} prints"


def functions() -> Iterator[tuple[str, int]]:
    """Every function and the lines of its body, docstring aside."""
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                yield f"{name_of(path)}:{node.name}", lines


def test_functions_stay_small() -> None:
    sizes = dict(functions())
    assert {name: n for name, n in sizes.items() if n > 50} == {}
    assert median(sizes.values()) <= 8
    assert quantiles(sizes.values(), n=10)[-1] <= 25


def test_files_stay_within_300_lines() -> None:
    sizes = {name_of(path): path.read_text("utf-8").count("\n") for path in FILES}
    assert {name: n for name, n in sizes.items() if n > 300} == {}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import cuvee", ["torch", "pydantic", "ruamel", "rich", "cyclopts", "numpy"]),
        ("import cuvee.recipe", ["torch", "pydantic", "ruamel"]),
        ("from cuvee import methods; methods.specs()", ["torch", "pydantic"]),
        ("import cuvee.planning", ["torch", "transformers"]),
        ("import cuvee.predict", ["torch", "transformers", "sklearn", "scipy"]),
        ("import cuvee; cuvee.merge_state_dicts", ["torch", "transformers", "ruamel"]),
        (
            "import torch, cuvee; cuvee.merge_state_dicts([{'w': torch.ones(3)}] * 2, weight=1)",
            ["transformers", "ruamel", "rich", "cyclopts", "huggingface_hub", "safetensors"],
        ),
    ],
)
def test_imports_stay_light(statement: str, absent: list[str]) -> None:
    code = f"import sys; {statement}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_all_there_and_documented() -> None:
    import cuvee

    for name in cuvee.__all__:
        assert getattr(cuvee, name).__doc__, name
