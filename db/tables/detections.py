"""Detections, indicator values and higher bars in PostgreSQL."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, starmap
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg import Cursor

from ...contracts.detection import LIFETIME_S, Detection, IndicatorColumn, iso_minute
from ...contracts.ticks import Column
from ...contracts.timeframe import INTRADAY, TIMEFRAME_OF
from ..postgres import Connection
from ..queries import query
from .bars import COPY_HEADER, COPY_TRAILER, binary_rows

_OHLCV = ("upsert_ohlcv_5min", "upsert_ohlcv_15min", "upsert_ohlcv_30min", "upsert_ohlcv_hourly")
OUR_LOG_FUNCTION = "ce22327f74426f4f5d7d44736c66c94a"  # MD5 of log_integration_event as migration 0014 leaves it


class RecomputedBars(NamedTuple):
    """Bars of one partition whose indicator values were computed again. timeframes: minutes; minutes: their starts."""

    partition: int
    symbols: Sequence[str]
    timeframes: Sequence[int]
    minutes: Sequence[int]


class Standing(NamedTuple):
    """A stored detection."""

    symbol: str
    is_superseded: bool
    is_repeat: bool


def open_result_stages(connection: Connection) -> None:
    """Create this connection's temporary tables."""
    connection.execute(query("create_result_stages"))


def stage_results(
    connection: Connection,
    higher: Column,
    indicators: Sequence[tuple[int, IndicatorColumn]],
    recomputed: Sequence[RecomputedBars],
) -> None:
    """Replace the contents of the staging tables by these rows.

    higher: partition, symbol (UTF-8), timeframe, minute, values. indicators: with the partition of each.
    """
    connection.execute(query("empty_result_stages"))
    if len(higher):
        with connection.cursor().copy(query("copy_higher_stage")) as copy:
            copy.write(COPY_HEADER + binary_rows(higher).tobytes() + COPY_TRAILER)
    if indicators or recomputed:
        lines = chain(map(_recomputed_lines, recomputed), starmap(_indicator_lines, indicators))
        with connection.cursor().copy(query("copy_indicator_stage")) as copy:
            copy.write("".join(chain.from_iterable(lines)))


def _recomputed_lines(bars: RecomputedBars) -> Iterator[str]:
    line = f"{bars.partition}\tt\t%s\t\\N\t%s\t%s\t\\N\t\\N\t\\N\n"
    names = [TIMEFRAME_OF[timeframe] for timeframe in bars.timeframes]
    ends = [_instant((minute + length) * 60) for minute, length in zip(bars.minutes, bars.timeframes, strict=True)]
    return map(line.__mod__, zip(map(_escaped, bars.symbols), names, ends, strict=True))


def _indicator_lines(partition: int, column: IndicatorColumn) -> Iterator[str]:
    """Return the lines of COPY, from one template: there are thousands of them in a commit."""
    data = ", ".join(f'"{key}": %s' for key in column.keys)
    period = "{}" if column.period is None else f'{{"period": {column.period}}}'
    line = f"{partition}\tf\t%s\t{column.indicator}\t{column.timeframe}\t%s\t%s\t{{{data}}}\t{period}\n"
    length = INTRADAY[column.timeframe]
    ends = [_instant((minute + length) * 60) for minute in column.minutes]
    outputs = [[*map(repr, values)] for values in zip(*column.values, strict=True)]
    return map(line.__mod__, zip(map(_escaped, column.symbols), ends, outputs[0], *outputs, strict=True))


def _escaped(symbol: str) -> str:
    return symbol.replace("\\", "\\\\")


@lru_cache(maxsize=1024)  # the values of a commit share few minutes
def _instant(at_s: int) -> str:
    return str(datetime.fromtimestamp(at_s, UTC))


def write_higher_bars(connection: Connection, partitions: Sequence[int]) -> None:
    """Upsert the staged bars of higher timeframes, as absolute values."""
    values = {"partitions": list(partitions)}
    for name in (*_OHLCV, "upsert_recent_higher_bar"):
        connection.execute(query(name), values)


def has_indicator_value(connection: Connection) -> bool:
    """Tell whether intraday_indicators, which may be the application's, has the column `value`."""
    (there,) = connection.execute(query("has_indicator_value")).fetchone() or (False,)
    return bool(there)


def write_indicators(
    connection: Connection, partitions: Sequence[int], again: Sequence[str], *, has_value: bool
) -> None:
    """Insert the staged indicator values.

    again: these indicators' values on the staged bars that were computed again are deleted first. has_value: as
    has_indicator_value.
    """
    values = {"partitions": list(partitions)}
    if again:
        connection.execute(query("delete_indicators_again"), values | {"indicators": list(again)})
    insert = "insert_indicators" if has_value else "insert_indicators_without_value"
    connection.execute(query(insert), values | {"lifetime_s": LIFETIME_S})


