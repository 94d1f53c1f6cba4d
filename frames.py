"""Bars, patterns, indicators and backtests as polars frames, for notebooks: `frames.bars(symbols="AAPL", last=100)`.

A time is the start of a bar, in UTC unless `zone` names another zone: `zone="America/New_York"`. A bar of a day, week
or month starts at midnight in New York. `.to_pandas()` converts a frame to pandas. The module needs the extra `frames`;
pictures need the extra `chart`.

Each function takes the address of the database, `postgresql://USER:PASSWORD@HOST:PORT/NAME`. Without an address it
reads DATABASE_URL (or TICKSTOCK_DB_HOST and its like), as the commands do. `tickstock urls` prints the address of the
embedded PostgreSQL.
All functions raise UsageError for a wrong argument, name or symbol, SetupError or ServerAway if the database cannot be
used.
"""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from .contracts.errors import NothingFound, SetupError, UsageError
from .contracts.market_hours import NEW_YORK
from .contracts.settings import servers_from
from .contracts.timeframe import INTRADAY, LONGER
from .db import postgres, rows
from .db.schema.migrate import check_schema
from .ops.jobs.known_names import check_symbols, known_indicators, known_patterns
from .ops.process.extras import how_to_install
from .ops.secrets.files import with_secrets
from .workers.backtest.backtest import run
from .workers.backtest.metrics import AccountFigures
from .workers.backtest.report import CurvePoint, Report, Request, TradeRow
from .workers.backtest.rules import Rules

try:
    import polars as pl
except ImportError as e:
    raise ImportError(f"polars is not installed: {how_to_install('frames')}") from e

if TYPE_CHECKING:
    from .ops.output.chart import Picture

__all__ = ["Backtest", "backtest", "bars", "indicators", "patterns", "plot"]

Moment = datetime | date | str | None  # without a zone it is UTC; text as 2026-03-02T14:30; a day begins at 0:00 UTC
Names = str | Sequence[str]

_TIMEFRAMES = (*INTRADAY, *LONGER)
_MOST_ROWS = 2**31  # polars counts the rows of a group in 32 bits
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
_OF_A_TYPE = {str: pl.String, float: pl.Float64, int: pl.Int64, float | None: pl.Float64}


def bars(
    database: str | None = None,
    *,
    symbols: Names | None = None,
    timeframe: str = "1min",
    start: Moment = None,
    end: Moment = None,
    last: int | None = None,
    zone: str = "UTC",
) -> pl.DataFrame:
    """Return bars sorted by symbol and time. Columns: symbol, timestamp, open, high, low, close, volume.

    1min bars also have trade_count, vwap and provenance (live, partial, replay, repair).
    timeframe: 1min to hourly, daily, weekly or monthly.
    start, end: range of the bars' starts, without the end. last: only the latest so many bars of each symbol. Raises
    UsageError for a wrong argument, SetupError or ServerAway if the database cannot be used.
    """
    _expect_one_timeframe(timeframe)
    values, zone, last = _values(symbols, start, end), _zone(zone).key, _count(last)
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        check_symbols(connection, values["symbols"] or ())
        columns = rows.select_bars(cursor, values, timeframe)
        schema = {name: _BAR[name] for name in columns}
        table = ((symbol, at, *(_as_float(number) for number in numbers)) for symbol, at, *numbers in cursor)
        return _last(_frame(table, schema, zone), ["symbol"], last)


def patterns(
    database: str | None = None,
    *,
    symbols: Names | None = None,
    timeframe: str | None = None,
    start: Moment = None,
    end: Moment = None,
    last: int | None = None,
    names: Names | None = None,
    zone: str = "UTC",
) -> pl.DataFrame:
    """Return the patterns that are not superseded, by symbol and time.

    direction: bullish, bearish or neutral; price, volume: close and volume of the bar; levels: the pattern's prices.
    timeframe, names: only these; None: all. The other arguments are those of `bars`.
    """
    _expect_timeframe(timeframe)
    values, wanted, zone, last = _values(symbols, start, end), _names(names), _zone(zone).key, _count(last)
    found: list[tuple[Any, ...]] = []
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        known_patterns(connection).check(wanted or ())
        check_symbols(connection, values["symbols"] or ())
        if timeframe not in LONGER:
            rows.select_patterns(cursor, values, timeframe=timeframe, patterns=wanted)
            found += map(rows.pattern_row, cursor)
        if timeframe not in INTRADAY:
            rows.select_longer_patterns(cursor, values, timeframes=_longer(timeframe), patterns=wanted)
            found += map(rows.pattern_row, cursor)
    return _last(_frame(found, _PATTERN, zone).sort("symbol", "bar", maintain_order=True), ["symbol"], last)


