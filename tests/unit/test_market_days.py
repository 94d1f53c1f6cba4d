"""Which bars of weeks and months end on the days of a run, and when: dates of the exchange's own calendars."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from tickstockpl.workers.daily.market_days import (
    BarEnd,
    bars_ending,
    has_ended,
    latest_session,
    sessions_of_run,
    whole_day,
)


def end(start, closes):
    return BarEnd(date.fromisoformat(start), datetime.fromisoformat(closes).replace(tzinfo=UTC))


WEEKS = [
    ("2026-11-27", {}, [end("2026-11-23", "2026-11-27 18:00")]),  # a half day
    ("2026-04-02", {}, [end("2026-03-30", "2026-04-02 20:00")]),  # Good Friday is the next day
    ("2026-09-07", {}, []),  # a holiday that is a Monday
    ("2026-09-08", {}, []),
    ("2026-09-04", {}, [end("2026-08-31", "2026-09-04 20:00")]),
    ("2026-03-06", {}, [end("2026-03-02", "2026-03-06 21:00")]),  # New York's clocks are changed on Sunday
    ("2026-03-13", {}, [end("2026-03-09", "2026-03-13 20:00")]),
    ("2026-11-12", {date(2026, 11, 13): None}, [end("2026-11-09", "2026-11-12 21:00")]),  # closed at short notice
    ("2026-11-13", {date(2026, 11, 13): time(12)}, [end("2026-11-09", "2026-11-13 17:00")]),
    ("2026-11-14", {}, [end("2026-11-09", "2026-11-13 21:00")]),  # of a Saturday, Sunday: with the time of Friday's
    ("2026-11-15", {}, [end("2026-11-09", "2026-11-13 21:00")]),
    ("2026-04-03", {}, [end("2026-03-30", "2026-04-02 20:00")]),
]
MONTHS = [
    ("2026-10-30", {}, [end("2026-10-01", "2026-10-30 20:00")]),  # the 31st is a Saturday
    ("2026-10-31", {}, [end("2026-10-01", "2026-10-30 20:00")]),
    ("2026-11-01", {}, []),
    ("2026-05-29", {}, [end("2026-05-01", "2026-05-29 20:00")]),  # the 31st is a Sunday
    ("2028-02-28", {}, []),
    ("2028-02-29", {}, [end("2028-02-01", "2028-02-29 21:00")]),
    ("2027-02-26", {}, [end("2027-02-01", "2027-02-26 21:00")]),
    ("2026-12-31", {}, [end("2026-12-01", "2026-12-31 21:00")]),
    ("2024-11-29", {}, [end("2024-11-01", "2024-11-29 18:00")]),  # a half day
]


@pytest.mark.parametrize(
    ("timeframe", "day", "closures", "expected"),
    [*(("weekly", *one) for one in WEEKS), *(("monthly", *one) for one in MONTHS)],
)
def test_a_week_or_month_ends_once_with_the_close_of_its_last_trading_day(timeframe, day, closures, expected):
    sessions = sessions_of_run(date.fromisoformat(day), 1, skip_market_check=True, closures=closures)
    assert bars_ending(timeframe, sessions, closures) == expected


@pytest.mark.parametrize("days", [1, 2, 5])
def test_a_run_of_more_days_knows_the_same_end_of_a_week(days):
    sessions = sessions_of_run(date(2026, 11, 14), days, skip_market_check=True)
    assert bars_ending("weekly", sessions) == [end("2026-11-09", "2026-11-13 21:00")]
    assert len(bars_ending("daily", sessions)) == days


@pytest.mark.parametrize(
    ("timeframe", "start", "closes"),
    [
        ("weekly", "2026-11-23", "2026-11-27 18:00"),
        ("weekly", "2026-03-30", "2026-04-02 20:00"),
        ("monthly", "2026-10-01", "2026-10-30 20:00"),
        ("monthly", "2028-02-01", "2028-02-29 21:00"),
        ("monthly", "2026-12-01", "2026-12-31 21:00"),
        ("monthly", "2026-05-01", "2026-05-29 20:00"),
    ],
)
def test_a_week_or_month_has_ended_with_its_last_close(timeframe, start, closes):
    at = datetime.fromisoformat(closes).replace(tzinfo=UTC)
    assert has_ended(timeframe, date.fromisoformat(start), at)
    assert not has_ended(timeframe, date.fromisoformat(start), at - timedelta(seconds=1))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-03-29", 24)])
def test_a_whole_day_has_the_hours_of_new_york(day, hours):
    (session,) = sessions_of_run(date.fromisoformat(day), 1, skip_market_check=True)
    _, opens, closes = whole_day(session)
    assert (closes - opens).total_seconds() == hours * 3600


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-11-27 14:29:59", "2026-11-25"),
        ("2026-11-27 14:30:00", "2026-11-27"),
        ("2026-11-30 05:00:00", "2026-11-27"),
        ("2026-03-09 13:29:59", "2026-03-06"),
        ("2026-03-09 13:30:00", "2026-03-09"),
        ("2026-01-01 00:30:00", "2025-12-31"),
        ("2026-07-06 13:29:00", "2026-07-02"),
    ],
)
def test_the_latest_session_is_the_last_that_has_begun(at, day):
    assert latest_session(datetime.fromisoformat(at).replace(tzinfo=UTC)).day == date.fromisoformat(day)
