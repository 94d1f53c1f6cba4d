"""Runs as they are kept: rows of `run`, which any process may add, and the coordinator alone moves on."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from ...contracts.errors import TickStockError
from ...contracts.runs import RunParameters, Status, WantedRun, parameters_of
from ..postgres import Connection
from ..queries import query


class RunAlive(TickStockError):
    """Another daily run is alive, and only one may be: show which, and start none."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"run {run_id} is alive: `tickstock run show` says how far it is, `run cancel` ends it")
        self.run_id = run_id


class AlreadyAsked(TickStockError):
    """A run was added under the same idempotency key: answer with that one, and start none."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"run {run_id} was started under this idempotency key")
        self.run_id = run_id


class Processing(NamedTuple):
    """The daily run that is alive, as people watch it. ended_symbols, all_symbols: of the open phase's steps.

    is_coordinated: somebody has moved it on within the last minute, or it is younger than that.
    """

    run_id: UUID
    status: Status
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
        """Return how much of the run is done, 0..1: each of its phases counts the same."""
        if self.phase not in self.phases:
            return 0.0
        return (self.phases.index(self.phase) + self.phase_share) / len(self.phases)

    @property
    def ends_at(self) -> datetime | None:
        """Return when it ends if it goes on like this; None where nobody can know."""
        return self.at + (self.at - self.began_at) * ((1 - self.share) / self.share) if self.share else None


class AliveRun(NamedTuple):
    """The daily run that is alive, locked. now_s: Unix seconds by the database's clock."""

    run_id: UUID
    run_date: date
    trigger: str
    universe: str
    phases: list[Any]
    parameters: RunParameters
    status: Status
    phase: Any
    symbols: list[str] | None
    original_run_id: UUID | None
    runs_s: float
    phase_s: float
    now_s: float


class RunRow(NamedTuple):
    """A run as people ask for it."""

    run_id: UUID
    run_date: date
    trigger: str
    universe: str
    phases: list[str]
    status: Status
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


class RunTotals(NamedTuple):
    """What a run did, when it ends."""

    symbols_processed: int
    symbols_failed: int
    indicators: int
    patterns: int


class PinnedRun(NamedTuple):
    """What a step must know of its run: the same for each step, and for each that does it again."""

    run_date: date
    parameters: RunParameters
    definitions: Any


class SymbolFailure(NamedTuple):
    """A symbol that a run could not do."""

    symbol: str
    phase: str
    why: str


def add_run(connection: Connection, run_id: UUID, wanted: WantedRun) -> bool:
    """Add a run that waits for the coordinator.

    Return False where it is an automatic one, and its day had one. Raises RunAlive, AlreadyAsked.
    """
    values = wanted._asdict() | {
        "run_id": run_id,
        "phases": list(wanted.phases),
        "parameters": Jsonb(msgspec.to_builtins(wanted.parameters)),
    }
    while connection.execute(query("add_run"), values).fetchone() is None:
        if (same := connection.execute(query("run_of_key"), values).fetchone()) is not None:
            raise AlreadyAsked(same[0])
        if (alive := alive_run_id(connection)) is not None:
            raise RunAlive(alive)
        if wanted.trigger == "automatic":
            return False
        # The one that stood in the way has just ended: the next try meets it no more.
    connection.execute(query("tell_runs_changed"))
    return True


def alive_run_id(connection: Connection) -> UUID | None:
    """Return the daily run that is alive."""
    row = connection.execute(query("run_alive")).fetchone()
    return None if row is None else row[0]


def read_processing(connection: Connection, coordinator: str) -> Processing | None:
    """Return the daily run that is alive, and how far it is. coordinator: the unit of its lease."""
    row = connection.execute(query("processing"), {"unit": coordinator}).fetchone()
    return None if row is None else Processing(*row)


def cancel_run(connection: Connection) -> UUID | None:
    """Ask for the end of the daily run that is alive; return it, None where there is none."""
    row = connection.execute(query("cancel_run")).fetchone()
    connection.execute(query("tell_runs_changed"))
    return None if row is None else row[0]


def lock_alive_run(connection: Connection) -> AliveRun | None:
    """Lock the daily run that is alive, until the end of the transaction."""
    row = connection.execute(query("lock_run_alive")).fetchone()
    if row is None:
        return None
    run = AliveRun(*row)
    return run._replace(parameters=parameters_of(run.parameters))


def begin_run(connection: Connection, run_id: UUID, symbols: Sequence[str], definitions: object) -> None:
    """Pin what a run is about."""
    values = {"run_id": run_id, "symbols": list(symbols), "definitions": Jsonb(msgspec.to_builtins(definitions))}
    connection.execute(query("begin_run"), values)


def open_phase(connection: Connection, run_id: UUID, phase: str) -> None:
    """Note the phase that is open from now on."""
    connection.execute(query("open_phase"), {"run_id": run_id, "phase": phase})


def end_run(connection: Connection, run_id: UUID, status: Status, totals: RunTotals, error: str | None) -> None:
    """End a run: its status does not change any more."""
    connection.execute(query("end_run"), {"run_id": run_id, "status": status, "error": error, **totals._asdict()})


def read_pinned_run(connection: Connection, run_id: UUID) -> PinnedRun:
    """Return what was pinned at a run's start."""
    row = connection.execute(query("read_pinned_run"), {"run_id": run_id}).fetchone()
    if row is None:
        raise LookupError(f"there is no run {run_id}")
    run_date, parameters, definitions = row
    return PinnedRun(run_date, parameters_of(parameters), definitions)


def list_runs(
    connection: Connection, *, run_id: UUID | None = None, days: int | None = None, limit: int = 50
) -> list[RunRow]:
    """Return runs, the newest first. days: only those that were added within so many."""
    values = {"run_id": run_id, "days": days, "limit": limit}
    return [RunRow(*row) for row in connection.execute(query("runs"), values)]


def failures_of(connection: Connection, run_id: UUID) -> list[SymbolFailure]:
    """Return what a run could not do, by symbol."""
    return [SymbolFailure(*row) for row in connection.execute(query("failures_of_run"), {"run_id": run_id})]


def symbols_to_retry(connection: Connection, run_id: UUID) -> list[str]:
    """Return the symbols of a run that are not done."""
    return [symbol for (symbol,) in connection.execute(query("failed_symbols_of_run"), {"run_id": run_id})]


def symbols_of_runs(connection: Connection, last: date) -> list[str]:
    """Return every symbol that has bars of minutes or days in the year up to a day."""
    values = {"first": last - timedelta(days=366), "last": last + timedelta(days=2)}
    return [symbol for (symbol,) in connection.execute(query("symbols_of_runs"), values)]


def market_closures(connection: Connection) -> dict[date, time | None]:
    """Return the days that the calendar does not know: closed all day (None), or from a time in New York on."""
    return dict(connection.execute(query("market_closures")).fetchall())
