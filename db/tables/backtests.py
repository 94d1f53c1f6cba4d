"""Backtests in the database: load the 1-minute bars that a backtest reads, and store its results."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from ...contracts.runs import RunStatus
from ...contracts.ticks import Column
from ..arrays import numbers_of
from ..postgres import Connection
from ..queries import query


class SymbolMinutes(NamedTuple):
    """The 1-minute bars of one symbol as columns, oldest first. number: its place, from 1. minute: since 1970.

    Prices in dollars, volume in shares: float64.
    """

    number: int
    minute: Column
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column


def load_minutes(connection: Connection, symbols: Sequence[str], first: datetime, end: datetime) -> list[SymbolMinutes]:
    """Load the 1-minute bars that begin in [first, end); symbols without bars are left out.

    A row has all bars of a symbol: psycopg takes as long for a row of one bar as detectors take for the bar.
    """
    values = {"symbols": list(symbols), "first": first, "end": end}
    rows = connection.execute(query("load_minutes"), values, binary=True).fetchall()
    return [_symbol_minutes(number, minute, columns) for number, minute, *columns in sorted(rows) if minute]


def _symbol_minutes(number: int, minute: bytes, columns: Sequence[bytes]) -> SymbolMinutes:
    minutes = numbers_of(minute, ">i4")
    order = slice(None) if (minutes[1:] > minutes[:-1]).all() else np.argsort(minutes)
    return SymbolMinutes(number, minutes[order], *(numbers_of(column, ">f8")[order] for column in columns))


def unknown_symbols(connection: Connection, symbols: Sequence[str]) -> list[str]:
    """Return those of the given symbols that the table `symbols` does not have."""
    return [symbol for (symbol,) in connection.execute(query("unknown_symbols"), {"symbols": list(symbols)})]


def add_part(connection: Connection, run_id: UUID, batch: int, found: bytes) -> None:
    """Store the signals and bars that a step found, until the last step trades them."""
    connection.execute(query("add_backtest_part"), {"run_id": run_id, "batch": batch, "found": found})


def parts_of(connection: Connection, run_id: UUID, go_on: Callable[[], object]) -> Iterator[bytes]:
    """Yield the stored signals and bars of each step, in the order of the batches; call go_on before each."""
    after = -1
    while True:
        go_on()
        values = {"run_id": run_id, "after": after}
        row = connection.execute(query("next_backtest_part"), values, binary=True).fetchone()
        if row is None:
            return
        after, found = row
        yield found


def drop_parts(connection: Connection, run_id: UUID) -> None:
    """Delete the signals and bars of all steps: the run has traded them, or it has ended."""
    connection.execute(query("drop_backtest_parts"), {"run_id": run_id})


def add_result(
    connection: Connection, run_id: UUID, figures: str, trades: Iterable[Sequence[Any]], points: Iterable[Sequence[Any]]
) -> None:
    """Add the result of a backtest: its figures as JSON, its trades in order, and the points of its equity curve."""
    connection.execute(query("add_backtest_result"), {"run_id": run_id, "figures": figures})
    with connection.cursor().copy(query("add_backtest_trades")) as copy:
        for number, trade in enumerate(trades, 1):
            copy.write_row((run_id, number, *trade))
    with connection.cursor().copy(query("add_backtest_equity")) as copy:
        for point in points:
            copy.write_row((run_id, *point))


def drop_result(connection: Connection, run_id: UUID) -> None:
    """Delete the result of a backtest."""
    connection.execute(query("drop_backtest_result"), {"run_id": run_id})


def figures_of(connection: Connection, run_id: UUID) -> str | None:
    """Return the figures of a backtest, as the JSON text that was stored; None if it has none."""
    row = connection.execute(query("backtest_figures"), {"run_id": run_id}).fetchone()
    return None if row is None else row[0]


def trades_of(connection: Connection, run_id: UUID, after: int, limit: int) -> list[tuple[Any, ...]]:
    """Return at most `limit` trades in their order, without the first `after` trades."""
    return connection.execute(query("backtest_trades"), {"run_id": run_id, "after": after, "limit": limit}).fetchall()


def equity_of(connection: Connection, run_id: UUID) -> list[tuple[Any, ...]]:
    """Return the points of the equity curve, sorted by time."""
    return connection.execute(query("backtest_equity"), {"run_id": run_id}).fetchall()


class BacktestJob(NamedTuple):
    """A backtest as lists show it.

    done: the number of symbols whose signals are found. every: the number of all its symbols. figures: JSON as stored.
    """

    run_id: UUID
    job_id: str
    status: RunStatus
    phase: str | None
    requested_by: str
    request: Any
    error: str | None
    notes: list[str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    done: int
    every: int
    figures: str | None


def list_backtests(
    connection: Connection, *, job_id: str | None = None, days: int | None = None, limit: int = 50
) -> list[BacktestJob]:
    """Return backtests, the newest first. days: only backtests that were added in the last so many days."""
    values = {"job_id": job_id, "days": days, "limit": limit}
    return [BacktestJob(*row) for row in connection.execute(query("backtests"), values)]
