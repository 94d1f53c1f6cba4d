"""Backtests in the database: load the 1-minute bars that a backtest reads, and store its results."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from ...contracts.runs import RunStatus
from ...contracts.ticks import Column
from ..postgres import Connection
from ..queries import query
from .bars import COPY_HEADER, COPY_TRAILER

_VALUES = ("open", "high", "low", "close", "volume")
_LOADED = np.dtype(
    [("fields", ">i2"), ("number bytes", ">i4"), ("number", ">i4"), ("minute bytes", ">i4"), ("minute", ">i4")]
    + [(name + kind, form) for name in _VALUES for kind, form in ((" bytes", ">i4"), ("", ">f8"))]
)


def load_minutes(connection: Connection, symbols: Sequence[str], first: datetime, end: datetime) -> Column:
    """Load the 1-minute bars that begin in [first, end), sorted by symbol, then time.

    Returns an array of number (the symbol's place, from 1), minute (since 1970), open, high, low, close, volume.
    """
    values = {"symbols": list(symbols), "first": first, "end": end}
    with connection.cursor().copy(query("load_minutes"), values) as copy:
        loaded = b"".join(copy)
    return np.frombuffer(loaded[len(COPY_HEADER) : -len(COPY_TRAILER)], _LOADED)


def unknown_symbols(connection: Connection, symbols: Sequence[str]) -> list[str]:
    """Return those of the given symbols that the table `symbols` does not have."""
    return [symbol for (symbol,) in connection.execute(query("unknown_symbols"), {"symbols": list(symbols)})]


def add_part(connection: Connection, run_id: UUID, batch: int, found: bytes) -> None:
    """Store the signals and bars that a step found, until the last step trades them."""
    connection.execute(query("add_backtest_part"), {"run_id": run_id, "batch": batch, "found": found})


def parts_of(connection: Connection, run_id: UUID) -> list[bytes]:
    """Return the stored signals and bars of each step, in the order of the batches."""
    return [found for (found,) in connection.execute(query("backtest_parts"), {"run_id": run_id}, binary=True)]


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
