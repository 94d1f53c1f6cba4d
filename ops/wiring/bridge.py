"""Make a bridge."""

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import structlog

from ...contracts.errors import first_line
from ...contracts.market_hours import load_calendar
from ...db.look.database_clock import DatabaseClock
from ...db.postgres import Connection, Database
from ...db.schema.migrate import check_schema, recorded_partitions
from ...db.world import REAL
from ...workers.bridge.bridge import Bridge, BridgeOptions
from ...workers.bridge.voice import Voice
from ..process.shutdown import Stop
from .servers import Place, open_postgres, open_redis, wait_for_server

if TYPE_CHECKING:  # imports optional packages
    from ...workers.commit.tracing import Tracing

log = structlog.get_logger()

_LOOK_EVERY_S = 0.5  # between checks for the stream, which the first worker or producer makes


def make_bridge(where: Place, options: BridgeOptions, *, stop: Stop, tracing: "Tracing | None" = None) -> Bridge | None:
    """Make a bridge; wait for the servers and the stream. Return None if stopped before there is a stream.

    Raises SetupError if the servers do not fit.
    """
    partitions = _await_stream(where, stop)
    if partitions is None:
        return None
    load_calendar()
    client = open_redis(where, "bridge")
    url = where.servers.database_url
    database = wait_for_server(
        lambda: Database(url, name=f"tickstock-bridge {options.name}", impatient=True), where.connect_timeout_s
    )
    return Bridge(
        options,
        database=database,
        client=client,
        redis_url=where.servers.redis_url,
        partitions=partitions,
        voice=Voice(
            database,
            client,
            name=options.name,
            universe=options.universe_name,
            partitions=partitions,
            clock=DatabaseClock(REAL),
        ),
        stop=stop,
        tracing=tracing,
    )


def _await_stream(where: Place, stop: Stop) -> int | None:
    """Return the stream's partition count, when it exists."""
    while not stop.is_set():
        try:
            with closing(open_postgres(where, name="tickstock-bridge")) as connection:
                check_schema(connection)
                return _look_for_stream(connection, stop)
        except psycopg.OperationalError as e:  # it went away in between: the next connection waits for it
            log.warning("waiting for a server", server="postgresql", why=first_line(e), seconds=where.connect_timeout_s)
            stop.wait(_LOOK_EVERY_S)
    return None


def _look_for_stream(connection: Connection, stop: Stop) -> int | None:
    waits = False
    while not stop.is_set():
        if partitions := recorded_partitions(connection):
            return partitions
        if not waits:
            log.info("waiting for a stream", made_by="the first worker or producer")
        waits = True
        stop.wait(_LOOK_EVERY_S)
    return None
