"""Our own patterns: found where they are drawn, and nowhere else."""

import numpy as np
import pytest
from tickstockpl.workers.detect.patterns import price_breakout, resistance_break, support_bounce, volume_spike
from tickstockpl.workers.detect.patterns.head_shoulders import KINDS as HEAD_SHOULDERS
from tickstockpl.workers.windows import Windows

TOP, BOTTOM = HEAD_SHOULDERS
SPIKE, BREAKOUT = volume_spike.KIND, price_breakout.KIND
SUPPORT, RESISTANCE = support_bounce.KIND, resistance_break.KIND
ALL = [TOP, BOTTOM, SPIKE, BREAKOUT, SUPPORT, RESISTANCE]

all_kinds = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
both = pytest.mark.parametrize("kind", HEAD_SHOULDERS, ids=lambda kind: kind.name)


def windows_of(bars, depth):
    """Return a window for each bar from the depth-th on; bars: open, high, low, close, volume."""
    columns = [np.lib.stride_tricks.sliding_window_view(np.asarray(column, float), depth) for column in bars]
    return Windows(*columns, np.full(len(columns[0]), depth))


def found_on(kind, bars, **parameters):
    """Return {bar: (confidence, direction, levels)} of what is found."""
    found = kind.find(windows_of(bars, kind.depth), {**kind.parameters, **parameters})
    return {
        int(row) + kind.depth - 1: (found.confidence[row], int(found.direction[row]), found.levels[row].tolist())
        for row in np.flatnonzero(found.confidence)
    }


def random_walk(rng, bars, volatility, *, fat_tails=False, trades=8):
    """Return bars of a random walk that starts at $100, each made of so many trades."""
    steps = rng.standard_t(3, (bars, trades)) / np.sqrt(3) if fat_tails else rng.standard_normal((bars, trades))
    price = 100 * np.exp(np.cumsum(steps.ravel() * volatility / np.sqrt(trades))).reshape(bars, trades)
    volume = rng.lognormal(8, 0.5, bars)
    return price[:, 0], price.max(axis=1), price.min(axis=1), price[:, -1], volume


def of_closes(closes):
    """Return bars that trade from the close before to their own."""
    opened = np.concatenate([closes[:1], closes[:-1]])
    return opened, np.maximum(opened, closes), np.minimum(opened, closes), closes, np.full(len(closes), 1000.0)


def drawn_head_shoulders(rng, noise):
    """Return closes and the columns of E1..E5 and of the end; the neckline is about 0, the head about 1.

    It rises to the left shoulder from 1.5 below the neckline, and ends 0.6 below it. noise: deviation of each close.
    """
    legs = np.concatenate([[76, rng.integers(8, 20)], rng.integers(5, 10, 6)])
    column = np.cumsum(legs) - 1
    shoulder = rng.uniform(0.4, 0.65)
    right = shoulder + rng.uniform(-0.06, 0.06)
    left_pit, right_pit = rng.uniform(-0.05, 0.05, 2)
    price = np.interp(np.arange(column[-1] + 1), column, [-1.5, shoulder, left_pit, 1, right_pit, right, -0.6, -0.6])
    return price + rng.normal(0, noise, len(price)), column[1:7]


def swings_between_100_and_104(*more, rng=None):
    """Return the closes of bars 0 to 65, with lows on bars 10, 30 and 50 and highs halfway, and more behind them.

    rng: adds noise of $0.08 to the bars before.
    """
    path = np.interp(np.arange(66), range(0, 70, 10), [104, 100, 104, 100, 104, 100, 104])
    return np.append(path + (0 if rng is None else rng.normal(0, 0.08, 66)), more)


# -- head and shoulders --------------------------------------------------------------------------------------------


