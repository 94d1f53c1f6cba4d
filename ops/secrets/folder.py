"""Makes what a fleet of containers needs in secrets: a folder of files, one for each password, and Redis's users."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ...contracts.errors import UsageError
from ...contracts.redis_rights import RIGHTS
from .redis_acl import check_password, users_acl

USERS = "redis_users.acl"
_OTHERS = ("postgres_password", "database_password", "grafana_password")
_BYTES = 24
_LOGINS = (*RIGHTS, "admin")  # replicas and Sentinels are no part of this fleet

What = Literal["made", "kept", "changed"]

# The folder is its owner's alone; the files in it are for every account, because a container sees the single file
# that is mounted, and reads it under an account that this machine does not know.
_FOLDER_MODE = 0o700
_FILE_MODE = 0o444


def make_secrets(folder: Path) -> Iterator[tuple[str, What]]:
    """Make every password that is not there yet, and Redis's users of them; yield what became of each file.

    Raises UsageError where one is empty, or others may look into the folder.
    """
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise UsageError(f"{folder} is open to others, and passwords would be: chmod 700 {folder}")
    for name in (*(f"redis_{login}" for login in _LOGINS), *_OTHERS):
        if (folder / name).exists():
            yield name, "kept"
        else:
            replace_secret(folder / name, secrets.token_urlsafe(_BYTES).encode())
            yield name, "made"
    # Always anew: what a role may do is this version's business.
    passwords: dict[str, bytes] = {
        login: check_password(login, (folder / f"redis_{login}").read_bytes().strip()) for login in _LOGINS
    }
    yield USERS, _write_users(folder / USERS, users_acl(passwords))


def _write_users(file: Path, text: str) -> What:
    before = file.read_text() if file.exists() else None
    if before == text:
        return "kept"
    replace_secret(file, text.encode())
    return "made" if before is None else "changed"


def replace_secret(file: Path, content: bytes) -> None:
    """Write a file in one step, never to be seen half; its folder says who may look."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.chmod(_FILE_MODE)
    fresh.replace(file)
