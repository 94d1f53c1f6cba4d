"""Which days an import asks a vendor for, how long it waits for them, and which answers are final. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from ...contracts.daily.day_bars import day_number
from ...contracts.daily.trading_days import Session, session_on
from ...contracts.market_hours import NEW_YORK, Closures

SPLITS = "splits"  # the name of the question for splits; the name of each other question is its day
RECENT = timedelta(days=30)  # days up to this age are asked for by REST first, older ones are read from files first
AGAIN = timedelta(days=14)  # days up to this age are asked for again until they are final
MAX_SINGLE_SYMBOLS = 100  # if a day's answer failed, a run of at most this many symbols asks for each one alone
SPLITS_AHEAD = timedelta(days=14)  # vendors list splits before their day
_DAY = timedelta(days=1)
# Late trades and corrections change a day's bars until the next day. The day's flat file is final, and exists by about
# 11:00 of the next day (the vendor's knowledge base on flat files).
_FINAL_AT = time(11)
# The longest wait for a delayed feed. If its delay is longer, the run takes the bars of now, which are not final.
_LONGEST_WAIT = timedelta(minutes=30)


def final_from(day: date, closures: Closures) -> datetime:
    """Return the time from which a vendor's bar of a day is final."""
    day += _DAY
    while session_on(day, closures) is None:
        day += _DAY
    return datetime.combine(day, _FINAL_AT, NEW_YORK).astimezone(UTC)


def final_days(days: Iterable[date], at: datetime, closures: Closures) -> frozenset[int]:
    """Return which of the days are final at a time, as days since 1970."""
    return frozenset(day_number(day) for day in days if at >= final_from(day, closures))


def waits_until(session: Session, at: datetime, delay_s: float) -> datetime | None:
    """Return the time at which a feed that is delay_s late has the whole session; None: do not wait for it."""
    is_there_at = session.closes + timedelta(seconds=delay_s)
    return is_there_at if at < is_there_at <= at + _LONGEST_WAIT else None


def days_to_ask(days: Sequence[date], final: Mapping[date, int], symbols: int) -> list[date]:
    """Return the days on which some symbol has no final bar. final: day -> number of symbols with a final bar."""
    return [day for day in days if final.get(day, 0) < symbols]


def asks_by_symbol(days: Sequence[date], symbols: int) -> bool:
    """Tell whether one request per symbol is fewer requests than one per day."""
    return symbols < len(days)
