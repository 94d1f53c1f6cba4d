"""Which bars are regular ones, and what detectors find when they look at these alone. Times: New York's, in minutes."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import talib
from tickstockpl.workers.detect.definition import Definitions
from tickstockpl.workers.detect.definitions import default_definitions, pattern_definition
from tickstockpl.workers.detect.detector import COMPLETE, Detector
from tickstockpl.workers.detect.find_indicators import find_indicators
from tickstockpl.workers.detect.find_patterns import find_patterns
from tickstockpl.workers.history import CLOSED_DTYPE
from tickstockpl.workers.marks import AFFECTED, NEW, higher_marks, marks_of
from tickstockpl.workers.sessions import Sessions, Track, in_regular_hours, same_minutes_before


def minute(text):
    """Return the minute since 1970 of a time in New York, "2025-11-28 09:30"."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) // 60


# -- the regular hours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "first", "end"),
    [
        ("2025-10-06", "09:30", "16:00"),
        ("2025-11-28", "09:30", "13:00"),  # the day after Thanksgiving
        ("2025-10-31", "09:30", "16:00"),  # the last trading day of summer time, 13:30 UTC
        ("2025-11-03", "09:30", "16:00"),  # the first one of winter time, 14:30 UTC
        ("2025-11-27", "09:30", "16:00"),  # closed: only a made-up market has bars then
    ],
)
def test_a_minute_is_regular_from_the_opening_to_the_close(day, first, end):
    opens, closes = minute(f"{day} {first}"), minute(f"{day} {end}")
    sides = np.array([opens - 1, opens, closes - 1, closes])
    assert in_regular_hours(sides, 1).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("timeframe", "first", "last"),
    [(5, "09:30", "15:55"), (15, "09:30", "15:45"), (30, "09:30", "15:30"), (60, "09:00", "15:00")],
)
def test_a_longer_bar_is_regular_where_it_overlaps_the_hours(timeframe, first, last):
    sides = np.array([minute(f"2025-10-06 {first}"), minute(f"2025-10-06 {last}")])
    around = np.array([sides[0] - timeframe, *sides, sides[1] + timeframe])
    assert in_regular_hours(around, timeframe).tolist() == [False, True, True, False]


def test_of_a_symbol_that_never_closes_each_bar_is_regular():
    sessions = Sessions(["AAPL", "X:BTCUSD"])
    night = np.full(2, minute("2025-10-06 02:00"))
    assert sessions.are_regular(np.array([0, 1]), night, 1).tolist() == [False, False]
    sessions.always_open = frozenset({"X:BTCUSD"})
    assert sessions.are_regular(np.array([0, 1]), night, 1).tolist() == [False, True]
    sessions.always_open = frozenset({"*"})
    assert sessions.are_regular(np.array([0, 1]), night, 1).tolist() == [True, True]


# -- what is found -------------------------------------------------------------------------------------------------


def bars(minutes, closes, shares=1000.0, *, spread=0.05):
    made = np.zeros(len(minutes), CLOSED_DTYPE)
    made["minute"], made["close"], made["open"] = minutes, closes, closes
    made["high"], made["low"] = made["close"] + spread, made["close"] - spread
    made["volume_micro"] = np.broadcast_to(np.asarray(shares) * 1e6, len(minutes))
    made["notional"] = made["close"] * made["volume_micro"] / 1e6
    return made


def detector_of(*parts, definitions=None, always_open=()):
    """Make a detector of one symbol, A, that was given these bars one after another; return it and the last marks."""
    detector = Detector(["A"])
    detector.take_wanted((definitions or default_definitions()).tracks())
    detector.take_always_open(frozenset(always_open))
    detector.set_reach(0, COMPLETE)
    for some in (part[first : first + 50] for part in parts for first in range(0, len(part), 50)):
        marks = detector.absorb(some, np.zeros(len(some), bool), publish=True)
    return detector, marks


def only(name, **parameters):
    return Definitions([pattern_definition(name, 0.0, ["1min"], parameters)])


def found_in(detector, marks, definitions):
    return [(d.pattern, d.minute) for d in find_patterns([(detector, marks)], definitions, 0.0)[0].detections]


def day(date, *, shares=1000.0):
    """A flat day of regular hours, whose opening minute has twenty times the volume of the others."""
    minutes = minute(f"{date} 09:30") + np.arange(390)
    volume = np.where(np.arange(390) == 0, 20 * shares, shares)
    return bars(minutes, 100 + np.arange(390) % 2 * 0.1, volume)


def pre_market(date, *, shares=100.0):
    return bars(minute(f"{date} 08:30") + np.arange(60), 100 + np.arange(60) % 2 * 0.1, shares)


def test_a_bar_outside_of_the_regular_hours_has_no_result():
    spike = bars([minute("2025-10-07 08:00")], [100], 100_000.0)
    detector, marks = detector_of(day("2025-10-06"), spike)
    assert found_in(detector, marks, only("Volume_Spike")) == []
    detector, marks = detector_of(day("2025-10-06"), spike, definitions=only("Volume_Spike", session="extended"))
    (found,) = found_in(detector, marks, only("Volume_Spike", session="extended"))
    assert found == ("Volume_Spike", minute("2025-10-07 08:00"))


