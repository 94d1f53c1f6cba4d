"""Name the missing rights of a Redis user, at the start and when a right is removed later."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from redis.exceptions import ResponseError

from ...contracts.errors import ServerAway, SetupError
from ...contracts.redis_rights import Role
from ...db import redis
from ...db.redis import AWAY, Client
from ..doctor.rights import denied_in_trial, missing_rules, named

_DO = "`tickstock redis-acl` prints the rights of each role"


def require_rights(client: Client, url: str, role: Role) -> None:
    """Check every right of a role. Raises SetupError, which names the missing ones.

    Some are needed only once a day: without the check a worker would stop later.
    """
    denied = [one for node in redis.masters(client) for one in denied_in_trial(node, role)]
    if denied:
        user = urlsplit(url).username or "default"
        raise SetupError(
            f"Redis at {redis.address(url)}: user {user}, as {role}, may not: {named(denied)}: "
            f"ACL SETUSER {user} {' '.join(missing_rules(denied, [role]))} ({_DO})"
        )


@contextmanager
def refusals_named(url: str, role: Role) -> Iterator[None]:
    """Convert a refusal in the block into a SetupError that names the missing right: Redis's message names no key."""
    try:
        yield
    except ResponseError as e:
        if not redis.is_refused(e):
            raise
        _look_again(url, role)
        raise SetupError(f"Redis at {redis.address(url)}: {e} ({_DO})") from e


def _look_again(url: str, role: Role) -> None:
    client = redis.connect(url)
    try:
        require_rights(client, url, role)
    except (*AWAY, ServerAway, ResponseError):
        return  # then Redis's message must be enough
    finally:
        client.close()
