"""What is in the tree is in the wheel: a folder that pyproject does not list works editable, and is missing there."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("contracts", "db", "producer", "workers", "ops")
NOT_OURS = shutil.ignore_patterns(
    ".*", "build", "dist", "tests", "docs", "*.egg-info", "__pycache__", "*.pyc", "node_modules", "wheels"
)


def package_files():
    """Return every file that must ship, as the wheel names it."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    files = [*ROOT.glob("*.py"), ROOT / "py.typed", *inside]
    kept = [file for file in files if "__pycache__" not in file.parts and file.suffix != ".pyc"]
    return {f"tickstockpl/{file.relative_to(ROOT).as_posix()}" for file in kept}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the tree, so that no build folder is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "tree", ignore=NOT_OURS)
    # Without isolation it needs no registry; an older setuptools cannot read our licence's field.
    isolation = [] if int(importlib.metadata.version("setuptools").split(".")[0]) < 77 else ["--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", *isolation, "-w", str(folder), str(folder / "tree")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_every_file_of_the_tree_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if ".dist-info/" not in name}
    assert names == package_files()


def test_the_files_that_are_no_python_ship(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert "tickstockpl/py.typed" in names
    assert "tickstockpl/db/sql/migrations/0001_fleet.sql" in names
    assert "tickstockpl/db/sql/queries/bars.sql" in names
    assert any(name.endswith(".dist-info/licenses/NOTICE") for name in names)  # it names the page's charts library


def test_the_wheel_alone_finds_its_statements_and_migrations(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path)
    look = (
        "import tickstockpl; from tickstockpl.db import queries; from tickstockpl.db.schema import migrate; "
        "from tickstockpl.ops import cli; "
        "print(tickstockpl.__file__, len(queries.query('take_lease').as_string()) > 0, migrate._migrations()[0].name)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", look], env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout.split() == [str(tmp_path / "tickstockpl" / "__init__.py"), "True", "0001_fleet.sql"], ran.stderr


def test_pyproject_lists_every_folder_with_its_place():
    with (ROOT / "pyproject.toml").open("rb") as file:
        setuptools = tomllib.load(file)["tool"]["setuptools"]
    inits = [path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")]
    folders = {
        f"tickstockpl.{'.'.join(path.relative_to(ROOT).parts)}": path.relative_to(ROOT).as_posix() for path in inits
    }
    assert set(setuptools["packages"]) == {"tickstockpl", *folders}
    assert setuptools["package-dir"] == {"tickstockpl": "."} | folders


def test_every_folder_with_python_in_it_is_a_package():
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), file.parent


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Copy the tree once, into a folder that each test renames."""
    folder = tmp_path_factory.mktemp("clones") / "copied"
    ignored = shutil.ignore_patterns(".venv", ".git", ".*_cache", "build", "dist", "*.egg-info", "__pycache__")
    return shutil.copytree(ROOT, folder, ignore=ignored, symlinks=True)


ONE_TEST = ("pytest", "-n", "0", "-p", "no:cacheprovider", "tests/unit/test_marks.py")
ONE_MODULE = ("mypy", "--cache-dir", os.devnull, "-m", "tickstockpl.contracts.bar")
RUFF = ("ruff", "check", "--no-cache")


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("TickStockPL", ((*RUFF, "__init__.py"),)),  # a module's name has no capitals
        ("TickStockPL-main", (ONE_TEST, ONE_MODULE, (*RUFF, "."))),  # nor a hyphen: an archive of GitHub
    ],
)
def test_a_clone_of_any_name_is_checked_and_tested(copied, name, checks):
    clone = copied.rename(copied.parent / name)
    try:
        for check in (check for check in checks if find_spec(check[0])):
            command = [sys.executable, "-m", *check]
            ran = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stdout + ran.stderr
    finally:
        clone.rename(copied)
    if missing := [check[0] for check in checks if find_spec(check[0]) is None]:
        pytest.skip(f"not checked with {', '.join(missing)}, which are not installed: make lint")


def test_a_run_of_the_tests_under_nohup_starts_processes_that_a_hangup_ends(tmp_path):
    """As `nohup make test` runs them: each process inherits that SIGHUP is ignored."""
    (tmp_path / "test_hangup.py").write_text(
        "import signal, subprocess, sys\n"
        "def test_hangup():\n"
        "    sleeper = [sys.executable, '-c', 'import signal; print(signal.getsignal(signal.SIGHUP).name)']\n"
        "    assert subprocess.check_output(sleeper, text=True) == 'SIG_DFL\\n'\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
    )
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    # Only what the run needs: other plugins of this environment take seconds to import, in each process.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ("-p", "xdist", "-p", "no:cacheprovider")
    for processes in "01":
        ran = subprocess.run(
            ["nohup", sys.executable, "-m", "pytest", "-q", "-n", processes, *plugins, tmp_path],
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
