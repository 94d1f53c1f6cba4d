"""Start and watch daily runs."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from ...contracts.daily.trading_days import session_on
from ...contracts.errors import NothingFound, UsageError
from ...contracts.market_hours import day_of
from ...contracts.messages.processing_events import PhaseName
from ...contracts.runs import RunParameters, Trigger, WantedRun
from ...contracts.timeframe import LONGER
from ...db.look.database_clock import database_now
from ...db.postgres import Connection
from ...db.queries import query
from ...db.sessions import market_closures
from ...db.tables import run_steps, runs
from ...db.tables.runs import AlreadyAsked, OtherAsked, RunAlive, RunRow
from ...workers.daily.coordinator import UNIT
from ...workers.daily.market_days import latest_session
from .known_names import known_indicators, known_patterns

_LOOK_EVERY_S = 0.2
_FIRST_DAY = date(1990, 1, 1)  # the same as for ticks


class RunProgress(NamedTuple):
    """The progress of a run. share: of its open phase, 0..1; eta_s: seconds until that phase ends, None: unknown."""

    run: RunRow
    share: float
    eta_s: float | None
    current_symbol: str | None
    is_coordinated: bool


def day_of_run(connection: Connection, day: date | None, *, skip_market_check: bool) -> date:
    """Return the day of a run: the given one, else the last day on which the market has opened.

    Raises UsageError if the market was closed on it, unless skip_market_check is set.
    """
    closures = market_closures(connection)
    now = database_now(connection)
    latest = latest_session(now, closures).day
    if day is None:
        return latest
    if not _FIRST_DAY <= day <= max(latest, day_of(now)):
        raise UsageError(f"{day} is in the future" if day > latest else f"{day} is before {_FIRST_DAY}")
    if not skip_market_check and session_on(day, closures) is None:
        raise UsageError(f"the market was closed on {day}: --skip-market-check starts a run for it anyway")
    return day


def check_names(connection: Connection, parameters: RunParameters, day: date) -> None:
    """Raise UsageError, with the known names, if a given name does not exist."""
    if unknown := sorted(set(parameters.timeframes or ()) - set(LONGER)):
        raise UsageError(f"there is no timeframe {unknown[0]}; there are: {', '.join(LONGER)}")
    if parameters.symbols and (unknown := runs.symbols_without_bars(connection, parameters.symbols, day)):
        raise UsageError(f"{len(unknown)} symbols have no bars: {', '.join(unknown[:5])}")
    known_indicators(connection).check(parameters.indicators or ())
    known_patterns(connection).check(parameters.patterns or ())


def start_run(  # noqa: PLR0913  # the parts of a request
    connection: Connection,
    *,
    run_date: date,
    universe: str,
    phases: tuple[PhaseName, ...],
    parameters: RunParameters,
    requested_by: str,
    trigger: Trigger = "manual",
    original_run_id: UUID | None = None,
    idempotency_key: str | None = None,
    day_is_given: bool = True,
) -> UUID:
    """Add a run; return its id, or the id of the run that was added before with the same key.

    day_is_given: False if the request names no day, and so means the last trading day at its time.
    Raises RunAlive; OtherAsked if that run was for another request.
    """
    run_id = uuid4()
    wanted = WantedRun(run_date, trigger, universe, phases, parameters, requested_by, original_run_id, idempotency_key)
    try:
        runs.add_run(connection, run_id, wanted)
    except AlreadyAsked as e:
        # A request without a day may be repeated on the next day: it meant the last trading day when it was first sent.
        meant = run_date if day_is_given else latest_session(e.created_at, market_closures(connection)).day
        if e.run_date != meant:
            raise OtherAsked(e.run_id) from e
        return e.run_id
    return run_id


def retry_run(
    connection: Connection,
    run_id: UUID,
    symbols: Sequence[str] | None,
    requested_by: str,
    idempotency_key: str | None = None,
) -> UUID:
    """Add a run for the failed symbols of another run, or for given ones; return its id.

    Raises NothingFound if there is no such run, or nothing to repeat; UsageError for an unknown symbol;
    RunAlive.
    """
    original = run_named(connection, run_id)
    if original.ended_at is None:
        raise RunAlive(run_id)
    again = tuple(symbols or runs.symbols_to_retry(connection, run_id))
    if not again:
        raise NothingFound(f"run {run_id} has no failed symbols")
    pinned = runs.read_pinned_run(connection, run_id)
    parameters = msgspec.structs.replace(pinned.parameters, symbols=again)
    if symbols:
        check_names(connection, parameters, original.run_date)
    phases: tuple[PhaseName, ...] = tuple(original.phases)  # type: ignore[arg-type]  # as they were checked then
    return start_run(
        connection,
        run_date=original.run_date,
        universe=original.universe,
        phases=phases,
        parameters=parameters,
        requested_by=requested_by,
        trigger="retry",
        original_run_id=run_id,
        idempotency_key=idempotency_key,
    )


def run_named(connection: Connection, run_id: UUID | None) -> RunRow:
    """Return a run, or the latest one. Raises NothingFound."""
    found = runs.list_runs(connection, run_id=run_id, limit=1)
    if not found:
        raise NothingFound(f"there is no run {run_id}" if run_id else "no runs yet: `tickstock run start` starts one")
    return found[0]


def progress_of(connection: Connection, run: RunRow) -> RunProgress:
    """Read the progress of a run."""
    state = run_steps.phase_state(connection, run.run_id, run.phase or "")
    share = state.ended_symbols / state.all_symbols if state.all_symbols else 0.0
    (seconds,) = connection.execute(query("phase_seconds"), {"run_id": run.run_id}).fetchone() or (None,)
    eta_s = seconds * (1 - share) / share if share and seconds is not None else None
    return RunProgress(run, share, eta_s, state.current_symbol, has_coordinator(connection))


def has_coordinator(connection: Connection) -> bool:
    """Tell whether a process `tickstock-jobs` runs that advances runs and jobs."""
    return connection.execute(query("lease_holder"), {"unit": UNIT}).fetchone() is not None


def watch_run(connection: Connection, run_id: UUID, wait: Callable[[float], object]) -> Iterator[RunProgress]:
    """Read the progress of a run again and again, until it has ended."""
    while True:
        run = run_named(connection, run_id)
        yield progress_of(connection, run)
        if run.ended_at is not None:
            return
        wait(_LOOK_EVERY_S)
