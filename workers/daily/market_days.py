"""The days of a run, and the daily, weekly and monthly bars that end on them. Pure."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from ...contracts.daily.trading_days import Session, session_if_open, session_on
from ...contracts.market_hours import NEW_YORK, NO_CLOSURES, Closures

_DAY = timedelta(days=1)


class BarEnd(NamedTuple):
    """A complete bar: its first day, and the end of its last session."""

    start: date
    closes: datetime


def sessions_of_run(
    run_date: date, lookback_days: int, *, skip_market_check: bool = False, closures: Closures = NO_CLOSURES
) -> list[Session]:
    """Return a run's sessions, oldest first: `lookback_days` trading days up to run_date.

    skip_market_check: include run_date in any case, with ordinary hours if the market was closed.
    """
    sessions: list[Session] = []
    day = run_date
    while len(sessions) < lookback_days:
        session = session_on(day, closures)
        if session is None and day == run_date and skip_market_check:
            session = session_if_open(day)
        if session is not None:
            sessions.append(session)
        day -= _DAY
    return sessions[::-1]


def whole_day(session: Session) -> Session:
    """Return a day from midnight to midnight, New York: for a symbol whose market never closes."""
    opens, closes = (datetime.combine(day, time(), NEW_YORK) for day in (session.day, session.day + _DAY))
    return Session(session.day, opens.astimezone(UTC), closes.astimezone(UTC))


def latest_session(at: datetime, closures: Closures = NO_CLOSURES) -> Session:
    """Return the last session that had begun at a time."""
    day = at.astimezone(NEW_YORK).date()
    while (session := session_on(day, closures)) is None or session.opens > at:
        day -= _DAY
    return session


def start_of(timeframe: str, day: date) -> date:
    """Return the first day of the bar that contains a day: weeks begin on Monday."""
    if timeframe == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if timeframe == "monthly" else day


def bars_ending(timeframe: str, sessions: Sequence[Session], closures: Closures = NO_CLOSURES) -> list[BarEnd]:
    """Return the bars of a timeframe whose last session is one of these, oldest first.

    An incomplete week or month is left out: its detections would change with each day. A week ends with its last
    trading day, also in a run of the Saturday after it: its results have one time, so that a second run replaces them.
    """
    ends = {}
    for session in sessions:
        start = start_of(timeframe, session.day)
        if timeframe == "daily":
            ends[start] = BarEnd(start, session.closes)
        elif start_of(timeframe, _next_day(session.day, closures)) != start:
            ends[start] = BarEnd(start, _last_of(start, session, closures).closes)
    return list(ends.values())


def has_ended(timeframe: str, start: date, at: datetime, closures: Closures = NO_CLOSURES) -> bool:
    """Tell whether the last session of a week or month had ended at a time. start: its first day."""
    following = start + timedelta(days=7) if timeframe == "weekly" else (start + timedelta(days=31)).replace(day=1)
    return at >= _last_of(start, session_if_open(following - _DAY, closures), closures).closes


def _last_of(start: date, session: Session, closures: Closures) -> Session:
    """Return the last trading day's session from `start` to a session; the latter if there is no trading day."""
    days = (session.day - _DAY * ago for ago in range((session.day - start).days + 1))
    return next((found for day in days if (found := session_on(day, closures)) is not None), session)


def _next_day(day: date, closures: Closures) -> date:
    day += _DAY
    while session_on(day, closures) is None:
        day += _DAY
    return day
