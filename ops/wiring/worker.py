"""Make a worker."""

from typing import TYPE_CHECKING

import structlog

from ...contracts.market_hours import half_days
from ...db.postgres import Database
from ...db.redis import Client
from ...db.streams.frame_stream import groups_of
from ...workers.worker import Worker
from ...workers.worker_options import WorkerOptions
from ..process.shutdown import Stop
from .servers import Place, open_both, wait_for_server

if TYPE_CHECKING:  # imports optional packages
    from ...workers.commit.tracing import Tracing


log = structlog.get_logger()


def make_worker(
    where: Place, options: WorkerOptions, *, partitions: int | None, stop: Stop, tracing: "Tracing | None" = None
) -> Worker:
    """Make a worker. Raises SetupError, UsageError if the servers do not fit."""
    if options.detects:
        half_days()  # compute them now: the close of the first bar must not wait for them
    client, count = open_both(where, partitions=partitions, role="worker")

    def make() -> Worker:
        _warn_of_other_groups(client, count, options.group)
        return Worker(
            options,
            database=Database(
                where.servers.database_url, name=f"tickstock-worker {options.consumer}", main_loop=True, by_keys=True
            ),
            client=client,
            redis_url=where.servers.redis_url,
            partitions=count,
            stop=stop,
            tracing=tracing,
        )

    return wait_for_server(make, where.connect_timeout_s)


def _warn_of_other_groups(client: Client, partitions: int, group: str) -> None:
    """Warn if the stream has a group with another name: its workers share these partitions with ours."""
    others = sorted(groups_of(client, partitions) - {group})
    if others:
        log.warning(
            "the stream has another consumer group",
            group=group,
            others=others,
            means="all workers of a database share its partitions, whatever their group is",
            do=f"start all of them with one --group; XGROUP DESTROY one that none uses ({', '.join(others)})",
        )