def clean_head_shoulders():
    # Shoulders 103 on bars 80 and 104, head 106 on bar 92, pits 100 on bars 86 and 98; then 0.4 a bar down from 103.
    path = np.interp(np.arange(80, 105), [80, 86, 92, 98, 104], [103, 100, 106, 100, 103])
    rise = np.interp(np.arange(80), [0, 60, 80], [90, 90, 103])
    return np.concatenate([rise, path, 103 - 0.4 * np.arange(1, 12)])


def test_a_clean_head_and_shoulders_is_found_on_the_first_close_below_the_neckline_only():
    # 103 - 0.4 x 8 = 99.8 on bar 112 is the first close below the neckline of 100.
    found = found_on(TOP, of_closes(clean_head_shoulders()))
    assert list(found) == [112]
    confidence, direction, levels = found[112]
    assert confidence >= 0.95
    assert direction == -1
    assert levels == pytest.approx([100.0, 106.0])


def test_the_mirror_image_is_the_inverse_with_the_same_confidence():
    closes = clean_head_shoulders()
    (inverse,) = found_on(BOTTOM, of_closes(200 - closes)).items()
    assert inverse[0] == 112
    assert inverse[1][1] == 1
    assert inverse[1][2] == pytest.approx([100.0, 94.0])
    assert found_on(BOTTOM, of_closes(closes)) == {}


@both
@pytest.mark.parametrize("dollars", [0.05, 3.0])  # of the head's height, on a price of $100
def test_nine_of_ten_drawn_with_noise_are_found_once_and_above_the_threshold(kind, dollars):
    rng = np.random.default_rng(20_001)
    hits = 0
    for _ in range(150):
        closes, column = drawn_head_shoulders(rng, noise=0.05)
        turned = closes if kind is TOP else -closes
        found = found_on(kind, of_closes(100 + dollars * turned))
        hits += [kind.threshold <= f[0] for bar, f in found.items() if column[4] < bar <= column[5]] == [True]
        assert not [bar for bar in found if column[2] <= bar <= column[4]], "found before the right shoulder was done"
    assert hits >= 135


@both
def test_at_most_one_in_1000_bars_of_random_walks(kind):
    rng = np.random.default_rng(20_002)
    bars = found = 0
    for volatility in (0.0002, 0.002, 0.02):
        for fat_tails in (False, True):
            count = len(found_on(kind, random_walk(rng, 40_059, volatility, fat_tails=fat_tails)))
            assert count <= 40, f"volatility {volatility}, fat tails {fat_tails}"
            bars, found = bars + 40_000, found + count
    assert bars == 240_000
    assert 24 <= found <= 240


@both
def test_a_head_is_reported_once(kind):
    rng = np.random.default_rng(20_003)
    heads = [levels[1] for _, _, levels in found_on(kind, random_walk(rng, 80_000, 0.001)).values()]
    assert len(heads) >= 10
    assert len(set(heads)) == len(heads)


def test_a_head_no_higher_than_its_shoulders_is_none():
    closes = clean_head_shoulders()
    closes[87:98] = np.minimum(closes[87:98], 103)
    assert found_on(TOP, of_closes(closes)) == {}


def test_a_head_whose_high_is_below_a_shoulders_is_none():
    opened, high, low, closes, volume = of_closes(clean_head_shoulders())
    high[104] = 106.1  # the right shoulder's; the head's is 106
    assert found_on(TOP, (opened, high, low, closes, volume)) == {}
    high[104] = 105.9
    assert list(found_on(TOP, (opened, high, low, closes, volume))) == [112]


def test_what_comes_from_above_the_neckline_turns_nothing():
    closes = clean_head_shoulders()
    closes[:80] = np.interp(np.arange(80), [0, 60, 80], [101, 101, 103])
    assert found_on(TOP, of_closes(closes)) == {}


def test_shoulders_far_from_alike_are_none():
    closes = clean_head_shoulders()
    rise = np.interp(np.arange(98, 105), [98, 104], [100, 105])
    closes[98:] = np.concatenate([rise, 105 - 0.7 * np.arange(1, 12)])
    assert found_on(TOP, of_closes(closes)) == {}