def standing_detections(
    connection: Connection, bars: Sequence[tuple[str, int, int]], flow_ids: Sequence[UUID]
) -> dict[UUID, Standing]:
    """Return the stored detections of some bars (symbol, timeframe, minute) or with some ids, by flow_id."""
    symbols, timeframes, minutes = (list(column) for column in zip(*bars, strict=True)) if bars else ([], [], [])
    values = {"symbols": symbols, "timeframes": timeframes, "minutes": minutes, "flow_ids": list(flow_ids)}
    rows = connection.execute(query("standing_detections"), values)
    return {flow_id: Standing(*standing) for flow_id, *standing in rows}


def write_detections(
    connection: Connection, new: Sequence[Detection], again: Sequence[Detection], superseded: Sequence[UUID]
) -> None:
    """Insert new detections, refresh those found again, and mark those that a revision removed."""
    if new:
        connection.execute(query("insert_detections"), _rows(new))
    if again:
        connection.execute(query("refresh_detections"), _rows(again))
        for is_repeat in {bool(detection.repeat_after) for detection in again}:
            flow_ids = [detection.flow_id for detection in again if bool(detection.repeat_after) is is_repeat]
            connection.execute(query("note_detections_stand"), {"flow_ids": flow_ids, "is_repeat": is_repeat})
    if superseded:
        connection.execute(query("supersede_detections"), {"flow_ids": list(superseded)})


def has_detection_copies(connection: Connection) -> bool:
    """Tell whether the application has a table with copies of detections."""
    (there,) = connection.execute(query("has_detection_copies")).fetchone() or (False,)
    return bool(there)


def copy_detections(
    connection: Connection, new: Sequence[Detection], again: Sequence[Detection], superseded: Sequence[UUID]
) -> list[Cursor[tuple[str | None]]]:
    """Apply write_detections to the application's copies. An error there does not affect this transaction.

    Each returned cursor has one row, with the error or NULL.
    """
    cursors = []
    if changed := [*superseded, *(detection.flow_id for detection in again)]:
        cursors.append(connection.execute(query("remove_detection_copies"), {"flow_ids": changed}))
    if there := [*new, *again]:
        cursors.append(connection.execute(query("copy_detections"), _rows(there)))
    return cursors


def log_published(connection: Connection, detections: Sequence[Detection]) -> None:
    """Log the publication of these detections in the application's flow log."""
    if detections:
        rows = [
            {
                "flow_id": detection.flow_id,
                "symbol": detection.symbol,
                "pattern": detection.pattern,
                "confidence": detection.confidence,
                "details": {
                    "tier": detection.tier,
                    "timestamp": detection.detected_at,
                    "timeframe": detection.timeframe,
                    "parts": [part.pattern for part in detection.parts],
                },
            }
            for detection in detections
        ]
        values = {"rows": msgspec.json.encode(rows).decode(), "ours": OUR_LOG_FUNCTION}
        connection.execute(query("log_patterns_published"), values)
        connection.execute(query("log_patterns_published_at_once"), values)


def _rows(detections: Sequence[Detection]) -> dict[str, object]:
    """Return the rows of some detections as one JSON text: with arrays of texts psycopg takes ten times as long."""
    rows = msgspec.json.encode([_row(detection) for detection in detections]).decode()
    return {"rows": rows, "lifetime_s": LIFETIME_S}


def _row(detection: Detection) -> dict[str, object]:
    minutes = INTRADAY[detection.timeframe]
    return {
        "flow_id": detection.flow_id,
        "symbol": detection.symbol,
        "pattern": detection.pattern,
        "confidence": detection.confidence,
        "pattern_data": pattern_data_of(detection),
        "at": (detection.minute + minutes) * 60,
        "levels": detection.levels,
        "metadata": {
            "flow_id": detection.flow_id,
            "tier": detection.tier,
            "bar_start": iso_minute(detection.minute),
            "source": "TickStockPL",
            "base_rate": detection.base_rate,
        },
        "timeframe": detection.timeframe,
        "timeframe_minutes": minutes,
        "minute": detection.minute,
        "is_repeat": bool(detection.repeat_after),
    }


def pattern_data_of(detection: Detection) -> dict[str, object]:
    """Return the column pattern_data of a detection."""
    return {
        "bar": {name: getattr(detection, name) for name in ("open", "high", "low", "close", "volume")},
        "direction": detection.direction,
        "price_change": detection.price_change,
        "relative_volume": detection.relative_volume,
        "relative_strength": detection.relative_strength,
        "parameters": detection.parameters,
        "event": detection.event,
        "repeat_after": detection.repeat_after or None,
        "part_of": detection.part_of,
        "parts": [part.pattern for part in detection.parts],
    }
