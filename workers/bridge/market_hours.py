"""The regular hours of the market, by the clock of New York. Holidays are weekdays like others here. Pure."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
OPENS = time(9, 30)
CLOSES = time(16)

_SATURDAY = 5


def is_market_open(at: datetime) -> bool:
    """Tell whether a time falls into 09:30-16:00 New York on a weekday."""
    local = at.astimezone(NEW_YORK)
    return local.weekday() < _SATURDAY and OPENS <= local.time() < CLOSES


def close_after(at: datetime) -> datetime:
    """Return the first 16:00 New York of a weekday that is later than a time."""
    local = at.astimezone(NEW_YORK)
    day = local.date()
    while day.weekday() >= _SATURDAY or datetime.combine(day, CLOSES, NEW_YORK) <= local:
        day += timedelta(days=1)
    return datetime.combine(day, CLOSES, NEW_YORK)


def is_close(at: datetime) -> bool:
    """Tell whether a time is the very moment of a close."""
    local = at.astimezone(NEW_YORK)
    return local.weekday() < _SATURDAY and local.time() == CLOSES
