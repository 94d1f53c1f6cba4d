from datetime import UTC, datetime

import numpy as np
import pytest
from tickstockpl.workers.bar_runs import runs_around
from tickstockpl.workers.history import CLOSED_DTYPE, SLACK, History, session_of, windows_of
from tickstockpl.workers.windows import WINDOW

OPENING = 23_019_210  # 2013-10-07 13:30 UTC, 09:30 in New York
NIGHT = OPENING - 600


def bars(symbol, minutes, *, price=None, shares=100.0, notional=None):
    """Make bars of one symbol; by default the price tells the minute, so that every bar is known again."""
    minutes = np.atleast_1d(np.asarray(minutes))
    made = np.zeros(len(minutes), CLOSED_DTYPE)
    made["symbol"], made["minute"] = symbol, minutes
    made["close"] = minutes - NIGHT if price is None else price
    made["open"], made["high"], made["low"] = made["close"] - 0.25, made["close"] + 0.5, made["close"] - 0.5
    made["volume_micro"] = np.asarray(shares) * 1e6
    made["notional"] = made["close"] * shares if notional is None else notional
    return made


def history_of(*parts):
    history = History()
    for part in parts:
        history.append(part)
    return history


def closes(history, symbol, end=None):
    end = history.end_of(symbol) if end is None else end
    close = history.windows(np.array([symbol]), np.array([end]), WINDOW).close[0]
    return close[~np.isnan(close)].tolist()


def one(bar):
    return bar[0]


# -- appended ------------------------------------------------------------------------------------------------------


def fits(history, symbol, minute):
    return bool(history.fit(np.array([symbol]), np.array([minute]))[0])


def test_bars_of_many_symbols_are_appended_behind_each_symbols_last():
    history = history_of(
        np.concatenate([bars(0, NIGHT + np.array([1, 2])), bars(7, [NIGHT + 2])]),
        np.concatenate([bars(0, [NIGHT + 5]), bars(3, [NIGHT + 5]), bars(7, [NIGHT + 5])]),
    )
    assert [closes(history, symbol) for symbol in (0, 3, 7)] == [[1, 2, 5], [5], [2, 5]]
    assert [history.end_of(symbol) for symbol in (0, 1, 3, 7, 8, 999)] == [3, 0, 1, 2, 0, 0]


def test_a_window_holds_every_column_in_shares_and_dollars():
    history = history_of(bars(0, NIGHT + np.array([1, 2]), shares=0.25))
    columns = history.windows(np.array([0]), np.array([2]), 2)[:5]
    assert [column[0].tolist() for column in columns] == [[0.75, 1.75], [1.5, 2.5], [0.5, 1.5], [1, 2], [0.25, 0.25]]


def test_some_windows_are_read_again_as_wide_as_they_can_be():
    parts = [bars(symbol, NIGHT + np.arange(length)) for symbol, length in ((0, 300), (3, 20))]
    one, other = history_of(parts[0]), history_of(parts[1])
    places = [(one, np.array([0, 0]), np.array([300, 40])), (other, np.array([3]), np.array([20]))]
    whole = windows_of(places, 21).whole(np.array([0, 2]))
    assert whole.length.tolist() == [250, 20]
    assert [column[~np.isnan(column)].tolist() for column in whole.close] == [[*range(50, 300)], [*range(20)]]


@pytest.mark.parametrize("before", [0, 1, 30, WINDOW + SLACK])  # with the last one a row is full: its oldest bars go
def test_a_last_bar_that_was_taken_back_leaves_nothing(before):
    minutes = OPENING + np.arange(before)
    expected, history = History(), History()
    for one_history in (expected, history):
        for first in range(0, before, SLACK):
            one_history.append(bars(0, minutes[first : first + SLACK]))
    history.append(np.concatenate([bars(0, OPENING + before, price=999.0), bars(1, OPENING, price=999.0)]))
    history.drop_last(np.array([0, 1]))
    assert history.end_of(1) == 0
    assert history.last_minutes(np.array([0]))[0] == (minutes[-1] if before else -1)
    for one_history in (expected, history):
        one_history.append(bars(0, OPENING + before, price=7.0))
    assert closes(history, 0) == closes(expected, 0)
    sums, as_expected = (one.session_sums(np.array([0]), np.array([OPENING]), 1000) for one in (history, expected))
    np.testing.assert_array_equal(sums, as_expected)


