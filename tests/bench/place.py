"""Where a case runs: a database of its own and an empty Redis, and processes of ours on them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.universe import EVERY_SYMBOL
from tickstockpl.db import redis
from tickstockpl.db.postgres import connect
from tickstockpl.db.schema.migrate import migrate, open_stream
from tickstockpl.db.sessions import set_always_open

_STOP_WAIT_S = 10.0


@dataclass(frozen=True)
class Place:
    """Two empty servers with one partition count."""

    servers: Servers
    client: redis.Client
    database: psycopg.Connection
    partitions: int

    def count(self, statement: str, *values: object) -> int:
        """Return the one whole number of a query; 0 where it has no row."""
        row = self.database.execute(statement, values).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def fresh_place(servers: Servers, partitions: int) -> Iterator[Place]:
    """Give a case a migrated database of its own, dropped afterwards, and Redis without a key."""
    name = f"bench_{uuid4().hex}"
    own = Servers(servers.redis_url, urlsplit(servers.database_url)._replace(path=f"/{name}").geturl())
    client = redis.connect(own.redis_url, timeout_s=60.0)
    client.flushall()
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        with connect(own.database_url, name="bench") as database:
            migrate(database)
            open_stream(database, partitions)
            set_always_open(database, [EVERY_SYMBOL], is_open=True)  # a bar of any hour costs what one at noon does
            yield Place(own, client, database, partitions)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    client.flushall()
    client.close()


_OURS = ("-m", "tickstockpl.ops")


@contextmanager
def running(place: Place, *arguments: str, program: Sequence[str] = _OURS) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our commands on a place's servers; stop it at the end of the block. program: that runs it."""
    command = [sys.executable, *program, *arguments, "--embedded", "never", "--log-level", "warning"]
    addresses = {"REDIS_URL": place.servers.redis_url, "DATABASE_URL": place.servers.database_url}
    process = subprocess.Popen(command, env=os.environ | addresses, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], object], *, within_s: float, every_s: float = 0.01) -> None:
    """Look until something holds. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"did not happen within {within_s} s")
        time.sleep(every_s)
