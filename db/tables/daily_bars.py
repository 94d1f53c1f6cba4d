"""Daily, weekly and monthly bars in PostgreSQL: a vendor's, or made from our own 1-minute bars; loaded as columns."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from ...contracts.daily.day_bars import DayBars, day_of_number
from ...contracts.runs import Source
from ...contracts.ticks import Column
from ..postgres import Connection
from ..queries import query
from .bars import COPY_HEADER, COPY_TRAILER

_LOAD = {"daily": "load_days", "weekly": "load_weeks", "monthly": "load_months"}
_WEEK, _MONTH = timedelta(days=6), timedelta(days=30)  # from the first day to the last one, at most
_VALUES = ("open", "high", "low", "close", "volume")
_LOADED = np.dtype(
    [("fields", ">i2"), ("number bytes", ">i4"), ("number", ">i4"), ("day bytes", ">i4"), ("day", ">i4")]
    + [(name + kind, form) for name in _VALUES for kind, form in ((" bytes", ">i4"), ("", ">f8"))]
)


def import_own_days(connection: Connection, wanted: Sequence[tuple[str, date, datetime, datetime]]) -> int:
    """Make daily bars from 1-minute bars; return how many changed. wanted: symbol, day, its hours [opens, closes)."""
    if not wanted:
        return 0
    symbols, days, opens, closes = (list(column) for column in zip(*wanted, strict=True))
    values = {"symbols": symbols, "days": days, "opens": opens, "closes": closes}
    return connection.execute(query("import_own_days"), values | {"first": min(opens), "last": max(closes)}).rowcount


class VendorDay(NamedTuple):
    """How many symbols have a vendor's bar of a day, and how many of these bars are final."""

    day: date
    symbols: int
    final: int


class Imported(NamedTuple):
    """changed: number of written rows; revised: those of them with another value of the vendor before."""

    changed: int
    revised: int


def import_vendor_days(connection: Connection, bars: DayBars, source: Source, final_days: AbstractSet[int]) -> Imported:
    """Write a vendor's bars. final_days: days (since 1970) whose bars the vendor does not change any more."""
    if not bars.symbols:
        return Imported(0, 0)
    connection.execute(query("register_symbols"), {"symbols": list(bars.symbols)})
    days = bars.day.tolist()
    values = _on_days(bars.symbols, [day_of_number(day) for day in days]) | {
        "opens": bars.open.tolist(),
        "highs": bars.high.tolist(),
        "lows": bars.low.tolist(),
        "closes": bars.close.tolist(),
        "volumes": bars.volume.tolist(),
        "are_final": [day in final_days for day in days],
        "source": source,
    }
    return Imported(*connection.execute(query("import_vendor_days"), values, prepare=False).fetchone() or (0, 0))


def vendor_days(connection: Connection, symbols: Sequence[str], first: date, last: date) -> list[VendorDay]:
    """Return the days on which any of the symbols has a vendor's bar."""
    values = {"symbols": list(symbols), "first": first, "last": last}
    return [VendorDay(*row) for row in connection.execute(query("vendor_days"), values, prepare=False)]


def days_without_vendor(connection: Connection, symbols: Sequence[str], days: Sequence[date]) -> list[tuple[str, date]]:
    """Return the symbols and days that have no final bar of a vendor."""
    return connection.execute(query("days_without_vendor"), _on_days(symbols, days), prepare=False).fetchall()


def days_by_source(connection: Connection, symbols: Sequence[str], days: Sequence[date]) -> dict[str, int]:
    """Count the bars of some symbols and days by their provenance."""
    return dict(connection.execute(query("days_by_source"), _on_days(symbols, days), prepare=False).fetchall())


def count_days(connection: Connection, symbols: Sequence[str], days: Sequence[date]) -> dict[str, int]:
    """Count each symbol's bars of some days; a symbol without bars is left out."""
    return dict(connection.execute(query("symbols_with_days"), _on_days(symbols, days), prepare=False).fetchall())


def _on_days(symbols: Sequence[str], days: Sequence[date]) -> dict[str, object]:
    """Return the values of a statement about some days, with the first and the last one.

    In a database of the application the daily bars may be a hypertable: with both bounds it is planned for the chunks
    between them. Use prepare=False: a cached plan has no values, and so includes every chunk.
    """
    first, last = (min(days), max(days)) if days else (date.max, date.min)
    return {"symbols": list(symbols), "days": list(days), "first": first, "last": last}


def make_weeks_and_months(
    connection: Connection, symbols: Sequence[str], *, weeks: Mapping[date, bool], months: Mapping[date, bool]
) -> int:
    """Make weekly and monthly bars from daily bars, and return how many changed.

    weeks, months: first day -> whether it has ended; a bar is final only then.
    """
    changed = 0
    for name, starts, days in (("make_weeks", weeks, _WEEK), ("make_months", months, _MONTH)):
        if starts:
            bounds = {"first": min(starts), "last": max(starts) + days}
            ended = [start for start, has_ended in starts.items() if has_ended]
            values = {"symbols": list(symbols), "starts": list(starts), "ended": ended} | bounds
            changed += connection.execute(query(name), values, prepare=False).rowcount
    return changed


def load_bars(connection: Connection, timeframe: str, symbols: Sequence[str], *, last: date, bars: int) -> Column:
    """Load the last bars of each symbol that begin on or before a day, ordered by symbol, oldest first.

    Returns an array of number (the symbol's index, from 1), day (since 1970), open, high, low, close, volume.
    """
    values = {"symbols": list(symbols), "last": last, "bars": bars}
    with connection.cursor().copy(query(_LOAD[timeframe]), values) as copy:
        loaded = b"".join(copy)
    return np.frombuffer(loaded[len(COPY_HEADER) : -len(COPY_TRAILER)], _LOADED)


def splits_of(connection: Connection, symbols: Sequence[str], last: date) -> list[tuple[str, int, float]]:
    """Return symbol, day (since 1970) and ratio of the splits up to a day."""
    return connection.execute(query("splits_of"), {"symbols": list(symbols), "last": last}).fetchall()


def lacks_of_daily_tables(connection: Connection) -> list[str]:
    """Return the statements that add the missing columns of the application's tables of bars."""
    return [statement for (statement,) in connection.execute(query("lacks_of_daily_tables"), {})]
