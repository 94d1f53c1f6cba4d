"""The SQL statements that read bars, patterns and indicators for data users, and the columns of each statement.

Rows are sorted by symbol and time. `values` binds symbols (None: all), and the limits of the bar's start, from and to
(None: no limit). A bar of a day, week or month starts at midnight in New York.
"""

from typing import Any

import psycopg

from ..contracts.timeframe import INTRADAY, LONGER, TIMEFRAME_OF
from .queries import query

HIGHER_BAR = ("symbol", "timestamp", "open", "high", "low", "close", "volume")
BAR = (*HIGHER_BAR, "trade_count", "vwap", "provenance")
PATTERN = (
    *("symbol", "bar", "timeframe", "pattern", "confidence"),
    *("direction", "price", "volume", "levels", "flow_id"),
)
INDICATOR = ("symbol", "bar", "timeframe", "indicator", "value", "values")

DIRECTIONS = {1: "bullish", -1: "bearish", 0: "neutral"}


def select_bars(cursor: psycopg.Cursor[Any], values: dict[str, Any], timeframe: str) -> tuple[str, ...]:
    """Select the bars of a timeframe; return the columns of the cursor's rows. Numbers are Decimal, vwap is float."""
    if timeframe in LONGER:
        cursor.execute(query("longer_bars"), values | {"timeframe": timeframe})
        return HIGHER_BAR
    if timeframe != "1min":
        cursor.execute(query("higher_bars"), values | {"timeframe": INTRADAY[timeframe]})
        return HIGHER_BAR
    (has_detail,) = cursor.connection.execute(query("has_bar_detail")).fetchone() or (False,)
    cursor.execute(query("bars_with_detail" if has_detail else "bars"), values)
    return BAR


def select_patterns(
    cursor: psycopg.Cursor[Any], values: dict[str, Any], *, timeframe: str | None, patterns: list[str] | None
) -> None:
    """Select the current patterns; `pattern_row` converts each to a row of PATTERN."""
    minutes = None if timeframe is None else INTRADAY[timeframe]
    cursor.execute(query("patterns_found"), values | {"patterns": patterns, "timeframe": minutes})


def select_longer_patterns(
    cursor: psycopg.Cursor[Any], values: dict[str, Any], *, timeframes: list[str], patterns: list[str] | None
) -> None:
    """Select the patterns on bars of days, weeks and months; `pattern_row` converts each to a row of PATTERN."""
    cursor.execute(query("longer_patterns_found"), values | {"patterns": patterns, "timeframes": timeframes})


def pattern_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with names of timeframe and direction (None if the row with the direction was pruned)."""
    symbol, bar, timeframe, pattern, confidence, direction, price, volume, levels, flow_id = row
    name = timeframe if timeframe in LONGER else TIMEFRAME_OF.get(timeframe, f"{timeframe}min")
    says = None if direction is None else DIRECTIONS.get(direction)
    return symbol, bar, name, pattern, confidence, says, price, volume, levels or [], str(flow_id)


def select_indicators(
    cursor: psycopg.Cursor[Any], values: dict[str, Any], *, timeframe: str | None, indicators: list[str] | None
) -> None:
    """Select the values of indicators: rows of INDICATOR.

    value: None if the table has no such column and there are several values, because the first one is unknown.
    """
    timeframes = list(INTRADAY) if timeframe is None else [timeframe]
    minutes = [INTRADAY[name] for name in timeframes]
    cursor.execute(
        query("indicators_found"), values | {"indicators": indicators, "timeframes": timeframes, "minutes": minutes}
    )


def select_longer_indicators(
    cursor: psycopg.Cursor[Any], values: dict[str, Any], *, timeframes: list[str], indicators: list[str] | None
) -> None:
    """Select the values of indicators on bars of days, weeks and months: rows of INDICATOR."""
    cursor.execute(query("longer_indicators_found"), values | {"indicators": indicators, "timeframes": timeframes})
