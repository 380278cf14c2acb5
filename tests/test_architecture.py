"""The house rules of imports: they only go down, and `core` touches nothing."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "arkbatch"
FLOORS = {"core": 0, "adapters": 1, "engines": 2, "reports": 3, "simulator": 3, "cli": 4}
OUTSIDE = {"asyncio", "aiohttp", "time", "random", "os", "pathlib", "tqdm"}
MODULES = sorted(
    path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if len(path.relative_to(PACKAGE).parts) > 1
)


def imported(path):
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_only_go_down(path):
    floor = FLOORS[path.parts[0]]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "arkbatch" and len(parts) > 1 and parts[1] in FLOORS:
            assert FLOORS[parts[1]] <= floor, f"{path} imports {name}, which is above it"
            if parts[1] == "simulator":
                assert path.parts[0] in {"simulator", "cli"}, f"{path} knows the simulator"


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "core"], ids=str)
def test_core_touches_nothing_outside(path):
    assert not OUTSIDE & {name.split(".")[0] for name in imported(path)}


def test_no_import_cycles():
    """Each module's imports, followed, never lead back to it."""
    graph = {}
    for path in MODULES:
        name = ".".join(("arkbatch", *path.with_suffix("").parts)).removesuffix(".__init__")
        graph[name] = {target for target in imported(path) if target.startswith("arkbatch.") and target != name}

    def reaches(start, goal, seen):
        for target in graph.get(start, ()):
            if target == goal:
                return True
            if target not in seen:
                seen.add(target)
                if reaches(target, goal, seen):
                    return True
        return False

    assert [name for name in graph if reaches(name, name, set())] == []
