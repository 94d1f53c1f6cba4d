"""Regular hours of New York: which bars belong to them, and to which day. Pure.

A bar belongs to the regular hours if it overlaps them, for example the hourly bar of 09:00. If a symbol's market never
closes, all of its bars do.
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

DAYS_BEFORE = 7  # a bar's volume is compared with the same minute on these days: five trading days, or a whole week
_DAY_MINUTES = 1440
_FIRST_DAY = date(1970, 1, 1)


class Track(NamedTuple):
    """The bars of one history: of one timeframe (minutes), of the regular hours or all."""

    session: Session
    timeframe: int


ALL_MINUTES, REGULAR_MINUTES = Track(EXTENDED, 1), Track(REGULAR, 1)
TRACKS = tuple(Track(session, timeframe) for session in SESSIONS for timeframe in (1, *HIGHER))


class Sessions:
    """Finds the regular bars of one partition's symbols. symbols: the partition's growing list."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self.always_open: AbstractSet[str] = frozenset()  # symbols; EVERY_SYMBOL: all of them

    def are_regular(self, symbols: Column, minutes: Column, timeframe: int) -> Column:
        """Return a mask of the regular bars of a timeframe; symbols: indices, minutes: starts of the bars."""
        return in_regular_hours(minutes, timeframe) | self.are_always_open(symbols)

    def are_always_open(self, symbols: Column) -> Column:
        """Return a mask of the symbols (indices) whose bars are all regular."""
        if not self.always_open or EVERY_SYMBOL in self.always_open:
            return np.full(len(symbols), bool(self.always_open))
        mine, places = np.unique(symbols, return_inverse=True)
        return np.array([self._symbols[symbol] in self.always_open for symbol in mine.tolist()], bool)[places]


def in_regular_hours(minutes: Column, timeframe: int) -> Column:
    """Return a mask of the bars, by first minutes since 1970, that overlap the regular hours of their day."""
    opens, closes = _hours(minutes)
    return np.asarray((minutes + timeframe > opens) & (minutes < closes))


def end_regular_hours(minutes: Column, timeframe: int) -> Column:
    """Return a mask of the bars, by first minutes since 1970, that contain the end of their day's regular hours."""
    _, closes = _hours(minutes)
    return np.asarray((minutes < closes) & (minutes + timeframe >= closes))


def same_minutes_before(minutes: Column, timeframe: int) -> Column:
    """Return the minutes with the same New York time on each of the 7 days before, nearest first: (n, 7).

    -1 if a half day had closed by then: its bar is not in the regular hours.
    """
    hours, which = np.unique(minutes // 60, return_inverse=True)
    first = np.array([_same_hour_before(hour) for hour in hours.tolist()], np.int64).reshape(-1, DAYS_BEFORE)
    before: Column = first[which] + (minutes % 60)[:, None]
    has_closed = in_regular_hours(minutes, timeframe)[:, None] & ~in_regular_hours(before.ravel(), timeframe).reshape(
        before.shape
    )
    before[has_closed] = -1
    return before


@lru_cache(maxsize=8192)  # a year of hours; clocks are changed at whole hours
def _same_hour_before(hour: int) -> tuple[int, ...]:
    """Return the minutes in which the same hour of New York began on the 7 days before. hour: since 1970."""
    at = datetime.fromtimestamp(hour * 3600, NEW_YORK)
    return tuple(int((at - timedelta(days=days)).timestamp()) // 60 for days in range(1, DAYS_BEFORE + 1))


def session_of(minutes: Column) -> Column:
    """Return for each minute the start of its regular session, in minutes since 1970; -1 outside it."""
    opens, closes = _hours(minutes)
    return np.where((minutes >= opens) & (minutes < closes), opens, -1)


def _hours(minutes: Column) -> tuple[Column, Column]:
    """Return the regular hours, [first, end), of each minute's day."""
    days = minutes // _DAY_MINUTES
    if len(days) and (days == days[0]).all():  # the usual case
        first, end = _hours_of_day(int(days[0]))
        return np.full(len(days), first), np.full(len(days), end)
    days, of_day = np.unique(days, return_inverse=True)
    opens, closes = np.array([_hours_of_day(day) for day in days.tolist()], np.int64).reshape(-1, 2).T
    return opens[of_day], closes[of_day]


@cache
def _hours_of_day(day: int) -> tuple[int, int]:
    """Return a day's regular hours, [first, end): they are within one UTC day."""
    hours = hours_if_open(_FIRST_DAY + timedelta(days=day))
    return int(hours.opens.timestamp()) // 60, int(hours.closes.timestamp()) // 60