def indicators(
    database: str | None = None,
    *,
    symbols: Names | None = None,
    timeframe: str | None = None,
    start: Moment = None,
    end: Moment = None,
    last: int | None = None,
    names: Names | None = None,
    zone: str = "UTC",
) -> pl.DataFrame:
    """Return the indicators' values, a row for each output: symbol, bar, timeframe, indicator, output, value.

    By symbol, timeframe, indicator and time. An indicator with one output has one row a bar, MACD three.
    last: rows of each output of each indicator and timeframe. The other arguments are those of `patterns`.
    """
    _expect_timeframe(timeframe)
    values, wanted, zone, last = _values(symbols, start, end), _names(names), _zone(zone).key, _count(last)
    found: list[tuple[Any, ...]] = []
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        known_indicators(connection).check(wanted or ())
        check_symbols(connection, values["symbols"] or ())
        if timeframe not in LONGER:
            rows.select_indicators(cursor, values, timeframe=timeframe, indicators=wanted)
            found += (one for row in cursor for one in _outputs(row))
        if timeframe not in INTRADAY:
            rows.select_longer_indicators(cursor, values, timeframes=_longer(timeframe), indicators=wanted)
            found += (one for row in cursor for one in _outputs(row))
    frame = _frame(found, _INDICATOR, zone).sort("symbol", maintain_order=True)
    return _last(frame, ["symbol", "timeframe", "indicator", "output"], last)


@dataclass(frozen=True)
class Backtest:
    """The result of a backtest. report: the whole report, as `tickstock backtest --json` prints it.

    trades: one row for each trade, money in dollars. equity: one row for each day's close: the account, its benchmark
    (buy and hold) and the value of the open positions. figures: returns, Sharpe ratio and others of the account and of
    the benchmark; None: no value.
    """

    report: Report
    trades: pl.DataFrame
    equity: pl.DataFrame
    figures: pl.DataFrame

    def plot(self) -> "Picture":
        """Return a picture of the account and of buy and hold, as a matplotlib figure."""
        _expect_matplotlib()
        from .ops.output.chart import account  # noqa: PLC0415  # matplotlib is an extra

        return account(self.report)


def backtest(
    database: str | None = None,
    *,
    symbols: Names,
    patterns: Names,
    start: date | str,
    end: date | str,
    timeframe: str = "daily",
    zone: str = "UTC",
    **rules: float | bool | None,
) -> Backtest:
    """Trade the signals that the patterns would have published, as `tickstock backtest` does: see docs/backtests.md.

    start, end: days, both included. rules: the fields of `Rules`, such as stop_loss_pct=0.02, max_bars=10, short=False.
    Raises NothingFound if no symbol has bars.
    """
    zone = _zone(zone).key
    request = Request(
        symbols=tuple(_names(symbols) or ()),
        patterns=tuple(_names(patterns) or ()),
        start=str(start),
        end=str(end),
        timeframe=timeframe,
        rules=_rules(rules),
    )
    with closing(_connect(database)) as connection:
        check_symbols(connection, request.symbols)
        report = run(connection, request)
    # The report writes the day of a longer bar as midnight UTC; in frames each day begins at midnight in New York.
    days_of = NEW_YORK.key if timeframe in LONGER else "UTC"
    return Backtest(
        report=report,
        trades=_table(report.trade_list, TradeRow, days_of, zone),
        equity=_table(report.equity, CurvePoint, days_of, zone),
        figures=_table([report.account, report.benchmark], AccountFigures, days_of, zone).insert_column(
            0, pl.Series("account", ["patterns", "buy and hold"])
        ),
    )


def plot(
    symbol: str,
    database: str | None = None,
    *,
    timeframe: str = "1min",
    start: Moment = None,
    end: Moment = None,
    last: int = 120,
    zone: str = "UTC",
) -> "Picture":
    """Return a picture of a symbol's candles, volume and patterns, as `tickstock chart` draws it: a matplotlib figure.

    last: draw the latest so many bars. Raises NothingFound if there is no bar.
    """
    _expect_matplotlib()
    _expect_one_timeframe(timeframe)
    if not isinstance(symbol, str):
        raise UsageError(f"symbol {symbol!r} is not a text: a picture shows one symbol")
    last = _count(last) or 1
    from .ops.output.chart import candle_of, candles, pattern_of  # noqa: PLC0415  # matplotlib is an extra

    values, shown_in = _values(symbol, start, end), _zone(zone)
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        check_symbols(connection, [symbol])
        rows.select_bars(cursor, values, timeframe)
        drawn = [candle_of(row) for row in deque(cursor, last)]
        if not drawn:
            raise NothingFound(f"no {timeframe} bars of {symbol}")
        values["from"] = drawn[0].at
        if timeframe in LONGER:
            rows.select_longer_patterns(cursor, values, timeframes=[timeframe], patterns=None)
        else:
            rows.select_patterns(cursor, values, timeframe=timeframe, patterns=None)
        marked = [pattern_of(rows.pattern_row(row)) for row in cursor]
    return candles(f"{symbol}, {timeframe}", drawn, marked, shown_in)


