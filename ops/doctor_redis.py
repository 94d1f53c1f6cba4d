"""What Redis must be and allow, for producers and workers to be safe on it."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from ..contracts.redis_rights import Role
from ..db.redis import Client
from .doctor_rights import check_rights
from .finding import Finding, findings_of
from .status import redis_version

_LEAST_REDIS, _LEAST_VALKEY = (6, 2), (7, 2)
_FULL_SHARE = 0.9  # of maxmemory; above it producers wait


def check_hiredis() -> Finding:
    """Look for the fast parser."""
    if find_spec("hiredis"):
        return Finding("ok", "hiredis", "installed")
    return Finding("FAIL", "hiredis", "missing: Redis replies are parsed 5 times slower", "pip install hiredis")


def check_redis(client: Client, where: str, roles: Sequence[Role]) -> Iterator[Finding]:
    """Check a server that answers. roles: whose rights our user must have."""
    checks = (
        ("Redis version", lambda c: redis_version_of(c.info("server"), where)),
        ("Redis eviction", _eviction),
        ("Redis memory", _memory),
        ("Redis persistence", _persistence),
        ("Redis rights", lambda c: check_rights(c, roles)),
    )
    return findings_of(client, checks)


def redis_version_of(found: dict[str, Any], where: str) -> Iterator[Finding]:
    """Judge a server by its INFO server. XTRIM MINID came with Redis 6.2; Valkey began with 7.2."""
    version, name = found.get("valkey_version") or found["redis_version"], redis_version(found)
    least = _LEAST_VALKEY if "valkey_version" in found else _LEAST_REDIS
    if tuple(int(part) for part in version.split(".")[:2]) >= least:
        yield Finding("ok", "Redis version", f"{name} at {where}")
    else:
        yield Finding("FAIL", "Redis version", f"{name} at {where} is too old", "Redis 6.2 or Valkey 7.2, or later")


def _eviction(client: Client) -> Iterator[Finding]:
    policy = client.info("memory").get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        yield Finding("ok", "Redis eviction", policy)
    else:
        says = f"{policy} evicts whole streams in silence: no worker starts"
        yield Finding("FAIL", "Redis eviction", says, "set `maxmemory-policy noeviction`")


def _memory(client: Client) -> Iterator[Finding]:
    found = client.info("memory")
    used, limit = found["used_memory"], found.get("maxmemory", 0)
    says = f"{used / 2**20:,.1f} MB of {f'{limit / 2**20:,.1f} MB' if limit else 'no limit'}"
    if limit and used > _FULL_SHARE * limit:
        yield Finding("warn", "Redis memory", f"{says}: producers wait", "raise maxmemory, or add workers")
    else:
        yield Finding("ok", "Redis memory", says)


def _persistence(client: Client) -> Iterator[Finding]:
    if client.info("persistence").get("aof_enabled"):
        yield Finding("ok", "Redis persistence", "AOF is on")
    else:
        says = "no AOF: entries that are not committed yet are lost when it stops"
        yield Finding("warn", "Redis persistence", says, "set `appendonly yes`")
