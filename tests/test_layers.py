"""Imports point one way: contracts <- db <- producer, workers <- ops."""

import ast
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
PURE = (
    "contracts",
    "workers/bar_book.py",
    "workers/feed_bars.py",
    "workers/saved_state.py",
    "workers/undo.py",
    "workers/detector.py",
    "workers/marks.py",
    "workers/minute_book.py",
    "workers/windows.py",
    "workers/patterns",
    "workers/indicators.py",
    "workers/alerts.py",
    "workers/frame_order.py",
    "workers/tick_check.py",
    "producer/framer.py",
)
SERVER_MODULES = {
    "psycopg",
    "redis",
    "socket",
    "subprocess",
    "time",
    "os",
    "tickstockpl.db.postgres",
    "tickstockpl.db.redis",
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


def test_every_folder_of_the_package_has_its_place():
    assert {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"} == set(BELOW)


def test_folders_import_each_other_relatively():
    for folder in BELOW:
        for file in sources(folder):
            tree = ast.parse(file.read_text())
            absolute = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level and n.module]
            absolute += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
            assert not [name for name in absolute if name.split(".")[0] == "tickstockpl"], file


@pytest.mark.parametrize("place", PURE)
def test_what_is_pure_reaches_no_server_and_no_clock(place):
    for file in sources(place):
        assert imported(file) & SERVER_MODULES == set(), file


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
