"""Which days an import asks a vendor for, when it may, and which answers are final. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from ...contracts.daily.day_bars import day_number
from ...contracts.daily.trading_days import Closures, Session, session_on
from ...contracts.market_hours import NEW_YORK

SPLITS = "splits"  # the question beside the days
RECENT = timedelta(days=30)  # of this age a day is asked for, older ones are looked for in files first
AGAIN = timedelta(days=14)  # so far back a day that was not final is asked for again
MAX_SINGLE_SYMBOLS = 100  # of a run: if a day's answer failed, so many are asked for one by one
SPLITS_AHEAD = timedelta(days=14)  # they are known before their day
_DAY = timedelta(days=1)
# Late trades and corrections change a day until the next one; its flat file, which is final, is there by about 11:00 of
# the next day (the vendor's knowledge base on flat files).
_FINAL_AT = time(11)
# Longer than this nobody waits for a delayed feed: what it has by now is taken, and is not final.
_LONGEST_WAIT = timedelta(minutes=30)


def final_from(day: date, closures: Closures) -> datetime:
    """Return from when on a vendor's bar of a day is final."""
    day += _DAY
    while session_on(day, closures) is None:
        day += _DAY
    return datetime.combine(day, _FINAL_AT, NEW_YORK).astimezone(UTC)


def final_days(days: Iterable[date], at: datetime, closures: Closures) -> frozenset[int]:
    """Return those days, since 1970, that are final at a time."""
    return frozenset(day_number(day) for day in days if at >= final_from(day, closures))


def waits_until(session: Session, at: datetime, delay_s: float) -> datetime | None:
    """Return until when to wait for a session's whole tape of a delayed plan; None: not at all."""
    is_there_at = session.closes + timedelta(seconds=delay_s)
    return is_there_at if at < is_there_at <= at + _LONGEST_WAIT else None


def days_to_ask(days: Sequence[date], final: Mapping[date, int], symbols: int) -> list[date]:
    """Return the days of which some symbol has no final bar. final: how many have one, by day."""
    return [day for day in days if final.get(day, 0) < symbols]


def asks_by_symbol(days: Sequence[date], symbols: int) -> bool:
    """Tell whether it takes fewer requests to ask for each symbol than for each day."""
    return symbols < len(days)
