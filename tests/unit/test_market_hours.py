"""When the US stock market trades: dates typed from NYSE Group's "Holiday and Early Closings Calendar" of 2025-12-23
(2026 to 2028) and of 2024-11-08 (2025), and its single closings."""

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta

import holidays
import pytest
from tickstockpl.contracts.market_hours import (
    Hours,
    close_after,
    hours_if_open,
    hours_of,
    is_close,
    is_market_open,
    is_traded,
    night_of,
)

CLOSED = {
    2025: "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",  # 01-09: Jimmy Carter's funeral
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
    2027: "01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24",
    2028: "01-17 02-21 04-14 05-29 06-19 07-04 09-04 11-23 12-25",
}
CLOSES_AT_ONE = {
    2025: "07-03 11-28 12-24",
    2026: "11-27 12-24",
    2027: "11-26",
    2028: "07-03 11-24",
}


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def days(listed, year):
    return [date.fromisoformat(f"{year}-{day}") for day in listed[year].split()]


@pytest.mark.parametrize("year", CLOSED)
def test_the_closed_days_of_a_year_are_its_weekends_and_the_published_holidays(year):
    every = [date(year, 1, 1) + timedelta(days=i) for i in range(365 + (year == 2028))]
    weekdays = [day for day in every if day.isoweekday() < 6]

    assert [day for day in weekdays if hours_of(day) is None] == days(CLOSED, year)
    assert [day for day in every if hours_of(day) and day not in weekdays] == []


@pytest.mark.parametrize("year", CLOSES_AT_ONE)
def test_the_short_days_of_a_year_are_the_published_ones(year):
    open_days = [day for i in range(365) if (hours_of(day := date(year, 1, 1) + timedelta(days=i)))]
    short = [day for day in open_days if (h := hours_of(day)).closes - h.opens < timedelta(hours=6.5)]

    assert short == days(CLOSES_AT_ONE, year)


@pytest.mark.parametrize(
    ("day", "first_trades", "opens", "closes", "last_trades"),
    [
        ("2013-10-07", "10-07 08:00", "10-07 13:30", "10-07 20:00", "10-08 00:00"),  # summer time, as any day
        ("2026-01-15", "01-15 09:00", "01-15 14:30", "01-15 21:00", "01-16 01:00"),
        ("2026-11-27", "11-27 09:00", "11-27 14:30", "11-27 18:00", "11-27 22:00"),
        ("2026-12-24", "12-24 09:00", "12-24 14:30", "12-24 18:00", "12-24 22:00"),
        ("2025-07-03", "07-03 08:00", "07-03 13:30", "07-03 17:00", "07-03 21:00"),
        ("2013-07-03", "07-03 08:00", "07-03 13:30", "07-03 17:00", "07-03 21:00"),
    ],
)
def test_the_hours_of_a_day_are_instants(day, first_trades, opens, closes, last_trades):
    at = (utc(f"{day[:4]}-{text}") for text in (first_trades, opens, closes, last_trades))
    assert hours_of(date.fromisoformat(day)) == Hours(*at)


@pytest.mark.parametrize("day", ["2001-09-11", "2004-06-11", "2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"])
def test_a_single_day_on_which_the_exchange_was_closed_is_known(day):
    assert hours_of(date.fromisoformat(day)) is None


@pytest.mark.parametrize("day", ["2021-12-31", "2022-06-17", "2024-10-14", "2025-11-11", "2025-12-26", "2027-12-31"])
def test_a_day_on_which_only_others_rest_is_an_ordinary_one(day):
    hours = hours_of(date.fromisoformat(day))
    assert hours.closes - hours.opens == timedelta(hours=6.5)


@pytest.mark.parametrize("day", ["2026-11-26", "2026-11-21"])
def test_what_trades_on_a_closed_day_has_the_hours_of_an_ordinary_one(day):
    hours = hours_if_open(date.fromisoformat(day))
    assert (hours.opens, hours.closes) == (utc(f"{day} 14:30"), utc(f"{day} 21:00"))


def test_every_half_day_that_the_package_knows_closes_at_one():
    names = holidays.financial_holidays("XNYS", years=range(1995, 2051), categories=holidays.HALF_DAY).values()
    assert [name for name in names if "close at 1:00pm" not in name] == []
    assert len(names) > 100


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-25 20:59:59", True),
        ("2026-11-26 14:30:00", False),  # Thanksgiving
        ("2026-11-26 18:00:00", False),
        ("2026-11-27 14:29:59", False),
        ("2026-11-27 14:30:00", True),
        ("2026-11-27 17:59:59", True),
        ("2026-11-27 18:00:00", False),  # 13:00 in New York
        ("2026-04-03 15:00:00", False),  # Good Friday
        ("2026-07-03 15:00:00", False),  # Independence Day is a Saturday
    ],
)
def test_the_market_is_closed_on_holidays_and_early_on_half_days(at, is_open):
    assert is_market_open(utc(at)) is is_open


