"""Bars that our own copy has forgotten, put back from the application's tables where somebody needs them again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from ..contracts.ticks import Column
from .bars import TableShape
from .postgres import Connection
from .queries import query

_DAY_MINUTES = 1440
_SESSION_BARS = 390  # 1-minute bars before a window that its session sums need
_AROUND = {
    5: "put_back_5min_bars",
    15: "put_back_15min_bars",
    30: "put_back_30min_bars",
    60: "put_back_hourly_bars",
}


@contextmanager
def bars_kept(connection: Connection, minutes: Column, now_s: float) -> Iterator[bool]:
    """Keep the workers' upkeep from forgetting bars in this block; yield whether some of these may be forgotten.

    minutes: since 1970; now_s: Unix seconds. A bar of the last day is never forgotten: then nothing is asked.
    """
    if not len(minutes) or np.min(minutes) >= now_s // 60 - _DAY_MINUTES:
        yield False
        return
    with connection.transaction():
        connection.execute(query("lock_forgotten_bars"))
        yield True


def put_back_staged(connection: Connection, shape: TableShape, first_minute: int) -> None:
    """Put back what stands in ohlcv_1min where staged bars go; first_minute: of these bars."""
    if first_minute < _forgotten_before(connection, 1):
        connection.execute(query("put_back_staged_with_detail" if shape.has_detail else "put_back_staged"))


def put_back_around(
    connection: Connection, timeframe: int, wanted: Mapping[str, int], *, window: int, slack: int
) -> None:
    """Put back what detectors read around one minute of each symbol, as `load_bars` does; wanted: symbol -> minute."""
    if not _forgotten_before(connection, timeframe):
        return
    values = {
        "symbols": list(wanted),
        "minutes": list(wanted.values()),
        "window": window + _SESSION_BARS,
        "slack": slack,
    }
    if timeframe > 1:
        connection.execute(query(_AROUND[timeframe]), values)
        return
    (has_detail,) = connection.execute(query("has_bar_detail")).fetchone() or (False,)
    connection.execute(query("put_back_around_with_detail" if has_detail else "put_back_around"), values)


def _forgotten_before(connection: Connection, timeframe: int) -> int:
    (before,) = connection.execute(query("forgotten_before"), {"timeframe": timeframe}).fetchone() or (0,)
    return int(before)
