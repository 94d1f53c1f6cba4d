"""Check whether the Redis user has the rights of some roles.

ACL DRYRUN checks a call without making it. If it is missing (Redis 6.2) or denied, the calls are queued in a
transaction that is discarded: Redis checks rights when it queues.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from redis.exceptions import NoPermissionError, ResponseError

from ...contracts.redis_rights import CLUSTER_CALLS, RIGHTS, Call, Role, command_of, key_of
from ...db.redis import Client, Node
from .finding import Finding

_TRANSACTION = ("MULTI", "EXEC", "DISCARD")


class Denied(NamedTuple):
    """A call that the user may not make, and the server's message."""

    call: Call
    why: str


def check_rights(client: Node, roles: Sequence[Role]) -> Iterator[Finding]:
    """Check every call of some roles."""
    user = _user(client)
    calls = _calls(roles, is_cluster=client.info("server").get("redis_mode") == "cluster")
    dry = _can_ask(client, user)
    denied = _denied_by_rule(client, user, calls) if dry else _denied_by_trial(client, calls)
    asked = f"user {user} as {', '.join(roles)}" + ("" if dry else ", tried in a discarded transaction")
    if denied:
        says = f"{asked}, may not: {named(denied)}"
        do = f"ACL SETUSER {user} {' '.join(missing_rules(denied, roles))}"
        yield Finding("FAIL", "Redis rights", says, do)
    else:
        yield Finding("ok", "Redis rights", f"{asked}, has all rights")


def denied_in_trial(client: Node, role: Role) -> list[Denied]:
    """Check every call of a role without ACL DRYRUN: no role has that right, and the server would log the refusal."""
    return _denied_by_trial(client, _calls([role], is_cluster=client.info("server").get("redis_mode") == "cluster"))


def named(denied: Sequence[Denied]) -> str:
    """List calls for people."""
    return "; ".join(dict.fromkeys(_spelled(one.call) for one in denied))


def missing_rules(denied: Sequence[Denied], roles: Sequence[Role]) -> list[str]:
    """Return the ACL rules that the servers' messages ask for.

    A message names only the first missing right of a call.
    """
    rules: dict[str, None] = {}
    for call, why in denied:
        if selector := next((s for role in roles for s in RIGHTS[role].selectors if call in s.calls), None):
            rules[selector.rule] = None
        elif " channel" in why:
            rules |= {f"&{pattern}": None for role in roles for pattern in _matching(RIGHTS[role].channels, call)}
        elif " key" in why:
            rules |= {RIGHTS[r].key_rule(key): None for r in roles for key in _matching(RIGHTS[r].keys, call)}
        else:
            rules[f"+{command_of(call)}"] = None
    return list(rules)


def _matching(patterns: Sequence[str], call: Call) -> Iterator[str]:
    key = key_of(call)
    return (pattern for pattern in patterns if pattern == key or fnmatchcase(key, pattern))


def _calls(roles: Sequence[Role], *, is_cluster: bool) -> list[Call]:
    calls = [call for role in roles for call in RIGHTS[role].needed]
    return list(dict.fromkeys([*calls, *CLUSTER_CALLS] if is_cluster else calls))


def _user(client: Node) -> str:
    try:
        return str(client.acl_whoami())
    except ResponseError:
        return str(client.connection_pool.connection_kwargs.get("username") or "default")


def _can_ask(client: Client, user: str) -> bool:
    """Tell whether ACL DRYRUN exists (Redis 7.0) and is allowed."""
    try:
        client.execute_command("ACL", "DRYRUN", user, "PING")
    except ResponseError:
        return False
    return True


def _denied_by_rule(client: Client, user: str, calls: Sequence[Call]) -> list[Denied]:
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command("ACL", "DRYRUN", user, *call)
    replies = pipeline.execute(raise_on_error=False)
    return [Denied(call, _text(reply)) for call, reply in zip(calls, replies, strict=True) if _text(reply) != "OK"]


def _denied_by_trial(client: Node, calls: Sequence[Call]) -> list[Denied]:
    """Queue each call, and discard all. A refusal for another reason (full memory) is not a missing right."""
    connection = client.connection_pool.get_connection()
    try:
        denied = [Denied(call, why) for call in (("MULTI",), ("DISCARD",)) if (why := _refusal(connection, call))]
        if denied:
            return denied
        _refusal(connection, ("MULTI",))
        queued = [call for call in calls if call[0] not in _TRANSACTION]
        denied = [Denied(call, why) for call in queued if (why := _refusal(connection, call))]
        _refusal(connection, ("DISCARD",))
        why = _refusal(connection, ("EXEC",))  # without a transaction: an error, but not about rights
        return [*denied, Denied(("EXEC",), why)] if why else denied
    finally:
        connection.disconnect()
        client.connection_pool.release(connection)


def _refusal(connection: object, call: Call) -> str:
    """Send a call; return why the user may not make it, "" if it may."""
    connection.send_command(*call)  # type: ignore[attr-defined]  # the client library's connection is untyped
    try:
        connection.read_response()  # type: ignore[attr-defined]
    except NoPermissionError as e:
        return str(e)
    except ResponseError:
        return ""
    return ""


def _text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _spelled(call: Call) -> str:
    return f"{command_of(call).replace('|', ' ').upper()} {key_of(call)}".strip()
