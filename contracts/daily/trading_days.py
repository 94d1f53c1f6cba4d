"""The trading days, with the closures that the calendar does not have. Pure."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from ..market_hours import NEW_YORK, hours_if_open, hours_of

Closures = Mapping[date, time | None]  # day -> None: closed all day; or the time of an early close, New York
NO_CLOSURES: Closures = {}


class Session(NamedTuple):
    """One day's regular hours, UTC, [opens, closes)."""

    day: date
    opens: datetime
    closes: datetime


SessionOn = Callable[[date], Session | None]  # returns a day's session; None if the market is closed


def session_on(day: date, closures: Closures = NO_CLOSURES) -> Session | None:
    """Return a day's session; None if the market is closed."""
    if day in closures and closures[day] is None:
        return None
    return None if hours_of(day) is None else session_if_open(day, closures)


def session_if_open(day: date, closures: Closures = NO_CLOSURES) -> Session:
    """Return a day's session; if the market is closed, with the hours of an ordinary day."""
    hours, early = hours_if_open(day), closures.get(day)
    closes = hours.closes if early is None else datetime.combine(day, early, NEW_YORK).astimezone(UTC)
    return Session(day, hours.opens, min(closes, hours.closes))
