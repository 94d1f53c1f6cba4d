"""The users of Redis in the format of its `aclfile`: for each role, for servers, and one that may change them."""

from collections.abc import Mapping
from hashlib import sha256
from typing import get_args

from ...contracts.errors import UsageError
from ...contracts.redis_rights import NOTHING, RIGHTS, Role

# Replication and Sentinel, with what their documentation asks for (redis.io, "High availability with Redis Sentinel").
_SERVERS = {
    "replica": "+psync +replconf +ping",
    "sentinel": (
        "allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info "
        "+client|setname +client|kill +script|kill"
    ),
}
# Only `admin` can change passwords (ACL SETUSER, SAVE, LOAD), because `default` is off.
_ADMIN = {"admin": "~* &* +@all"}
_OTHERS = _SERVERS | _ADMIN
_NOTHING = " ".join(NOTHING)
# No client can log in as `default`: it is off, and has no password. But it has all rights: Redis (7.0, 8.2) loads its
# append-only file as this user, and drops writes of MULTI/EXEC and scripts for which it has no right.
_DEFAULT = "user default off resetpass ~* &* +@all"

USERS: tuple[str, ...] = (*get_args(Role), *_OTHERS)


def users_acl(
    passwords: Mapping[str, bytes], *, cluster: bool = False, application_without_password: bool = False
) -> str:
    """Return the file's text: a line per user, first `default`, without login. Users without a password cannot log in.

    application_without_password: `default` is on and has the rights of `application`, and no others. Redis allows no
    comments in this file.
    """
    lines = [f"user default on nopass {_rules('application', cluster)}" if application_without_password else _DEFAULT]
    for name in USERS:
        word = f"#{sha256(passwords[name]).hexdigest()} " if name in passwords else ""
        lines.append(f"user {name} on {word}{_rules(name, cluster)}")
    return "\n".join(lines) + "\n"


def _rules(name: str, cluster: bool) -> str:
    if name in _OTHERS:
        return f"{_NOTHING} {_OTHERS[name]}"
    role: Role = name  # type: ignore[assignment]  # USERS holds the roles and _OTHERS
    return RIGHTS[role].acl_rules(cluster=cluster)


def check_password(name: str, password: bytes) -> bytes:
    """Return a valid password. Raises UsageError."""
    if name not in USERS:
        raise UsageError(f"{name!r} is not a user: one of {', '.join(USERS)}")
    if not password:
        raise UsageError(f"the password of {name} is empty")
    return password
