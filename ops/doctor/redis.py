"""The requirements on Redis for safe producers and workers."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from ...contracts.bounds import FULL_SHARE
from ...contracts.errors import first_line
from ...contracts.fleet.fleet_rules import DROPS
from ...contracts.names import flow_key, results_key
from ...contracts.printable import first_few
from ...contracts.redis_rights import RIGHTS, Call, Role, key_of
from ...db.look.foreign_keys import all_keys, foreign_keys
from ...db.look.redis_replay import PRINT_AGAIN, UNKNOWN, replay_of
from ...db.look.stream_look import redis_version
from ...db.redis import Client, Node, is_cluster
from .finding import Finding, by_rule, findings_of
from .rights import check_rights

_LEAST_REDIS, _LEAST_VALKEY = (6, 2), (7, 2)
_READS = ("HGET", "HGETALL", "XRANGE")
_KEYS = "Redis keys"


def check_hiredis() -> Finding:
    """Check for the fast parser."""
    if find_spec("hiredis"):
        return Finding("ok", "hiredis", "installed")
    return Finding("FAIL", "hiredis", "missing: Redis replies are parsed 5 times slower", "pip install hiredis")


def check_redis(client: Node, where: str, roles: Sequence[Role]) -> Iterator[Finding]:
    """Check a server that answers. roles: our user must have their rights."""
    checks = (
        ("Redis version", lambda c: redis_version_of(c.info("server"), where)),
        ("Redis eviction", _eviction),
        ("Redis memory", _memory),
        ("Redis persistence", lambda c: _persistence(c, roles)),
        ("Redis rights", lambda c: check_rights(c, roles)),
    )
    return findings_of(client, checks)


def check_types(client: Client, partitions: int) -> Iterator[Finding]:
    """Make a finding for each of our keys that holds another type."""
    try:
        found = foreign_keys(client, all_keys(partitions))
    except (RedisError, OSError):
        return  # `check_keys` reads them one by one, and reports the reason
    for foreign in found:
        yield Finding("FAIL", _KEYS, foreign.says, foreign.do)


def check_keys(client: Client, roles: Sequence[Role], partitions: int) -> Finding:
    """Read a key of each partition with a right of the first role: cluster nodes that answer may still refuse keys."""
    refused: dict[int, Exception] = {}
    for partition in range(partitions):
        try:
            client.execute_command(*_read_of(roles[0], partition))
        except NoPermissionError:
            return Finding("warn", _KEYS, "not read: the user lacks a right", "see `Redis rights`")
        except (RedisError, OSError) as e:
            refused[partition] = e
            if not isinstance(e, ResponseError):
                break  # each further read could take as long
    if not refused:
        return Finding("ok", _KEYS, f"one of each of {partitions} partitions was read")
    do = "check the server's log"
    if is_cluster(client):
        do = "CLUSTER INFO and CLUSTER NODES name the lost slots: bring their node back, or `redis-cli --cluster fix`"
    return Finding("FAIL", _KEYS, f"partition {first_few(refused)}: {first_line(next(iter(refused.values())))}", do)


def _read_of(role: Role, partition: int) -> Call:
    """Return a call of a role that only reads one key of a partition."""
    found = (call for call in RIGHTS[role].calls if call[0] in _READS and key_of(call) in (flow_key(0), results_key(0)))
    name, key, *rest = next(found)
    return (name, flow_key(partition) if key == flow_key(0) else results_key(partition), *rest)


def redis_version_of(found: dict[str, Any], where: str) -> Iterator[Finding]:
    """Judge a server by its INFO server. XTRIM MINID exists since Redis 6.2; Valkey began with 7.2."""
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
        says = f"{policy} may delete whole streams: no worker starts"
        yield by_rule("REDIS_EVICTS", "Redis eviction", says)


def _memory(client: Client) -> Iterator[Finding]:
    found = client.info("memory")
    used, limit = found["used_memory"], found.get("maxmemory", 0)
    says = f"{used / 2**20:,.1f} MB of {f'{limit / 2**20:,.1f} MB' if limit else 'no limit'}"
    if limit and used > FULL_SHARE * limit:
        yield by_rule("REDIS_MEMORY_HIGH", "Redis memory", f"{says}: producers wait")
    else:
        yield Finding("ok", "Redis memory", says)


def _persistence(client: Client, roles: Sequence[Role]) -> Iterator[Finding]:
    subject, replay = "Redis persistence", replay_of(client)
    should_know = not roles or any(RIGHTS[role].may_ask_for_rights for role in roles)
    if not client.info("persistence").get("aof_enabled"):
        says = "no AOF: entries that are not committed yet are lost when it stops"
        yield by_rule("REDIS_NO_AOF", subject, says)
    elif replay == "drops":
        yield by_rule("REDIS_FORGETS", subject, DROPS)
    elif replay == "unknown" and should_know:
        yield Finding("warn", subject, UNKNOWN, PRINT_AGAIN)
    elif replay == "unknown":
        says = f"AOF is on; a {roles[0]} may not check what a restart restores: `tickstock doctor --role worker` does"
        yield Finding("ok", subject, says)
    else:
        yield Finding("ok", subject, "AOF is on, and a restart restores all of it, including transactions and scripts")
