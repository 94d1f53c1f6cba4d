"""The schedule of daily runs, and the rule that computes from it when a run is due. Pure.

A run belongs to one trading day, and is due at one moment after that day's close. If it was missed, it is started late,
but only until the market opens again: after that its results are old, and the next run also makes the missed bars.
"""

import re
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from ..errors import UsageError
from ..market_hours import NEW_YORK, day_of
from .trading_days import Session, SessionOn

TIMEZONE = "America/New_York"
AFTER_CLOSE = timedelta(minutes=10)  # 16:10 on an ordinary day
LATE = timedelta(minutes=1)  # a run that starts later than this after its moment counts as late

_OPENS, _CLOSES = time(9, 30), time(16)
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DAY = timedelta(days=1)
_LONGEST_PAUSE_DAYS = 30  # more than any closure of the market: in September 2001 it was closed for six days


class Schedule(NamedTuple):
    """When daily runs start by themselves, and with which symbols.

    trigger_time: HH:MM in New York; not used if after_close is set. next_run: the next start, UTC, or None.
    universes: names; empty: every symbol that has bars. market_check: run only on trading days. after_close: start ten
    minutes after the close, also on half days. enabled_since: a run that was due before this time is not started.
    """

    enabled: bool
    trigger_time: str
    timezone: str
    next_run: datetime | None
    universes: list[str]
    market_check: bool
    after_close: bool
    enabled_since: datetime


class Due(NamedTuple):
    """A trading day whose run is due. at: since when."""

    day: date
    at: datetime


def read_trigger_time(text: str) -> str:
    """Return a time as HH:MM. Raises UsageError if the text is not a time, or if the market is open at that time."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a time of day: HH:MM is needed, in New York, as in 16:10")
    at = time(int(found[1]), int(found[2]))
    if _OPENS <= at < _CLOSES:
        raise UsageError(f"at {at:%H:%M} the market is open: a time from 16:00 on, or before 9:30, is needed")
    return f"{at:%H:%M}"


def moment_of(session: Session, schedule: Schedule) -> datetime:
    """Return when a day's run is due: at the first trigger time from its close on, or at the close + 10 minutes."""
    if schedule.after_close:
        return session.closes + AFTER_CLOSE
    at = time.fromisoformat(schedule.trigger_time)
    closes = session.closes.astimezone(NEW_YORK)
    day = closes.date() if at >= closes.time() else closes.date() + _DAY
    return datetime.combine(day, at, NEW_YORK).astimezone(session.closes.tzinfo)


def due(now: datetime, schedule: Schedule, session_on: SessionOn) -> Due | None:
    """Return the day whose run is due at `now`; None if no run is due, or if the market has opened since.

    Due does not mean missing: the caller adds the run only if the table has no run of that day.
    """
    session = _latest(now, schedule, session_on) if schedule.enabled else None
    if session is None or _following(session, session_on).opens <= now:
        return None
    at = moment_of(session, schedule)
    return Due(session.day, at) if at >= schedule.enabled_since else None


def next_moment(now: datetime, schedule: Schedule, session_on: SessionOn) -> datetime | None:
    """Return the first moment after `now` when a run is due; None if the schedule is off."""
    if not schedule.enabled:
        return None
    day = day_of(now) - _DAY  # yesterday's run may be due this morning
    while (session := session_on(day)) is None or moment_of(session, schedule) <= now:
        day += _DAY
    return moment_of(session, schedule)


def _latest(now: datetime, schedule: Schedule, session_on: SessionOn) -> Session | None:
    days = (day_of(now) - _DAY * ago for ago in range(_LONGEST_PAUSE_DAYS))
    sessions = (session for day in days if (session := session_on(day)) is not None)
    return next((session for session in sessions if moment_of(session, schedule) <= now), None)


def _following(session: Session, session_on: SessionOn) -> Session:
    day = session.day + _DAY
    while (following := session_on(day)) is None:
        day += _DAY
    return following
