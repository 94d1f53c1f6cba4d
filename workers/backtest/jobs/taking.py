"""Store a message that asks for a backtest, or that cancels one, as a row."""

from datetime import datetime
from uuid import UUID

import structlog

from ....contracts.errors import UsageError
from ....contracts.market_hours import day_of
from ....db.look.database_clock import database_now
from ....db.postgres import Connection
from ....db.tables.jobs import NewJob, add_job, cancel_job
from ....db.tables.run_results import add_messages
from ....db.world import World
from .asked import Asked, read_backtest, read_cancel
from .moves import CANCELLED
from .said import failed_said
from .steps import PHASES

log = structlog.get_logger()


class TakeBacktest:
    """Takes messages of `tickstock.jobs.backtest`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, connection: Connection, body: bytes) -> None:
        """Add the backtest. If it cannot be done, add it as failed, and raise UsageError."""
        now = database_now(connection)
        asked = read_backtest(connection, body, day_of(now))
        if add_backtest(connection, self._world.uuid(), asked, now):
            log.info("backtest requested", job_id=asked.job_id, requested_by=asked.requested_by)
        if asked.why is not None:
            raise UsageError(f"job {asked.job_id}: {asked.why}")


class TakeCancel:
    """Takes messages of `tickstock.jobs.cancel`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, connection: Connection, body: bytes) -> None:
        """Cancel a backtest; publish the end at once if the backtest has not arrived yet. Raises UsageError."""
        job_id, now = read_cancel(body), database_now(connection)
        with connection.transaction():
            if not cancel_job(connection, self._world.uuid(), "backtest", job_id, day_of(now)):
                add_messages(connection, failed_said(job_id, CANCELLED, now_s=now.timestamp()))
        log.info("cancel of a job requested", job_id=job_id)


def add_backtest(connection: Connection, run_id: UUID, asked: Asked, now: datetime) -> bool:
    """Add a backtest; return False if the job exists already. If it cannot be done, add the message of its end, too."""
    job = NewJob(
        kind="backtest",
        job_id=asked.job_id,
        run_date=day_of(now),
        requested_by=asked.requested_by,
        request=asked.request,
        phases=PHASES,
        why=asked.why,
    )
    with connection.transaction():
        is_new = add_job(connection, run_id, job)
        if is_new and asked.why is not None:
            add_messages(connection, failed_said(asked.job_id, asked.why, now_s=now.timestamp()))
    return is_new
