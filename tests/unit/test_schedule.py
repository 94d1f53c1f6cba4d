"""When the daily run is due: the rule, and five simulated years of it."""

import random
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from tickstockpl.contracts.daily.schedule import Due, Schedule, due, moment_of, next_moment, read_trigger_time
from tickstockpl.contracts.daily.trading_days import session_if_open, session_on
from tickstockpl.contracts.errors import UsageError

# As exchange_calendars 4.13.2 has them of XNYS: weekdays of 2024 to 2028 without trading, and days that end at 13:00.
CLOSED = """
    2024-01-01 2024-01-15 2024-02-19 2024-03-29 2024-05-27 2024-06-19 2024-07-04 2024-09-02 2024-11-28 2024-12-25
    2025-01-01 2025-01-09 2025-01-20 2025-02-17 2025-04-18 2025-05-26 2025-06-19 2025-07-04 2025-09-01 2025-11-27
    2025-12-25 2026-01-01 2026-01-19 2026-02-16 2026-04-03 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-11-26
    2026-12-25 2027-01-01 2027-01-18 2027-02-15 2027-03-26 2027-05-31 2027-06-18 2027-07-05 2027-09-06 2027-11-25
    2027-12-24 2028-01-17 2028-02-21 2028-04-14 2028-05-29 2028-06-19 2028-07-04 2028-09-04 2028-11-23 2028-12-25
"""
HALF = """
    2024-07-03 2024-11-29 2024-12-24 2025-07-03 2025-11-28 2025-12-24 2026-11-27 2026-12-24 2027-11-26 2028-07-03
    2028-11-24
"""
HALF_DAYS = set(map(date.fromisoformat, HALF.split()))
YEARS = [date(2024, 1, 1) + timedelta(days=i) for i in range(366 + 365 * 3 + 366)]
NOT_TRADED = set(map(date.fromisoformat, CLOSED.split()))
SESSIONS = [day for day in YEARS if day.isoweekday() < 6 and day not in NOT_TRADED]
NEW_YORK = ZoneInfo("America/New_York")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
DAILY = Schedule(True, "16:10", "America/New_York", None, [], True, False, LONG_AGO)
SPRING, AUTUMN = date(2025, 3, 10), date(2025, 11, 3)  # Mondays after New York's clocks were changed


def york(day, hour, minute=0):
    return datetime.combine(day, time(hour, minute), NEW_YORK).astimezone(UTC)


class Fleet:
    """Processes that look now and then whether a run is due, and the table whose constraint lets one of them add it."""

    def __init__(self, schedule):
        self.schedule = schedule
        self.runs = {}

    def look(self, now):
        found = due(now, self.schedule, session_on)
        if found and found.day not in self.runs:
            self.runs[found.day] = (now, found.at)


def simulate(schedule, chance, *, begin, end):
    """Let three processes look every few hours for years, be restarted, be down, and have clocks that jump."""
    fleet = Fleet(schedule)
    now = begin
    while now < end:
        for _ in range(3):
            fleet.look(now + timedelta(seconds=chance.uniform(-30, 30)))
        what = chance.random()
        if what < 0.1:
            now += timedelta(hours=chance.uniform(1, 10))  # all were down, or the clock was set forwards
        elif what < 0.2:
            now -= timedelta(hours=chance.uniform(0, 8))
        else:
            now += timedelta(hours=chance.uniform(0.1, 4))
    return fleet.runs


@pytest.mark.parametrize("after_close", [False, True])
def test_five_years_with_restarts_and_clock_jumps_have_one_run_each_trading_day(after_close):
    seed = random.randrange(10**9)
    begin = york(YEARS[0], 0)
    schedule = DAILY._replace(after_close=after_close, enabled_since=begin)

    runs = simulate(schedule, random.Random(seed), begin=begin, end=york(date(2028, 12, 30), 9))

    assert list(runs) == [day for day in SESSIONS if day < date(2028, 12, 30)], f"seed {seed}"
    for day, (added, at) in runs.items():
        half = after_close and day in HALF_DAYS
        assert at == (york(day, 13, 10) if half else york(day, 16, 10)), f"seed {seed}"
        assert timedelta() <= added - at < timedelta(hours=17.5), f"seed {seed}"


