"""What is measured of patterns: bars whose right answer is known by hand, and bars in another order."""

import numpy as np
import pytest
from tickstockpl.ops.measure.aftermath import aftermath, mean_true_range
from tickstockpl.ops.measure.bar_files import Market, openings_of
from tickstockpl.ops.measure.command import definitions_of
from tickstockpl.ops.measure.finding import DAILY, begin_runs, find
from tickstockpl.ops.measure.intervals import mean_of, student
from tickstockpl.ops.measure.measuring import Options, measure
from tickstockpl.ops.measure.shuffle import shuffled, stretches
from tickstockpl.workers.detect.patterns.registry import PATTERNS
from tickstockpl.workers.history import CLOSED_DTYPE
from tickstockpl.workers.windows import WINDOW, Windows

OPENS = 23_019_210  # 2013-10-07 13:30 UTC, 09:30 in New York
DAY = 1440


def bars_of(closes, *, symbol=0, first=OPENS, volume=1000):
    """Make minute bars that open at their close, 10 cents from their high and their low: a range of 20 cents."""
    bars = np.zeros(len(closes), CLOSED_DTYPE)
    bars["symbol"], bars["minute"] = symbol, first + np.arange(len(closes))
    bars["open"] = bars["close"] = closes
    bars["high"], bars["low"] = np.array(closes) + 0.1, np.array(closes) - 0.1
    bars["volume_micro"] = volume * 10**6
    return bars


def walk(count, *, seed, symbol=0, first=OPENS, step=0.03):
    """Make bars of a random walk in whole cents. Seeded."""
    rng = np.random.default_rng(seed)
    prices = 50 + np.round(np.cumsum(rng.normal(0, step, (count, 4)).ravel()), 2).reshape(count, 4)
    bars = bars_of(prices[:, 3], symbol=symbol, first=first)
    bars["open"], bars["high"], bars["low"] = prices[:, 0], prices.max(axis=1), prices.min(axis=1)
    bars["volume_micro"] = rng.integers(1, 5000, count) * 10**6
    return bars


def two_symbols():
    """Make A, which rises by a dollar at its 51st minute and has two spikes of volume, and B, where nothing happens."""
    a, b = bars_of([100.0] * 50 + [101.0] * 80), bars_of([100.0] * 130, symbol=1)
    for spike in (30, 80):
        a["volume_micro"][spike] = 50_000 * 10**6
        a["open"][spike] -= 0.05  # it closes above its open: bullish
    return Market(["A", "B"], np.concatenate([a, b]), is_daily=False)


def measured(market, pattern, **options):
    ((name, sample),), (row, *others) = [
        list(found.items()) if isinstance(found, dict) else found
        for found in measure(market, definitions_of([pattern]), Options(("1min",), **options), lambda _: None)
    ]
    assert name == "1min"
    return sample, row, others


def test_what_followed_is_counted_as_by_hand():
    sample, row, others = measured(two_symbols(), "Volume_Spike", shuffles=0)
    assert (sample.bars, sample.symbol_days, sample.days.named) == (260, 2, ["2013-10-07"])
    assert not others
    assert row.key == ("Volume_Spike", "1min", 1)
    assert (row.found, row.told) == (2, 2)
    assert row.told_per_1000 == pytest.approx(7.6923, abs=1e-4)  # 2 of 260
    assert row.told_per_symbol_day == 1.0
    after_5, after_20, after_60 = row.followed
    assert (after_5.of, after_5.mean, after_5.all_bars) == (2, 0.0, 0.0)
    # The first: a dollar up, at an ATR of 20 cents. The second: nothing. And B, at both minutes: nothing.
    assert (after_20.of, after_20.mean, after_20.all_bars) == (2, pytest.approx(2.5), pytest.approx(1.25))
    assert (after_60.of, after_60.mean, after_60.all_bars) == (1, pytest.approx(5.0), pytest.approx(2.5))
    assert (after_20.low, after_20.high) == (None, None)  # of two symbol-days nothing can be said
    assert (row.hits.hits, row.hits.of, row.hits.expected) == (1, 2, pytest.approx(0.5))


