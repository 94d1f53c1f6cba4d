"""Puts a bridge together."""

from typing import TYPE_CHECKING

import structlog

from ..contracts.market_hours import load_calendar
from ..db.migrate import check_schema, recorded_partitions
from ..db.postgres import Connection, Database
from ..workers.bridge.bridge import Bridge, BridgeOptions
from ..workers.bridge.voice import Voice
from .shutdown import Stop
from .wiring import Place, open_redis, wait_for_server, with_postgres

if TYPE_CHECKING:  # it needs what may not be installed
    from ..workers.tracing import Tracing

log = structlog.get_logger()

_LOOK_EVERY_S = 0.5  # for the stream, which the first worker or producer makes


def make_bridge(
    where: Place,
    *,
    name: str,
    universe: str,
    streaming_rate: float | None,
    stop: Stop,
    tracing: "Tracing | None" = None,
) -> Bridge | None:
    """Put a bridge together, waiting for servers and stream; None where it was stopped before there was a stream.

    Raises SetupError where the servers do not fit.
    """
    partitions = _await_stream(where, stop)
    if partitions is None:
        return None
    load_calendar()
    client = open_redis(where, "bridge")
    url = where.servers.database_url
    database = wait_for_server(
        lambda: Database(url, name=f"tickstock-bridge {name}", impatient=True), where.connect_timeout_s
    )
    return Bridge(
        BridgeOptions(name, partitions, streaming_rate),
        database=database,
        client=client,
        redis_url=where.servers.redis_url,
        voice=Voice(database, client, name=name, universe=universe, partitions=partitions),
        stop=stop,
        tracing=tracing,
    )


def _await_stream(where: Place, stop: Stop) -> int | None:
    """Return the partition count of the stream, once there is one."""
    waits = False
    while not stop.is_set():
        if partitions := with_postgres(where, "tickstock-bridge", _recorded):
            return partitions
        if not waits:
            log.info("waiting for a stream", made_by="the first worker or producer")
        waits = True
        stop.wait(_LOOK_EVERY_S)
    return None


def _recorded(connection: Connection) -> int | None:
    check_schema(connection)
    return recorded_partitions(connection)