def test_a_market_that_never_closes_has_results_at_night():
    spike = bars([minute("2025-10-07 02:00")], [100], 100_000.0)
    detector, marks = detector_of(day("2025-10-06"), spike, always_open={"A"})
    assert found_in(detector, marks, only("Volume_Spike")) == [("Volume_Spike", minute("2025-10-07 02:00"))]


def test_head_and_shoulders_are_not_made_of_a_night_of_thin_prints():
    """Shoulders before the close and after the opening, and between them a head of the night's prints."""
    corners = [0, 80, 86, 92, 98, 104, 113]  # as clean_head_shoulders in test_patterns.py
    closes = np.interp(np.arange(114), corners, [79, 103, 100, 106, 100, 103, 99.4])
    evening = bars(minute("2025-10-06 16:00") - 90 + np.arange(90), closes[:90])
    night = bars(minute("2025-10-07 08:00") + np.arange(5) * 17, closes[90:95], 100.0)
    morning = bars(minute("2025-10-07 09:30") + np.arange(19), closes[95:])
    at_break = {}
    for session in ("regular", "extended"):
        rows = only("HeadShoulders", session=session)
        detector, _ = detector_of(evening, night, morning, definitions=rows)
        marks = marks_of(np.zeros(19, int), morning["minute"], NEW, publish=True)
        at_break[session] = found_in(detector, marks, rows)
    assert at_break["regular"] == []
    assert len(at_break["extended"]) == 1


def test_rsi_after_the_opening_is_talibs_over_the_regular_bars():
    rng = np.random.default_rng(7)
    before = day("2025-10-06")
    before["close"] = 100 + rng.normal(0, 0.1, 390).cumsum()
    night = pre_market("2025-10-07")
    night["close"] = before["close"][-1] + rng.normal(0, 0.5, 60).cumsum()
    opening = bars(minute("2025-10-07 09:30") + np.arange(6), night["close"][-1] + rng.normal(0, 0.1, 6).cumsum())
    detector, marks = detector_of(before, night, opening)
    assert len(marks) == 6
    (found,) = find_indicators([(detector, marks)], default_definitions(), 0.0)
    (value,) = [
        value.value
        for column in found.columns
        for value in column.each()
        if (value.indicator, value.minute) == ("RSI", minute("2025-10-07 09:35"))
    ]
    closes = np.concatenate([before["close"], opening["close"]])[-250:]
    assert value == pytest.approx(talib.RSI(closes, timeperiod=14)[-1], abs=1e-9)
    with_night = np.concatenate([before["close"], night["close"], opening["close"]])[-250:]
    assert abs(value - talib.RSI(with_night, timeperiod=14)[-1]) > 1


def test_a_window_runs_from_a_half_day_to_the_next_regular_day():
    half = day("2025-11-28")
    half["close"] = np.minimum(np.arange(390), 209)
    monday = bars([minute("2025-12-01 09:30")], [210])
    detector, _ = detector_of(half, monday)
    history = detector.histories[Track("regular", 1)]
    windows = history.windows(np.array([0]), np.array([history.end_of(0)]), 211)
    assert windows.close.tolist() == [[*range(211)]]  # of the half day 09:30 to 13:00
    assert history.end_of(0) == 211


def test_a_late_bar_before_the_opening_changes_no_regular_result():
    opening = bars(minute("2025-10-07 09:30") + np.arange(5), [100.0] * 5)
    detector, _ = detector_of(day("2025-10-06"), pre_market("2025-10-07")[:-5], opening)
    before = detector.histories[Track("regular", 1)].bars(0).copy()
    late = bars([minute("2025-10-07 09:28")], [150])
    marks = detector.absorb(late, np.zeros(1, bool), publish=True)
    assert detector.histories[Track("regular", 1)].bars(0).tolist() == before.tolist()
    assert marks["minute"].tolist() == [minute("2025-10-07 09:28")]  # nothing hangs on it
    assert found_in(detector, marks, default_definitions()) == []
    detector.absorb_higher(higher_marks(marks[marks["kind"] != AFFECTED]))
    hourly = detector.histories[Track("regular", 60)].bars(0)
    assert hourly["high"][-1] == 150.05  # but the hour bar of 09:00 is one of both


def test_bars_of_the_whole_day_are_kept_where_a_row_asks_for_them():
    rows = only("Volume_Spike", session="extended")
    detector, _ = detector_of(day("2025-10-06"), pre_market("2025-10-07"), definitions=rows)
    assert len(detector.histories[Track("extended", 1)].bars(0)) >= 250


# -- volume, against the same minute of the days before ------------------------------------------------------------


def opening_of(date, shares):
    return bars([minute(f"{date} 09:30")], [100], shares)


