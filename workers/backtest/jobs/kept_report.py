"""Write a report as rows, and read it from them: the same report, to the last bit of each number."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from ....db.postgres import Connection
from ....db.tables import backtests
from ..report import CurvePoint, Figures, Report, TradeRow

_EVERY = 2**31 - 1
_TIMES = ("entry_time", "exit_time")


def keep_report(connection: Connection, run_id: UUID, report: Report) -> None:
    """Add the rows of a report."""
    figures = msgspec.json.encode(report.figures).decode()
    trades = ([getattr(one, name) for name in TradeRow.__struct_fields__] for one in report.trade_list)
    points = ([getattr(one, name) for name in CurvePoint.__struct_fields__] for one in report.equity)
    backtests.add_result(connection, run_id, figures, trades, points)


def read_report(connection: Connection, run_id: UUID) -> Report | None:
    """Read the report of a run; return None if the run has no report."""
    text = backtests.figures_of(connection, run_id)
    if text is None:
        return None
    return figures_of(text).report([*read_trades(connection, run_id)], [*read_equity(connection, run_id)])


def figures_of(text: str) -> Figures:
    """Decode figures from their stored text."""
    return msgspec.json.decode(text, type=Figures)


def read_trades(connection: Connection, run_id: UUID, *, after: int = 0, limit: int = _EVERY) -> Iterator[TradeRow]:
    """Read trades in the order of their entries, without the first `after` trades."""
    for row in backtests.trades_of(connection, run_id, after, limit):
        values: dict[str, Any] = dict(zip(TradeRow.__struct_fields__, row, strict=True))
        yield TradeRow(**values | {name: _iso(values[name]) for name in _TIMES})


def read_equity(connection: Connection, run_id: UUID) -> Iterator[CurvePoint]:
    """Read the equity curve."""
    for time, equity, benchmark, exposure in backtests.equity_of(connection, run_id):
        yield CurvePoint(_iso(time), equity, benchmark, exposure)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