def test_a_bearish_pattern_hits_where_the_price_falls():
    market = two_symbols()
    for name in ("open", "close"):
        market.bars[name] = 200 - market.bars[name]
    market.bars["high"], market.bars["low"] = 200 - market.bars["low"], 200 - market.bars["high"]
    _, row, _ = measured(market, "Volume_Spike", shuffles=0)
    assert row.direction == -1
    assert row.followed[1].mean == pytest.approx(2.5)
    assert (row.hits.hits, row.hits.of) == (1, 2)


def test_what_points_nowhere_has_no_hits():
    bars = bars_of([100.0] * 60)
    bars["volume_micro"][30] = 50_000 * 10**6  # on a bar that closes where it opened
    _, row, _ = measured(Market(["A"], bars, is_daily=False), "Volume_Spike", shuffles=0)
    assert (row.direction, row.told, row.hits) == (0, 1, None)


def test_the_same_seed_measures_the_same():
    market = Market(["A"], walk(390, seed=3), is_daily=False)
    first, again, other = (
        measure(market, definitions_of(["Doji", "Price_Breakout"]), Options(("1min", "5min"), 2, seed), lambda _: None)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_move_of_minutes_ends_with_its_day_and_one_of_hours_does_not():
    bars = np.concatenate([walk(390, seed=1), walk(390, seed=2, first=OPENS + DAY)])
    minutes = aftermath("1min", bars).moves
    assert np.isnan(minutes[370:390, 1]).all()
    assert not np.isnan(minutes[369, 1])
    found = find(Market(["A"], bars, is_daily=False), definitions_of(["Doji"]), ("hourly",))
    hours = found[0].bars
    assert len(hours) == 14
    assert np.isnan(aftermath("hourly", hours).moves[:, 0]).all()  # no ATR before the 14th bar, and none after it
    daily = walk(40, seed=4)
    daily["minute"] = OPENS + DAY * np.arange(40)
    assert np.isfinite(aftermath(DAILY, daily).moves[13:35, 0]).all()


def test_nothing_follows_over_a_split():
    bars = bars_of([100.0] * 30 + [50.0] * 30)
    bars["minute"] = OPENS + DAY * np.arange(60)
    moves = aftermath(DAILY, bars).moves[:, 0]
    assert np.isnan(moves[25:43]).all()  # the last 5 before it, and 13 without an ATR behind it
    assert not np.isnan(moves[[24, 43]]).any()


def test_the_atr_is_the_mean_true_range_of_fourteen_bars_and_a_night_is_none():
    bars = np.concatenate([bars_of([10.0] * 13 + [11.0]), bars_of([20.0], first=OPENS + DAY)])
    begins = np.zeros(15, bool)
    begins[0] = True
    day = begins.copy()
    day[14] = True
    atr = mean_true_range(bars, begins, day)
    assert np.isnan(atr[:13]).all()
    assert atr[13] == pytest.approx((13 * 0.2 + 1.1) / 14)
    assert atr[14] == pytest.approx((13 * 0.2 + 1.1) / 14)


def test_an_interval_counts_clusters_not_detections():
    values = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 100)
    mean = mean_of(values, np.repeat(np.arange(5), 100))
    # As of the five numbers alone: deviation 1.5811, error 0.7071, Student's t of 4 degrees of freedom 2.776.
    assert (mean.of, mean.mean) == (500, 3.0)
    assert mean.low == pytest.approx(3 - 2.776 * 0.7071, abs=2e-3)
    assert mean.high == pytest.approx(3 + 2.776 * 0.7071, abs=2e-3)
    assert mean_of(values, np.repeat(np.arange(4), 125))[2:] == (None, None)


@pytest.mark.parametrize(("freedom", "bound"), [(4, 2.776), (7, 2.365), (30, 2.042), (1000, 1.962)])
def test_student_s_t_is_that_of_the_tables(freedom, bound):
    assert student(freedom) == pytest.approx(bound, abs=1.5e-3)


# -- shuffled bars -------------------------------------------------------------------------------------------------


def steps(bars, before):
    """Return each bar as the steps from the close before it, with its volume, rounded to a millionth."""
    parts = [bars["open"] - before, *(bars[name] - bars["open"] for name in ("high", "low", "close"))]
    return [tuple(row) for row in np.round([*parts, bars["volume_micro"] / 1e6], 6).T.tolist()]