def test_what_was_appended_is_given_back_as_it_came():
    given = bars(2, NIGHT + np.arange(60), shares=np.arange(1, 61) / 8, notional=np.arange(60) * 0.3)
    assert history_of(given).bars(2).tolist() == given.tolist()


def test_nothing_appended_changes_nothing():
    history = history_of(bars(0, [NIGHT]), bars(0, []))
    assert closes(history, 0) == [0]


def test_a_symbol_without_bars_has_none():
    history = history_of(bars(5, [NIGHT]))
    assert len(history.bars(1)) == len(history.bars(99)) == 0
    assert history.last_minutes(np.array([1, 5, 99])).tolist() == [-1, NIGHT, -1]
    assert history.bar(99, NIGHT) is None


# -- the last 250 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, SLACK])
def test_a_series_is_always_the_last_250_bars_however_they_came(step):
    history = History()
    minutes = np.arange(1000)
    for first in range(0, 1000, step):
        history.append(bars(0, NIGHT + minutes[first : first + step]))
        newest = min(1000, first + step)
        assert closes(history, 0) == list(range(max(0, newest - 250), newest))


def test_each_symbol_moves_to_the_left_by_itself():
    history = history_of(*(bars(0, [NIGHT + i]) for i in range(WINDOW + SLACK)), bars(1, NIGHT + 300 + np.arange(3)))
    history.append(np.concatenate([bars(0, [NIGHT + 500]), bars(1, [NIGHT + 500])]))
    assert closes(history, 0) == list(range(251, 501))
    assert closes(history, 1) == [300, 301, 302, 500]
    assert history.end_of(0) == WINDOW + 1


def test_windows_of_few_bars_are_padded_at_the_left():
    history = history_of(bars(0, NIGHT + np.arange(1, 4)), bars(1, NIGHT + np.arange(1, 7)), bars(2, [NIGHT + 9]))
    windows = history.windows(np.array([1, 0, 2]), np.array([6, 3, 1]), 4)
    nan = np.nan
    np.testing.assert_array_equal(windows.close, [[3, 4, 5, 6], [nan, 1, 2, 3], [nan, nan, nan, 9]])
    np.testing.assert_array_equal(windows.high, windows.close + 0.5)
    np.testing.assert_array_equal(windows.volume, np.where(np.isnan(windows.close), nan, 100.0))
    assert windows.length.tolist() == [4, 3, 1]


def test_a_window_up_to_an_earlier_bar_does_not_see_what_came_later():
    history = history_of(bars(0, NIGHT + np.arange(10)))
    assert history.windows(np.array([0]), np.array([4]), 3).close.tolist() == [[1, 2, 3]]
    assert closes(history, 0, end=4) == [0, 1, 2, 3]


def test_the_last_columns_of_windows_are_windows():
    history = history_of(bars(0, NIGHT + np.arange(2)), bars(1, NIGHT + np.arange(5)))
    last = history.windows(np.array([0, 1]), np.array([2, 5]), 5).last(3)
    np.testing.assert_array_equal(last.close, [[np.nan, 0, 1], [2, 3, 4]])
    assert last.length.tolist() == [2, 3]


def test_find_says_how_far_back_each_bars_window_may_reach():
    history = history_of(bars(0, NIGHT + np.array([1, 2, 5])), bars(1, [NIGHT + 5]))
    symbols = np.array([0, 0, 0, 0, 1, 1, 9])
    minutes = NIGHT + np.array([5, 2, 3, 6, 5, 1, 5])
    assert history.find(symbols, minutes).tolist() == [3, 2, 0, 0, 1, 0, 0]


# -- put in the middle ---------------------------------------------------------------------------------------------


