"""Which days an import asks for and when, which answers are final, and how long a phase still takes."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from tickstockpl.workers.daily.import_days import asks_by_symbol, days_to_ask, final_from, waits_until
from tickstockpl.workers.daily.market_days import session_on
from tickstockpl.workers.daily.run_moves import eta_s_of

FRIDAY = date(2025, 11, 21)
CLOSES = datetime(2025, 11, 21, 21, tzinfo=UTC)  # 16:00 in New York


@pytest.mark.parametrize(
    ("day", "closures", "expected"),
    [
        (date(2025, 11, 20), {}, datetime(2025, 11, 21, 16, tzinfo=UTC)),
        (FRIDAY, {}, datetime(2025, 11, 24, 16, tzinfo=UTC)),  # over a weekend
        (date(2025, 11, 26), {}, datetime(2025, 11, 28, 16, tzinfo=UTC)),  # over Thanksgiving
        (FRIDAY, {date(2025, 11, 24): None}, datetime(2025, 11, 25, 16, tzinfo=UTC)),
        (FRIDAY, {date(2025, 11, 24): time(12)}, datetime(2025, 11, 24, 16, tzinfo=UTC)),
        (date(2025, 10, 30), {}, datetime(2025, 10, 31, 15, tzinfo=UTC)),  # summer time
    ],
)
def test_a_day_is_final_from_eleven_of_the_next_trading_day_on(day, closures, expected):
    assert final_from(day, closures) == expected


@pytest.mark.parametrize(
    ("minutes", "delay_s", "expected"),
    [
        (10, 0, None),  # 16:10, and no delay
        (10, 900, CLOSES + timedelta(minutes=15)),
        (15, 900, None),  # it is there now
        (-16, 900, None),  # longer than anybody waits
        (-15, 900, CLOSES + timedelta(minutes=15)),
        (10, 86_400, None),
    ],
)
def test_a_delayed_tape_is_waited_for_up_to_half_an_hour(minutes, delay_s, expected):
    assert waits_until(session_on(FRIDAY), CLOSES + timedelta(minutes=minutes), delay_s) == expected


def test_a_day_is_asked_for_while_a_symbol_has_no_final_bar_of_it():
    thursday = FRIDAY - timedelta(days=1)
    assert days_to_ask([thursday, FRIDAY], {thursday: 3, FRIDAY: 2}, 3) == [FRIDAY]


def test_the_way_with_fewer_requests_is_taken():
    assert asks_by_symbol([FRIDAY] * 20, 3)
    assert not asks_by_symbol([FRIDAY], 1)


@pytest.mark.parametrize(
    ("phase_s", "share", "waits_s", "expected"),
    [(30.0, 0.25, 0.0, 90.0), (30.0, 0.25, 60.0, 150.0), (5.0, 0.0, 60.0, 60.0), (5.0, 0.0, 0.0, None)],
)
def test_the_time_left_includes_what_the_vendor_makes_us_wait(phase_s, share, waits_s, expected):
    assert eta_s_of(phase_s, share, waits_s) == expected