@pytest.mark.parametrize("narrow", [False, True])
def test_shuffled_bars_are_the_same_bars_in_another_order(narrow):
    bars = np.concatenate([walk(390, seed=5), walk(390, seed=6, first=OPENS + DAY), walk(390, seed=7, symbol=1)])
    market = Market(["A", "B"], bars, is_daily=False)
    stretch = stretches(market, narrow=narrow)
    assert len(np.unique(stretch)) == (39 if narrow else 3)
    mixed = shuffled(market, stretch, begin_runs(market.bars), np.random.default_rng(1)).bars
    assert mixed["minute"].tolist() == bars["minute"].tolist()
    for first in (0, 390, 780):
        day, was = mixed[first : first + 390], bars[first : first + 390]
        before = bars["close"][first - 1] if first == 390 else was["open"][0]
        now, then = (steps(some, np.concatenate([[before], some["close"][:-1]])) for some in (day, was))
        assert now[0] == then[0]
        assert now != then
        assert sorted(now) == sorted(then)
        assert day["close"][-1] == pytest.approx(was["close"][-1], abs=1e-8)
        if narrow:
            assert sorted(now[30:60]) == sorted(then[30:60])


def test_shuffled_daily_bars_keep_their_ratios():
    bars = walk(300, seed=8)
    bars["minute"] = OPENS + DAY * np.arange(300)
    market = Market(["A"], bars, is_daily=True)
    mixed = shuffled(market, stretches(market, narrow=False), begin_runs(market.bars), np.random.default_rng(1)).bars
    assert mixed["close"].tolist() != bars["close"].tolist()
    for name in ("high", "low"):
        now, then = (np.sort(np.round(some[name] / some["open"], 9)) for some in (mixed, bars))
        assert now.tolist() == then.tolist()
    assert mixed["close"][-1] == pytest.approx(bars["close"][-1])


# -- the workers' own detectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("daily", [False, True])
def test_bars_that_come_in_steps_give_what_every_window_gives(daily):
    days = [walk(390, seed=9), walk(390, seed=10, first=OPENS + DAY), walk(390, seed=11, first=OPENS + 2 * DAY)]
    bars = np.concatenate(days)
    names = ["Support_Test", "Resistance_Break", "HeadShoulders"]
    if daily:
        bars["minute"] = openings_of(OPENS // DAY + np.arange(len(bars)))
        names.append("Price_Breakout")  # of minutes, what other days' volumes confirm alone
    (found,) = find(Market(["A"], bars, daily), definitions_of(names), ("daily" if daily else "1min",))
    assert len(found.bars) == 1170
    columns = (bars["open"], bars["high"], bars["low"], bars["close"], bars["volume_micro"] / 1e6)
    padded = [np.concatenate([np.full(WINDOW - 1, np.nan), column]) for column in columns]
    windows = (np.lib.stride_tricks.sliding_window_view(column, WINDOW) for column in padded)
    windows = Windows(*windows, np.minimum(np.arange(len(bars)) + 1, WINDOW))
    for number, name in enumerate(names):
        kind = PATTERNS[name]
        there = kind.find(windows.last(kind.depth), kind.parameters)
        mine = found.found[found.found["pattern"] == number]
        assert mine["bar"].tolist() == np.flatnonzero(there.confidence >= kind.threshold).tolist()
    assert len(found.found) > 10


def test_a_volume_is_held_against_the_same_minute_of_the_day_before():
    bars = np.concatenate([bars_of([100.0] * 390), bars_of([100.0] * 390, first=OPENS + DAY)])
    bars["volume_micro"][[200, 590, 700]] = 50_000 * 10**6  # on both days at the same minute, and once more
    (found,) = find(Market(["A"], bars, is_daily=False), definitions_of(["Volume_Spike"]), ("1min",))
    assert found.found["bar"].tolist() == [200, 700]


def test_bars_of_longer_timeframes_are_made_of_the_minutes():
    bars = walk(390, seed=12)
    finds = {f.timeframe: f for f in find(Market(["A"], bars, is_daily=False), definitions_of(["Doji"]))}
    assert {name: len(found.bars) for name, found in finds.items()} == {
        "1min": 390,
        "5min": 78,
        "15min": 26,
        "30min": 13,
        "hourly": 7,
    }
    third = finds["5min"].bars[2]
    assert third["open"] == bars["open"][10]
    assert third["close"] == bars["close"][14]
    assert third["high"] == bars["high"][10:15].max()
