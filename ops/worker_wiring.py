"""Puts a worker together."""

from typing import TYPE_CHECKING

from ..contracts.market_hours import load_calendar
from ..db.postgres import Database
from ..workers.worker import Worker, WorkerOptions
from .shutdown import Stop
from .wiring import Place, open_both, wait_for_server

if TYPE_CHECKING:  # it needs what may not be installed
    from ..workers.tracing import Tracing


def make_worker(
    where: Place, options: WorkerOptions, *, partitions: int | None, stop: Stop, tracing: "Tracing | None" = None
) -> Worker:
    """Put a worker together. Raises SetupError, UsageError where the servers do not fit."""
    if options.detects:
        load_calendar()
    client, count = open_both(where, partitions=partitions, role="worker")

    def make() -> Worker:
        return Worker(
            options,
            database=Database(
                where.servers.database_url, name=f"tickstock-worker {options.consumer}", of_loop=True, by_keys=True
            ),
            client=client,
            redis_url=where.servers.redis_url,
            partitions=count,
            stop=stop,
            tracing=tracing,
        )

    return wait_for_server(make, where.connect_timeout_s)
