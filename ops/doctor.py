"""Checks a setup before it hurts: every check is one finding, and none keeps the others from being made."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import psycopg
from redis.exceptions import RedisError

from ..contracts.errors import TickStockError
from ..contracts.settings import Servers
from ..db import postgres, redis
from ..db.postgres import Connection
from ..db.queries import query
from ..db.redis import Client
from .doctor_postgres import check_postgres
from .doctor_redis import check_redis
from .finding import Finding, Server

_MAX_SKEW_S = 1.0

Clock = tuple[str, float]  # whose, and how far it is ahead of this host's


def diagnose(servers: Servers, *, partitions: int | None) -> Iterator[Finding]:
    """Check both servers, each once and without waiting for it. partitions: the count that the user expects."""
    clocks: list[Clock] = []
    yield from _redis(servers, clocks)
    yield from _postgres(servers, partitions, clocks)
    yield _clocks(clocks)


def _redis(servers: Servers, clocks: list[Clock]) -> Iterator[Finding]:
    where = redis.address(servers.redis_url)
    try:
        client = redis.connect(servers.redis_url)
        client.ping()
    except (RedisError, OSError, TickStockError) as e:
        yield Finding("FAIL", "Redis", "server", f"{where}: {e}", "start it, or set REDIS_URL to where it is")
        return
    try:
        yield from check_redis(client, where)
        clocks.append(("Redis", redis.redis_ms(client) / 1000 - time.time()))
    except (RedisError, OSError) as e:
        yield Finding("FAIL", "Redis", "server", f"{where} stopped to answer: {e}", "look at its log")


def _postgres(servers: Servers, partitions: int | None, clocks: list[Clock]) -> Iterator[Finding]:
    try:
        connection = postgres.connect(servers.database_url, name="tickstock-doctor")
    except TickStockError as e:
        yield Finding("FAIL", "PostgreSQL", "server", str(e), "start it, or set DATABASE_URL to where it is")
        return
    where = postgres.address(servers.database_url)
    with connection:
        try:
            yield from check_postgres(connection, where, partitions)
            (now_s,) = connection.execute(query("database_clock")).fetchone() or (0.0,)
            clocks.append(("PostgreSQL", now_s - time.time()))
        except psycopg.Error as e:
            yield Finding("FAIL", "PostgreSQL", "server", f"{where} stopped to answer: {e}", "look at its log")
