"""When a session starts and ends: the market's hours. Its row and its messages: integration/test_voice.py."""

from datetime import UTC, datetime

import pytest
from tickstockpl.contracts.market_hours import close_after, is_close, is_market_open


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-01-15 14:29:59", False),  # winter: New York is five hours behind
        ("2026-01-15 14:30:00", True),
        ("2026-01-15 20:59:59", True),
        ("2026-01-15 21:00:00", False),
        ("2026-07-15 13:29:59", False),  # summer: four hours
        ("2026-07-15 13:30:00", True),
        ("2026-07-15 20:00:00", False),
        ("2026-07-18 15:00:00", False),  # a Saturday
        ("2026-07-19 15:00:00", False),
    ],
)
def test_the_market_is_open_from_half_past_nine_to_four_in_new_york_on_weekdays(at, is_open):
    assert is_market_open(utc(at)) is is_open


@pytest.mark.parametrize(
    ("started", "ends"),
    [
        ("2026-01-15 14:30:00", "2026-01-15 21:00:00"),
        ("2026-01-15 20:59:59", "2026-01-15 21:00:00"),
        ("2026-01-15 21:00:00", "2026-01-16 21:00:00"),  # after the close: the next day's
        ("2026-01-09 22:00:00", "2026-01-12 21:00:00"),  # Friday evening: Monday
        ("2026-01-16 22:00:00", "2026-01-20 21:00:00"),  # Tuesday, where Monday is Martin Luther King's day
        ("2026-03-07 12:00:00", "2026-03-09 20:00:00"),  # the clocks go forward on the Sunday between
        ("2026-10-30 23:00:00", "2026-11-02 21:00:00"),  # and back
    ],
)
def test_a_session_ends_at_the_first_close_after_its_start(started, ends):
    assert close_after(utc(started)) == utc(ends)


@pytest.mark.parametrize(
    ("at", "closes"),
    [
        ("2026-01-15 20:59:59", False),
        ("2026-01-15 21:00:00", True),
        ("2026-01-15 21:00:01", False),
        ("2026-01-17 21:00:00", False),
    ],
)
def test_a_close_is_told_from_other_times(at, closes):
    assert is_close(utc(at)) is closes
