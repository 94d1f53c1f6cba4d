"""The calls of /api/backtests: start, list, show and cancel backtests."""

from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from ....contracts.errors import UsageError
from ....contracts.market_hours import day_of
from ....db.look.database_clock import database_now
from ....db.postgres import Connection
from ....db.tables.backtests import BacktestJob, list_backtests
from ....workers.backtest.jobs.kept_report import figures_of, read_equity, read_trades
from ....workers.backtest.jobs.said import flat
from ....workers.backtest.report import Figures
from ...jobs.backtests import (
    backtest_named,
    cancel_backtest,
    progress_of,
    start_backtest,
)
from ..parameters import Days, FewerLimit, IdempotencyKey
from ..refusals import WRITE, refusals
from ..service import Shared
from .answers import (
    Backtest,
    BacktestCancelled,
    BacktestReport,
    Backtests,
    BacktestStarted,
    BacktestWanted,
    EquityPoint,
)

REQUESTED_BY = "api"
_ONE = "/{job_id:path}"  # an id may contain a slash; what is given begins with one
_NOT_METRICS = ("request",)
TradeLimit = Annotated[int, QueryParameter(ge=0, le=10_000, description="Return at most so many trades.")]
After = Annotated[int, QueryParameter(ge=0, le=2**31 - 1, description="Skip the first so many trades.")]


class BacktestCalls(Controller):
    """Calls for backtests that `tickstock-jobs` processes run."""

    path = "/api/backtests"
    tags = ("backtests",)

    @post("/", status_code=200, responses=refusals(*WRITE, 409), sync_to_thread=True)
    def start(
        self, service: Shared, data: JSONBody[BacktestWanted | None] = None, idempotency_key: IdempotencyKey = None
    ) -> BacktestStarted:
        """Start a backtest."""
        if data is None:
            raise UsageError("symbols, patterns, start_date and end_date are needed")
        job_id = data.job_id or (idempotency_key and f"backtest_{uuid5(NAMESPACE_URL, idempotency_key).hex}")
        with service.database.connection() as connection:
            one = start_backtest(connection, msgspec.to_builtins(data), requested_by=REQUESTED_BY, job_id=job_id)
        return BacktestStarted(
            job_id=one.job_id, run_id=one.run_id, status=one.status, message=f"Backtest {one.job_id} is {one.status}"
        )

    @get("/", responses=refusals(400, 422, 503), sync_to_thread=True)
    def ls(self, service: Shared, days: Days = 90, limit: FewerLimit = 50) -> Backtests:
        """List the backtests that were added in the last `days` days, the newest first."""
        with service.database.connection() as connection:
            found = list_backtests(connection, days=days, limit=limit)
            today = day_of(database_now(connection))
        return Backtests(today=today, backtests=[_shown(one) for one in found])

    @get(
        _ONE,
        operation_id="get_api_backtest",
        responses=refusals(400, 404, 422, 503),
        sync_to_thread=True,
    )
    def show(
        self, service: Shared, job_id: FromPath[str], trades: TradeLimit = 1000, after: After = 0
    ) -> BacktestReport:
        """Show a backtest: its metrics, its trades in the order of their entries, and its equity."""
        with service.database.connection() as connection:
            return _report(connection, backtest_named(connection, job_id.removeprefix("/")), trades, after)

    @delete(
        _ONE,
        operation_id="delete_api_backtest",
        status_code=200,
        responses=refusals(401, 404, 409, 503),
        sync_to_thread=True,
    )
    def cancel(self, service: Shared, job_id: FromPath[str]) -> BacktestCancelled:
        """Cancel a backtest that has not ended."""
        job_id = job_id.removeprefix("/")
        with service.database.connection() as connection:
            cancel_backtest(connection, job_id)
        return BacktestCancelled(job_id=job_id, message=f"Backtest {job_id} is being cancelled")


def _report(connection: Connection, one: BacktestJob, trades: int, after: int) -> BacktestReport:
    rows = read_trades(connection, one.run_id, after=after, limit=trades)
    points = read_equity(connection, one.run_id)
    return BacktestReport(
        backtest=_shown(one),
        metrics=None if one.figures is None else _metrics(figures_of(one.figures)),
        trades=[*rows],
        equity=[EquityPoint(**msgspec.structs.asdict(point)) for point in points],
    )


def _metrics(figures: Figures) -> dict[str, Any]:
    every: dict[str, Any] = msgspec.to_builtins(figures)
    return {name: value for name, value in every.items() if name not in _NOT_METRICS}


def _shown(one: BacktestJob) -> Backtest:
    request, began = one.request or {}, one.started_at or one.created_at
    return Backtest(
        job_id=one.job_id,
        run_id=one.run_id,
        status=one.status,
        progress=round(100 * progress_of(one), 1),
        requested_by=one.requested_by,
        symbols=request.get("symbols", []),
        patterns=request.get("patterns", []),
        start_date=request.get("start"),
        end_date=request.get("end"),
        timeframe=request.get("timeframe"),
        parameters=request.get("rules", {}),
        created_at=one.created_at,
        start_time=one.started_at,
        end_time=one.ended_at,
        duration_seconds=(one.ended_at - began).total_seconds() if one.ended_at else None,
        error=one.error,
        results=None if one.figures is None else dict(flat(figures_of(one.figures))),
    )
