"""Regular hours of New York: which bars belong to them, and to which day. Pure.

A bar belongs to them where it overlaps them: the hour bar of 09:00 does. Of a symbol whose market never closes, each
bar does.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..contracts.market_hours import NEW_YORK, hours_if_open
from ..contracts.ticks import Column
from ..contracts.timeframe import HIGHER
from ..contracts.universe import EVERY_SYMBOL

Session = Literal["regular", "extended"]
REGULAR: Session = "regular"
EXTENDED: Session = "extended"
SESSIONS: tuple[Session, ...] = get_args(Session)

DAYS_BEFORE = 7  # whose same minutes a bar's volume is held against: five of trading, or a whole week
_DAY_MINUTES = 1440
_FIRST_DAY = date(1970, 1, 1)


class Track(NamedTuple):
    """What one history holds: the bars of one timeframe (minutes), those of the regular hours or all of them."""

    session: Session
    timeframe: int


ALL_MINUTES, REGULAR_MINUTES = Track(EXTENDED, 1), Track(REGULAR, 1)
TRACKS = tuple(Track(session, timeframe) for session in SESSIONS for timeframe in (1, *HIGHER))


class Sessions:
    """Tells the regular bars of one partition's symbols. symbols: the partition's own list, which grows."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self.always_open: AbstractSet[str] = frozenset()  # symbols; EVERY_SYMBOL: all of them

    def are_regular(self, symbols: Column, minutes: Column, timeframe: int) -> Column:
        """Tell which bars of a timeframe are regular; symbols: indices, minutes: where the bars start."""
        return in_regular_hours(minutes, timeframe) | self.are_always_open(symbols)

    def are_always_open(self, symbols: Column) -> Column:
        """Tell for which symbols (indices) each bar is a regular one."""
        if not self.always_open or EVERY_SYMBOL in self.always_open:
            return np.full(len(symbols), bool(self.always_open))
        mine, places = np.unique(symbols, return_inverse=True)
        return np.array([self._symbols[symbol] in self.always_open for symbol in mine.tolist()], bool)[places]


def in_regular_hours(minutes: Column, timeframe: int) -> Column:
    """Tell which bars, by their first minutes since 1970, overlap the regular hours of their day."""
    opens, closes = _hours(minutes)
    return np.asarray((minutes + timeframe > opens) & (minutes < closes))


def end_regular_hours(minutes: Column, timeframe: int) -> Column:
    """Tell which bars, by their first minutes since 1970, hold the end of their day's regular hours."""
    _, closes = _hours(minutes)
    return np.asarray((minutes < closes) & (minutes + timeframe >= closes))


def same_minutes_before(minutes: Column, timeframe: int) -> Column:
    """Return the minutes that have the same time in New York on each of the 7 days before, the nearest first: (n, 7).

    -1 on a half day that had closed by then: its bar is none of the regular hours.
    """
    before = np.empty((len(minutes), DAYS_BEFORE), np.int64)
    for minute in np.unique(minutes):
        before[minutes == minute] = _same_time_before(int(minute))
    has_closed = in_regular_hours(minutes, timeframe)[:, None] & ~in_regular_hours(before.ravel(), timeframe).reshape(
        before.shape
    )
    before[has_closed] = -1
    return before


@lru_cache(maxsize=1024)
def _same_time_before(minute: int) -> tuple[int, ...]:
    at = datetime.fromtimestamp(minute * 60, NEW_YORK)
    return tuple(int((at - timedelta(days=days)).timestamp()) // 60 for days in range(1, DAYS_BEFORE + 1))


def session_of(minutes: Column) -> Column:
    """Return for each minute the start of its regular session, in minutes since 1970; -1 outside it."""
    opens, closes = _hours(minutes)
    return np.where((minutes >= opens) & (minutes < closes), opens, -1)


def is_in_session(minute: int) -> bool:
    """Tell whether a minute since 1970 is one of the regular hours."""
    opens, closes = _hours_of_day(minute // _DAY_MINUTES)
    return opens <= minute < closes


def _hours(minutes: Column) -> tuple[Column, Column]:
    """Return the regular hours, [first, end), of the day of each minute."""
    days = minutes // _DAY_MINUTES
    opens, closes = np.empty((2, len(minutes)), np.int64)
    for day in np.unique(days):
        mine = days == day
        opens[mine], closes[mine] = _hours_of_day(int(day))
    return opens, closes


@cache
def _hours_of_day(day: int) -> tuple[int, int]:
    """Return a day's regular hours, [first, end): they lie within one day of UTC."""
    hours = hours_if_open(_FIRST_DAY + timedelta(days=day))
    return int(hours.opens.timestamp()) // 60, int(hours.closes.timestamp()) // 60
