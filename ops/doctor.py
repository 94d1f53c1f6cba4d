"""Checks a setup before it hurts: both servers, each asked once, and the clocks."""

import time
from collections.abc import Iterator

import psycopg
from redis.exceptions import RedisError

from ..contracts.errors import TickStockError
from ..contracts.settings import Servers
from ..db import postgres, redis
from ..db.queries import query
from .doctor_postgres import check_postgres
from .doctor_redis import check_hiredis, check_redis
from .finding import Finding, first_line

_MAX_SKEW_S = 1.0


def diagnose(servers: Servers, *, partitions: int | None, embedded: bool = False) -> Iterator[Finding]:
    """Check both servers without waiting for them. partitions: the count that the user expects."""
    ahead_s: dict[str, float] = {}  # how far a server's clock is ahead of this host's
    yield check_hiredis()
    yield from _redis(servers, ahead_s)
    yield from _postgres(servers, partitions, embedded, ahead_s)
    yield _clocks(ahead_s)


def _redis(servers: Servers, ahead_s: dict[str, float]) -> Iterator[Finding]:
    try:
        client = redis.connect(servers.redis_url)
        redis.eviction_policy(client, servers.redis_url)
    except TickStockError as e:
        yield Finding("FAIL", "Redis", str(e), "start it, or set REDIS_URL to an address and a user that it lets in")
        return
    yield from check_redis(client, redis.address(servers.redis_url))
    try:
        ahead_s["Redis"] = redis.redis_ms(client) / 1000 - time.time()
    except (RedisError, OSError) as e:
        yield Finding("FAIL", "Redis clock", first_line(e), "grant TIME: it is the clock that ticks arrive by")


def _postgres(servers: Servers, partitions: int | None, embedded: bool, ahead_s: dict[str, float]) -> Iterator[Finding]:
    try:
        connection = postgres.connect(servers.database_url, name="tickstock-doctor")
    except TickStockError as e:
        do = "start it, or set DATABASE_URL to an address and a role that it lets in"
        yield Finding("FAIL", "PostgreSQL", str(e), do)
        return
    with connection:
        yield from check_postgres(connection, postgres.address(servers.database_url), partitions, embedded)
        try:
            (now_s,) = connection.execute(query("database_clock")).fetchone() or (time.time(),)
            ahead_s["PostgreSQL"] = now_s - time.time()
        except psycopg.Error as e:
            yield Finding("FAIL", "PostgreSQL clock", first_line(e), "look at the server's log")


def _clocks(ahead_s: dict[str, float]) -> Finding:
    if not ahead_s:
        return Finding("warn", "clocks", "no server said its time")
    says = ", ".join(f"{server} is {s:+.3f} s from this host" for server, s in ahead_s.items())
    clocks = [0.0, *ahead_s.values()]
    if max(clocks) - min(clocks) <= _MAX_SKEW_S:
        return Finding("ok", "clocks", says)
    do = "bars do not depend on it (Redis dates arrivals, PostgreSQL leases), but logs do: run NTP on each host"
    return Finding("warn", "clocks", says, do)
