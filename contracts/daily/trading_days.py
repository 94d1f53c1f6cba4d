"""The trading days, with the closures that the calendar does not have. Pure."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import NamedTuple

from ..market_hours import NEW_YORK, NO_CLOSURES, Closures, hours_if_open, hours_of


class Session(NamedTuple):
    """One day's regular hours, UTC, [opens, closes)."""

    day: date
    opens: datetime
    closes: datetime


SessionOn = Callable[[date], Session | None]  # returns a day's session; None if the market is closed


def session_on(day: date, closures: Closures = NO_CLOSURES) -> Session | None:
    """Return a day's session; None if the market is closed."""
    hours = hours_of(day, closures)
    return None if hours is None else Session(day, hours.opens, hours.closes)


def session_if_open(day: date, closures: Closures = NO_CLOSURES) -> Session:
    """Return a day's session; if the market is closed, with the hours of an ordinary day."""
    hours, early = hours_if_open(day), closures.get(day)
    closes = hours.closes if early is None else datetime.combine(day, early, NEW_YORK).astimezone(UTC)
    return Session(day, hours.opens, min(closes, hours.closes))