def test_a_run_is_due_from_its_moment_until_the_market_opens_again():
    friday, monday = date(2025, 11, 21), date(2025, 11, 24)
    at = york(friday, 16, 10)
    second = timedelta(seconds=1)
    assert due(at - second, DAILY, session_on) is None  # Thursday's was over at 9:30
    assert due(at, DAILY, session_on) == Due(friday, at)
    assert due(york(monday, 9, 30) - second, DAILY, session_on) == Due(friday, at)
    assert due(york(monday, 9, 30), DAILY, session_on) is None
    assert next_moment(at - second, DAILY, session_on) == at
    assert next_moment(at, DAILY, session_on) == york(monday, 16, 10)


@pytest.mark.parametrize(
    ("day", "utc_hour"), [(SPRING, 20), (AUTUMN, 21), (date(2025, 11, 21), 21), (date(2025, 7, 1), 20)]
)
def test_the_time_is_new_yorks_also_where_its_clocks_change(day, utc_hour):
    assert moment_of(session_on(day), DAILY) == datetime.combine(day, time(utc_hour, 10), UTC)


def test_a_time_before_the_opening_is_the_next_mornings():
    morning = DAILY._replace(trigger_time="06:00")
    friday, saturday = date(2025, 11, 21), date(2025, 11, 22)
    assert due(york(saturday, 6), morning, session_on) == Due(friday, york(saturday, 6))
    assert next_moment(york(saturday, 5), morning, session_on) == york(saturday, 6)
    half = date(2025, 11, 28)
    assert moment_of(session_on(half), DAILY._replace(trigger_time="13:30")) == york(half, 13, 30)


def test_a_time_that_is_changed_to_one_that_is_over_is_due_at_once():
    day = date(2025, 11, 20)
    assert due(york(day, 18), DAILY._replace(trigger_time="20:00"), session_on) is None
    assert due(york(day, 18), DAILY._replace(trigger_time="17:00"), session_on) == Due(day, york(day, 17))


def test_nothing_is_due_that_was_due_before_the_schedule_was_switched_on():
    day = date(2025, 11, 20)
    on = DAILY._replace(enabled_since=york(day, 17))
    assert due(york(day, 18), on, session_on) is None
    assert due(york(date(2025, 11, 21), 17), on, session_on) is not None
    assert due(york(day, 18), DAILY._replace(enabled=False), session_on) is None
    assert next_moment(york(day, 18), DAILY._replace(enabled=False), session_on) is None


def test_a_day_on_which_the_market_closes_by_decree_has_no_run_and_an_early_close_has_one():
    closed, early = date(2025, 11, 19), date(2025, 11, 20)
    closures = {closed: None, early: time(11)}
    moments = next_moment(york(closed, 12), DAILY._replace(after_close=True), lambda day: session_on(day, closures))
    assert moments == york(early, 11, 10)


def test_without_the_markets_check_every_day_has_a_run():
    sunday = date(2025, 11, 23)
    assert due(york(sunday, 16, 10), DAILY, session_if_open) == Due(sunday, york(sunday, 16, 10))


@pytest.mark.parametrize(
    ("text", "read"), [("16:10", "16:10"), (" 9:05 ", "09:05"), ("23:59", "23:59"), ("00:00", "00:00")]
)
def test_a_time_is_read(text, read):
    assert read_trigger_time(text) == read


@pytest.mark.parametrize("text", ["", "24:00", "16:60", "1610", "16:10:00", "4 pm", "9:30", "15:59"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        read_trigger_time(text)
