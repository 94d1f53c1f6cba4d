"""Check a setup: both servers, each asked once, and the clocks."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import psycopg
from redis.exceptions import NoPermissionError, RedisError

from ...contracts.errors import ServerAway, TickStockError, first_line
from ...contracts.fleet.fleet_rules import ARRIVAL_S
from ...contracts.redis_rights import Role
from ...contracts.settings import Servers
from ...db import postgres, redis
from ...db.look.redis_losses import read_forgotten
from ...db.queries import query
from ...db.schema.migrate import DEFAULT_PARTITIONS
from .finding import Finding
from .postgres import check_postgres, recorded_shape
from .redis import check_hiredis, check_keys, check_redis, check_types

_MAX_SKEW_S = 1.0
_COMPARED = "Redis streams"


class Clock(NamedTuple):
    """A server's clock minus this host's, in seconds, and the uncertainty by the network's delay."""

    ahead_s: float
    unsure_s: float


def diagnose(
    servers: Servers, *, partitions: int | None, roles: Sequence[Role], embedded: bool = False
) -> Iterator[Finding]:
    """Check both servers without retries.

    partitions: the count that the user expects; roles: the servers' users must have the rights of these.
    """
    clocks: dict[str, Clock] = {}
    yield check_hiredis()
    client = yield from _redis(servers, roles, clocks)
    recorded = yield from _postgres(servers, client, partitions, embedded, clocks)
    if client is not None:
        count = recorded or partitions or DEFAULT_PARTITIONS
        wrong = list(check_types(client, count))
        yield from wrong
        if roles and not wrong:
            yield check_keys(client, roles, count)
    yield judge_clocks(clocks)


def _redis(
    servers: Servers, roles: Sequence[Role], clocks: dict[str, Clock]
) -> Generator[Finding, None, redis.Client | None]:
    """Check Redis; return a client if it answers."""
    try:
        client = redis.connect(servers.redis_url)
        redis.eviction_policy(client, servers.redis_url)
    except TickStockError as e:
        yield Finding("FAIL", "Redis", str(e), "start it, or set REDIS_URL" if isinstance(e, ServerAway) else "")
        return None
    nodes = redis.masters(client)
    if len(nodes) == 1:
        yield from check_redis(nodes[0], redis.address(servers.redis_url), roles)
    else:
        for node in nodes:
            where = "{host}:{port}".format_map(node.connection_pool.connection_kwargs)
            for finding in check_redis(node, where, roles):
                yield replace(finding, says=f"{where}: {finding.says}")
    try:
        clocks["Redis"] = _read_clock(lambda: redis.redis_ms(client) / 1000)
    except (RedisError, OSError) as e:
        yield Finding("FAIL", "Redis clock", first_line(e), "grant TIME: it is the clock of all arrivals")
    return client


def _postgres(
    servers: Servers, client: redis.Client | None, partitions: int | None, embedded: bool, clocks: dict[str, Clock]
) -> Generator[Finding, None, int | None]:
    """Check PostgreSQL; return the recorded partition count, if there is one."""
    try:
        connection = postgres.connect(servers.database_url, name="tickstock-doctor")
    except TickStockError as e:
        do = "start it, or set DATABASE_URL" if isinstance(e, ServerAway) else ""
        yield Finding("FAIL", "PostgreSQL", str(e), do)
        return None
    with connection:
        yield from check_postgres(connection, postgres.address(servers.database_url), partitions, embedded)
        try:
            clocks["PostgreSQL"] = _read_clock(
                lambda: (connection.execute(query("database_clock")).fetchone() or (time.time(),))[0]
            )
            shape = recorded_shape(connection)
        except psycopg.Error as e:
            yield Finding("FAIL", "PostgreSQL clock", first_line(e), "check the server's log")
            return None
        if client is not None and shape:
            yield from _compared(connection, client)
    return shape[0] if shape else None


def _compared(connection: postgres.Connection, client: redis.Client) -> Iterator[Finding]:
    """Yield findings about streams in Redis that lack data which PostgreSQL knows, if our user may read them."""
    try:
        found = read_forgotten(connection, client)
    except NoPermissionError:
        return
    except (RedisError, psycopg.Error, OSError) as e:
        yield Finding("FAIL", _COMPARED, f"could not be checked: {first_line(e)}", "check the server's log")
        return
    for one in found:
        yield Finding("FAIL" if one.loses else "warn", _COMPARED, one.says, one.do)


def _read_clock(read_s: Callable[[], float]) -> Clock:
    """Compare with the middle of the request's time: over a slow link a correct clock looks late."""
    asked_s = time.time()
    said_s = read_s()
    answered_s = time.time()
    return Clock(said_s - (asked_s + answered_s) / 2, abs(answered_s - asked_s) / 2)


def judge_clocks(clocks: Mapping[str, Clock]) -> Finding:
    """Compare the servers' clocks with this host's and with each other."""
    if not clocks:
        return Finding("warn", "clocks", "no server returned its time")
    says = ", ".join(f"{server} is {clock.ahead_s:+.3f} s from this host" for server, clock in clocks.items())
    earliest = min(0.0, *(clock.ahead_s + clock.unsure_s for clock in clocks.values()))
    latest = max(0.0, *(clock.ahead_s - clock.unsure_s for clock in clocks.values()))
    if latest - earliest <= _MAX_SKEW_S:
        return Finding("ok", "clocks", says)
    do = "Redis's clock closes live bars, PostgreSQL's tells when daily runs are due: run NTP on each host"
    if abs(_apart_s(clocks)) >= ARRIVAL_S:
        return Finding("FAIL", "clocks", says, f"Redis's clock dates arrivals: live ticks are refused. {do}")
    return Finding("warn", "clocks", says, do)


def _apart_s(clocks: Mapping[str, Clock]) -> float:
    """Return how far the servers' clocks are apart; 0 if only one is known."""
    ahead = [clock.ahead_s for clock in clocks.values()]
    return max(ahead) - min(ahead)
