"""/api/processing: start, watch, cancel and retry runs."""

from datetime import date

from litestar import Controller, delete, get, post
from litestar.params import JSONBody

from ...contracts.errors import NothingFound, UsageError
from ...contracts.messages.processing_events import PhaseName
from ...contracts.runs import EVERY_UNIVERSE, RunParameters, phases_of
from ...db.tables.runs import RunRow, cancel_run, list_runs
from ..jobs.known_names import symbols_of_universes, universe_named
from ..jobs.runs import check_names, day_of_run, retry_run, start_run
from .answers import (
    Cancelled,
    History,
    HistoryRun,
    ImportTrigger,
    IndicatorTrigger,
    ManualTrigger,
    PatternTrigger,
    ProcessingStatus,
    Retry,
    Started,
)
from .parameters import Days, IdempotencyKey
from .refusals import WRITE, refusals
from .service import Service, Shared

REQUESTED_BY = "api"
_MOST_RUNS = 1000
_GOOD = "success"  # the application's word for `completed`


class Processing(Controller):
    """Daily runs."""

    path = "/api/processing"
    tags = ("processing",)

    @post("/trigger-manual", status_code=200, responses=refusals(*WRITE, 409), sync_to_thread=True)
    def trigger_manual(
        self, service: Shared, data: JSONBody[ManualTrigger | None] = None, idempotency_key: IdempotencyKey = None
    ) -> Started:
        """Start a daily run."""
        wanted = data or ManualTrigger()
        phases = phases_of(wanted.phases or ("all",))
        parameters = RunParameters(skip_market_check=wanted.skip_market_check)
        return start(service, phases, parameters, wanted.universe, wanted.run_date, idempotency_key)

    @post("/trigger-import", status_code=200, responses=refusals(*WRITE, 409), sync_to_thread=True)
    def trigger_import(
        self, service: Shared, data: JSONBody[ImportTrigger | None] = None, idempotency_key: IdempotencyKey = None
    ) -> Started:
        """Start a run that only imports daily bars, and makes the weekly and monthly ones."""
        wanted = data or ImportTrigger()
        names = wanted.universes or [EVERY_UNIVERSE]
        symbols = None
        if len(names) > 1:
            with service.database.connection() as connection:
                symbols = symbols_of_universes(connection, names)
        parameters = RunParameters(
            timeframes=_some(wanted.timeframes), symbols=symbols, lookback_days=wanted.lookback_days
        )
        universe = names[0] if len(names) == 1 else EVERY_UNIVERSE
        return start(service, ("import",), parameters, universe, None, idempotency_key)

    @post("/trigger-indicators", status_code=200, responses=refusals(*WRITE, 409), sync_to_thread=True)
    def trigger_indicators(
        self, service: Shared, data: JSONBody[IndicatorTrigger | None] = None, idempotency_key: IdempotencyKey = None
    ) -> Started:
        """Start a run that only calculates indicators."""
        wanted = data or IndicatorTrigger()
        parameters = RunParameters(
            timeframes=(wanted.timeframe,) if wanted.timeframe else None,
            symbols=_some(wanted.symbols),
            indicators=_some(wanted.indicators),
        )
        return start(service, ("indicators",), parameters, None, None, idempotency_key)

    @post("/trigger-patterns", status_code=200, responses=refusals(*WRITE, 409), sync_to_thread=True)
    def trigger_patterns(
        self, service: Shared, data: JSONBody[PatternTrigger | None] = None, idempotency_key: IdempotencyKey = None
    ) -> Started:
        """Start a run that only detects patterns."""
        wanted = data or PatternTrigger()
        parameters = RunParameters(
            timeframes=(wanted.timeframe,) if wanted.timeframe else None,
            symbols=_some(wanted.symbols),
            patterns=_some(wanted.patterns),
        )
        return start(service, ("patterns",), parameters, None, None, idempotency_key)

    @post("/retry-imports", status_code=200, responses=refusals(*WRITE, 404, 409), sync_to_thread=True)
    def retry_imports(
        self, service: Shared, data: JSONBody[Retry | None] = None, idempotency_key: IdempotencyKey = None
    ) -> Started:
        """Start a run with the failed symbols of another run."""
        if data is None:
            raise UsageError("original_run_id is missing: name the run to retry")
        with service.database.connection() as connection:
            run_id = retry_run(connection, data.original_run_id, data.symbols, REQUESTED_BY, idempotency_key)
        return Started(run_id=run_id, message=f"Retry of run {data.original_run_id} started")

    @get("/status")
    async def status(self, service: Shared) -> ProcessingStatus:
        """Read the state of the active run."""
        return await service.processing.soon()

    @get("/history", responses=refusals(422, 503), sync_to_thread=True)
    def history(self, service: Shared, days: Days = 7) -> History:
        """List the runs of the last days, newest first."""
        with service.database.connection() as connection:
            return History(runs=[_history_run(run) for run in list_runs(connection, days=days, limit=_MOST_RUNS)])

    @delete("/cancel", status_code=200, responses=refusals(401, 404, 503), sync_to_thread=True)
    def cancel(self, service: Shared) -> Cancelled:
        """Cancel the active run. Its finished steps stay."""
        with service.database.connection() as connection:
            run_id = cancel_run(connection)
        if run_id is None:
            raise NothingFound("no run is active: there is nothing to cancel")
        return Cancelled(run_id=run_id, message=f"Run {run_id} is being cancelled")


def start(  # the parts of a request
    service: Service,
    phases: tuple[PhaseName, ...],
    parameters: RunParameters,
    universe: str | None,
    day: date | None,
    idempotency_key: str | None,
) -> Started:
    """Start a run. Raises UsageError if a name is unknown; RunAlive if another run is active."""
    with service.database.connection() as connection:
        run_date = day_of_run(connection, day, skip_market_check=parameters.skip_market_check)
        named = universe_named(connection, universe or EVERY_UNIVERSE)
        check_names(connection, parameters, run_date)
        run_id = start_run(
            connection,
            run_date=run_date,
            universe=named,
            phases=phases,
            parameters=parameters,
            requested_by=REQUESTED_BY,
            idempotency_key=idempotency_key,
            day_is_given=day is not None,
        )
    return Started(run_id=run_id)


def _some(names: list[str] | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(names)) if names else None


def _history_run(run: RunRow) -> HistoryRun:
    began = run.started_at or run.created_at
    return HistoryRun(
        run_id=run.run_id,
        run_date=run.run_date,
        trigger_type=run.trigger,
        start_time=began,
        end_time=run.ended_at,
        status=_GOOD if run.status == "completed" else run.status,
        phases=run.phases,
        universe=run.universe,
        symbols_processed=run.symbols_processed,
        symbols_failed=run.symbols_failed,
        patterns_detected=run.patterns,
        indicators_calculated=run.indicators,
        duration_seconds=(run.ended_at - began).total_seconds() if run.ended_at else None,
        error=run.error,
    )
