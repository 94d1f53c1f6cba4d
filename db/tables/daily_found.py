"""Write patterns and indicators on daily, weekly and monthly bars. Unchanged rows are not written again."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from ...contracts.detection import Detection, IndicatorValue, iso_minute
from ..postgres import Connection
from ..queries import query
from .detections import pattern_data_of

SOURCE = "TickStockPL"
# How long the application shows a row: until the next run has replaced it, even after the longest weekend.
_LIFETIME = {"daily": timedelta(days=5), "weekly": timedelta(days=14), "monthly": timedelta(days=62)}
_EXPIRES = {"daily": "expiration_date", "weekly": "expiration_timestamp", "monthly": "expiration_timestamp"}


class Scope(NamedTuple):
    """The rows to replace: those of some symbols, on some bars. ends: first minute of a bar -> its end."""

    timeframe: str
    symbols: Sequence[str]
    ends: Mapping[int, datetime]


class Replaced(NamedTuple):
    """The result. new: indices of new or changed rows; changed: number of rows written or deleted."""

    new: list[int]
    changed: int


class Signal(NamedTuple):
    """An intraday pattern, which may confirm a daily pattern of the same day. closes: the end of the day's session."""

    symbol: str
    closes: datetime
    direction: int
    pattern: str
    timeframe: str
    confidence: float
    detected_at: datetime


class Combo(NamedTuple):
    """A daily pattern, and the intraday pattern that confirms it. detection: the combo as it is published."""

    daily: Detection
    signal: Signal
    detection: Detection


def intraday_signals(
    connection: Connection, symbols: Sequence[str], opens: Sequence[datetime], closes: Sequence[datetime]
) -> list[Signal]:
    """Return the pattern with the highest confidence of each symbol, session and direction."""
    values = {"symbols": list(symbols), "opens": list(opens), "closes": list(closes)}
    return [Signal(*row) for row in connection.execute(query("intraday_signals"), values)]


def replace_combos(connection: Connection, scope: Scope, found: Sequence[Combo]) -> Replaced:
    """Make daily_intraday_patterns hold exactly these combos in the scope. daily_patterns must be written before."""
    keys = {"symbols": list(scope.symbols), "stamps": list(scope.ends.values())}
    ids = {tuple(key): id_ for *key, id_ in connection.execute(query("daily_pattern_ids"), keys)}
    rows = [_combo_row(one, scope.ends[one.daily.minute], ids) for one in found]
    columns = {"kind": "pattern_type", "stamp": "detection_timestamp", "result": "pattern_data"}
    return _replace(connection, "daily_intraday_patterns", columns, scope, rows)


def _combo_row(combo: Combo, closes: datetime, ids: Mapping[tuple[object, ...], int]) -> dict[str, object]:
    told, signal = combo.detection, combo.signal
    shown = {
        "pattern": signal.pattern,
        "timeframe": signal.timeframe,
        "confidence": signal.confidence,
        "direction": signal.direction,
        "detected_at": signal.detected_at.isoformat(),
    }
    daily = pattern_data_of(combo.daily) | {"confidence": combo.daily.confidence}
    return {
        "symbol": told.symbol,
        "pattern_type": told.pattern,
        "confidence": told.confidence,
        "pattern_data": daily | {"intraday": shown},
        "detection_timestamp": closes,
        "expiration_timestamp": closes + _LIFETIME["daily"],
        "levels": told.levels,
        "metadata": {
            "flow_id": told.flow_id,
            "tier": told.tier,
            "bar_start": iso_minute(told.minute),
            "source": SOURCE,
        },
        "timeframe": "daily",
        "daily_pattern_id": ids.get((told.symbol, told.pattern, closes)),
        "daily_pattern_timestamp": closes,
        "intraday_signal": shown,
    }


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
                "source": SOURCE,
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
