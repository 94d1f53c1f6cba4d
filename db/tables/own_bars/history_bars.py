"""The bars that detectors' histories are loaded with, from our own copies of the bars in PostgreSQL."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ....contracts.market_hours import half_days
from ....contracts.ticks import Column
from ...arrays import joined_numbers, numbers_of
from ...postgres import Connection
from ...queries import query

_VALUE_COLUMNS = ("open", "high", "low", "close", "volume_micro", "notional")
_LOADED = np.dtype([("minute", "<i8"), *((name, "<f8") for name in _VALUE_COLUMNS)])
_VOLUMES = {
    1: "volumes_of_minutes",
    5: "volumes_of_5_minutes",
    15: "volumes_of_15_minutes",
    30: "volumes_of_30_minutes",
    60: "volumes_of_hours",
}


class WantedBars(NamedTuple):
    """The bars of one timeframe (minutes) for a history: up to `window` bars until a minute, and `slack` bars after it.

    symbols, minutes, is_whole: one for each history. is_whole: whether all bars are wanted, or only those of the
    regular hours.
    """

    timeframe: int
    symbols: Sequence[str]
    minutes: Sequence[int]
    is_whole: Sequence[bool]
    window: int
    slack: int


class LoadedBars(NamedTuple):
    """The bars of some histories: those of one after those of the other, each oldest first.

    rows: minute, open, high, low, close, volume_micro, notional. counts: the number of bars of each history.
    """

    rows: Column
    counts: Column


def load_bars(connection: Connection, wanted: Sequence[WantedBars]) -> list[LoadedBars]:
    """Load the bars of histories of several timeframes, with one statement for each table of bars."""
    loaded: dict[int, LoadedBars] = {}
    for name, are_minutes in (("load_recent_bars", True), ("load_recent_higher_bars", False)):
        numbers = [number for number, one in enumerate(wanted) if (one.timeframe == 1) is are_minutes]
        loaded |= zip(numbers, _load_from(connection, name, [wanted[number] for number in numbers]), strict=True)
    return [loaded[number] for number in range(len(wanted))]


def _load_from(connection: Connection, name: str, wanted: Sequence[WantedBars]) -> list[LoadedBars]:
    bounds = np.cumsum([0, *(len(one.symbols) for one in wanted)])
    if not bounds[-1]:
        return [LoadedBars(np.empty(0, _LOADED), np.zeros(0, np.int64)) for _ in wanted]
    values = {
        "symbol": [symbol for one in wanted for symbol in one.symbols],
        "timeframe": [one.timeframe for one in wanted for _ in one.symbols],
        "minute": [minute for one in wanted for minute in one.minutes],
        "is_whole": [is_whole for one in wanted for is_whole in one.is_whole],
        "window": [one.window for one in wanted for _ in one.symbols],
        "slack": [one.slack for one in wanted for _ in one.symbols],
        "half_days": list(half_days()),
    }
    found = connection.cursor(binary=True).execute(query(name), values, prepare=False).fetchall()
    found = [row for row in sorted(found) if row[1]]
    counts = np.zeros(bounds[-1], np.int64)
    counts[[row[0] - 1 for row in found]] = [len(numbers_of(row[1], ">i4")) for row in found]
    rows = np.empty(counts.sum(), _LOADED)
    for place, column in enumerate(_LOADED.names or (), start=1):
        rows[column] = joined_numbers([row[place] for row in found], ">i4" if column == "minute" else ">f8")
    ends = np.concatenate([[0], np.cumsum(counts)])
    return [LoadedBars(rows[ends[begin] : ends[end]], counts[begin:end]) for begin, end in pairwise(bounds.tolist())]


def session_sums_before(connection: Connection, wanted: Sequence[tuple[str, int, int]]) -> dict[int, tuple[int, int]]:
    """Sum notional and volume, in millionths, of the bars in each (symbol, first minute, minute after the last).

    The key of each pair of sums is the index of its range. A range without a bar has no entry.
    """
    symbols, first, before = (list(column) for column in zip(*wanted, strict=True))
    values = {"number": list(range(len(wanted))), "symbol": symbols, "from": first, "before": before}
    return {
        number: (notional, volume)
        for number, notional, volume in connection.execute(query("session_sums_before"), values)
    }


def volumes_of(connection: Connection, timeframe: int, names: Sequence[str], minutes: Column) -> Column:
    """Return the volumes of each symbol's bars at some minutes, (n, k), -1 to skip one; NaN if there is no bar."""
    volumes = np.full(minutes.shape, np.nan)
    rows, columns = np.nonzero(minutes >= 0)
    if not len(rows):
        return volumes
    wanted = minutes[rows, columns]
    values = {
        "number": list(range(len(wanted))),
        "symbol": [names[row] for row in rows.tolist()],
        "minute": wanted.tolist(),
        "first_minute": int(wanted.min()),
        "last_minute": int(wanted.max()),
    }
    found = connection.execute(query(_VOLUMES[timeframe]), values, prepare=False).fetchall()
    for number, volume in found:
        volumes[rows[number], columns[number]] = volume
    return volumes