def spikes(detector, marks, volumes_of=None, *, session="regular"):
    given = {} if volumes_of is None else {"volumes_of": volumes_of}
    (found,) = find_patterns([(detector, marks)], only("Volume_Spike", session=session), 0.0, **given)
    return [(d.minute, round(d.confidence, 4)) for d in found.detections]


def openings_of(shares):
    """Answer for each of the 7 days before with the volume of that day's opening; NaN: there was no bar."""

    def volumes_of(timeframe, names, minutes):
        assert (timeframe, names) == (1, ["A"])
        return np.array([shares] * len(minutes))

    return volumes_of


def test_an_ordinary_opening_is_no_spike_though_it_trades_twenty_times_what_the_close_did():
    detector, marks = detector_of(day("2025-10-06"), opening_of("2025-10-07", 21_000.0))
    usual = [20_000, np.nan, np.nan, 19_000, 22_000, 18_000, 21_000]
    assert spikes(detector, marks, openings_of(usual)) == []


def test_an_opening_that_trades_four_times_the_usual_is_a_spike():
    """The five days before have a mean of 20,000 and a deviation of 1,414: a quarter of the mean, 5,000, counts.

    (80,000 - 20,000) / 5,000 = 12 deviations; the confidence is 1 - 0.4 x 8 / 12.
    """
    detector, marks = detector_of(day("2025-10-06"), opening_of("2025-10-07", 80_000.0))
    usual = [20_000, np.nan, np.nan, 19_000, 22_000, 18_000, 21_000]
    assert spikes(detector, marks, openings_of(usual)) == [(minute("2025-10-07 09:30"), 0.7333)]


def test_an_opening_without_a_day_to_compare_with_is_no_spike():
    detector, marks = detector_of(day("2025-10-06"), opening_of("2025-10-07", 80_000.0))
    assert spikes(detector, marks) == []


@pytest.mark.parametrize(("last", "found"), [("15:58", [0.9899]), ("15:59", [])])
def test_the_closing_auction_without_a_day_to_compare_with_is_no_spike(last, found):
    minutes = np.arange(minute("2025-10-07 09:30"), minute(f"2025-10-07 {last}") + 1)
    volume = np.where(minutes == minutes[-1], 80_000, 1000)
    detector, marks = detector_of(bars(minutes, [100.0] * len(minutes), volume))
    assert [confidence for _, confidence in spikes(detector, marks)] == found


def test_at_noon_the_bars_before_alone_decide_where_no_day_is_there():
    noon = bars(minute("2025-10-07 09:30") + np.arange(30), [100.0] * 30, np.where(np.arange(30) == 29, 80_000, 1000))
    detector, marks = detector_of(day("2025-10-06"), noon)
    assert spikes(detector, marks) == [(minute("2025-10-07 09:59"), 0.9899)]  # 316 deviations: 1 - 0.4 x 8 / 316


def test_a_volume_from_before_a_split_is_not_compared_with():
    detector, marks = detector_of(day("2025-10-06"), opening_of("2025-10-07", 80_000.0))
    detector.splits.minutes = {"A": (minute("2025-10-03 00:00"),)}
    asked = []

    def volumes_of(timeframe, names, minutes):
        asked.append((timeframe, names, minutes.tolist()))
        return np.full(minutes.shape, np.nan)

    spikes(detector, marks, volumes_of)
    days = [minute(f"2025-10-{day} 09:30") for day in ("06", "05", "04", "03")]
    assert asked == [(1, ["A"], [[*days, -1, -1, -1]])]


def test_the_same_minute_is_that_of_new_york_when_its_clocks_change():
    monday = minute("2025-11-03 09:30")  # 14:30 UTC; the Friday before opened at 13:30
    assert same_minutes_before(np.array([monday]), 1)[0].tolist() == [
        minute(f"2025-{day} 09:30") for day in ("11-02", "11-01", "10-31", "10-30", "10-29", "10-28", "10-27")
    ]
    assert monday - minute("2025-10-31 09:30") == 3 * 1440 + 60


def test_the_afternoon_of_a_half_day_is_not_compared_with():
    (before,) = same_minutes_before(np.array([minute("2025-12-01 14:00")]), 1)
    assert before.tolist()[2] == -1  # Friday 2025-11-28
    assert before.tolist()[5] == minute("2025-11-25 14:00")


@pytest.mark.parametrize(("yesterday", "found"), [(80_000.0, []), (1000.0, [(minute("2025-10-07 09:54"), 0.9899)])])
def test_the_same_minute_may_still_be_in_the_history_and_not_in_the_tables(yesterday, found):
    """A replay commits several days of a thin symbol at once: 25 bars a day."""
    thin = [bars(minute(f"2025-10-{date} 09:30") + np.arange(25), [100.0] * 25, 1000.0) for date in ("06", "07")]
    thin[0]["volume_micro"][-1] = yesterday * 1e6
    thin[1]["volume_micro"][-1] = 80_000e6
    detector, marks = detector_of(*thin)
    assert spikes(detector, marks) == found
