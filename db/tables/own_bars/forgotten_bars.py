"""Restore bars, deleted from our own copy, from the application's tables when they are needed again."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ....contracts.market_hours import half_days
from ....contracts.ticks import Column
from ...postgres import Connection
from ...queries import query
from ...staged_rows import TableShape
from ..bars import time_bounds
from .history_bars import WantedBars

_DAY_MINUTES = 1440
_SESSION_BARS = 390  # 1-minute bars before a window, needed for its session sums
# Distances in which bars are searched: TimescaleDB plans for every chunk within, and few symbols need the longer ones.
_REACH_DAYS = (10, 100, 1_000, 50_000)
_AROUND = {
    5: "put_back_5min_bars",
    15: "put_back_15min_bars",
    30: "put_back_30min_bars",
    60: "put_back_hourly_bars",
}


@contextmanager
def bars_kept(connection: Connection, minutes: Column, now_s: float) -> Iterator[bool]:
    """Keep the workers' upkeep from deleting bars in this block; yield whether some may be deleted already.

    minutes: since 1970; now_s: Unix seconds. A bar of the last day is never deleted: then nothing is read.
    """
    if not len(minutes) or np.min(minutes) >= now_s // 60 - _DAY_MINUTES:
        yield False
        return
    with connection.transaction():
        connection.execute(query("lock_forgotten_bars"))
        yield True


def put_back_staged(connection: Connection, shape: TableShape, minutes: Column) -> None:
    """Restore the stored rows of ohlcv_1min that have the keys of staged bars; minutes: of these bars."""
    if minutes.min() < _forgotten_before(connection, 1):
        name = "put_back_staged_with_detail" if shape.has_detail else "put_back_staged"
        connection.execute(query(name), time_bounds(minutes), prepare=False)


def put_back_around(connection: Connection, wanted: WantedBars) -> None:
    """Restore the bars that detectors need around one minute of each symbol, as `load_bars` does."""
    timeframe, slack = wanted.timeframe, wanted.slack
    before = _forgotten_before(connection, timeframe)
    name = _AROUND.get(timeframe, "put_back_around")
    if before and timeframe == 1 and connection.execute(query("has_bar_detail")).fetchone() == (True,):
        name = "put_back_around_with_detail"
    short = list(zip(wanted.symbols, wanted.minutes, wanted.is_whole, strict=True))
    for days in _REACH_DAYS if before else ():
        symbols, minutes, is_whole = (list(column) for column in zip(*short, strict=True))
        reach = days * _DAY_MINUTES
        last = max(minutes) + reach
        values = {
            "symbols": symbols,
            "minutes": minutes,
            "is_whole": is_whole,
            "half_days": list(half_days()),
            "window": wanted.window + _SESSION_BARS,
            "slack": slack,
            "behind": slack if last < before else 0,
            "first_minute": max(min(minutes) - reach, 0),
            "last_minute": last,
        }
        short = connection.execute(query(name), values, prepare=False).fetchall()
        if not short:
            return


def _forgotten_before(connection: Connection, timeframe: int) -> int:
    (before,) = connection.execute(query("forgotten_before"), {"timeframe": timeframe}).fetchone() or (0,)
    return int(before)