def test_a_bar_is_put_between_others_in_its_place():
    history = history_of(bars(0, NIGHT + np.array([1, 2, 5])), bars(1, [NIGHT + 1]))
    history.put(one(bars(0, [NIGHT + 3])))
    assert closes(history, 0) == [1, 2, 3, 5]
    assert closes(history, 1) == [1]
    assert history.minutes(0).tolist() == [NIGHT + 1, NIGHT + 2, NIGHT + 3, NIGHT + 5]


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_bar_is_put_in_the_place_of_the_one_that_stands(at):
    history = history_of(bars(0, NIGHT + np.array([1, 2, 5])))
    history.put(one(bars(0, [NIGHT + at], price=99.0)))
    assert closes(history, 0) == [99 if minute == at else minute for minute in (1, 2, 5)]


def test_a_bar_put_into_a_full_history_drops_the_oldest():
    history = history_of(*(bars(0, [NIGHT + 2 * i]) for i in range(WINDOW + SLACK)))
    history.put(one(bars(0, [NIGHT + 899])))
    assert history.end_of(0) == WINDOW + SLACK
    assert closes(history, 0) == [*range(502, 900, 2), 899, *range(900, 1000, 2)]


def test_a_history_goes_on_behind_a_bar_that_was_put():
    history = history_of(bars(0, NIGHT + np.array([1, 2, 5])))
    history.put(one(bars(0, [NIGHT + 3])))
    history.append(bars(0, [NIGHT + 6]))
    assert closes(history, 0) == [1, 2, 3, 5, 6]


def test_a_loaded_history_is_the_one_that_it_was_taken_from():
    history = history_of(*(bars(4, [NIGHT + i], shares=i + 1) for i in range(400)))
    other = History()
    other.load(4, history.bars(4)[-WINDOW:])
    mine, theirs = (one.windows(np.array([4]), one.end[[4]], WINDOW)[:5] for one in (other, history))
    assert [column.tolist() for column in mine] == [column.tolist() for column in theirs]


def test_a_load_replaces_what_was_there():
    history = history_of(bars(0, NIGHT + np.arange(20)))
    history.load(0, bars(0, NIGHT + np.array([50, 51])))
    assert closes(history, 0) == [50, 51]


# -- bars of a span ------------------------------------------------------------------------------------------------


def spans(history, start, length):
    found, inside = history.span(np.array([0]), np.array([start]), length)
    return (found["minute"][inside] - NIGHT).tolist(), inside[0].tolist()


def test_a_span_holds_the_bars_within_it_the_last_one_in_the_last_column():
    history = history_of(bars(0, NIGHT + np.array([1, 5, 6, 8, 10, 17])))
    assert spans(history, NIGHT + 5, 5) == ([5, 6, 8], [False, False, True, True, True])
    assert spans(history, NIGHT + 15, 5) == ([17], [False, False, False, False, True])
    assert spans(history, NIGHT + 0, 5) == ([1], [False, False, False, False, True])
    assert spans(history, NIGHT + 20, 5) == ([], [False] * 5)


# -- sessions ------------------------------------------------------------------------------------------------------


def sums(history, symbol=0, end=None):
    minutes = history.minutes(symbol)[:end]
    found = history.session_sums(np.array([symbol]), minutes[-1:], 1)
    return float(found.notional[0]), float(found.volume[0])


def test_session_sums_run_from_the_opening_of_new_york():
    minutes = OPENING + np.array([-1, 0, 3, 389])
    history = history_of(bars(0, minutes, shares=[7, 100, 50, 2.5], notional=[99, 1000.125, 500.25, 0.000001]))
    assert [sums(history, end=end) for end in (2, 3, 4)] == [(1000.125, 100), (1500.375, 150), (1500.375001, 152.5)]


@pytest.mark.parametrize("minute", [OPENING - 1, OPENING + 390, OPENING + 1439])
def test_a_bar_outside_the_session_has_no_session_sums(minute):
    history = history_of(bars(0, [OPENING + 1]) if minute > OPENING else bars(0, []), bars(0, [minute]))
    assert np.isnan(sums(history)).all()


