"""Bars, patterns and indicators as polars frames, for notebooks: `frames.bars(symbols="AAPL", last=100)`.

Times are UTC, and of the start of a bar. `.to_pandas()` makes a frame of pandas of each. It needs the extra `frames`.
Each function takes the address of the database, `postgresql://USER:PASSWORD@HOST:PORT/NAME`; without one, that of
DATABASE_URL (or TICKSTOCK_DB_HOST and its like), as the commands do: of embedded servers, `tickstock urls` prints it.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from .contracts.errors import SetupError, UsageError
from .contracts.settings import servers_from
from .contracts.timeframe import INTRADAY
from .db import postgres, rows
from .db.schema.migrate import check_schema
from .ops.process.extras import how_to_install
from .ops.secrets.files import with_secrets

try:
    import polars as pl
except ImportError as e:
    raise ImportError(f"polars is not installed: {how_to_install('frames')}") from e

__all__ = ["bars", "indicators", "patterns"]

Moment = datetime | str | None  # without a zone it is UTC; text as 2026-03-02T14:30

_TIME = pl.Datetime("us", "UTC")
_BAR = {
    "symbol": pl.String,
    "timestamp": _TIME,
    **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64),
    "trade_count": pl.Int64,
    "vwap": pl.Float64,
    "provenance": pl.String,
}
_PATTERN = {
    "symbol": pl.String,
    "bar": _TIME,
    "timeframe": pl.String,
    "pattern": pl.String,
    "confidence": pl.Float64,
    "direction": pl.String,
    "price": pl.Float64,
    "volume": pl.Float64,
    "levels": pl.List(pl.Float64),
    "flow_id": pl.String,
}
_INDICATOR = {
    "symbol": pl.String,
    "bar": _TIME,
    "timeframe": pl.String,
    "indicator": pl.String,
    "output": pl.String,
    "value": pl.Float64,
}


def bars(
    database: str | None = None,
    *,
    symbols: str | Sequence[str] | None = None,
    timeframe: str = "1min",
    start: Moment = None,
    end: Moment = None,
    last: int | None = None,
) -> pl.DataFrame:
    """Return bars by symbol and time: symbol, timestamp, open, high, low, close, volume.

    1min bars also have trade_count, vwap and provenance (live, partial, replay, repair).
    start, end: range of the bars' starts, without the end. last: only this many bars of each symbol, the latest. Raises
    UsageError for a wrong argument, SetupError or ServerAway if the database cannot be used.
    """
    _expect_timeframe(timeframe)
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        columns = rows.select_bars(cursor, _values(symbols, start, end), timeframe)
        schema = {name: _BAR[name] for name in columns}
        table = ((symbol, at, *(_as_float(number) for number in numbers)) for symbol, at, *numbers in cursor)
        return _last(_frame(table, schema), ["symbol"], last)


def patterns(
    database: str | None = None,
    *,
    symbols: str | Sequence[str] | None = None,
    timeframe: str | None = None,
    start: Moment = None,
    end: Moment = None,
    last: int | None = None,
    names: str | Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the patterns that are not superseded, by symbol and time.

    direction: bullish, bearish or neutral; price, volume: close and volume of the bar; levels: the pattern's prices.
    timeframe, names: only these; None: all. The other arguments are those of `bars`.
    """
    _expect_timeframe(timeframe)
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        rows.select_patterns(cursor, _values(symbols, start, end), timeframe=timeframe, patterns=_names(names))
        return _last(_frame(map(rows.pattern_row, cursor), _PATTERN), ["symbol"], last)


def indicators(
    database: str | None = None,
    *,
    symbols: str | Sequence[str] | None = None,
    timeframe: str | None = None,
    start: Moment = None,
    end: Moment = None,
    last: int | None = None,
    names: str | Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the indicators' values, a row for each output: symbol, bar, timeframe, indicator, output, value.

    By symbol, timeframe, indicator and time. An indicator with one output has one row a bar, MACD three.
    last: rows of each output of each indicator and timeframe. The other arguments are those of `patterns`.
    """
    _expect_timeframe(timeframe)
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        rows.select_indicators(cursor, _values(symbols, start, end), timeframe=timeframe, indicators=_names(names))
        table = (one for row in cursor for one in _outputs(row))
        return _last(_frame(table, _INDICATOR), ["symbol", "timeframe", "indicator", "output"], last)


def _outputs(row: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
    *place, indicator, value, values = row
    if not isinstance(values, dict) or not values:
        return [(*place, indicator, indicator, value)]
    return [(*place, indicator, output, _as_float(number)) for output, number in values.items()]


def _frame(table: Iterable[tuple[Any, ...]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(table), schema, orient="row")


def _last(frame: pl.DataFrame, each: list[str], last: int | None) -> pl.DataFrame:
    return frame if last is None else frame.group_by(each, maintain_order=True).tail(last)


def _as_float(number: Any) -> float | str | None:
    return number if number is None or isinstance(number, str) else float(number)


def _connect(database: str | None) -> postgres.Connection:
    if database is None:
        environment = with_secrets(os.environ)
        servers = None if environment.get("DATABASE_URL") else servers_from(environment)
        database = environment.get("DATABASE_URL") or (servers.database_url if servers else None)
    if not database:
        raise UsageError("no database is named: give its address, or set DATABASE_URL (`tickstock urls` prints it)")
    connection = postgres.connect(database, name="tickstock-frames")
    try:
        check_schema(connection)
    except SetupError:
        connection.close()
        raise
    return connection


def _values(symbols: str | Sequence[str] | None, start: Moment, end: Moment) -> dict[str, Any]:
    return {"symbols": _names(symbols), "from": _moment(start), "to": _moment(end)}


def _names(names: str | Sequence[str] | None) -> list[str] | None:
    return None if names is None else [names] if isinstance(names, str) else list(names)


def _moment(at: Moment) -> datetime | None:
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError as e:
            raise UsageError(f"{at!r} is no ISO-8601 time such as 2026-03-02T14:30") from e
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _expect_timeframe(timeframe: str | None) -> None:
    if timeframe is not None and timeframe not in INTRADAY:
        raise UsageError(f"timeframe {timeframe!r} is none of {', '.join(INTRADAY)}")