# -- volume spike --------------------------------------------------------------------------------------------------


def bars_of_volume(volumes, change=0.0):
    closes = np.full(len(volumes), 100.0)
    closes[-1] += change
    opened, high, low, close, _ = of_closes(closes)
    return opened, high, low, close, np.array(volumes, float)


@pytest.mark.parametrize(("change", "direction"), [(0.5, 1), (-0.5, -1), (0.0, 0)])
def test_a_spike_has_the_direction_of_its_bar(change, direction):
    # All alike before: the deviation counts as 25, so the score is (500 - 100) / 25 = 16 and 1 - 0.4 x 8 / 16 = 0.8.
    found = found_on(SPIKE, bars_of_volume([100] * 20 + [500], change))
    assert found[20][:2] == pytest.approx((0.8, direction))


def test_a_spike_is_measured_by_the_deviation_before():
    # 50 and 150 in turn: mean 100, deviation 50. 490 is 7.8 deviations off, 600 is 10: 1 - 0.4 x 8 / 10 = 0.68.
    assert found_on(SPIKE, bars_of_volume([50, 150] * 10 + [490])) == {}
    assert found_on(SPIKE, bars_of_volume([50, 150] * 10 + [600]))[20][0] == pytest.approx(0.68)


def test_a_volume_after_bars_without_any_is_no_spike():
    assert found_on(SPIKE, bars_of_volume([0] * 20 + [5000])) == {}


def test_nine_of_ten_spikes_drawn_into_noise_are_found():
    rng = np.random.default_rng(20_004)
    hits = sum(20 in found_on(SPIKE, bars_of_volume([*rng.lognormal(7, 0.3, 20), 6000])) for _ in range(100))
    assert hits >= 90


# -- price breakout ------------------------------------------------------------------------------------------------


def range_then(close, volume, high=None):
    """Return 21 bars of 1000 shares between $99 and $101, and one more that opens at $100."""
    bars = np.tile([[100.0], [101.0], [99.0], [100.0], [1000.0]], 22)
    bars[:, -1] = [100, max(100, close) if high is None else high, min(100, close), close, volume]
    return bars


def test_a_breakout_goes_beyond_the_range_with_volume():
    # $2 beyond at a mean true range of $2, a quarter of which is asked, and 5 x the volume where 2.5 x is:
    # s = 1 - 0.25 + 5 / 2.5 - 1 = 1.75.
    found = found_on(BREAKOUT, range_then(103, 5000))
    assert found[21] == (pytest.approx(1 - 0.4 / 2.75), 1, [101.0])
    assert found_on(BREAKOUT, range_then(97, 5000))[21] == (pytest.approx(1 - 0.4 / 2.75), -1, [99.0])


@pytest.mark.parametrize(
    "bars",
    [
        range_then(103, 2400),
        range_then(101, 3000, high=103),
        range_then(101.49, 3000, high=103),
        range_then(101.5, 3000),
    ],
    ids=["too little volume", "closes on the level", "less than a quarter of an ATR beyond it", "a narrow bar"],
)
def test_a_breakout_wants_volume_and_range_and_a_close_beyond(bars):
    assert found_on(BREAKOUT, bars) == {}


def test_a_breakout_of_less_than_three_cents_is_none_however_still_the_stock_is():
    still = np.tile([[10.0], [10.01], [10.0], [10.005], [1000.0]], 22)  # a mean true range of one cent
    found = {}
    for cents in (2, 3):
        still[:, -1] = [10.0, 10.01 + cents / 100, 10.0, 10.01 + cents / 100, 3000.0]
        found[cents] = list(found_on(BREAKOUT, still))
    assert found == {2: [], 3: [21]}


def test_nine_of_ten_breakouts_drawn_into_noise_are_found():
    rng = np.random.default_rng(20_005)
    hits = 0
    for _ in range(100):
        opened, high, low, close, _ = of_closes(np.append(100 + rng.normal(0, 0.3, 40), 102))
        found = found_on(BREAKOUT, (opened, high, low, close, np.append(rng.lognormal(7, 0.3, 40), 3500)))
        hits += 40 in found and found[40][1] == 1
    assert hits >= 90