def test_each_session_begins_at_nothing():
    history = history_of(bars(0, [OPENING + 389], notional=5.0), bars(0, [OPENING + 1440], shares=3, notional=7.0))
    assert sums(history) == (7.0, 3.0)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_session_sums_do_not_depend_on_how_bars_came(step):
    minutes, shares = OPENING + np.arange(390), np.arange(1, 391) / 4
    notional = shares * 10.01
    history = History()
    for first in range(0, 390, step):
        part = slice(first, first + step)
        history.append(bars(0, minutes[part], shares=shares[part], notional=notional[part]))
    assert sums(history)[1] == 390 * 391 / 8
    assert sums(history)[0] == sum(round(value * 1e6) for value in notional.tolist()) / 1e6


def test_session_sums_survive_the_move_to_the_left():
    history = history_of(*(bars(0, [OPENING + i], shares=2, notional=3.0) for i in range(-200, 390)))
    assert history.end_of(0) < 390
    assert sums(history) == (390 * 3.0, 390 * 2.0)


def test_a_history_loaded_in_the_middle_of_a_session_goes_on_from_the_sums_before_it():
    history = History()
    loaded = bars(0, OPENING + np.array([388, 389, 390, 1440]), shares=[1, 2, 4, 8], notional=[1.0, 2.0, 4.0, 8.0])
    history.load(0, loaded, (500_000_000, 250_000_000))
    assert [sums(history, end=end) for end in (1, 2, 4)] == [(501.0, 251.0), (503.0, 253.0), (8.0, 8.0)]
    assert np.isnan(sums(history, end=3)).all()


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bar_put_in_its_place_sets_the_session_sums_behind_it_right(at):
    before = (500_000_000, 250_000_000)
    minutes = OPENING + np.array([300, 301, 302])
    history = History()
    history.load(0, bars(0, minutes, shares=[1, 2, 4], notional=[1.0, 2.0, 4.0]), before)
    history.put(one(bars(0, [minutes[at]], shares=10, notional=20.0)))
    shares, dollars = [1, 2, 4], [1, 2, 4]
    shares[at], dollars[at] = 10, 20
    expected = [(500 + sum(dollars[:n]), 250 + sum(shares[:n])) for n in (1, 2, 3)]
    assert [sums(history, end=end) for end in (1, 2, 3)] == expected


def test_session_sums_survive_a_bar_put_into_a_full_history():
    minutes = OPENING + np.array([*range(-116, 100), *range(101, 385)])
    history = history_of(*(bars(0, [minute], shares=2, notional=3.0) for minute in minutes))
    history.put(one(bars(0, [OPENING + 100], shares=2, notional=3.0)))
    assert history.end_of(0) == len(minutes) == WINDOW + SLACK
    assert sums(history) == (385 * 3.0, 385 * 2.0)


def test_a_bar_put_before_a_sessions_first_counts_in_all_behind_it():
    history = history_of(bars(0, OPENING + np.array([-5, 2, 3]), shares=1, notional=[9.0, 1.0, 2.0]))
    history.put(one(bars(0, [OPENING + 1], shares=10, notional=30.0)))
    assert [sums(history, end=end) for end in (2, 3, 4)] == [(30, 10), (31, 11), (33, 12)]


# -- sums that are very large --------------------------------------------------------------------------------------


def test_bars_that_are_put_leave_sums_whole_above_what_a_double_holds():
    before = (2**53 + 1, 2**53 + 1)
    history = History()
    history.load(0, bars(0, OPENING + np.array([300, 302]), shares=1e-6, notional=1e-6), before)
    for _ in range(100):
        history.put(one(bars(0, [OPENING + 301], shares=1e-6, notional=1e-6)))
    assert sums(history) == ((2**53 + 4) / 1e6, (2**53 + 4) / 1e6)


