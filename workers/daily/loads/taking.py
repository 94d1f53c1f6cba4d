"""Store a message that asks for a data load, or that cancels one, as a row."""

import structlog

from ....contracts.daily.load import read_cancel, read_load
from ....contracts.errors import UsageError
from ....contracts.market_hours import day_of
from ....db.look.database_clock import database_now
from ....db.postgres import Connection
from ....db.sessions import market_closures
from ....db.tables.jobs import cancel_job
from ....db.tables.loads import add_load
from ....db.world import World
from ..market_days import latest_session

log = structlog.get_logger()


class TakeLoad:
    """Takes messages of `tickstock.jobs.data_load`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, connection: Connection, body: bytes) -> None:
        """Add the load. If it cannot be done, add it as failed, and raise UsageError."""
        asked = read_load(body)
        day = latest_session(database_now(connection), market_closures(connection)).day
        if add_load(connection, self._world.uuid(), asked, day):
            log.info("data load requested", job_id=asked.job_id, requested_by=asked.requested_by)
        if asked.why is not None:
            raise UsageError(f"job {asked.job_id}: {asked.why}")


class TakeControl:
    """Takes messages of `tickstock.jobs.control`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, connection: Connection, body: bytes) -> None:
        """Cancel a job. Raises UsageError."""
        job_id = read_cancel(body)
        cancel_job(connection, self._world.uuid(), "data_load", job_id, day_of(database_now(connection)))
        log.info("cancel of a job requested", job_id=job_id)