# -- support and resistance ----------------------------------------------------------------------------------------


def bounced(closes, *, low, close):
    """Return bars of closes, and one that falls to `low` and closes at `close`."""
    opened, high, lows, closed, volume = of_closes(np.append(closes, close))
    lows[-1] = low
    return opened, high, lows, closed, volume


def test_support_is_tested_by_a_bar_that_touches_the_earlier_lows_and_closes_above():
    falling = swings_between_100_and_104(103.2, 102.4, 101.6)
    found = found_on(SUPPORT, bounced(falling, low=100.1, close=101.3))
    assert list(found) == [69]
    assert found[69][1:] == (1, [100.0])


@pytest.mark.parametrize(
    ("low", "close"), [(100.1, 100.2), (101.0, 101.6), (98.0, 101.3)], ids=["no bounce", "no touch", "far below"]
)
def test_a_bar_that_does_not_bounce_off_the_level_is_no_support_test(low, close):
    falling = swings_between_100_and_104(103.2, 102.4, 101.6)
    assert found_on(SUPPORT, bounced(falling, low=low, close=close)) == {}


def test_one_earlier_low_is_no_support():
    falling = swings_between_100_and_104(103.2, 102.4, 101.6)
    falling[8:13] += 2
    falling[28:33] += 2
    assert found_on(SUPPORT, bounced(falling, low=100.1, close=101.3)) == {}


def test_a_support_that_was_closed_below_is_none():
    falling = swings_between_100_and_104(103.2, 102.4, 101.6)
    falling[39:42] = 98
    assert found_on(SUPPORT, bounced(falling, low=100.1, close=101.3)) == {}


def test_resistance_is_broken_by_the_first_close_above_the_earlier_highs_only():
    # Upside down, the highs of 104 are on bars 10, 30 and 50; bar 68 closes above them for the first time.
    closes = 204 - swings_between_100_and_104(101.0, 100.6, 99.2, 98.8)
    found = found_on(RESISTANCE, of_closes(closes))
    assert list(found) == [68]
    assert found[68][1:] == (1, [104.0])


def test_one_earlier_high_is_no_resistance():
    closes = 204 - swings_between_100_and_104(101.0, 100.6, 99.2)
    closes[8:13] -= 2
    closes[28:33] -= 2
    assert found_on(RESISTANCE, of_closes(closes)) == {}


def test_a_level_that_was_closed_above_before_is_no_resistance():
    closes = 204 - swings_between_100_and_104(101.0, 100.6, 99.2)
    closes[39:42] = 104.5
    assert 68 not in found_on(RESISTANCE, of_closes(closes))


def test_nine_of_ten_levels_drawn_into_noise_are_tested_and_broken():
    rng = np.random.default_rng(20_006)
    tested = broken = 0
    for _ in range(100):
        falling = swings_between_100_and_104(103.2, 102.4, 101.6, rng=rng)
        tested += 69 in found_on(SUPPORT, bounced(falling, low=100 + rng.normal(0, 0.08), close=101.3))
        broken += 68 in found_on(RESISTANCE, of_closes(204 - swings_between_100_and_104(101.0, 100.6, 99.2, rng=rng)))
    assert tested >= 90
    assert broken >= 90


# -- all of them ---------------------------------------------------------------------------------------------------


def some_windows(kind, depth):
    """Return 400 windows of a random walk in which the pattern is found on some of the last bars."""
    rng = np.random.default_rng(20_007)
    windows = windows_of(random_walk(rng, 30_000, 0.003), depth)
    found = np.flatnonzero(kind.find(windows, kind.parameters).confidence)[:20]
    rows = np.unique(np.concatenate([found, rng.integers(0, len(windows.close), 400 - len(found))]))
    return Windows(*[np.ascontiguousarray(column[rows]) for column in windows[:5]], windows.length[rows])


