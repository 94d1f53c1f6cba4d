"""Make the secrets of a fleet of containers: a folder with a file for each password, and Redis's users."""

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
_LOGINS = (*RIGHTS, "admin")  # this fleet has no replicas and Sentinels

What = Literal["made", "kept", "changed"]

# Only the owner may enter the folder. The files are readable by all accounts, because a container sees only the mounted
# file, and reads it with an account unknown on this machine.
_FOLDER_MODE = 0o700
_FILE_MODE = 0o444


def make_secrets(folder: Path) -> Iterator[tuple[str, What]]:
    """Make every missing password, and Redis's users from them; yield the result for each file.

    Raises UsageError if one is empty, or if others may enter the folder.
    """
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise UsageError(f"{folder} is open to other users, and so would be the passwords: chmod 700 {folder}")
    for name in (*(f"redis_{login}" for login in _LOGINS), *_OTHERS):
        if (folder / name).exists():
            yield name, "kept"
        else:
            replace_secret(folder / name, secrets.token_urlsafe(_BYTES).encode())
            yield name, "made"
    # Always written again: the rights of a role depend on the version.
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
    """Write a file in one step, so that it is never seen half-written; its folder restricts access."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.chmod(_FILE_MODE)
    fresh.replace(file)
