"""Which parts of a gap of a live feed may hold trades."""

from datetime import UTC, date, datetime, time

import pytest
from tickstockpl.ops.wiring.live_hours import LiveHours, market_parts


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def until(text):
    return ms(text) - 1


def test_a_long_gap_is_cut_at_the_hours_in_which_nobody_trades():
    friday_1859, friday_2000 = 1_763_769_540_000, 1_763_773_200_000  # 2025-11-21, by the clock of New York
    monday_0400, monday_0405 = 1_763_974_800_000, 1_763_975_100_000

    assert market_parts(friday_1859, monday_0405) == [(friday_1859, friday_2000 - 1), (monday_0400, monday_0405)]
    assert market_parts(friday_1859, friday_1859 + 3_600_000) == [(friday_1859, friday_1859 + 3_600_000)]


def test_a_gap_over_thanksgiving_has_the_wednesday_before_and_the_half_day_behind():
    wednesday_1930, wednesday_2000 = 1_764_203_400_000, 1_764_205_200_000  # 2025-11-26, by the clock of New York
    friday_0400, friday_1700 = 1_764_320_400_000, 1_764_367_200_000  # a half day: its last session ends at 17:00
    saturday_1200 = 1_764_435_600_000

    parts = market_parts(wednesday_1930, saturday_1200)
    assert parts == [(wednesday_1930, wednesday_2000 - 1), (friday_0400, friday_1700 - 1)]


def test_a_gap_over_a_day_that_was_closed_at_short_notice_has_nothing_of_that_day():
    first, last = ms("2026-12-14 20:00"), ms("2026-12-16 15:00")
    tuesday, wednesday = ("2026-12-15 02:00", "2026-12-16 01:00"), ms("2026-12-16 02:00")

    monday = (first, until("2026-12-15 01:00"))
    assert market_parts(first, last) == [monday, (ms(tuesday[0]), until(tuesday[1])), (wednesday, last)]
    assert market_parts(first, last, {date(2026, 12, 15): None}) == [monday, (wednesday, last)]
    early = market_parts(first, last, {date(2026, 12, 15): time(11)})
    assert early == [monday, (ms(tuesday[0]), until(tuesday[1])), (wednesday, last)]  # trades may follow a close


@pytest.mark.parametrize(
    ("first", "last", "parts"),
    [
        ("2026-03-06 23:00", "2026-03-09 12:00", [("2026-03-06 23:00", "2026-03-07 01:00"), ("2026-03-09 08:00", "")]),
        ("2026-10-30 23:00", "2026-11-02 12:00", [("2026-10-30 23:00", "2026-10-31 00:00"), ("2026-11-02 09:00", "")]),
        ("2026-11-26 15:00", "2026-11-26 22:00", []),  # Thanksgiving
    ],
)
def test_a_gap_over_a_change_of_the_clocks_is_cut_by_new_yorks_hours(first, last, parts):
    expected = [(ms(begins), until(ends) if ends else ms(last)) for begins, ends in parts]
    assert market_parts(ms(first), ms(last)) == expected


@pytest.mark.parametrize("options", [(True, False), (False, True)])
def test_a_gap_of_a_market_that_never_closes_is_whole(options):
    watches_always, never_closes = options
    hours = LiveHours("", watches_always=watches_always, never_closes=never_closes)
    gap = ms("2026-11-20 23:59"), ms("2026-11-23 09:05")
    assert hours.parts(*gap) == [gap]
    assert hours.is_traded(datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert hours.is_watched(datetime(2026, 11, 22, 12, tzinfo=UTC)) is watches_always
