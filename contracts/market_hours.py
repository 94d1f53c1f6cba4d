"""When the US stock market trades: the one answer, with its holidays and half days. Pure.

The days are those of the New York Stock Exchange, which every US exchange keeps, as the package `holidays` has them: by
rule, and the single ones on which a storm or a president's funeral closed it. One that is decreed at short notice is
known from the package's next release on.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")

_FIRST_TRADES, _OPENS, _CLOSES, _LAST_TRADES = time(4), time(9, 30), time(16), time(20)
# The package tells the hour only in a half day's name; since 1994-02-12 it has been this one. The late sessions of the
# exchanges end at 17:00 then (NYSE Group's yearly "Holiday and Early Closings Calendar").
_CLOSES_EARLY, _LAST_TRADES_EARLY = time(13), time(17)
_SATURDAY = 5
_YEARS = range(1990, 2101)


class Hours(NamedTuple):
    """A day's hours, UTC: from first_trades pre-market, from opens regular, from closes to last_trades after-hours."""

    first_trades: datetime
    opens: datetime
    closes: datetime
    last_trades: datetime


def hours_of(day: date) -> Hours | None:
    """Return the hours of a day of New York; None: the market is closed."""
    is_closed = day.weekday() >= _SATURDAY or day in _calendar(day.year).closed
    return None if is_closed else hours_if_open(day)


@cache
def hours_if_open(day: date) -> Hours:
    """Return the hours that part a day's trades, for whoever has some: when the market is closed, an ordinary day's.

    Only a made-up market trades then, and its bars are to be what they are on any other day.
    """
    is_half = day in _calendar(day.year).half
    ends = (_CLOSES_EARLY, _LAST_TRADES_EARLY) if is_half else (_CLOSES, _LAST_TRADES)
    local = (datetime.combine(day, at, NEW_YORK) for at in (_FIRST_TRADES, _OPENS, *ends))
    return Hours(*(at.astimezone(UTC) for at in local))


def is_market_open(at: datetime) -> bool:
    """Tell whether a time falls into the regular hours."""
    hours = hours_of(day_of(at))
    return hours is not None and hours.opens <= at < hours.closes


def close_after(at: datetime) -> datetime:
    """Return the first close of the regular hours that is later than a time."""
    day = day_of(at)
    while (hours := hours_of(day)) is None or hours.closes <= at:
        day += timedelta(days=1)
    return hours.closes


def is_close(at: datetime) -> bool:
    """Tell whether a time is the very moment of a close."""
    hours = hours_of(day_of(at))
    return hours is not None and at == hours.closes


def day_of(at: datetime) -> date:
    """Return the day of New York that a time falls into."""
    return at.astimezone(NEW_YORK).date()


@cache
def half_days() -> tuple[date, ...]:
    """Return every day on which the market closes early, of the years that ticks may be of."""
    return tuple(sorted(day for year in _YEARS for day in _calendar(year).half))


def load_calendar() -> None:
    """Load what takes long now: for a process that must not pause for it when it first asks."""
    _calendar(2000)  # each other year takes next to no time


class _Calendar(NamedTuple):
    """The days of a year on which the exchange is closed, weekends aside, and those on which it closes early."""

    closed: frozenset[date]
    half: frozenset[date]


@cache
def _calendar(year: int) -> _Calendar:
    # Here, because it takes a fifth of a second and 14 MB: most commands never ask.
    from holidays import HALF_DAY, PUBLIC, financial_holidays  # noqa: PLC0415

    closed, half = (financial_holidays("XNYS", years=year, categories=kind) for kind in (PUBLIC, HALF_DAY))
    return _Calendar(frozenset(closed), frozenset(half))