@pytest.mark.parametrize("notional", [2.5e12, 1e26, 1e30])
@pytest.mark.parametrize("together", [True, False])
def test_a_session_with_a_sum_that_is_too_large_has_none_from_there_on_and_the_next_one_has(notional, together):
    large = bars(0, OPENING + np.array([0, 1, 2, 1440]), price=2.0, shares=2, notional=[3.0, notional, 3.0, 5.0])
    other = bars(1, OPENING + np.array([0, 1]), shares=2, notional=3.0)
    rows = np.concatenate([large, other])
    history = history_of(rows) if together else history_of(*(rows[i : i + 1] for i in range(len(rows))))
    assert [sums(history, end=end) for end in (1, 4)] == [(3.0, 2.0), (5.0, 2.0)]
    assert np.isnan([sums(history, end=end) for end in (2, 3)]).all()
    assert sums(history, 1) == (6.0, 4.0)


@pytest.mark.parametrize("count", [2, 4, 8, 390])
def test_large_bars_never_add_up_to_a_small_sum(count):
    notional = 2.0**61 / 1e6  # millionths that are 0 in 64 bits after eight bars
    history = history_of(bars(0, OPENING + np.arange(count), shares=1, notional=notional))
    assert np.isnan([sums(history, end=end) for end in range(1, count + 1)]).all()


def test_too_many_shares_leave_no_sums_either():
    assert np.isnan(sums(history_of(bars(0, [OPENING], shares=1e14, notional=1.0)))).all()


def test_a_history_that_is_loaded_behind_sums_too_large_has_none_also_after_a_bar_was_put():
    history = History()
    history.load(0, bars(0, OPENING + np.array([300, 302]), shares=1, notional=1.0), (2**61, 2_000_000))
    history.put(one(bars(0, [OPENING + 301], shares=1, notional=1.0)))
    history.append(bars(0, [OPENING + 303], shares=1, notional=1.0))
    assert np.isnan([sums(history, end=end) for end in (1, 2, 3, 4)]).all()


@pytest.mark.parametrize(
    ("minute", "start"),
    [
        ("2013-10-07T13:29", None),
        ("2013-10-07T13:30", "2013-10-07T13:30"),
        ("2013-10-07T19:59", "2013-10-07T13:30"),
        ("2013-10-07T20:00", None),
        ("2013-11-01T13:30", "2013-11-01T13:30"),  # the Friday before the clocks go back
        ("2013-11-04T13:30", None),
        ("2013-11-04T14:30", "2013-11-04T14:30"),
        ("2013-11-04T20:59", "2013-11-04T14:30"),
        ("2025-03-07T14:30", "2025-03-07T14:30"),  # and the one before they go forward
        ("2025-03-10T13:30", "2025-03-10T13:30"),
        ("2025-03-10T20:00", None),
        ("2025-01-02T00:00", None),
        ("2026-11-27T17:59", "2026-11-27T14:30"),  # a half day: the market closes at 13:00 in New York
        ("2026-11-27T18:00", None),
        ("2026-11-30T18:00", "2026-11-30T14:30"),
        ("2026-11-28T20:59", "2026-11-28T14:30"),  # a Saturday, on which only a made-up market trades
    ],
)
def test_a_session_begins_at_half_past_nine_in_new_york_in_summer_and_winter(minute, start):
    found = session_of(np.array([number_of(minute)]))
    assert found.tolist() == [number_of(start) if start else -1]


def test_sessions_of_many_days_are_told_apart():
    minutes = OPENING + np.array([0, 1440, 1441, 500, 389])
    assert session_of(minutes).tolist() == [OPENING, OPENING + 1440, OPENING + 1440, -1, OPENING]


def number_of(iso):
    return int(datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp()) // 60


def test_a_bar_fits_where_a_whole_window_stands_before_it():
    short = history_of(bars(0, NIGHT + np.arange(10, 50)))
    assert fits(short, 0, NIGHT + 1)
    assert fits(short, 0, NIGHT + 20)
    full = history_of(*(bars(0, [NIGHT + i]) for i in range(300)))
    assert fits(full, 0, NIGHT + 248)
    full.note_cut(np.array([0]), np.array([True]), np.array([0]))
    assert fits(full, 0, NIGHT + 249)
    assert not fits(full, 0, NIGHT + 248)