@pytest.mark.parametrize(
    ("at", "closes"),
    [
        ("2026-11-25 21:00:00", "2026-11-27 18:00:00"),  # over Thanksgiving
        ("2026-11-27 17:59:59", "2026-11-27 18:00:00"),
        ("2026-11-27 18:00:00", "2026-11-30 21:00:00"),
        ("2026-12-24 18:00:00", "2026-12-28 21:00:00"),
    ],
)
def test_the_next_close_is_never_one_of_a_closed_day(at, closes):
    assert close_after(utc(at)) == utc(closes)


@pytest.mark.parametrize(
    ("at", "closes"), [("2026-11-26 21:00", False), ("2026-11-27 18:00", True), ("2026-11-27 21:00", False)]
)
def test_a_close_is_at_its_days_hour(at, closes):
    assert is_close(utc(at)) is closes


def test_the_calendar_is_loaded_when_a_day_is_asked_for():
    code = "import sys, tickstockpl.ops.entry, tickstockpl.workers.windows; print('holidays' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("day", "night"),
    [
        ("2026-12-04", None),
        ("2026-12-06", None),
        ("2026-12-07", ("2026-12-07 02:00", "2026-12-07 09:00")),  # from Sunday 21:00 to 04:00 in New York
        ("2026-12-24", ("2026-12-24 02:00", "2026-12-24 09:00")),
        ("2026-12-25", None),
        ("2027-07-06", ("2027-07-06 01:00", "2027-07-06 08:00")),
    ],
)
def test_a_trading_day_has_a_night_before_it_from_december_2026_on(day, night):
    assert night_of(date.fromisoformat(day)) == (night and tuple(map(utc, night)))


@pytest.mark.parametrize(
    ("at", "traded"),
    [
        ("2026-11-30 08:59", False),
        ("2026-11-30 09:00", True),
        ("2026-12-01 00:59", True),
        ("2026-12-01 01:00", False),
        ("2026-12-01 02:30", False),  # no night yet
        ("2026-12-08 01:30", False),  # the pause from 20:00 to 21:00
        ("2026-12-08 02:00", True),
        ("2026-12-12 02:00", False),
        ("2026-12-25 15:00", False),
    ],
)
def test_the_market_trades_in_each_of_its_sessions_and_not_between_them(at, traded):
    assert is_traded(utc(at)) is traded


# Tuesday to Thursday: closed, closed from 11:00 on, and closed before it opened
AT_SHORT_NOTICE = {date(2026, 12, 15): None, date(2026, 12, 16): time(11), date(2026, 12, 17): time(9)}


@pytest.mark.parametrize(
    ("at", "traded", "is_open"),
    [
        ("2026-12-15 02:30", False, False),  # the night that would have been the closed day's
        ("2026-12-15 15:00", False, False),
        ("2026-12-16 02:30", True, False),
        ("2026-12-16 15:59", True, True),
        ("2026-12-16 16:00", True, False),  # 11:00 in New York; trades behind the close may go on
        ("2026-12-17 15:00", False, False),
        ("2026-12-18 15:00", True, True),
    ],
)
def test_a_closing_at_short_notice_is_a_closing(at, traded, is_open):
    assert is_traded(utc(at), AT_SHORT_NOTICE) is traded
    assert is_market_open(utc(at), AT_SHORT_NOTICE) is is_open


@pytest.mark.parametrize(
    ("at", "closes"),
    [
        ("2026-12-14 21:00", "2026-12-16 16:00"),
        ("2026-12-16 15:59", "2026-12-16 16:00"),
        ("2026-12-16 16:00", "2026-12-18 21:00"),
    ],
)
def test_the_next_close_is_that_of_a_day_that_opens(at, closes):
    assert close_after(utc(at), AT_SHORT_NOTICE) == utc(closes)
    assert is_close(utc(closes), AT_SHORT_NOTICE)


def test_a_closing_neither_opens_a_holiday_nor_lengthens_a_half_day():
    closures = {date(2026, 12, 25): time(12), date(2026, 12, 24): time(15), date(2026, 12, 19): time(15)}
    assert hours_of(date(2026, 12, 25), closures) is None
    assert hours_of(date(2026, 12, 24), closures) == hours_of(date(2026, 12, 24))
    assert hours_of(date(2026, 12, 19), closures) is None
