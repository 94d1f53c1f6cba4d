"""The table `run`. Any process may add a run; only the coordinator advances it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from ...contracts.daily.schedule import LATE
from ...contracts.errors import TickStockError
from ...contracts.runs import RunParameters, RunStatus, WantedRun, parameters_of
from ..postgres import Connection
from ..queries import query


class RunAlive(TickStockError):
    """Another daily run is active, and only one may be: name that run, and start none."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(
            f"run {run_id} is active: `tickstock run show` shows its progress, `tickstock run cancel` ends it"
        )
        self.run_id = run_id


class AlreadyAsked(TickStockError):
    """A run was added with the same idempotency key: answer with that run if its day is right, and start none."""

    def __init__(self, run_id: UUID, run_date: date, created_at: datetime) -> None:
        super().__init__(f"run {run_id} was started with this idempotency key")
        self.run_id, self.run_date, self.created_at = run_id, run_date, created_at


class OtherAsked(TickStockError):
    """Another request had the same idempotency key: its run is not an answer to this one."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"this Idempotency-Key was used for another request, run {run_id}: choose another key")


class Processing(NamedTuple):
    """The active daily run, with its progress. ended_symbols, all_symbols: of the open phase's steps.

    is_coordinated: a coordinator has advanced it within the last minute, or it was added within the last minute.
    """

    run_id: UUID
    status: RunStatus
    phases: list[str]
    phase: str | None
    began_at: datetime
    symbols: int
    ended_symbols: int
    all_symbols: int
    is_coordinated: bool
    at: datetime

    @property
    def phase_share(self) -> float:
        """Return how much of the open phase is done, 0..1."""
        return self.ended_symbols / self.all_symbols if self.all_symbols else 0.0

    @property
    def share(self) -> float:
        """Return how much of the run is done, 0..1: all phases have the same weight."""
        if self.phase not in self.phases:
            return 0.0
        return (self.phases.index(self.phase) + self.phase_share) / len(self.phases)

    @property
    def ends_at(self) -> datetime | None:
        """Estimate the end from the pace until now; None if nothing is done yet."""
        return self.at + (self.at - self.began_at) * ((1 - self.share) / self.share) if self.share else None


class AliveRun(NamedTuple):
    """The active daily run, locked. now_s: Unix seconds by the database's clock."""

    run_id: UUID
    run_date: date
    trigger: str
    universe: str
    phases: list[Any]
    parameters: RunParameters
    status: RunStatus
    phase: Any
    symbols: list[str] | None
    original_run_id: UUID | None
    runs_s: float
    phase_s: float
    now_s: float


class RunRow(NamedTuple):
    """A run, as shown to people. due_at: when an automatic run was due; None for other runs."""

    run_id: UUID
    run_date: date
    trigger: str
    universe: str
    phases: list[str]
    status: RunStatus
    phase: str | None
    requested_by: str
    original_run_id: UUID | None
    symbols_processed: int
    symbols_failed: int
    indicators: int
    patterns: int
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    symbols: int
    due_at: datetime | None

    @property
    def is_late(self) -> bool:
        """Tell whether it is an automatic run that was added late."""
        return self.due_at is not None and self.created_at - self.due_at > LATE


class RunTotals(NamedTuple):
    """The totals of a run, at its end."""

    symbols_processed: int
    symbols_failed: int
    indicators: int
    patterns: int


class PinnedRun(NamedTuple):
    """The part of a run that its steps need. It is the same for every step and every attempt."""

    run_date: date
    parameters: RunParameters
    definitions: Any
    symbols: list[str]
    days_again: list[date]


class SymbolFailure(NamedTuple):
    """A symbol that failed in a run; `*`: a request for all symbols at once failed."""

    symbol: str
    phase: str
    why: str


def add_run(connection: Connection, run_id: UUID, wanted: WantedRun) -> bool:
    """Add a run that waits for the coordinator.

    Return False for an automatic run if its day has one already. Raises RunAlive, AlreadyAsked,
    OtherAsked.
    """
    values = wanted._asdict() | {
        "run_id": run_id,
        "phases": list(wanted.phases),
        "parameters": Jsonb(msgspec.to_builtins(wanted.parameters)),
    }
    while connection.execute(query("add_run"), values).fetchone() is None:
        if (same := connection.execute(query("run_of_key"), values).fetchone()) is not None:
            run_id, is_same, run_date, created_at = same
            raise AlreadyAsked(run_id, run_date, created_at) if is_same else OtherAsked(run_id)
        if (alive := alive_run_id(connection)) is not None:
            raise RunAlive(alive)
        if wanted.trigger == "automatic":
            return False
        # The conflicting run has just ended: the next try succeeds.
    connection.execute(query("tell_runs_changed"))
    return True


