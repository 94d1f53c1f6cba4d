"""Start, watch and cancel backtests that `tickstock-jobs` processes run."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import msgspec

from ...contracts.errors import NothingFound
from ...contracts.market_hours import day_of
from ...db.look.database_clock import database_now
from ...db.postgres import Connection
from ...db.tables.backtests import BacktestJob, list_backtests
from ...db.tables.jobs import JobConflict, cancel_job
from ...workers.backtest.jobs.asked import Asked, request_of
from ...workers.backtest.jobs.moves import share_of
from ...workers.backtest.jobs.taking import add_backtest
from ...workers.backtest.report import Request

_LOOK_EVERY_S = 0.2


def start_backtest(
    connection: Connection, fields: Mapping[str, Any], *, requested_by: str, job_id: str | None
) -> BacktestJob:
    """Add a backtest, with the same fields as a message, and return it; return the existing one if it exists already.

    Raises UsageError if it cannot be done, and JobConflict if another job has this id.
    """
    now = database_now(connection)
    request = request_of(connection, fields, day_of(now))
    named = job_id or f"backtest_{now:%Y%m%d%H%M%S}_{uuid4().hex[:8]}"
    add_backtest(connection, uuid4(), Asked(named, requested_by, request), now)
    found = list_backtests(connection, job_id=named, limit=1)
    if not found or found[0].request is None or msgspec.convert(found[0].request, Request) != request:
        raise JobConflict(f"another job has the id {named}: choose another job_id")
    return found[0]


def fields_of(request: Request) -> dict[str, Any]:
    """Convert a request to the fields of a message."""
    rules: dict[str, Any] = msgspec.to_builtins(request.rules)
    return {
        "symbols": list(request.symbols),
        "patterns": list(request.patterns),
        "start_date": request.start,
        "end_date": request.end,
        "timeframe": request.timeframe,
        "parameters": {name: 0 if value is None else value for name, value in rules.items()},
    }


def backtest_named(connection: Connection, job_id: str) -> BacktestJob:
    """Return the backtest with this id. Raises NothingFound."""
    found = list_backtests(connection, job_id=job_id, limit=1)
    if not found:
        raise NothingFound(f"there is no backtest {job_id}")
    return found[0]


def cancel_backtest(connection: Connection, job_id: str) -> None:
    """Cancel a backtest. Raises NothingFound, and JobConflict if it has ended."""
    one = backtest_named(connection, job_id)
    if one.ended_at is not None:
        raise JobConflict(f"backtest {job_id} has ended already: {one.status}")
    cancel_job(connection, one.run_id, "backtest", job_id, day_of(database_now(connection)))


def watch_backtest(connection: Connection, job_id: str, wait: Callable[[float], object]) -> Iterator[BacktestJob]:
    """Yield the state of a backtest again and again, until it has ended."""
    while True:
        one = backtest_named(connection, job_id)
        yield one
        if one.ended_at is not None:
            return
        wait(_LOOK_EVERY_S)


def progress_of(one: BacktestJob) -> float:
    """Return the done share of a backtest, 0 to 1."""
    return 1.0 if one.status == "completed" else share_of(one.phase, one.done, one.every)