def _expect_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise UsageError(f"matplotlib is not installed: {how_to_install('chart')}")


def _rules(given: dict[str, Any]) -> Rules:
    known = Rules.__struct_fields__
    if unknown := [name for name in given if name not in known]:
        raise UsageError(f"there is no rule {unknown[0]!r}; there are: {', '.join(known)}")
    try:
        return msgspec.convert(given, Rules)
    except msgspec.ValidationError as e:
        raise UsageError(f"rules: {e}") from e


def _table(structs: Sequence[msgspec.Struct], kind: type[msgspec.Struct], days_of: str, zone: str) -> pl.DataFrame:
    """Convert structs to a frame. Columns named `time` hold ISO-8601 text. days_of: the zone of these times."""
    schema = {one.name: _OF_A_TYPE[one.type] for one in msgspec.structs.fields(kind)}
    frame = pl.DataFrame([[getattr(one, name) for name in schema] for one in structs], schema, orient="row")
    times = pl.col([name for name in schema if name.endswith("time")])
    read = times.str.slice(0, 19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    return frame.with_columns(read.dt.replace_time_zone(days_of).dt.convert_time_zone(_zone(zone).key))


def _outputs(row: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
    *place, indicator, value, values = row
    if not isinstance(values, dict) or not values:
        return [(*place, indicator, indicator, value)]
    return [(*place, indicator, output, _as_float(number)) for output, number in values.items()]


def _frame(table: Iterable[tuple[Any, ...]], schema: dict[str, Any], zone: str) -> pl.DataFrame:
    frame = pl.DataFrame(list(table), schema, orient="row")
    return frame.with_columns(pl.col(_TIME).dt.convert_time_zone(_zone(zone).key))


def _last(frame: pl.DataFrame, each: list[str], last: int | None) -> pl.DataFrame:
    return frame if last is None else frame.group_by(each, maintain_order=True).tail(last)


def _count(last: int | None) -> int | None:
    if last is None:
        return None
    if not isinstance(last, int) or isinstance(last, bool) or last < 1:
        raise UsageError(f"last {last!r} is not a whole number from 1 on")
    return min(last, _MOST_ROWS)


def _as_float(number: Any) -> float | str | None:
    return number if number is None or isinstance(number, str) else float(number)


def _connect(database: str | None) -> postgres.Connection:
    if database is None:
        environment = with_secrets(os.environ)
        servers = None if environment.get("DATABASE_URL") else servers_from(environment)
        database = environment.get("DATABASE_URL") or (servers.database_url if servers else None)
    if not isinstance(database, str | None):
        raise UsageError(f"database {database!r} is not a text")
    if not database:
        raise UsageError("no database is named: give its address, or set DATABASE_URL (`tickstock urls` prints it)")
    connection = postgres.connect(database, name="tickstock-frames")
    try:
        check_schema(connection)
    except SetupError:
        connection.close()
        raise
    return connection


def _values(symbols: Names | None, start: Moment, end: Moment) -> dict[str, Any]:
    return {"symbols": _names(symbols), "from": _moment(start), "to": _moment(end)}


def _names(names: Names | None) -> list[str] | None:
    if names is None:
        return None
    if not isinstance(names, str | Iterable):
        raise UsageError(f"{names!r} is neither a name nor a list of names")
    listed = [names] if isinstance(names, str) else list(names)
    for name in listed:
        if not isinstance(name, str) or not name.isprintable():
            raise UsageError(f"{name!r} is not a name: a text of printable characters is needed")
    return listed


def _moment(at: Moment) -> datetime | None:
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError as e:
            raise UsageError(f"{at!r} is not an ISO-8601 time such as 2026-03-02T14:30") from e
    if at is None:
        return None
    if isinstance(at, date) and not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day, tzinfo=UTC)
    if not isinstance(at, datetime):
        raise UsageError(f"{at!r} is not a time: a datetime, a date or a text such as 2026-03-02T14:30 is needed")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as e:  # OSError: it names a folder, or is too long
        raise UsageError(f"there is no time zone {name!r}; there are UTC, America/New_York and the like") from e


def _expect_timeframe(timeframe: str | None) -> None:
    if timeframe is not None and timeframe not in _TIMEFRAMES:
        raise UsageError(f"timeframe {timeframe!r} is not one of {', '.join(_TIMEFRAMES)}")


def _expect_one_timeframe(timeframe: str) -> None:
    if timeframe is None:
        raise UsageError(f"timeframe None is not one of {', '.join(_TIMEFRAMES)}")
    _expect_timeframe(timeframe)


def _longer(timeframe: str | None) -> list[str]:
    return list(LONGER) if timeframe is None else [timeframe]
