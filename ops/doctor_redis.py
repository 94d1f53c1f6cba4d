"""What Redis must be and allow, for producers and workers to be safe on it."""

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from ..contracts.frame import FIELD
from ..contracts.names import DEAD_LETTERS, FRONT_DOOR, GROUP, flow_key, results_key, stream_key
from ..db.redis import Client
from .finding import Finding, findings_of
from .status import redis_version

_LEAST_REDIS, _LEAST_VALKEY = (6, 2), (7, 2)
_FULL_SHARE = 0.9  # of maxmemory; above it producers wait
_TRIAL = "tickstock-stream:{doctor}"  # matches what a rule for our keys allows, and is the key of no partition


def check_hiredis() -> Finding:
    """Look for the fast parser."""
    if find_spec("hiredis"):
        return Finding("ok", "hiredis", "installed")
    return Finding("FAIL", "hiredis", "missing: Redis replies are parsed 5 times slower", "pip install hiredis")


def check_redis(client: Client, where: str) -> Iterator[Finding]:
    """Check a server that answers."""
    checks = (
        ("Redis version", lambda c: _version(c, where)),
        ("Redis eviction", _eviction),
        ("Redis memory", _memory),
        ("Redis persistence", _persistence),
        ("Redis rights", _rights),
    )
    return findings_of(client, checks)


def _version(client: Client, where: str) -> Iterator[Finding]:
    found = client.info("server")
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


# -- rights ------------------------------------------------------------------------------------------------------------


def _rights(client: Client) -> Iterator[Finding]:
    """Ask for every command that we use, on the keys that we use it on."""
    user = _user(client)
    dry = _can_ask(client, user)
    denied = _denied_by_rule(client, user) if dry else _denied_by_trial(client)
    asked = f"user {user}" if dry else f"user {user}, tried on {_TRIAL}"
    if denied:
        says, do = f"{asked} may not: {'; '.join(denied)}", f"ACL SETUSER {user} … with these commands and keys"
        yield Finding("FAIL", "Redis rights", says, do)
    else:
        yield Finding("ok", "Redis rights", f"{asked} may do all that is needed")


def _user(client: Client) -> str:
    try:
        return str(client.acl_whoami())
    except ResponseError:
        return "(unknown)"


def _can_ask(client: Client, user: str) -> bool:
    """Tell whether ACL DRYRUN is there (Redis 7.0) and allowed."""
    try:
        client.execute_command("ACL", "DRYRUN", user, "PING")
    except ResponseError:
        return False
    return True


def _denied_by_rule(client: Client, user: str) -> list[str]:
    pipeline = client.pipeline(transaction=False)
    commands = list(_commands(stream_key(0), flow_key(0), results_key(0), FRONT_DOOR, DEAD_LETTERS))
    for command in commands:
        pipeline.execute_command("ACL", "DRYRUN", user, *command)
    replies = pipeline.execute(raise_on_error=False)
    return [_spelled(command) for command, reply in zip(commands, replies, strict=True) if reply not in (b"OK", "OK")]


def _denied_by_trial(client: Client) -> list[str]:
    """Run each command on a key of its own: whatever else it answers, it was allowed."""
    denied = []
    for command in _commands(_TRIAL, f"{_TRIAL}:flow", _TRIAL, _TRIAL, _TRIAL):
        try:
            client.execute_command(*command)
        except NoPermissionError:
            denied.append(_spelled(command))
        except ResponseError:
            continue  # its arguments did not suit the trial
    with suppress(NoPermissionError):  # DEL is a right that only this trial has use for
        client.delete(_TRIAL, f"{_TRIAL}:flow")
    return denied


def _commands(stream: str, flow: str, results: str, front_door: str, dead_letters: str) -> Iterator[tuple[Any, ...]]:
    yield from (("INFO",), ("TIME",))
    for key in dict.fromkeys((stream, results, front_door, dead_letters)):
        yield "XADD", key, "*", FIELD, "doctor"
    for key in dict.fromkeys((stream, front_door)):
        yield "XGROUP", "CREATE", key, GROUP, "0"
        yield "XGROUP", "SETID", key, GROUP, "0"
        yield "XREADGROUP", "GROUP", GROUP, "doctor", "COUNT", 1, "STREAMS", key, ">"
        yield "XPENDING", key, GROUP, "-", "+", 1
        yield "XACK", key, GROUP, "0-1"
        yield "XTRIM", key, "MINID", "0"
        yield "XRANGE", key, "-", "+", "COUNT", 1
        yield "XLEN", key
        yield "XINFO", "STREAM", key
        yield "XINFO", "GROUPS", key
        yield "XINFO", "CONSUMERS", key, GROUP
    yield "XGROUP", "DELCONSUMER", stream, GROUP, "doctor"
    yield "EVAL", "return 1", 1, stream
    yield "XSETID", front_door, f"{2**43}-0"
    yield "XINFO", "STREAM", results
    yield "HSET", flow, "doctor", "1"
    yield "HGET", flow, "doctor"
    yield "HMGET", flow, "doctor"
    yield "HGETALL", flow
    yield "HDEL", flow, "doctor"
    yield from (("MULTI",), ("EXEC",))


def _spelled(command: tuple[Any, ...]) -> str:
    name, *rest = (str(part) for part in command)
    subcommand = [rest.pop(0)] if name in ("XGROUP", "XINFO") else []
    key = next((part for part in rest if part.startswith("tickstock-")), "")
    return " ".join([name, *subcommand, key]).strip()