# -- gaps that no window reaches over ------------------------------------------------------------------------------

YEARS = 13 * 365 * 1440


def test_a_bar_far_behind_the_last_one_begins_a_new_history():
    history = history_of(bars(0, NIGHT + np.arange(30)))
    history.append(bars(0, NIGHT + YEARS + np.arange(3)))
    assert history.minutes(0).tolist() == [NIGHT + YEARS + i for i in range(3)]


def test_a_weekend_with_a_holiday_is_no_gap():
    history = history_of(bars(0, NIGHT + np.arange(30), price=50.0))
    history.append(bars(0, [NIGHT + 5 * 1440], price=50.0))
    assert history.end_of(0) == 31


def test_bars_behind_a_gap_are_told_apart_within_a_batch_and_from_the_last_bar_before():
    history = history_of(bars(2, [NIGHT - YEARS], price=1.0), bars(3, [NIGHT - 1], price=1.0))
    rows = np.concatenate(
        [bars(i, minutes, price=1.0) for i, minutes in [(0, [NIGHT, NIGHT + YEARS]), (2, [NIGHT]), (3, [NIGHT])]]
    )
    assert history.begin_runs(rows).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("minute", "run"), [(1, (0, 3)), (2, (0, 3)), (YEARS - 5, (0, 3)), (YEARS, (3, 5)), (2**31 - 1, (3, 5))]
)
def test_the_run_around_a_minute_ends_at_the_gaps(minute, run):
    (begin,), (stop,) = runs_around(bars(0, [0, 1, 2, YEARS, YEARS + 1], price=1.0), np.array([5]), np.array([minute]))
    assert (begin, stop) == run


def test_the_runs_of_several_histories_are_found_together_also_of_those_without_bars():
    three = [bars(1, [0, YEARS, YEARS + 1], price=1.0), bars(4, [7], price=1.0), bars(9, [5, YEARS], price=1.0)]
    counts, minutes = np.array([0, 3, 0, 1, 2, 0]), np.array([9, 1, 9, 0, YEARS, 9])
    begin, stop = runs_around(np.concatenate(three), counts, minutes)
    assert [*zip(begin.tolist(), stop.tolist(), strict=True)] == [(0, 0), (0, 1), (3, 3), (3, 4), (5, 6), (6, 6)]
    nothing = runs_around(bars(0, [], price=1.0), np.array([0, 0]), np.array([1, 2]))
    assert [places.tolist() for places in nothing] == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("closed", "opened", "minutes", "begins"),
    [
        (1200.0, 120.0, 1050, True),  # 10 for 1
        (90.0, 60.0, 1050, True),  # 3 for 2
        (2.0, 16.0, 1050, True),  # 1 for 8
        (100.0, 71.0, 1050, False),  # a bad night
        (100.0, 140.0, 1050, False),  # a good one
        (100.0, 50.0, 5, False),  # a crash within the day
        (100.0, 50.0, 3 * 1440, True),  # over a weekend
    ],
)
def test_a_night_that_changes_the_unit_of_the_price_begins_a_new_history(closed, opened, minutes, begins):
    before, after = bars(0, [OPENING], price=closed), bars(0, [OPENING + minutes], price=opened)
    after["open"] = opened
    assert history_of(before).begin_runs(after).tolist() == [begins]
    assert history_of(before, after).end_of(0) == (1 if begins else 2)
    begin, _ = runs_around(np.concatenate([before, after]), np.array([2]), np.array([OPENING + minutes]))
    assert begin.tolist() == [1 if begins else 0]


def test_a_late_bar_from_before_a_split_does_not_fit_into_the_history_behind_it():
    history = history_of(bars(0, [OPENING], price=90.0), bars(0, OPENING + 1440 + np.arange(20), price=30.0))
    assert not fits(history, 0, OPENING + 1)
    assert fits(history, 0, OPENING + 1440)
    assert history.begins(0) == OPENING + 1440