def alive_run_id(connection: Connection) -> UUID | None:
    """Return the active daily run."""
    row = connection.execute(query("run_alive")).fetchone()
    return None if row is None else row[0]


def read_processing(connection: Connection, coordinator: str) -> Processing | None:
    """Return the active daily run with its progress. coordinator: the unit of the coordinator's lease."""
    row = connection.execute(query("processing"), {"unit": coordinator}).fetchone()
    return None if row is None else Processing(*row)


def latest_daily_run_id(connection: Connection) -> UUID | None:
    """Return the daily run that was added last."""
    row = connection.execute(query("latest_daily_run")).fetchone()
    return None if row is None else row[0]


def cancel_run(connection: Connection) -> UUID | None:
    """Request the end of the active daily run; return it, or None if no run is active."""
    row = connection.execute(query("cancel_run")).fetchone()
    connection.execute(query("tell_runs_changed"))
    return None if row is None else row[0]


def lock_alive_run(connection: Connection) -> AliveRun | None:
    """Lock the active daily run until the transaction ends."""
    row = connection.execute(query("lock_run_alive")).fetchone()
    if row is None:
        return None
    run = AliveRun(*row)
    return run._replace(parameters=parameters_of(run.parameters))


def begin_run(connection: Connection, run_id: UUID, symbols: Sequence[str], definitions: object) -> None:
    """Record a run's symbols and definitions at its start."""
    values = {"run_id": run_id, "symbols": list(symbols), "definitions": Jsonb(msgspec.to_builtins(definitions))}
    connection.execute(query("begin_run"), values)


def add_note(connection: Connection, run_id: UUID, note: str) -> None:
    """Record what a run leaves out, and why."""
    connection.execute(query("add_note"), {"run_id": run_id, "note": note})


def notes_of(connection: Connection, run_id: UUID) -> list[str]:
    """Return the notes of a run: what it left out, and why."""
    row = connection.execute(query("notes_of_run"), {"run_id": run_id}).fetchone()
    return [] if row is None else row[0]


def look_again(connection: Connection, run_id: UUID, days: Sequence[date]) -> None:
    """Record the earlier days that a run processes once more."""
    connection.execute(query("look_again"), {"run_id": run_id, "days": list(days)})


def open_phase(connection: Connection, run_id: UUID, phase: str) -> None:
    """Record the phase that opens now."""
    connection.execute(query("open_phase"), {"run_id": run_id, "phase": phase})


def end_run(connection: Connection, run_id: UUID, status: RunStatus, totals: RunTotals, error: str | None) -> None:
    """End a run; its status does not change afterwards."""
    connection.execute(query("end_run"), {"run_id": run_id, "status": status, "error": error, **totals._asdict()})


def read_pinned_run(connection: Connection, run_id: UUID) -> PinnedRun:
    """Return what begin_run recorded. Raises LookupError if the run does not exist."""
    row = connection.execute(query("read_pinned_run"), {"run_id": run_id}).fetchone()
    if row is None:
        raise LookupError(f"there is no run {run_id}")
    run_date, parameters, definitions, symbols, days_again = row
    return PinnedRun(run_date, parameters_of(parameters), definitions, symbols or [], days_again)


def list_runs(
    connection: Connection, *, run_id: UUID | None = None, days: int | None = None, limit: int = 50
) -> list[RunRow]:
    """Return runs, newest first. days: only those added within this number of days."""
    values = {"run_id": run_id, "days": days, "limit": limit}
    return [RunRow(*row) for row in connection.execute(query("runs"), values)]


def failures_of(connection: Connection, run_id: UUID) -> list[SymbolFailure]:
    """Return the failed symbols of a run."""
    return [SymbolFailure(*row) for row in connection.execute(query("failures_of_run"), {"run_id": run_id})]


def symbols_to_retry(connection: Connection, run_id: UUID) -> list[str]:
    """Return the symbols of a run that are not done."""
    return [symbol for (symbol,) in connection.execute(query("failed_symbols_of_run"), {"run_id": run_id})]


def symbols_of_runs(connection: Connection, last: date) -> list[str]:
    """Return every symbol with bars of minutes or days in the year before a day."""
    return [symbol for (symbol,) in connection.execute(query("symbols_of_runs"), _year_before(last))]


def symbols_without_bars(connection: Connection, symbols: Sequence[str], last: date) -> list[str]:
    """Return those of the given symbols that have no 1-minute or daily bars in the year before a day."""
    values = {"symbols": list(set(symbols)), **_year_before(last)}
    return [symbol for (symbol,) in connection.execute(query("symbols_without_bars"), values)]


def _year_before(last: date) -> dict[str, date]:
    return {"first": last - timedelta(days=366), "last": last + timedelta(days=2)}
