"""When the US stock market trades, with holidays and half days. Pure.

The days are those of the New York Stock Exchange, which every US exchange keeps, taken from the package `holidays`:
regular ones, and single days (a storm, a president's funeral). A closing announced at short notice is known after the
package's next release; until then it is a row of the table `market_closure`. Whoever asks about now, or about a gap,
passes these rows as `closures`. What decides about stored bars does not: a row added later must not change them.

A day may begin with a night session: from 21:00 of the evening before, New York, to its pre-market. The tape's
processors (CTA and UTP) were open from 04:00 to 20:00; their amendment of 2025-12-19 lets them tell trades from Sundays
21:00 to Fridays 20:00 with a pause from 20:00 to 21:00, the trade date changing in the pause. Nasdaq's Night Session
(SR-NASDAQ-2025-109) and NYSE Arca's Overnight Trading Session (SR-NYSEARCA-2026-53) have these hours.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")

_FIRST_TRADES, _OPENS, _CLOSES, _LAST_TRADES = time(4), time(9, 30), time(16), time(20)
# The package gives the hour only in a half day's name; since 1994-02-12 it has been 13:00. The late sessions of the
# exchanges end at 17:00 then (NYSE Group's yearly "Holiday and Early Closings Calendar").
_CLOSES_EARLY, _LAST_TRADES_EARLY = time(13), time(17)
_SATURDAY = 5
_YEARS = range(1990, 2101)
# First day with a night session -> when its night begins, on the evening before; ascending. The day is not official
# yet: the processors plan December 2026, and this is the first day of its first full week. If the night sessions start
# later, nothing trades in these hours until then.
_NIGHTS = ((date(2026, 12, 7), time(21)),)


Closures = Mapping[date, time | None]  # day -> None: closed all day; or the time of an early close, New York
NO_CLOSURES: Closures = {}


class Hours(NamedTuple):
    """A day's hours, UTC: from first_trades pre-market, from opens regular, from closes to last_trades after-hours."""

    first_trades: datetime
    opens: datetime
    closes: datetime
    last_trades: datetime


def hours_of(day: date, closures: Closures = NO_CLOSURES) -> Hours | None:
    """Return the hours of a day of New York; None: the market is closed.

    An early close of the table says nothing about the trades after it: these end when they would have ended anyway.
    """
    if day.weekday() >= _SATURDAY or day in _calendar(day.year).closed:
        return None
    hours = hours_if_open(day)
    if day not in closures:
        return hours
    early = closures[day]
    closes = None if early is None else datetime.combine(day, early, NEW_YORK).astimezone(UTC)
    return None if closes is None or closes <= hours.opens else hours._replace(closes=min(closes, hours.closes))


@cache
def hours_if_open(day: date) -> Hours:
    """Return the hours of a day, an ordinary day's hours if the market is closed.

    Only a simulated market trades on a closed day; its bars must be the same as on any other day.
    """
    is_half = day in _calendar(day.year).half
    ends = (_CLOSES_EARLY, _LAST_TRADES_EARLY) if is_half else (_CLOSES, _LAST_TRADES)
    local = (datetime.combine(day, at, NEW_YORK) for at in (_FIRST_TRADES, _OPENS, *ends))
    return Hours(*(at.astimezone(UTC) for at in local))


def night_of(day: date, closures: Closures = NO_CLOSURES) -> tuple[datetime, datetime] | None:
    """Return when the night before a day's pre-market begins and ends, UTC; None: there is no such night."""
    hours = hours_of(day, closures) if day >= _NIGHTS[0][0] else None
    if hours is None:
        return None
    begins = next(at for since, at in reversed(_NIGHTS) if day >= since)
    evening = datetime.combine(day - timedelta(days=1), begins, NEW_YORK)
    return evening.astimezone(UTC), hours.first_trades


def is_night(at: datetime, closures: Closures = NO_CLOSURES) -> bool:
    """Tell whether a time falls into the night before a trading day."""
    day = day_of(at)
    nights = (night_of(day, closures), night_of(day + timedelta(days=1), closures))
    return any(night is not None and night[0] <= at < night[1] for night in nights)


def is_traded(at: datetime, closures: Closures = NO_CLOSURES) -> bool:
    """Tell whether the market trades at a time: the regular hours, those before and after them, and the night."""
    hours = hours_of(day_of(at), closures)
    return is_night(at, closures) or (hours is not None and hours.first_trades <= at < hours.last_trades)


def is_market_open(at: datetime, closures: Closures = NO_CLOSURES) -> bool:
    """Tell whether a time falls into the regular hours."""
    hours = hours_of(day_of(at), closures)
    return hours is not None and hours.opens <= at < hours.closes


def close_after(at: datetime, closures: Closures = NO_CLOSURES) -> datetime:
    """Return the first close of the regular hours that is later than a time."""
    day = day_of(at)
    while (hours := hours_of(day, closures)) is None or hours.closes <= at:
        day += timedelta(days=1)
    return hours.closes


def is_close(at: datetime, closures: Closures = NO_CLOSURES) -> bool:
    """Tell whether a time is exactly the close of the regular hours."""
    hours = hours_of(day_of(at), closures)
    return hours is not None and at == hours.closes


def day_of(at: datetime) -> date:
    """Return the New York day of a time."""
    return at.astimezone(NEW_YORK).date()


@cache
def half_days() -> tuple[date, ...]:
    """Return every day on which the market closes early, 1990 to 2100."""
    from holidays import HALF_DAY, financial_holidays  # noqa: PLC0415  # _calendar

    # One call for all years: a call for each year takes 10 times as long.
    return tuple(sorted(financial_holidays("XNYS", years=_YEARS, categories=HALF_DAY)))


def load_calendar() -> None:
    """Load the calendar now (slow the first time), in a process that must not pause later."""
    _calendar(2000)  # each other year takes next to no time


class _Calendar(NamedTuple):
    """The days of a year on which the exchange is closed, weekends aside, and those on which it closes early."""

    closed: frozenset[date]
    half: frozenset[date]


@cache
def _calendar(year: int) -> _Calendar:
    # Imported here: it takes 0.2 s and 14 MB, and most commands do not need it.
    from holidays import HALF_DAY, PUBLIC, financial_holidays  # noqa: PLC0415

    closed, half = (financial_holidays("XNYS", years=year, categories=kind) for kind in (PUBLIC, HALF_DAY))
    return _Calendar(frozenset(closed), frozenset(half))