def assert_same(found, others):
    for ours, theirs in zip(found, others, strict=True):
        assert ours.tobytes() == theirs.tobytes()


@all_kinds
def test_a_window_gives_the_same_alone_and_among_others_to_the_bit(kind):
    windows = some_windows(kind, kind.depth)
    found = kind.find(windows, kind.parameters)
    assert np.count_nonzero(found.confidence) >= 8
    alone = [kind.find(Windows(*[column[i : i + 1] for column in windows[:6]]), kind.parameters) for i in range(300)]
    assert_same([column[:300] for column in found], [np.concatenate(column) for column in zip(*alone, strict=True)])
    by_columns = Windows(*[np.asfortranarray(column) for column in windows[:6]])
    assert_same(found, kind.find(by_columns, kind.parameters))


@all_kinds
def test_bars_before_the_ones_it_looks_at_change_nothing(kind):
    windows = some_windows(kind, 250)
    found = kind.find(windows, kind.parameters)
    assert found.confidence.any()
    assert_same(found, kind.find(windows.last(kind.depth), kind.parameters))


@all_kinds
def test_confidence_and_direction_are_within_their_bounds(kind):
    found = kind.find(some_windows(kind, kind.depth), kind.parameters)
    here = found.confidence > 0
    assert found.confidence.max() <= 1
    assert found.confidence[here].min() >= 0.5
    assert set(found.direction[~here]) <= {0}
    assert np.isnan(found.levels[~here]).all()


@all_kinds
def test_a_flat_series_has_no_pattern(kind):
    flat = np.full((3, kind.depth), 50.0)
    length = np.full(3, kind.depth)
    assert not kind.find(Windows(flat, flat, flat, flat, flat, length), kind.parameters).confidence.any()
    none = np.zeros_like(flat)
    assert not kind.find(Windows(flat, flat, flat, flat, none, length), kind.parameters).confidence.any()


@all_kinds
def test_a_window_with_too_few_bars_has_no_pattern(kind):
    windows = some_windows(kind, kind.depth)
    missing = [column.copy() for column in windows[:5]]
    for column in missing:
        column[:, 0] = np.nan
    short = Windows(*missing, windows.length - 1)
    assert not kind.find(short, kind.parameters).confidence.any()
    for column in missing:
        column[:] = np.nan
    assert not kind.find(Windows(*missing, windows.length * 0), kind.parameters).confidence.any()


@all_kinds
def test_no_windows_have_no_patterns(kind):
    none = np.zeros((0, kind.depth))
    found = kind.find(Windows(none, none, none, none, none, np.zeros(0, int)), kind.parameters)
    assert [len(column) for column in found] == [0, 0, 0]


@all_kinds
def test_a_parameter_out_of_its_bounds_is_refused_by_name(kind):
    windows = some_windows(kind, kind.depth)
    for name in kind.parameters:
        for wrong in (-1, 1e9, "much", float("nan")):
            with pytest.raises(ValueError, match=f"^{name}: "):
                kind.find(windows, {**kind.parameters, name: wrong})


def test_confidence_grows_with_the_strength():
    spikes = [found_on(SPIKE, bars_of_volume([100] * 20 + [volume]))[20][0] for volume in (400, 700, 4000)]
    breakouts = [found_on(BREAKOUT, range_then(close, 3000))[21][0] for close in (103, 104, 110)]
    falling = swings_between_100_and_104(103.2, 102.4, 101.6)
    tests = [found_on(SUPPORT, bounced(falling, low=100.1, close=close))[69][0] for close in (100.9, 101.2, 101.5)]
    breaks = [
        found_on(RESISTANCE, of_closes(204 - swings_between_100_and_104(101.0, 100.6, last)))[68][0]
        for last in (99.6, 99.2, 98.0)
    ]
    for weakest, middle, strongest in (spikes, breakouts, tests, breaks):
        assert weakest < middle < strongest
