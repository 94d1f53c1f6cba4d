"""Patterns and indicators on daily, weekly and monthly bars: rows that are found again unchanged are not rewritten."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from ...contracts.detection import Detection, IndicatorValue, iso_minute
from ..postgres import Connection
from ..queries import query
from .detections import pattern_data_of

# How long a row is shown: until the next run has replaced it, even over the longest weekend.
_LIFETIME = {"daily": timedelta(days=5), "weekly": timedelta(days=14), "monthly": timedelta(days=62)}
_EXPIRES = {"daily": "expiration_date", "weekly": "expiration_timestamp", "monthly": "expiration_timestamp"}


class Scope(NamedTuple):
    """The rows to replace: of some symbols, on bars that ended at some times.

    ends: end time by a bar's first minute.
    """

    timeframe: str
    symbols: Sequence[str]
    ends: Mapping[int, datetime]


class Replaced(NamedTuple):
    """The result. new: indices of new or changed rows; changed: number of rows written or deleted."""

    new: list[int]
    changed: int


def replace_patterns(connection: Connection, scope: Scope, found: Sequence[Detection]) -> Replaced:
    """Make daily_patterns, weekly_patterns or monthly_patterns hold exactly these detections in the scope."""
    rows = [
        {
            "symbol": one.symbol,
            "pattern_type": one.pattern,
            "confidence": one.confidence,
            "pattern_data": pattern_data_of(one) | {"confidence": one.confidence},
            "detection_timestamp": scope.ends[one.minute],
            _EXPIRES[scope.timeframe]: scope.ends[one.minute] + _LIFETIME[scope.timeframe],
            "levels": one.levels,
            "metadata": {
                "flow_id": one.flow_id,
                "tier": one.tier,
                "bar_start": iso_minute(one.minute),
                "source": "TickStockPL",
                "base_rate": one.base_rate,
            },
            "timeframe": one.timeframe,
        }
        for one in found
    ]
    columns = {"kind": "pattern_type", "stamp": "detection_timestamp", "result": "pattern_data"}
    return _replace(connection, f"{scope.timeframe}_patterns", columns, scope, rows)


def replace_indicators(connection: Connection, scope: Scope, found: Sequence[IndicatorValue]) -> Replaced:
    """Make daily_indicators hold exactly these values in the scope."""
    rows = [
        {
            "symbol": one.symbol,
            "indicator_type": one.indicator,
            "value": one.value,
            "value_data": one.values,
            "calculation_timestamp": scope.ends[one.minute],
            "expiration_date": scope.ends[one.minute] + _LIFETIME[scope.timeframe],
            "metadata": {} if one.period is None else {"period": one.period},
            "timeframe": one.timeframe,
        }
        for one in found
    ]
    columns = {"kind": "indicator_type", "stamp": "calculation_timestamp", "result": "value_data"}
    return _replace(connection, "daily_indicators", columns, scope, rows)


def _replace(
    connection: Connection, table: str, columns: Mapping[str, str], scope: Scope, rows: Sequence[Mapping[str, object]]
) -> Replaced:
    values = {
        "table": table,
        **columns,
        "symbols": list(scope.symbols),
        "timeframe": scope.timeframe,
        "stamps": list(scope.ends.values()),
        "rows": msgspec.json.encode(rows).decode(),
    }
    new, deleted = connection.execute(query("replace_found"), values).fetchone() or ([], 0)
    return Replaced([place - 1 for place in new], len(new) + deleted)


def first_minute(day: date) -> int:
    """Return the minute of a daily or longer bar, by its first day: midnight UTC, in minutes since 1970."""
    return (day - date(1970, 1, 1)).days * 1440
