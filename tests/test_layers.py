"""Imports point one way: contracts <- db <- producer, workers <- ops."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import tickstockpl

ROOT = Path(tickstockpl.__file__).parent

# Each folder, and those that it may import from. The version is a constant that anybody may read.
BELOW = {
    "contracts": set(),
    "db": {"contracts"},
    "producer": {"contracts", "db"},
    "workers": {"contracts", "db"},
    "ops": {"contracts", "db", "producer", "workers"},
}
# The inside of two folders: each module or folder imports only from those in the lines above its own.
INSIDE = {
    "workers": (
        {"bar_runs", "marks", "sessions", "steady_clock", "windows"},
        {"history", "partition"},
        {"assignment", "row_retention", "detect/patterns", "partition_reader", "redis_clock", "set_aside"},
        {"detect", "lookout", "upkeep", "vanished"},
        {"commit", "door"},
        {"daily"},
        {"acks", "backtest", "bridge", "library", "worker_options"},
        {"restore"},
        {"owned_partitions"},
        {"worker_parts"},
        {"worker"},
    ),
    "ops": (
        {"process", "secrets"},
        {"dashboards", "doctor", "fake_massive", "measure", "output", "page"},
        {"audit", "embedded"},
        {"wiring"},
        {"cli/parts", "jobs", "status"},
        {"api", "demo"},
        {"wiring/api"},
        {"cli", "entry"},
        {"__main__"},
    ),
}
MOST_MODULES = 20  # in one folder
# What a module that calls itself pure may not reach, nor anything that it imports: servers, clocks, chance, logs. uuid
# is pure but for uuid4, which ruff keeps out (banned-api).
IMPURE = {
    "os",
    "prometheus_client",
    "psycopg",
    "psycopg_pool",
    "random",
    "redis",
    "secrets",
    "socket",
    "structlog",
    "subprocess",
    "threading",
    "time",
}


def sources(place):
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imported(file):
    """Return every module that a file imports, in full: `from ..db import lease` is tickstockpl.db and .db.lease."""
    package = ["tickstockpl", *file.relative_to(ROOT).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def folders_of(names):
    parts = [name.split(".") for name in names if name.startswith("tickstockpl.")]
    return {part[1] for part in parts} & set(BELOW)


@pytest.mark.parametrize("folder", BELOW)
def test_a_folder_imports_only_from_those_below_it(folder):
    allowed = BELOW[folder] | {folder}
    wrong = {str(file): folders_of(imported(file)) - allowed for file in sources(folder)}
    assert {file: found for file, found in wrong.items() if found} == {}


def part_of(top, path):
    """Return the part of a folder that a module belongs to. path: below that folder, without .py."""
    parts = {part for line in INSIDE[top] for part in line}
    return next((f"{a}/{b}" for a, b in [path[:2]] if f"{a}/{b}" in parts), path[0]) if len(path) > 1 else path[0]


def parts_imported(top, file):
    """Return the parts of the same folder that a file imports from."""
    found = set()
    for name in imported(file):
        module = file_of(name) if name.startswith(f"tickstockpl.{top}.") else None
        if module is not None:
            found.add(part_of(top, module.relative_to(ROOT / top).with_suffix("").parts))
    return found


@pytest.mark.parametrize("top", INSIDE)
def test_inside_a_folder_imports_point_one_way_too(top):
    below = set()
    wrong = {}
    for line in INSIDE[top]:
        for file in sources(top):
            part = part_of(top, file.relative_to(ROOT / top).with_suffix("").parts)
            if part in line and (back := parts_imported(top, file) - below - {part, "__init__"}):
                wrong[str(file)] = back
        below |= line
    assert wrong == {}


@pytest.mark.parametrize("top", INSIDE)
def test_every_module_has_its_place_inside(top):
    parts = {part_of(top, file.relative_to(ROOT / top).with_suffix("").parts) for file in sources(top)}
    assert parts - {"__init__"} == set().union(*INSIDE[top])


def test_no_folder_holds_more_modules_than_a_reader_can_take_in():
    counts = Counter(file.parent for folder in BELOW for file in sources(folder) if file.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_every_folder_of_the_package_has_its_place():
    assert {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"} == set(BELOW)


def test_folders_import_each_other_relatively():
    for folder in BELOW:
        for file in sources(folder):
            tree = ast.parse(file.read_text())
            absolute = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level and n.module]
            absolute += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
            assert not [name for name in absolute if name.split(".")[0] == "tickstockpl"], file


def file_of(module):
    """Return the file of a module of ours, None for a name inside of one."""
    path = ROOT.joinpath(*module.split(".")[1:])
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.exists()), None)


def is_pure(file):
    """Tell whether a module calls itself pure, or the `__init__` of its folder says so of all that is in it."""
    docstrings = [ast.get_docstring(ast.parse(path.read_text())) or "" for path in (file, file.parent / "__init__.py")]
    return any(re.search(r"\bPure\b", docstring) for docstring in docstrings)


PURE = [file for folder in BELOW for file in sources(folder) if is_pure(file)]


def way_to_the_impure(start):
    """Return the shortest chain of imports from a file to something impure; empty where there is none."""
    came_from = {start: None}
    waiting = [start]
    for file in waiting:
        for module in sorted(imported(file)):
            if module.split(".")[0] in IMPURE:
                way = [module]
                while file is not None:
                    way.append(str(file.relative_to(ROOT)))
                    file = came_from[file]  # noqa: PLW2901  # the way back
                return way[::-1]
            target = file_of(module) if module.startswith("tickstockpl.") else None
            if target is not None and target not in came_from:
                came_from[target] = file
                waiting.append(target)
    return []


@pytest.mark.parametrize("file", PURE, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_calls_itself_pure_reaches_no_server_no_clock_and_no_chance(file):
    assert way_to_the_impure(file) == []


@pytest.mark.parametrize(
    "name",
    [
        "history",
        "windows",
        "marks",
        "partition/bar_book",
        "partition/partition_state",
        "partition/frame_order",
        "detect/detector",
        "detect/indicators",
        "commit/staged_bars",
        "commit/plan",
        "commit/first_patterns",
        "commit/messages",
    ],
)
def test_the_core_of_the_workers_is_pure(name):
    assert ROOT / "workers" / f"{name}.py" in PURE


def test_the_contracts_are_pure():
    assert set(sources("contracts")) <= set(PURE)


def test_the_chain_of_imports_to_something_impure_is_found():
    committer = "workers/commit/committer.py"
    assert way_to_the_impure(ROOT / committer)[:2] == [committer, "psycopg"]
    assert way_to_the_impure(ROOT / "db" / "backoff.py") == ["db/backoff.py", "db/world.py", "random"]


def waits(file):
    """Return the calls of a method `wait` that are not the world's, as text."""
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    owners = [ast.unparse(f.value) for f in calls if isinstance(f, ast.Attribute) and f.attr == "wait"]
    return [owner for owner in owners if owner not in ("world", "self._world")]


@pytest.mark.parametrize("folder", ["producer", "workers"])
def test_workers_and_producers_wait_through_the_world_that_is_handed_in(folder):
    # Ruff keeps time, chance and ids out of them (banned-api); a method of an object it does not see.
    assert {str(file): found for file in sources(folder) if (found := waits(file))} == {}


def test_only_the_commands_and_the_wiring_read_the_environment():
    # The embedded servers and the processes that a command starts are given an environment, which is no setting.
    readers = {"environ", "getenv"}
    for folder in ("contracts", "db", "producer", "workers"):
        for file in sources(folder):
            found = {n.attr for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Attribute)}
            assert found & readers == set(), file


def test_the_face_imports_nothing_heavy():
    assert imported(ROOT / "__init__.py") <= {"tickstockpl.version", "tickstockpl.version.__version__"}


@pytest.mark.parametrize("door", ["ohlcv_writer.py", "pattern_detector.py"])
def test_the_library_for_a_caller_with_its_own_loop_needs_no_operations(door):
    assert folders_of(imported(ROOT / door)) <= {"contracts", "db", "workers"}
