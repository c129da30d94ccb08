"""No module of Cuvee imports itself by way of others, not even inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"

Graph = Mapping[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Every module below a folder by its dotted name; a package is its `__init__`."""
    names = {path: path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that an import could mean, wherever it stands; blocks for type checkers are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(ast.Module(node.orelse, []))
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def graph(root: Path) -> Graph:
    """What every module imports: a name that is no module of its own is looked for in the package before it."""
    files = modules(root)
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        wanted = imported(ast.parse(path.read_text("utf-8")))
        homes = (home if home in files else home.rpartition(".")[0] for home in wanted)
        found[name] = {home for home in homes if home in files}
    return found


def reached(graph: Graph, start: str) -> set[str]:
    """Every module that one leads to, itself only if it is part of a cycle."""
    seen: set[str] = set()
    ahead = set(graph[start])
    while ahead:
        seen |= ahead
        ahead = {after for name in ahead for after in graph[name]} - seen
    return seen


def cycles(graph: Graph) -> set[frozenset[str]]:
    """Groups of modules that lead to each other."""
    far = {name: reached(graph, name) for name in graph}
    return {frozenset(n for n in far[name] if name in far[n]) for name in graph if name in far[name]}


def test_there_are_no_cycles() -> None:
    assert sorted(map(sorted, cycles(graph(SOURCE)))) == []


def written(root: Path, **files: str) -> Graph:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return graph(root)


def test_a_cycle_is_found_wherever_its_imports_stand(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        a="import b",
        b="def late():\n    from pack.c import x",
        pack__c="class C:\n    if True:\n        import a",
        d="import a",
    )
    assert cycles(found) == {frozenset({"a", "b", "pack.c"})}


def test_imports_for_type_checkers_make_no_cycle(tmp_path: Path) -> None:
    found = written(tmp_path, a="import b", b="if TYPE_CHECKING:\n    import a\nelse:\n    import c", c="")
    assert found["b"] == {"c"}
    assert cycles(found) == set()


def test_a_module_that_imports_itself_is_a_cycle(tmp_path: Path) -> None:
    assert cycles(written(tmp_path, a="import a")) == {frozenset({"a"})}
